"""A column's process as the coordinator sees it."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.columns.base import Column
from bench.measurement import ColumnError


class Process:
    """One worker. It is started at once, and again by `restart`.

    Args:
        column: whose.
        variables: of its environment, in which libraries read their number of threads.
        answer: seconds to wait for an answer; a worker that takes longer is ended.
        command: the program, for tests of workers that misbehave.
    """

    def __init__(
        self,
        column: Column,
        variables: Mapping[str, str],
        answer: float,
        command: Sequence[str] = ("-m", "bench.worker"),
    ) -> None:
        self.column, self.answer = column, answer
        self.command = [sys.executable, *command, column.key]
        self.environment = {**os.environ, **variables}
        self.hung = False
        self.restart()

    def restart(self) -> None:
        """Start anew."""
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115, as long as the process
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=self.environment,
        )
        self.lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=_read, args=(self.process.stdout, self.lines), daemon=True).start()
        self.send("ready")

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self.process.poll() is None

    def send(self, do: str, **what: Any) -> None:
        """Ask without waiting; a process that is gone is noticed by `receive`."""
        assert self.process.stdin is not None
        self.asked = do
        with suppress(OSError):
            self.process.stdin.write(json.dumps({"do": do, **what}).encode() + b"\n")
            self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """The answer to what was asked last.

        Raises:
            ColumnError: the worker failed, ended or hangs; it says which.
        """
        try:
            line = self.lines.get(timeout=self.answer)
        except queue.Empty:
            self.hung = True
            self.end()
            raise ColumnError(
                f"its process did not answer {self.asked!r} within {self.answer:g} s, and was ended"
            ) from None
        if not line:
            status, words = self._status(), self._last_words()
            raise ColumnError(f"its process ended with {status} during {self.asked!r}{words}")
        answer = json.loads(line)
        if "failed" in answer:
            raise ColumnError(answer["failed"])
        return answer

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """Send and receive."""
        self.send(do, **what)
        return self.receive()

    def turn(self, repeats: int) -> tuple[float, int]:
        """Seconds for one piece of work, and interruptions."""
        answer = self.ask("turn", repeats=repeats)
        return answer["seconds"], answer["interruptions"]

    def running(self) -> bool | None:
        """Whether a thread of it runs or waits for a CPU; None where the system does not say."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        if not Path("/proc/self/task").exists():
            return None
        states = []
        with suppress(OSError):  # it has ended
            for task in os.listdir(tasks):
                with suppress(OSError):
                    states.append((tasks / task / "stat").read_bytes().rpartition(b") ")[2][:1])
        return b"R" in states

    def end(self) -> None:
        """Stop it, at once if it is busy."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()  # the worker's loop ends
        try:
            self.process.wait(0 if self.hung else 2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _status(self) -> str:
        code = self.process.wait()
        return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"

    def _last_words(self) -> str:
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1][:200]}" if lines else ""


def _read(stream: Any, lines: queue.SimpleQueue[bytes]) -> None:
    """Hand on every line, then an empty one for the end."""
    for line in stream:
        lines.put(line)
    lines.put(b"")
