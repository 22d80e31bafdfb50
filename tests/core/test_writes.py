"""x[...] = y and x += y: what shares memory goes on with it, and no gradient is of other values."""

import gc
import weakref

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim, to_numpy

xp = xpnet.array_api


def variable(values, dtype="float32"):
    return xpnet.tensor(np.asarray(values, dtype), requires_grad=True)


def same(x, expected):
    np.testing.assert_allclose(to_numpy(x), expected, rtol=1e-6)


# Each takes a matrix of zeros that it may compute with and a variable, and gives what is left of the matrix,
# and a view of it that was taken before the write.


def into_a_row(zeros, t):
    row = zeros[1]
    row[0] = t
    return zeros, row


def into_the_whole(zeros, t):
    row = zeros[1]
    zeros[1, 0] = t
    return zeros, row


def through_two_views(zeros, t):
    corner = zeros[1:][0]
    zeros[1:][0][0] = t
    return zeros, corner


def through_the_transpose(zeros, t):
    row = zeros[1]
    zeros.T[0, 1] = t
    return zeros, row


def through_another_shape(zeros, t):
    row, line = zeros[1], zeros.reshape(-1)
    line[2] = t
    return zeros, row


def sum_in_place(zeros, t):
    row = zeros[1]
    row += t
    row[1] = 0.0
    return zeros, row


def by_augmented_assignment(zeros, t):
    row = zeros[1]
    zeros[1, 0] += t
    return zeros, row


WRITES = [
    into_a_row, into_the_whole, through_two_views, through_the_transpose, through_another_shape, sum_in_place,
    by_augmented_assignment,
]  # fmt: skip


@pytest.mark.parametrize("computed", [False, True], ids=["constant", "computed"])
@pytest.mark.parametrize("write", WRITES)
def test_a_write_reaches_what_shares_the_memory(backend, write, computed):
    t, factor = variable(3.0), variable(0.0)
    zeros = xpnet.tensor(np.zeros((3, 2), np.float32))
    whole, view = write(zeros + factor if computed else zeros, t)
    same(whole, [[0, 0], [3, 0], [0, 0]])
    same(view, [3, 0])
    ((whole * whole).sum() + 10 * view.sum()).backward()
    same(t.grad, 2 * 3 + 10)
    if computed:
        same(
            factor.grad, {sum_in_place: 16, by_augmented_assignment: 26}.get(write, 10)
        )  # what was overwritten has no part in it


def test_names_of_one_object_see_the_sum():
    total, t = xpnet.tensor(1.0), variable(2.0)
    kept = total
    total += t
    total *= t
    assert kept is total
    total.backward()
    assert (kept.item(), float(t.grad)) == (6.0, 5.0)


def test_what_was_taken_before_the_write_keeps_its_values():
    x = variable([1.0, 2.0])
    y = x * 3
    before = y * y
    y[0] = 100.0
    (before.sum() + y.sum()).backward()
    same(x.grad, [18.0, 36.0 + 3.0])


def test_views_of_the_functions_of_the_namespace(backend):
    x = xpnet.tensor(np.zeros((2, 3), np.float32))
    views = [
        xp.reshape(x, (3, 2)), xp.permute_dims(x, (1, 0)), xp.matrix_transpose(x), xp.flip(x),
        xp.expand_dims(x, axis=0), xp.unstack(x)[1], xp.moveaxis(x, 0, 1), xp.broadcast_to(x, (2, 2, 3)),
        x.detach(),
    ]  # fmt: skip
    expected = np.zeros((2, 3), np.float32)
    expected[1, 2] = 5
    t = variable(5.0)
    x[1, 2] = t
    wanted = [
        expected.reshape(3, 2), expected.T, expected.T, np.flip(expected), expected[None], expected[1],
        expected.T, np.broadcast_to(expected, (2, 2, 3)), expected,
    ]  # fmt: skip
    for k, (view, array) in enumerate(zip(views, wanted, strict=True)):
        if k != 3 or backend != "torch":  # whose flip copies
            same(view, array)
    assert [v.requires_grad for v in views if v is not views[3]] == [True] * 7 + [False]


