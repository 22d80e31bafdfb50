"""Launches kernels/batch_norm.cu, two reads of the data, and batch_norm_once.cu, one if they fit on chip."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from xpnet.backend import Array, namespace
from xpnet.cuda import loader
from xpnet.dispatch import fused

TWO_READS, ONE_READ = "batch_norm.cu", "batch_norm_once.cu"
BLOCK = 256  # as in the source
BLOCK_, CLUSTER_, GRID_ = 1, 8, 0  # GROUP in the source: what keeps a tile on the chip
TWO = -1
VARIANTS = {"block": BLOCK_, "cluster": CLUSTER_, "grid": GRID_, "two reads": TWO}
SHARED = {75: 64, 80: 164, 86: 100, 87: 164, 89: 100, 90: 228, 100: 228, 103: 228, 120: 100, 121: 100}
"""KiB of shared memory a multiprocessor, by architecture."""


COLUMNS_VEC = 4
"""Channels a thread takes in rows of columns: eight of them would not leave enough registers for loads."""


def _layouts(dtype: str) -> list[tuple[int, str]]:
    """VEC and COLUMNS of the kernels; float64 is for checking, and has the fewest."""
    wide = [] if dtype == "float64" else [(COLUMNS_VEC, "true")]
    return [(1, "true"), (loader.vector(dtype), "false"), *wide]


def _once(dtype: str, vec: int, group: int, arch: int) -> bool:
    """Whether there are kernels that read once; for odd widths only those of small data."""
    return dtype != "float64" and (vec > 1 or group == BLOCK_) and (arch >= 90 or group != CLUSTER_)


def slab_bytes(arch: int) -> int:
    """Dynamic shared memory a block may take so that two fit: one loads while the other waits or stores.

    12 KiB a block go to static shared memory and to the system.
    """
    return (SHARED.get(arch, 64) // 2 - 12) * 1024


class Plan(NamedTuple):
    """How one pass over the data is launched."""

    group: int  # TWO, or GROUP of the kernel that reads once
    types: str  # the kernels' template arguments
    tiles: int
    parts: int  # blocks that share a tile
    grid: int
    held: int  # items of one array that a block keeps
    shared: int
    width: int  # channels a tile
    geometry: tuple[Any, ...]  # BN_GEOMETRY


class Shape(NamedTuple):
    """The data as the kernels walk them: `planes` runs of `segment` values of each channel."""

    dtype: str
    columns: bool  # channels last
    planes: int
    channels: int
    segment: int
    aligned: bool  # columns: every array is; planes: x is


def _plans(shape: Shape, arrays: int, slab: int) -> list[tuple[int, str, int, int, int, int, int, int]]:
    """(tx, types, vec, rows, items, pieces, tiles, held at most) for each width that a tile may have."""
    itemsize = {"float64": 8, "float32": 4}.get(shape.dtype, 2)
    vec, widths = loader.vector(shape.dtype), [1]
    pieces = 1
    if shape.columns:
        whole = shape.aligned and shape.channels % COLUMNS_VEC == 0 and shape.dtype != "float64"
        vec = COLUMNS_VEC if whole else 1
        tx = min(32 if vec == 1 else 16, loader.power_of_two(loader.ceil_div(shape.channels, vec)))
        widths = [tx]
        while widths[-1] * vec * itemsize > 64:  # two sectors: narrower reads waste what the bus brings
            widths.append(widths[-1] // 2)
    elif shape.aligned and shape.segment % vec == 0:
        pieces = shape.segment // vec
    else:
        pieces = loader.ceil_div(shape.segment + vec - 1, vec)
    types = f"{loader.CTYPES[shape.dtype]}, {vec}, {str(shape.columns).lower()}"
    return [
        (
            tx,
            types,
            vec,
            BLOCK // tx if shape.columns else BLOCK,
            shape.planes * pieces,
            pieces,
            loader.ceil_div(shape.channels, tx * vec) if shape.columns else shape.channels,
            slab // (BLOCK * vec * itemsize * arrays),
        )
        for tx in widths
    ]


@cache
def plan(
    shape: Shape,
    arrays: int,
    arch: int,
    multiprocessors: int,
    variant: int | None = None,
    fixed: bool = False,
) -> Plan:
    """Choose between one read and two, and the sizes of the launch.

    Args:
        shape: the data.
        arrays: how many a block keeps in one read: x forward, x and g backward.
        arch: 90 for sm_90; clusters exist from there on.
        multiprocessors: of the device.
        variant: GROUP of the source, or TWO; None: the first that fits of a block, a cluster, a grid.
        fixed: with fixed statistics everything is read once anyway.

    Raises:
        ValueError: the data do not fit the variant asked for.
    """
    options = _plans(shape, arrays, slab_bytes(arch))
    itemsize = {"float64": 8, "float32": 4}.get(shape.dtype, 2)

    def made(group: int, option: Any, parts: int, grid: int) -> Plan:
        tx, types, vec, rows, items, pieces, tiles, _ = option
        held = loader.ceil_div(items, rows * parts) * BLOCK
        geometry = (
            np.int64(shape.planes),
            np.int64(shape.channels * (1 if shape.columns else shape.segment)),
            np.int32(shape.segment),
            np.int32(pieces),
            np.int32(shape.channels),
            np.int32(tx),
            np.int32(parts),
        )
        name = types if group == TWO else f"{types}, {group}"
        shared = 0 if group == TWO else held * vec * itemsize * arrays
        width = tx * vec if shape.columns else 1
        return Plan(group, name, tiles, parts, grid, held, shared, width, geometry)

    vec = options[0][2]
    once = {
        g
        for g in (BLOCK_, CLUSTER_, GRID_)
        if not fixed and variant in (None, g) and _once(shape.dtype, vec, g, arch)
    }
    for group, parts in ((BLOCK_, 1), (CLUSTER_, 8)):
        if group not in once:
            continue
        fits = [o for o in options if loader.ceil_div(o[4], o[3] * parts) <= o[7]]
        if fits:  # the widest tile of which there is one for every multiprocessor
            option = next((o for o in fits if o[6] * parts >= multiprocessors), fits[-1])
            return made(group, option, parts, option[6] * parts)
    if GRID_ in once:
        best, blocks, least = None, 2 * multiprocessors, 1 if variant is None else 2
        for option in options:
            parts = max(loader.ceil_div(option[4], option[3] * option[7]), least)
            if parts <= blocks:
                groups = min(blocks // parts, option[6])
                busy = option[6] * parts / (loader.ceil_div(option[6], groups) * blocks)
                if best is None or busy > best[0]:
                    best = busy, option, parts, groups * parts
        if best is not None and (best[0] >= 0.5 or variant == GRID_):
            return made(GRID_, *best[1:])
    if variant not in (None, TWO):
        raise ValueError(f"batch_norm: {shape} does not fit variant {variant} on sm_{arch}")
    option = options[0]
    parts = min(loader.ceil_div(8 * multiprocessors, option[6]), loader.ceil_div(option[4], 4 * option[3]))
    return made(TWO, option, parts, option[6] * parts)


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    two, once = [], []
    for dtype, ctype in loader.CTYPES.items():
        two += [f"bn_combine_{what}<{ctype}>" for what in ("statistics", "sums")]
        for vec, columns in _layouts(dtype):
            layout = f"{ctype}, {vec}, {columns}"
            two += [f"bn_{name}<{layout}>" for name in ("statistics", "apply", "sums", "gradient")]
            for group in (BLOCK_, CLUSTER_, GRID_):
                if _once(dtype, vec, group, arch):
                    suffix = "_cluster" if group == CLUSTER_ else ""
                    once += [f"bn_{way}{suffix}<{layout}, {group}>" for way in ("forward", "backward")]
    return {TWO_READS: two, ONE_READ: once}


def _run(name: str, p: Plan, args: tuple[Any, ...]) -> None:
    """Launch a kernel that walks over the data."""
    if p.group == TWO:
        kernel = loader.kernel(TWO_READS, f"{name}<{p.types}>")
    else:
        kernel = loader.kernel(
            ONE_READ,
            f"{name}{'_cluster' if p.group == CLUSTER_ else ''}<{p.types}>",
            cluster=max(p.group, 1),
            shared=slab_bytes(loader.target().arch),
            cooperative=p.group == GRID_,
        )
    kernel((p.grid,), (BLOCK,), (*args, *p.geometry), shared_mem=p.shared)


def _combine(what: str, p: Plan, dtype: str, args: tuple[Any, ...]) -> None:
    """Launch a kernel that combines the parts of each tile."""
    kernel = loader.kernel(TWO_READS, f"bn_combine_{what}<{loader.CTYPES[dtype]}>")
    channels = p.geometry[4]
    kernel((p.tiles,), (BLOCK,), (*args, channels, np.int32(p.parts), np.int32(p.width)))


class _Call:
    """One call's arrays and options, as the kernels want them."""

    def __init__(
        self,
        x: Array,
        weight: Array | None,
        bias: Array | None,
        running: tuple[Array, Array] | None,
        eps: float,
        channels_last: bool,
        relu: bool,
        variant: str | None,
    ) -> None:
        self.xp, self.x = namespace(x), x
        self.dtype = x.dtype.name
        self.scalar = loader.ACCUMULATOR[self.dtype]
        self.channels = x.shape[-1 if channels_last else 1]
        self.columns = channels_last or x.size == x.shape[0] * self.channels
        self.count = x.size // self.channels
        self.weight, self.bias = weight, bias
        self.running = (None, None) if running is None else running
        narrow = (weight, bias, *self.running)
        flags = (a is not None and a.dtype.name != self.scalar.__name__ for a in narrow)
        self.narrow = np.int32(sum(flag << i for i, flag in enumerate(flags)))
        self.eps, self.relu = self.scalar(eps), np.int32(relu)
        self.variant = None if variant is None else VARIANTS[variant]
        self.saved = self.xp.empty((3, self.channels), dtype=self.scalar)

    def plan(self, arrays: int, fixed: bool, *others: Array | None) -> Plan:
        """How to pass over x, with arrays of its shape at other addresses."""
        x = self.x
        if self.columns:
            planes, segment = self.count, 1
            step = COLUMNS_VEC * x.dtype.itemsize
            aligned = all(a is None or loader.address(a) % step == 0 for a in (x, *others))
        else:
            planes, segment = x.shape[0], math.prod(x.shape[2:])
            aligned = loader.address(x) % 16 == 0
        shape = Shape(self.dtype, self.columns, planes, self.channels, segment, aligned)
        here = loader.target()
        return plan(shape, arrays, here.arch, here.multiprocessors, self.variant, fixed)

    def partial(self, p: Plan, fields: int) -> Array | None:
        """Room for what the blocks of a group tell each other."""
        if p.group == BLOCK_:
            return None
        return self.xp.empty(p.tiles * p.parts * p.width * fields, dtype=self.scalar)

    def forward(self, residual: Array | None, fixed: bool, update: bool, momentum: float) -> Array:
        """The output. `fixed`: by the running statistics; `update`: which else move."""
        y = self.xp.empty(self.x.shape, dtype=self.x.dtype)
        p = self.plan(1, fixed, y, residual)
        count, momentum = self.scalar(self.count), self.scalar(momentum)
        affine, running = (self.weight, self.bias), self.running
        moving = running if update else (None, None)
        rates = (self.narrow, count, momentum, self.eps)
        partial = None if fixed else self.partial(p, 4)
        if p.group != TWO:
            args = (self.x, residual, y, partial, self.saved, *affine, *moving, *rates, self.relu)
            _run("bn_forward", p, args)
            return y
        if not fixed:
            _run("bn_statistics", p, (self.x, partial))
            _combine("statistics", p, self.dtype, (partial, self.saved, *moving, *rates))
        args = (
            self.x,
            residual,
            y,
            self.saved,
            *affine,
            *running,
            self.narrow,
            np.int32(fixed),
            self.eps,
            self.relu,
        )
        _run("bn_apply", p, args)
        return y

    def backward(
        self, dy: Array, y: Array | None, dresidual: Array | None, fixed: bool
    ) -> tuple[Array | None, ...]:
        """dx, dweight, dbias; `y` where the mask of the ReLU cannot be made from x alone."""
        xp, x = self.xp, self.x
        dx = xp.empty(x.shape, dtype=x.dtype)
        dweight, dbias = (
            None if a is None else xp.empty(a.shape, dtype=a.dtype) for a in (self.weight, self.bias)
        )
        p = self.plan(2, fixed, dy, dx, y, dresidual)
        count, partial = self.scalar(self.count), self.partial(p, 2)
        inputs = (self.saved, self.weight, self.bias, self.narrow)
        if p.group != TWO:
            args = (x, dy, y, dresidual, dx, partial, self.saved, dweight, dbias, *inputs[1:], count)
            _run("bn_backward", p, (*args, np.int32(p.held), self.relu))
            return dx, dweight, dbias
        whole = dx if fixed else None
        _run("bn_sums", p, (x, dy, y, dresidual, whole, partial, *inputs, self.relu))
        sums = None if fixed else xp.empty((2, self.channels), dtype=self.scalar)
        _combine("sums", p, self.dtype, (partial, sums, dweight, dbias, self.saved, self.narrow))
        if not fixed:
            _run("bn_gradient", p, (x, dy, y, dx, sums, *inputs, count, self.relu))
        return dx, dweight, dbias


