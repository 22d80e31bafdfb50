"""Launches kernels/cross_entropy.cu: the loss and its gradient in one pass over the logits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.notes import note_on
from xpnet.core.places import backend_of, device_key, namespace
from xpnet.cuda import loader
from xpnet.cuda.element import ELEMENTS, Element, element
from xpnet.functional.losses import cross_entropy as op
from xpnet.functional.targets import beside
from xpnet.functional.weighing import promised, report, report_each

FILE = "cross_entropy.cu"
PARTS = 32  # as in the source
SMALL = 256  # threads of the kernels around the pass
ONE = 1024  # threads of a block that works alone
ONE_BLOCK = 8192  # losses that it adds up


class Plan(NamedTuple):
    """Which kernel takes a row of so many logits, and how it is launched."""

    name: str
    rows: int  # a block holds this many rows ...
    cluster: int  # ... or this many blocks share one
    block: tuple[int]
    shared: int


# threads a block, blocks a cluster: two blocks of 512 a multiprocessor or three of 256, `threads` there
_BLOCKS = (
    ((128, 1), (256, 1), (512, 1), (512, 2), (512, 4), (512, 8), (1024, 8)),
    ((128, 1), (256, 1), (256, 2), (256, 4), (256, 8), (512, 8)),
)


@cache
def plan(t: Element, classes: int, aligned: bool, arch: int, smooth: bool = False) -> Plan:
    """Choose the tier: the row stays in registers, of as few threads as hold it.

    Args:
        t: of the logits.
        classes: C.
        aligned: whether every row starts at a multiple of 16 bytes; else a row may need one more vector.
        arch: 90 for sm_90; clusters exist from there on.
        smooth: whether labels are smoothed.
    """
    ctype, vec, flag = t.ctype, t.vector, str(smooth).lower()
    accumulator = np.dtype(t.scalar).itemsize
    if classes <= 32:  # no vectors: a lane holds one logit, neighbours read neighbours
        lanes = max(4, loader.power_of_two(classes))
        return Plan(f"xent_warp<{ctype}, 1, 1, {lanes}, 128, {flag}>", 128 // lanes, 1, (128,), 0)
    need = loader.ceil_div(classes + (0 if aligned else vec - 1), vec)
    # vectors a thread: 32 registers of logits; with smoothing, weights and sums need some of those of 16 bits
    most = {2: 4, 4: 8, 8: 4 if smooth else 8}[vec]
    if need <= 32 * most:
        held = loader.power_of_two(loader.ceil_div(need, 32))
        return Plan(f"xent_warp<{ctype}, {vec}, {held}, 32, 128, {flag}>", 4, 1, (128,), 0)
    for block, cluster in _BLOCKS[vec == 8]:
        fits = need <= block * most * cluster and not (smooth and block == 1024)
        if fits and (cluster == 1 or arch >= 90):
            name = f"xent_block<{ctype}, {vec}, {most}, {block}, {cluster}, {flag}>"
            return Plan(name, 1, cluster, (block,), (3 * block // 32 + 3 * cluster) * accumulator)
    return Plan(f"xent_online<{ctype}, {vec}, 512, {flag}>", 1, 1, (512,), 0)


@cache
def small(t: Element, n: int, classes: int, smooth: bool) -> str | None:
    """The kernel that does all in one block, where that takes at most eight turns; else None.

    A turn is about 1 microsecond of latency, and so less than another launch up to there.
    """
    lanes = min(32, max(4, loader.power_of_two(classes)))
    if loader.ceil_div(n * lanes, ONE) * loader.ceil_div(classes, lanes) > 8:
        return None
    return f"xent_small<{t.ctype}, {lanes}, {ONE}, {str(smooth).lower()}>"


@cache
def _totals(t: Element) -> str:
    return f"xent_totals<{t.accumulator}, {SMALL}>"


@cache
def _sum(t: Element, out: Element) -> str:
    return f"xent_sum<{t.accumulator}, {out.ctype}, {ONE}>"


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    names: set[str] = set()
    for t in ELEMENTS.values():
        for smooth in (False, True):
            names.update(plan(t, 1 << k, True, arch, smooth).name for k in range(1, 21))
            names.update(str(small(t, 1, 1 << k, smooth)) for k in range(1, 6))
        names.update((_totals(t), _sum(t, t.wide), _sum(t, t)))
    return {FILE: sorted(names)}


class _Call:
    """One call's arrays and options, as the kernels want them."""

    def __init__(
        self,
        t: Element,
        logits: Array,
        ldx: int,
        target: Array,
        weight: Array | None,
        ignore: int,
        eps: float,
        mean: bool,
    ) -> None:
        self.logits, self.ldx = logits, loader.int64(ldx)
        self.t, self.scalar = t, t.scalar
        n, classes = logits.shape
        self.rows, self.smooth = n, eps != 0
        self.n, self.classes, self.ignore = loader.int64(n), loader.int32(classes), loader.int64(ignore)
        self.eps, self.mean = self.scalar(eps), loader.int32(mean)
        self.target, self.wide = target, loader.int32(target.dtype.itemsize == 8)
        self.weight = weight
        aligned = loader.address(logits) % 16 == 0 and ldx % t.vector == 0
        self.plan = plan(t, classes, aligned, loader.target().arch, self.smooth)
        self.totals = loader.empty(logits, (PARTS + 1,), self.scalar)

    def add_up(self) -> None:
        """Look at the labels; the sum of their weights, and of all classes where the pass will need it."""
        both = self.weight is not None and self.smooth
        kernel = loader.kernel(FILE, _totals(self.t))
        args = (self.target, self.wide, self.weight, self.totals, self.n, self.classes, self.ignore)
        kernel((PARTS + both,), (SMALL,), (*args, note_on(self.logits)))

    def _arguments(self, dx: Array | None, losses: Array | None, dy: Array | None) -> tuple[Any, ...]:
        """XENT_PARAMETERS. `dy` is one number, or one a row; None stands for 1."""
        return (
            self.logits,
            self.ldx,
            dx,
            losses,
            self.target,
            self.wide,
            self.weight,
            self.totals,
            self.mean,
            dy,
            loader.int32(dy is not None and dy.ndim),
            self.n,
            self.classes,
            self.ignore,
            self.eps,
        )

    def run(self, dx: Array | None, losses: Array | None, dy: Array | None) -> None:
        """The pass, after `add_up`."""
        p = self.plan
        grid = loader.ceil_div(self.rows, p.rows) * p.cluster
        kernel = loader.kernel(FILE, p.name, cluster=p.cluster)
        kernel((grid,), p.block, self._arguments(dx, losses, dy), shared_mem=p.shared)

    def at_once(
        self,
        kernel: str,
        dx: Array | None,
        losses: Array | None,
        dy: Array | None,
        value: Array | None,
    ) -> None:
        """`add_up`, the pass and `sum` in one launch."""
        run = loader.kernel(FILE, kernel)
        end = (self.totals, value, note_on(self.logits))
        run((1,), (ONE,), (*self._arguments(dx, losses, dy), *end))

    def sum(self, losses: Array, value: Array) -> None:
        """Add the losses up, in an order that depends on their number alone."""
        n = self.rows
        blocks = min(loader.ceil_div(n, ONE_BLOCK), 128)
        if blocks > 1:
            parts = loader.empty(losses, (blocks,), self.scalar)
            kernel = loader.kernel(FILE, _sum(self.t, self.t.wide))
            kernel((blocks,), (ONE,), (losses, parts, self.n, None))
            losses, n = parts, blocks
        kernel = loader.kernel(FILE, _sum(self.t, self.t))
        kernel((1,), (ONE,), (losses, value, loader.int64(n), self.totals if self.mean else None))


