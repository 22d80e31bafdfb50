"""Every op of the table equals torch's: forward and gradients."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from tests.cases import CASES  # noqa: E402
from xpnet import to_numpy  # noqa: E402

every_case = pytest.mark.parametrize("case", [c for c in CASES if c.torch], ids=lambda case: case.name)
TOLERANCE = {"float64": {"rtol": 1e-10, "atol": 1e-13}, "float32": {"rtol": 1e-5, "atol": 2e-6}}


@every_case
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_equals_torch(case, dtype):
    arrays = [a.astype(dtype) for a in case.inputs()]
    ours = [xpnet.tensor(a.copy(), requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, expected = case.function(*ours), case.torch(torch, torch.nn.functional, *theirs)
    dy = np.cos(1.0 + np.arange(y.size)).reshape(y.shape).astype(dtype)
    y.backward(xpnet.asarray(dy))
    expected.backward(torch.tensor(dy))
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), **TOLERANCE[dtype])
    for x, t in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(to_numpy(x.grad), t.grad.numpy(), **TOLERANCE[dtype])
