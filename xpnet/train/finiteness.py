"""Whether a `Run` is still finite: asked on the device, and read when the device is long past it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from xpnet.core.arrays import FLOAT, kind
from xpnet.core.backend import Array
from xpnet.core.convert import to_numpy
from xpnet.core.places import backend_name, device_key, namespace, on_device
from xpnet.nn.flat import spans
from xpnet.optim import Optimizer
from xpnet.train.callbacks import TrainingDivergedError

EVERY = 50
"""Updates between two looks at the parameters."""


class FinitenessCheck:
    """A look at the parameters and the loss every `EVERY` updates.

    On CUDA the answer is read `EVERY` updates later, when it has been there for long: no update waits.
    """

    def __init__(self) -> None:
        self._flags: dict[Any, Any] = {}  # by device
        self._asked: list[Any] = []

    def look(self, run: Any) -> None:
        """After an update.

        Raises:
            TrainingDivergedError: something was not finite; names it and the remedy.
        """
        if run.step % EVERY:
            return
        asked, self._asked = self._asked, []
        finite = all(flag.get() for flag in asked)
        for array in _looked_at(run) if finite else ():
            truth = is_finite(array)
            if backend_name(array) == "cupy":
                self._ask(truth)
            else:
                finite = finite and bool(truth)
        if not finite:
            raise TrainingDivergedError(
                f"{first_not_finite(run) or 'a parameter or the loss'} is not finite after {run.step} "
                f"updates; {remedy(run)}"
            )

    def _ask(self, truth: Array) -> None:
        key = len(self._asked), device_key(truth)
        with on_device(truth):
            if key not in self._flags:
                self._flags[key] = namespace(truth).Flag()
            self._flags[key].set(truth)
        self._asked.append(self._flags[key])

    def reset(self) -> None:
        """Forget what was asked in an earlier run."""
        self._asked = []

    def __getstate__(self) -> dict[str, Any]:
        return {"_flags": {}, "_asked": []}


def remedy(run: Any) -> str:
    """What helps against divergence."""
    return f"lower the learning rate (now {run.optimizer.param_groups[0]['lr']:g}) or clip the gradients"


def check_finite(run: Any, path: Any) -> None:
    """Refuse to write a state from which there is no way back. The host waits here.

    Raises:
        TrainingDivergedError: a parameter is not finite, or the loss, or a buffer, such as a running mean, is
            NaN; names it and the file.
    """
    name = first_not_finite(run) or _nan_buffer(run)
    if name is not None:
        raise TrainingDivergedError(
            f"{name} is not finite after {run.step} updates; {path} was not written, what it holds is older; "
            f"{remedy(run)}"
        )


def first_not_finite(run: Any) -> str | None:
    """The name of the first parameter that is not finite, or "the loss". The host waits here."""
    if all(bool(to_numpy(is_finite(array))) for array in _looked_at(run)):
        return None
    trained = {id(p) for p in _trained(run)}
    for name, p in run.model.named_parameters():
        if id(p) in trained and not bool(to_numpy(is_finite(p.data))):
            return f"parameter {name}"
    return "the loss"


def _nan_buffer(run: Any) -> str | None:
    """The name of the first buffer that is NaN; infinite ones may be meant, as in a mask."""
    for name, buffer in run.model.named_buffers():
        xp = namespace(buffer.data)
        if kind(buffer.data) >= FLOAT and bool(to_numpy(xp.any(xp.isnan(buffer.data)))):
            return f"buffer {name}"
    return None


def is_finite(array: Array) -> Array:
    """Whether all elements are: a 0-d array of bool on the device."""
    xp = namespace(array)
    with on_device(array):
        return xp.all(xp.isfinite(array))


def _trained(run: Any) -> list[Any]:
    return [p for group in run.optimizer.param_groups for p in group["params"]]


def _looked_at(run: Any) -> Iterator[Array]:
    """Vectors of all trained parameters; the loss where one rank must not stop without the others."""
    members = _trained(run)
    ours = isinstance(run.optimizer, Optimizer | Mapping)  # whose parameters are in vectors already
    yield from (span.values for span in spans(members)) if ours else (p.data for p in members)
    if run.communicator.size == 1 and run.loss_value is not None:
        yield _counted(run.loss_value, run.loss_weight)


def _counted(loss: Array, weight: Any) -> Array:
    """The loss; 0 if it weighs nothing, as that of labels that are all ignored, which is NaN."""
    xp = namespace(loss)
    if hasattr(weight, "dtype"):
        return xp.where(weight == 0, xp.zeros_like(loss), loss)
    return loss if weight else xp.zeros_like(loss)


# ---- growth ----

GROWN = 1e6
"""How far above the first loss a later one may lie before a warning says so."""


def has_grown(first: float, now: float) -> bool:
    """Whether the loss of an epoch lies beyond all reason, though it is finite."""
    return math.isfinite(now) and now > GROWN * max(1.0, abs(first))