_LABELS = (np.dtype("int64"), np.dtype("int32"))


def _indices(target: Any, logits: Array, ignore_index: int) -> Array | None:
    """Class indices as the kernel reads them; None if the Array API body should say what is wrong."""
    here = type(target) is type(logits) and device_key(target) == device_key(logits)
    if here and target.dtype in _LABELS and target.shape == logits.shape[:1]:
        return loader.contiguous(target)
    if type(target) is not type(logits):  # from the host: look at the labels while that costs nothing
        host = to_numpy(target)
        if host.dtype.kind not in "iu":
            return None
        if ((host != ignore_index) & ((host < 0) | (host >= logits.shape[1]))).any():
            return None
        target = host
    target = asarray(target, backend=backend_of(logits))
    if target.shape != logits.shape[:1] or target.dtype.kind not in "iu":
        return None
    if target.dtype.kind == "u" or target.dtype.itemsize < 4:
        target = namespace(target).astype(target, np.int64)
    return loader.contiguous(target)


def _weights_of(labels: Array, weight: Array | None, ignore_index: int, like: Array) -> Array:
    """(n,) what each loss weighs in their mean, in the dtype of `like`."""
    xp, counts = namespace(like), labels != ignore_index
    if weight is None:
        return xp.astype(counts, like.dtype)
    return xp.where(
        counts, xp.take(weight, xp.where(counts, labels, xp.zeros_like(labels))), xp.zeros_like(like)
    )


