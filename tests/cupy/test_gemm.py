"""Matrix products through cuBLASLt, against NumPy in float64."""

import gc
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xpnet
from xpnet import functional as F
from xpnet.core.arrays import matmul
from xpnet.core.numpy_namespace import asarray as host
from xpnet.core.precision import get_matmul_precision

pytestmark = pytest.mark.usefixtures("cupy")
SIZES = st.integers(1, 9)
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-3}
LAYOUTS = ("rows", "columns", "padded rows", "every other", "reversed")


def stored(cupy, x, layout):
    """x on the device, its elements laid out in memory like this."""
    if layout == "rows":
        return cupy.asarray(x)
    if layout == "columns":
        return cupy.ascontiguousarray(cupy.asarray(x).swapaxes(-1, -2)).swapaxes(-1, -2)
    if layout == "reversed":
        return cupy.asarray(x[..., ::-1].copy())[..., ::-1]
    room = cupy.full((*x.shape[:-1], 2 * x.shape[-1] + 3), np.nan, x.dtype)
    view = room[..., : x.shape[-1]] if layout == "padded rows" else room[..., : 2 * x.shape[-1] : 2]
    view[...] = cupy.asarray(x)
    return view


@pytest.fixture
def used(monkeypatch):
    """Where each product went: the plans that were launched."""
    from xpnet.cuda import cublaslt

    if cublaslt.library() is None:
        pytest.skip("no cuBLASLt")
    launched, launch = [], cublaslt.Plan.launch
    monkeypatch.setattr(cublaslt.Plan, "launch", lambda self, *a: launched.append(self) or launch(self, *a))
    return launched


@given(data=st.data())
def test_layouts(cupy, used, data):
    draw = data.draw
    m, k, n, batch = draw(SIZES), draw(SIZES), draw(SIZES), draw(st.integers(1, 3))
    dtype = draw(st.sampled_from(list(TOLERANCE)))
    a_batch, b_batch = draw(
        st.sampled_from([((), ()), ((batch,), (batch,)), ((), (batch,)), ((batch,), ()), ((1,), (batch,))])
    )
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    a, b = (rng.standard_normal(s).astype(dtype) for s in ((*a_batch, m, k), (*b_batch, k, n)))
    before = len(used)
    found = matmul(
        stored(cupy, a, draw(st.sampled_from(LAYOUTS))), stored(cupy, b, draw(st.sampled_from(LAYOUTS)))
    )
    assert len(used) == before + 1
    want = a.astype(np.float64) @ b.astype(np.float64)
    assert found.dtype == dtype
    assert found.shape == want.shape
    np.testing.assert_allclose(found.get(), want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * 9)


