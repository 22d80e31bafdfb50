"""The namespace and the ops against torch.autograd, to second order."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from tests.array_api.functions import FUNCTIONS  # noqa: E402
from tests.cases import CASES  # noqa: E402
from tests.transforms.test_orders import direction, gradients  # noqa: E402
from xpnet import to_numpy  # noqa: E402

pytestmark = pytest.mark.host

# PyTorch has no second derivative of multi_margin_loss
WITH_TORCH = [
    case for case in (*CASES, *FUNCTIONS) if case.torch and not case.name.startswith("multi_margin_loss")
]


def theirs(case, arrays):
    """Value, gradients, and the gradients of a direction's derivative, by PyTorch."""
    inputs = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arrays]
    y = case.torch(torch, torch.nn.functional, *inputs)
    weighted = (y * torch.tensor(direction(tuple(y.shape), 0.5))).sum()
    first = torch.autograd.grad(weighted, inputs, create_graph=True, allow_unused=True)
    along = sum(
        (g * torch.tensor(direction(tuple(x.shape), 2.0 + i))).sum()
        for i, (g, x) in enumerate(zip(first, inputs, strict=True))
        if g is not None
    )
    second = [None] * len(inputs)
    if getattr(along, "requires_grad", False):
        second = torch.autograd.grad(along, inputs, allow_unused=True)
    zeros = lambda g, x: np.zeros(tuple(x.shape)) if g is None else g.numpy(force=True)
    return (
        y.numpy(force=True),
        [zeros(g, x) for g, x in zip(first, inputs, strict=True)],
        [zeros(g, x) for g, x in zip(second, inputs, strict=True)],
    )


@pytest.mark.parametrize("case", WITH_TORCH, ids=lambda case: case.name)
def test_values_and_both_derivatives_equal_pytorch(case):
    arrays = case.inputs()
    y, first, second = theirs(case, arrays)
    inputs = [xpnet.tensor(a) for a in arrays]
    np.testing.assert_allclose(to_numpy(case.function(*inputs)), y, rtol=1e-11, atol=1e-12)
    for ours, other in zip(gradients(case, inputs), first, strict=True):
        np.testing.assert_allclose(to_numpy(ours), other, rtol=1e-9, atol=1e-11)

    def along(*x):
        total = 0
        for i, g in enumerate(gradients(case, x)):
            total = total + (g * xpnet.asarray(direction(g.shape, 2.0 + i))).sum()
        return total

    found = xpnet.grad(along, tuple(range(len(inputs))))(*inputs)
    for ours, other in zip(found, second, strict=True):
        np.testing.assert_allclose(to_numpy(ours), other, rtol=1e-7, atol=1e-9)
