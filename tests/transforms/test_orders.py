"""Every op of both tables, above the first order and forwards: against differences and each other."""

import numpy as np
import pytest

import xpnet
from tests.array_api.functions import FUNCTIONS, skip_refused_scans
from tests.cases import CASES
from xpnet import to_numpy

pytestmark = pytest.mark.filterwarnings("error")

ALL = [*CASES, *FUNCTIONS]
every_case = pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
FORWARD = [case for case in ALL if case.name != "xp.zeros written into"]  # refused: test_refused.py
every_forward_case = pytest.mark.parametrize("case", FORWARD, ids=lambda case: case.name)


def direction(shape, phase):
    return np.cos(phase + 1.3 * np.arange(int(np.prod(shape)), dtype=np.float64)).reshape(shape)


def arrays(case):
    return [xpnet.asarray(a, "float64") for a in case.inputs()]


def like(values, y):
    return xpnet.asarray(values, "float64")


def directions(inputs, phase):
    return [xpnet.asarray(direction(x.shape, phase + i), "float64") for i, x in enumerate(inputs)]


def weighted(case):
    """One number: the results of an op, weighted unevenly."""

    def f(*x):
        y = case.function(*x)
        return (y * like(direction(y.shape, 0.5), y)).sum()

    return f


def gradients(case, inputs):
    return xpnet.grad(weighted(case), tuple(range(len(inputs))))(*inputs)


def inner(a, b):
    return sum(float(np.sum(to_numpy(p) * to_numpy(q))) for p, q in zip(a, b, strict=True))


@pytest.mark.parametrize("case", FUNCTIONS, ids=lambda case: case.name)
def test_first_derivatives_equal_differences_of_values(case, backend):
    skip_refused_scans(case, backend)
    assert xpnet.gradcheck(case.function, *(xpnet.tensor(a, requires_grad=True) for a in arrays(case)))


@every_case
def test_second_derivatives_equal_differences_of_first_ones(case, backend):
    skip_refused_scans(case, backend)
    inputs = arrays(case)
    v, w = directions(inputs, 0.1), directions(inputs, 2.0)

    def along(*x):  # <w, gradient>
        total = 0
        for g, d in zip(gradients(case, x), w, strict=True):
            total = total + (g * d).sum()
        return total

    found = xpnet.grad(along, tuple(range(len(inputs))))(*inputs)
    step = 1e-6
    ends = [
        gradients(case, [x + sign * step * d for x, d in zip(inputs, v, strict=True)]) for sign in (1, -1)
    ]
    numeric = (inner(ends[0], w) - inner(ends[1], w)) / (2 * step)
    np.testing.assert_allclose(inner(found, v), numeric, rtol=1e-5, atol=1e-7)


@every_forward_case
def test_forward_mode_is_the_transpose_of_reverse_mode(case, backend):
    skip_refused_scans(case, backend)
    inputs = arrays(case)
    v = directions(inputs, 0.3)
    value, tangent = xpnet.jvp(case.function, tuple(inputs), tuple(v))
    y, pullback = xpnet.vjp(case.function, *inputs)
    np.testing.assert_allclose(to_numpy(value), to_numpy(y), rtol=1e-12, atol=1e-14)
    assert tangent.shape == value.shape
    assert tangent.dtype == value.dtype
    u = like(direction(y.shape, 0.7), y)
    forwards, backwards = inner([tangent], [u]), inner(pullback(u), v)
    scale = max(1.0, float(np.sum(np.abs(to_numpy(tangent)))))
    assert abs(forwards - backwards) <= 1e-12 * scale


@every_forward_case
def test_the_tangent_of_the_gradient_is_the_gradient_of_the_tangent(case, backend):
    skip_refused_scans(case, backend)
    inputs = arrays(case)
    v, w = directions(inputs, 0.1), directions(inputs, 2.0)
    numbers = tuple(range(len(inputs)))
    over = xpnet.jvp(lambda *x: gradients(case, x), tuple(inputs), tuple(v))[1]
    under = xpnet.grad(lambda *x: xpnet.jvp(weighted(case), x, tuple(v))[1], numbers)(*inputs)
    scale = max(1.0, *(float(np.max(np.abs(to_numpy(t)), initial=0)) for t in over))
    assert abs(inner(over, w) - inner(under, w)) <= 1e-11 * scale * sum(x.size for x in over)


@every_case
def test_backward_with_create_graph_gives_the_gradient_that_backward_gives(case, backend):
    skip_refused_scans(case, backend)
    results = []
    for create_graph in (False, True):
        inputs = [xpnet.tensor(a, requires_grad=True) for a in arrays(case)]
        weighted(case)(*inputs).backward(create_graph=create_graph)
        results.append([x.grad for x in inputs])
    for plain, recorded in zip(*results, strict=True):
        assert isinstance(recorded, xpnet.Tensor)
        np.testing.assert_allclose(to_numpy(recorded), to_numpy(plain), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("set_to_none", [True, False])
def test_a_gradient_with_a_graph_is_forgotten(set_to_none):
    """Else the next step would train on it."""
    w = xpnet.tensor(np.array([2.0]), requires_grad=True)
    optimizer = xpnet.optim.SGD([w], lr=1.0)
    (w**2).sum().backward(create_graph=True)
    optimizer.zero_grad(set_to_none)
    (w * 5).sum().backward()
    optimizer.step()
    assert to_numpy(w).tolist() == [2.0 - 5.0]
    for _ in range(2):
        optimizer.zero_grad(set_to_none)
        (w * w).sum().backward(create_graph=True)
    assert to_numpy(w.grad).tolist() == [-6.0]
