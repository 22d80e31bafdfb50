"""The table of 0 x infinity on PyTorch itself: what it expects is what PyTorch gives."""

import numpy as np
import pytest

from tests.functional.test_zero_times_infinity import CASES

torch = pytest.importorskip("torch")


class Functional:
    """torch.nn.functional, whose targets are tensors."""

    def __getattr__(self, name):
        function = getattr(torch.nn.functional, name)
        return lambda *args, **options: function(
            *(torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in args), **options
        )


@pytest.mark.host
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_pytorch_agrees(case):
    _, function, values, expected = case
    x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    function(Functional(), x).backward()
    np.testing.assert_allclose(x.grad, expected, rtol=1e-12)
