"""Batch norm through its launcher, against float64 written channel by channel from the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kernels.conftest import Launch
from xpnet.cuda import loader
from xpnet.cuda.batch_norm import (
    BLOCK,
    IN_BLOCK,
    IN_CLUSTER,
    IN_GRID,
    TWO,
    VARIANTS,
    Shape,
    batch_norm,
    normalize,
    plan,
    slab_bytes,
)
from xpnet.cuda.element import ELEMENTS

TOLERANCE = {"float64": 1e-12, "float32": 2e-6, "float16": 1e-3, "bfloat16": 8e-3}
EPS = 1e-5


def dtype_of(name: str) -> Any:
    if name == "bfloat16":
        return pytest.importorskip("ml_dtypes").bfloat16
    return np.dtype(name)


class Case:
    """Random data, and in float64 what should come of them."""

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: str = "float32",
        seed: int = 0,
        *,
        last: bool = False,
        relu: bool = False,
        residual: bool = False,
        training: bool = True,
        running: bool = True,
        affine: str = "wb",
        parameters: str | None = None,
        mean: float = 3.0,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.dtype, self.last, self.relu, self.training = dtype, last, relu, training
        kind, kind_c = dtype_of(dtype), dtype_of(parameters or dtype)
        channels = shape[-1] if last else shape[1]
        self.axis = len(shape) - 1 if last else 1

        def normal(*shape: int, of: Any = kind) -> np.ndarray:
            return rng.standard_normal(shape).astype(of)

        self.x = (rng.standard_normal(shape) * 2 + mean).astype(kind)
        self.dy, self.residual = normal(*shape), normal(*shape) if residual else None
        self.weight = normal(channels, of=kind_c) if "w" in affine else None
        self.bias = normal(channels, of=kind_c) if "b" in affine else None
        self.running = None
        if running:
            self.running = normal(channels, of=kind_c), rng.uniform(0.5, 2, channels).astype(kind_c)

    def want(self) -> dict[str, np.ndarray | None]:
        def flat(a: np.ndarray) -> np.ndarray:
            return np.moveaxis(a.astype(np.float64), self.axis, 0).reshape(channels, -1)

        channels = self.x.shape[self.axis]
        x, dy = flat(self.x), flat(self.dy)
        y, dx, dw, db = np.empty_like(x), np.empty_like(x), np.empty(channels), np.empty(channels)
        dresidual, terms = np.empty_like(x), 0.0
        summed: list[float] = []
        moved = [] if self.running is None else [r.astype(np.float64) for r in self.running]
        for c in range(channels):
            batch = self.training or not moved
            mean, var = (x[c].mean(), x[c].var()) if batch else (moved[0][c], moved[1][c])
            if self.training and moved:
                moved[0][c] += 0.1 * (mean - moved[0][c])
                moved[1][c] += 0.1 * (x[c].var(ddof=1) - moved[1][c])
            w = 1.0 if self.weight is None else float(self.weight[c])
            b = 0.0 if self.bias is None else float(self.bias[c])
            normal = (x[c] - mean) / np.sqrt(var + EPS)
            y[c] = w * normal + b
            if self.residual is not None:
                y[c] += flat(self.residual)[c]
            g = np.where(y[c] > 0, dy[c], 0) if self.relu else dy[c]
            if self.relu:
                y[c] = np.maximum(y[c], 0)
            dresidual[c], db[c], dw[c] = g, g.sum(), (g * normal).sum()
            summed += [np.abs(g).sum(), np.abs(g * normal).sum()]
            dx[c] = g - (g.mean() + normal * (g * normal).mean() if batch else 0)
            dx[c] *= w / np.sqrt(var + EPS)
            terms += (w * w) / (var + EPS) * (g * g).sum()

        def back(a: np.ndarray) -> np.ndarray:
            moved_shape = (channels, *np.delete(self.x.shape, self.axis))
            return np.moveaxis(a.reshape(moved_shape), 0, self.axis)

        self.dx_terms, self.summed = float(np.sqrt(terms)), float(np.linalg.norm(summed))
        return {
            "y": back(y),
            "dx": back(dx),
            "dweight": None if self.weight is None else dw,
            "dbias": None if self.bias is None else db,
            "dresidual": None if self.residual is None else back(dresidual),
            "running_mean": moved[0] if moved else None,
            "running_var": moved[1] if moved else None,
        }

    def run(
        self, launch: Launch, variant: str | None = None, arch: int = 90, offset: int = 0, **schedule: Any
    ) -> dict[str, Any]:
        with launch.on(arch, **schedule):
            arrays = (*(self.running or (None, None)), self.weight, self.bias)
            running_mean, running_var, weight, bias = (None if a is None else launch.array(a) for a in arrays)
            y, pullback = normalize(
                launch.array(self.x, offset=offset),
                running_mean,
                running_var,
                weight,
                bias,
                self.training,
                channels_last=self.last,
                relu=self.relu,
                residual=None if self.residual is None else launch.array(self.residual, offset=offset // 2),
                variant=variant,
            )
            dx, none, nothing, dweight, dbias, *rest = pullback(launch.array(self.dy, offset=offset))
        assert none is nothing is None
        got = {
            "y": y,
            "dx": dx,
            "dweight": dweight,
            "dbias": dbias,
            "dresidual": rest[0] if rest else None,
            "running_mean": running_mean,
            "running_var": running_var,
        }
        like = (self.x, self.x, self.weight, self.bias, self.x, *(self.running or (None, None)))
        for (name, value), model in zip(got.items(), like, strict=True):
            assert value is None or value.dtype == model.dtype, name
        return got

    def check(self, launch: Launch, variant: str | None = None, arch: int = 90, **schedule: Any) -> None:
        got, want = self.run(launch, variant, arch, **schedule), self.want()
        for name, value in want.items():
            assert (got[name] is None) == (value is None), name
            if value is not None:
                dtype = str(got[name].dtype)
                # gradients of the parameters are sums with cancellation; 16-bit statistics are stored rounded
                # dx is a difference of terms of this size; with two values a channel it all but vanishes
                size = self.dx_terms if name == "dx" else 0.0
                if name == "running_mean" and self.running:  # the old one and the new may cancel
                    size = float(np.linalg.norm(self.running[0].astype(np.float64)))
                # the rounding of a sum is that of its terms, however little is left of them
                summed = self.summed if name in ("dweight", "dbias") else 0.0
                scale = 5 if name.startswith("d") else 1
                close(launch.numpy(got[name]), value, dtype, scale, name, size, summed)


def close(
    got: np.ndarray,
    want: np.ndarray,
    dtype: str,
    scale: float,
    name: str = "",
    size: float = 0.0,
    summed: float = 0.0,
) -> None:
    """Same shape, and the error's norm small against the result's."""
    assert got.shape == want.shape, name
    assert np.isfinite(got).all(), f"{name}: something was not written, or is not finite"
    slack = 2.0**-24 * np.sqrt(got.size) if dtype == "float16" else 0
    slack += (2.0**-52 if dtype == "float64" else 2.0**-23) * summed
    size = max(np.linalg.norm(want), size) + 1e-30
    error = np.linalg.norm(got - want)
    assert error <= scale * TOLERANCE[dtype] * size + slack, (name, error / size)


SHAPES = [
    ((37, 24), False),  # columns, vectors
    ((33, 10), False),  # columns, one by one
    ((300, 132), False),  # a tile that is partly outside
    ((5, 7, 3, 7), False),  # planes of 21: every piece is cut elsewhere
    ((4, 6, 4, 4), False),  # planes of whole pieces
    ((3, 2, 257), False),  # (N, C, L)
    ((40, 3, 2), False),  # planes shorter than a piece
    ((3, 3, 5, 72), True),
    ((2, 9, 11, 3), True),
]
ODD = {(33, 10), (2, 9, 11, 3)}  # one read by single blocks only


def variants(shape: tuple[int, ...], dtype: str) -> list[str]:
    if dtype == "float64":
        return ["two reads"]
    return ["block", "two reads"] if shape in ODD else list(VARIANTS)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize(("shape", "last"), SHAPES, ids=str)
def test_layouts(launch: Launch, shape: tuple[int, ...], last: bool, dtype: str) -> None:
    for i, variant in enumerate(variants(shape, dtype)):
        Case(shape, dtype, i, last=last).check(launch, variant, order=i, seed=i, resident=1 + i)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize(("shape", "last"), [((6, 5, 3, 7), False), ((7, 9, 2, 12), True)], ids=str)
def test_relu_and_residual(
    launch: Launch, shape: tuple[int, ...], last: bool, residual: bool, training: bool, variant: str
) -> None:
    """The mask of the backward pass comes from x, or with a residual from y."""
    for relu in (True, False):
        case = Case(shape, seed=relu, last=last, relu=relu, residual=residual, training=training)
        case.check(launch, variant if training else None, order=3, resident=2)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_what_relu_cut_off_gets_no_gradient(
    launch: Launch, bad: float, residual: bool, training: bool, variant: str
) -> None:
    """Whatever arrives there: it is not in the sums either."""
    case = Case((6, 5, 3, 7), residual=residual, training=training)
    cut = case.want()["y"] < -0.1  # before the ReLU, and not for a rounding error
    case.relu, case.dy = True, np.where(cut, bad, case.dy).astype(np.float32)
    assert 0.1 < cut.mean() < 0.9
    case.check(launch, variant if training else None)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_float32_parameters(launch: Launch, dtype: str, variant: str) -> None:
    """Mixed precision: 16-bit data; parameters, their gradients and running statistics in float32."""
    Case((9, 8, 5, 5), dtype, parameters="float32", relu=True).check(launch, variant)


@pytest.mark.parametrize("affine", ["", "w", "b"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("running", [True, False])
def test_absent_arrays(launch: Launch, running: bool, training: bool, affine: str) -> None:
    """Without running statistics those of the batch are used, in eval mode too."""
    Case((6, 5, 9), affine=affine, training=training, running=running, relu=True).check(launch)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize(("shape", "last"), SHAPES, ids=str)
def test_eval(launch: Launch, shape: tuple[int, ...], last: bool, dtype: str) -> None:
    Case(shape, dtype, last=last, training=False, relu=True, residual=True).check(launch)


@pytest.mark.parametrize(
    "shape", [(2, 8), (2, 1), (50, 1), (2, 3, 1, 1), (2, 2, 1, 2), (1, 4, 1, 5), (2, 1500)], ids=str
)
def test_extreme_shapes(launch: Launch, shape: tuple[int, ...]) -> None:
    odd = np.prod(shape[2:]) == 1 and shape[1] % 4
    for variant in (None, "block", "two reads") if odd else (None, *VARIANTS):
        Case(shape).check(launch, variant, order=3)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("shape", "last"), [((4, 1, 20, 125), False), ((2500, 4), True)], ids=str)
@pytest.mark.parametrize("outlier", [False, True])
def test_far_from_zero(
    launch: Launch, shape: tuple[int, ...], last: bool, variant: str, outlier: bool
) -> None:
    """With mean 1e4 and deviation 2, x - mean keeps every digit, wherever an outlier sits."""
    case = Case(shape, last=last, mean=1e4)
    if outlier:
        case.x.reshape(-1)[:4] = 0
    case.check(launch, variant)


@pytest.mark.parametrize("last", [False, True])
def test_a_million_values(launch: Launch, last: bool) -> None:
    """Statistics of 1e6 values with mean 1e4 and deviation 1 are as good as float32 can say."""
    x = (np.random.default_rng(0).standard_normal((1000, 1000)) + 1e4).astype(np.float32)
    shape = (1000000, 1) if last else (1, 1, 1000, 1000)
    running_mean, running_var = np.zeros(1, np.float32), np.zeros(1, np.float32)
    with launch.on():
        mean, var = launch.array(running_mean), launch.array(running_var)
        y, _ = normalize(launch.array(x.reshape(shape)), mean, var, training=True, momentum=1.0)
    want = x.astype(np.float64)
    assert abs(launch.numpy(mean)[0] - want.mean()) <= np.spacing(np.float32(1e4)) / 2 * 1.01
    assert abs(launch.numpy(var)[0] / want.var(ddof=1) - 1) < 3e-7
    normal = (want - want.mean()) / np.sqrt(want.var() + EPS)
    assert np.abs(launch.numpy(y).reshape(x.shape) - normal).max() < 2e-6


@pytest.mark.parametrize("offset", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    ("shape", "last"), [((9, 8), True), ((5, 3, 4, 8), False), ((5, 3, 7), False)], ids=str
)
def test_unaligned(launch: Launch, shape: tuple[int, ...], last: bool, dtype: str, offset: int) -> None:
    """Views that start anywhere; x, dy and the residual each elsewhere."""
    case = Case(shape, dtype, last=last, relu=True, residual=True)
    case.check(launch, offset=offset)
    case.check(launch, "two reads", offset=offset)


def test_not_contiguous(launch: Launch) -> None:
    case = Case((6, 5, 8))
    with launch.on():
        x, dy = launch.array(case.x.swapaxes(0, 2).copy()), launch.array(case.dy.swapaxes(0, 2).copy())
        mean, var = (launch.array(a) for a in case.running)
        parameters = launch.array(case.weight), launch.array(case.bias)
        y, pullback = batch_norm(x.swapaxes(0, 2), mean, var, *parameters, training=True)
        dx = pullback(dy.swapaxes(0, 2))[0]
    close(launch.numpy(y), case.want()["y"], "float32", 1)
    close(launch.numpy(dx), case.want()["dx"], "float32", 5)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 40),
    channels=st.integers(1, 70),
    segment=st.one_of(st.just(1), st.integers(1, 90)),
    last=st.booleans(),
    dtype=st.sampled_from(["float32", "float16"]),
    variant=st.sampled_from([*VARIANTS, None]),
    relu=st.booleans(),
    residual=st.booleans(),
    training=st.booleans(),
    arch=st.sampled_from([75, 90]),
    order=st.integers(0, 3),
    resident=st.integers(1, 3),
    offset=st.sampled_from([0, 0, 1, 4]),
    seed=st.integers(0, 2**32),
)
def test_any_shape(
    launch: Launch,
    n: int,
    channels: int,
    segment: int,
    last: bool,
    dtype: str,
    variant: str | None,
    relu: bool,
    residual: bool,
    training: bool,
    arch: int,
    order: int,
    resident: int,
    offset: int,
    seed: int,
) -> None:
    n = max(n, 2)
    case = Case(
        (n, segment, channels) if last else (n, channels, segment),
        dtype,
        seed,
        last=last,
        relu=relu,
        residual=residual,
        training=training,
    )
    columns = last or segment == 1
    odd = columns and (channels % 4 or offset % 4 or (residual and offset // 2 % 4))
    if not training or (variant == "cluster" and arch < 90) or (variant in ("cluster", "grid") and odd):
        variant = None
    schedule = {"order": order, "resident": resident, "offset": offset, "seed": seed}
    try:
        case.check(launch, variant, arch, **schedule)
    except ValueError as error:  # sm_75 has little shared memory
        if "do not fit" not in str(error):
            raise
        case.check(launch, None, arch, **schedule)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("shape", "last"), [((4, 5, 4, 8), False), ((4, 3, 8, 8), True)], ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_values_stay_in_their_channel(
    launch: Launch, shape: tuple[int, ...], last: bool, variant: str, bad: float
) -> None:
    case = Case(shape, last=last, relu=True)
    want = case.want()
    case.x[(1, 0, 2, 2)[: len(shape)]] = bad
    channel = 2 if last else 0
    got = {k: launch.numpy(v) for k, v in case.run(launch, variant).items() if v is not None}
    axis = case.axis
    for name in ("y", "dx", "running_mean", "running_var"):
        a, b = got[name], want[name]
        if a.ndim > 1:
            a, b = np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0)
            # behind the ReLU a NaN has no gradient, but the statistics that scale it are NaN
            assert np.isnan(a[channel]).all(), name
        else:
            assert not np.isfinite(a[channel]), name
        others = np.arange(len(a)) != channel
        close(a[others], b[others], "float32", 5, name)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("shape", "last"), [((9, 5, 21), False), ((40, 132), True)], ids=str)
def test_same_bits_in_any_order(launch: Launch, shape: tuple[int, ...], last: bool, variant: str) -> None:
    """No result depends on the order in which threads and blocks run."""
    runs = []
    for order, resident in ((0, 1), (1, 1), (3, 4)):
        got = Case(shape, last=last).run(launch, variant, order=order, resident=resident, seed=order)
        runs.append(np.concatenate([launch.numpy(v).ravel() for v in got.values() if v is not None]))
    assert (runs[0] == runs[1]).all()
    assert (runs[0] == runs[2]).all()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("shape", "last"), [((6, 2, 21), False), ((70, 8), True), ((70, 132), True)], ids=str
)
def test_races(launch: Launch, shape: tuple[int, ...], last: bool, variant: str) -> None:
    """Every kernel once, small enough for ThreadSanitizer (tests/kernels/ladder.py)."""
    Case(shape, last=last, relu=True, residual=True).check(launch, variant, order=3, resident=2)


def test_gives_way(launch: Launch) -> None:
    """What the kernels do not take is left to the Array API body, which says what is wrong."""
    c = np.ones(3, np.float32)
    with launch.on():

        def given(x: np.ndarray, *arrays: Any, training: bool = True) -> Any:
            return batch_norm(launch.array(x), *(launch.array(a) for a in arrays), training=training)

        assert given(np.zeros((0, 3), np.float32)) is NotImplemented
        assert given(np.zeros((1, 3), np.float32)) is NotImplemented  # one value a channel
        assert given(np.zeros(3, np.float32)) is NotImplemented
        assert given(np.zeros((4, 3), np.int32)) is NotImplemented
        assert given(np.zeros((4, 2), np.float32), c, c) is NotImplemented
        assert given(np.zeros((4, 3), np.float32), c, c.astype(np.float64)) is NotImplemented
        assert given(np.zeros((1, 3), np.float32), c, c, training=False) is not NotImplemented


def test_one_launch_each_way(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the op with Tensors: the values and gradients of the body, by one kernel each way."""
    import xpnet
    from xpnet.core import registry as dispatch
    from xpnet.core.places import backend_name

    launched: list[str] = []
    kernel = loader.kernel
    monkeypatch.setattr(
        loader, "kernel", lambda file, name, **k: (launched.append(name), kernel(file, name, **k))[1]
    )
    case = Case((8, 5, 4, 4))
    results: list[list[np.ndarray]] = []
    with launch.on():
        for fused in (True, False):
            arrays = [launch.array(a) for a in (case.x, *case.running, case.weight, case.bias)]
            dispatch.load_kernels("numpy")
            kernels = xpnet.functional.batch_norm.kernels
            monkeypatch.setitem(kernels, backend_name(arrays[0]), dispatch.Kernel(batch_norm, 0))
            x, weight, bias = (xpnet.Tensor(arrays[i], requires_grad=True) for i in (0, 3, 4))
            with xpnet.fused(fused):
                y = xpnet.functional.batch_norm(x, arrays[1], arrays[2], weight, bias, training=True)
                y.backward(launch.array(case.dy))
            values = (y.data, x.grad, weight.grad, bias.grad, arrays[1], arrays[2])
            results.append([launch.numpy(v) for v in values])
    assert [name.partition("<")[0] for name in launched] == ["bn_forward", "bn_backward"]
    want = [v for v in case.want().values() if v is not None]
    for fused, body, exact in zip(*results, want, strict=True):
        close(fused, exact, "float32", 5)
        close(fused, body, "float32", 10)


