"""Tensor and the tape: graphs, accumulation, freeing, errors, gradcheck."""

import gc
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import xpnet
from xpnet import Tensor, to_numpy
from xpnet import functional as F
from xpnet.core import operators
from xpnet.core.backward import on_complete
from xpnet.core.op import differentiable
from xpnet.core.places import namespace


def tensor(data, requires_grad=True):
    return xpnet.tensor(np.asarray(data, dtype=np.float64), requires_grad)


def grad(x: Tensor) -> np.ndarray:
    return to_numpy(x.grad)


# ---- graphs -----------------------------------------------------------------------------------------------


def test_a_tensor_used_twice_gets_both_gradients():
    x = tensor([1.0, 2.0, 3.0])
    y = x * x
    (y + x * y).sum().backward()  # x^2 + x^3
    np.testing.assert_allclose(grad(x), 2 * x.numpy() + 3 * x.numpy() ** 2)


def test_paths_of_different_length_are_walked_in_the_right_order():
    x = tensor([0.5])
    a = x * 2
    b = F.tanh(a)
    c = b * a  # a is reached from c and through b
    for _ in range(3):
        c = c + a * b
    c.sum().backward()
    t = np.tanh(1.0)
    np.testing.assert_allclose(grad(x), 4 * (2 * t + 2 * 1.0 * (1 - t**2)), rtol=1e-12)


def test_a_long_chain_needs_no_recursion():
    x = tensor([1.0])
    y = x
    for _ in range(20_000):
        y = y + 1
    y.sum().backward()
    np.testing.assert_array_equal(grad(x), [1.0])
    del y
    gc.collect()


def test_gradients_accumulate_over_calls_and_reset():
    x = tensor([1.0, 2.0])
    for times in (1, 2, 3):
        (x * x).sum().backward()
        np.testing.assert_allclose(grad(x), times * 2 * x.numpy())
    x.grad = None
    assert x.grad is None
    (x * 3).sum().backward()
    np.testing.assert_allclose(grad(x), [3.0, 3.0])


def test_two_leaves_never_share_one_gradient_array():
    a, b = tensor([1.0]), tensor([2.0])
    (a + b).backward()
    (a * 1).backward()
    np.testing.assert_array_equal(grad(a), [2.0])
    np.testing.assert_array_equal(grad(b), [1.0])


def test_a_gradient_passed_in_is_not_changed_or_kept():
    x = tensor([1.0, 2.0])
    dy = xpnet.asarray(np.array([1.0, 1.0]))
    x.backward(dy)
    x.backward(dy)
    np.testing.assert_array_equal(grad(x), [2.0, 2.0])
    np.testing.assert_array_equal(to_numpy(dy), [1.0, 1.0])


def test_only_leaves_get_a_gradient():
    x = tensor([1.0, 2.0])
    constant = tensor([1.0, 2.0], requires_grad=False)
    y = x * constant
    y.sum().backward()
    assert y.grad is None
    assert constant.grad is None


def test_gradient_of_a_tensor_as_its_own_root():
    x = tensor(2.0)
    x.backward()
    np.testing.assert_array_equal(grad(x), 1.0)


@differentiable
def square_with_one_pullback(x):
    return x * x, lambda dy: 2 * dy * x


@differentiable
def product_with_shared_pullback(a, b):
    return a * b, lambda dy: (dy * b, dy * a)


@differentiable
def product_with_lazy_pullbacks(a, b):
    return a * b, lambda dy: (lambda out: dy * b, lambda out: dy * a)


def test_gradients_as_arrays_and_as_functions_agree():
    a, b = tensor([2.0, 3.0]), tensor([5.0, 7.0])
    for op, inputs in (
        (square_with_one_pullback, (a,)),
        (product_with_shared_pullback, (a, b)),
        (product_with_lazy_pullbacks, (a, b)),
        (product_with_lazy_pullbacks, (a, a)),
    ):
        assert xpnet.gradcheck(op, *inputs)


