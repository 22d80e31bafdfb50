"""Every case with the CPU kernels forced on and off: one answer, values and gradients, odd numbers too."""

import numpy as np
import pytest

import xpnet
from tests.cases import CASES, Case
from tests.cpu.native import needs_native
from xpnet import functional as F
from xpnet.core import registry as dispatch

pytestmark = [pytest.mark.host, needs_native]

IMAGES = [
    Case("conv2d", F.conv2d, ((2, 3, 5, 6), (4, 3, 3, 3), (4,)), None),
    Case(
        "conv2d stride",
        lambda x, w: F.conv2d(x, w, stride=2, padding=1, groups=2),
        ((2, 4, 5, 6), (4, 2, 3, 3)),
        None,
    ),
    Case(
        "batch_norm_relu",
        lambda x, w, b, r: F.batch_norm_relu(x, None, None, w, b, training=True, residual=r),
        ((4, 3, 5), (3,), (3,), (4, 3, 5)),
        None,
    ),
    Case("linear_activation", F.linear_activation, ((5, 4), (3, 4), (3,)), None),
    Case("max_pool2d", lambda x: F.max_pool2d(x, 2), ((2, 3, 4, 6),), None),
    Case("max_pool2d padding", lambda x: F.max_pool2d(x, 3, 2, 1), ((2, 3, 5, 7),), None),
    Case(
        "max_pool2d spread", lambda x: F.max_pool2d(x, 2, 2, 1, (1, 2), ceil_mode=True), ((2, 3, 5, 7),), None
    ),
]
ODD = np.array([np.inf, -np.inf, np.nan])
TOLERANCE = {"float64": 1e-11, "float32": 2e-5}


def one_infinite(array):
    array = array.copy()
    array.reshape(-1)[array.size // 2] = np.inf
    return array


def odd(array, start):
    """The array with infinities and NaN in every fourth place from `start` on."""
    array = array.copy()
    places = array.reshape(-1)[start::4]
    places[:] = ODD[np.arange(places.size) % 3]
    return array


@pytest.fixture
def forced(monkeypatch):
    """Small arrays go to the kernels, too; the names of those that ran."""
    dispatch.load_kernels("numpy")
    ran = []

    def counting(name, launcher):
        def call(*args, **kwargs):
            result = launcher(*args, **kwargs)
            if result is not NotImplemented:
                ran.append(name)
            return result

        return call

    for op in dispatch.ops_with_kernels():
        if "numpy" in op.kernels:
            kernel = dispatch.Kernel(counting(op.__name__, op.kernels["numpy"].launcher), 0)
            monkeypatch.setitem(op.kernels, "numpy", kernel)
    return ran


def answers(case, arrays, gradient_of, fused):
    """The value and the gradients, or why numbers are refused; `gradient_of` makes the value's gradient."""
    try:
        return computed(case, arrays, gradient_of, fused)
    except ValueError as error:
        return str(error)


def computed(case, arrays, gradient_of, fused):
    tensors = [xpnet.tensor(a.copy(), requires_grad=True) for a in arrays]
    xpnet.manual_seed(0)
    with xpnet.fused(fused), np.errstate(all="ignore"):
        y = case.function(*tensors)
        y.backward(gradient_of(y))
    return [y.numpy(), *(None if t.grad is None else xpnet.to_numpy(t.grad) for t in tensors)]


def ordinary(y):
    return np.cos(1.0 + np.arange(y.size)).reshape(y.shape).astype(str(y.dtype))


def odd_gradient(y):
    return odd(ordinary(y), 1) if y.size > 1 else ordinary(y)


VARIANTS = {
    "ordinary": (lambda arrays: arrays, ordinary),
    "one infinite": (lambda arrays: [one_infinite(arrays[0]), *arrays[1:]], ordinary),
    "an infinite weight": (lambda arrays: [arrays[0], *map(one_infinite, arrays[1:])], ordinary),
    "odd inputs": (lambda arrays: [odd(a, 0) for a in arrays], ordinary),
    "odd gradient": (lambda arrays: arrays, odd_gradient),
    "infinite": (lambda arrays: [np.where(np.isnan(b := odd(a, 2)), a, b) for a in arrays], odd_gradient),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", [*CASES, *IMAGES], ids=lambda case: case.name)
def test_same_answer(case, dtype, variant, forced):
    change, gradient_of = VARIANTS[variant]
    arrays = change([a.astype(dtype) for a in case.inputs()])
    on, off = (answers(case, arrays, gradient_of, fused) for fused in (True, False))
    if isinstance(on, str):  # a variance of -inf
        assert "must not be negative" in on
        assert on == off
        assert variant not in ("ordinary", "odd gradient")
        return
    for found, expected in zip(on, off, strict=True):
        assert (found is None) == (expected is None)
        if found is None:
            continue
        assert found.dtype == expected.dtype
        # whether a sum with infinite terms is infinite or NaN is a matter of their order
        found, expected = (np.where(np.isfinite(a), a, np.nan) for a in (found, expected))
        size = np.nanmax([1, *np.abs(expected).reshape(-1)])
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * size)


def test_every_kernel_of_an_op_ran(forced):
    for case in [*CASES, *IMAGES]:
        answers(case, [a.astype("float32") for a in case.inputs()], ordinary, True)
    steps = {op.__name__ for op in dispatch.ops_with_kernels() if op.__name__.endswith("_step")}
    of_numpy = {
        op.__name__
        for op in dispatch.ops_with_kernels()
        if "numpy" in op.kernels and op.__module__.startswith("xpnet.")
    }
    assert set(forced) == of_numpy - steps
