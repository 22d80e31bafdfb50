"""Attention through its launcher, against PyTorch in float64; dropout against the body in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xpnet
from tests.kernels.conftest import Launch
from tests.kernels.registered import registered
from xpnet import functional as F
from xpnet.core.random import Key
from xpnet.cuda import attention as launchers
from xpnet.cuda.attention import attention
from xpnet.functional.attention import attention as op

torch = pytest.importorskip("torch")
TOLERANCE = {"float64": 1e-12, "float32": 3e-6, "float16": 2e-3, "bfloat16": 1.6e-2}
Shape = tuple[int, ...]


def dtype_of(name: str) -> Any:
    return pytest.importorskip("ml_dtypes").bfloat16 if name == "bfloat16" else np.dtype(name)


def inputs(q: Shape, k: Shape, f: int, dtype: str) -> list[np.ndarray]:
    """Queries, keys, values and the slope of the output."""
    rng = np.random.default_rng(sum(q) + sum(k))
    shapes = (q, k, (*k[:-1], f), (*q[:-1], f))
    return [rng.standard_normal(shape).astype(dtype_of(dtype)) for shape in shapes]


def mask_of(kind: str, shape: Shape, dtype: str) -> Any:
    """A mask of the shape; one row may look nowhere, if there are several."""
    rng = np.random.default_rng(7)
    seen = rng.random(shape) < 0.6
    seen[..., : shape[-2] // 30, :] = False
    if kind == "bool":
        return seen
    return np.where(seen, rng.standard_normal(shape), -np.inf).astype(dtype_of(dtype))


def by_torch(arrays: list[np.ndarray], mask: Any, causal: bool, scale: float | None) -> list[np.ndarray]:
    """The output and the three gradients, written out: PyTorch's gives NaN where a query may look nowhere."""
    q, k, v = (torch.tensor(a.astype(np.float64), requires_grad=True) for a in arrays[:3])
    s = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        s = s.masked_fill(torch.ones(s.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
    if mask is not None:
        wide = torch.tensor(mask if mask.dtype == bool else mask.astype(np.float64))
        s = s.masked_fill(~wide, -torch.inf) if mask.dtype == bool else s + wide
    nowhere = (s == -torch.inf).all(-1, keepdim=True)
    y = s.masked_fill(nowhere, 0).softmax(-1).masked_fill(nowhere, 0) @ v
    y.backward(torch.tensor(arrays[3].astype(np.float64)))
    return [y.detach().numpy(), *(a.grad.numpy() for a in (q, k, v))]


def compare(launch: Launch, found: Any, wanted: Any, dtype: str) -> None:
    for name, got, right in zip(("y", "dq", "dk", "dv"), found, wanted, strict=True):
        assert str(got.dtype) == dtype, name
        assert got.shape == right.shape, name
        error = np.linalg.norm(launch.numpy(got) - right) / max(1, np.linalg.norm(right))
        assert error < TOLERANCE[dtype], (name, error)


def check(
    launch: Launch,
    q: Shape,
    k: Shape,
    f: int,
    dtype: str = "float32",
    mask: Any = None,
    causal: bool = False,
    scale: float | None = None,
    **how: Any,
) -> list[Any]:
    arrays = inputs(q, k, f, dtype)
    with launch.on(**how):
        *given, dy = (launch.array(a) for a in arrays)
        made = attention(*given, None if mask is None else launch.array(mask), 0.0, causal, scale)
        assert made is not NotImplemented
        found = [made[0], *made[1](dy)[:3]]
    compare(launch, found, by_torch(arrays, mask, causal, scale), dtype)
    return found


# queries, keys, features of values: several tiles, one row, other lengths, features that fill no tile
SHAPES = [
    ((2, 2, 40, 16), (2, 2, 40, 16), 16),
    ((1, 1, 1, 1), (1, 1, 1, 1), 1),
    ((3, 7, 5), (3, 70, 5), 9),
    ((33, 32), (65, 32), 30),
    ((2, 9, 64), (2, 35, 64), 64),
    ((1, 1, 20, 128), (1, 1, 34, 128), 100),
]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("q", "k", "f"), SHAPES, ids=str)
def test_against_torch(launch: Launch, q: Shape, k: Shape, f: int, causal: bool) -> None:
    check(launch, q, k, f, causal=causal, order=3)


@pytest.mark.parametrize("features", [24, 50, 104])
@pytest.mark.parametrize("dtype", [d for d in TOLERANCE if d != "float32"])
def test_other_dtypes(launch: Launch, dtype: str, features: int) -> None:
    check(launch, (2, 37, features), (2, 37, features), features, dtype, causal=True)


MASKS = [(30, 41), (3, 2, 30, 41), (3, 1, 1, 41), (1, 2, 30, 1)]


@pytest.mark.parametrize("kind", ["bool", "floats"])
@pytest.mark.parametrize("shape", MASKS, ids=str)
def test_masks(launch: Launch, shape: Shape, kind: str) -> None:
    check(launch, (3, 2, 30, 8), (3, 2, 41, 8), 8, mask=mask_of(kind, shape, "float32"))


def test_a_mask_in_16_bits_and_a_scale(launch: Launch) -> None:
    mask = mask_of("floats", (30, 41), "float16")
    check(launch, (3, 2, 30, 8), (3, 2, 41, 8), 8, "float16", mask, scale=0.3)


@pytest.mark.parametrize("causal", [False, True])
def test_heads_that_share_keys(launch: Launch, causal: bool) -> None:
    """As `enable_gqa` asks for: 4 heads of queries, 2 of keys, whose gradients are sums."""
    q, k = (2, 2, 2, 34, 8), (2, 2, 1, 34, 8)
    check(launch, q, k, 8, causal=causal)


def test_the_gradient_of_a_mask(launch: Launch) -> None:
    """Numbers that are added have one, of the body's making."""
    q, k = (2, 3, 9, 8), (2, 3, 11, 8)
    arrays, mask = inputs(q, k, 8, "float32"), np.random.default_rng(0).standard_normal((3, 1, 11))
    given = torch.tensor(mask, requires_grad=True)
    q64, k64, v64, dy64 = (torch.tensor(a.astype(np.float64)) for a in arrays)
    s = q64 @ k64.transpose(-1, -2) / 8**0.5 + given
    (s.softmax(-1) @ v64).backward(dy64)
    with launch.on():
        *three, dy = (launch.array(a) for a in arrays)
        _, pullback = attention(*three, launch.array(mask.astype(np.float32)))
        dmask = pullback(dy)[3](None)
    np.testing.assert_allclose(launch.numpy(dmask), given.grad.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("causal", [False, True])
def test_dropout_is_that_of_the_body(launch: Launch, dtype: str, causal: bool) -> None:
    """The same weights are dropped: those of F.dropout's counters, whatever the tiles."""
    arrays, key = inputs((2, 3, 40, 8), (2, 3, 37, 8), 6, dtype), Key(2**40 + 5, 1, 7)
    with launch.on():
        *given, dy = (launch.array(a) for a in arrays)
        y, pullback = attention(*given, None, 0.3, causal, None, key)
        found = [y, *pullback(dy)[:3]]
    wide = [a.astype(np.float64) for a in arrays]
    want, back = op.body(*wide[:3], None, 0.3, causal, None, key)
    compare(launch, found, [want, *back(wide[3])[:3]], dtype)


def test_layouts(launch: Launch) -> None:
    """Heads that lie side by side are read as they are, and results lie likewise; so do odd addresses."""
    q, k, v, dy = inputs((2, 3, 33, 16), (2, 3, 33, 16), 16, "float32")
    with launch.on():
        want, pullback = attention(*map(launch.array, (q, k, v)), None, 0.0, True)
        wanted = [want, *pullback(launch.array(dy))[:3]]
        for offset in (0, 1):
            turned = [
                launch.array(a.transpose(0, 2, 1, 3), offset=offset).transpose(0, 2, 1, 3)
                for a in (q, k, v, dy)
            ]
            y, pullback = attention(*turned[:3], None, 0.0, True)
            found = [y, *pullback(turned[3])[:3]]
            assert all(a.transpose(0, 2, 1, 3).flags.c_contiguous for a in found)
            for got, right in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(launch.numpy(got), launch.numpy(right))
        every_other = launch.array(np.repeat(q, 2, axis=-1))[..., ::2]
        y, _ = attention(every_other, launch.array(k), launch.array(v), None, 0.0, True)
        np.testing.assert_array_equal(launch.numpy(y), launch.numpy(want))


def test_extreme_scores(launch: Launch) -> None:
    """Scores of +-1e4 are exact; NaN and infinite ones make their row NaN alone, and its gradient."""
    q = np.full((4, 35, 1), 1e4, np.float32)
    k = np.linspace(-1, 1, 4 * 35).astype(np.float32).reshape(4, 35, 1)
    q[0, 3], q[3, 4] = np.nan, np.inf
    v = np.random.default_rng(0).standard_normal((4, 35, 3)).astype(np.float32)
    with launch.on():
        y, pullback = attention(*map(launch.array, (q, k, v)))
        dq, dk, dv, _ = pullback(launch.array(np.ones_like(v)))
    lost = np.zeros((4, 35), bool)
    lost[0, 3] = lost[3, 4] = True
    for found in (y, dq):
        np.testing.assert_array_equal(np.isnan(launch.numpy(found)).all(-1), lost)
        assert np.isfinite(launch.numpy(found)[~lost]).all()
    s = (q.astype(np.float64) * k.transpose(0, 2, 1))[1:3]
    e = np.exp(s - s.max(-1, keepdims=True))
    np.testing.assert_allclose(
        launch.numpy(y)[1:3], e / e.sum(-1, keepdims=True) @ v[1:3], rtol=1e-3, atol=1e-4
    )
    assert all(np.isfinite(launch.numpy(d)[1:3]).all() for d in (dk, dv))


def test_a_masked_score_gets_no_gradient_whatever_arrives(launch: Launch) -> None:
    """The infinite slope of a query stays with the keys that it sees."""
    q, k, v, dy = inputs((6, 4), (6, 4), 4, "float32")
    dy[2] = np.inf
    with launch.on():
        _, pullback = attention(*map(launch.array, (q, k, v)), None, 0.0, True)
        dk = pullback(launch.array(dy))[1]
    np.testing.assert_array_equal(np.isfinite(launch.numpy(dk)).all(-1), [False] * 3 + [True] * 3)


def test_the_same_bits_in_any_order_of_threads(launch: Launch) -> None:
    found = [
        [
            launch.numpy(a)
            for a in check(launch, (2, 70, 8), (2, 70, 8), 8, causal=True, order=o, seed=o, resident=1 + o)
        ]
        for o in range(3)
    ]
    for other in found[1:]:
        for got, right in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(got, right)


def test_what_the_kernels_leave_to_the_body(launch: Launch) -> None:
    array = lambda *shape: launch.array(np.ones(shape, np.float32))
    x = array(2, 3, 4)
    with launch.on():
        for made in (
            attention(array(2, 3, 129), array(2, 3, 129), x),
            attention(x, x, array(2, 3, 130)),
            attention(x, array(1, 3, 4), array(2, 3, 4)),
            attention(array(1, 3, 4), x, x),
            attention(x[:0], x[:0], x[:0]),
            attention(x, x[:, :0], x[:, :0]),
            attention(x, x, x, None, 1.0, False, None, Key(0, 0, 0)),
        ):
            assert made is NotImplemented
        with pytest.raises(ValueError, match="does not broadcast"):
            attention(x, x, x, array(5, 3))


@pytest.mark.parametrize("gqa", [False, True])
def test_through_the_registry(launch: Launch, gqa: bool) -> None:
    rng = np.random.default_rng(0)
    shapes = ((2, 4, 9, 8), (2, 2 if gqa else 4, 9, 8))
    arrays = [rng.standard_normal(shapes[i > 0]).astype(np.float32) for i in range(3)]

    def run() -> list[Any]:
        xpnet.manual_seed(3)
        q, k, v = (xpnet.tensor(a, requires_grad=True) for a in arrays)
        y = F.scaled_dot_product_attention(q, k, v, None, 0.2, True, enable_gqa=gqa)
        (y * y).sum().backward()
        return [xpnet.to_numpy(a) for a in (y, q.grad, k.grad, v.grad)]

    with launch.on(), registered(launch, launchers) as counted:
        found = run()
        with xpnet.fused(False):
            body = run()
    assert counted == {"attention": 1}
    for got, right in zip(found, body, strict=True):
        np.testing.assert_allclose(got, right, rtol=2e-5, atol=5e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_races(launch: Launch, causal: bool) -> None:
    """Every kernel over two tiles, small enough for ThreadSanitizer (tests/kernels/ladder.py)."""
    check(launch, (40, 8), (40, 8), 8, causal=causal, order=1, resident=2)