@op.kernel("cupy")
def cross_entropy(
    logits: Array,
    target: Any,
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    *,
    recorded: bool = False,
) -> tuple[Array, Callable[[Array], tuple[Array | None, ...]]]:
    """`xpnet.functional.cross_entropy` for logits (N, C) and labels (N,), the gradient made on the way.

    A label out of range gives NaN and a note that `xpnet.cuda.check_errors` raises: nothing here waits for
    the device. A gradient from above that is neither 1 nor promised (`xpnet.functional.weighing`) costs a
    second pass, from the logits again: a float16 gradient that has already been rounded would lose what loss
    scaling is for.
    """
    if weight is not None:
        weight = beside(weight, logits)
        namespace(logits, weight)
    t = element(logits.dtype)
    if (
        t is None
        or logits.ndim != 2
        or not 0 <= label_smoothing <= 1
        or reduction not in ("mean", "sum", "none")
        or 0 in logits.shape
        or (weight is not None and getattr(weight, "shape", None) != logits.shape[1:])
    ):
        return NotImplemented
    labels = _indices(target, logits, ignore_index)
    if labels is None:
        return NotImplemented
    ldx = loader.row_stride(logits)
    if ldx is None:
        logits, ldx = loader.contiguous(logits), logits.shape[1]
    if weight is not None:
        weight = loader.contiguous(namespace(weight).astype(weight, t.scalar, copy=False))
    mean = reduction == "mean"
    call = _Call(t, logits, ldx, labels, weight, ignore_index, label_smoothing, mean)
    (n, classes), dtype = logits.shape, logits.dtype
    # every loss where it is asked for, or added up in another launch
    kernel = small(t, n, classes, call.smooth)
    each = reduction == "none"
    losses = loader.empty(logits, (n,), t.scalar) if each or kernel is None else None
    value = None if each else loader.empty(logits, (), dtype)
    made = loader.empty(logits, (n, classes), dtype) if recorded else None
    seed = promised.get() if recorded and not each else None
    first = None if seed is None else seed(dtype)
    if kernel is not None:
        call.at_once(kernel, made, losses, first, value)
    else:
        call.add_up()
        call.run(made, losses, first)
        if value is not None:
            call.sum(losses, value)
    if mean:
        report(call.totals[:PARTS], n)
    if each:
        value = namespace(logits).astype(losses, dtype, copy=False)
        report_each(lambda: _weights_of(labels, weight, ignore_index, losses))

    def gradient(dy: Array | None) -> Array:
        dx = loader.empty(logits, (n, classes), dtype)
        call.run(dx, None, dy)
        return dx

    def pullback(dy: Array) -> tuple[Array | None, ...]:
        nonlocal made
        if type(dy) is float and dy == 1 and first is None:  # the seed of backward
            if made is None:
                made = gradient(None)
            return (made,)
        if dy is first:  # the one that was promised
            return (made,)
        if type(dy) is not type(logits) or dy.dtype != dtype:
            dy = namespace(logits).asarray(dy, dtype=dtype)
        return (gradient(loader.contiguous(dy)),)

    return value, pullback
