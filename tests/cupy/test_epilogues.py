"""Activations in the products of linear layers: ReLU with its mask, forward and backward; GELU by tanh."""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet.core.numpy_namespace import asarray as host

pytestmark = pytest.mark.usefixtures("cupy")
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}


@pytest.fixture
def epilogues(monkeypatch):
    """Of the products launched, in their order."""
    from xpnet.cuda import cublaslt

    if cublaslt.library() is None:
        pytest.skip("no cuBLASLt")
    launched, launch = [], cublaslt.Plan.launch

    def watched(self, *args):
        launched.append(self.product.epilogue)
        launch(self, *args)

    monkeypatch.setattr(cublaslt.Plan, "launch", watched)
    return launched


def wide(a):
    return host(xpnet.to_numpy(a)).astype(np.float64)


def arrays(shape, hidden, outputs, dtype="float32"):
    """x, both weights and biases; dy."""
    rng = np.random.default_rng(0)
    sizes = [shape, (hidden, shape[-1]), (hidden,), (outputs, hidden), (outputs,), (*shape[:-1], outputs)]
    return [xpnet.asarray(rng.standard_normal(size), dtype) for size in sizes]


def gradients(x, v, a, w, b, dy):
    """Of W relu(V x + a) + b by x, V, a, W, b: the chain rule in float64."""
    inputs, outputs = x.shape[-1], dy.shape[-1]
    x, dy, shape = x.reshape(-1, inputs), dy.reshape(-1, outputs), x.shape
    z = x @ v.T + a
    dz = np.where(z > 0, dy @ w, 0)
    return (dz @ v).reshape(shape), dz.T @ x, dz.sum(0), dy.T @ np.maximum(z, 0), dy.sum(0)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize(
    ("shape", "hidden", "outputs"),
    [((4, 5), 3, 2), ((1, 1), 1, 1), ((33, 64), 129, 10), ((2, 3, 7), 128, 4), ((5, 2), 300, 1)],
)
def test_against_the_chain_rule(epilogues, shape, hidden, outputs, dtype):
    from xpnet.cuda.cublaslt import AUX, BIAS, DRELU, NONE, RELU, SUMS

    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    *given, dy = arrays(shape, hidden, outputs, dtype)
    x, v, a, w, b = leaves = [xpnet.Tensor(array, True) for array in given]
    F.linear(F.linear_activation(x, v, a), w, b).backward(dy)
    masked = [AUX | RELU | BIAS, BIAS, DRELU, SUMS, NONE, SUMS]
    assert epilogues == (masked if dtype != "float64" else [RELU | BIAS, BIAS, NONE, SUMS, NONE, NONE])
    rtol = TOLERANCE[dtype]
    atol = 3 * rtol * (hidden * shape[-1]) ** 0.5
    for leaf, want in zip(leaves, gradients(*map(wide, given), wide(dy)), strict=True):
        assert leaf.grad.dtype == leaf.data.dtype
        np.testing.assert_allclose(wide(leaf.grad), want, rtol=rtol, atol=atol)


def test_it_is_the_gradient_of_kernels_to_the_bit(epilogues):
    """The mask selects, as the kernel's pass does; sums of biases may be in another order."""
    *given, dy = arrays((9, 6), 40, 5)
    found = []
    for keep in (False, True):
        x, v, a, w, b = (xpnet.Tensor(array, True) for array in given)
        h = F.linear_activation(x, v, a)
        if keep:
            h.retain_grad()
        F.linear(h, w, b).backward(dy)
        found.append([xpnet.to_numpy(leaf.grad) for leaf in (x, v, w, b)])
    for masked, separate in zip(*found, strict=True):
        np.testing.assert_array_equal(masked, separate)


