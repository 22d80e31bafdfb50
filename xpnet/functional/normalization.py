"""Batch, layer, instance and group normalisation: one standardisation, over different axes.

Ioffe & Szegedy, 2015; Ba et al., 2016; Ulyanov et al., 2016; Wu & He, 2018.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnet.core.arrays import floating, widen
from xpnet.core.backend import Array
from xpnet.core.context import again
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable, inside
from xpnet.core.operators import values_of
from xpnet.core.places import namespace
from xpnet.core.renamed import takes_input
from xpnet.core.tensor import Tensor, array_of
from xpnet.core.tracing import traced
from xpnet.functional import activations

Result = tuple[Array, Pullback]
Axes = tuple[int, ...]


def _statistics(xp: Any, x: Array, axes: Axes) -> tuple[Array, Array, Array]:
    """x - mean, the mean and the biased variance over `axes`, axes kept.

    The corrected two-pass algorithm (Chan, Golub & LeVeque, 1983): the mean of the centred values removes the
    rounding error of the first mean, so data with mean 1e4 and deviation 1 keep full float32 accuracy.
    """
    mean = xp.mean(x, axis=axes, keepdims=True)
    centred = x - mean
    rest = xp.mean(centred, axis=axes, keepdims=True)
    centred -= rest
    return centred, mean + rest, xp.mean(centred * centred, axis=axes, keepdims=True)


def _standardize(
    xp: Any, x: Array, axes: Axes, eps: float
) -> tuple[Array, Callable[[Array], Array], Array, Array]:
    """(x - mean) / sqrt(var + eps), its pullback, and the mean and biased variance over `axes`."""
    normal, mean, var = _statistics(xp, x, axes)
    inverse = 1 / xp.sqrt(var + eps)
    normal *= inverse

    def pullback(dy: Array) -> Array:
        # S1: dx = (dy - mean(dy) - x^ mean(dy x^)) / sigma
        dx = dy - xp.mean(dy, axis=axes, keepdims=True)
        dx -= normal * xp.mean(dy * normal, axis=axes, keepdims=True)
        dx *= inverse
        return dx

    return normal, pullback, mean, var


def _affine(
    xp: Any,
    x: Array,
    normal: Array,
    weight: Array | None,
    bias: Array | None,
    axes: Axes,
    to_input: Callable[[Array], Array],
) -> tuple[Array, Callable[[Array], tuple[Array | None, ...]]]:
    """y = weight * x^ + bias and the pullback to (x, weight, bias); the parameters repeat over `axes`."""
    shape = tuple(1 if i in axes else n for i, n in enumerate(normal.shape))
    parameter = tuple(n for i, n in enumerate(normal.shape) if i not in axes)
    y = normal
    if weight is not None:
        gain = xp.reshape(widen(weight), shape)
        y = y * gain
    if bias is not None:
        y = y + xp.reshape(widen(bias), shape)

    def pullback(dy: Array) -> tuple[Array | None, ...]:
        dy = widen(dy)
        dweight = dbias = None
        if weight is not None:
            total = xp.sum(dy * normal, axis=axes, dtype=dy.dtype)
            dweight = xp.astype(xp.reshape(total, parameter), weight.dtype, copy=False)
        if bias is not None:
            total = xp.sum(dy, axis=axes, dtype=dy.dtype)
            dbias = xp.astype(xp.reshape(total, parameter), bias.dtype, copy=False)
        dx = to_input(dy if weight is None else dy * gain)
        return xp.astype(dx, x.dtype, copy=False), dweight, dbias

    return xp.astype(y, x.dtype, copy=False), pullback


def _channel_axes(x: Array, name: str) -> Axes:
    if x.ndim < 2:
        raise ValueError(f"{name}: expected an input of shape (N, C, ...), got {tuple(x.shape)}")
    return (0, *range(2, x.ndim))


def _check_shapes(op: str, x: Array, expected: tuple[int, ...], arrays: dict[str, Array | None]) -> None:
    for name, array in arrays.items():
        if array is not None and array.shape != expected:
            raise ValueError(
                f"{op}: {name} has shape {tuple(array.shape)}, expected {tuple(expected)} "
                f"for an input of shape {tuple(x.shape)}"
            )


def _move(running: Array, batch: Array, momentum: float) -> None:
    """A running statistic, in place, towards that of a batch; once, though a body may run again."""
    if again.get():
        return
    running, batch = traced([values_of(running), values_of(batch)])
    xp = namespace(running, batch)
    running *= 1 - momentum
    running += xp.astype(momentum * xp.reshape(batch, running.shape), running.dtype)


@differentiable
def batch_norm(
    x: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Result:
    """y = weight (x - mean) / sqrt(var + eps) + bias, per channel (Ioffe & Szegedy, 2015).

    Args:
        x: (N, C) or (N, C, ...).
        running_mean: (C,), used when not training; in training moved *in place* towards the batch mean:
            r <- (1 - momentum) r + momentum * mean.
        running_var: (C,), likewise, with the unbiased variance; the biased one normalises.
        weight: (C,) gamma, or None for 1.
        bias: (C,) beta, or None for 0.
        training: normalise with the statistics of the batch. Also done if there are no running statistics.
        momentum: the weight of the new batch.
        eps: added to the variance.

    Returns:
        The shape of x.

    Raises:
        ValueError: fewer than two values a channel in training, or a wrong shape.

    >>> import xpnet, xpnet.functional as F
    >>> F.batch_norm(xpnet.asarray([[1.0, 5.0], [3.0, 5.0]]), training=True, eps=1e-12)
    array([[-1.,  0.],
           [ 1.,  0.]], dtype=float32)
    """
    xp = namespace(x, running_mean, running_var, weight, bias)
    floating("batch_norm", x)
    axes = _channel_axes(x, "batch_norm")
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    per_channel = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    _check_shapes("batch_norm", x, x.shape[1:2], per_channel)
    wide = widen(x)
    if training or running_mean is None or running_var is None:
        count = math.prod(x.shape) // max(x.shape[1], 1)
        if training and count < 2 and x.shape[0]:
            raise ValueError(
                f"batch_norm: training needs more than one value a channel, got an input of shape "
                f"{tuple(x.shape)}; use a larger batch, DataLoader(drop_last=True) or model.eval()"
            )
        normal, to_input, mean, var = _standardize(xp, wide, axes, eps)
        if training and running_mean is not None and running_var is not None and count:
            unbiased = var * (count / (count - 1))
            _move(running_mean, mean, momentum)
            _move(running_var, unbiased, momentum)
    else:
        mean, var = (xp.reshape(widen(r), shape) for r in (running_mean, running_var))
        inverse = 1 / xp.sqrt(var + eps)
        normal = (wide - mean) * inverse
        to_input = lambda dy: dy * inverse
    y, pullback = _affine(xp, x, normal, weight, bias, axes, to_input)

    def positions(dy: Array) -> tuple[Array | None, ...]:
        dx, dweight, dbias = pullback(dy)
        return dx, None, None, dweight, dbias

    return y, positions


@differentiable
def batch_norm_relu(
    x: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    residual: Array | None = None,
    relu: bool = True,
) -> Result:
    """relu(batch_norm(x) + residual), or the sum alone; on CUDA in batch norm's passes (He et al., 2016).

    Args:
        x: the first eight arguments are those of `batch_norm`.
        running_mean: likewise.
        running_var: likewise.
        weight: likewise.
        bias: likewise.
        training: likewise.
        momentum: likewise.
        eps: likewise.
        residual: of x's shape, or None for 0.
        relu: whether max(0, ...) follows. In 16 bits, a kernel rounds once, not after each step.

    Returns:
        The shape of x.

    Raises:
        ValueError: as `batch_norm`, or the residual has another shape.

    >>> import xpnet, xpnet.functional as F
    >>> F.batch_norm_relu(xpnet.asarray([[1.0, 5.0], [3.0, 5.0]]), training=True, eps=1e-12)
    array([[0., 0.],
           [1., 0.]], dtype=float32)
    """
    if residual is not None and tuple(residual.shape) != tuple(x.shape):
        raise ValueError(
            f"batch_norm_relu: a residual of shape {tuple(residual.shape)} does not fit an input of shape "
            f"{tuple(x.shape)}"
        )
    y, of_norm = inside(batch_norm, x, running_mean, running_var, weight, bias, training, momentum, eps)
    if residual is not None:
        y = residual + y
    of_relu = None
    if relu:
        y, of_relu = inside(activations.relu, y)

    def positions(dy: Array) -> tuple[Array | None, ...]:
        g = dy if of_relu is None else of_relu(dy)
        return *of_norm(g), None, None, None, g

    return y, positions


@differentiable
def layer_norm(
    x: Array,
    normalized_shape: int | tuple[int, ...],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> Result:
    """Standardise each sample over its last axes, then scale and shift (Ba et al., 2016).

    Args:
        x: (..., *normalized_shape).
        normalized_shape: the sizes of the last axes, or of the last one.
        weight: shape `normalized_shape`, or None.
        bias: shape `normalized_shape`, or None.
        eps: added to the variance.

    Returns:
        The shape of x.

    Raises:
        ValueError: x does not end in `normalized_shape`.

    >>> import xpnet, xpnet.functional as F
    >>> F.layer_norm(xpnet.asarray([[1.0, 3.0], [0.0, 9.0]]), 2, eps=0.0)
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """
    xp = namespace(x, weight, bias)
    floating("layer_norm", x)
    tail = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if tuple(x.shape[x.ndim - len(tail) :]) != tail:
        raise ValueError(f"layer_norm: expected an input ending in {tail}, got {tuple(x.shape)}")
    _check_shapes("layer_norm", x, tail, {"weight": weight, "bias": bias})
    lead = tuple(range(x.ndim - len(tail)))
    normal, to_input, _, _ = _standardize(xp, widen(x), tuple(range(len(lead), x.ndim)), eps)
    y, pullback = _affine(xp, x, normal, weight, bias, lead, to_input)

    def positions(dy: Array) -> tuple[Array | None, ...]:
        dx, dweight, dbias = pullback(dy)
        return dx, None, dweight, dbias

    return y, positions


@differentiable
def group_norm(
    x: Array, num_groups: int, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5
) -> Result:
    """Standardise each sample over groups of channels, then scale and shift a channel (Wu & He, 2018).

    Args:
        x: (N, C, ...).
        num_groups: must divide C; 1 is layer norm over (C, ...), C is instance norm.
        weight: (C,) or None.
        bias: (C,) or None.
        eps: added to the variance.

    Returns:
        The shape of x.

    Raises:
        ValueError: `num_groups` does not divide C.

    >>> import xpnet, xpnet.functional as F
    >>> F.group_norm(xpnet.asarray([[1.0, 3.0, 0.0, 9.0]]), 2, eps=0.0)
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """
    xp = namespace(x, weight, bias)
    floating("group_norm", x)
    axes = _channel_axes(x, "group_norm")
    if num_groups < 1 or x.shape[1] % num_groups:
        raise ValueError(f"group_norm: {x.shape[1]} channels do not split into {num_groups} groups")
    _check_shapes("group_norm", x, x.shape[1:2], {"weight": weight, "bias": bias})
    # sizes, not -1: an empty batch leaves -1 undetermined
    size = math.prod(x.shape[1:]) // num_groups
    groups = xp.reshape(widen(x), (x.shape[0], num_groups, size))
    normal, to_groups, _, _ = _standardize(xp, groups, (2,), eps)

    def to_input(dy: Array) -> Array:
        return xp.reshape(to_groups(xp.reshape(dy, groups.shape)), x.shape)

    y, pullback = _affine(xp, x, xp.reshape(normal, x.shape), weight, bias, axes, to_input)

    def positions(dy: Array) -> tuple[Array | None, ...]:
        dx, dweight, dbias = pullback(dy)
        return dx, None, dweight, dbias

    return y, positions


@takes_input
def instance_norm(
    x: Array | Tensor,
    running_mean: Array | Tensor | None = None,
    running_var: Array | Tensor | None = None,
    weight: Array | Tensor | None = None,
    bias: Array | Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Standardise each channel of each sample over its positions (Ulyanov et al., 2016).

    Args:
        x: (N, C, ...), with `use_input_stats` of more than one position.
        running_mean: (C,), moved *in place* towards the samples' average mean with `use_input_stats`, else
            used instead of theirs.
        running_var: (C,), likewise, with the unbiased variances.
        weight: (C,) or None.
        bias: (C,) or None.
        use_input_stats: False to normalise with the running statistics.
        momentum: the weight of the new batch.
        eps: added to the variance.

    Returns:
        The shape of x.

    Raises:
        ValueError: a channel has one value only, or there are no running statistics to use.

    >>> import xpnet, xpnet.functional as F
    >>> F.instance_norm(xpnet.asarray([[[1.0, 3.0]]]), eps=0.0)
    array([[[-1.,  1.]]], dtype=float32)
    """
    floating("instance_norm", array_of(x))
    if x.ndim < 3 or (use_input_stats and math.prod(x.shape[2:]) < 2):
        raise ValueError(
            f"instance_norm: expected (N, C, ...) with more than one position, got {tuple(x.shape)}"
        )
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ValueError("instance_norm: use_input_stats=False needs running_mean and running_var")
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    if running_mean is not None and running_var is not None:
        _track_instances(values_of(x), array_of(running_mean), array_of(running_var), momentum)
    return group_norm(x, x.shape[1], weight, bias, eps)


def _track_instances(x: Array, running_mean: Array, running_var: Array, momentum: float) -> None:
    """Move the running statistics towards the average of the samples' own."""
    xp, count = namespace(x, running_mean, running_var), math.prod(x.shape[2:])
    if x.shape[0]:
        _, mean, var = _statistics(xp, widen(x), tuple(range(2, x.ndim)))
        _move(running_mean, xp.mean(mean, axis=0), momentum)
        _move(running_var, xp.mean(var, axis=0) * (count / (count - 1)), momentum)
