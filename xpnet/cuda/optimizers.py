"""Launches kernels/optimizers.cu: one step over a whole span of parameters, one launch.

The kernel reads its hyperparameters from a small array on the device, which the host writes when they change;
in a captured step that is part of the numbers that each replay writes (`xpnet.core.recording`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.core.recording import capturing
from xpnet.cuda import loader
from xpnet.cuda.element import ELEMENTS, Element, element
from xpnet.optim import adagrad, adam, rules, scaled

FILE = "optimizers.cu"
BLOCK = 256
RULES = ("SGD", "Adagrad", "Adadelta", "RMSprop", "Adam")
# dtype of theta and its moments, and of the gradient: 16-bit gradients also go with a float32 theta
PAIRS = (
    *((t, t) for t in ELEMENTS.values()),
    (ELEMENTS["float32"], ELEMENTS["float16"]),
    (ELEMENTS["float32"], ELEMENTS["bfloat16"]),
)


@cache
def _name(rule: str, theta: Element, grad: Element) -> str:
    return f"step<{rule}, {theta.ctype}, {grad.ctype}, {theta.vector}, {BLOCK}>"


@cache
def _look(grad: Element) -> str:
    return f"look<{grad.ctype}, {grad.vector}, {BLOCK}>"


ADAPT = "adapt<float>"


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    steps = [_name(rule, *pair) for rule in RULES for pair in PAIRS]
    return {FILE: [*steps, *(_look(t) for t in ELEMENTS.values()), ADAPT]}


# ---- hyperparameters on the device ------------------------------------------------------------------------

_SLOTS: dict[Any, list[Any]] = {}  # of a rule and a place of theta: [values, their array]
_MOST = 1024  # slots; a model takes one a parameter group
FACTOR = 1.0  # of the gradient: the scale of a loss is read on the device


Values = Callable[[Any, int], tuple[float, ...]]
"""What the kernel of a rule reads, from hyperparameters and the number of a step; weight decay first."""


def _hyperparameters(
    rule: str, theta: Array, values: Values, h: Any, step: int, dtype: Any, rows: int
) -> Array:
    """The device array of these values; written only where they are not those of the last time.

    In a captured step under a scaled loss it has `rows`: of this step, of the one before it, ...
    """
    key = rule, loader.address(theta), theta.dtype
    recording = capturing()
    if recording is not None:
        write = recording.numbers

        def numbers(h: Any, step: int) -> list[float]:
            return [v for row in range(rows) for v in (FACTOR, *values(h, max(step - row, 1)))]

        recording.updates.append(lambda h, step: write(key, numbers(h, step), dtype))
        return write(key, numbers(h, step), dtype)
    now = (FACTOR, *values(h, step))
    slot = _SLOTS.get(key)
    if slot is None:
        if len(_SLOTS) >= _MOST:
            del _SLOTS[next(iter(_SLOTS))]
        slot = _SLOTS[key] = [None, namespace(theta).empty(len(now), dtype=dtype)]
    if slot[0] != now:
        device, host = slot[1], np.array(now, dtype=dtype)
        if isinstance(device, np.ndarray):
            device[...] = host
        else:
            # pageable memory: the driver takes the bytes before it returns, and does not wait for the device
            device.data.copy_from_host_async(host.ctypes.data, host.nbytes)
        slot[0] = now
    return slot[1]


def _step(rule: str, arrays: tuple[Array | None, ...], values: Values, h: Any, step: int) -> Any:
    """Launch a rule on theta, gradient and moments."""
    theta, grad = arrays[0], arrays[1]
    assert theta is not None
    assert grad is not None
    case = _case(rule, theta.dtype, grad.dtype, theta.size)
    if case is None or not _fit(theta, grad, arrays[2:]):
        return NotImplemented
    name, grid, count, dtype = case
    if not count:
        return None
    scale = scaled.scaling.get()
    rows = 1 if scale is None or scale.known is None else scaled.ROWS
    numbers = _hyperparameters(rule, theta, values, h, step, dtype, rows)
    moments = (*arrays[2:], None, None)[:3]
    if scale is None:
        under = _NOT_SCALED
    else:
        scale.taken.append(True)
        under = (scale.state, loader.int32(scale.undo), scale.known, loader.int32(numbers.size // rows))
    loader.kernel(FILE, name)(grid, (BLOCK,), (theta, grad, *moments, numbers, count, *under))
    return None


_NOT_SCALED = (None, np.int32(0), None, np.int32(0))


@lru_cache(1024)
def _case(rule: str, theta: Any, grad: Any, n: int) -> tuple[str, tuple[int], np.int64, Any] | None:
    """Kernel, grid, size, and the type of its numbers, for arrays of these dtypes; None without a kernel."""
    t, g = element(theta), element(grad)
    if t is None or g is None or (t, g) not in PAIRS:
        return None
    return _name(rule, t, g), (loader.flat_blocks(n, t.vector * BLOCK),), np.int64(n), t.scalar


@scaled.look.kernel("cupy")
def look(grads: Array, state: Array) -> Any:
    """See `xpnet.optim.scaled.look`."""
    g = element(grads.dtype)
    if g is None or not loader.is_contiguous(grads):
        return NotImplemented
    if grads.size:
        grid = (loader.flat_blocks(grads.size, g.vector * BLOCK),)
        loader.kernel(FILE, _look(g))(grid, (BLOCK,), (grads, state, loader.int64(grads.size)))
    return None


@scaled.adapt.kernel("cupy")
def adapt(state: Array, word: Array, seen: Array, constants: scaled.Constants) -> Any:
    """See `xpnet.optim.scaled.adapt`."""
    numbers = map(np.float32, (*constants, scaled.SMALLEST))
    loader.kernel(FILE, ADAPT)((1,), (1,), (state, word, seen, *numbers))
    return None


def _fit(theta: Array, grad: Array, moments: tuple[Array | None, ...]) -> bool:
    """Whether all are contiguous and of one size, the moments of theta's dtype."""
    n, dtype = theta.size, theta.dtype
    if not (loader.is_contiguous(theta) and loader.is_contiguous(grad)) or grad.size != n:
        return False
    for m in moments:
        if m is not None and (m.dtype != dtype or m.size != n or not loader.is_contiguous(m)):
            return False
    return True