def test_tensors_may_be_passed_by_name():
    x, w, b = tensor(np.ones((2, 3))), tensor(np.full((4, 3), 2.0)), tensor(np.zeros(4))
    F.linear(x, bias=b, weight=w).sum().backward()
    np.testing.assert_array_equal(grad(w), np.full((4, 3), 2.0))
    np.testing.assert_array_equal(grad(b), np.full(4, 2.0))
    y = F.linear(x=x, weight=w)
    assert y.requires_grad
    z = F.batch_norm(x, training=True, bias=tensor(np.ones(3)))  # gaps take the defaults
    np.testing.assert_allclose(z.numpy(), np.ones((2, 3)))


def test_a_tensor_and_plain_arrays_mix():
    x = tensor([1.0, 2.0])
    plain = xpnet.asarray(np.array([3.0, 4.0]))
    for y in (x * plain, F.mse_loss(x, plain)):
        assert isinstance(y, Tensor)
        assert y.requires_grad


def test_a_gradient_that_nobody_needs_is_not_made():
    made = []

    @differentiable
    def product(a, b):
        def note(name, gradient):
            made.append(name)
            return gradient

        return a * b, lambda dy: (lambda out: note("a", dy * b), lambda out: note("b", dy * a))

    a, b = tensor([2.0]), tensor([3.0])
    product(a, b.detach()).backward()
    assert made == ["a"]
    product(a.data, b).backward()
    assert made == ["a", "b"]


def test_a_kernel_is_told_whether_it_is_recorded(backend):
    seen = []

    @differentiable
    def asking(x):
        raise AssertionError("the kernel runs")

    @asking.kernel(str(backend))
    def kernel(x, recorded):
        seen.append(recorded)
        return x * 1, lambda dy: dy

    x = tensor([1.0])
    asking(x)
    asking(x.data)
    asking(x.detach())
    with xpnet.no_grad():
        asking(x)
    assert seen == [True, False, False, False]


def test_the_pullback_of_a_loss_gets_the_number_one_where_backward_begins():
    seen = []

    @differentiable(loss=True)
    def total(x):
        def pullback(dy):
            seen.append(dy)
            return namespace(x).ones_like(x) * dy

        return namespace(x).sum(x), pullback

    x = tensor([1.0, 2.0])
    total(x).backward()
    assert seen == [1.0]
    assert type(seen.pop()) is float
    total(x).backward(xpnet.asarray(np.array(2.0)))
    (total(x) * 3).backward()
    assert [float(dy) for dy in seen] == [2.0, 3.0]
    assert not any(type(dy) is float for dy in seen)
    np.testing.assert_array_equal(grad(x), [6.0, 6.0])
    y = total(x)
    y.retain_grad()
    y.backward()
    assert float(y.grad) == 1


@pytest.mark.parametrize("pullback", [None, (lambda dy: dy,)])
def test_what_is_no_pullback_is_refused_at_once(pullback):
    wrong = differentiable(lambda x: (x * 2, pullback))
    with pytest.raises(TypeError, match=r"<lambda>: the pullback must be a function of dy, got"):
        wrong(tensor([1.0]))
    assert wrong(tensor([1.0]).detach()).item() == 2


def test_a_gradient_of_another_shape_is_refused_within_the_graph():
    bad = differentiable(lambda a, b: (a * b, lambda dy: (dy * b, lambda out: (dy * a)[:1])))
    a, b = tensor([1.0, 2.0]), tensor([3.0, 4.0])
    message = r"gradient of shape \(1,\) reached a tensor of shape \(2,\): the pullback of <lambda> .* for b"
    with pytest.raises(ValueError, match=message):
        bad(a, b * 1).sum().backward()
    with pytest.raises(ValueError, match=message):
        bad(a, b).sum().backward()


def test_a_gradient_of_another_dtype_is_refused_within_the_graph():
    """At a leaf, too, and wherever it would spread."""

    @differentiable
    def narrow(x):
        xp = namespace(x)
        return x * 2, lambda dy: xp.astype(dy, xp.float32)

    x = tensor([1.0, 2.0])
    for inner in (x, x * 1):
        with pytest.raises(
            TypeError, match=r"dtype .*float32 reached a tensor of dtype .*float64, x of narrow"
        ):
            narrow(inner).sum().backward()