def test_copies_do_not_follow(backend):
    x = xpnet.tensor(np.zeros((2, 3), np.float32))
    copies = [x.clone(), x[xpnet.asarray([0, 1])], x + 0]
    x[0] = variable(1.0)
    assert not any(to_numpy(c).any() for c in copies)


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("value", ["constant", "recorded"])
def test_functions_that_copy_always_copy(recorded, value, backend):
    """The backend's functions, and the formulas of the derivatives, also where there is nothing to do."""
    functions = [
        lambda x: xp.tile(x, (1, 1)), lambda x: xp.diff(x, n=0), lambda x: xp.linalg.matrix_power(x, 1),
        lambda x: xp.real(xp.astype(x, xp.complex64)), xp.positive, lambda x: xp.repeat(x, 1, axis=0),
    ]  # fmt: skip
    if backend == "numpy":
        functions.append(xp.real)  # of real numbers; the standard has it of complex ones
    for function in functions:
        x = variable(np.eye(2)) * 1 if recorded else xpnet.tensor(np.eye(2, dtype=np.float32))
        y = function(x)
        y[...] = variable(7.0) * 1 if value == "recorded" else 7.0
        same(x, np.eye(2))
        same(y, np.full((2, 2), 7.0))


def test_a_diagonal_is_a_view(backend):
    t = variable([5.0, 6.0])
    x = xpnet.tensor(np.ones((2, 3), np.float32))
    diagonal = xp.linalg.diagonal(x, offset=1)
    diagonal[...] = t
    same(x, [[1, 5, 1], [1, 1, 6]])
    x[0, 1] *= t[1]
    same(diagonal, [30, 6])
    (x * x).sum().backward()
    same(t.grad, [2 * 5 * 36, 2 * 6 * 25 + 12])


def test_the_last_write_of_a_repeated_place_has_the_gradient(backend):
    values = variable([1.0, 2.0, 3.0])
    x = xpnet.tensor(np.zeros(2, np.float32))
    x[xpnet.asarray([0, 0, 1])] = values
    (x * xpnet.asarray([10.0, 1.0])).sum().backward()
    left, kept = to_numpy(x), to_numpy(values.grad)
    assert left[1] == 3
    assert kept[2] == 1
    winner = {2.0: [0, 10], 1.0: [10, 0]}[float(left[0])]  # CuPy does not say which one it is
    np.testing.assert_array_equal(kept[:2], winner)


def test_in_place_activations_are_in_place():
    x = variable([-1.0, 2.0])
    y = x * 1
    assert F.relu(y, inplace=True) is y
    same(y, [0, 2])
    y.sum().backward()
    same(x.grad, [0, 1])


def test_refused():
    w, t = variable([1.0, 2.0]), variable(1.0)
    with pytest.raises(RuntimeError, match="that is trained would lose its gradient"):
        w[0:1][0] = t
    y = w * 2
    constant = y.detach()
    with pytest.raises(RuntimeError, match="was detached from a Tensor that shares its memory"):
        constant[0] = t
    del y
    constant[0] = t  # nobody else has it
    same(constant, [1, 4])
    repeated = xp.broadcast_to(w * 2, (3, 2))
    with pytest.raises(ValueError, match="x repeats elements of another tensor"):
        repeated[0] = t
    total = xpnet.tensor(0.0)
    with pytest.raises(
        ValueError, match=r"in place: a result of shape \(2,\) does not fit a tensor of shape"
    ):
        total += w


# ---- gradients of other values ----------------------------------------------------------------------------


def trained(w, x):
    with xpnet.no_grad():
        w += 1


def a_part(w, x):
    with xpnet.no_grad():
        w[0, 0] = 9.0


def through_a_view(w, x):
    with xpnet.no_grad():
        view = w[0, 1:]
        view *= 3.0


def data(w, x):
    x[0, 1] = 7.0


@pytest.mark.parametrize("write", [trained, a_part, through_a_view, data])
@pytest.mark.parametrize("flat", [False, True], ids=["alone", "in a vector"])
def test_a_gradient_of_values_that_were_written_over_is_refused(backend, write, flat):
    layer = nn.Linear(2, 1, bias=False)
    if flat:
        layer.theta  # noqa: B018
    w, x = layer.weight, xpnet.tensor(np.float32([[1.0, 2.0]]))
    y = (w * w * x).sum()
    write(w, x)
    with pytest.raises(RuntimeError, match=r"of multiply was written into after the forward pass"):
        y.backward()


def test_an_optimizer_step_before_backward_is_refused():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = optim.SGD(model, lr=0.1)
    loss = model(xpnet.asarray(np.ones((2, 3), np.float32))).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"weight of linear\w* was written into after the forward pass"):
        loss.backward()
    model(xpnet.asarray(np.ones((2, 3), np.float32))).sum().backward()


def test_an_optimizer_of_other_parameters_is_none_of_it():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    first, second = optim.SGD(model[0], lr=0.1), optim.SGD(model[2], lr=0.1)
    x = xpnet.asarray(np.ones((2, 3), np.float32))
    model(x).sum().backward()
    of_the_first = model[0](x).sum()
    second.step()
    of_the_first.backward()
    first.step()
    y = model[0](xpnet.tensor(np.ones((2, 3), np.float32), requires_grad=True)).sum()
    first.step()
    with pytest.raises(RuntimeError, match="weight of linear was written into"):
        y.backward()