def _takes(x: Array, channels_last: bool, per_channel: tuple[Array | None, ...]) -> bool:
    """Whether the kernels take these; if not, the Array API body does, or says what is wrong."""
    if x.ndim < 2 or x.size == 0 or x.dtype.name not in loader.CTYPES:
        return False
    channels = x.shape[-1 if channels_last else 1]
    wide = np.dtype(loader.ACCUMULATOR[x.dtype.name])
    return max(x.shape[1:]) < 2**31 and all(
        a is None or (a.shape == (channels,) and a.dtype in (x.dtype, wide) and a.flags.c_contiguous)
        for a in per_channel
    )


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
    running = None if running_mean is None or running_var is None else (running_mean, running_var)
    if not _takes(x, channels_last, (weight, bias, running_mean, running_var)):
        return NotImplemented
    fixed = not training and running is not None
    if training and x.size == x.shape[-1 if channels_last else 1]:
        return NotImplemented
    if residual is not None:
        if residual.shape != x.shape or residual.dtype != x.dtype:
            return NotImplemented
        residual = loader.contiguous(residual)
    call = _Call(loader.contiguous(x), weight, bias, running, eps, channels_last, relu, variant)
    y = call.forward(residual, fixed, training and running is not None, momentum)
    add = residual is not None
    kept = y if relu and add else None

    def pullback(dy: Array) -> tuple[Array | None, ...]:
        dy = loader.contiguous(call.xp.asarray(dy, dtype=x.dtype))
        dresidual = None
        if add:  # without a ReLU it is dy itself
            dresidual = call.xp.empty(x.shape, dtype=x.dtype) if relu else dy
        dx, dweight, dbias = call.backward(dy, kept, dresidual if relu else None, fixed)
        return (dx, None, None, dweight, dbias, dresidual) if add else (dx, None, None, dweight, dbias)

    return y, pullback


@fused("batch_norm", backend="cupy")
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