@pytest.mark.parametrize("name", ["sign", "floor", "ceil", "trunc", "round"])
def test_steps_have_derivative_0_everywhere(name):
    """Also where the value, or the gradient of it, is not finite."""
    x = tensor([-np.inf, -1.5, 0.0, 2.0, np.inf, np.nan])
    for dy in (1.0, np.inf, np.nan):
        x.grad = None
        getattr(xpnet.array_api, name)(x).backward(xpnet.asarray(np.full(6, dy)))
        np.testing.assert_array_equal(grad(x), np.zeros(6))


def test_an_array_on_the_left_leaves_the_operation_to_the_tensor(backend):
    if backend not in ("numpy", "cupy"):
        pytest.skip("arrays of other backends refuse operands that they do not know")
    x = tensor([1.0, 2.0])
    y = xpnet.asarray(np.array([3.0, 4.0])) - x
    assert isinstance(y, Tensor)
    y.sum().backward()
    np.testing.assert_array_equal(grad(x), [-1.0, -1.0])


# ---- inference keeps nothing ------------------------------------------------------------------------------


def test_no_grad_records_nothing():
    x = tensor([1.0])
    with xpnet.no_grad():
        hidden = x * 2
        watch = weakref.ref(hidden)
        y = hidden * 3
        del hidden
    assert watch() is None
    assert not y.requires_grad
    with pytest.raises(RuntimeError, match="no_grad"):
        y.backward()


def test_no_grad_ends_with_the_block_even_after_an_error():
    x = tensor([1.0])
    with pytest.raises(KeyError), xpnet.no_grad():
        raise KeyError
    assert (x * 2).requires_grad


def test_no_grad_holds_for_one_thread_only():
    x, seen = tensor([1.0]), []
    with xpnet.no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * 2).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]


def test_without_gradients_intermediates_are_freed_at_once():
    x = tensor([1.0], requires_grad=False)
    hidden = x * 2
    watch = weakref.ref(hidden)
    y = hidden * 3
    del hidden
    assert watch() is None
    assert not y.requires_grad


def test_backward_frees_the_graph():
    x = tensor([1.0, 2.0])
    hidden = x * 2
    watch = weakref.ref(hidden)
    loss = (hidden * hidden).sum()
    del hidden
    assert watch() is not None
    gc.disable()
    try:
        loss.backward()
        assert watch() is None  # by reference counts alone
    finally:
        gc.enable()


def test_a_second_backward_needs_retain_graph():
    x = tensor([1.0, 2.0])
    loss = (x * x).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    np.testing.assert_allclose(grad(x), 2 * 2 * x.numpy())
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        loss.backward()


def test_a_freed_branch_is_noticed():
    x = tensor([1.0])
    trunk = x * 2
    one, two = (trunk * 3).sum(), (trunk * 4).sum()
    one.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        two.backward()


# ---- errors -----------------------------------------------------------------------------------------------


def test_backward_without_a_graph():
    with pytest.raises(RuntimeError, match="no input required a gradient"):
        tensor([1.0], requires_grad=False).backward()


def test_backward_of_many_elements_needs_a_gradient():
    with pytest.raises(RuntimeError, match=r"one element.*\.sum\(\)"):
        (tensor([1.0, 2.0]) * 2).backward()


def test_backward_with_a_gradient_of_the_wrong_shape():
    with pytest.raises(ValueError, match=r"\(3,\).*\(2,\)"):
        (tensor([1.0, 2.0]) * 2).backward(xpnet.asarray(np.ones(3)))


def test_an_argument_without_a_gradient_says_so():
    scores = tensor([[1.0, 2.0]])
    signs = tensor([[1.0, -1.0]])
    with pytest.raises(RuntimeError, match=r"target of perceptron_loss has no gradient.*detach"):
        F.perceptron_loss(scores, signs).backward()
    F.perceptron_loss(scores, signs.detach()).backward()


