"""What the transforms are: nested, of trees, of models, and exact where something is run twice."""

from math import factorial

import numpy as np
import pytest

import xpnet
from tests.array_api.functions import refuses_scans
from xpnet import functional as F
from xpnet import nn, to_numpy

xp = xpnet.array_api

X = np.array([0.5, -1.0, 2.0])
RNG = np.random.default_rng(0)


def array(x):
    return xpnet.asarray(np.asarray(x, np.float64))


def test_an_inner_variable_is_not_taken_for_an_outer_one():
    """Perturbation confusion (Siskind & Pearlmutter, 2005)."""
    one, three = array(1.0), array(3.0)
    inner = lambda x: xpnet.grad(lambda y: x + y)(one)
    assert xpnet.grad(lambda x: x * inner(x))(three).item() == 1
    along = lambda x: xpnet.jvp(lambda y: x + y, (one,), (one,))[1]
    assert xpnet.jvp(lambda x: x * along(x), (three,), (one,))[1].item() == 1
    assert xpnet.grad(lambda x: x * along(x))(three).item() == 1
    assert xpnet.jvp(lambda x: x * inner(x), (three,), (one,))[1].item() == 1


def test_derivatives_to_the_fifth_order():
    f = lambda x: (x**6).sum()
    for order in range(1, 6):
        f = (lambda g: lambda x: xpnet.grad(g)(x).sum())(f)
        coefficient = np.prod(np.arange(6, 6 - order, -1))
        np.testing.assert_allclose(f(array(X)).item(), (coefficient * X ** (6 - order)).sum(), rtol=1e-12)


def test_modes_nested_in_every_order_agree():
    f = lambda x: xpnet.array_api.sum(xpnet.array_api.sin(x) * x**3)
    v = array([1.0, 2.0, -1.0])
    along = lambda g: lambda x: xpnet.jvp(g, (x,), (v,))[1]
    down = lambda g: lambda x: (xpnet.grad(g)(x) * v).sum()
    expected = None
    for first in (along, down):
        for second in (along, down):
            for third in (along, down):
                found = third(second(first(f)))(array(X)).item()
                expected = found if expected is None else expected
                np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_hessian_and_products_with_it():
    a = RNG.normal(size=(3, 3))
    f = lambda x: 0.5 * (x * (xpnet.tensor(a) @ x)).sum()
    symmetric = (a + a.T) / 2
    np.testing.assert_allclose(to_numpy(xpnet.hessian(f)(array(X))), symmetric, atol=1e-14)
    np.testing.assert_allclose(to_numpy(xpnet.hvp(f, array(X), array([1, 0, 0]))), symmetric[0], atol=1e-14)


@pytest.mark.parametrize("mode", ["reverse", "forward", None])
def test_jacobian_has_the_shape_of_result_and_argument(mode):
    f = lambda x: xpnet.array_api.stack([x[0, :] * x[1, :], x[0, :] ** 2])
    x = RNG.normal(size=(2, 3))
    found = to_numpy(xpnet.jacobian(f, mode=mode)(array(x)))
    assert found.shape == (2, 3, 2, 3)
    expected = np.zeros((2, 3, 2, 3))
    for k in range(3):
        expected[0, k, 0, k], expected[0, k, 1, k], expected[1, k, 0, k] = x[1, k], x[0, k], 2 * x[0, k]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_arguments_and_results_may_be_trees():
    f = lambda p: {"a": p["w"] * p["b"][0], "b": p["b"][1].sum()}
    p = {"w": array(X), "b": [array(2.0), array([1.0, 2.0])]}
    value, pullback = xpnet.vjp(f, p)
    (found,) = pullback({"a": array(np.ones(3)), "b": array(3.0)})
    np.testing.assert_allclose(to_numpy(found["w"]), [2, 2, 2])
    assert found["b"][0].item() == X.sum()
    np.testing.assert_allclose(to_numpy(found["b"][1]), [3, 3])
    tangent = xpnet.jvp(f, (p,), (p,))[1]
    np.testing.assert_allclose(to_numpy(tangent["a"]), 2 * to_numpy(value["a"]))


