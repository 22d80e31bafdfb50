"""The journal of a search: a line of JSON for each finished trial, on the disk at once."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from xpnet.core.reading import read_file, reading
from xpnet.io.locks import claimed
from xpnet.io.writing import as_written_to, atomic_write, copy_file
from xpnet.search.space import Params
from xpnet.search.trial import Outcome, Proposal

_FORMAT = "xpnet search 1"


class Journal:
    """Append-only, so a kill at any moment leaves every finished trial, and at most one torn last line.

    Args:
        path: the file, which no other search may write until `close`.
        metadata: what the results depend on (space, seed, ...): a journal with other metadata is refused.
        resume: go on with the trials in the file; without it, the file may not exist yet.

    Attributes:
        outcomes: the finished trials, by number.
        missing: the error, while finished trials could not be written; else None.

    A torn last line is cut off. Of a file with other damaged lines the rest is kept, and the file as it was
    in `PATH.damaged`.

    Raises:
        FileExistsError: the file has trials, and `resume` was not asked for.
        InUseError: another search writes it; names it.
        ValueError: it is another search's journal, or no journal.
        OSError: it cannot be written.

    Warns:
        UserWarning: lines are damaged, and their trials run again; or a trial could not be written.
    """

    def __init__(self, path: str | os.PathLike[str], metadata: Mapping[str, Any], resume: bool) -> None:
        if os.path.islink(path):  # claimed is what is appended to, whatever links lead there
            path = os.path.realpath(path)
        self.path = Path(path)
        self.outcomes: dict[int, Outcome] = {}
        self.missing: OSError | None = None
        with ExitStack() as stack:
            stack.enter_context(claimed(path))
            header = _line({"format": _FORMAT, **metadata})
            with reading(path, "a journal of a search"):
                old = read_file(path) if self.path.exists() else b""
            if old and not resume:
                raise FileExistsError(f"{path} exists; resume the search in it, or name another journal")
            with reading(path, "a journal of a search"):
                kept = self._read(old, header) or header
            if kept != old:
                with atomic_write(path) as file:
                    file.write(kept)
            self._file = stack.enter_context(self.path.open("ab", buffering=0))
            self._good, self._unwritten, self._torn = len(kept), b"", False
            self._stack = stack.pop_all()

    def _read(self, content: bytes, header: bytes) -> bytes:
        """Take the trials from the file; its whole lines."""
        lines = content.splitlines(keepends=True)
        if not lines or (len(lines) == 1 and header.startswith(content)):  # killed while writing the first
            return b""
        self._check(lines[0], header)
        whole, damaged = [lines[0]], []
        for i, line in enumerate(lines[1:], 2):
            try:
                outcome = Outcome.from_dict(json.loads(line))
            except (ValueError, KeyError, TypeError, RecursionError):
                damaged.append(i)
            else:
                whole.append(line.rstrip(b"\n") + b"\n")
                self.outcomes[outcome.number] = outcome
        if damaged and damaged != [
            len(lines)
        ]:  # of the last one a kill, or a crash of the machine, is enough
            copy = self.path.with_name(self.path.name + ".damaged")
            copy_file(self.path, copy)
            warnings.warn(
                f"{self.path} has damaged lines ({', '.join(map(str, damaged))}); {len(self.outcomes)} "
                f"trials are kept, what is missing runs again; the file as it was is {copy}",
                stacklevel=4,
            )
        return b"".join(whole)

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
        """Write a finished trial; it is on the disk when this returns, unless a warning says why not."""
        self.outcomes[outcome.number] = outcome
        self._unwritten += _line(outcome.to_dict())
        self._write()

    def _write(self) -> None:
        """Append what is not written yet; once more if that fails, for errors that pass at once."""
        try:
            try:
                self._append()
            except OSError:
                self._append()
        except OSError as error:
            self.missing = as_written_to(self.path, error)
            warnings.warn(f"{self.missing}; the search goes on, the next trial tries again", stacklevel=4)
        else:
            self.missing = None

    def _append(self) -> None:
        if self._torn:  # a part that an earlier try has left
            self._file.truncate(self._good)
        self._torn = True
        rest = memoryview(self._unwritten)
        while rest:
            rest = rest[self._file.write(rest) :]
        os.fsync(self._file.fileno())
        self._good, self._unwritten, self._torn = self._good + len(self._unwritten), b"", False

    def close(self) -> None:
        """Write what could not be written before; close the file, which other searches may write then."""
        with self._stack:
            if self._unwritten:
                self._write()


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, allow_nan=False).encode() + b"\n"


def _plain(params: Params) -> Any:
    return json.loads(json.dumps(params))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:200] + " ..."
