"""Several optimizers of one run, by name: those of a generator and a discriminator, say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from xpnet.optim import Optimizer


class Optimizers(Mapping[str, Optimizer]):
    """What `Trainer(model, loss, {"generator": ..., "discriminator": ...})` makes of the dict.

    Args:
        named: an optimizer under each name; no parameter in two of them.

    A step of one's own takes the one it wants, `run.optimizer["generator"]`; the usual one steps with all.

    Raises:
        ValueError: none, or a parameter in two.
        TypeError: a name that is no text.
    """

    def __init__(self, named: Mapping[str, Optimizer]) -> None:
        self.named = dict(named)
        if not self.named:
            raise ValueError("Trainer: the dict of optimizers is empty")
        if not all(isinstance(name, str) for name in self.named):
            raise TypeError(f"Trainer: optimizers are named by texts, got {list(self.named)}")
        seen: dict[int, str] = {}
        for name, optimizer in self.named.items():
            for group in optimizer.param_groups:
                for p in group["params"]:
                    if seen.setdefault(id(p), name) != name:
                        raise ValueError(
                            f"Trainer: the optimizers {seen[id(p)]!r} and {name!r} share a parameter; give "
                            "each its own part of the model"
                        )

    def __getitem__(self, name: str) -> Optimizer:
        return self.named[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.named)

    def __len__(self) -> int:
        return len(self.named)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all."""
        return [group for optimizer in self.named.values() for group in optimizer.param_groups]

    def zero_grad(self) -> None:
        """Of all."""
        for optimizer in self.named.values():
            optimizer.zero_grad()

    def step(self) -> None:
        """Of all."""
        for optimizer in self.named.values():
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """The states by name."""
        return {name: optimizer.state_dict() for name, optimizer in self.named.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for name, optimizer in self.named.items():
            optimizer.load_state_dict(state[name])

    def settings(self) -> dict[str, Any]:
        """What must be equal for a run to be resumed, by name."""
        return {name: optimizer.settings() for name, optimizer in self.named.items()}