def test_an_index_error_inside_a_pullback_is_not_hidden():
    @differentiable
    def broken(x):
        return x * 1, lambda dy: [dy][5]

    with pytest.raises(IndexError, match="list index"):
        broken(tensor([1.0])).backward()


def test_a_gradient_of_another_dtype_is_refused():
    narrow = xpnet.tensor(np.ones(2, np.float32), requires_grad=True)
    wide = xpnet.asarray(np.ones(2))
    with pytest.raises(TypeError, match=r"float64 reached a tensor of dtype .*float32.*asarray"):
        (narrow * wide).sum().backward()


@pytest.mark.parametrize(
    "f",
    [
        lambda: tensor(np.ones((2, 3))) + tensor(np.ones((2, 4))),
        lambda: tensor(np.ones((2, 3))) @ tensor(np.ones((2, 3))),
        lambda: tensor(np.ones((2, 3))).reshape(4, 2),
    ],
)
def test_shapes_that_do_not_fit(f):
    with pytest.raises((ValueError, RuntimeError)):
        f()


def test_something_that_is_no_array():
    with pytest.raises(TypeError, match=r"expected an array or a Tensor, got str.*xpnet\.asarray"):
        F.relu("a")


# ---- Tensor as an array -----------------------------------------------------------------------------------


def test_attributes():
    x = xpnet.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    assert (tuple(x.shape), x.ndim, x.size, len(x)) == ((1, 3), 2, 3, 1)
    assert "float32" in str(x.dtype)
    assert "requires_grad=True" in repr(x)
    assert isinstance(x.numpy(), np.ndarray)
    assert x.detach().data is x.data
    assert not x.detach().requires_grad


def test_one_element_becomes_a_python_number():
    x = tensor([[2.5]])
    assert type(x.item()) is float
    assert float(x) == 2.5
    assert bool(x)
    assert not bool(tensor(0.0))


def test_comparisons_give_tensors_without_a_gradient():
    x = tensor([1.0, 2.0, 3.0])
    for found, expected in (
        (x > 2, [False, False, True]),
        (x >= tensor([1.0, 3.0, 3.0]), [True, False, True]),
        (x < 2, [True, False, False]),
        (x <= 2, [True, True, False]),
    ):
        assert isinstance(found, Tensor)
        assert not found.requires_grad
        assert "bool" in str(found.dtype)
        np.testing.assert_array_equal(to_numpy(found), expected)


def test_a_list_of_floats_is_float32_and_integers_stay():
    assert "float32" in str(xpnet.tensor([1.0]).dtype)
    assert "int64" in str(xpnet.tensor([1]).dtype)
    assert "float64" in str(xpnet.tensor([1.0], dtype="float64").dtype)


def test_ties_of_max_share_the_gradient():
    x = tensor([[1.0, 3.0, 3.0]])
    x.max().backward()
    np.testing.assert_array_equal(grad(x), [[0.0, 0.5, 0.5]])


def test_derivatives_at_the_kinks():
    x = tensor([0.0])
    for f, expected in ((abs, 0.0), (F.relu, 0.0), (lambda x: operators.maximum(x, 0), 0.5)):
        x.grad = None
        f(x).backward()
        assert grad(x)[0] == expected


def test_an_index_may_be_a_tensor_or_an_array_of_any_backend():
    x = tensor(np.arange(12.0).reshape(4, 3))
    host = np.array([3, 0, 3])
    for index in (host, xpnet.asarray(host), xpnet.tensor(host), [3, 0, 3]):
        x.grad = None
        y = x[index]
        np.testing.assert_array_equal(y.numpy(), x.numpy()[host])
        y.sum().backward()
        np.testing.assert_array_equal(grad(x), [[1.0] * 3, [0.0] * 3, [0.0] * 3, [2.0] * 3])
    np.testing.assert_array_equal(x[xpnet.tensor(host), 1].numpy(), x.numpy()[host, 1])
    np.testing.assert_array_equal(x[np.int64(2)].numpy(), x.numpy()[2])


# ---- gradcheck --------------------------------------------------------------------------------------------


