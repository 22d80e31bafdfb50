"""Dropout, inverted: scaled in training, the identity at test time."""

from __future__ import annotations

from xpnet.core import random
from xpnet.core.arrays import constant, floating, keep
from xpnet.core.backend import Array
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.places import backend_of, namespace
from xpnet.core.renamed import takes_input
from xpnet.core.tensor import Tensor
from xpnet.functional.public import result


@takes_input
def dropout(x: Array | Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Set each element to 0 with probability p, multiply the others by 1/(1 - p) (Srivastava et al., 2014).

    Args:
        x: any shape.
        p: the probability of *dropping* an element, in [0, 1].
        training: False gives x unchanged; the expectation is the same.
        inplace: write the result over x; where gradients are recorded, x stays as it is: use the result.

    Returns:
        The shape of x.

    Raises:
        ValueError: p is outside [0, 1].

    The mask comes from the dropout stream of `xpnet.random`: the same on every backend for the same seed.

    >>> import xpnet, xpnet.functional as F
    >>> F.dropout(xpnet.asarray([1.0, 2.0]), 0.5, training=False)
    array([1., 2.], dtype=float32)
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is the probability of dropping, in [0, 1], got {p}")
    if not training or p == 0:
        return x
    return result(x, philox_dropout(x, p, random.generators[random.DROPOUT].next_key()), inplace)


@differentiable
def philox_dropout(x: Array, p: float, key: random.Key) -> tuple[Array, Pullback]:
    """Dropout with the mask that `key` names."""
    floating("dropout", x)
    xp = namespace(x)
    if p == 1:
        return xp.zeros_like(x), lambda dy: xp.zeros_like(dy)
    mask = random.keep_mask(x.shape, p, key, backend_of(x))

    factor = xp.astype(mask, x.dtype)  # a product hides no NaN; its gradient may be infinite where it is 0
    factor *= 1 / (1 - p)
    return constant(factor, x) * x, lambda dy: keep(dy, mask) * (1 / (1 - p))
