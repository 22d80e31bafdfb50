"""`log.txt` in the folder of a run: what the run printed."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TextIO

from xpnet.cli.errors import BadInputError, bad_input

LOG = "log.txt"


class _Both:
    """A stream whose text goes to the log, too; but for bars, which are drawn over and over in one line."""

    def __init__(self, stream: TextIO, log: _Log) -> None:
        self._stream, self._log = stream, log

    def write(self, text: str) -> int:
        """First to the log, which is to have what a closed terminal has not."""
        if "\r" not in text:
            self._log.write(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Log:
    def __init__(self, file: IO[str], path: Path) -> None:
        self.file: IO[str] | None = file
        self.path, self.trained = path, False

    def write(self, text: str) -> None:
        self.trained = self.trained or text.startswith("epoch ")
        if self.file is None:
            return
        try:
            self.file.write(text)
        except (OSError, ValueError) as error:  # such as of a full disk, which is no reason to end a run
            self.file = None
            print(f"xpnet train: warning: nothing more is written to {self.path}: {error}", file=sys.stderr)


@contextmanager
def logged(path: Path, more: bool) -> Iterator[None]:
    """Write what is printed within it to a file, line by line, so that a run that is killed has its lines.

    Args:
        path: the file. A command that is refused before it trains leaves it as it was.
        more: after what it holds already, of a run that goes on.

    Raises:
        BadInputError: it cannot be written.
    """
    with bad_input():
        before = path.read_bytes() if path.is_file() else None
        mode = "a" if more else "w"
        file = path.open(mode, encoding="utf-8", errors="backslashreplace", buffering=1)
    log, streams = _Log(file, path), (sys.stdout, sys.stderr)
    both: list[Any] = [stream and _Both(stream, log) for stream in streams]  # a service may have none
    sys.stdout, sys.stderr = both
    try:
        yield
    except BadInputError as error:
        log.write(f"xpnet train: error: {error}\n")  # which is printed by whoever catches it
        if not log.trained:
            with suppress(OSError):
                path.unlink() if before is None else path.write_bytes(before)
        raise
    except Exception:
        log.write(traceback.format_exc())
        raise
    finally:
        sys.stdout, sys.stderr = streams
        with suppress(OSError):
            file.close()