def test_sums_need_no_values():
    w = variable([1.0, 2.0])
    y = (w + 1).reshape(2, 1).sum() - w[0]
    with xpnet.no_grad():
        w += 1
    y.backward()
    same(w.grad, [0, 1])


def test_a_counter_between_forward_and_backward_costs_no_error():
    w, correct = variable([1.0, 2.0]), xpnet.tensor(0.0)
    loss = (w * w).sum()
    correct += (w.detach() > 1).sum().item()
    loss.backward()
    same(w.grad, [2, 4])


# ---- ops that close over Tensors --------------------------------------------------------------------------


def test_an_op_that_closes_over_a_variable_says_so():
    w, x = variable([2.0]), variable([1.0])

    @xpnet.differentiable
    def scaled(x):
        return w * x, lambda dy: dy * w.data

    for run in (scaled, xpnet.grad(lambda x: scaled(x).sum())):
        with pytest.raises(
            TypeError, match="scaled: its function closes over a Tensor that is differentiated"
        ):
            run(x)
    w.requires_grad_(False)
    assert scaled(x).item() == 2
    clipped = xpnet.custom_vjp(lambda x: x)
    clipped.defvjp(lambda x: (y * x, None), lambda kept, dy: dy)
    y = variable([1.0]) * 2
    with pytest.raises(TypeError, match="closes over a Tensor that is differentiated"):
        clipped(x)


@pytest.mark.parametrize(
    "view",
    [lambda x: x[:1], lambda x: x.reshape((-1,)), xp.matrix_transpose, xp.flip, lambda x: xp.unstack(x)[0]],
    ids=["slice", "reshape", "transpose", "flip", "unstack"],
)
def test_a_constant_view_keeps_no_graph(view):
    """losses.append(y[0].detach()): what y was computed from is freed with it."""
    w = variable(np.ones((2, 2)))
    kept, watches = [], []
    gc.disable()
    try:
        for make in (lambda y: view(y).detach(), view):
            y = w * 2
            with xpnet.no_grad():
                kept.append(make(y))
            watches.append(weakref.ref(y))
            del y
        assert [watch() for watch in watches] == [None, None]
    finally:
        gc.enable()


def of_a_state(w):
    state = (w * 2).detach()
    state[0] = w[1] * 3
    return state


def of_a_row_of_a_state(w):
    state = (w * 2).detach()
    row, rest = state[:1], state.reshape((-1,))[2:]
    row *= w[1]
    rest += w[0, 0]
    state[1] *= w[0]
    return state


def of_two_that_were_detached(w):
    state = (w * 2).detach()
    other = state.detach()
    state[0] = w[1]
    return state + other


def of_a_detached_slice(w):
    whole = w * 2
    part = whole[:1].detach()
    del whole
    part[0, 0] = w[1, 1]
    return part


@pytest.mark.parametrize(
    "write", [of_a_state, of_a_row_of_a_state, of_two_that_were_detached, of_a_detached_slice]
)
def test_what_was_detached_from_something_that_is_gone_has_the_gradient(write, backend):
    """state = state.detach(); state[0] = ...: truncated backpropagation."""
    w = variable([[1.0, 2.0], [3.0, 5.0]], "float64")
    with xpnet.no_grad():
        start = (w * 2).data
    y = write(w)
    assert y.requires_grad
    (y * y).sum().backward()
    value, old = to_numpy(w), to_numpy(start)
    if write is of_a_row_of_a_state:
        u, v = value[0], value[1]
        want = np.zeros((2, 2))
        y1 = (old[1] + u[0]) * u
        np.testing.assert_allclose(to_numpy(y), [old[0] * v, y1])
        want[0] = 2 * y1 * (old[1] + u[0])
        want[0, 0] += np.sum(2 * y1 * u)
        want[1] = 2 * old[0] ** 2 * v
    else:
        scale = {of_a_state: 9.0, of_two_that_were_detached: 4.0, of_a_detached_slice: 1.0}[write]
        want = np.array([[0.0, 0.0], 2 * scale * value[1]])
        if write is of_a_detached_slice:
            want[1, 0] = 0.0
    np.testing.assert_allclose(to_numpy(w.grad), want)


def a_slice_of_a_copy(w):
    copied = w.mT.reshape((-1,))
    part = copied[4:]
    part *= w[0, 0]
    return w, copied, part


