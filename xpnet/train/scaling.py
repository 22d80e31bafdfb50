"""Loss scaling: small gradients in float16 become 0, unless the loss is multiplied before they are made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from xpnet.core.arrays import is_half, widen
from xpnet.core.backend import Array
from xpnet.core.places import backend_name, namespace, on_device
from xpnet.core.recording import capturing, depends_on, on_host, refuse
from xpnet.core.renamed import renamed
from xpnet.core.tensor import Tensor
from xpnet.functional.weighing import promised, times
from xpnet.optim import Optimizer
from xpnet.optim.gradients import gradients_of, sum_of_squares
from xpnet.optim.moments import members_of
from xpnet.optim.scaled import SMALLEST, Constants, DeviceScale


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

    Only models in float16 need this. On CUDA scale and counts live on the device: one pass reads the
    gradients to see whether all are finite, the one that updates divides them, and no update waits. One does
    for a callback of your own between `backward` and the step, and for several optimizers. What the library
    clips or adds there, it does to gradients that are not finite, too, before the step stays away, as in
    PyTorch.

    By hand it is two calls, which `xpnet.capture` takes, too: `scaler.backward(loss)` and
    `scaler.step(optimizer)`.
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
        self.growth, self.backoff = growth, backoff
        self.growth_interval, self.largest = growth_interval, largest
        self._scale, self._good, self._skipped = float(scale), 0, 0
        self._device: DeviceScale | None = None  # on CUDA all of this is there
        self._heard = 0  # of its `skipped`

    @property
    def scale(self) -> float:
        """What the loss is multiplied by now. On CUDA this and the counts wait for the last update."""
        self._hear()
        return self._scale

    @property
    def good(self) -> int:
        """Good updates since the scale changed."""
        self._hear()
        return self._good

    @property
    def skipped(self) -> int:
        """Updates that were left out."""
        self._hear()
        return self._skipped

    def _hear(self) -> None:
        if self._device is not None:
            refuse("it reads a LossScaler; use its backward(loss) and step(optimizer)", lasting=False)
            self._scale, self._good, skipped = self._device.now()
            self._skipped, self._heard = self._skipped + skipped - self._heard, skipped

    # ---- before the gradients are there ----

    def expected(self, model: Any) -> AbstractContextManager[object]:
        """For `with`, around the forward pass: a loss whose gradient is made there makes the scaled one.

        Args:
            model: a Module.
        """
        first = next(iter(model.parameters()), None) if hasattr(model, "parameters") else None
        device = None if first is None else self._on(first.data)
        if device is None:
            return nullcontext()
        device.begin()
        return promised.within(device.scale)

    def backward(self, loss: Tensor) -> None:
        """`loss.backward()` of the scaled loss, which is not computed: the gradient begins with the scale."""
        loss.backward(self.seed(loss.data))

    def seed(self, loss: Array, part: Any = None) -> Array:
        """The gradient of the scaled loss with respect to the loss.

        Args:
            loss: of one element.
            part: a number or 0-d array that multiplies it, too.
        """
        device = self._on(loss)
        if device is None:
            return self._seed(loss, part)
        scale = device.scale(loss.dtype)
        if part is not None:
            return times(namespace(loss).ones_like(loss), part * scale)
        return namespace(scale).reshape(scale, loss.shape) if loss.shape else scale

    @on_host
    def _seed(self, loss: Array, part: Any) -> Array:
        return times(namespace(loss).ones_like(loss), self._scale if part is None else part * self._scale)

    # ---- when they are there ----

    @on_host
    def step(self, optimizer: Optimizer, params: Any = None) -> None:
        """A step of the optimizer with divided gradients, if they are finite; the scale adapts.

        Args:
            optimizer: whose step it is.
            params: a Module or parameters, all of whose gradients must be finite; default: the optimizer's.

        >>> import xpnet
        >>> x = xpnet.tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer, scaler = xpnet.optim.SGD([x], lr=0.25), xpnet.train.LossScaler(1024.0)
        >>> scaler.backward((x * x).sum())
        >>> x.grad
        array([ 2048., -4096.], dtype=float32)
        >>> scaler.step(optimizer)
        >>> x.data
        array([ 0.5, -1. ], dtype=float32)
        """
        params = members_of(optimizer.param_groups) if params is None else params
        if self.unscale(gradients_of(params), optimizer=optimizer):
            optimizer.step()

    @renamed(share="factor")
    def unscale(
        self,
        gradients: Sequence[Array],
        factor: float = 1.0,
        optimizer: Optimizer | None = None,
        read: bool = False,
    ) -> bool:
        """Divide gradients by the scale and adapt it; whether all are finite.

        Args:
            gradients: float arrays, divided in place.
            factor: multiplies them, too.
            optimizer: whose step follows at once. It divides 16-bit gradients itself, in float32, so that
                those below 6e-8 are not lost; in place they would be. On CUDA it divides all of them, in the
                pass that updates, and nothing waits: the answer is yes, the step stays away on the device if
                the gradients are not finite, and the host hears of it later.
            read: whether something reads the gradients before this step: they are divided in place then.
        """
        device = self._on(gradients[0]) if gradients else None
        if device is not None:
            return self._unscale_there(device, gradients, factor, optimizer, read)
        # the numbers that the step will use
        exact = (lambda g: g) if optimizer is None or read else widen
        norms = [sum_of_squares(exact(g) * (1 / self._scale)) for g in gradients]  # of g itself it overflows
        finite, factor = math.isfinite(float(sum(norms[1:], norms[0]))), factor / self._scale
        if finite:
            for gradient in gradients:
                if optimizer is None or read or not is_half(gradient):
                    gradient *= factor
            if optimizer is not None and not read:
                optimizer.half_factor = factor
        self._adapt(finite)
        return finite

    def _unscale_there(
        self,
        device: DeviceScale,
        gradients: Sequence[Array],
        factor: float,
        optimizer: Optimizer | None,
        read: bool,
    ) -> bool:
        recording = capturing()
        if recording is None:
            device.settle()
        elif optimizer is None:
            refuse("a LossScaler without the optimizer of the step waits for the gradients")
        else:
            depends_on(self, "_device", *Constants._fields)
        device.look(gradients)
        if optimizer is None or read or factor != 1:
            for gradient in gradients:
                gradient *= device.inverse(gradient.dtype) * factor
            device.divided = True
        if optimizer is not None:
            optimizer.scale, optimizer.settle = device, device.settle
            return True
        finite = bool(device.finite())
        device.end(())
        return finite

    def _on(self, like: Array) -> DeviceScale | None:
        """Where the scale is, if that is a device."""
        constants = Constants(self.growth, self.backoff, self.growth_interval, self.largest)
        if self._device is not None:
            self._device.constants = constants
        elif backend_name(like) == "cupy":
            refuse("a LossScaler begins in this step", lasting=False)
            self._heard = 0
            with on_device(like):
                self._device = DeviceScale(like, constants, self._scale, self._good)
        return self._device

    def settle(self) -> None:
        """Take note of what a device has found of the last updates; waits for them."""
        self._hear()

    def _adapt(self, finite: bool) -> None:
        if finite:
            self._good += 1
            if self._good >= self.growth_interval:
                self._scale, self._good = min(self._scale * self.growth, self.largest), 0
        else:
            self._scale = max(self._scale * self.backoff, SMALLEST)
            self._good, self._skipped = 0, self._skipped + 1

    def __getstate__(self) -> dict[str, Any]:
        self._hear()
        return {**vars(self), "_device": None}

    def state_dict(self) -> dict[str, Any]:
        """The scale and the counts. On CUDA this waits for the last update."""
        return {"scale": self.scale, "good": self.good, "skipped": self.skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._device = None
        self._scale = max(float(state["scale"]), SMALLEST)
        self._good, self._skipped = int(state["good"]), int(state["skipped"])

    def settings(self) -> dict[str, Any]:
        """The constants."""
        return {
            "growth": self.growth,
            "backoff": self.backoff,
            "growth_interval": self.growth_interval,
            "largest": self.largest,
        }
