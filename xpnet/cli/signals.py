"""SIGTERM, which schedulers and `kill` send, ends a run as Ctrl-C does: with what there is written down."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from xpnet.cli.errors import INTERRUPTED, TERMINATED

BOTH = (signal.SIGINT, signal.SIGTERM)


class TerminatedError(KeyboardInterrupt):
    """SIGTERM came."""


def interruption(number: int) -> KeyboardInterrupt:
    """What a signal raises."""
    return TerminatedError() if number == signal.SIGTERM else KeyboardInterrupt()


def said(stop: KeyboardInterrupt) -> tuple[int, str]:
    """The exit code, and the word for it."""
    if isinstance(stop, TerminatedError):
        return TERMINATED, "terminated"
    return INTERRUPTED, "interrupted"


@contextmanager
def handling(numbers: tuple[int, ...], handler: Callable[[int, Any], None]) -> Iterator[None]:
    """In the main thread: signals go to a handler, unless they are ignored, as Ctrl-C in the background."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in numbers}
        before = {number: old for number, old in before.items() if old not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def raising(number: int, frame: Any) -> None:
    """A handler that raises at once."""
    raise interruption(number)
