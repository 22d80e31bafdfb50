"""The CPU kernels against the Array API bodies in float64, at every size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xpnet
from tests.cpu.native import needs_native
from xpnet import functional as F
from xpnet import random
from xpnet.core.arrays import matmul
from xpnet.cpu.launch import product
from xpnet.functional.dropout import philox_dropout

pytestmark = [pytest.mark.host, needs_native, pytest.mark.usefixtures("every_size")]


def gradients(f, *arrays, dtype, dy=None):
    """Values of f and the gradient of each array, in `dtype`; float64 runs the body."""
    tensors = [xpnet.tensor(a.astype(dtype), requires_grad=True) for a in arrays]
    with xpnet.fused(dtype == "float32"):
        y = f(*tensors)
        y.backward(None if dy is None else dy.astype(dtype))
    return [y.numpy(), *(t.grad for t in tensors)]


def assert_close(found, expected, rtol=2e-5, atol=2e-6):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol * max(1, np.abs(b).max(initial=0)))


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 70), c=st.integers(2, 300), seed=st.integers(0, 99))
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy(n, c, seed, reduction, every_size):
    rng = np.random.default_rng(seed)
    z, y = rng.normal(size=(n, c)) * 10, rng.integers(0, c, n)
    dy = rng.normal(size=n) if reduction == "none" else None
    f = lambda t: F.cross_entropy(t, y, reduction=reduction)
    before = len(every_size)
    found = gradients(f, z, dtype="float32", dy=dy)
    assert len(every_size) > before
    assert_close(found, gradients(f, z.astype("float32"), dtype="float64", dy=dy))


def test_cross_entropy_extremes():
    z = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [np.nan, 0, 1], [0, 0, -np.inf]], "float32")
    t = xpnet.tensor(z, requires_grad=True)
    loss = F.cross_entropy(t, [1, 0, 0, 0], reduction="none")
    loss.backward(np.ones(4, "float32"))
    np.testing.assert_allclose(loss.numpy()[[0, 1, 3]], [2e4, np.log(3), np.log(2)], rtol=1e-6)
    assert np.isnan(loss.numpy()[2])
    assert np.isnan(t.grad[2]).all()
    np.testing.assert_allclose(t.grad[[0, 3]], [[1, -1, 0], [-0.5, 0.5, 0]], atol=1e-7)


@pytest.mark.parametrize("n", [2, 9, 16, 17, 31, 33, 50])
def test_a_largest_value_anywhere_and_the_smallest_that_count(n):
    """A row for each place of a value 300 above the others, but for one 85 below it: e^-85 is no 0 yet."""
    z = np.zeros((n, n), "float32") + 300 * np.eye(n, dtype="float32")
    z[np.arange(n), np.arange(n) - 1] = 215
    expected = np.where(z == 300, 1, np.where(z == 215, np.exp(-85.0), 0))
    np.testing.assert_allclose(F.softmax(z), expected, rtol=1e-5)
    t = xpnet.tensor(z, requires_grad=True)
    loss = F.cross_entropy(t, np.arange(n) - 1 + n * (np.arange(n) == 0), reduction="none")
    loss.backward(np.ones(n, "float32"))
    np.testing.assert_allclose(loss.numpy(), 85, rtol=1e-6)
    np.testing.assert_allclose(t.grad, np.where(z == 215, -1, expected), rtol=1e-5)


def test_cross_entropy_without_gradient_and_bad_labels(every_size):
    z = np.random.default_rng(0).normal(size=(5, 7)).astype("float32")
    value = F.cross_entropy(z, np.arange(5))
    assert every_size == ["cross_entropy"]
    with xpnet.fused(False):
        np.testing.assert_allclose(value, F.cross_entropy(z, np.arange(5)), rtol=1e-6)
    with pytest.raises(ValueError, match="label 7 is out of range"):
        F.cross_entropy(z, np.array([0, 1, 7, 2, 3]))


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(2, 150), st.integers(1, 40)) | st.tuples(*[st.integers(1, 9)] * 4),
    seed=st.integers(0, 99),
)
def test_batch_norm(shape, seed, every_size):
    if shape[0] * np.prod(shape[2:]) < 2:
        return
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(3, 2, size=shape).astype("float32"), rng.normal(size=shape)
    w, b = rng.uniform(0.5, 2, shape[1]), rng.normal(size=shape[1])
    running = {d: (np.zeros(shape[1], d), np.ones(shape[1], d)) for d in ("float32", "float64")}
    f = lambda t, w, b: F.batch_norm(t, *running[str(t.dtype)], w, b, training=True, eps=1e-2)
    before = len(every_size)
    found = gradients(f, x, w, b, dtype="float32", dy=dy)
    assert every_size[before:] == ["batch_norm", "batch_norm_gradient"]
    assert_close(found, gradients(f, x, w, b, dtype="float64", dy=dy), rtol=1e-4, atol=1e-5)
    assert_close(running["float32"], running["float64"])


@pytest.mark.parametrize("shape", [(70, 5), (3, 33), (3, 5, 7), (2, 3, 40, 41), (130, 2, 1, 3)])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("odd", [False, True])
def test_batch_norm_with_its_neighbours_has_their_bits(shape, relu, residual, odd, every_size):
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape).astype("float32")
    arrays = [draw(*shape), draw(shape[1]), draw(shape[1]), *([draw(*shape)] if residual else [])]
    dy = draw(*shape)
    if odd:
        for a, value in ((arrays[0], np.nan), (arrays[-1], np.inf), (dy, np.inf), (dy, np.nan)):
            a.reshape(-1)[rng.integers(a.size)] = value

    def apart(x, w, b, r=None):
        y = F.batch_norm(x, None, None, w, b, training=True)
        y = y if r is None else r + y
        return F.relu(y) if relu else y

    def together(x, w, b, r=None):
        return F.batch_norm_relu(x, None, None, w, b, training=True, residual=r, relu=relu)

    results = []
    for f in (apart, together):
        tensors = [xpnet.tensor(a, requires_grad=True) for a in arrays]
        before = len(every_size)
        y = f(*tensors)
        y.backward(dy)
        results.append([y.numpy(), *(t.grad for t in tensors)])
    assert every_size[before:] == ["batch_norm", "batch_norm_gradient"]
    for found, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(5000, 3), (40, 3, 11, 11)])
def test_batch_norm_keeps_accuracy_far_from_zero(shape):
    x = np.random.default_rng(0).normal(1e4, 1, size=shape).astype("float32")
    y = F.batch_norm(x, training=True)
    axes = tuple(i for i in range(x.ndim) if i != 1)
    wide = x.astype("float64")
    exact = (wide - wide.mean(axes, keepdims=True)) / np.sqrt(wide.var(axes, keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, exact, atol=2e-6)


@pytest.mark.parametrize(
    ("shape", "norm"),
    [
        ((3000, 3), lambda x, w: F.batch_norm(x, None, None, w, training=True)),
        ((40, 3, 9, 9), lambda x, w: F.batch_norm(x, None, None, w, training=True)),
        ((40, 3, 9, 9), lambda x, w: F.group_norm(x, 1, w)),
        ((1000, 3), lambda x, w: F.layer_norm(x, 3, w, eps=1e-1)),
    ],
)
def test_gradients_far_from_zero(shape, norm):
    """The mean is no float32 number: what its rounding leaves must not reach dx, or dgamma."""
    rng = np.random.default_rng(0)
    x, dy = rng.normal(1e5 + 1 / 3, 1, size=shape).astype("float32"), rng.normal(1, 1, size=shape)
    w = rng.uniform(0.5, 2, 3).astype("float32")
    _, dx, dw = gradients(norm, x, w, dtype="float32", dy=dy)
    _, wide_dx, wide_dw = gradients(norm, x, w, dtype="float64", dy=dy.astype("float32"))
    np.testing.assert_allclose(dx, wide_dx, atol=2e-6)
    np.testing.assert_allclose(dw, wide_dw, atol=2e-6 * x.size)


@pytest.mark.parametrize(
    ("shape", "place"),
    [((4096, 3), 0), ((32, 3, 32, 32), (slice(None), slice(None), 0, 0)), ((64, 3, 9, 11), 0)],
)
def test_batch_norm_keeps_accuracy_where_the_first_values_are_unlike_the_others(shape, place):
    x = np.random.default_rng(0).normal(10, 0.1, size=shape).astype("float32")
    x[place] = 0
    axes, wide = tuple(i for i in range(x.ndim) if i != 1), x.astype("float64")
    exact = (wide - wide.mean(axes, keepdims=True)) / np.sqrt(wide.var(axes, keepdims=True) + 1e-5)
    np.testing.assert_allclose(F.batch_norm(x, training=True), exact, atol=1e-6 * abs(exact).max())


@pytest.mark.parametrize("shape", [(9, 3), (4, 3, 5)])
def test_a_nan_reaches_the_running_statistics(shape):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    x[1, 2] = np.nan
    mean, var = np.zeros(3, "float32"), np.ones(3, "float32")
    F.batch_norm(x, mean, var, training=True)
    for statistic in (mean, var):
        np.testing.assert_array_equal(np.isnan(statistic), [False, False, True])


@pytest.mark.parametrize("n", [1, 3, 4, 5, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [0.2, 0.5])
def test_dropout_is_the_same_bits(n, dtype, p, every_size):
    x = np.random.default_rng(n).normal(size=n).astype(dtype)
    key = random.Key(2**40 + 17, 3, 5)
    t = xpnet.tensor(x, requires_grad=True)
    y = philox_dropout(t, p, key)
    y.backward(x)
    assert every_size == [f"dropout_f{8 * x.itemsize}"] * 2
    mask = random.keep_mask((n,), p, key, random.HOST)
    expected = np.where(mask, x * x.dtype.type(1 / (1 - p)), 0).astype(dtype)
    np.testing.assert_array_equal(y.data, expected)
    np.testing.assert_array_equal(t.grad, expected)


RULES = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.1}),
    ("Adagrad", {"eps_inside": True, "eps": 1e-3}),
    ("Adadelta", {"rho": 0.8, "weight_decay": 0.1}),
    ("RMSprop", {"weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("RMSprop", {"eps_inside": True, "eps": 1e-3}),
    ("Adam", {"weight_decay": 0.1}),
    ("Adam", {"amsgrad": True, "betas": (0.8, 0.95)}),
    ("AdamW", {"weight_decay": 0.1}),
]


@pytest.mark.parametrize(("name", "options"), RULES)
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-5), ("float64", 1e-12)])
def test_optimizer_steps(name, options, dtype, rtol, every_size):
    rng = np.random.default_rng(0)
    start, grads = rng.normal(size=1003).astype(dtype), rng.normal(size=(5, 1003)).astype(dtype)

    def path(fused):
        x = xpnet.tensor(start.copy(), requires_grad=True)
        optimizer = getattr(xpnet.optim, name)([x], lr=0.01, **options)
        with xpnet.fused(fused):
            for g in grads:
                x.grad = g
                optimizer.step()
        return x.data, optimizer.state_dict()["state"][0]

    found, state = path(True)
    assert len(every_size) == 5
    expected, reference = path(False)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)
    for key in reference:
        np.testing.assert_allclose(state[key], reference[key], rtol=10 * rtol, atol=rtol)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), min_size=0, max_size=2),
    n=st.integers(1, 90),
    affine=st.sampled_from(["both", "weight", "none"]),
    seed=st.integers(0, 99),
)
def test_layer_norm(shape, n, affine, seed, every_size):
    rng = np.random.default_rng(seed)
    x = rng.normal(3, 2, size=(*shape, n)).astype("float32")
    parameters = [rng.uniform(0.5, 2, n), rng.normal(size=n)][: {"both": 2, "weight": 1, "none": 0}[affine]]
    f = lambda t, *p: F.layer_norm(t, n, *p, eps=1e-2)
    before, dy = len(every_size), rng.normal(size=x.shape)
    found = gradients(f, x, *parameters, dtype="float32", dy=dy)
    assert every_size[before:][:2] == ["row_norm", "row_norm_gradient"]
    assert_close(found, gradients(f, x, *parameters, dtype="float64", dy=dy), rtol=1e-4, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), min_size=0, max_size=2),
    n=st.integers(1, 90),
    affine=st.booleans(),
    seed=st.integers(0, 99),
)
def test_rms_norm(shape, n, affine, seed, every_size):
    rng = np.random.default_rng(seed)
    x, parameters = rng.normal(3, 2, size=(*shape, n)).astype("float32"), [rng.uniform(0.5, 2, n)][:affine]
    f = lambda t, *p: F.rms_norm(t, n, *p, eps=1e-2)
    before, dy = len(every_size), rng.normal(size=x.shape)
    found = gradients(f, x, *parameters, dtype="float32", dy=dy)
    assert every_size[before:] == ["row_norm", "row_norm_gradient"]
    assert_close(found, gradients(f, x, *parameters, dtype="float64", dy=dy), rtol=1e-4, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    groups=st.integers(1, 4),
    channels=st.integers(1, 4),
    samples=st.integers(1, 5),
    plane=st.lists(st.integers(1, 40), max_size=2),
    seed=st.integers(0, 99),
)
def test_group_norm(groups, channels, samples, plane, seed, every_size):
    rng = np.random.default_rng(seed)
    c = groups * channels
    x = rng.normal(3, 2, size=(samples, c, *plane)).astype("float32")
    w, b = rng.uniform(0.5, 2, c), rng.normal(size=c)
    f = lambda t, w, b: F.group_norm(t, groups, w, b, eps=1e-2)
    before, dy = len(every_size), rng.normal(size=x.shape)
    found = gradients(f, x, w, b, dtype="float32", dy=dy)
    assert every_size[before:] == ["row_norm", "row_norm_gradient"]
    assert_close(found, gradients(f, x, w, b, dtype="float64", dy=dy), rtol=1e-4, atol=2e-5)


def test_row_norms_keep_accuracy_far_from_zero_and_with_an_outlier_first():
    x = np.random.default_rng(0).normal(1e4, 1, size=(40, 3000)).astype("float32")
    x[:, 0] += 3000
    wide = x.astype("float64")
    exact = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(F.layer_norm(x, 3000), exact, rtol=1e-6, atol=2e-5)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.integers(1, 7), max_size=2), n=st.integers(1, 100), seed=st.integers(0, 99))
def test_softmax(rows, n, seed, every_size):
    rng = np.random.default_rng(seed)
    x = (10 * rng.normal(size=(*rows, n))).astype("float32")
    if seed % 2 and n > 1:
        x[..., rng.integers(n)] = -np.inf
    before, dy = len(every_size), rng.normal(size=x.shape)
    found = gradients(F.softmax, x, dtype="float32", dy=dy)
    assert every_size[before:] == ["softmax", "softmax_gradient"]
    assert_close(found, gradients(F.softmax, x, dtype="float64", dy=dy))
    assert (found[0][np.isinf(x)] == 0).all()  # what is masked out gets nothing


def test_softmax_along_other_axes_is_the_body_s(every_size):
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("float32")
    with xpnet.fused(False):
        expected = F.softmax(x, 1)
    np.testing.assert_array_equal(F.softmax(x, 1), expected)
    np.testing.assert_array_equal(F.softmax(x, dim=-2), expected)
    assert every_size == []
    with pytest.raises(TypeError, match="axis"):
        F.softmax(x, 2, dim=2)


@settings(max_examples=60, deadline=None)
@given(
    stack=st.lists(st.integers(1, 3), max_size=2),
    m=st.integers(1, 60),
    k=st.integers(1, 900),
    n=st.integers(1, 120),
    layout=st.tuples(st.booleans(), st.booleans()),
    seed=st.integers(0, 99),
)
def test_products(stack, m, k, n, layout, seed, every_size):
    """Of matrices and stacks of them, as they are and as views of their transposes."""
    rng = np.random.default_rng(seed)
    turned = lambda a, turn: np.swapaxes(np.ascontiguousarray(np.swapaxes(a, -1, -2)), -1, -2) if turn else a
    draw = lambda *shape: rng.normal(size=(*stack, *shape)).astype("float32")
    a, b = (turned(x, t) for x, t in zip((draw(m, k), draw(k, n)), layout, strict=True))
    before = len(every_size)
    found = xpnet.to_numpy(xpnet.tensor(a) @ xpnet.tensor(b))
    assert every_size[before:] == ["batched_gemm" if stack else "gemm"]
    np.testing.assert_allclose(
        found, a.astype("float64") @ b, rtol=0, atol=1e-6 + 5e-7 * k
    )  # roundings of k sums


@pytest.mark.parametrize("axes", [(0, 2, 1, 3), (2, 0, 1, 3), (0, 1, 3, 2), (1, 3, 0, 2), (3, 2, 1, 0)])
@pytest.mark.parametrize("shared", [False, True])
def test_products_of_stacks_as_they_lie(axes, shared, every_size):
    """Heads of attention, views of one array: the bits of copies; a matrix for all; odd steps are copied."""
    rng = np.random.default_rng(0)
    draw = lambda *size: rng.normal(size=size).astype("float32")
    product = lambda x, y: (xpnet.tensor(x) @ xpnet.tensor(y)).numpy()
    size = np.array([3, 4, 5, 6])
    a = draw(*size[np.argsort(axes)]).transpose(axes)
    b = np.broadcast_to(draw(6, 7), (3, 4, 6, 7)) if shared else draw(3, 4, 6, 7)
    for x, y in ((a, b), (a[..., ::2, :], b), (a[..., ::-1], b[..., ::-1, :]), (a[:, 0], b[:, 0])):
        found = product(x, y)
        np.testing.assert_array_equal(found, product(np.ascontiguousarray(x), np.ascontiguousarray(y)))
        np.testing.assert_allclose(found, x.astype("float64") @ y, atol=1e-5)
    assert set(every_size) == {"batched_gemm"}
    wide = np.matmul(a, b.astype("float64"))
    found = matmul(np.ascontiguousarray(a), b.astype("float64"))
    assert found.dtype == np.float64  # nothing is rounded to fit a kernel
    np.testing.assert_array_equal(found, wide)


@pytest.mark.parametrize("turned", [False, True])
def test_a_product_of_more_rows_than_are_packed_at_once(turned):
    """And of more than a task has, with bias and ReLU after the last term."""
    rng = np.random.default_rng(0)
    a, b, bias = rng.normal(size=(2307, 2001)), rng.normal(size=(2001, 131)), 9 * rng.normal(size=131)
    a, b, bias = (x.astype("float32") for x in (a, b, bias))
    out = np.full((2307, 131), np.nan, "float32")
    assert product(np.asfortranarray(a) if turned else a, b, out, bias, True)
    expected = np.maximum(a.astype("float64") @ b + bias, 0)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-3)


def test_products_of_other_kinds_are_numpy_s(every_size):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 7)), rng.normal(size=(7, 4))
    for x, y in ((a, b), (a.astype("float32"), b.astype("float32")), (a[0], b), (a, b[:, 0])):
        found = xpnet.to_numpy(xpnet.tensor(x) @ xpnet.tensor(y))
        np.testing.assert_allclose(found, x @ y, rtol=1e-5, atol=1e-5)
    assert every_size == []


@pytest.mark.parametrize("shape", [(5, 3), (1, 1), (2, 3, 70), (130, 33)])
@pytest.mark.parametrize("odd", [False, True])
def test_bias_activation(shape, odd, every_size):
    rng = np.random.default_rng(0)
    x, b, dy = rng.normal(size=shape), rng.normal(size=shape[-1]), rng.normal(size=shape)
    if odd:
        x.reshape(-1)[::5] = np.nan
        x.reshape(-1)[1::7] = np.inf
    x = x.astype("float32")
    found = gradients(F.bias_activation, x, b.astype("float32"), dtype="float32", dy=dy)
    assert every_size == ["bias_relu", "bias_relu_gradient"]
    assert_close(found, gradients(F.bias_activation, x, b.astype("float32"), dtype="float64", dy=dy))


@pytest.mark.parametrize("shape", [(7, 5, 3), (3, 30, 40), (4, 784, 300)])
def test_linear_with_relu_is_its_parts(shape, every_size):
    """To the bit: a pair of layers is the layers."""
    rng = np.random.default_rng(0)
    m, k, n = shape
    x, w, b = (rng.normal(size=s).astype("float32") for s in ((m, k), (n, k), n))
    dy, results = rng.normal(size=(m, n)).astype("float32"), []
    for f in (F.linear_activation, lambda *a: F.relu(F.linear(*a))):
        tensors = [xpnet.tensor(a, requires_grad=True) for a in (x, w, b)]
        y = f(*tensors)
        y.backward(dy)
        results.append([y.numpy(), *(t.grad for t in tensors)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


@settings(max_examples=40, deadline=None)
@given(
    tokens=st.lists(st.integers(1, 9), max_size=2),
    n=st.integers(1, 12),
    d=st.integers(1, 200),
    padding=st.booleans(),
    seed=st.integers(0, 99),
)
def test_embedding(tokens, n, d, padding, seed, every_size):
    rng = np.random.default_rng(seed)
    x, w = rng.integers(0, n, tokens), rng.normal(size=(n, d)).astype("float32")
    dy = rng.normal(size=(*tokens, d)).astype("float32")
    index = -1 if padding else None
    if padding:
        dy[x == n - 1] = np.nan  # which no row may see
    before = len(every_size)
    y, dw = gradients(lambda w: F.embedding(x, w, index), w, dtype="float32", dy=dy)
    assert every_size[before:] == ["take_rows", "add_rows"]
    np.testing.assert_array_equal(y, w[x])
    exact = np.zeros((n, d))
    np.add.at(exact, x[x != n - 1] if padding else x, dy[x != n - 1] if padding else dy)
    assert_close(dw, exact)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_embedding_of_views_and_a_gradient_that_is_there(every_size, dtype):
    table = xpnet.tensor(np.arange(24, dtype="float32").reshape(4, 6), requires_grad=True)
    x = np.array([3, 9, 0, 9, 3, 9]).astype(dtype)[::2]  # 3, 0, 3
    for _ in range(2):  # the second one adds
        F.embedding(x, table).backward(np.ones((3, 6), "float32"))
    np.testing.assert_array_equal(table.grad, 2 * np.array([1, 0, 0, 2])[:, None] * np.ones((4, 6)))
    turned = np.arange(24, dtype="float32").reshape(6, 4).T
    np.testing.assert_array_equal(F.embedding(x, turned), turned[x])
    with pytest.raises(IndexError, match="4 is out of range"):
        F.embedding([0, 4], table)
