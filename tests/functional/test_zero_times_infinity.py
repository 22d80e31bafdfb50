"""Where a formula says 0 x infinity, the answer is the one that holds nearby: PyTorch's, not NaN.

Each case: a name, a scalar function of one Tensor, its input, and the gradient expected there. The oracle
tests run the same table on PyTorch.
"""

import math

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim, to_numpy
from xpnet.data import DataLoader, Dataset
from xpnet.train import Trainer

INF = math.inf
IGNORED = np.array([-100, -100])
# the gradient that reaches the inside of sqrt at 0 is infinite; of what was cut off, nothing must be left
ROOTS = {
    "relu": (lambda f, x: f.relu(x), [-1.0, 4.0]),
    "hardtanh": (lambda f, x: f.hardtanh(x) + 1, [-2.0, 0.0]),
    "max_pool2d": (lambda f, x: f.max_pool2d(x.reshape((1, 1, 1, 2)), (1, 2)), [-1.0, 0.0]),
}
CASES = [
    ("x ** 0", lambda f, x: (x**0).sum(), [0.0, 2.0], [0.0, 0.0]),
    ("x ** 0.0", lambda f, x: (x**0.0).sum(), [0.0, -2.0], [0.0, 0.0]),
    ("x ** 1", lambda f, x: (x**1).sum(), [0.0, 2.0], [1.0, 1.0]),
    ("x ** array", lambda f, x: (x ** (x.detach() * 0)).sum(), [0.0, 2.0], [0.0, 0.0]),
    ("0.0 ** x", lambda f, x: (0.0**x).sum(), [0.0, 2.0], [0.0, 0.0]),
    ("0 ** x", lambda f, x: (0**x).sum(), [1.0, 2.0], [0.0, 0.0]),
    ("array ** x", lambda f, x: ((x.detach() * 0) ** x).sum(), [0.0, 2.0], [0.0, 0.0]),
    ("2.0 ** x", lambda f, x: (2.0**x).sum(), [1.0, 2.0], [2 * math.log(2), 4 * math.log(2)]),
    ("sqrt of relu", lambda f, x: (ROOTS["relu"][0](f, x) ** 0.5).sum(), [-1.0, 4.0], [0.0, 0.25]),
    ("sqrt of hardtanh", lambda f, x: (ROOTS["hardtanh"][0](f, x) ** 0.5).sum(), [-2.0, 0.0], [0.0, 0.5]),
    ("sqrt of max_pool2d", lambda f, x: (ROOTS["max_pool2d"][0](f, x) ** 0.5).sum(), [-1.0, 0.0], [0.0, INF]),
    ("softplus", lambda f, x: f.softplus(x).sum(), [INF, -INF, 0.0], [1.0, 0.0, 0.5]),
    (
        "all rows ignored",
        lambda f, x: f.cross_entropy(x.reshape((2, 2)), IGNORED),
        [1.0, 2.0, 3.0, 4.0],
        [0.0] * 4,
    ),
    (
        "all rows ignored, smoothed",
        lambda f, x: f.cross_entropy(x.reshape((2, 2)), IGNORED, label_smoothing=0.1),
        [1.0, 2.0, 3.0, 4.0],
        [0.0] * 4,
    ),
    (
        "all positions ignored",
        lambda f, x: f.cross_entropy(x.reshape((1, 2, 2)), IGNORED[None]),
        [1.0, 2.0, 3.0, 4.0],
        [0.0] * 4,
    ),
    (
        "all rows ignored, nll",
        lambda f, x: f.nll_loss(x.reshape((2, 2)), IGNORED),
        [-INF, 2.0, 3.0, 4.0],
        [0.0] * 4,
    ),
    (
        "an impossible row ignored, nll",
        lambda f, x: f.nll_loss(x.reshape((2, 2)), np.array([-100, 1])),
        [-INF, -INF, -3.0, -4.0],
        [0.0, 0.0, 0.0, -1.0],
    ),
    (
        "an excluded class, hinge",
        lambda f, x: f.multi_margin_loss(x.reshape((1, 3)), np.array([1])),
        [-INF, 2.0, 1.5],
        [0.0, -1 / 3, 1 / 3],
    ),
    (
        "certain logits",
        lambda f, x: f.binary_cross_entropy_with_logits(x, x.detach() * 0 + 1, reduction="sum"),
        [50.0, 0.0],
        [0.0, -0.5],
    ),
]
OURS = [
    (
        "weights of 0",
        lambda f, x: f.cross_entropy(
            x.reshape((2, 2)), np.array([0, 0]), weight=xpnet.asarray(np.float64([0, 1]))
        ),
        [1.0, 2.0, 3.0, 4.0],
        [0.0] * 4,
    ),
    ("maximum", lambda f, x: (xpnet.core.operators.maximum(x, 0.0) ** 0.5).sum(), [-1.0, 4.0], [0.0, 0.25]),
    ("maxout", lambda f, x: (f.maxout(x) ** 0.5).sum(), [-1.0, 0.0], [0.0, INF]),
    ("max", lambda f, x: x.max() ** 0.5, [-1.0, 0.0], [0.0, INF]),
    ("perceptron", lambda f, x: f.perceptron_loss(x, np.ones(2)), [INF, -1.0], [0.0, -0.5]),
]


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize("case", [*CASES, *OURS], ids=lambda case: case[0])
def test_the_gradient_is_the_one_nearby(case):
    _, function, values, expected = case
    x = xpnet.tensor(np.array(values), requires_grad=True)
    function(F, x).backward()
    np.testing.assert_allclose(to_numpy(x.grad), expected, rtol=1e-12)


