"""Attention of no queries, to no keys, or of no features, masked or not, is PyTorch's."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet import functional as F  # noqa: E402

SIZES = list(
    itertools.product([(2,), (2, 3), (0,)], [(0, 3), (3, 0), (0, 0), (2, 4)], [(8, 5), (0, 8), (8, 0)])
)
MASKS = {
    "plain": lambda queries, keys: {},
    "causal": lambda queries, keys: {"is_causal": True},
    "of bool": lambda queries, keys: {"attn_mask": np.ones((queries, keys), bool)},
    "nowhere": lambda queries, keys: {"attn_mask": np.zeros((1, keys), bool)},
    "added": lambda queries, keys: {"attn_mask": np.full((queries, keys), 0.5)},
}


@pytest.mark.parametrize("options", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize(("lead", "lengths", "widths"), SIZES, ids=str)
def test_values_and_gradients_of_nothing(lead, lengths, widths, options):
    (queries, keys), (e, v), rng = lengths, widths, np.random.default_rng(0)
    arrays = [rng.normal(size=(*lead, *s)) for s in ((queries, e), (keys, e), (keys, v))]
    given = options(queries, keys)
    ours, theirs = ([make(a, requires_grad=True) for a in arrays] for make in (xpnet.tensor, torch.tensor))
    y = F.scaled_dot_product_attention(*ours, **given)
    z = torch.nn.functional.scaled_dot_product_attention(
        *theirs, **{k: torch.tensor(m) if k == "attn_mask" else m for k, m in given.items()}
    )
    y.sum().backward()
    z.sum().backward()
    np.testing.assert_allclose(xpnet.to_numpy(y), z.detach().numpy(), rtol=1e-10, strict=True)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            xpnet.to_numpy(a.grad), b.grad.numpy(), rtol=1e-10, atol=1e-12, strict=True
        )