def rows_and_columns(w):
    flat, row = w.mT.reshape((-1,)), w[0]
    row *= 2.0
    flat[1] = flat[0] * 3.0
    row += flat[:2]
    return w, flat, row


def a_sum_with_the_other_order(w):
    flat = w.mT.reshape((-1,))
    w *= w.mT.reshape((-1,)).reshape(tuple(w.shape))
    flat[1] = flat[0] * 3.0
    w[0] = flat[2]
    return w, flat


def a_copy_of_every_second_row(w):
    half = w[::2]
    copied = half.reshape((-1,))
    part = copied[:2]
    part += half[0, 0]
    half *= 2.0
    return w, copied, part


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    "write", [a_slice_of_a_copy, rows_and_columns, a_sum_with_the_other_order, a_copy_of_every_second_row]
)
def test_what_shares_memory_is_what_does_in_numpy(write, transposed, backend):
    """Whichever order the axes have in memory: reshape copies or does not."""

    class Plain(np.ndarray):
        mT = property(lambda a: a.T)

    start = np.arange(1.0, 7.0).reshape((2, 3) if transposed else (3, 2)).view(Plain)
    computed = lambda w: (w.mT if transposed else w) * 1
    w = xpnet.tensor(np.asarray(start), requires_grad=True)
    plain = xpnet.asarray(np.asarray(start)) if backend == "cupy" else start  # which has orders of its own
    for y, want in zip(write(computed(w)), write(computed(plain)), strict=True):
        same(y, to_numpy(want))
    assert xpnet.gradcheck(lambda w: xp.concat([y.reshape((-1,)) for y in write(computed(w))]), w)


def test_a_list_of_tensors_is_written_with_its_gradient(backend):
    a = variable(2.0)
    t = xp.zeros((2, 2))
    t[0] = [a, 3.0]
    t[1] = (t[0, 0] * a, a)
    assert t.tolist() == [[2.0, 3.0], [4.0, 2.0]]
    t.sum().backward()
    assert float(a.grad) == 1 + 4 + 1


def test_views_that_are_gone_are_forgotten():
    x = xpnet.tensor(np.zeros(3, np.float32))
    for _ in range(1000):
        x[0]
    assert len(x._memory.views) < 100


def test_a_write_into_the_neighbour_in_the_vector_is_none_of_it():
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))  # no gap between them
    optimizer = optim.SGD(model, lr=0.1)
    first, second = model.layers
    x = xpnet.tensor(np.ones((1, 8), np.float32), requires_grad=True)
    model(x).sum().backward()
    optimizer.step()  # now they are one vector
    y = (second(x) ** 2).sum()
    for p in first.parameters():
        p.data = p.data * 2
    y.backward()
    y = (second(x) ** 2).sum()
    second.weight.data = second.weight.data * 2
    with pytest.raises(RuntimeError, match=r"weight of linear was written into"):
        y.backward()


@pytest.mark.parametrize(
    "view",
    [lambda x: x.mT, lambda x: x.reshape((3, 2)), lambda x: x[:, 1:], lambda x: xp.expand_dims(x, axis=0)[0]],
    ids=["transpose", "reshape", "slice", "axis"],
)
def test_a_view_of_what_nobody_has_keeps_its_tangent(view, backend):
    def f(x):
        y = view(x * x)
        y[0] *= 2.0
        row = y[1]
        row += x[0, 0]
        return (y * y).sum()

    x = xpnet.asarray(np.arange(1.0, 7.0).reshape(2, 3))
    v = xpnet.asarray(np.cos(np.arange(6.0)).reshape(2, 3))
    tangent = float(xpnet.jvp(f, (x,), (v,))[1])
    gradient = xpnet.grad(f)(x)
    np.testing.assert_allclose(tangent, float((gradient * xpnet.tensor(v)).sum()), rtol=1e-12)
    assert xpnet.gradcheck(f, xpnet.tensor(x, requires_grad=True))


@pytest.mark.parametrize("index", [..., ()])
def test_a_sum_is_written_into(index):
    x = xp.sum(xpnet.tensor([1.0, 2.0]))
    x[index] = 5.0
    assert x.tolist() == 5.0
    x[...] += 1.0
    assert x.tolist() == 6.0


def test_a_value_may_have_more_axes_of_length_one(backend):
    t = variable([[[1.0, 2.0]]])
    x = xpnet.tensor(np.zeros((3, 2), np.float32))
    x[1] = t * 1
    (x * x).sum().backward()
    same(x, [[0, 0], [1, 2], [0, 0]])
    assert tuple(t.grad.shape) == (1, 1, 2)
    same(t.grad, [[[2, 4]]])