@pytest.mark.host
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize("name", ROOTS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_kernels_let_no_infinity_through_a_mask(name, dtype):
    """As above for arrays so large that the fused kernels take them, and with them off."""
    layer, values = ROOTS[name]
    rows = 1 << 16
    if name == "max_pool2d":
        layer = lambda f, x: f.max_pool2d(x.reshape((1, 1, 2, rows)), 2)
    found = []
    for flag in (True, False):
        with xpnet.fused(flag):
            x = xpnet.tensor(np.tile(np.asarray(values, dtype), rows), requires_grad=True)
            y = layer(F, x)
            y.backward(np.full(y.shape, INF, dtype))
            assert not np.isnan(x.grad).any()
            found.append(x.grad)
    np.testing.assert_array_equal(*found)


@pytest.mark.host
@pytest.mark.parametrize("rows", [3, 1 << 13])
@pytest.mark.parametrize("flag", [True, False])
def test_a_large_batch_of_ignored_rows(rows, flag):
    with xpnet.fused(flag):
        x = xpnet.tensor(np.ones((rows, 8), np.float32), requires_grad=True)
        loss = F.cross_entropy(x, np.full(rows, -100))
        loss.backward()
    assert math.isnan(loss.item())
    assert not x.grad.any()


@pytest.mark.parametrize(("optimizer", "rows"), [("SGD", 4), ("Adam", 4)])
def test_a_batch_of_ignored_rows_leaves_a_model_finite(optimizer, rows):
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    y = np.array([0, 1, 1, 0, -100, -100, -100, -100])
    model = nn.Linear(3, 2)
    trainer = Trainer(model, F.cross_entropy, getattr(optim, optimizer)(model, lr=0.1), metrics=[])
    history = trainer.fit(DataLoader(Dataset(x, y), rows, shuffle=False), epochs=2)
    assert np.isfinite(history["train_loss"]).all()
    assert np.isfinite(to_numpy(model.weight.data)).all()


# what an op cuts off gets no gradient, however large or undefined that of its output is. Each: the op, a
# piece of its input, and where that is cut off; so are the rows of a loss that count for nothing
MASKS = {
    "relu": (F.relu, [-1.0, 4.0], [True, False]),
    "hardtanh": (F.hardtanh, [-2.0, 0.5, 3.0], [True, False, True]),
    "max_pool2d": (
        lambda x: F.max_pool2d(x.reshape((1, 1, -1, 4)), 2),
        [1.0, 2.0, 0.0, 0.0, -3.0, 0.0, 5.0, 4.0],
        [True, False, True, True, True, True, False, True],
    ),
    "max_pool2d, overlapping": (
        lambda x: F.max_pool2d(x.reshape((-1, 1, 2, 3)), 2, stride=1),
        [1.0, 2.0, 1.5, 0.0, 0.0, 0.0],
        [True, False, True, True, True, True],
    ),
    "maxout": (F.maxout, [1.0, 2.0, 3.0, -1.0], [True, False, False, True]),
    "maximum": (lambda x: xpnet.core.operators.maximum(x, 0.0), [-1.0, 4.0], [True, False]),
    "max": (lambda x: x.reshape((-1, 2)).max(axis=1), [-1.0, 4.0], [True, False]),
    "getitem": (lambda x: x.reshape((-1, 2))[..., np.array([1])], [-1.0, 4.0], [True, False]),
    "min": (lambda x: x.reshape((-1, 2)).min(axis=1), [-1.0, 4.0], [False, True]),
    "bias_activation": (
        lambda x: F.bias_activation(x.reshape((-1, 2)), x.detach()[:2] * 0),
        [-1.0, 4.0],
        [True, False],
    ),
    "cross_entropy": (
        lambda x: F.cross_entropy(x.reshape((-1, 2)), labels(x, -100, 1), reduction="none"),
        [1.0, 2.0, 3.0, 3.5],
        [True, True, False, False],
    ),
    "cross_entropy, smoothed": (
        lambda x: F.cross_entropy(
            x.reshape((-1, 2)), labels(x, -100, 1), label_smoothing=0.1, reduction="none"
        ),
        [1.0, 2.0, 3.0, 3.5],
        [True, True, False, False],
    ),
    "cross_entropy, a class of no weight": (
        lambda x: F.cross_entropy(x.reshape((-1, 2)), labels(x, 0, 1), [0.0, 1.0], reduction="none"),
        [1.0, 2.0, 3.0, 3.5],
        [True, True, False, False],
    ),
    "nll_loss": (
        lambda x: F.nll_loss(x.reshape((-1, 2)), labels(x, -100, 1), reduction="none"),
        [-1.0, -1.0, -2.0, -3.0],
        [True, True, True, False],
    ),
    "multi_margin_loss": (
        lambda x: F.multi_margin_loss(x.reshape((-1, 2)), labels(x, 0, 1), reduction="none"),
        [3.0, 1.0, 2.0, 2.5],
        [True, True, False, False],
    ),
    "perceptron_loss": (
        lambda x: F.perceptron_loss(x, x.detach() * 0 + 1, reduction="none"),
        [2.0, -1.0],
        [True, False],
    ),
}  # fmt: skip


def dtypes():
    return ("float16", "float32", "float64")[xpnet.get_backend().name == "array_api_strict" :]


def labels(x, *pair):
    return np.tile(np.array(pair), x.shape[0] // 4)


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
@pytest.mark.parametrize("copies", [2, 1 << 15])  # of the second size the CPU's kernels take
@pytest.mark.parametrize("dy", [INF, -INF, math.nan])
@pytest.mark.parametrize("name", MASKS)
def test_no_gradient_reaches_what_was_cut_off(name, dy, copies):
    function, piece, cut = MASKS[name]
    if copies > 2 and xpnet.get_backend().name == "array_api_strict":
        pytest.skip("it has no kernels, and its scatter is quadratic")
    for dtype in dtypes():
        for flag in (True, False):
            with xpnet.fused(flag):
                x = xpnet.tensor(np.tile(np.array(piece, dtype), copies), requires_grad=True)
                y = function(x)
                y.backward(xpnet.asarray(np.full(y.shape, dy, dtype)))
            found = to_numpy(x.grad).reshape(copies, -1)
            assert not found[:, cut].any(), (dtype, flag)
            assert not np.isfinite(found[:, ~np.array(cut)]).any(), (dtype, flag)


@pytest.mark.parametrize("n", [40, 1 << 16])
@pytest.mark.parametrize("bad", [INF, math.nan])
def test_no_gradient_reaches_what_was_dropped(bad, n):
    for dtype in dtypes():
        for flag in (True, False):
            with xpnet.fused(flag):
                x = xpnet.tensor(np.ones(n, dtype), requires_grad=True)
                y = F.dropout(x, 0.5)
                y.backward(xpnet.asarray(np.full(n, bad, dtype)))
            dropped = to_numpy(y.data) == 0
            assert 0 < dropped.sum() < n
            assert not to_numpy(x.grad)[dropped].any()
            assert not np.isfinite(to_numpy(x.grad)[~dropped]).any()