@pytest.mark.parametrize("training", [True, False])
def test_like_torch(launch: Launch, training: bool) -> None:
    torch = pytest.importorskip("torch")
    case = Case((6, 4, 5, 3), "float64", relu=True, residual=True, training=training)
    x, weight, bias, residual = (
        torch.tensor(a, requires_grad=True) for a in (case.x, case.weight, case.bias, case.residual)
    )
    mean, var = (torch.tensor(a) for a in case.running)
    y = torch.relu(torch.nn.functional.batch_norm(x, mean, var, weight, bias, training, 0.1, EPS) + residual)
    y.backward(torch.tensor(case.dy))
    got = case.run(launch)
    theirs = (y.detach(), x.grad, weight.grad, bias.grad, residual.grad, mean, var)
    for (name, value), want in zip(got.items(), theirs, strict=True):
        close(launch.numpy(value), want.numpy(), "float64", 10, name)


@pytest.mark.parametrize("arch", [75, 80, 90, 120])
@pytest.mark.parametrize("arrays", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("n", "channels", "segment", "last"),
    [
        (256, 64, 56 * 56, False),
        (256, 512, 49, False),
        (65536, 512, 1, True),
        (128, 512, 1, True),
        (8, 3, 10**6, False),
    ],
)
def test_plans(n: int, channels: int, segment: int, last: bool, dtype: str, arrays: int, arch: int) -> None:
    """What is kept on the chip holds every item, and a cooperative grid is never larger than the device."""
    multiprocessors = 132
    p = plan(Shape(ELEMENTS[dtype], last, n, channels, segment, True), arrays, arch, multiprocessors)
    pieces = int(p.geometry[3])
    rows = BLOCK // int(p.geometry[5]) if last else BLOCK
    assert p.tiles * p.width >= channels
    if p.group == TWO:
        assert p.grid == p.tiles * p.parts
        assert p.shared == 0
        return
    assert p.held * p.parts * rows >= n * pieces * BLOCK
    assert p.shared <= slab_bytes(arch)
    assert p.parts == {IN_BLOCK: 1, IN_CLUSTER: 8}.get(p.group, p.parts)
    if p.group == IN_GRID:
        assert p.grid <= 2 * multiprocessors
        assert p.grid % p.parts == 0
    else:
        assert p.grid == p.tiles * p.parts
    assert arch >= 90 or p.group != IN_CLUSTER


