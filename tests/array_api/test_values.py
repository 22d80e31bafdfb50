"""The namespace's functions: values, float32, and what is refused."""

import numpy as np
import pytest

import xpnet
from tests.array_api.functions import FUNCTIONS, skip_refused_scans
from xpnet import to_numpy

xp = xpnet.array_api
STATED = [case for case in FUNCTIONS if case.oracle]
every_case = pytest.mark.parametrize("case", STATED, ids=lambda case: case.name)


@every_case
@pytest.mark.parametrize("recorded", [False, True])
def test_values_equal_numpy(case, recorded, backend):
    """Recorded values go through ops, the others are the backend's own."""
    skip_refused_scans(case, backend)
    arrays = case.inputs()
    y = case.function(*(xpnet.tensor(a, requires_grad=recorded) for a in arrays))
    expected = np.asarray(case.oracle(*arrays))
    assert isinstance(y, xpnet.Tensor)
    assert y.shape == expected.shape
    np.testing.assert_allclose(to_numpy(y), expected, rtol=1e-11, atol=1e-12)


def test_a_tensor_is_an_array_of_the_standard():
    x = xpnet.tensor([1.0, 2.0])
    assert x.__array_namespace__() is xp
    assert xpnet.namespace(x) is xp
    assert xpnet.namespace(x, x.data) is xp
    with pytest.raises(ValueError, match=r"2024\.12"):
        x.__array_namespace__(api_version="2031.12")


def test_every_function_says_its_derivative():
    for name in (
        *xp.FUNCTIONS,
        *(f"linalg.{n}" for n in vars(xp.linalg)),
        *(f"fft.{n}" for n in vars(xp.fft)),
    ):
        function = xp
        for part in name.split("."):
            function = getattr(function, part)
        assert "Derivative: " in function.__doc__ or "PyTorch's name" in function.__doc__, name


@pytest.mark.parametrize("name", ["argmax", "argsort", "isnan"])
def test_what_has_no_derivative_is_named(name):
    x = xpnet.tensor([1.0, 3.0], requires_grad=True)
    y = getattr(xp, name)(x)
    assert not y.requires_grad
    with pytest.raises(RuntimeError, match=rf"backward\(\) on a tensor without a graph: {name} of"):
        y.backward()
    with pytest.raises(TypeError, match=rf"grad: .*{name} of"):
        xpnet.grad(lambda x: getattr(xp, name)(x[:1]))(x)


@pytest.mark.parametrize("name", ["unique_values", "unique_all", "unique_counts", "unique_inverse"])
def test_shapes_that_depend_on_values_are_refused_by_name(name, backend):
    x = xpnet.tensor([1.0, 3.0], requires_grad=True)
    with pytest.raises(TypeError, match=f"{name}: x requires a gradient"):
        getattr(xp, name)(x)
    if backend != "torch" or name != "unique_all":  # which PyTorch does not have
        assert getattr(xp, name)(x.detach()) is not None


def test_vectors_that_x_does_not_determine_are_refused():
    x = xpnet.tensor(np.ones((3, 2)), requires_grad=True)
    with pytest.raises(ValueError, match="full_matrices=False"):
        xp.linalg.svd(x)
    with pytest.raises(ValueError, match="reduced"):
        xp.linalg.qr(x, mode="complete")


def test_python_floats_become_float32():
    for made in (
        xp.asarray(1.0),
        xp.zeros(2),
        xp.linspace(0, 1, 3),
        xp.full((2,), 0.5),
        xp.eye(2),
        xp.arange(2.0),
    ):
        assert "float32" in str(made.dtype)


def test_operators_of_masks_and_integers():
    n = xpnet.tensor(np.array([5, 6, 7]))
    assert ((n > 5) & (n < 7)).tolist() == [False, True, False]
    assert ((n > 6) | ~(n > 5)).tolist() == [True, False, True]
    assert (n % 4).tolist() == [1, 2, 3]
    assert (n // 2 << 1).tolist() == [4, 6, 6]
    n |= 8
    assert n.tolist() == [13, 14, 15]


def test_methods_in_pytorchs_spelling():
    x = xpnet.tensor(np.array([[1.0, 4.0], [2.0, 3.0]]))
    assert x.var(dim=1).tolist() == [4.5, 0.5]
    assert x.clamp(max=3.0).tolist() == [[1.0, 3.0], [2.0, 3.0]]
    assert x.gather(1, xpnet.asarray(np.array([[1], [0]]))).tolist() == [[4.0], [2.0]]
    assert (x.argmax(dim=1) == xpnet.asarray(np.array([1, 1]))).all().item()
    assert x.expand(2, -1, -1).shape == (2, 2, 2)
