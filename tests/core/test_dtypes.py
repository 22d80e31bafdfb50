"""Ops that need floating-point numbers refuse others by name; 16-bit types overflow only where results do."""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import to_numpy
from xpnet.core.backend import dtype_name

IMAGES, ROWS = (2, 3, 4, 4), (4, 3)


def ones(shape):
    return xpnet.asarray(np.ones(shape, np.float32))


ELEMENTWISE = "leaky_relu elu sigmoid tanh lecun_tanh hardtanh softplus gelu softmax log_softmax"
OPS = {
    "linear of equals": (ROWS, lambda x: F.linear(x, x)),
    "linear": (ROWS, lambda x: F.linear(x, ones((2, 3)))),
    "conv2d": (IMAGES, lambda x: F.conv2d(x, ones((2, 3, 2, 2)))),
    "max_pool2d": (IMAGES, lambda x: F.max_pool2d(x, 2)),
    "avg_pool2d": (IMAGES, lambda x: F.avg_pool2d(x, 2)),
    "batch_norm": (ROWS, lambda x: F.batch_norm(x, training=True)),
    "layer_norm": (ROWS, lambda x: F.layer_norm(x, 3)),
    "group_norm": (IMAGES, lambda x: F.group_norm(x, 3)),
    "dropout": (ROWS, lambda x: F.dropout(x, 0.5)),
    **{name: (ROWS, getattr(F, name)) for name in ELEMENTWISE.split()},
    "cross_entropy": (ROWS, lambda x: F.cross_entropy(x, np.array([0, 1, 2, 0]))),
    "nll_loss": (ROWS, lambda x: F.nll_loss(x, np.array([0, 1, 2, 0]))),
    "multi_margin_loss": (ROWS, lambda x: F.multi_margin_loss(x, np.array([0, 1, 2, 0]))),
    "mse_loss": (ROWS, lambda x: F.mse_loss(x, ones(ROWS))),
    "perceptron_loss": (ROWS, lambda x: F.perceptron_loss(x, ones(ROWS))),
    "binary_cross_entropy_with_logits": (
        ROWS,
        lambda x: F.binary_cross_entropy_with_logits(x, ones(ROWS)),
    ),
    "mean": (ROWS, lambda x: xpnet.core.operators.mean(x)),
    "exp": (ROWS, lambda x: xpnet.core.operators.exp(x)),
    "log": (ROWS, lambda x: xpnet.core.operators.log(x)),
    "sqrt": (ROWS, lambda x: xpnet.core.operators.sqrt(x)),
}


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "bool"])
@pytest.mark.parametrize("form", ["array", "Tensor"])
def test_whole_numbers_are_refused_by_name(name, dtype, form):
    shape, op = OPS[name]
    x = xpnet.asarray(np.ones(shape, dtype))
    message = rf"^{name.split()[0]}: .* is {dtype}.*as in xpnet\.asarray\(x, 'float32'\)"
    with pytest.raises(TypeError, match=message):
        op(x if form == "array" else xpnet.tensor(x))
    op(xpnet.asarray(np.ones(shape, np.float32)))


@pytest.mark.parametrize("name", ["linear", "conv2d"])
@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_parameters_of_another_type_are_refused_by_name(name, dtype):
    shape, _ = OPS[name]
    weight = {"linear": (2, 3), "conv2d": (2, 3, 2, 2)}[name]
    x = xpnet.asarray(np.ones(shape, np.float32))
    with pytest.raises(TypeError, match=rf"^{name}: (x|the weight) is "):
        getattr(F, name)(x, xpnet.asarray(np.ones(weight, dtype)))
    with pytest.raises(TypeError, match=rf"^{name}: the bias is {dtype} and the weight float32"):
        getattr(F, name)(x, ones(weight), xpnet.asarray(np.ones(2, dtype)))


@pytest.mark.parametrize(
    ("dtype", "values", "total"),
    [
        ("bool", [True] * 300, 300),
        ("uint8", [200] * 300, 60000),
        ("int8", [-100] * 300, -30000),
        ("int32", [2**30] * 4, 2**32),
        ("float32", [0.5] * 4, 2.0),
    ],
)
def test_sums_do_not_wrap(dtype, values, total):
    found = xpnet.tensor(np.array(values, dtype)).sum()
    assert found.item() == total
    assert type(found.item()) is type(total)


# ---- half types ----


@pytest.fixture
def half(backend):
    if backend == "array_api_strict":
        pytest.skip("the standard has no float16")
    return lambda x: xpnet.tensor(np.asarray(x, np.float16), requires_grad=True)