def test_plan_of_known_sizes() -> None:
    """On an H200: a ResNet's late layers in a block, its middle ones in clusters, its first in the grid."""
    first, middle, late = (
        plan(Shape(ELEMENTS["float32"], False, 256, c, s * s, True), 1, 90, 132).group
        for c, s in ((64, 56), (128, 28), (512, 7))
    )
    assert (first, middle, late) == (IN_GRID, IN_CLUSTER, IN_BLOCK)
    assert plan(Shape(ELEMENTS["float32"], False, 256, 64, 224 * 224, True), 1, 90, 132).group == TWO
    few = plan(Shape(ELEMENTS["float32"], False, 32, 64, 28 * 28, True), 1, 90, 132)
    assert (few.group, few.grid) == (IN_CLUSTER, 8 * 64)  # a block each would leave half of the device idle


def test_offsets_beyond_32_bits(launch: Launch) -> None:
    """The last channel of the last sample, more than 2^32 elements from the first."""
    if not launch.hardware:
        pytest.skip("needs the memory of a GPU")
    import cupy

    n, channels, segment = 2, 4, (1 << 29) + 8
    for shape in ((n, channels, segment), (n * segment, channels)):
        x = cupy.zeros(shape, cupy.float16)
        x.reshape(-1)[-1] = 1
        y, pullback = normalize(x, training=True)
        ends = y.reshape(-1)[-2:].get().astype(np.float64)
        count = x.size // channels
        assert abs(ends[1] * np.sqrt(1 / count + EPS) - 1) < 2e-3
        assert abs(ends[0]) < 1e-3
        del y
        dx = pullback(x)[0]
        assert np.isfinite(dx.reshape(-1)[-2:].get()).all()
