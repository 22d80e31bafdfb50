"""Many notes of one kind as a few lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_MOST = 5
_NAMES = re.compile(r"column \S+ \(.*?\)(?= |:)|'[^']*'|[-+]?\d\S*")


def gathered(notes: Sequence[str]) -> list[str]:
    """Notes of which more than five differ in names and numbers only: two of them, and how many more.

    >>> from xpnet.cli.notes import gathered
    >>> gathered([f"column {i} (pixel{i}) is 0 everywhere: left out" for i in range(9)])[1:]
    ['column 1 (pixel1) is 0 everywhere: left out', '7 more like this one']
    """
    kinds = [_NAMES.sub("", note) for note in notes]
    many, seen = Counter(kinds), Counter[str]()
    found = []
    for note, kind in zip(notes, kinds, strict=True):
        seen[kind] += 1
        if many[kind] <= _MOST or seen[kind] <= 2:
            found.append(note)
        elif seen[kind] == 3:
            found.append(f"{many[kind] - 2} more like this one")
    return found