WIDE = {
    "gelu": (F.gelu, [4.0, 6.0, 100.0, -100.0, 6e4]),
    "avg_pool2d": (lambda x: F.avg_pool2d(x.reshape((1, 1, 2, 2)), 2), [6e4] * 4),
    "avg_pool2d of sevens": (lambda x: F.avg_pool2d(x.reshape((1, 1, 3, 3)), 3), [2e4] * 9),
    "mean": (lambda x: x.mean(), [6e4] * 8),
    "mse_loss": (lambda x: F.mse_loss(x, x.detach() * 0), [400.0] + [0.0] * 15),
    "l2": (lambda x: F.l2([x.reshape((4, 1))], 1e-4), [300.0] * 4),
    "l1": (lambda x: F.l1([x.reshape((4, 1))], 1e-4), [6e4] * 4),
    "sum": (lambda x: x.sum(), [1.0] * 4096 + [0.5] * 2),
    "bias": (lambda x: (xpnet.tensor(np.ones((4096, 1)), dtype=dtype_name(x.dtype)) + x * 1).sum(), [0.25]),
    "l2 of a small strength": (lambda x: F.l2([x.reshape((4, 1))], 1e-8), [6e4, -3e4, 2e4, 1e4]),
    "matmul": (lambda x: x @ (x.detach() * 0 + 1), [3e4, -3e4, 2e4, 1e4]),
    "mse_loss of a large error": (lambda x: F.mse_loss(x, x.detach() * 0), [4e4] + [0.0] * 32767),
    "binary loss, pos_weight": (
        lambda x: F.binary_cross_entropy_with_logits(x, np.ones(4), pos_weight=3.0),
        [-3e4, 3e4, 1.0, 0.0],
    ),
    "binary loss, weight": (
        lambda x: F.binary_cross_entropy_with_logits(x, np.ones(4), weight=3.0),
        [-3e4, 3e4, 1.0, 0.0],
    ),
    "multi_margin_loss": (
        lambda x: F.multi_margin_loss(x.reshape((1, 4)), np.array([0])),
        [-5e4, 5e4, 1.0, 0.0],
    ),
    "multi_margin_loss, squares": (
        lambda x: F.multi_margin_loss(x.reshape((1, 4)), np.array([0]), 2),
        [-200.0, 200.0, 1.0, 0.0],
    ),
    "nll_loss": (
        lambda x: F.nll_loss(x.reshape((2, 2)), np.array([0, 1]), weight=[900.0, 800.0]),
        [-300.0, -1.0, -2.0, -200.0],
    ),
    "softplus": (F.softplus, [6e4, -6e4, 0.0]),
    "softmax": (F.softmax, [6e4, 6e4, -6e4]),
    "layer_norm": (lambda x: F.layer_norm(x, 4), [3e4, 6e4, -6e4, 0.0]),
}


@pytest.mark.parametrize("name", WIDE)
def test_half_types_agree_with_float64(name, half):
    op, values = WIDE[name]
    x, exact = half(values), xpnet.tensor(np.float64(np.float16(values)), requires_grad=True)
    y, expected = op(x), op(exact)
    assert "float16" in str(y.dtype)
    np.testing.assert_allclose(to_numpy(y), to_numpy(expected), rtol=2e-3, atol=1e-3)
    y.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(to_numpy(x.grad), to_numpy(exact.grad), rtol=2e-3, atol=1e-3)


def test_a_half_bias_has_the_sum_of_the_whole_batch(half):
    rows = 4096
    b = half([0.0])
    F.linear(half(np.ones((rows, 1))), half([[0.0]]), b).sum().backward()
    assert float(to_numpy(b.grad)[0]) == rows


def test_a_quotient_of_whole_numbers_is_float32():
    whole = xpnet.tensor([1, 2, 3])
    for quotient in (whole / 2, 2 / whole, whole / whole, whole / 2.5, xpnet.tensor([True]) / 2):
        assert "float32" in str(quotient.dtype)
    assert (whole / 2).numpy().tolist() == [0.5, 1.0, 1.5]
    p = xpnet.tensor([1.0, 2.0, 4.0], requires_grad=True)
    (p * (whole / 2)).sum().backward()
    assert xpnet.to_numpy(p.grad).tolist() == [0.5, 1.0, 1.5]


def test_none_and_seeds_that_are_no_integers_are_refused():
    import xpnet.functional as F
    from xpnet import nn

    for call in (lambda: nn.Linear(2, 2)(None), lambda: F.relu(None)):
        with pytest.raises(TypeError, match=r"^\w+: expected an array or a Tensor, got None$"):
            call()
    for seed in (1.5, "1", None):
        with pytest.raises(TypeError, match="manual_seed: expected an integer, got"):
            xpnet.manual_seed(seed)
    xpnet.manual_seed(np.int64(1))


def test_numbers_that_are_asked_for_in_float64_are_not_rounded_before():
    for made in (xpnet.asarray([-1.2], "float64"), xpnet.tensor([-1.2], dtype="float64").data):
        assert xpnet.to_numpy(made)[0] == -1.2
        assert str(made.dtype).endswith("float64")
