"""State that follows the context: what a `with` block sets is of its thread (or task) alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ContextDecorator
from contextvars import ContextVar
from typing import Generic, TypeVar

T = TypeVar("T")


class Setting(Generic[T]):
    """A value of the context.

    Args:
        name: of the context variable.
        default: what it is outside of every `within`.

    >>> from xpnet.core.context import Setting
    >>> setting = Setting("example", 1)
    >>> with setting.within(2):
    ...     setting.get()
    2
    >>> setting.get()
    1
    """

    __slots__ = ("_outer", "_value", "get", "set")

    get: Callable[[], T]  # the context variable's own, which cost no call of ours
    set: Callable[[T], object]

    def __init__(self, name: str, default: T) -> None:
        self._value: ContextVar[T] = ContextVar(name, default=default)
        self._outer: ContextVar[tuple[T, ...]] = ContextVar(f"{name}_outer", default=())
        self.get, self.set = self._value.get, self._value.set

    def within(self, value: T) -> Within[T]:
        """For `with`: another value in the block. It may be used again, nested, and in several threads."""
        return Within(self, value)

    def enter(self, value: T) -> None:
        """Another value from here on, until `leave`."""
        self._outer.set((*self._outer.get(), self.get()))
        self.set(value)

    def leave(self) -> None:
        """The value that there was before the last `enter`."""
        *outer, previous = self._outer.get()
        self._outer.set(tuple(outer))
        self.set(previous)


class Within(ContextDecorator, Generic[T]):
    """What `Setting.within` gives; a decorator, too."""

    def __init__(self, setting: Setting[T], value: T) -> None:
        self._setting, self._set = setting, value

    def __enter__(self) -> None:
        self._setting.enter(self._set)

    def __exit__(self, *exc: object) -> None:
        self._setting.leave()


again = Setting("xpnet_again", False)
"""Whether a body runs again, on Tensors, for its derivative (`xpnet.core.again`): what it leaves behind, such
as running statistics, it has left already."""

differentiated = Setting("xpnet_differentiated", False)
"""Whether a function runs for its derivative: what leaves for NumPy there would lose it without a word."""

casting: Setting[Callable[..., object] | None] = Setting("xpnet_casting", None)
"""What calls an op with arguments in other types (`xpnet.core.autocast`)."""

autocasts = [0]
"""In how many blocks of all threads that is so: mostly none, and soon asked."""

active = [0]
"""How many steps are being recorded in all threads (`xpnet.core.recording`): mostly none, and soon asked."""
