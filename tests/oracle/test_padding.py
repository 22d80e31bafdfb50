"""Padding by less than nothing, up to the whole axis: PyTorch's values, or one line where it refuses."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet import functional as F  # noqa: E402

CROPS = [
    *[((6,), pair) for pair in ((-3, -3), (-6, 0), (0, -6), (-2, -5), (1, -7), (-2, -3), (-2, 2), (3, -3))],
    *[((4, 6), pairs) for pairs in ((-3, -3, -2, -2), (-3, -3, 1, 1), (1, 1, -2, -2), (-2, 0, 1, -1))],
    ((0,), (0, 0)),
    ((0,), (1, 1)),
]


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(("size", "widths"), CROPS, ids=str)
def test_what_is_taken_away(size, widths, mode):
    array = np.random.default_rng(0).normal(size=(2, 3, *size))
    x, z = xpnet.tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
    try:
        expected = torch.nn.functional.pad(z, widths, mode)
    except RuntimeError:
        with pytest.raises(ValueError, match="pad: ") as caught:
            F.pad(x, widths, mode)
        assert "\n" not in str(caught.value)
        assert str(tuple(widths[:2])) in str(caught.value)
        return
    y = F.pad(x, widths, mode)
    np.testing.assert_array_equal(xpnet.to_numpy(y), expected.detach().numpy(), strict=True)
    (y * y).sum().backward()
    (expected * expected).sum().backward()
    np.testing.assert_allclose(xpnet.to_numpy(x.grad), z.grad.numpy(), rtol=1e-12)