def test_gradcheck_finds_a_wrong_gradient():
    @differentiable
    def wrong(x):
        return x * x, lambda dy: 2.001 * dy * x

    with pytest.raises(AssertionError, match="input 0, element"):
        xpnet.gradcheck(wrong, tensor([1.0, 2.0]))


def test_gradcheck_finds_a_gradient_swapped_between_elements():
    @differentiable
    def swapped(x):
        return x * x, lambda dy: namespace(x).flip(2 * dy * x)

    with pytest.raises(AssertionError):
        xpnet.gradcheck(swapped, tensor([1.0, 1.0]))


def test_gradcheck_finds_a_missing_gradient():
    @differentiable
    def missing(x):
        return x * x, lambda dy: None

    with pytest.raises(AssertionError):
        xpnet.gradcheck(missing, tensor([1.0]))


def test_gradcheck_needs_float64():
    with pytest.raises(TypeError, match="float64"):
        xpnet.gradcheck(lambda x: x * x, xpnet.tensor([1.0], requires_grad=True))


# ---- any shape --------------------------------------------------------------------------------------------


BINARY = {
    operators.add: np.add,
    operators.subtract: np.subtract,
    operators.multiply: np.multiply,
    operators.divide: np.divide,
    operators.maximum: np.maximum,
}


@pytest.mark.parametrize("op", BINARY, ids=lambda op: op.__name__)
@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3), data=st.data())
def test_broadcasting(op, shapes, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    a, b = (np.asarray(rng.normal(size=s)) + 3 for s in shapes.input_shapes)
    x, y = tensor(a), tensor(b)
    z = op(x, y)
    np.testing.assert_allclose(z.numpy(), BINARY[op](a, b), rtol=1e-14)
    assert xpnet.gradcheck(op, x, y)


@given(shapes=hnp.mutually_broadcastable_shapes(signature="(m?,k),(k,n?)->(m?,n?)", max_dims=2, max_side=3))
def test_matmul_of_any_shapes(shapes):
    rng = np.random.default_rng(0)
    a, b = (tensor(rng.normal(size=s)) for s in shapes.input_shapes)
    np.testing.assert_allclose((a @ b).numpy(), a.numpy() @ b.numpy(), rtol=1e-12)
    assert xpnet.gradcheck(operators.matmul, a, b)


@given(
    data=st.data(),
    shape=hnp.array_shapes(max_dims=4, max_side=4),
    keepdims=st.booleans(),
    name=st.sampled_from(["sum", "mean", "max", "min"]),
)
def test_reductions_over_any_axes(data, shape, keepdims, name):
    axes = data.draw(st.none() | hnp.valid_tuple_axes(len(shape), min_size=1))
    x = tensor(np.random.default_rng(0).normal(size=shape))
    y = getattr(x, name)(axis=axes, keepdims=keepdims)
    expected = getattr(np, name)(x.numpy(), axis=axes, keepdims=keepdims)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12)
    y.backward(xpnet.asarray(np.ones(y.shape)))
    # each output element hands out a gradient of 1, except that the mean of n elements hands out 1 too
    np.testing.assert_allclose(grad(x).sum(), y.size if name != "sum" else x.size, rtol=1e-12)


@given(data=st.data(), shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
def test_basic_indices(data, shape):
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
    x = tensor(np.random.default_rng(0).normal(size=shape))
    parts = index if isinstance(index, tuple) else (index,)
    if xpnet.get_backend() == "torch" and any(isinstance(i, slice) and (i.step or 1) < 0 for i in parts):
        return  # torch has no negative steps
    y = x[index]
    np.testing.assert_array_equal(y.numpy(), x.numpy()[index])
    if y.size:
        assert xpnet.gradcheck(lambda x: x[index], x)


@given(data=st.data(), shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
def test_integer_array_indices_add_up(data, shape):
    index = data.draw(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=4)))
    x = tensor(np.random.default_rng(0).normal(size=shape))
    y = x[index]
    np.testing.assert_array_equal(y.numpy(), x.numpy()[index])
    y.backward(xpnet.asarray(np.ones(y.shape)))
    expected = np.zeros(shape)
    np.add.at(expected, index, 1.0)
    np.testing.assert_array_equal(grad(x), expected)


