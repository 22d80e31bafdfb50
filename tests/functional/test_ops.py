"""The checks that every op of the table in `cases` gets."""

import numpy as np
import pytest

import xpnet
from tests.cases import CASES, REDUCTIONS, SHAPES, Case
from xpnet import Tensor, to_numpy
from xpnet.core.places import where

pytestmark = pytest.mark.filterwarnings("error")

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def tensors(arrays, dtype="float64"):
    return [xpnet.tensor(a, requires_grad=True, dtype=dtype) for a in arrays]


def weights(y) -> np.ndarray:
    """A gradient of the output that no symmetry hides."""
    return np.cos(1.0 + np.arange(y.size, dtype=np.float64)).reshape(y.shape)


def gradients(case: Case, inputs: list[Tensor], retain_graph: bool = False):
    """The output, and the gradient of each input."""
    y = case.function(*inputs)
    y.backward(xpnet.asarray(weights(y), y.dtype), retain_graph=retain_graph)
    return y, [to_numpy(x.grad) for x in inputs]


@every_case
def test_forward_equals_numpy(case):
    arrays = case.inputs()
    y = case.function(*tensors(arrays))
    expected = np.asarray(case.oracle(*arrays))
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-14)


@every_case
def test_gradient_equals_central_differences(case):
    assert xpnet.gradcheck(case.function, *tensors(case.inputs()))


@every_case
def test_float32_stays_float32(case):
    arrays = [a.astype(np.float32) for a in case.inputs()]
    inputs = tensors(arrays, "float32")
    y, found = gradients(case, inputs)
    assert "float32" in str(y.dtype)
    assert all(x.grad.dtype == x.data.dtype and x.grad.shape == x.data.shape for x in inputs)
    np.testing.assert_allclose(y.numpy(), case.oracle(*arrays), rtol=1e-5, atol=1e-6)
    _, expected = gradients(case, tensors(arrays))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@every_case
@pytest.mark.host
def test_float32_needs_no_float64_on_the_way(case):
    """A device without float64 refuses every float64 array, temporaries included."""
    with xpnet.use_backend("array_api_strict", "no_float64"):
        inputs = tensors([a.astype(np.float32) for a in case.inputs()], "float32")
        y = case.function(*inputs)
        y.backward(xpnet.asarray(weights(y).astype(np.float32)))
    assert all("float32" in str(x.grad.dtype) for x in inputs)


@every_case
def test_float16_keeps_its_dtype_and_accuracy(case, backend):
    if backend == "array_api_strict":
        pytest.skip("the standard has no float16")
    arrays = [a.astype(np.float16) for a in case.inputs()]
    inputs = tensors(arrays, "float16")
    y, found = gradients(case, inputs)
    assert "float16" in str(y.dtype)
    assert all(x.grad.dtype == x.data.dtype for x in inputs)
    wide = [a.astype(np.float64) for a in arrays]
    np.testing.assert_allclose(y.numpy(), case.oracle(*wide), rtol=5e-3, atol=5e-3)
    _, expected = gradients(case, tensors(wide))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-2)


@every_case
def test_arrays_give_an_array_and_tensors_a_tensor(case):
    if case in REDUCTIONS + SHAPES:
        pytest.skip("a method of Tensor")
    inputs = tensors(case.inputs())
    y = case.function(*[x.data for x in inputs])
    assert not isinstance(y, Tensor)
    np.testing.assert_array_equal(to_numpy(y), case.function(*inputs).numpy())


@every_case
def test_result_and_gradients_stay_on_the_device(case):
    inputs = tensors(case.inputs())
    y = case.function(*inputs)
    assert where(y.data) == where(inputs[0].data)
    y.backward(xpnet.asarray(weights(y)))
    assert all(where(x.grad) == where(x.data) for x in inputs)


@every_case
def test_inputs_are_left_alone(case):
    arrays = case.inputs()
    inputs = tensors([a.copy() for a in arrays])
    gradients(case, inputs)
    for x, a in zip(inputs, arrays, strict=True):
        np.testing.assert_array_equal(x.numpy(), a)


@every_case
def test_backward_twice_doubles_the_gradient(case):
    inputs = tensors(case.inputs())
    y, once = gradients(case, inputs, retain_graph=True)
    once = [g.copy() for g in once]
    dy = xpnet.asarray(weights(y))
    y.backward(dy)
    for x, g in zip(inputs, once, strict=True):
        np.testing.assert_allclose(to_numpy(x.grad), 2 * g, rtol=1e-14)
    np.testing.assert_array_equal(to_numpy(dy), weights(y))


@every_case
def test_only_some_inputs_need_a_gradient(case):
    arrays = case.inputs()
    _, expected = gradients(case, tensors(arrays))
    for i in range(len(arrays)):
        inputs = [xpnet.tensor(a, requires_grad=i == j) for j, a in enumerate(arrays)]
        y = case.function(*inputs)
        y.backward(xpnet.asarray(weights(y)))
        np.testing.assert_allclose(to_numpy(inputs[i].grad), expected[i], rtol=1e-12)
        assert all(x.grad is None for j, x in enumerate(inputs) if j != i)


@every_case
@pytest.mark.parametrize("layout", ["transposed", "strided"])
def test_memory_layout_does_not_matter(case, layout):
    arrays = case.inputs()
    inputs = [Tensor(LAYOUTS[layout](a), requires_grad=True) for a in arrays]
    y, found = gradients(case, inputs)
    y_contiguous, expected = gradients(case, tensors(arrays))
    np.testing.assert_allclose(y.numpy(), y_contiguous.numpy(), rtol=1e-12)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def transposed(a: np.ndarray):
    x = xpnet.asarray(np.ascontiguousarray(a.T))
    return xpnet.core.places.namespace(x).permute_dims(x, tuple(range(a.ndim))[::-1])


def strided(a: np.ndarray):
    return xpnet.asarray(np.repeat(a, 2, axis=-1))[..., ::2]


LAYOUTS = {"transposed": transposed, "strided": strided}


@every_case
@pytest.mark.parametrize("rows", [0, 1])
def test_batch_of_none_and_of_one(case, rows):
    if not case.batched or rows < case.smallest:
        pytest.skip("no batch axis, or not defined for so few rows")
    arrays = case.inputs(rows)
    inputs = tensors(arrays)
    y, found = gradients(case, inputs)
    expected = np.asarray(case.oracle(*arrays))
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-14)
    assert [g.shape for g in found] == [a.shape for a in arrays]
    assert all(np.isfinite(g).all() for g in found)


@every_case
def test_nan_is_not_hidden(case):
    arrays = case.inputs()
    arrays[0].flat[0] = np.nan
    with np.errstate(invalid="ignore"):
        y, expected = case.function(*tensors(arrays)).numpy(), case.oracle(*arrays)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))


@pytest.mark.parametrize("name", ["sum", "mean"])
@pytest.mark.parametrize("axis", [0, -1, None])
def test_a_0d_array_may_be_reduced(name, axis):
    x = xpnet.tensor(np.float64(2.0).reshape(()), requires_grad=True)
    y = getattr(x, name)(axis)
    y.backward()
    assert (y.item(), float(x.grad)) == (2.0, 1.0)
