"""Launches kernels/batch_norm.cu, two reads of the data, and batch_norm_once.cu, one if they fit on chip."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.node import Joint, Room
from xpnet.core.places import namespace
from xpnet.cuda import loader
from xpnet.cuda.batch_norm_plan import (
    BLOCK,
    COLUMNS_VEC,
    IN_BLOCK,
    IN_CLUSTER,
    IN_GRID,
    ONE_READ,
    TWO,
    TWO_READS,
    VARIANTS,
    Plan,
    Shape,
    layouts,
    plan,
    reads_once,
    slab_bytes,
)
from xpnet.cuda.element import ELEMENTS, Element, element
from xpnet.functional import normalization


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    two, once = [], []
    for t in ELEMENTS.values():
        two += [_combined(what, t) for what in ("statistics", "sums")]
        for vec, columns in layouts(t):
            layout = f"{t.ctype}, {vec}, {columns}"
            two += [f"bn_{name}<{layout}>" for name in ("statistics", "apply", "sums", "gradient")]
            for group in (IN_BLOCK, IN_CLUSTER, IN_GRID):
                if reads_once(t, vec, group, arch):
                    suffix = "_cluster" if group == IN_CLUSTER else ""
                    once += [f"bn_{way}{suffix}<{layout}, {group}>" for way in ("forward", "backward")]
    return {TWO_READS: two, ONE_READ: once}


@cache
def _kernel(name: str, group: int, types: str, arch: int) -> tuple[str, str, int, int, bool]:
    """What `loader.kernel` takes for a kernel that walks over the data."""
    if group == TWO:
        return TWO_READS, f"{name}<{types}>", 1, 0, False
    suffix = "_cluster" if group == IN_CLUSTER else ""
    return ONE_READ, f"{name}{suffix}<{types}>", max(group, 1), slab_bytes(arch), group == IN_GRID


def _run(name: str, p: Plan, here: loader.Target, args: tuple[Any, ...]) -> None:
    """Launch a kernel that walks over the data."""
    file, kernel_name, cluster, shared, cooperative = _kernel(name, p.group, p.types, here.arch)
    kernel = loader.kernel(file, kernel_name, cluster=cluster, shared=shared, cooperative=cooperative)
    kernel((p.grid,), (BLOCK,), (*args, *p.geometry), shared_mem=p.shared)


@cache
def _combined(what: str, t: Element) -> str:
    return f"bn_combine_{what}<{t.ctype}>"


def _combine(what: str, p: Plan, t: Element, args: tuple[Any, ...]) -> None:
    """Launch a kernel that combines the parts of each tile."""
    kernel = loader.kernel(TWO_READS, _combined(what, t))
    channels = p.geometry[4]
    kernel((p.tiles,), (BLOCK,), (*args, channels, loader.int32(p.parts), loader.int32(p.width)))


class Case:
    """What arrays of these shapes and dtypes have in common, looked at once; its own key in `_plan_of`."""

    def __init__(self, t: Element, shape: tuple[int, ...], last: bool, dtypes: tuple[Any, ...]) -> None:
        self.t = t
        self.channels = shape[-1 if last else 1]
        self.values = math.prod(shape) // self.channels
        self.columns = last or self.values == shape[0]
        self.planes, self.segment = (self.values, 1) if self.columns else (shape[0], math.prod(shape[2:]))
        self.count = t.scalar(self.values)
        flags = (dtype is not None and dtype != t.scalar for dtype in dtypes)
        self.narrow = loader.int32(sum(flag << i for i, flag in enumerate(flags)))
        self.step = COLUMNS_VEC * 16 // t.vector


@cache
def _case(dtype: Any, shape: tuple[int, ...], last: bool, per_channel: tuple[Any, ...]) -> Case | None:
    """The case, or None if the kernels do not take it: then the Array API body does, or says what is wrong.

    Args:
        dtype: of x.
        shape: of x.
        last: whether the channels are.
        per_channel: of weight, bias, mean and variance: None, or shape, dtype and strides.
    """
    t = element(dtype)
    if t is None or len(shape) < 2 or 0 in shape or max(shape[1:]) >= 2**31:
        return None
    fits = (shape[-1 if last else 1],), (dtype, np.dtype(t.scalar))
    for kind in per_channel:
        if kind is not None and not (kind[0] == fits[0] and kind[1] in fits[1]):
            return None
        if kind is not None and kind[0] != (1,) and kind[2] != (kind[1].itemsize,):
            return None
    return Case(t, shape, last, tuple(kind and kind[1] for kind in per_channel))


@cache
def _plan_of(
    case: Case, aligned: bool, arrays: int, arch: int, multiprocessors: int, variant: int | None, fixed: bool
) -> Plan:
    shape = Shape(case.t, case.columns, case.planes, case.channels, case.segment, aligned)
    return plan(shape, arrays, arch, multiprocessors, variant, fixed)


class _Call:
    """One call's arrays and options, as the kernels want them."""

    def __init__(
        self,
        case: Case,
        x: Array,
        weight: Array | None,
        bias: Array | None,
        running: tuple[Array | None, Array | None],
        eps: float,
        relu: bool,
        variant: str | None,
    ) -> None:
        self.case, self.x, self.here = case, x, loader.target()
        self.t, self.scalar = case.t, case.t.scalar
        self.weight, self.bias = weight, bias
        self.running, self.narrow, self.count = running, case.narrow, case.count
        self.eps, self.relu = loader.scalar(self.scalar, eps), loader.int32(relu)
        self.variant = None if variant is None else VARIANTS[variant]
        self.saved = loader.empty(x, (3, case.channels), self.scalar)

    def plan(self, arrays: int, fixed: bool, *others: Array | None) -> Plan:
        """How to pass over x, with arrays of its shape at other addresses."""
        bits = loader.address(self.x)
        step = 16
        if self.case.columns:  # of planes, x alone says where the pieces are cut
            step = self.case.step
            for a in others:
                if a is not None:
                    bits |= loader.address(a)
        here = self.here
        aligned = bits % step == 0
        return _plan_of(self.case, aligned, arrays, here.arch, here.multiprocessors, self.variant, fixed)

    def meeting(self, p: Plan, fields: int, fixed: bool = False) -> tuple[Array | None, Array | None]:
        """Room for what the blocks of a group tell each other, and what the groups of a grid meet by.

        The latter are zeros, filled in ahead of a cooperative launch. `fixed`: without the former.
        """
        counts = _zeros(self.x, p.grid // p.parts) if p.group == IN_GRID else None
        if fixed or p.group == IN_BLOCK:
            return None, counts
        return loader.empty(self.x, (p.tiles * p.parts * p.width * fields,), self.scalar), counts

    def forward(self, residual: Array | None, fixed: bool, update: bool, momentum: float) -> Array:
        """The output. `fixed`: by the running statistics; `update`: which else move."""
        y = loader.empty(self.x, self.x.shape, self.x.dtype)
        p = self.plan(1, fixed, y, residual)
        count, momentum = self.count, loader.scalar(self.scalar, momentum)
        affine, running = (self.weight, self.bias), self.running
        moving = running if update else (None, None)
        rates = (self.narrow, count, momentum, self.eps)
        (partial, counts), here = self.meeting(p, 4, fixed), self.here
        if p.group != TWO:
            room = (partial, counts, self.saved)
            _run("bn_forward", p, here, (self.x, residual, y, *room, *affine, *moving, *rates, self.relu))
            return y
        if not fixed:
            _run("bn_statistics", p, here, (self.x, partial))
            _combine("statistics", p, self.t, (partial, self.saved, *moving, *rates))
        args = (
            self.x,
            residual,
            y,
            self.saved,
            *affine,
            *running,
            self.narrow,
            loader.int32(fixed),
            self.eps,
            self.relu,
        )
        _run("bn_apply", p, here, args)
        return y

    def backward(
        self, dy: Array, y: Array | None, dresidual: Array | None, fixed: bool, room: Room
    ) -> tuple[Array | None, ...]:
        """dx, dweight, dbias; `y` where the mask of the ReLU cannot be made from x alone."""
        x = self.x
        dx = loader.empty(x, x.shape, x.dtype)
        dweight = None if self.weight is None else loader.room(room.get(3), self.weight)
        dbias = None if self.bias is None else loader.room(room.get(4), self.bias)
        p = self.plan(2, fixed, dy, dx, y, dresidual)
        (partial, counts), count, here = self.meeting(p, 2), self.count, self.here
        inputs = (self.saved, self.weight, self.bias, self.narrow)
        if p.group != TWO:
            args = (
                x,
                dy,
                y,
                dresidual,
                dx,
                partial,
                counts,
                self.saved,
                dweight,
                dbias,
                *inputs[1:],
                count,
            )
            _run("bn_backward", p, here, (*args, loader.int32(p.held), self.relu))
            return dx, dweight, dbias
        whole = dx if fixed else None
        _run("bn_sums", p, here, (x, dy, y, dresidual, whole, partial, *inputs, self.relu))
        sums = None if fixed else loader.empty(x, (2, self.case.channels), self.scalar)
        _combine("sums", p, self.t, (partial, sums, dweight, dbias, self.saved, self.narrow))
        if not fixed:
            _run("bn_gradient", p, here, (x, dy, y, dx, sums, *inputs, count, self.relu))
        return dx, dweight, dbias


def _zeros(like: Array, n: int) -> Array:
    return namespace(like).zeros(n, dtype=np.uint32)


def normalize(
    x: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    channels_last: bool = False,
    relu: bool = False,
    residual: Array | None = None,
    variant: str | None = None,
) -> Any:
    """`batch_norm` with what the op does not offer; `NotImplemented` if the kernels do not take it.

    Args:
        x: (N, C, ...), or (N, ..., C) if `channels_last`.
        running_mean: (C,), of x's dtype or, for 16-bit x, float32; so are the next three.
        running_var: (C,).
        weight: (C,).
        bias: (C,).
        training: as in the op.
        momentum: as in the op.
        eps: as in the op.
        channels_last: the last axis holds the channels.
        relu: y = max(0, ...) in the same pass; backward makes the mask again.
        residual: of x's shape, added before the ReLU; its gradient is the pullback's last result.
        variant: "block", "cluster", "grid" or "two reads" instead of the one that `plan` chooses.
    """
    dense, fits = loader.is_contiguous(x), residual is None or residual.shape == x.shape
    if not dense and not channels_last and fits and x.ndim == 4:
        turned = x.transpose(0, 2, 3, 1)
        if loader.is_contiguous(turned):
            statistics = running_mean, running_var, weight, bias, training, momentum, eps
            return _channels_last(turned, residual, relu, *statistics)
    arrays = (weight, bias, running_mean, running_var)
    kinds = tuple([None if a is None else (a.shape, a.dtype, a.strides) for a in arrays])
    case = _case(x.dtype, x.shape, channels_last, kinds)
    if case is None or (training and case.values == 1):
        return NotImplemented
    has = running_mean is not None and running_var is not None
    fixed = not training and has
    if residual is not None:
        if residual.shape != x.shape or residual.dtype != x.dtype:
            return NotImplemented
        residual = loader.contiguous(residual)
    running = (running_mean, running_var) if has else (None, None)
    call = _Call(case, x if dense else loader.contiguous(x), weight, bias, running, eps, relu, variant)
    y = call.forward(residual, fixed, training and has, momentum)
    add = residual is not None
    kept = y if relu and add else None

    def into(dy: Array, room: Room) -> tuple[Array | None, ...]:
        if dy.dtype != x.dtype:
            dy = namespace(x).astype(dy, x.dtype)
        dy = loader.contiguous(dy)
        dresidual = None
        if add:  # without a ReLU it is dy itself
            dresidual = loader.empty(x, x.shape, x.dtype) if relu else dy
        dx, dweight, dbias = call.backward(dy, kept, dresidual if relu else None, fixed, room)
        return (dx, None, None, dweight, dbias, dresidual) if add else (dx, None, None, dweight, dbias)

    return y, Joint(into)


def _channels_last(x: Array, residual: Array | None, relu: bool, *statistics: Any) -> Any:
    """Of images (N, H, W, C), seen as (N, C, H, W) outside; a residual and dy in another order are copied."""
    if residual is not None:
        residual = residual.transpose(0, 2, 3, 1)
    made = normalize(x, *statistics, channels_last=True, relu=relu, residual=residual)
    if made is NotImplemented:
        return made
    y, pullback = made

    def into(dy: Array, room: Room) -> tuple[Array | None, ...]:
        dx, *found = pullback.into(dy.transpose(0, 2, 3, 1), room)
        if residual is not None:
            found[4] = found[4].transpose(0, 3, 1, 2)
        return dx.transpose(0, 3, 1, 2), *found

    return y.transpose(0, 3, 1, 2), Joint(into)


@normalization.batch_norm.kernel("cupy")
def batch_norm(
    x: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Array, Callable[[Array], tuple[Array | None, ...]]]:
    """`xpnet.functional.batch_norm`: one launch each way where the data fit on the chip, else three."""
    return normalize(x, running_mean, running_var, weight, bias, training, momentum, eps)


@normalization.batch_norm_relu.kernel("cupy")
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
) -> Any:
    """`xpnet.functional.batch_norm_relu`: in the passes of batch norm."""
    statistics = (running_mean, running_var, weight, bias, training, momentum, eps)
    made = normalize(x, *statistics, relu=relu, residual=residual)
    if made is NotImplemented or residual is None:
        return made
    y, pullback = made

    def into(dy: Array, room: Room) -> tuple[Array | None, ...]:
        *found, dresidual = pullback.into(dy, room)
        return *found, None, None, None, dresidual

    return y, Joint(into)