def test_equality_is_of_elements_and_tensors_are_keys():
    a, b = xpnet.tensor([1.0, 2.0]), xpnet.tensor([1.0, 3.0])
    np.testing.assert_array_equal(xpnet.to_numpy(a == b), [True, False])
    np.testing.assert_array_equal(xpnet.to_numpy(a != 2.0), [True, False])
    assert {a: "a", b: "b"}[a] == "a"


def test_leaves_never_share_a_gradient():
    @differentiable
    def both(a, b):  # one array for two inputs
        return a + b, lambda dy: (lambda g: (g, g))(dy * 2)

    @differentiable
    def same(a):  # dy itself
        return a + 0, lambda dy: dy

    @differentiable
    def turned(a):  # a view
        xp = namespace(a)
        return xp.permute_dims(a, (1, 0)), lambda dy: xp.permute_dims(dy, (1, 0))

    dy = xpnet.asarray([[1.0, 2.0], [3.0, 4.0]])
    for op, count in ((both, 2), (same, 1), (turned, 1)):
        leaves = [xpnet.tensor([[5.0, 6.0], [7.0, 8.0]], requires_grad=True) for _ in range(count)]
        op(*leaves).backward(dy)
        expected = [xpnet.to_numpy(leaf.grad).copy() for leaf in leaves]
        leaves[0].grad[...] = 100.0
        assert xpnet.to_numpy(dy).tolist() == [[1, 2], [3, 4]]
        for leaf, value in zip(leaves[1:], expected[1:], strict=True):
            assert (xpnet.to_numpy(leaf.grad) == value).all()


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=9
    ),
    keep=st.booleans(),
)
def test_sums_and_views_in_any_graph_give_each_leaf_an_array_of_its_own(steps, keep):
    """All is linear in the leaves: the multiples of each are the oracle."""
    leaves = [tensor(np.arange(4.0) + k) for k in (1, 2, 3)]
    values, multiples = list(leaves), list(np.eye(3))
    for kind, a, b in steps:
        x, y, m, n = (many[k % len(many)] for many in (values, multiples) for k in (a, b))
        made = [x + y, x.reshape(2, 2).reshape(4), x * 1.0 + y, x - y, x * 2.0 + leaves[b % 3]]
        values.append(made[kind])
        multiples.append([m + n, m, m + n, m - n, 2 * m + np.eye(3)[b % 3]][kind])
    dy = np.array([1.0, -2.0, 3.0, 4.0])
    if not any(multiples[-1]):
        return
    for times in (1, 2):
        values[-1].backward(xpnet.asarray(dy), retain_graph=times == 1 or keep)
        for leaf, m in zip(leaves, multiples[-1], strict=True):
            expected = times * m * dy if leaf.grad is not None else np.zeros(4)
            np.testing.assert_array_equal(expected if leaf.grad is None else grad(leaf), expected)
            assert leaf.grad is not None or not m
    np.testing.assert_array_equal(dy, [1.0, -2.0, 3.0, 4.0])


@pytest.mark.parametrize(
    "sum_of",
    [lambda x, u, v: x + u, lambda x, u, v: (x + 1.0) + u, lambda x, u, v: u + (v + x)],
    ids=["a leaf and an input", "through a sum", "through two"],
)
def test_what_waits_is_not_what_a_leaf_adds_to(sum_of):
    """x has the gradient of the sum and then adds another to it, before u comes to its own."""
    x, z = tensor([1.0, 2.0]), tensor([3.0, 4.0])
    u, v = z * 5.0, z * 0.0
    w = x * 3.0  # comes after the sum in the walk, before u
    (sum_of(x, u, v) * 1.0 + w).sum().backward()  # the product's is an array that nobody else has
    np.testing.assert_array_equal(grad(x), [4.0, 4.0])
    np.testing.assert_array_equal(grad(z), [5.0, 5.0])


