"""Loss scaling: small gradients in float16 become 0, unless the loss is multiplied before they are made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xpnet.arrays import is_half, widen
from xpnet.backend import Array
from xpnet.optim import Optimizer
from xpnet.optim.gradients import sum_of_squares

# below it the scale falls no further: at 0 there would be no way back, and no gradient to divide
SMALLEST = 2.0**-24


class LossScaler:
    """Multiply the loss before `backward` and divide the gradients after it (Micikevicius et al., 2018).

    float16 has nothing between 0 and 6e-8: gradients of activations vanish on the way down. Their scale is
    adapted: an update whose gradients are infinite or NaN is left out and the scale halved, down to 2^-24;
    after `growth_interval` good updates in a row it is doubled.

    Args:
        scale: where it starts; the gradient of a float16 loss can be 65504 at most.
        growth: factor after good updates.
        backoff: factor after one that overflowed.
        growth_interval: good updates before the scale grows.
        largest: the scale grows no further.

    Raises:
        ValueError: factors on the wrong side of 1, or a scale below 2^-24.

    To see whether the gradients are finite the host waits for the device, once an update, as in PyTorch; only
    models in float16 need this.
    """

    def __init__(
        self,
        scale: float = 2.0**15,
        growth: float = 2.0,
        backoff: float = 0.5,
        growth_interval: int = 2000,
        largest: float = 2.0**15,
    ) -> None:
        if not (scale >= SMALLEST and growth >= 1 and 0 < backoff < 1 and growth_interval >= 1):
            raise ValueError(
                "LossScaler: expected scale >= 2**-24, growth >= 1, 0 < backoff < 1 and growth_interval >= 1,"
                f" got {scale}, {growth}, {backoff} and {growth_interval}"
            )
        self.scale, self.growth, self.backoff = float(scale), growth, backoff
        self.growth_interval, self.largest = growth_interval, largest
        self.good = 0  # updates since the scale changed
        self.skipped = 0  # updates left out

    def unscale(
        self, gradients: Sequence[Array], share: float = 1.0, optimizer: Optimizer | None = None
    ) -> bool:
        """Divide gradients by the scale, in place, and adapt it; whether all are finite.

        Args:
            gradients: float arrays.
            share: another factor.
            optimizer: whose step follows at once. It divides 16-bit gradients itself, in float32, so that
                those below 6e-8 are not lost; in place they would be.
        """
        exact = widen if optimizer is not None else lambda g: g  # the numbers that the step will use
        norms = [sum_of_squares(exact(g) * (1 / self.scale)) for g in gradients]  # of g itself it overflows
        finite = math.isfinite(float(sum(norms[1:], norms[0])))
        factor = share / self.scale
        if finite:
            for gradient in gradients:
                if optimizer is None or not is_half(gradient):
                    gradient *= factor
            if optimizer is not None:
                optimizer.half_factor = factor
            self.good += 1
            if self.good >= self.growth_interval:
                self.scale, self.good = min(self.scale * self.growth, self.largest), 0
        else:
            self.scale = max(self.scale * self.backoff, SMALLEST)
            self.good, self.skipped = 0, self.skipped + 1
        return finite

    def state_dict(self) -> dict[str, Any]:
        """The scale and the counts."""
        return {"scale": self.scale, "good": self.good, "skipped": self.skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.scale = max(state["scale"], SMALLEST)
        self.good, self.skipped = state["good"], state["skipped"]

    def settings(self) -> dict[str, Any]:
        """The constants."""
        return {
            "growth": self.growth,
            "backoff": self.backoff,
            "growth_interval": self.growth_interval,
            "largest": self.largest,
        }