@pytest.mark.parametrize("dtype", [*TOLERANCE, "bfloat16"])
@pytest.mark.parametrize("shape", [(8, 5, 3), (1, 1, 1), (33, 64, 10), (4, 7, 1)])
def test_linear_adds_the_bias_in_the_product(cupy, used, shape, dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    n, inputs, outputs = shape
    rng = np.random.default_rng(0)
    arrays = [
        xpnet.asarray(rng.standard_normal(s), dtype) for s in ((n, inputs), (outputs, inputs), (outputs,))
    ]
    wide = [host(xpnet.to_numpy(a)).astype(np.float64) for a in arrays]
    x, w, b = (xpnet.Tensor(a, True) for a in arrays)
    y = F.linear(x, w, b)
    assert len(used) == 1
    dy = rng.standard_normal((n, outputs))
    y.backward(xpnet.asarray(dy, dtype))
    assert len(used) == 3  # of which one sums up the gradient of the bias
    dy = host(xpnet.to_numpy(xpnet.asarray(dy, dtype))).astype(np.float64)
    tolerance = TOLERANCE.get(dtype, 2e-2)
    for found, want in (
        (y.data, wide[0] @ wide[1].T + wide[2]),
        (x.grad, dy @ wide[1]),
        (w.grad, dy.T @ wide[0]),
        (b.grad, dy.sum(0)),
    ):
        found = host(xpnet.to_numpy(found)).astype(np.float64)
        np.testing.assert_allclose(found, want, rtol=tolerance, atol=tolerance * 3 * max(shape) ** 0.5)


@pytest.mark.parametrize("frozen", ["weight", "bias", "refused", None])
def test_the_gradient_of_the_bias(cupy, used, frozen, monkeypatch):
    """By the product for dW where there is one that can; added to what is there."""
    from xpnet.cuda import cublaslt, gemm

    sums = []
    ours = gemm.arrays
    counted = SimpleNamespace(matmul=ours.matmul, sum_rows=lambda *a: sums.append(1) or ours.sum_rows(*a))
    monkeypatch.setattr(gemm, "arrays", counted)
    if frozen == "refused":
        find = cublaslt.plan
        monkeypatch.setattr(
            cublaslt, "plan", lambda d, p, *a: None if p.epilogue == cublaslt.SUMS else find(d, p, *a)
        )
    layer = xpnet.nn.Linear(5, 3).to("cupy")
    if frozen in ("weight", "bias"):
        getattr(layer, frozen).requires_grad = False
    x = xpnet.asarray(np.random.default_rng(0).standard_normal((4, 5)), "float32")
    for _ in range(2):
        layer(x).sum().backward()
    assert len(sums) == (2 if frozen in ("weight", "refused") else 0)
    if frozen != "bias":
        np.testing.assert_allclose(xpnet.to_numpy(layer.bias.grad), np.full(3, 8.0))
    if frozen != "weight":
        want = np.broadcast_to(2 * xpnet.to_numpy(x).sum(0), (3, 5))
        np.testing.assert_allclose(xpnet.to_numpy(layer.weight.grad), want, rtol=1e-5)


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("activation", [None, "ReLU", "GELU"])
def test_the_product_is_added_to_a_gradient_that_is_there(cupy, used, activation, refused, monkeypatch):
    """By cuBLASLt, where it takes that; a layer that is used twice adds to what its other use has left."""
    from xpnet.cuda import cublaslt

    if refused:
        find = cublaslt.plan
        monkeypatch.setattr(cublaslt, "plan", lambda d, p, *a: None if p.adds else find(d, p, *a))
    layers = [xpnet.nn.Linear(5, 5)] + ([getattr(xpnet.nn, activation)()] if activation else [])
    model, layer = xpnet.nn.Sequential(*layers).to("cupy"), layers[0]
    x = xpnet.asarray(np.random.default_rng(0).standard_normal((4, 5)), "float32")
    model(x).sum().backward()
    once = layer.weight.grad.copy()
    for added in (1, 2, 3):
        model(x).sum().backward()
        assert sum(plan.product.adds for plan in used) == (0 if refused else added)
        np.testing.assert_allclose(layer.weight.grad.get(), (1 + added) * once.get(), rtol=1e-5)
    layer.zero_grad()
    model(model(x)).sum().backward()
    assert sum(plan.product.adds for plan in used) == (0 if refused else 4)
    with xpnet.fused(False):
        same = xpnet.nn.Sequential(*layers)
        found = layer.weight.grad.copy()
        layer.zero_grad()
        same(same(x)).sum().backward()
    np.testing.assert_allclose(found.get(), layer.weight.grad.get(), rtol=1e-4, atol=1e-6)


def test_a_weight_that_is_there_twice_is_no_place_to_add_to(cupy):
    """In one op, which knows nothing of its other gradient for it."""
    w = xpnet.tensor(np.eye(3, dtype=np.float32) * 2, requires_grad=True)
    for total in (1, 2):
        F.linear(w, w, xpnet.asarray(np.zeros(3, np.float32))).sum().backward()
        np.testing.assert_allclose(xpnet.to_numpy(w.grad), np.full((3, 3), 4.0 * total))


def test_out_is_written(cupy, used):
    a = cupy.asarray(np.random.default_rng(0).standard_normal((4, 4), np.float32))
    out = cupy.empty((4, 4), np.float32)
    assert matmul(a, a, out) is out
    np.testing.assert_allclose(out.get(), a.get() @ a.get(), rtol=1e-5)


@pytest.mark.parametrize(
    ("a", "b"), [((0, 3), (3, 2)), ((2, 0), (0, 3)), ((3,), (3, 2)), ((2, 2, 2, 3), (2, 2, 3, 2))]
)
def test_others_are_cupys(cupy, used, a, b):
    """Empty ones, vectors, two axes of batches."""
    a, b = (np.ones(s, np.float32) for s in (a, b))
    np.testing.assert_allclose(matmul(cupy.asarray(a), cupy.asarray(b)).get(), a @ b)
    assert not used


def test_nan_and_inf_stay(cupy, used):
    a = np.array([[np.nan, 1], [np.inf, 1], [1, 1]], np.float32)
    b = np.ones((2, 2), np.float32)
    np.testing.assert_array_equal(matmul(cupy.asarray(a), cupy.asarray(b)).get(), a @ b)


def test_one_address_may_be_aligned_less(cupy, used):
    """A plan is chosen for the alignment of the arrays: a view that begins elsewhere has another."""
    room = cupy.arange(65, dtype=np.float32)
    for offset in (0, 1):
        x = room[offset : offset + 64].reshape(8, 8)
        np.testing.assert_allclose(matmul(x, x).get(), x.get() @ x.get(), rtol=1e-5)
    assert used[0] is not used[1]


def test_threads_have_plans_of_their_own(cupy, used):
    a = cupy.ones((4, 4), np.float32)
    matmul(a, a)
    thread = threading.Thread(target=lambda: matmul(a, a))
    thread.start()
    thread.join()
    assert used[0] is not used[1]


def test_precision_is_of_the_plan(cupy, used):
    from xpnet.cuda import cublaslt

    computes, described = [], cublaslt.Plan.__init__

    def watch(self, handle, product, *rest):
        computes.append(product.compute)
        described(self, handle, product, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cublaslt.Plan, "__init__", watch)
        for dtype in ("float32", "float64"):
            a = cupy.ones((3, 11), dtype)
            for precision in ("float32", "tf32", "bf16"):
                with xpnet.matmul_precision(precision):
                    matmul(a, a.T)
    assert computes == [cublaslt.FLOAT32, cublaslt.TF32, cublaslt.BF16, cublaslt.FLOAT64]


def test_what_cublaslt_refuses_is_cupys(cupy, used, monkeypatch):
    from xpnet.cuda import cublaslt

    def refuse(*_):
        raise RuntimeError("status 15")

    monkeypatch.setattr(cublaslt.Plan, "__init__", refuse)
    a = cupy.ones((3, 13), np.float32)
    with pytest.warns(RuntimeWarning, match="status 15; CuPy's product is used instead"):
        found = matmul(a, a.T)
    np.testing.assert_array_equal(found.get(), np.full((3, 3), 13))
    np.testing.assert_array_equal(matmul(a, a.T).get(), np.full((3, 3), 13))  # in silence: it has been said


def test_the_precision_has_a_name():
    with pytest.raises(ValueError, match="expected one of float32, tf32, bf16, got 'fast'"):
        xpnet.matmul_precision("fast")
    with xpnet.matmul_precision("tf32"):
        assert get_matmul_precision() == "tf32"
    assert get_matmul_precision() == "float32"


def test_scratch_memory_ends_with_its_stream(cupy):
    """Each captured graph has a stream: what its products use must not outlive it."""
    from xpnet.cuda import cublaslt, gemm

    if cublaslt.library() is None:
        pytest.skip("no cuBLASLt")
    before = set(gemm._workspaces)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        a = cupy.ones((64, 64), np.float32)
        matmul(a, a)
    added = set(gemm._workspaces) - before
    assert added == {(a.data.device_id, stream.ptr)}
    del stream
    gc.collect()
    assert set(gemm._workspaces) == before
