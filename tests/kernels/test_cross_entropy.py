"""Softmax cross-entropy through its launcher, against float64 written straight from the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kernels.conftest import Launch
from xpnet import cuda
from xpnet.cuda import loader
from xpnet.cuda.cross_entropy import cross_entropy, plan
from xpnet.cuda.element import ELEMENTS
from xpnet.functional.weighing import weighed_each

TOLERANCE = {"float64": 1e-13, "float32": 2e-6, "float16": 1e-3, "bfloat16": 8e-3}
ROUNDING = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-23, "bfloat16": 2.0**-23}
TINY = {"float16": 2.0**-24}  # half a step of the smallest numbers


def dtype_of(name: str) -> Any:
    if name == "bfloat16":
        return pytest.importorskip("ml_dtypes").bfloat16
    return np.dtype(name)


def reference(
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    dy: Any = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Loss and gradient in float64, row by row."""
    n, classes = x.shape
    w = np.ones(classes) if weight is None else np.asarray(weight, np.float64)
    losses, gradient, total = np.zeros(n), np.zeros((n, classes)), 0.0
    for i in range(n):
        if y[i] == ignore_index:
            continue
        z = x[i].astype(np.float64)
        z = z - z.max()
        log_p = z - np.log(np.exp(z).sum())
        q = np.full(classes, label_smoothing / classes)
        q[y[i]] += 1 - label_smoothing
        q[:] = (
            np.where(np.arange(classes) == y[i], (1 - label_smoothing) * w[y[i]], 0)
            + label_smoothing / classes * w
        )
        losses[i] = -np.where(q == 0, 0, q * log_p).sum()
        gradient[i] = np.exp(log_p) * q.sum() - q
        total += w[y[i]]
    if reduction == "none":
        return losses, gradient * np.reshape(dy, (-1, 1))
    if reduction == "sum":
        return losses.sum(), gradient * dy
    return losses.sum() / total, gradient * dy / total


def close(got: np.ndarray, want: np.ndarray, dtype: str, scale: float = 1.0, terms: float = 0.0) -> None:
    """Same shape, and the error's norm small against the result's; `terms`: of what it is the difference."""
    assert got.shape == want.shape
    assert np.isfinite(got).all(), "something was not written, or is not finite"
    slack = TINY.get(dtype, 0) * np.sqrt(got.size) + ROUNDING[dtype] * terms
    error = np.linalg.norm(got - want)
    assert error <= scale * TOLERANCE[dtype] * np.linalg.norm(want) + slack + 1e-300, error / np.linalg.norm(
        want
    )