@pytest.mark.host
def test_a_sum_hands_on_the_only_array_of_a_gradient():
    """dy of a sum is its leaf's without a copy, where nobody else has it."""
    arrays = []

    @differentiable
    def watched(x):
        def pullback(dy):
            arrays.append(dy * 1.0)
            return arrays[-1]

        return x * 1.0, pullback

    x, b = tensor(np.ones((3, 2))), tensor(np.ones(2))
    watched(x + b).sum().backward()
    assert x.grad is arrays[0]
    y = tensor(np.ones((3, 2)))
    watched(y + tensor(np.ones((3, 2)))).sum().backward()
    assert y.grad is not arrays[1]


def test_a_retained_graph_adds_its_gradient_again():
    # the pullback may hand out an array that it made earlier
    logits = np.random.default_rng(0).normal(size=(256, 200)).astype(np.float32)  # enough for a fused kernel
    z = xpnet.tensor(logits, requires_grad=True)
    loss = F.cross_entropy(z, xpnet.asarray(np.arange(256) % 200))
    for times in (1, 2, 3):
        loss.backward(retain_graph=True)
        if times == 1:
            once = xpnet.to_numpy(z.grad).copy()
        np.testing.assert_allclose(xpnet.to_numpy(z.grad), times * once, rtol=1e-6)


def test_on_complete_names_each_leaf_once_it_has_its_whole_gradient():
    a, b, c, lonely = (tensor([1.0, 2.0]) for _ in range(4))
    seen = []

    def complete(leaf):
        seen.append((leaf, grad(leaf).copy()))

    loss = ((a * b + a) * c).sum() + (c * c).sum()
    with on_complete(complete):
        loss.backward()
    order = [
        next(name for name, t in zip("abcl", (a, b, c, lonely), strict=True) if t is leaf) for leaf, _ in seen
    ]
    assert sorted(order) == ["a", "b", "c"]
    assert order[0] == "c"  # used by the last ops alone
    for leaf, value in seen:
        np.testing.assert_array_equal(value, grad(leaf))
    (a * a).sum().backward()
    assert len(seen) == 3  # the block has ended


def test_a_walk_that_failed_leaves_nothing_behind():
    """A pullback may raise, or a user interrupt: another walk over the kept graph begins anew."""
    broken = [True]

    @differentiable
    def triple(x):
        def pullback(dy):
            if broken[0]:
                raise KeyboardInterrupt
            return dy * 3

        return x * 3, pullback

    x = tensor([1.0, 2.0])
    h = x * 2
    k = h * 5  # waits with a gradient while the walk fails
    y = (triple(h) + k).sum()
    with pytest.raises(KeyboardInterrupt):
        y.backward(retain_graph=True)
    broken[0] = False
    x.grad = None
    y.backward()
    np.testing.assert_array_equal(grad(x), [16.0, 16.0])


@pytest.mark.parametrize(("returned", "kind"), [(2.0, "float"), ([1.0], "list")])
def test_a_pullback_that_gives_no_array_is_refused(returned, kind):
    @differentiable
    def wrong(x):
        return x * 2, lambda dy: returned

    with pytest.raises(TypeError, match=f"the pullback of wrong gives a {kind} for x, expected an array"):
        wrong(tensor([1.0])).backward()


def test_an_op_without_arguments():
    @differentiable
    def one():
        return np.ones(1), lambda dy: ()

    np.testing.assert_array_equal(one(), [1.0])


def test_on_complete_counts_an_op_on_two_paths_once():
    x, seen = tensor([1.0, 2.0]), []
    y = x * 2
    with on_complete(seen.append):
        (y * y + y).sum().backward()
    assert seen == [x]


@pytest.mark.host
def test_a_numpy_scalar_beside_a_tensor_without_axes_is_a_number():
    @differentiable
    def scale(x, factor):
        return x * factor, lambda dy: (dy * factor, None)

    x = xpnet.tensor(np.float32(2), requires_grad=True)
    assert scale(x, np.float64(3)).dtype == np.float32
