"""The registry of fused kernels."""

import os
import subprocess
import sys

import pytest

import xpnet
from xpnet import dispatch
from xpnet.autograd import differentiable
from xpnet.backend import namespace


@pytest.fixture
def double(backend):
    """An op with a kernel, both of which say which of them ran."""
    ran = []

    @differentiable
    def double_for_test(x, scale=2.0):
        """Scale."""
        ran.append("body")
        return x * scale, lambda dy: dy * scale

    @dispatch.fused("double_for_test", backend=str(backend))
    def kernel(x, scale=2.0):
        if scale == 0:
            return NotImplemented
        ran.append("kernel")
        return namespace(x).add(x, x), lambda dy: dy * scale

    yield double_for_test, ran
    dispatch._KERNELS["double_for_test"].clear()


def test_the_kernel_runs_for_its_backend(double, backend):
    op, ran = double
    x = xpnet.tensor([1.0], requires_grad=True)
    op(x).backward()
    op(x=xpnet.asarray([1.0]))
    assert ran == ["kernel", "kernel"]
    assert xpnet.to_numpy(x.grad) == 2
    assert dispatch.registered()["double_for_test"] == [str(backend)]


def test_a_kernel_may_decline(double):
    op, ran = double
    assert op(xpnet.tensor([1.0]), 0.0).item() == 0
    assert ran == ["body"]


def test_the_body_runs_on_other_backends(double, backend):
    op, ran = double
    with xpnet.use_backend("array_api_strict" if backend == "numpy" else "numpy"):
        op(xpnet.tensor([1.0]))
    assert ran == ["body"]


def test_the_switch_for_a_block(double):
    op, ran = double
    with xpnet.fused(False):
        assert not dispatch.is_enabled()
        op(xpnet.tensor([1.0]))
    with pytest.raises(KeyError), xpnet.fused(False):
        raise KeyError
    op(xpnet.tensor([1.0]))
    assert ran == ["body", "kernel"]


def test_the_switch_as_a_call(double):
    op, ran = double
    xpnet.fused(False)
    op(xpnet.tensor([1.0]))
    xpnet.fused(True)
    op(xpnet.tensor([1.0]))
    assert ran == ["body", "kernel"]


def test_an_op_keeps_its_name_and_documentation(double):
    op, _ = double
    assert op.__name__ == "double_for_test"
    assert op.__doc__ == "Scale."


@pytest.mark.host
@pytest.mark.parametrize(("value", "expected"), [("0", "False"), ("1", "True")])
def test_the_environment_variable(value, expected):
    code = "from xpnet import dispatch; print(dispatch.is_enabled())"
    environment = {**os.environ, "XPNET_FUSED": value}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == expected


def test_functions_that_are_not_differentiable_have_kernels_too(backend):
    @dispatch.fusable
    def plain_for_test(x):
        return "body"

    @dispatch.fused("plain_for_test", backend=str(backend))
    def kernel(x):
        return NotImplemented if x.shape == (1,) else "kernel"

    try:
        assert plain_for_test(xpnet.asarray([1.0, 2.0])) == "kernel"
        assert plain_for_test(x=xpnet.asarray([1.0, 2.0])) == "kernel"
        assert plain_for_test(xpnet.asarray([1.0])) == "body"
    finally:
        dispatch._KERNELS["plain_for_test"].clear()