# ---- the rules --------------------------------------------------------------------------------------------


def _sgd(h: Any, step: int) -> tuple[float, ...]:
    keep, blend = (0.0, 1.0) if step == 1 else (h.momentum, 1 - h.dampening)
    return h.weight_decay, h.lr, keep, blend, h.nesterov, h.momentum


@rules.sgd_step.kernel("cupy")
def sgd_step(theta: Array, grad: Array, velocity: Array | None, h: Any, step: int) -> Any:
    """See `xpnet.optim.rules.sgd_step`."""
    return _step("SGD", (theta, grad, velocity), _sgd, h, step)


def _adagrad(h: Any, step: int) -> tuple[float, ...]:
    return h.weight_decay, adagrad.rate(h, step), h.eps, h.eps_inside


@rules.adagrad_step.kernel("cupy")
def adagrad_step(theta: Array, grad: Array, total: Array, h: Any, step: int) -> Any:
    """See `xpnet.optim.rules.adagrad_step`."""
    return _step("Adagrad", (theta, grad, total), _adagrad, h, step)


def _adadelta(h: Any, step: int) -> tuple[float, ...]:
    return h.weight_decay, h.lr, h.rho, 1 - h.rho, h.eps


@rules.adadelta_step.kernel("cupy")
def adadelta_step(theta: Array, grad: Array, square: Array, delta: Array, h: Any, step: int) -> Any:
    """See `xpnet.optim.rules.adadelta_step`."""
    return _step("Adadelta", (theta, grad, square, delta), _adadelta, h, step)


def _rmsprop(h: Any, step: int) -> tuple[float, ...]:
    return h.weight_decay, h.lr, h.alpha, 1 - h.alpha, h.eps, h.eps_inside, h.momentum


@rules.rmsprop_step.kernel("cupy")
def rmsprop_step(
    theta: Array, grad: Array, square: Array, velocity: Array | None, average: Array | None, h: Any, step: int
) -> Any:
    """See `xpnet.optim.rules.rmsprop_step`."""
    return _step("RMSprop", (theta, grad, square, velocity, average), _rmsprop, h, step)


def _adam(h: Any, step: int, decoupled: bool = False) -> tuple[float, ...]:
    beta1, beta2 = h.betas
    coupled, shrink = adam.decay(h, decoupled)
    return coupled, *adam.unbiased(h, step), 1 - beta1, beta2, 1 - beta2, h.eps, shrink


_adamw = partial(_adam, decoupled=True)


@rules.adam_step.kernel("cupy")
def adam_step(
    theta: Array,
    grad: Array,
    mean: Array,
    square: Array,
    largest: Array | None,
    h: Any,
    step: int,
    decoupled: bool = False,
) -> Any:
    """See `xpnet.optim.rules.adam_step`."""
    return _step("Adam", (theta, grad, mean, square, largest), _adamw if decoupled else _adam, h, step)