def test_retain_grad_sees_the_gradient_of_the_output(epilogues):
    *given, dy = arrays((9, 6), 40, 5)
    x, v, a, w, b = (xpnet.Tensor(array, True) for array in given)
    h = F.linear_activation(x, v, a)
    h.retain_grad()
    F.linear(h, w, b).backward(dy)
    np.testing.assert_allclose(wide(h.grad), wide(dy) @ wide(w.data), rtol=1e-4, atol=1e-5)
    assert 136 not in epilogues


@pytest.mark.parametrize("first", [True, False])
def test_a_second_use_of_the_output(epilogues, first):
    """Its gradient has passed no mask: the sum does."""
    *given, dy = arrays((9, 6), 40, 5)
    leaves = x, v, a, w, b = [xpnet.Tensor(array, True) for array in given]
    h = F.linear_activation(x, v, a)
    other = (h * 3).sum() if first else None
    y = F.linear(h, w, b)
    loss = (y * dy).sum() + (other if first else (h * 3).sum())
    loss.backward()
    assert 136 in epilogues
    x64, v64, a64, w64, _ = map(wide, given)
    z = x64 @ v64.T + a64
    dz = np.where(z > 0, wide(dy) @ w64 + 3, 0)
    for leaf, want in ((x, dz @ v64), (v, dz.T @ x64), (a, dz.sum(0))):
        np.testing.assert_allclose(wide(leaf.grad), want, rtol=1e-4, atol=1e-4)
    assert all(leaf.grad is not None for leaf in leaves)


def test_twice_through_one_graph(epilogues):
    *given, dy = arrays((9, 6), 40, 5)
    leaves = x, v, a, w, b = [xpnet.Tensor(array, True) for array in given]
    y = F.linear(F.linear_activation(x, v, a), w, b)
    y.backward(dy, retain_graph=True)
    once = [wide(leaf.grad) for leaf in leaves]
    y.backward(dy)
    assert epilogues.count(136) == 2
    for leaf, before in zip(leaves, once, strict=True):
        np.testing.assert_allclose(wide(leaf.grad), 2 * before, rtol=1e-6)


def test_the_output_as_both_arguments(epilogues):
    """h W^T with W = h: one of two gradients goes through the gate, their sum once more."""
    rng = np.random.default_rng(0)
    x, v = (xpnet.Tensor(xpnet.asarray(rng.standard_normal((6, 6)), "float32"), True) for _ in range(2))
    a, b = (xpnet.asarray(rng.standard_normal(6), "float32") for _ in range(2))
    h = F.linear_activation(x, v, a)
    F.linear(h, h, b).sum().backward()
    z = wide(x.data) @ wide(v.data).T + wide(a)
    y = np.maximum(z, 0)
    dz = np.where(z > 0, np.ones((6, 6)) @ y * 2, 0)
    np.testing.assert_allclose(wide(x.grad), dz @ wide(v.data), rtol=1e-4, atol=1e-4)


def test_what_was_written_over_has_no_gate(epilogues):
    """h[...] = y makes another node of h; the product below took the one before."""
    *given, dy = arrays((9, 6), 40, 5)
    x, v, a, w, b = (xpnet.Tensor(array, True) for array in given)
    h = F.linear_activation(x, v, a)
    h[0] = 1.0
    F.linear(h, w, b).backward(dy)
    x64, v64, a64, w64, _ = map(wide, given)
    dz = np.where(x64 @ v64.T + a64 > 0, wide(dy) @ w64, 0)
    dz[0] = 0
    np.testing.assert_allclose(wide(x.grad), dz @ v64, rtol=1e-4, atol=1e-4)


def test_infinity_is_held_back(epilogues):
    x, one, minus, zero = (xpnet.asarray(a, "float32") for a in ([[1.0]], [[1.0]], [[-1.0]], [0.0]))
    x = xpnet.Tensor(x, True)
    y = F.linear(F.linear_activation(x, minus, zero), one, zero)
    y.backward(xpnet.asarray([[np.inf]], "float32"))
    assert 136 in epilogues
    assert float(x.grad[0, 0]) == 0


