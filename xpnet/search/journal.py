"""The journal of a search: a line of JSON for each finished trial, on the disk at once."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xpnet.core.reading import read_file, reading
from xpnet.search.space import Params
from xpnet.search.trial import Outcome, Proposal

_FORMAT = "xpnet search 1"


class Journal:
    """Append-only, so a kill at any moment leaves every finished trial, and at most one torn last line.

    Args:
        path: the file.
        metadata: what the results depend on (space, seed, ...): a journal with other metadata is refused.
        resume: go on with the trials in the file; without it, the file may not exist yet.

    Attributes:
        outcomes: the finished trials, by number.

    Raises:
        FileExistsError: the file has trials, and `resume` was not asked for.
        ValueError: it is another search's journal, no journal, or damaged before its last line.
        OSError: it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], metadata: Mapping[str, Any], resume: bool) -> None:
        self.path = Path(path)
        self.outcomes: dict[int, Outcome] = {}
        header = _line({"format": _FORMAT, **metadata})
        with reading(path, "a journal of a search"):
            old = read_file(path) if self.path.exists() else b""
        if old and not resume:
            raise FileExistsError(f"{path} exists; resume the search in it, or name another journal")
        with reading(path, "a journal of a search"):
            keep = self._read(old, header) if old else 0
        new = not self.path.exists()
        self._file = self.path.open("r+b" if not new else "wb")
        self._file.truncate(keep)
        self._file.seek(keep)
        if not keep:
            self._write(header)
        if new:
            _sync_folder(self.path.parent)

    def _read(self, content: bytes, header: bytes) -> int:
        """Take the trials from the file; how many of its bytes are whole lines."""
        end = content.rfind(b"\n") + 1
        if not end:
            if header.startswith(content):  # killed while the first line was written
                return 0
            raise ValueError(f"{self.path} is not a journal of a search")
        first, *lines = content[:end].splitlines(keepends=True)
        self._check(first, header)
        good = len(first)
        for i, line in enumerate(lines):
            try:
                outcome = Outcome.from_dict(json.loads(line))
            except (ValueError, KeyError, TypeError, RecursionError):
                if i + 1 == len(lines):  # a crash of the machine can leave a last line of zeros
                    break
                raise ValueError(f"{self.path}: line {i + 2} is damaged") from None
            self.outcomes[outcome.number] = outcome
            good += len(line)
        return good

    def _check(self, first: bytes, header: bytes) -> None:
        try:
            found = json.loads(first)
            known = found.get("format") == _FORMAT
        except (ValueError, AttributeError):
            known = False
        if not known:
            raise ValueError(f"{self.path} is not a journal of a search")
        wanted = json.loads(header)
        for key in {**wanted, **found}:
            if found.get(key) != wanted.get(key):
                raise ValueError(
                    f"{self.path} is the journal of another search: its {key} is {_short(found.get(key))}, "
                    f"here it is {_short(wanted.get(key))}; name another journal, or search as before"
                )

    def find(self, proposal: Proposal) -> Outcome | None:
        """The outcome of this trial, if it has been run.

        Raises:
            ValueError: a trial of that number was run with other settings.
        """
        outcome = self.outcomes.get(proposal.number)
        if outcome is None:
            return None
        was, now = ((o.round, o.budget, _plain(o.params)) for o in (outcome, proposal))
        if was != now:
            raise ValueError(
                f"{self.path}: trial {proposal.number} was run with {_short(was)}, this search would run it "
                f"with {_short(now)}; the strategy is not the one of the journal (or its sampler has no seed)"
            )
        return Outcome(**{**vars(outcome), "params": proposal.params})  # a tuple is a list in JSON

    def add(self, outcome: Outcome) -> None:
        """Write a finished trial; it is on the disk when this returns."""
        self._write(_line(outcome.to_dict()))
        self.outcomes[outcome.number] = outcome

    def _write(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, allow_nan=False).encode() + b"\n"


def _plain(params: Params) -> Any:
    return json.loads(json.dumps(params))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:200] + " ..."


def _sync_folder(folder: Path) -> None:
    """The new name itself must survive, too (POSIX only)."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
