"""The neurons before backpropagation: McCulloch and Pitts, Hebb, Rosenblatt's perceptron (deck S2).

Inputs are rows of an array; where a bias is learnt, it is the weight of a last column of ones (`with_bias`).
Targets of the learning rules are -1 and +1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xpnet.core import random
from xpnet.core.backend import Array, dtype_name
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.places import backend_of, namespace

# ---- McCulloch and Pitts: fixed weights -------------------------------------------------------------------


def mcculloch_pitts(x: Array, weights: Sequence[float], threshold: float) -> Array:
    """1 where the weighted sum of the inputs reaches the threshold, else 0 (McCulloch & Pitts, 1943).

    Args:
        x: (..., d), usually 0 and 1.
        weights: d numbers.
        threshold: what the sum must reach.

    Returns:
        (...), 0 or 1 in the dtype of `x`, so that units can be wired to units.

    Raises:
        ValueError: the number of weights is not d.

    >>> import xpnet
    >>> from xpnet.classic import mcculloch_pitts
    >>> mcculloch_pitts(xpnet.asarray([[0.0, 1.0], [1.0, 1.0]]), [1, 1], threshold=2)  # AND
    array([0., 1.], dtype=float32)
    """
    xp = namespace(x)
    if x.shape[-1] != len(weights):
        raise ValueError(f"mcculloch_pitts: {len(weights)} weights for inputs of shape {tuple(x.shape)}")
    total = sum(x[..., i] * float(w) for i, w in enumerate(weights))
    return xp.astype(total >= float(threshold), x.dtype)


def AND(*inputs: Array) -> Array:
    """1 where all inputs are: weights 1, threshold the number of inputs."""
    return _gate(inputs, len(inputs))


def OR(*inputs: Array) -> Array:
    """1 where an input is: weights 1, threshold 1."""
    return _gate(inputs, 1)


def NOT(x: Array) -> Array:
    """1 where the input is 0: weight -1, threshold 0."""
    return mcculloch_pitts(namespace(x).expand_dims(x, axis=-1), [-1], 0)


def XOR(a: Array, b: Array) -> Array:
    """Two levels, (a OR b) AND (NOT a OR NOT b): one unit cannot, its boundary is one line.

    >>> import xpnet
    >>> from xpnet.classic import XOR
    >>> XOR(xpnet.asarray([0.0, 0.0, 1.0, 1.0]), xpnet.asarray([0.0, 1.0, 0.0, 1.0]))
    array([0., 1., 1., 0.], dtype=float32)
    """
    return AND(OR(a, b), OR(NOT(a), NOT(b)))


def _gate(inputs: Sequence[Array], threshold: float) -> Array:
    return mcculloch_pitts(namespace(*inputs).stack(list(inputs), axis=-1), [1] * len(inputs), threshold)


# ---- Hebb: weights from correlations ----------------------------------------------------------------------


def with_bias(x: Array) -> Array:
    """A last column of ones: (n, d) -> (n, d + 1). Its weight is the bias."""
    xp = namespace(x)
    return xp.concat([x, xp.ones_like(x[:, :1])], axis=1)


def hebb(x: Array, target: Array) -> Array:
    """w <- w + t x for each pair in turn, from w = 0 (Hebb, 1949).

    Args:
        x: (n, d) inputs, with a column of ones for a bias.
        target: (n,) numbers; 0 teaches nothing, which is why the deck goes over to -1 and +1.

    Returns:
        (n, d): the weights after each pair.

    >>> import xpnet
    >>> from xpnet.classic import hebb
    >>> hebb(xpnet.asarray([[1.0, 1.0], [1.0, -1.0]]), xpnet.asarray([1.0, -1.0]))
    array([[1., 1.],
           [0., 2.]], dtype=float32)
    """
    x, target = _pairs(x, target, "hebb")
    xp = namespace(x, target)
    trace = []
    w = xp.zeros_like(x[0, :])
    for i in range(x.shape[0]):
        w = w + x[i, :] * target[i]
        trace.append(w)
    return xp.stack(trace)


# ---- Rosenblatt: weights from mistakes --------------------------------------------------------------------


@dataclass(frozen=True)
class PerceptronTrace:
    """How a perceptron learnt.

    Attributes:
        weights: (updates + 1, d), from the first to the last.
        converged: whether the last weights make no mistake.
    """

    weights: Array
    converged: bool

    @property
    def updates(self) -> int:
        """The number of mistakes that were corrected."""
        return self.weights.shape[0] - 1

    @property
    def final(self) -> Array:
        """(d,) the last weights."""
        return self.weights[-1, :]


def perceptron(
    x: Array, target: Array, start: Array | None = None, max_updates: int = 1000
) -> PerceptronTrace:
    """While there are mistakes, pick one at random and add t x to the weights (Rosenblatt, 1958, 1962).

    Args:
        x: (n, d) inputs, with a column of ones for a bias.
        target: (n,) -1 or +1.
        start: (d,) first weights; default 0.
        max_updates: when to give up: on data that no plane separates it never ends by itself.

    Returns:
        All weights on the way. A sample on the plane, w.x = 0, is a mistake, as on the slide.

    The slide draws samples until one is a mistake; drawing from the mistakes gives the same sequence of
    updates. Separable data costs at most (R / gamma)^2 of them from w = 0: see `mistake_bound`.

    >>> import xpnet
    >>> from xpnet.classic import perceptron, with_bias
    >>> x = with_bias(xpnet.asarray([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]))
    >>> xpnet.manual_seed(0)
    >>> perceptron(x, xpnet.asarray([1.0, -1.0, -1.0, -1.0])).converged  # AND
    True
    """
    x, target = _pairs(x, target, "perceptron")
    xp = namespace(x, target, start)
    w = xp.zeros_like(x[0, :]) if start is None else start
    trace = [w]
    while True:
        wrong = to_numpy(target * (x @ w) <= 0).nonzero()[0]
        if not wrong.size or len(trace) > max_updates:
            return PerceptronTrace(xp.stack(trace), not wrong.size)
        pick = random.integers(1, wrong.size, random.generators[random.SHUFFLE].next_key())[0]
        i = int(wrong[pick])
        w = w + x[i, :] * target[i]
        trace.append(w)


def predict(x: Array, weights: Array) -> Array:
    """+1 where w.x >= 0, else -1: (n, d) with (d,) -> (n,), or with (m, d) -> (m, n)."""
    xp = namespace(x, weights)
    scores = x @ weights if weights.ndim == 1 else weights @ x.T
    return 2 * xp.astype(scores >= 0, x.dtype) - 1


def mistakes(x: Array, target: Array, weights: Array) -> Array:
    """How many samples each weight vector gets wrong: the error surface of the deck.

    Args:
        x: (n, d).
        target: (n,) -1 or +1.
        weights: (d,) or (m, d).

    Returns:
        () or (m,) integers.

    >>> import xpnet
    >>> from xpnet.classic import mistakes
    >>> x, t = xpnet.asarray([[1.0, 1.0], [-1.0, 1.0]]), xpnet.asarray([1.0, -1.0])
    >>> mistakes(x, t, xpnet.asarray([[1.0, 0.0], [-1.0, 0.0]]))
    array([0, 2])
    """
    x, target = _pairs(x, target, "mistakes")
    xp = namespace(x, target, weights)
    return xp.sum(xp.astype(predict(x, weights) != target, xp.int64), axis=-1)


def mistake_bound(x: Array, target: Array, separator: Array) -> float:
    """(R / gamma)^2: what a perceptron that starts at 0 needs at most (Novikoff, 1962).

    Args:
        x: (n, d); R is the length of the longest.
        target: (n,) -1 or +1.
        separator: (d,) any weights without a mistake; gamma is their smallest margin t w.x / |w|.

    Raises:
        ValueError: the separator makes a mistake.
    """
    x, target = _pairs(x, target, "mistake_bound")
    xp = namespace(x, target, separator)
    margin = float(xp.min(target * (x @ separator)) / xp.sqrt(xp.sum(separator * separator)))
    if margin <= 0:
        raise ValueError(
            "mistake_bound: the separator does not separate, its smallest margin is not positive"
        )
    return float(xp.max(xp.sum(x * x, axis=1))) / margin**2


def _pairs(x: Array, target: Any, name: str) -> tuple[Array, Array]:
    if x.ndim != 2 or tuple(target.shape) != (x.shape[0],):
        raise ValueError(
            f"{name}: expected inputs (n, d) and targets (n,), got {tuple(x.shape)} and {tuple(target.shape)}"
        )
    return x, asarray(target, dtype_name(x.dtype), backend=backend_of(x))
