"""State that follows the context: what a `with` block sets is of its thread (or task) alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def within(variable: ContextVar[T], value: T) -> Iterator[None]:
    """The variable has this value inside the block, and afterwards the one that it had."""
    previous = variable.get()
    variable.set(value)
    try:
        yield
    finally:
        variable.set(previous)