@pytest.mark.parametrize("which", [128, 136])
def test_what_cublaslt_refuses_is_masked_by_the_kernel(epilogues, which, monkeypatch, recwarn):
    from xpnet.cuda import cublaslt

    made = cublaslt.Plan.__init__

    def refuse(self, handle, product, *rest):
        if product.epilogue & which == which:
            raise RuntimeError("status 15")
        made(self, handle, product, *rest)

    monkeypatch.setattr(cublaslt.Plan, "__init__", refuse)
    *given, dy = arrays((7, 11), 13, 3 + which % 5)
    leaves = x, v, a, w, b = [xpnet.Tensor(array, True) for array in given]
    F.linear(F.linear_activation(x, v, a), w, b).backward(dy)
    assert 136 not in epilogues
    for leaf, want in zip(leaves, gradients(*map(wide, given), wide(dy)), strict=True):
        np.testing.assert_allclose(wide(leaf.grad), want, rtol=1e-4, atol=1e-4)
    assert not recwarn


def test_nothing_is_kept_without_a_gradient(epilogues):
    *given, _ = arrays((9, 6), 40, 5)
    F.linear_activation(*given[:3])
    with xpnet.no_grad():
        F.linear_activation(xpnet.Tensor(given[0], True), *given[1:3])
    assert epilogues == [6, 6]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 7), (33, 64)])
@pytest.mark.parametrize("outputs", [8, 24, 3])
def test_gelu_by_tanh(epilogues, shape, outputs, dtype):
    """In the product of 16 bits and whole pieces of 16 bytes; else after it."""
    torch = pytest.importorskip("torch")
    from xpnet.cuda.cublaslt import AUX, BIAS, GELU, NONE, SUMS

    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    rng = np.random.default_rng(0)
    sizes = [shape, (outputs, shape[-1]), (outputs,), (*shape[:-1], outputs)]
    *given, dy = (xpnet.asarray(rng.standard_normal(size) / 2, dtype) for size in sizes)
    leaves = [xpnet.Tensor(a, True) for a in given]
    y = F.linear_activation(*leaves, "gelu_tanh")
    y.backward(dy)
    inside = dtype != "float32" and outputs % 8 == 0
    assert epilogues == [GELU | AUX | BIAS if inside else BIAS, NONE, SUMS]
    x, w, b = (torch.tensor(wide(a), requires_grad=True) for a in given)
    want = torch.nn.functional.gelu(torch.nn.functional.linear(x, w, b), approximate="tanh")
    want.backward(torch.tensor(wide(dy)))
    rtol = TOLERANCE[dtype]
    np.testing.assert_allclose(wide(y.data), want.detach(), rtol=rtol, atol=rtol * 2)
    for leaf, expected in zip(leaves, (x, w, b), strict=True):
        np.testing.assert_allclose(
            wide(leaf.grad), expected.grad, rtol=rtol, atol=rtol * 3 * shape[-1] ** 0.5
        )
    with xpnet.no_grad():
        F.linear_activation(*given, "gelu_tanh")
    assert epilogues[-1] == (GELU | BIAS if inside else BIAS)


def test_gelu_that_was_not_to_be_recorded(epilogues):
    """A pullback that is asked for nevertheless makes its input anew."""
    from xpnet.core.registry import run

    rng = np.random.default_rng(0)
    x, w, b, dy = (xpnet.asarray(rng.standard_normal(s), "float16") for s in ((4, 8), (8, 8), (8,), (4, 8)))
    found = []
    for recorded in (True, False):
        op = F.linear_activation
        _, pullback = run(op.kernels, op.body, [x, w, b, "gelu_tanh"], {}, recorded, ())
        dx, *_ = pullback(dy)
        found.append(xpnet.to_numpy(dx(None)))
    np.testing.assert_array_equal(*found)
    assert 36 in epilogues
