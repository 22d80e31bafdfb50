"""Whether a module trains or is used: its own flag, or what a `with` block says for this thread alone."""

from __future__ import annotations

from typing import Any

from xpnet.core.context import Setting

modes: Setting[dict[int, bool] | None] = Setting("xpnet_modes", None)
"""The training modes of modules, by `id`, in a block that keeps them to itself (`nn.inference`)."""


class Mode:
    """The attribute `training` of modules, True at first; kept under that name in `vars(module)`."""

    def __get__(self, module: Any, owner: type | None = None) -> bool:
        if module is None:
            return True
        here = modes.get()
        if here is not None and id(module) in here:
            return here[id(module)]
        return vars(module).get("training", True)

    def __set__(self, module: Any, training: bool) -> None:
        here = modes.get()
        if here is not None and id(module) in here:
            here[id(module)] = training
        else:
            vars(module)["training"] = training
