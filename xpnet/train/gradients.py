"""What callbacks do to gradients between `backward` and `step`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xpnet import optim
from xpnet.core.backend import Array
from xpnet.core.recording import depends_on
from xpnet.train.callbacks import Callback

if TYPE_CHECKING:
    from xpnet.train.run import Run


class GradientClipping(Callback):
    """Keep the gradients from exploding (Pascanu et al., 2013).

    Args:
        norm: the largest joint Euclidean norm of all gradients; larger ones are scaled down.
        value: the largest magnitude of an element; larger ones are cut, before the norm is looked at.

    Attributes:
        last_norm: the norm before clipping, a 0-d array on the device, if `norm` is given.

    Raises:
        ValueError: neither is given, or one is not above 0.
    """

    capturable = True

    def __init__(self, norm: float | None = None, value: float | None = None) -> None:
        if norm is None and value is None:
            raise ValueError("GradientClipping: give the largest norm, the largest value, or both")
        for name, bound in (("norm", norm), ("value", value)):
            if bound is not None and not bound > 0:
                raise ValueError(f"GradientClipping: {name} must be above 0, got {bound}")
        self.norm, self.value = norm, value
        self.last_norm: Array = None

    def on_backward_end(self, trainer: Run) -> None:
        """Clip."""
        depends_on(self, "norm", "value")
        if self.value is not None:
            optim.clip_grad_value(trainer.model, self.value)
        if self.norm is not None:
            self.last_norm = optim.clip_grad_norm(trainer.model, self.norm)

    def settings(self) -> dict[str, Any]:
        """The bounds."""
        return {"norm": self.norm, "value": self.value}


class GradientNoise(Callback):
    """Add N(0, eta / (1 + t)^gamma) to every gradient at update t (Neelakantan et al., 2015; deck S4).

    Args:
        eta: variance at the first update.
        gamma: how fast it falls.

    Raises:
        ValueError: eta is negative.
    """

    capturable = True

    def __init__(self, eta: float = 0.01, gamma: float = 0.55) -> None:
        self.noise = optim.GradientNoise([], eta, gamma)

    def on_fit_begin(self, trainer: Run) -> None:
        """Begin at the first update's variance."""
        self.noise.params, self.noise.t = trainer.model, 0

    def on_backward_end(self, trainer: Run) -> None:
        """Add the noise of this update."""
        self.noise()

    def state_dict(self) -> dict[str, Any]:
        """The number of updates."""
        return {"t": self.noise.t}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.noise.t = state["t"]

    def settings(self) -> dict[str, Any]:
        """The variance and its decay."""
        return {"eta": self.noise.eta, "gamma": self.noise.gamma}
