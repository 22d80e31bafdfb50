"""Targets, class weights and reductions, as every loss takes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.core.arrays import carries_gradients, constant, is_half, sum_last, widen
from xpnet.core.backend import Array, dtype_name
from xpnet.core.convert import array_like, asarray, to_numpy
from xpnet.core.notes import OPS, check_labels
from xpnet.core.places import backend_name, backend_of, namespace
from xpnet.core.recording import by_values, told_by
from xpnet.functional.weighing import report, report_each

_INT64, _UINT64 = np.dtype(np.int64), np.dtype(np.uint64)


def _are_all_classes(target: Any, like: Array, classes: int, ignore_index: int | None, name: str) -> bool:
    """Whether no label is to be ignored, or refused."""
    if ignore_index is not None and 0 <= ignore_index < classes:
        return False
    if type(target) is np.ndarray and target.dtype == _INT64 and target.flags.c_contiguous:
        return _are_below(target, classes)
    host = to_numpy(array_like(target))
    return not host.size or bool(host.min() >= 0 and host.max() < classes)


def _are_below(labels: np.ndarray, classes: int) -> bool:
    """Whether int64 labels are 0 to classes - 1: as unsigned numbers, negative ones are huge."""
    return not labels.size or bool(np.maximum.reduce(labels.view(_UINT64), axis=None) < classes)


@by_values
@told_by(_are_all_classes)
def class_indices(
    target: Any, like: Array, classes: int, ignore_index: int | None, name: str
) -> tuple[Array, Array | None]:
    """Class indices on the device of `like`, and what each row counts: 1, or 0 if ignored (None: all 1).

    Labels on the host are checked; on CUDA that would wait for the device: see `check_labels`.
    """
    ignoring = ignore_index is not None and 0 <= ignore_index < classes
    if (
        not ignoring
        and type(target) is np.ndarray
        and target.dtype == _INT64
        and target.shape == like.shape[:1]
        and _are_below(target, classes)
    ):
        return target if type(like) is np.ndarray else asarray(target, backend=backend_of(like)), None
    target = array_like(target)
    if tuple(target.shape) != (like.shape[0],):
        raise ValueError(
            f"{name}: expected class indices of shape ({like.shape[0]},), one a row of the input "
            f"{tuple(like.shape)}, got {tuple(target.shape)}"
        )
    kind = str(target.dtype)
    if "int" not in kind:
        raise TypeError(f"{name}: class indices must be integers, got {kind}")
    valid = None
    if backend_name(target) == backend_name(like) == "cupy":
        target = asarray(target, backend=backend_of(like))  # from another device
        op = OPS.index(name if name in OPS else "a metric")
        return check_labels(target, like.dtype, classes, ignore_index, op)
    if target.shape[0]:
        host = to_numpy(target)
        if ignoring or host.min() < 0 or host.max() >= classes:
            valid = host != ignore_index if ignore_index is not None else np.ones(host.shape, bool)
            wrong = host[valid & ((host < 0) | (host >= classes))]
            if wrong.size:
                raise ValueError(
                    f"{name}: label {wrong[0]} is out of range: with {classes} classes, labels are 0 to "
                    f"{classes - 1}"
                )
            target = np.where(valid, host, 0)
    backend = backend_of(like)
    target = asarray(target, "int64", backend=backend)  # torch takes smaller integers for masks
    if valid is None:
        return target, None
    return target, constant(asarray(valid, dtype_name(like.dtype), backend=backend), like)


def class_weight(weight: Any, like: Array, classes: int, name: str) -> Array:
    """The weight of each class, of any number type, in the dtype and on the device of `like`."""
    weight = beside(weight, like)
    xp = namespace(like, weight)
    if tuple(weight.shape) != (classes,):
        raise ValueError(
            f"{name}: weight has shape {tuple(weight.shape)}, expected ({classes},), one for each class"
        )
    return constant(xp.astype(weight, like.dtype, copy=False), like)


def beside(weight: Any, like: Array) -> Array:
    """A weight from the host (a list, a Series, a NumPy array) on the device of `like`; another as it is."""
    if type(weight) is type(like) or (
        hasattr(weight, "__array_namespace__") and not isinstance(weight, np.ndarray)
    ):
        return weight
    return asarray(weight, backend=backend_of(like))


def reduce_losses(losses: Array, reduction: str, each: Any = None) -> tuple[Array, Callable[[Array], Any]]:
    """Apply `reduction`; the second result turns dy into the gradient of each loss (one for all or one each).

    `each` is what each weighs in the mean, which divides by the sum: None for 1. Where the sum is 0, the mean
    is NaN and its gradient 0, as in PyTorch.
    """
    xp = namespace(losses)
    if reduction == "none":
        report_each(None if each is None else lambda: each)
        return losses, lambda dy: dy
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
    if is_half(losses):
        value, wide = reduce_losses(widen(losses), reduction, each)
        narrow = lambda x: xp.astype(x, losses.dtype) if hasattr(x, "dtype") else x
        return narrow(value), lambda dy: narrow(wide(widen(dy)))
    value = sum_last(losses) if losses.ndim == 1 else xp.sum(losses, dtype=losses.dtype)
    if reduction == "sum":
        return value, lambda dy: dy
    count = math.prod(losses.shape)
    total = count if each is None else xp.sum(each, dtype=each.dtype)
    report(total, count)
    if type(total) is int:
        if total == 0:
            return value * math.nan, lambda dy: dy * 0
        return value / total, lambda dy: dy / total
    nothing = total == 0  # on the device: every row ignored, or of a class that weighs nothing
    total = xp.where(nothing, xp.ones_like(total), total)
    spread = lambda dy: xp.where(nothing, xp.zeros_like(total), dy / total)
    return xp.where(nothing, xp.full_like(value, math.nan), value / total), spread


def as_constant(target: Any, x: Array) -> Array:
    """A target or a weight in the dtype and place of x; a Tensor among Tensors keeps its history."""
    if carries_gradients(target):
        return namespace(target).astype(target, x.dtype, copy=False)
    return constant(asarray(array_like(target), dtype=dtype_name(x.dtype), backend=backend_of(x)), x)


def same_shape(
    x: Array, target: Any, name: str, what: str = "target", shape: tuple[int, ...] | None = None
) -> Array:
    """The target, or `what` else it is, in the dtype and place of x; of this shape, by default that of x."""
    target, shape = as_constant(target, x), tuple(x.shape) if shape is None else shape
    if tuple(target.shape) != shape:
        raise ValueError(f"{name}: input {shape} and {what} {tuple(target.shape)} must have the same shape")
    return target