def test_argnums_and_aux():
    f = lambda a, b: ((a * b).sum(), a + b)
    (by_a, by_b), aux = xpnet.grad(f, (0, -1), has_aux=True)(array(X), array(2 * X))
    np.testing.assert_allclose(to_numpy(by_a), 2 * X)
    np.testing.assert_allclose(to_numpy(by_b), X)
    np.testing.assert_allclose(to_numpy(aux), 3 * X)
    (value, _), _ = xpnet.value_and_grad(f, has_aux=True)(array(X), array(X))
    assert value.item() == (X * X).sum()


def test_a_gradient_is_recorded_if_parameters_outside_want_it():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x = array(RNG.normal(size=(5, 3)))
    found = xpnet.grad(lambda x: model(x).sum())(x)
    assert found.requires_grad
    (found**2).sum().backward()  # the gradient penalty of WGAN-GP
    step, p = 1e-6, model.layers[0].weight
    penalty = lambda: float((xpnet.grad(lambda x: model(x).sum())(x).detach() ** 2).sum())
    analytic = float(to_numpy(p.grad)[1, 2])
    values = []
    for sign in (1, -1):
        p.data[1, 2] = p.data[1, 2] + sign * step
        values.append(penalty())
        p.data[1, 2] = p.data[1, 2] - sign * step
    np.testing.assert_allclose(analytic, (values[0] - values[1]) / (2 * step), rtol=1e-6)
    with xpnet.no_grad():
        assert not xpnet.grad(lambda x: model(x).sum())(x).requires_grad


def test_create_graph_accumulates_like_backward():
    x = xpnet.tensor(X, requires_grad=True)
    (x**3).sum().backward(create_graph=True)
    penalty = (x.grad**2).sum()  # 9 x^4
    penalty.backward()
    np.testing.assert_allclose(to_numpy(x.grad), 3 * X**2 + 36 * X**3)
    x.grad = None
    assert x.grad is None


def test_stop_gradient_and_custom_vjp():
    f = xpnet.custom_vjp(lambda x: x * x)
    f.defvjp(lambda x: (x * x, x), lambda x, dy: dy * 10 * x)
    np.testing.assert_allclose(to_numpy(xpnet.grad(lambda x: f(x).sum())(array(X))), 10 * X)
    np.testing.assert_allclose(to_numpy(xpnet.jvp(f, (array(X),), (array(X),))[1]), 10 * X * X)
    twice = xpnet.grad(lambda x: xpnet.grad(lambda x: f(x).sum())(x).sum())(array(X))
    np.testing.assert_allclose(to_numpy(twice), [10, 10, 10])
    stopped = lambda x: (x * xpnet.stop_gradient({"x": x})["x"]).sum()
    assert xpnet.jvp(stopped, (array(X),), (array(np.ones(3)),))[1].item() == X.sum()


def test_functional_call_leaves_the_model_alone():
    shared = nn.Linear(3, 3).double()
    model = nn.Sequential(shared, nn.Tanh(), shared)
    x = array(RNG.normal(size=(4, 3)))
    before = {k: np.array(to_numpy(p.data)) for k, p in model.named_parameters()}
    parameters = {k: p.detach() * 2 for k, p in model.named_parameters()}
    y = xpnet.functional_call(model, parameters, x)
    w, b = (2 * before[k] for k in before)
    np.testing.assert_allclose(to_numpy(y), np.tanh(to_numpy(x) @ w.T + b) @ w.T + b, rtol=1e-12)
    for k, p in model.named_parameters():
        np.testing.assert_array_equal(to_numpy(p.data), before[k])
    with pytest.raises(KeyError, match="no parameter 'weigth'; did you mean 'weight'"):
        xpnet.functional_call(shared, {"weigth": x}, x)
    with pytest.raises(ValueError, match=r"weight has shape \(4, 3\), not \(3, 3\)"):
        xpnet.functional_call(shared, {"weight": x}, x)


