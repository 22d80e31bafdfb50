"""The registry of fused kernels."""

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import xpnet
from xpnet.core import registry as dispatch
from xpnet.core.op import differentiable
from xpnet.core.places import namespace


@pytest.fixture
def double(backend):
    """An op with a kernel, both of which say which of them ran."""
    ran = []

    @differentiable
    def double_for_test(x, scale=2.0):
        """Scale."""
        ran.append("body")
        return x * scale, lambda dy: dy * scale

    @double_for_test.kernel(str(backend))
    def kernel(x, scale=2.0):
        if scale == 0:
            return NotImplemented
        ran.append("kernel")
        return namespace(x).add(x, x), lambda dy: dy * scale

    return double_for_test, ran


def test_the_kernel_runs_for_its_backend(double, backend):
    op, ran = double
    x = xpnet.tensor([1.0], requires_grad=True)
    op(x).backward()
    op(x=xpnet.asarray([1.0]))
    assert ran == ["kernel", "kernel"]
    assert xpnet.to_numpy(x.grad) == 2
    assert list(op.kernels) == [str(backend)]
    assert str(backend) in dispatch.registered()["double_for_test"]


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


def test_the_switch_is_for_with(double):
    op, ran = double
    with pytest.warns(RuntimeWarning, match="changed nothing"):
        xpnet.fused(False)
    op(xpnet.tensor([1.0]))
    assert ran == ["kernel"]


@pytest.mark.host
def test_a_switch_that_was_used_or_never_made_is_not_warned_about(recwarn):
    with xpnet.fused(False):
        pass
    with pytest.raises(TypeError):
        xpnet.fused()
    gc.collect()
    assert recwarn.list == []


def test_the_switch_is_of_one_thread(double):
    op, ran = double
    with xpnet.fused(False):
        thread = threading.Thread(target=op, args=(xpnet.tensor([1.0]),))
        thread.start()
        thread.join()
        op(xpnet.tensor([1.0]))
    assert ran == ["kernel", "body"]


def test_the_switch_nests_and_is_used_again(double):
    op, ran = double
    off = xpnet.fused(False)
    with off, xpnet.fused(True), off:
        op(xpnet.tensor([1.0]))
    with off:
        op(xpnet.tensor([1.0]))
    op(xpnet.tensor([1.0]))
    assert ran == ["body", "body", "kernel"]


def test_an_op_keeps_its_name_and_documentation(double):
    op, _ = double
    assert op.__name__ == "double_for_test"
    assert op.__doc__ == "Scale."


@pytest.mark.host
@pytest.mark.parametrize(("value", "expected"), [("0", "False"), ("1", "True")])
def test_the_environment_variable(value, expected):
    code = "from xpnet.core import registry; print(registry.is_enabled())"
    environment = {**os.environ, "XPNET_FUSED": value}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == expected


def test_functions_that_are_not_differentiable_have_kernels_too(backend):
    @dispatch.fusable
    def plain_for_test(x):
        return "body"

    @plain_for_test.kernel(str(backend))
    def kernel(x):
        return NotImplemented if x.shape == (1,) else "kernel"

    assert plain_for_test(xpnet.asarray([1.0, 2.0])) == "kernel"
    assert plain_for_test(x=xpnet.asarray([1.0, 2.0])) == "kernel"
    assert plain_for_test(xpnet.asarray([1.0])) == "body"


@pytest.mark.parametrize("name", ["relu", "cross_entropy", "max_pool2d", "batch_norm", "conv2d", "adam_step"])
def test_an_op_of_the_user_with_the_name_of_ours_keeps_its_own_body(name):
    """However large the array: a kernel belongs to its op, not to a name."""

    def body(x):
        return x * 3, lambda dy: dy * 3

    body.__name__ = name
    op = differentiable(body)
    x = xpnet.tensor(np.ones(1 << 16, np.float32), requires_grad=True)
    y = op(x)
    y.sum().backward()
    assert float(xpnet.to_numpy(y.data).sum()) == 3 << 16
    assert float(xpnet.to_numpy(x.grad).sum()) == 3 << 16
    assert op.body is body
    assert op.kernels == {}


@pytest.mark.host
def test_kernels_register_when_the_first_array_of_their_backend_arrives():
    from xpnet.cpu import launch

    if launch.Native is None:
        pytest.skip("the CPU kernels need a C compiler when xpnet is installed")
    code = """
import numpy as np, xpnet
from xpnet import functional as F
assert not F.relu.kernels
F.relu(np.ones(3, np.float32))
assert set(F.relu.kernels) == {"numpy"}, F.relu.kernels
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_kernel_for_no_backend_is_refused(double):
    with pytest.raises(ValueError, match=r"unknown backend 'cuda'.*did you mean 'cupy'"):
        double[0].kernel("cuda")


def test_one_switch_in_two_threads_at_once():
    """What was before the block belongs to the thread, not to the switch."""
    off, entered, go_on, found = xpnet.fused(False), threading.Event(), threading.Event(), []

    def first():
        with off:
            entered.set()
            go_on.wait()
        found.append(dispatch.is_enabled())

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait()
    before = dispatch.is_enabled()
    with xpnet.fused(False), off:
        go_on.set()
        thread.join()
    assert found == [before] == [dispatch.is_enabled()]


def test_dtypes_and_numpy_scalars_are_nowhere(double):
    """A kernel's arguments are asked where they are; those that are no arrays are not."""

    @dispatch.fusable
    def body(x, dtype, factor):
        return "body"

    body.kernel("numpy")(lambda x, dtype, factor: "kernel")
    x = np.ones(2, np.float32)
    assert body(x, x.dtype, np.float32(2)) == "kernel"


def test_a_kernel_never_meets_another_device():
    ran = []

    @differentiable
    def add(x, y):
        return x + y, lambda dy: (dy, dy)

    @add.kernel("array_api_strict")
    def launch(x, y):
        ran.append(1)
        return x, lambda dy: (dy, dy)

    with xpnet.use_backend("array_api_strict"):
        x = xpnet.asarray([1.0])
    with xpnet.use_backend("array_api_strict", "device1"):
        y = xpnet.asarray([1.0])
    with pytest.raises(xpnet.DeviceError, match=r"add: y is on array_api_strict \(device1\)"):
        add(x, y)
    assert ran == []


@pytest.mark.host
def test_a_body_that_mixes_devices_has_its_argument_named():
    @differentiable
    def add(x, y):
        return namespace(x, y).add(x, y), lambda dy: (dy, dy)

    with xpnet.use_backend("array_api_strict"):
        y = xpnet.asarray([1.0])
    with pytest.raises(
        xpnet.DeviceError, match=r"add: y is on array_api_strict .*, the first argument on numpy"
    ):
        add(np.ones(1, np.float32), y)


def test_a_thread_that_comes_while_kernels_load_waits_for_them(monkeypatch):
    begun, go_on, order = threading.Event(), threading.Event(), []

    def load():
        dispatch.load_kernels("slow")  # an op on its way: the loading thread itself goes on
        begun.set()
        assert go_on.wait(10)
        order.append("loaded")

    def ask():
        dispatch.load_kernels("slow")
        order.append("asked")

    monkeypatch.setitem(dispatch.unloaded, "slow", load)
    first = threading.Thread(target=dispatch.load_kernels, args=("slow",))
    first.start()
    assert begun.wait(10)
    second = threading.Thread(target=ask)
    second.start()
    second.join(0.05)
    assert "slow" in dispatch.unloaded  # the quick way is closed, too
    go_on.set()
    first.join(10)
    second.join(10)
    assert order == ["loaded", "asked"]
    assert "slow" not in dispatch.unloaded
