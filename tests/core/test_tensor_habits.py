"""What people do with a tensor: look at it, hand it to NumPy, write into it, mix it with NumPy's numbers."""

import itertools

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim, to_numpy
from xpnet.core import operators

VALUES = np.float32([[1.5, -2.0], [0.25, 4.0]])


def tensor(values=VALUES, requires_grad=True):
    return xpnet.tensor(np.asarray(values), requires_grad=requires_grad)


# ---- NumPy takes it ----


@pytest.mark.parametrize(
    "take",
    [
        np.asarray,
        np.array,
        lambda t: np.stack([t, t])[1],
        lambda t: np.concatenate([t, t])[:2],
        lambda t: np.asarray([t, t])[0],
        lambda t: np.vstack([t])[:2],
        lambda t: np.testing.assert_array_equal(t, VALUES) or VALUES,
        lambda t: np.asarray(t.tolist(), np.float32),
    ],
)
@pytest.mark.parametrize("requires_grad", [True, False])
def test_numpy_has_the_values(take, requires_grad):
    found = take(tensor(requires_grad=requires_grad))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, VALUES)


def test_numpy_has_them_in_other_types_and_as_a_copy():
    t = tensor()
    assert np.asarray(t, np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(t, copy=True), to_numpy(t))
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(t, np.float64, copy=False)


@pytest.mark.host
def test_scikit_learn_takes_it():
    metrics = pytest.importorskip("sklearn.metrics")
    assert metrics.accuracy_score(xpnet.tensor([0, 1]), xpnet.tensor([0, 1])) == 1.0


@pytest.mark.parametrize("function", [np.exp, np.add, np.maximum])
def test_a_ufunc_is_refused_by_name(function):
    with pytest.raises(TypeError, match=r"__array_ufunc__ = None|does not support ufuncs"):
        function(*[tensor()] * function.nin)


# ---- as a number ----


def test_one_number():
    loss = F.cross_entropy(tensor(np.zeros((2, 3), np.float32)), np.array([0, 1]))
    assert f"{loss:.3f}" == "1.099"
    assert f"{loss:8.2e}" == "1.10e+00"
    assert f"{loss}" == f"{loss.item()}"
    assert "{:.1f}".format(loss) == "1.1"  # noqa: UP032
    assert round(loss, 2) == pytest.approx(1.1)
    assert round(loss) == 1
    assert (int(loss), float(loss), complex(loss).imag) == (1, pytest.approx(1.0986, abs=1e-4), 0)
    assert loss.tolist() == loss.item()
    count = xpnet.tensor(3)
    assert [10, 20, 30, 40][count] == 40
    assert list(range(count)) == [0, 1, 2]
    assert f"{count:03d}" == "003"


def test_many_numbers():
    assert tensor().tolist() == VALUES.tolist()
    assert str(tensor(requires_grad=False)) == f"{tensor(requires_grad=False)}"
    with pytest.raises(TypeError, match=r"a tensor of shape \(2, 2\) has no format '\.3f'"):
        f"{tensor():.3f}"
    with pytest.raises(TypeError, match="only a whole number is an index"):
        [1, 2][tensor()]
    with pytest.raises(TypeError, match="only a whole number is an index"):
        [1, 2][xpnet.tensor(1.0)]
    with pytest.raises(TypeError, match=r"len\(\) of a 0-d tensor"):
        len(xpnet.tensor(1.0))
    assert [row.tolist() for row in tensor()] == VALUES.tolist()


# ---- writing ----


@pytest.mark.parametrize("value", [7, 7.0, [7.0, 7.0], np.float64(7), np.array([7, 7]), "tensor"])
def test_writing_into_a_tensor(value):
    value = xpnet.tensor([7.0, 7.0]) if isinstance(value, str) else value
    t = tensor(requires_grad=False)
    t[1] = value
    assert t.tolist() == [[1.5, -2.0], [7.0, 7.0]]
    p = tensor()
    with pytest.raises(RuntimeError, match=r"would lose its gradient: do it in `with xpnet\.no_grad"):
        p[1] = value
    with xpnet.no_grad():
        p[1] = value
    assert p.tolist() == [[1.5, -2.0], [7.0, 7.0]]