def networks():
    """Models of every kind of layer whose samples do not look at each other."""
    images = lambda *layers: (nn.Sequential(*layers, nn.Flatten(), nn.Linear(18, 3)), (2, 4, 5))
    return {
        "mlp": (nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), (4,)),
        "conv": images(nn.Conv2d(2, 3, 3), nn.GELU() if hasattr(nn, "GELU") else nn.Tanh()),
        "group norm": images(nn.Conv2d(2, 3, 3), nn.GroupNorm(3, 3)),
        "layer norm": (nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 3)), (4,)),
        "batch norm, eval": (nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).eval(), (4,)),
    }


@pytest.mark.parametrize("name", ["mlp", "conv", "group norm", "layer norm", "batch norm, eval"])
def test_per_sample_gradients_are_those_of_one_sample_each(name):
    model, shape = networks()[name]
    model.double()
    x, y = array(RNG.normal(size=(4, *shape))), np.array([0, 2, 1, 2])
    found = xpnet.per_sample_grad(model, F.cross_entropy)(x, y)
    for i in range(4):
        model.zero_grad()
        F.cross_entropy(model(x[i : i + 1, ...]), y[i : i + 1]).backward()
        for key, p in model.named_parameters():
            np.testing.assert_allclose(to_numpy(found[key])[i], to_numpy(p.grad), rtol=1e-9, atol=1e-12)


def test_per_sample_gradients_refuse_a_batch_norm_that_mixes_samples():
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5)).double()
    with pytest.raises(ValueError, match="mixes the samples"):
        xpnet.per_sample_grad(model, F.cross_entropy)(array(RNG.normal(size=(4, 4))), np.array([0, 2, 1, 2]))


def test_checkpoint_gives_the_same_bits_with_dropout_and_batch_norm():
    def run(checkpointed):
        xpnet.manual_seed(1)
        block = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5)).double()
        head = nn.Linear(6, 2).double()
        x = xpnet.tensor(np.random.default_rng(2).normal(size=(8, 6)), requires_grad=True)
        h = xpnet.checkpoint(block, x) if checkpointed else block(x)
        h = xpnet.checkpoint(block, h) if checkpointed else block(h)
        F.dropout(head(h), 0.3).sum().backward()
        tensors = [x, *block.parameters(), *head.parameters()]
        statistics = [np.array(to_numpy(b.data)) for b in block.buffers()]
        return [np.array(to_numpy(t.grad)) for t in tensors] + statistics

    for a, b in zip(run(False), run(True), strict=True):
        np.testing.assert_array_equal(a, b)


def test_checkpoint_in_higher_order_and_in_transforms():
    f = lambda x: xpnet.checkpoint(lambda z: (z**3).sin(), x).sum()
    plain = lambda x: (x**3).sin().sum()
    for g in (f, plain):
        assert xpnet.grad(g)(array(X)).shape == (3,)
    np.testing.assert_allclose(
        to_numpy(xpnet.hessian(f)(array(X))), to_numpy(xpnet.hessian(plain)(array(X))), rtol=1e-12
    )
    second = lambda g: xpnet.grad(lambda x: xpnet.grad(g)(x).sum())
    np.testing.assert_allclose(to_numpy(second(f)(array(X))), to_numpy(second(plain)(array(X))), rtol=1e-12)


def test_a_checkpoint_is_of_the_arguments_that_it_was_given():
    """Written into since, or by the function itself."""

    def into_its_argument(x):
        x[0] = x[0] * x[1]
        return (x * x).sum()

    for f in (lambda x: (x * x).sin().sum(), into_its_argument):
        gradients = []
        for run in (f, lambda x, f=f: xpnet.checkpoint(f, x)):
            w, other = (xpnet.tensor(X[:2], requires_grad=True) for _ in range(2))
            x = w * 1.0
            y = run(x)
            x[0] = other[1]
            (y + (x * x).sum()).backward()
            gradients.append([to_numpy(w.grad), to_numpy(other.grad)])
        np.testing.assert_array_equal(*gradients)


def closing_over_what_is_recorded(w):
    x = w * 1.0
    return lambda z: (x * x * z).sum(), (w,), lambda: x.__setitem__(0, w[1])


