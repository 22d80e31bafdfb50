"""What is called after the forward pass of a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ForwardHook = Callable[[Any, tuple[Any, ...], Any], Any]


class HookHandle:
    """Takes a hook away again: `handle.remove()`, or a call of the handle."""

    def __init__(self, module: Any, hook: ForwardHook) -> None:
        self._module, self._hook = module, hook

    def remove(self) -> None:
        """No calls from here on; once is enough."""
        left = tuple(h for h in self._module._forward_hooks if h is not self._hook)
        if left:
            self._module._forward_hooks = left
        else:
            vars(self._module).pop("_forward_hooks", None)

    __call__ = remove
