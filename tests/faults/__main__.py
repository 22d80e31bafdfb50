"""Let the n-th system call of each kind fail, for every n, while a program trains, saves, searches or caches.

    python -m tests.faults                  # every call, every error, every operation
    python -m tests.faults --every 7 train

The calls are open, write, fsync, rename, link, mmap, truncate, unlink and flock on files of the operation,
from Python or from safetensors' Rust. A call fails once, or from then on, or half of a write is done, or the
process is killed there. Afterwards the last state must be whole, nothing may be left behind, and going on
must end with the same bits. An error that passes must not end a training or a search that has begun. Needs
Linux and cc.
"""

from __future__ import annotations

import argparse
import collections
import ctypes
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Any

KINDS = ("open", "write", "fsync", "rename", "link", "mmap", "truncate", "unlink", "flock")
ONCE, EVER, KILL, HALF = range(4)
MODES = ("once", "from then on", "killed", "half")
ERRORS = {
    "open": ("ENOSPC", "EMFILE", "EACCES", "EIO"),
    "write": ("ENOSPC", "EIO", "EDQUOT"),
    "fsync": ("EIO", "ENOSPC"),
    "rename": ("EIO", "ENOSPC", "EACCES"),
    "link": ("EPERM", "EIO", "EMLINK"),
    "mmap": ("ENOMEM", "EACCES"),
    "truncate": ("EIO", "EFBIG"),
    "unlink": ("EACCES", "EIO"),
    "flock": ("ENOLCK", "EIO"),
}
REFUSED, WRONG = 3, 4


def preload(folder: str) -> None:
    """Start again with the shim ahead of libc."""
    library = Path(folder) / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
    sys.exit(
        subprocess.run([sys.executable, "-m", "tests.faults", *sys.argv[1:]], env=environment).returncode
    )


class Faults:
    """Operations in processes of their own, which are forked: to start Python takes longer than they do."""

    def __init__(self, scratch: Path) -> None:
        self.shim = ctypes.CDLL(None)
        self.scratch = scratch

    def fork(self, work: Any, *fault: int) -> tuple[int, str]:
        """Call `work()` in a child; its exit code, or minus its signal, and what it printed."""
        output = self.scratch / "output"
        child = os.fork()
        if child == 0:
            code = WRONG
            try:
                handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(handle, 1)
                os.dup2(handle, 2)
                code = self._call(work, *fault)
            finally:
                sys.stdout.flush()
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        return os.waitstatus_to_exitcode(status), output.read_text(errors="replace")

    def _call(self, work: Any, *fault: int) -> int:
        from tests.faults.operations import REFUSALS

        warnings.simplefilter("ignore")
        if fault:
            self.shim.xpfault_arm(os.fsencode(self.folder), *fault)
        try:
            found = work()
        except REFUSALS as error:
            print(f"{type(error).__name__}: {error}")
            if not fault:
                traceback.print_exc()
                return WRONG
            return REFUSED
        except BaseException:
            traceback.print_exc()
            return WRONG
        if fault and fault[0] < 0:
            found = " ".join(str(self.shim.xpfault_count(k)) for k in range(len(KINDS)))
        print(found)
        return 0

    @property
    def folder(self) -> Path:
        return self.scratch / "work"

    def fresh(self, operation: Any) -> None:
        shutil.rmtree(self.scratch / "work", ignore_errors=True)
        self.folder.mkdir()
        code, said = self.fork(lambda: operation.prepare(self.folder))
        assert code == 0, said

    def undisturbed(self, operation: Any) -> tuple[dict[str, int], str]:
        """How many calls of each kind there are, and what must come out."""
        self.fresh(operation)
        code, counted = self.fork(lambda: operation.run(self.folder), -1, 0, 0, 0)
        assert code == 0, counted
        code, expected = self.fork(lambda: operation.check(self.folder))
        assert code == 0, expected
        return dict(zip(KINDS, map(int, counted.split()), strict=True)), expected

    def wrong(self, operation: Any, expected: str, patient: bool, *fault: int) -> str | None:
        """What does not hold after a fault."""
        self.fresh(operation)
        code, said = self.fork(lambda: operation.run(self.folder) and None, *fault)
        if code not in (0, REFUSED) and not (code == -signal.SIGKILL and fault[3] == KILL):
            return f"ended with {code}: {said}"
        if code == REFUSED and patient and fault[3] in (ONCE, HALF):
            return f"an error that passes ended it: {said}"
        code, found = self.fork(lambda: operation.check(self.folder))
        if code or found != expected:
            return f"afterwards: {found[-2000:]}, expected {expected}"
        left = [path.name for path in self.folder.rglob(".*.tmp")] + [
            p.name for p in self.folder.rglob(".*.lock")
        ]
        return f"left behind: {left}" if left else None


def run(names: list[str], every: int, say: Any = print) -> int:
    """Try it; how often something was wrong."""
    from tests.faults.operations import OPERATIONS

    wrong = tried = 0
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # nothing there depends on the disk
    with tempfile.TemporaryDirectory(dir=memory) as scratch:
        faults = Faults(Path(scratch))
        for name in names or OPERATIONS:
            operation = OPERATIONS[name]
            counts, expected = faults.undisturbed(operation)
            outcomes: collections.Counter[str] = collections.Counter()
            turn = 0
            for kind, count in counts.items():
                cases = [(ERRORS[kind][0], KILL), *((error, ONCE) for error in ERRORS[kind])]
                cases += [(ERRORS[kind][0], EVER)] + [("ENOSPC", HALF)] * (kind == "write")
                for n in range(1, count + 1):
                    for error, mode in cases:
                        turn += 1
                        if turn % every:
                            continue
                        # what opens, locks or maps comes before the work, which it may keep from beginning
                        patient = kind in ("write", "fsync", "rename", "link", "truncate", "unlink") and n > 1
                        fault = (KINDS.index(kind), n, getattr(errno, error), mode)
                        found = faults.wrong(operation, expected, patient and name != "save", *fault)
                        tried += 1
                        if found:
                            wrong += 1
                            say(f"WRONG {name}, {kind} {n} of {count}, {error} {MODES[mode]}: {found}")
                        outcomes[kind] += 1
            say(f"{name}: calls {counts}; faults tried {dict(outcomes)}")
    say(f"{tried} faults, {wrong} wrong")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("operations", nargs="*")
    parser.add_argument("--every", type=int, default=1, help="try each N-th of the faults")
    options = parser.parse_args()
    if "shim.so" not in os.environ.get("LD_PRELOAD", ""):
        with tempfile.TemporaryDirectory() as folder:
            preload(folder)
    return int(run(options.operations, options.every) > 0)


if __name__ == "__main__":
    sys.exit(main())