def closing_over_a_constant(w):
    x = xpnet.tensor(np.ones(2))
    return lambda z: (x * z * z).sum(), (w,), lambda: x.__setitem__(0, 3.0)


def given_a_constant(w):
    x = xpnet.tensor(np.ones(2))
    return lambda z, x: ((x * 2) * z * z).sum(), (w, x), lambda: x.__setitem__(0, 3.0)


def adding_to_what_it_closes_over(w):
    x = xpnet.tensor(np.ones(2))

    def f(z):
        x[...] = x + z
        return (x * x).sum()

    return f, (w,), lambda: None


def closing_over_another(w):
    names = {"x": w * 2.0}
    return lambda z: (names["x"] * z).sum(), (w,), lambda: names.update(x=w * 3.0)


@pytest.mark.parametrize(
    "case",
    [
        closing_over_what_is_recorded,
        closing_over_a_constant,
        given_a_constant,
        adding_to_what_it_closes_over,
        closing_over_another,
    ],
)
def test_a_checkpoint_of_other_values_the_second_time_is_refused(case):
    w = xpnet.tensor(X[:2], requires_grad=True)
    f, args, change = case(w)
    y = xpnet.checkpoint(f, *args)
    change()
    with pytest.raises(
        RuntimeError, match=r"backward\(\): .*(written into after|run again on something else)"
    ):
        y.backward()


@pytest.mark.host
def test_checkpoint_keeps_the_square_root_of_a_deep_network():
    import tracemalloc

    layers = [nn.Sequential(nn.Linear(64, 64), nn.Tanh()) for _ in range(36)]
    x = xpnet.asarray(np.random.default_rng(0).normal(size=(2000, 64)).astype("f4"))
    one = 2000 * 64 * 4

    def peak(every):
        tracemalloc.start()
        h = x
        for i in range(0, 36, every):
            part = nn.Sequential(*layers[i : i + every])
            h = xpnet.checkpoint(part, h) if every > 1 else part(h)
        h.sum().backward()
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size / one

    assert peak(6) < 0.45 * peak(1)  # about 6 + 2 x 6 activations instead of 2 x 36


def test_running_statistics_move_once():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()
    x = array(RNG.normal(size=(5, 3)))
    (model(x) ** 2).sum()
    once = [np.array(to_numpy(b.data)) for b in model.buffers()]
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()
    other.load_state_dict({k: v for k, v in model.state_dict().items() if "running" not in k}, strict=False)
    (other(x) ** 2).sum().backward(create_graph=True)
    for a, b in zip(once, other.buffers(), strict=True):
        np.testing.assert_allclose(to_numpy(b.data), a, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: xpnet.grad(lambda x: x)(array(X)),
            ValueError,
            r"grad: the function's result has shape \(3,\)",
        ),
        (lambda: xpnet.grad(lambda x: 3.0)(array(X)), TypeError, "grad: the function's result is a float"),
        (
            lambda: xpnet.functional_call(nn.Linear(2, 1), [1.0], array(X)),
            TypeError,
            "functional_call: parameters: expected a dict, got list",
        ),
        (
            lambda: xpnet.functional_call(nn.Linear(2, 1), {"bias": 1.0}, array(X)),
            ValueError,
            r"functional_call: bias has shape \(\), not \(1,\)",
        ),
        (lambda: xpnet.grad(lambda x: x.sum())(np.array([1, 2])), TypeError, r"grad: argument\[0\].*int64"),
        (lambda: xpnet.jvp(lambda x: x, array(X), array(X)), TypeError, "tuples"),
        (
            lambda: xpnet.jvp(lambda x: x, (array(X),), (array(X[:2]),)),
            ValueError,
            r"tangent 0 has shape \(2,\)",
        ),
        (lambda: xpnet.vjp(lambda x: x, array(X))[1](array(X[:2])), ValueError, "cotangent of shape"),
        (lambda: xpnet.jacobian(lambda x: x, mode="up"), ValueError, "jacobian: mode"),
        (lambda: xpnet.checkpoint(lambda x: 1, array(X)), TypeError, "checkpoint: the function's result"),
        (lambda: xpnet.custom_vjp(3), TypeError, "custom_vjp: expected a function"),
        (lambda: xpnet.grad(lambda x: x.sum(), 1)(array(X)), ValueError, "argnums=1"),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_what_cannot_be_written_into_in_forward_mode_says_so():
    def f(x):
        z = xpnet.array_api.zeros(3, dtype=x.dtype)
        z[0] = x[0]
        return z

    with pytest.raises(TypeError, match=r"x\[...\] = y: x is a Tensor and y a Dual"):
        xpnet.jvp(f, (array(X),), (array(X),))


