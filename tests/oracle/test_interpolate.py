"""Other sizes by a factor, which is not the ratio of the sizes: as PyTorch has them on a CPU."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet import functional as F  # noqa: E402

MODES = [
    *[(mode, axes) for mode in ("nearest", "nearest-exact") for axes in (1, 2, 3)],
    *[("linear", 1), ("bilinear", 2), ("bicubic", 2), ("trilinear", 3)],
]
# where PyTorch's gradient is not that of its value: it takes an axis of the same size for a copy
ODD = ("nearest", "bicubic")


@pytest.mark.parametrize("recomputed", [None, True])
@pytest.mark.parametrize("factor", [0.5, 0.7, 1.0, 1.1, 1.3, 2.0, 2.1, 2.3])
@pytest.mark.parametrize(("mode", "axes"), MODES)
def test_by_a_factor(mode, axes, factor, recomputed):
    rng = np.random.default_rng(0)
    for shape in itertools.product((3, 5, 8) if axes < 3 else (3, 5), repeat=axes):
        for align in (False, True) if mode.endswith(("linear", "cubic")) else (None,):
            options = {} if align is None else {"align_corners": align}
            options |= {"scale_factor": factor, "mode": mode, "recompute_scale_factor": recomputed}
            x = rng.normal(size=(1, 2, *shape))
            theirs = torch.tensor(x, requires_grad=True)
            want = torch.nn.functional.interpolate(theirs, **options)
            ours = xpnet.tensor(x, requires_grad=True, dtype="float64")
            found = F.interpolate(ours, **options)
            np.testing.assert_allclose(found.numpy(), want.detach().numpy(), rtol=1e-10, atol=1e-12)
            if mode in ODD and factor not in (0.5, 1.0, 2.0) and not recomputed:
                continue
            dy = rng.normal(size=tuple(want.shape))
            want.backward(torch.tensor(dy))
            found.backward(xpnet.asarray(dy))
            gradient = xpnet.to_numpy(ours.grad)
            np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=1e-10, atol=1e-12)