CLASSES = [2, 3, 10, 32, 33, 125, 128, 200, 509, 1000, 1001, 1021, 1024, 1025, 4096, 4097, 8200, 16384]


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("classes", CLASSES)
def test_tiers(launch: Launch, classes: int, dtype: str) -> None:
    rng = np.random.default_rng(classes)
    n = max(2, min(77, 6000 // classes))
    x = (rng.standard_normal((n, classes)) * 3).astype(dtype_of(dtype))
    y = rng.integers(0, classes, n)
    y[0] = -100
    with launch.on(order=3, seed=classes):
        value, pullback = cross_entropy(launch.array(x), launch.array(y))
        (dx,) = pullback(launch.array(np.array(2.0), x.dtype))
    want, gradient = reference(x, y, dy=2.0)
    assert str(value.dtype) == str(dx.dtype) == dtype
    close(launch.numpy(value), want, dtype)
    close(launch.numpy(dx), gradient, dtype)


def run(launch: Launch, x: np.ndarray, y: np.ndarray, dy: Any, arch: int = 90, **options: Any) -> Any:
    """Value and gradient from the launcher; `options` are its own and the emulator's."""
    weight, offset = options.pop("weight", None), options.pop("offset", 0)
    schedule = {k: options.pop(k) for k in ("order", "seed", "resident") if k in options}
    with launch.on(arch, **schedule):
        w = None if weight is None else launch.array(weight)
        value, pullback = cross_entropy(launch.array(x, offset=offset), launch.array(y), w, **options)
        (dx,) = pullback(launch.array(np.asarray(dy), x.dtype))
    return launch.numpy(value), launch.numpy(dx)


@pytest.mark.parametrize("classes", [16500, 40000, 100000, 131072, 200000, 262144])
@pytest.mark.parametrize("arch", [80, 90])
def test_long_rows(launch: Launch, arch: int, classes: int) -> None:
    """Clusters of 2, 4, 8 blocks from sm_90, two readings below."""
    rng = np.random.default_rng(classes)
    x, y = rng.standard_normal((2, classes)).astype(np.float32) * 3, rng.integers(0, classes, 2)
    for smoothing, most in ((0.0, 1 << 18), (0.1, 1 << 17)):
        name = plan(ELEMENTS["float32"], classes, True, arch, smoothing > 0).name
        assert ("online" in name) == (arch < 90 or classes > most)
        value, dx = run(launch, x, y, 1.5, arch, label_smoothing=smoothing)
        want, gradient = reference(x, y, label_smoothing=smoothing, dy=1.5)
        close(value, want, "float32")
        close(dx, gradient, "float32")


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("one", [True, False])
@pytest.mark.parametrize(("n", "classes"), [(1, 2), (77, 3), (128, 10), (33, 64), (5, 203), (3, 250)])
def test_few_logits_take_one_launch(
    launch: Launch, n: int, classes: int, one: bool, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All in one block, and the same numbers by the launches that it saves."""
    launched: list[str] = []
    kernel = loader.kernel
    monkeypatch.setattr(
        loader, "kernel", lambda file, name, **k: (launched.append(name), kernel(file, name, **k))[1]
    )
    if not one:
        monkeypatch.setattr("xpnet.cuda.cross_entropy.small", lambda *_: None)
    rng = np.random.default_rng(n)
    x = (rng.standard_normal((n, classes)) * 3).astype(dtype_of(dtype))
    y, weight = rng.integers(0, classes, n), rng.uniform(0.5, 2, classes).astype(np.float32)
    y[: n // 3] = 1
    for options in (
        {},
        {"reduction": "sum", "ignore_index": 1},
        {"label_smoothing": 0.1},
        {"label_smoothing": 0.1, "ignore_index": 1, "weight": weight},
        {"reduction": "none", "weight": weight},
    ):
        launched.clear()
        given = {k: launch.array(v) if k == "weight" else v for k, v in options.items()}
        with launch.on(order=3, seed=n):
            value, pullback = cross_entropy(launch.array(x), launch.array(y), **given, recorded=True)
            (dx,) = pullback(1.0)
        assert len(launched) == 1 if one else launched[0].startswith("xent_totals")
        want, gradient = reference(x, y, **options)
        close(launch.numpy(value), want, dtype, scale=2)
        close(launch.numpy(dx), gradient, dtype, scale=2, terms=1)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("arch", [80, 90])
def test_very_long_rows(launch: Launch, arch: int, dtype: str) -> None:
    """One more than a cluster holds: any length works."""
    rng = np.random.default_rng(1)
    x, y = (rng.standard_normal((1, 262145)) * 3).astype(dtype_of(dtype)), np.array([262144])
    value, dx = run(launch, x, y, 1.0, arch)
    want, gradient = reference(x, y)
    close(value, want, dtype)
    close(dx, gradient, dtype)


@pytest.mark.parametrize(("classes", "arch"), [(10, 90), (1000, 90), (4000, 90), (16500, 90), (16500, 80)])
def test_races(launch: Launch, classes: int, arch: int) -> None:
    """Every kernel once, small enough for ThreadSanitizer (tests/kernels/ladder.py)."""
    rng = np.random.default_rng(classes)
    x, y = rng.standard_normal((3, classes)).astype(np.float32), rng.integers(0, classes, 3)
    options = {"label_smoothing": 0.1, "reduction": "mean" if classes == 10 else "sum"}
    want, gradient = reference(x, y, dy=2.0, **options)
    value, dx = run(launch, x, y, 2.0, arch, **options, order=3, resident=3)
    close(value, want, "float32")
    close(dx, gradient, "float32")


OPTIONS = st.fixed_dictionaries(
    {
        "label_smoothing": st.sampled_from([0.0, 0.1, 1.0]),
        "reduction": st.sampled_from(["mean", "sum", "none"]),
        "ignore_index": st.sampled_from([-100, 0, 1]),
    }
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 40),
    classes=st.one_of(st.integers(2, 40), st.integers(41, 1400), st.sampled_from([4099, 5000, 16400, 33000])),
    dtype=st.sampled_from(list(TOLERANCE)),
    labels=st.sampled_from([np.int32, np.int64]),
    weighted=st.booleans(),
    ignored=st.booleans(),
    arch=st.sampled_from([80, 90]),
    order=st.integers(0, 3),
    resident=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**32),
    offset=st.integers(0, 3),
    options=OPTIONS,
)
def test_options(
    launch: Launch,
    n: int,
    classes: int,
    dtype: str,
    labels: Any,
    weighted: bool,
    ignored: bool,
    arch: int,
    order: int,
    resident: int,
    seed: int,
    offset: int,
    options: dict[str, Any],
) -> None:
    rng = np.random.default_rng(seed)
    n = max(1, min(n, 20000 // classes))
    x = (rng.standard_normal((n, classes)) * 3).astype(dtype_of(dtype))
    y = rng.integers(0, classes, n).astype(labels)
    if ignored:
        y[: n // 2] = options["ignore_index"]
    weight = rng.uniform(0.5, 2, classes).astype(np.float32) if weighted else None
    dy = rng.uniform(0.5, 2, n if options["reduction"] == "none" else ()).astype(x.dtype).astype(np.float64)
    got = run(
        launch,
        x,
        y,
        dy,
        arch,
        weight=weight,
        order=order,
        resident=resident,
        seed=seed,
        offset=offset,
        **options,
    )
    if (y == options["ignore_index"]).all() and options["reduction"] == "mean":
        assert np.isnan(got[0])
        assert (got[1] == 0).all()
        return
    want = reference(x, y, weight, dy=dy, **options)
    # a certain row's loss is log(1 + tiny), as exact as numbers near 1 are: weight times that for each row
    rows = {"mean": 1, "none": n**0.5, "sum": n}[options["reduction"]]
    close(got[0], want[0], dtype, scale=2, terms=2 * rows)
    close(
        got[1], want[1], dtype, scale=2, terms=np.abs(dy).max() / (n if options["reduction"] == "mean" else 1)
    )


@pytest.mark.parametrize("classes", [5, 64, 1000, 3000])
def test_row_stride(launch: Launch, classes: int) -> None:
    """Columns cut out of a wider matrix, which stays as it is."""
    rng = np.random.default_rng(0)
    wide, y = rng.standard_normal((5, classes + 13)).astype(np.float32), rng.integers(0, classes, 5)
    want, gradient = reference(wide[:, 3 : 3 + classes], y)
    with launch.on():
        a = launch.array(wide)
        value, pullback = cross_entropy(a[:, 3 : 3 + classes], launch.array(y))
        (dx,) = pullback(launch.array(np.array(2.0), np.float32))
    close(launch.numpy(value), want, "float32")
    close(launch.numpy(dx), 2 * gradient, "float32")
    assert (launch.numpy(a) == wide).all()


def test_columns_apart(launch: Launch) -> None:
    """Logits whose rows are not contiguous are copied; transposed ones too."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 6)).astype(np.float32), rng.integers(0, 50, 6)
    with launch.on():
        value, pullback = cross_entropy(launch.array(x).T, launch.array(y))
        (dx,) = pullback(launch.array(np.array(1.0), np.float32))
    want, gradient = reference(x.T, y)
    close(launch.numpy(value), want, "float32")
    close(launch.numpy(dx), gradient, "float32")


@pytest.mark.parametrize("classes", [10, 300, 3000, 20000])
@pytest.mark.parametrize("arch", [80, 90])
def test_extreme_logits(launch: Launch, arch: int, classes: int) -> None:
    """+-1e4 is exact: a hit costs 0, a miss the distance; masked (-inf) logits count for nothing."""
    x = np.full((5, classes), -1e4, np.float32)
    x[:, 1] = 1e4
    x[2, 3:] = -np.inf
    x[3, 2] = 1e4 - 1
    x[4] = np.where(np.arange(classes) < classes // 2, -np.inf, -200)
    y = np.array([1, 0, 1, 2, classes - 1])
    value, dx = run(launch, x, y, np.ones(5), arch, reduction="none")
    tail = classes - classes // 2
    want = [0.0, 2e4, 0.0, 1 + np.log1p(np.exp(-1)), np.log(tail)]
    np.testing.assert_allclose(value, want, rtol=1e-6)
    hit = np.exp(-1) / (1 + np.exp(-1))
    np.testing.assert_allclose(dx[3, [1, 2]], [1 - hit, hit - 1], rtol=1e-6)
    np.testing.assert_allclose(dx[0], 0, atol=0)
    spread = np.where(np.isinf(x[4]), 0, 1 / tail) - (np.arange(classes) == classes - 1)
    np.testing.assert_allclose(dx[4], spread, rtol=1e-5)
    exact, gradient = reference(x[:1] + 1, y[:1], label_smoothing=0.1)
    got = run(launch, x[:1] + 1, y[:1], 1.0, arch, label_smoothing=0.1)
    close(got[0], exact, "float32")
    close(got[1], gradient, "float32")


@pytest.mark.parametrize("classes", [10, 300, 3000, 20000])
@pytest.mark.parametrize("arch", [80, 90])
def test_nan_and_inf_stay(launch: Launch, arch: int, classes: int) -> None:
    """A row with a NaN or +inf is NaN throughout, as in PyTorch, and no other row is touched."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((4, classes)).astype(np.float32), np.array([1, 2, 3, 4])
    x[1, classes // 2], x[2, classes - 1] = np.nan, np.inf
    value, dx = run(launch, x, y, np.ones(4), arch, reduction="none")
    assert np.isnan(value).tolist() == [False, True, True, False]
    assert np.isnan(dx[1]).all()
    assert np.isnan(dx[2]).all()
    want = reference(x[[0, 3]], y[[0, 3]], reduction="none")
    close(value[[0, 3]], want[0], "float32")
    close(dx[[0, 3]], want[1], "float32")


@pytest.mark.parametrize("classes", [10, 300, 3000, 20000])
def test_label_out_of_range(launch: Launch, classes: int) -> None:
    """NaN for the row at once, an error that names the label when asked; then the record is clear."""
    x, y = np.zeros((3, classes), np.float32), np.array([0, classes, 1])
    with launch.on():
        cuda.check_errors()
        value, pullback = cross_entropy(launch.array(x), launch.array(y), reduction="none")
        (dx,) = pullback(launch.array(np.ones(3), np.float32))
        with pytest.raises(ValueError, match=rf"label {classes} of row 1 is out of.*0 to {classes - 1}"):
            launch.read(value)
        cuda.check_errors()
    assert np.isnan(launch.numpy(value)).tolist() == [False, True, False]
    assert np.isnan(launch.numpy(dx)[1]).any()
    assert np.isfinite(launch.numpy(dx)[[0, 2]]).all()


@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 5.0]])
def test_all_losses_say_what_each_weighs(launch: Launch, weight: Any) -> None:
    """As the body does: the weight of its class, and nothing of a label that is ignored."""
    x, y = np.zeros((4, 3), np.float32), np.array([0, -100, 2, 1])
    with launch.on():
        options = (
            {"reduction": "none"} if weight is None else {"reduction": "none", "weight": launch.array(weight)}
        )
        (value, _), heard = weighed_each(lambda: cross_entropy(launch.array(x), launch.array(y), **options))
    losses, (each,) = launch.numpy(value), map(launch.numpy, heard)
    np.testing.assert_array_equal(each, [1, 0, 1, 1] if weight is None else [1, 0, 5, 2])
    np.testing.assert_allclose(losses, each * np.log(3), rtol=1e-6)


def test_float16_keeps_what_loss_scaling_saves(launch: Launch) -> None:
    """Gradients under float16's smallest number survive if the loss is scaled up."""
    x, y = np.zeros((4096, 64), np.float16), np.zeros(4096, np.int64)
    x[:, 0] = 10
    value, dx = run(launch, x, y, 32768.0)
    want, gradient = reference(x[:1], y[:1], dy=32768.0)
    assert abs(gradient[0, 1] / 4096 / 32768) < 2.0**-25
    close(dx, np.repeat(gradient / 4096, 4096, 0), "float16")
    close(value, want, "float16")


@pytest.mark.parametrize("kind", [list, np.uint8, np.int16, np.uint64])
def test_labels_of_other_kinds(launch: Launch, kind: Any) -> None:
    """Lists, and integers that the kernels do not read as they are; -100 is checked on the host as well."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 30)).astype(np.float32), rng.integers(0, 30, 6)
    if kind is list:
        y[2] = -100
    with launch.on():
        given = y.tolist() if kind is list else launch.array(y, kind)
        value, pullback = cross_entropy(launch.array(x), given)
        (dx,) = pullback(launch.array(np.array(1.0), np.float32))
    want, gradient = reference(x, y)
    close(launch.numpy(value), want, "float32")
    close(launch.numpy(dx), gradient, "float32")


def test_many_rows(launch: Launch) -> None:
    """Losses that one block does not add up alone; the sum does not depend on the order of the blocks."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20001, 2)).astype(np.float32), rng.integers(0, 2, 20001)
    values = [run(launch, x, y, 1.0, order=order, seed=order, resident=1 + order)[0] for order in (0, 3)]
    close(values[0], reference(x, y)[0], "float32")
    assert values[0] == values[1]


def test_gives_way(launch: Launch) -> None:
    """What the kernels do not take is left to the Array API body."""
    x, y = np.zeros((4, 3), np.float32), np.zeros(4, np.int64)
    with launch.on():
        assert cross_entropy(launch.array(np.zeros((2, 3, 4), np.float32)), launch.array(y)) is NotImplemented
        assert cross_entropy(launch.array(x), launch.array(np.zeros((4, 3), np.float32))) is NotImplemented
        assert cross_entropy(launch.array(x), launch.array(y[:2])) is NotImplemented
        assert cross_entropy(launch.array(x), [0, 1, 3, 2]) is NotImplemented
        assert cross_entropy(launch.array(x), [0.0, 1.0, 2.0, 2.0]) is NotImplemented
        assert cross_entropy(launch.array(x[:0]), launch.array(y[:0])) is NotImplemented
        assert cross_entropy(launch.array(x), launch.array(y), reduction="max") is NotImplemented
        assert cross_entropy(launch.array(x), launch.array(y), launch.array(np.ones(2))) is NotImplemented
        assert cross_entropy(launch.array(x), launch.array(y), label_smoothing=2.0) is NotImplemented


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_like_torch(launch: Launch, smoothing: float, reduction: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((9, 70)), rng.integers(0, 70, 9)
    y[[1, 4]] = 5
    weight = rng.uniform(0.1, 2, 70)
    dy = rng.uniform(1, 2, 9 if reduction == "none" else ())
    t = torch.tensor(x, requires_grad=True)
    want = torch.nn.functional.cross_entropy(
        t,
        torch.tensor(y),
        torch.tensor(weight),
        ignore_index=5,
        label_smoothing=smoothing,
        reduction=reduction,
    )
    want.backward(torch.tensor(dy))
    got = run(launch, x, y, dy, weight=weight, ignore_index=5, label_smoothing=smoothing, reduction=reduction)
    close(got[0], want.detach().numpy(), "float64", scale=10)
    close(got[1], t.grad.numpy(), "float64", scale=10)


def test_recorded_call_makes_the_gradient_in_one_pass(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the op: one launch of the pass for loss and gradient, none in backward."""
    import xpnet
    from xpnet.core import registry as dispatch
    from xpnet.core.places import backend_name

    launched: list[str] = []
    kernel = loader.kernel
    monkeypatch.setattr(
        loader, "kernel", lambda file, name, **k: (launched.append(name), kernel(file, name, **k))[1]
    )
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((800, 50)).astype(np.float32), rng.integers(0, 50, 800)
    with launch.on():
        a, labels = launch.array(x), launch.array(y)
        dispatch.load_kernels("numpy")
        kernels = xpnet.functional.cross_entropy.kernels
        monkeypatch.setitem(kernels, backend_name(a), dispatch.Kernel(cross_entropy, told=True))
        logits = xpnet.Tensor(a, requires_grad=True)
        loss = xpnet.functional.cross_entropy(logits, labels)
        loss.backward()
    assert [name.partition("<")[0] for name in launched] == ["xent_totals", "xent_warp", "xent_sum"]
    want, gradient = reference(x, y)
    close(launch.numpy(loss.data), want, "float32")
    close(launch.numpy(logits.grad), gradient, "float32")


@pytest.mark.parametrize("classes", [4, 300, 3000])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_nothing_that_counts(launch: Launch, classes: int, smoothing: float) -> None:
    """Every row ignored, or of a class that weighs nothing: NaN, and a gradient of 0, as in PyTorch."""
    x = np.random.default_rng(0).standard_normal((3, classes)).astype(np.float32)
    weight = np.ones(classes, np.float32)
    weight[1] = 0
    for y, w in ((np.full(3, -100), None), (np.ones(3, np.int64), weight)):
        with launch.on():
            value, pullback = cross_entropy(
                launch.array(x),
                launch.array(y),
                None if w is None else launch.array(w),
                label_smoothing=smoothing,
            )
            (dx,) = pullback(launch.array(np.float32(1)))
        if w is None or not smoothing:
            assert np.isnan(launch.numpy(value))
        np.testing.assert_array_equal(launch.numpy(dx), np.zeros_like(x))


@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize(("classes", "arch"), [(4, 90), (300, 90), (3000, 90), (16500, 90), (16500, 80)])
def test_no_gradient_reaches_a_row_that_counts_for_nothing(
    launch: Launch, classes: int, arch: int, bad: float
) -> None:
    """Ignored, or of a class that weighs nothing, and an infinite gradient arrives there."""
    x = np.random.default_rng(0).standard_normal((4, classes)).astype(np.float32)
    y, weight = np.array([-100, 2, 1, 3]), np.ones(classes, np.float32)
    weight[1] = 0
    options = {"reduction": "none"}
    _, dx = run(launch, x, y, [bad, 1, bad, 2], arch, weight=weight, **options)
    _, gradient = reference(x, y, weight, dy=[0, 1, 0, 2], reduction="none")
    close(dx, gradient, "float32")
    assert not dx[[0, 2]].any()