# ---- what a fresh reader found ----------------------------------------------------------------------------


def central(f, x, h=1e-6):
    steps = h * np.eye(x.size)
    value = lambda z: float(to_numpy(f(xpnet.asarray(z))))
    return np.array([(value(x + e) - value(x - e)) / (2 * h) for e in steps])


COMPLEX = {
    "a power": lambda z: xp.sum(xp.real((2 + 1j) ** (z + 1j * xp.flip(z) ** 2))),
    "of complex numbers": lambda z: xp.sum(xp.real((z + 1j * xp.flip(z) ** 2) ** (z + 1j * xp.flip(z) ** 2))),
    "a complex exponent": lambda z: xp.sum(xp.real((z + 1j * xp.flip(z) ** 2) ** (2 + 1j))),
    "a square": lambda z: xp.sum(xp.imag((z * (1 + 1j)) ** 2)),
}


@pytest.mark.parametrize("name", list(COMPLEX))
def test_complex_powers(name):
    f, x, t = COMPLEX[name], np.array([0.3, 0.7]), np.array([0.5, -1.0])
    want = central(f, x)
    np.testing.assert_allclose(to_numpy(xpnet.grad(f)(xpnet.asarray(x))), want, rtol=1e-6)
    tangent = xpnet.jvp(f, (xpnet.asarray(x),), (xpnet.asarray(t),))[1]
    np.testing.assert_allclose(to_numpy(tangent), want @ t, rtol=1e-6)


def test_a_hessian_is_of_one_dropout_mask_and_moves_statistics_once():
    xpnet.manual_seed(0)
    matrix = to_numpy(xpnet.hessian(lambda x: F.dropout(x, 0.5).sum() ** 2)(xpnet.asarray(np.ones(6))))
    np.testing.assert_array_equal(matrix, matrix.T)
    once, often = (nn.BatchNorm1d(2, dtype="float64") for _ in range(2))
    x = xpnet.asarray(np.random.default_rng(0).standard_normal((3, 2)))
    once(x)
    xpnet.hessian(lambda x: (often(x) ** 3).sum())(x)
    np.testing.assert_allclose(to_numpy(often.running_var), to_numpy(once.running_var), rtol=1e-12)


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_that_mixes_samples_is_refused(affine):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, affine=affine))
    x = xpnet.asarray(np.random.default_rng(0).standard_normal((4, 2)), "float32")
    with pytest.raises(ValueError, match="batch norm in training mixes the samples"):
        xpnet.per_sample_grad(model, lambda z, y: (z**3).sum())(x, [0] * 4)


@pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod"])
@pytest.mark.parametrize("values", [[np.inf, 2.0], [np.nan, 2.0], [1.0, 2.0]])
def test_running_values_are_the_same_with_a_gradient(name, values, backend):
    if refuses_scans(backend):
        pytest.skip("CuPy's scan leaves threads behind a barrier, which CuPy on the CPU refuses")
    f = lambda x: to_numpy(getattr(xp, name)(x, include_initial=True))
    array = np.array(values)
    tracked = f(xpnet.tensor(array, requires_grad=True))
    np.testing.assert_array_equal(tracked, f(xpnet.asarray(array)))
    assert tracked[0] == (0 if name == "cumulative_sum" else 1)


