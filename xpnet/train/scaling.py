"""Loss scaling: small gradients in float16 become 0, unless the loss is multiplied before they are made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xpnet.core.arrays import is_half, widen
from xpnet.core.backend import Array
from xpnet.core.places import backend_name, namespace
from xpnet.core.renamed import renamed
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

    Only models in float16 need this. On CUDA no update waits for it, unless something between `backward` and
    the step reads the gradients (clipping, a penalty): then the host waits once an update, as in PyTorch.
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
        self._flag: Any = None  # what a device says of the last update ...
        self._waiting: Optimizer | None = None  # ... of this optimizer, if it has not been asked yet

    @renamed(share="factor")
    def unscale(
        self, gradients: Sequence[Array], factor: float = 1.0, optimizer: Optimizer | None = None
    ) -> bool:
        """Divide gradients by the scale, in place, and adapt it; whether all are finite.

        Args:
            gradients: float arrays.
            factor: multiplies them, too.
            optimizer: whose step follows at once. It divides 16-bit gradients itself, in float32, so that
                those below 6e-8 are not lost; in place they would be. On CUDA nothing waits then: the answer
                is yes, the step undoes itself on the device if the gradients are not finite, and the scale
                and the count of steps follow at the next update.
        """
        scale = self.scale  # that of the loss, which what the last update turned out to be may change now
        self.settle()
        exact = widen if optimizer is not None else lambda g: g  # the numbers that the step will use
        norms = [sum_of_squares(exact(g) * (1 / scale)) for g in gradients]  # of g itself it overflows
        norm, factor = sum(norms[1:], norms[0]), factor / scale
        later = optimizer is not None and backend_name(norm) == "cupy"
        finite = later or math.isfinite(float(norm))
        if finite:
            for gradient in gradients:
                if optimizer is None or not is_half(gradient):
                    gradient *= factor
            if optimizer is not None:
                optimizer.half_factor = factor
        if later and optimizer is not None:
            optimizer.finite, optimizer.settle = namespace(norm).isfinite(norm), self.settle
            self._flag = self._flag or namespace(norm).Flag()
            self._flag.set(optimizer.finite)
            self._waiting = optimizer
            return True
        self._adapt(finite)
        return finite

    def settle(self) -> None:
        """Take note of what a device has found of the last update."""
        optimizer, self._waiting = self._waiting, None
        if optimizer is not None and self._flag is not None:
            finite = self._flag.get()
            if not finite:
                optimizer.take_back()
            self._adapt(finite)

    def _adapt(self, finite: bool) -> None:
        if finite:
            self.good += 1
            if self.good >= self.growth_interval:
                self.scale, self.good = min(self.scale * self.growth, self.largest), 0
        else:
            self.scale = max(self.scale * self.backoff, SMALLEST)
            self.good, self.skipped = 0, self.skipped + 1

    def __getstate__(self) -> dict[str, Any]:
        self.settle()
        return {**vars(self), "_flag": None}

    def state_dict(self) -> dict[str, Any]:
        """The scale and the counts. On CUDA this waits for the last update."""
        self.settle()
        return {"scale": self.scale, "good": self.good, "skipped": self.skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._waiting = None
        self.scale = max(float(state["scale"]), SMALLEST)
        self.good, self.skipped = int(state["good"]), int(state["skipped"])

    def settings(self) -> dict[str, Any]:
        """The constants."""
        return {
            "growth": self.growth,
            "backoff": self.backoff,
            "growth_interval": self.growth_interval,
            "largest": self.largest,
        }