IN_PLACE = {
    "+=": lambda p, x: p.__iadd__(x),
    "-=": lambda p, x: p.__isub__(x),
    "*=": lambda p, x: p.__imul__(x),
    "/=": lambda p, x: p.__itruediv__(x),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_parameters_are_changed_in_place(name):
    """The loop of PyTorch's first tutorial, in one vector and out of it."""
    for model in (nn.Linear(2, 2), nn.Linear(2, 2)):
        if name:
            model.theta  # noqa: B018  puts the parameters into one vector
        p = model.weight
        before, same = to_numpy(p).copy(), p
        with xpnet.no_grad():
            p = IN_PLACE[name](p, 0.5)
        assert p is same is model.weight
        expected = {"+=": before + 0.5, "-=": before - 0.5, "*=": before * 0.5, "/=": before / 0.5}[name]
        np.testing.assert_allclose(to_numpy(p), expected, rtol=1e-6)
        with pytest.raises(RuntimeError, match=r"only in `with xpnet\.no_grad\(\):`"):
            IN_PLACE[name](p, 0.5)


def test_the_loop_of_the_first_tutorial_trains():
    x = xpnet.tensor(np.linspace(-1, 1, 20, dtype=np.float32))
    a, b = (xpnet.tensor(np.float32([0.0]), requires_grad=True) for _ in range(2))
    for _ in range(200):
        loss = ((x * a + b - (x * 3 + 1)) ** 2).mean()
        loss.backward()
        with xpnet.no_grad():
            a -= 0.1 * a.grad
            b -= 0.1 * b.grad
        a.grad = b.grad = None
    assert (round(a, 2), round(b, 2)) == (3, 1)


def test_sums_of_losses_and_buffers_go_on_as_before():
    total = xpnet.tensor(0.0)
    kept = total
    p = tensor()
    total += (p * p).sum()
    assert kept is total
    assert kept.item() == np.sum(np.square(VALUES))
    total.backward()
    np.testing.assert_allclose(to_numpy(p.grad), 2 * VALUES)

    class Counting(nn.Module):
        def __init__(self):
            self.n = nn.Buffer(xpnet.asarray(0.0))

        def forward(self, x):
            self.n += 1
            return x

    model = Counting()
    model(p)
    model(p)
    assert float(to_numpy(model.state_dict()["n"])) == 2


# ---- NumPy's numbers among float32 ----

SCALARS = [np.float64(2), np.float32(2), np.int64(2), np.uint8(2), np.float64(2).reshape(())[()]]
ARITHMETIC = {
    "p * s": lambda p, s: p * s,
    "s * p": lambda p, s: s * p,
    "p + s": lambda p, s: p + s,
    "p - s": lambda p, s: p - s,
    "s - p": lambda p, s: s - p,
    "p / s": lambda p, s: p / s,
    "s / p": lambda p, s: s / p,
    "p ** s": lambda p, s: p**s,
    "maximum": operators.maximum,
    "p @ s": lambda p, s: p @ s if getattr(s, "ndim", 0) else p * s,
    "leaky_relu": F.leaky_relu,
    "leaky_relu by name": lambda p, s: F.leaky_relu(p, negative_slope=s),
    "elu": F.elu,
}


@pytest.mark.parametrize(("name", "scalar"), list(itertools.product(ARITHMETIC, SCALARS)))
def test_scalars_are_numbers(name, scalar):
    p, q = tensor(), tensor()
    found, expected = ARITHMETIC[name](p, scalar), ARITHMETIC[name](q, scalar.item())
    found.sum().backward()
    expected.sum().backward()
    assert str(found.dtype) == str(expected.dtype) == str(p.dtype)
    np.testing.assert_array_equal(to_numpy(found), to_numpy(expected))
    np.testing.assert_array_equal(to_numpy(p.grad), to_numpy(q.grad))


@pytest.mark.parametrize("name", [n for n in ARITHMETIC if "elu" not in n])
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_whole_numbers_take_the_type_of_the_other(name, dtype, backend):
    if name[0] == "s" and backend == "array_api_strict":
        pytest.skip("its arrays know no other arrays on their right")
    other = xpnet.asarray(np.array([1, 1], dtype))
    p, q = tensor(), tensor()
    found, expected = ARITHMETIC[name](p, other), ARITHMETIC[name](q, xpnet.asarray(np.ones(2, np.float32)))
    found.sum().backward()
    expected.sum().backward()
    assert str(found.dtype) == str(p.dtype)
    np.testing.assert_array_equal(to_numpy(found), to_numpy(expected))
    np.testing.assert_array_equal(to_numpy(p.grad), to_numpy(q.grad))


@pytest.mark.parametrize("name", [n for n in ARITHMETIC if "elu" not in n])
def test_float64_is_refused_where_it_is_met(name, backend):
    if name[0] == "s" and backend == "array_api_strict":
        pytest.skip("its arrays know no other arrays on their right")
    with pytest.raises(TypeError, match=r"^\w+: float64 reached a tensor of dtype float32; convert one"):
        ARITHMETIC[name](tensor(), xpnet.asarray(np.ones(2)))


WEIGHTS = {
    "list": [1.0, 2.0],
    "list of whole numbers": [1, 2],
    "tuple": (1.0, 2.0),
    "float64": np.array([1.0, 2.0]),
    "float32": np.float32([1.0, 2.0]),
    "whole numbers": np.array([1, 2]),
    "big-endian": np.array([1.0, 2.0], ">f8"),
    "Tensor": "tensor",
    "Series": "series",
}


@pytest.mark.parametrize("form", WEIGHTS)
@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
def test_class_weights_as_people_write_them(form, loss, backend):
    weight = WEIGHTS[form]
    if form == "Tensor":
        weight = xpnet.tensor([1.0, 2.0])
    if form == "Series":
        weight = pytest.importorskip("pandas").Series([1.0, 2.0])
    if backend == "cupy" and hasattr(weight, "dtype"):  # from the host it is refused, by name
        weight = xpnet.asarray(weight)
    y = np.array([0, 1])
    p, q = tensor(), tensor()
    found, expected = loss(p, y, weight=weight), loss(q, y, weight=xpnet.asarray(np.float32([1, 2])))
    found.backward()
    expected.backward()
    assert (found.item(), str(found.dtype)) == (pytest.approx(expected.item(), rel=1e-6), str(p.dtype))
    np.testing.assert_allclose(to_numpy(p.grad), to_numpy(q.grad), rtol=1e-5)  # kernel or body


def test_class_weights_of_another_length_are_refused_by_name():
    for weight in ([1.0], xpnet.asarray(np.ones(3)), [[1.0, 2.0]]):
        with pytest.raises(ValueError, match=r"cross_entropy: weight has shape .*, expected"):
            F.cross_entropy(tensor(), np.array([0, 1]), weight=weight)


def test_an_optimizer_takes_numpy_rates():
    p = tensor()
    rule = optim.Adam([p], lr=np.float64(0.1))
    (p * p).sum().backward()
    rule.step()
    assert str(p.dtype).endswith("float32")