def test_a_list_of_tensors_does_not_lose_its_gradient():
    x = xpnet.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"would lose it; use xpnet.array_api.stack"):
        xpnet.tensor([x[0], x[1]])


class Squared(nn.Module):
    def __init__(self):
        self.w = nn.Parameter(xpnet.asarray([[1.0, 2.0], [3.0, 4.0]]))

    def forward(self, x):
        return F.linear(x, self.w * self.w)


def test_samples_are_not_taken_from_an_axis_of_the_parameter():
    x = xpnet.asarray([[1.0, 1.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match="multiply makes something of parameters alone"):
        xpnet.per_sample_grad(Squared(), lambda z, y: z.sum())(x, [0, 0])


def test_what_leaves_for_numpy_does_not_lose_its_gradient():
    x = xpnet.asarray(np.array([3.0, 4.0]))
    with pytest.raises(TypeError, match="would lose its gradient"):
        xpnet.grad(lambda z: z.sum() * np.dot(z, z))(x)
    value = xpnet.grad(lambda z: z.sum() * float(np.sum(to_numpy(z.detach()) ** 2)))(x)
    assert to_numpy(value).tolist() == [25.0, 25.0]


# ---- points where a formula divides by zero ---------------------------------------------------------------


def test_the_determinant_of_singular_matrices(backend):
    """The gradient is the matrix of cofactors: of minors, whatever the rank."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 3, 3))
    x[0, :, 2] = x[0, :, 1]  # rank 2
    x[1] = np.outer(x[1, 0], x[1, 1])  # rank 1
    x[2] = 0.0
    minor = lambda m, i, j: np.linalg.det(np.delete(np.delete(m, i, 0), j, 1)) * (-1) ** (i + j)
    want = [[[minor(m, i, j) for j in range(3)] for i in range(3)] for m in x]
    got = xpnet.grad(lambda x: xp.linalg.det(x).sum())(xpnet.asarray(x))
    np.testing.assert_allclose(to_numpy(got), want, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_derivatives_of_the_determinant_in_every_mode(n, dtype, backend):
    """det(x + t v) is a polynomial in t: also of singular x to the second order, of others to any."""
    rng = np.random.default_rng(n)
    one, start = (xpnet.asarray(np.array(v)) for v in (1.0, 0.0))
    modes = {"r": xpnet.grad, "f": lambda f: lambda t: xpnet.jvp(f, (t,), (one,))[1]}
    for rank in range(n + 1):
        x = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, n)) + 0j
        v = rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n))
        part = lambda z: (z.real + 2 * z.imag) if dtype == "complex128" else z
        if dtype == "float64":
            x, v = x.real, v.real
        at = np.cos(np.arange(n + 1))
        c = np.linalg.solve(np.vander(at, increasing=True), [np.linalg.det(x + t * v) for t in at])
        want = [part(c[k]) * factorial(k) if k <= n else 0.0 for k in range(4)]
        x, v = xpnet.tensor(x), xpnet.tensor(v)

        def f(t, x=x, v=v):
            d = xp.linalg.det(x + t * v)
            return xp.real(d) + 2 * xp.imag(d) if dtype == "complex128" else d

        for order in ("r", "f", "rr", "rf", "fr", "ff", *(("rrr", "fff", "rfr") if rank == n else ())):
            g = f
            for mode in order:
                g = modes[mode](g)
            assert abs(float(g(start)) - want[len(order)]) < 1e-8, (rank, order)


@pytest.mark.parametrize("order", [0.5, 1, 2, 3, 4])
def test_norms_and_deviations_have_no_slope_at_zero(order):
    zero = xpnet.asarray(np.zeros(3))
    assert xpnet.grad(lambda x: xp.linalg.vector_norm(x, ord=order))(zero).tolist() == [0, 0, 0]
    assert xpnet.grad(lambda x: xp.std(x + 1))(zero).tolist() == [0, 0, 0]


NAN = {
    "max": (lambda x: xp.max(x), [1, 0, 0]),
    "min": (lambda x: xp.min(x), [1, 0, 0]),
    "maximum": (lambda x: xp.maximum(x, xp.ones_like(x)).sum(), [1, 0, 1]),
    "minimum": (lambda x: xp.minimum(x, xp.ones_like(x)).sum(), [1, 1, 0]),
    "relu": (lambda x: F.relu(x).sum(), [1, 1, 1]),
    "hardtanh": (lambda x: F.hardtanh(x).sum(), [1, 1, 0]),
    "clip": (lambda x: xp.clip(x, 0.0, 1.0).sum(), [1, 1, 0]),
    "clip by it": (lambda x: xp.clip(x, xp.full_like(x, float("nan")), None).sum(), [0, 0, 0]),
}


@pytest.mark.parametrize("name", list(NAN))
def test_where_nan_comes_from_has_the_gradient(name):
    """torch 2.13 gives the same, but 0 for the NaN of clip."""
    f, want = NAN[name]
    x = xpnet.asarray(np.array([np.nan, 0.5, 2.0]))
    value, gradient = xpnet.value_and_grad(f)(x)
    assert np.isnan(value.item())
    assert gradient.tolist() == want


def test_the_same_with_and_without_a_gradient(backend):
    """Values, and what is refused, do not depend on whether a derivative is wanted."""
    calls = {
        "var": lambda x: xp.var(x, correction=2),
        "cumulative_sum": xp.cumulative_sum,
        "cumulative_prod": xp.cumulative_prod,
        "mean": lambda x: xp.mean(x, axis=0),
        "clip": lambda x: xp.clip(x, float("nan"), 1.0),
    }
    inputs = [np.array([1.0, 4.0]), np.array([1.0]), np.ones((2, 2)), np.zeros(0)]
    if refuses_scans(backend):
        calls = {name: f for name, f in calls.items() if "cumulative" not in name}
    if backend == "numpy":  # the others have rules of their own for arrays without axes
        inputs.append(np.array(2.0))
    for name, f in calls.items():
        for array in inputs:
            found = []
            for requires_grad in (False, True):
                try:
                    with np.errstate(all="ignore"):
                        found.append(to_numpy(f(xpnet.tensor(array, requires_grad=requires_grad))))
                except (ValueError, IndexError):
                    found.append(None)
            if found[0] is None or found[1] is None:
                assert found[0] is found[1], (name, array.shape, found)
            else:
                both = (
                    found if backend != "cupy" else [np.nan_to_num(a, posinf=0.0) for a in found]
                )  # inf is NaN
                np.testing.assert_array_equal(*both, err_msg=name)


def test_no_grad_in_a_function_makes_constants_in_both_modes():
    def f(x):
        with xpnet.no_grad():
            factor = 3 * x
        return (x * factor).sum()

    x = xpnet.asarray(np.array([1.0, 2.0]))
    assert xpnet.grad(f)(x).tolist() == [3, 6]
    assert xpnet.jvp(f, (x,), (xpnet.asarray(np.array([1.0, 1.0])),))[1].item() == 9
    with xpnet.no_grad():  # around it, it is about the graph, of which forward mode has none
        assert xpnet.jvp(f, (x,), (xpnet.asarray(np.array([1.0, 1.0])),))[1].item() == 9
        assert xpnet.hvp(lambda x: (x**3).sum(), x, x).tolist() == [6, 24]


def test_einsum_repeats_axes_of_length_one():
    a, b = np.random.default_rng(0).standard_normal((2, 1)), np.random.default_rng(1).standard_normal((3, 2))
    f = lambda a, b: (xp.einsum("ij,jk->ik", a, b) ** 2).sum()
    got = xpnet.grad(f, (0, 1))(xpnet.asarray(a), xpnet.asarray(b))
    rows = a @ b.sum(0, keepdims=True)
    np.testing.assert_allclose(to_numpy(got[0]), 2 * rows @ b.sum(0)[:, None], rtol=1e-12)
    np.testing.assert_allclose(to_numpy(got[1]), np.tile(2 * a.T @ rows, (3, 1)), rtol=1e-12)


def test_a_length_that_depends_on_a_variable_is_refused():
    stop = xpnet.tensor(4.0, requires_grad=True)
    with pytest.raises(TypeError, match="arange: start requires a gradient"):
        xp.arange(stop)
    assert xp.arange(stop.detach()).tolist() == [0, 1, 2, 3]


# ---- numbers of other kinds -------------------------------------------------------------------------------


def test_a_numpy_scalar_is_a_number_in_every_mode(backend):
    f = lambda x: (np.float64(2.0) / (x * np.float64(1.5)) + np.float32(3.0) ** x).sum()
    x, v = (xpnet.tensor(xpnet.asarray(a, "float32")) for a in ([0.5, 2.0], [1.0, -1.0]))
    value, tangent = xpnet.jvp(f, (x,), (v,))
    assert str(value.dtype) == str(tangent.dtype) == str(x.dtype)
    np.testing.assert_allclose(float(tangent), float((xpnet.grad(f)(x) * v).sum()), rtol=1e-5)
    assert xpnet.hvp(f, x, v).dtype == x.dtype


# ---- what no other test looks at --------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2])
def test_a_pullback_of_another_shape_is_named_in_transforms(order):
    @xpnet.custom_vjp
    def summed(x):
        return x * 2.0

    summed.defvjp(lambda x: (x * 2.0, None), lambda kept, dy: xp.sum(dy))
    f = lambda x: (summed(x) ** 2).sum()
    f = f if order == 1 else lambda x: xpnet.grad(lambda x: (summed(x) ** 2).sum())(x).sum()
    with pytest.raises(ValueError, match=r"a gradient of shape \(\) .* the pullback of summed"):
        xpnet.grad(f)(xpnet.tensor(X))


def test_a_gradient_that_is_retained_can_be_differentiated():
    x = xpnet.tensor(X, requires_grad=True)
    y = x * x
    y.retain_grad()
    (y**3).sum().backward(create_graph=True)
    np.testing.assert_allclose(to_numpy(y.grad), 3 * X**4)
    (second,) = xpnet.vjp(lambda y: 3 * y**2, y.detach())[1](array(np.ones(3)))
    x.grad = None
    y.grad.sum().backward()
    np.testing.assert_allclose(to_numpy(x.grad), to_numpy(second) * 2 * X)


def test_bounds_that_cross_give_the_gradient_to_the_upper_one():
    bounds = (array([1.0, 0.0]), array([0.5, 1.0]))
    low, high = xpnet.grad(lambda a, b: xp.clip(array([0.0, 0.5]), a, b).sum(), (0, 1))(*bounds)
    assert low.tolist() == [0.0, 0.0]
    assert high.tolist() == [1.0, 0.0]


@pytest.mark.filterwarnings("error")
def test_the_size_of_a_complex_zero_has_no_slope():
    size = lambda x: xp.abs(x + 1j * (2.0 * x)).sum()
    x = array([0.0, -1.0])
    np.testing.assert_allclose(to_numpy(xpnet.grad(size)(x)), [0.0, -(5**0.5)])
    np.testing.assert_allclose(to_numpy(xpnet.jvp(size, (x,), (array([1.0, 0.0]),))[1]), 0.0)


def test_a_pullback_can_be_differentiated_by_its_cotangent():
    _, pullback = xpnet.vjp(lambda x: x**3, array(X))
    gradient = xpnet.grad(lambda s: (pullback(s)[0] ** 2).sum())(array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(to_numpy(gradient), 2 * np.array([1.0, 2.0, 3.0]) * (3 * X**2) ** 2)


def test_a_checkpoint_moves_the_random_numbers_once():
    draws = []
    for run in (lambda f, x: f(x), xpnet.checkpoint):
        xpnet.manual_seed(5)
        x = xpnet.tensor(np.ones(16), requires_grad=True)
        y = run(lambda z: F.dropout(z, 0.5).sum(), x)
        between = F.dropout(xpnet.tensor(np.ones(16)), 0.5)
        y.backward()
        draws.append([to_numpy(between), to_numpy(F.dropout(xpnet.tensor(np.ones(16)), 0.5))])
    np.testing.assert_array_equal(*draws)
