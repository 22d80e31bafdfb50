"""Losses of vectors: distances and angles between them, and margins of these."""

from __future__ import annotations

import math
from typing import Any

from xpnet.core.arrays import floating, narrow, widen
from xpnet.core.backend import Array
from xpnet.core.operators import max, mean, sum
from xpnet.core.places import namespace
from xpnet.core.renamed import takes_input
from xpnet.core.shapes import meet
from xpnet.core.tensor import Tensor
from xpnet.functional.options import binary_cross_entropy_with_logits
from xpnet.functional.targets import as_constant
from xpnet.functional.weighing import report


def _reduced(name: str, losses: Any, reduction: str) -> Any:
    """All losses, their sum, or their mean."""
    if reduction == "none":
        return losses
    if reduction not in ("mean", "sum"):
        raise ValueError(f'{name}: reduction must be "mean", "sum" or "none", got {reduction!r}')
    if reduction == "sum":
        return sum(losses)
    count = math.prod(losses.shape)
    report(count, count)
    return mean(losses)


def _vectors(name: str, *inputs: Any) -> Any:
    """The namespace of vectors that broadcast."""
    for x in inputs:
        floating(name, x, "the input")
        if not x.ndim:
            raise ValueError(f"{name}: expected vectors, got a number")
    shapes = [tuple(x.shape) for x in inputs]
    lengths = {s[-1] for s in shapes} - {1}
    if len(lengths) > 1:
        raise ValueError(f"{name}: inputs of shapes {', '.join(map(str, shapes))} do not fit")
    return namespace(*inputs)


def pairwise_distance(
    x1: Array | Tensor, x2: Array | Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """(sum |x1 - x2 + eps|^p)^(1/p) over the last axis; the largest |x1 - x2 + eps| of p = infinity.

    Args:
        x1: (..., D).
        x2: (..., D), which may broadcast.
        p: of the norm, above 0.
        eps: added to each difference, so that the gradient exists where they are equal.
        keepdim: keep the last axis, as 1.

    Returns:
        (...) or (..., 1).

    Raises:
        ValueError: shapes that do not fit, or p is not above 0.

    >>> import xpnet, xpnet.functional as F
    >>> F.pairwise_distance(xpnet.asarray([[3.0, 4.0]]), xpnet.asarray([[0.0, 0.0]]), eps=0.0)
    array([5.], dtype=float32)
    """
    _vectors("pairwise_distance", x1, x2)
    check_p("pairwise_distance", p)
    a, b = meet(x1, x2, "pairwise_distance")
    return narrow(_norm(widen(a) - widen(b) + eps, p, keepdim), a)


def check_p(name: str, p: float) -> None:
    """p of a norm, above 0.

    Raises:
        ValueError: it is not.
    """
    if not p > 0:
        raise ValueError(f"{name}: p must be above 0, got {p}")


def _norm(x: Any, p: float, keepdim: bool = False) -> Any:
    """(sum |x|^p)^(1/p) over the last axis, with gradient 0 where it is 0."""
    xp = namespace(x)
    if p == 1:
        return sum(xp.abs(x), -1, keepdim)
    if p == 2:
        return _root(xp, sum(x * x, -1, keepdim))
    if p == math.inf:
        return max(xp.abs(x), -1, keepdim)
    return _power(xp, sum(_power(xp, xp.abs(x), p), -1, keepdim), 1 / p)


def _power(xp: Any, x: Any, p: float) -> Any:
    """x^p of x at least 0, with gradient 0 at 0."""
    nothing = x == 0
    return xp.where(nothing, xp.zeros_like(x), xp.where(nothing, xp.ones_like(x), x) ** p)


def _root(xp: Any, square: Any) -> Any:
    """The square root, with gradient 0 at 0."""
    nothing = square == 0
    of = xp.sqrt(xp.where(nothing, xp.ones_like(square), square))
    return xp.where(nothing, xp.zeros_like(square), of)


def cosine_similarity(x1: Array | Tensor, x2: Array | Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (|x1| |x2|) along an axis.

    Args:
        x1: any shape.
        x2: a shape that broadcasts with it.
        dim: the axis.
        eps: the smallest length.

    Returns:
        The shape without that axis.

    Raises:
        ValueError: shapes that do not fit, or no such axis.

    >>> import xpnet, xpnet.functional as F
    >>> F.cosine_similarity(xpnet.asarray([[3.0, 0.0]]), xpnet.asarray([[4.0, 3.0]])).item()
    0.8...
    """
    xp = namespace(floating("cosine_similarity", x1), floating("cosine_similarity", x2))
    like, _ = meet(x1, x2, "cosine_similarity")
    x1, x2 = widen(x1), widen(x2)
    try:
        x1, x2 = (
            x1 + xp.zeros_like(x2),
            x2 + xp.zeros_like(x1),
        )  # every axis at its full length
    except ValueError:
        raise ValueError(
            f"cosine_similarity: inputs of shapes {tuple(x1.shape)} and {tuple(x2.shape)} do not fit"
        ) from None
    if x1.ndim == 0 and dim in (-1, 0):
        x1, x2, dim = xp.reshape(x1, (1,)), xp.reshape(x2, (1,)), 0
    if not -x1.ndim <= dim < x1.ndim:
        raise ValueError(f"cosine_similarity: dim={dim} is not an axis of {tuple(x1.shape)}")

    def unit(x: Any) -> Any:
        square = sum(x * x, dim, True)
        least = xp.full_like(square, eps * eps)
        return x / xp.sqrt(xp.where(square > least, square, least))

    return narrow(sum(unit(x1) * unit(x2), dim), like)


def _hinge(xp: Any, x: Any) -> Any:
    """max(x, 0); NaN stays."""
    return xp.where(x <= 0, xp.zeros_like(x), x)


def margin_ranking_loss(
    input1: Array | Tensor,
    input2: Array | Tensor,
    target: Any,
    margin: float = 0.0,
    *,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -t (x1 - x2) + margin): the first should be larger where t = 1, the second where t = -1.

    Args:
        input1: scores, any shape.
        input2: scores, the same shape.
        target: -1 or 1, the same shape.
        margin: by how much.
        reduction: "mean" over all elements, "sum" or "none".

    Returns:
        A loss without axes, or with "none" one of the shape of the inputs.

    Raises:
        ValueError: shapes that do not fit.

    >>> import xpnet, xpnet.functional as F
    >>> float(F.margin_ranking_loss(xpnet.asarray([1.0]), xpnet.asarray([3.0]), [1.0], 0.5))
    2.5
    """
    name = "margin_ranking_loss"
    xp = namespace(floating(name, input1), floating(name, input2))
    t = as_constant(target, input1)
    if not tuple(input1.shape) == tuple(input2.shape) == tuple(t.shape):
        raise ValueError(
            f"{name}: inputs {tuple(input1.shape)}, {tuple(input2.shape)} and target {tuple(t.shape)} must "
            "have the same shape"
        )
    return _reduced(name, _hinge(xp, -((input1 - input2) * t) + margin), reduction)


def cosine_embedding_loss(
    input1: Array | Tensor,
    input2: Array | Tensor,
    target: Any,
    margin: float = 0.0,
    *,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos for pairs that belong together (t = 1), max(0, cos - margin) for others (t = -1).

    Args:
        input1: (N, D) or (D,).
        input2: the same shape.
        target: -1 or 1, (N,) or ().
        margin: the cosine that others may have.
        reduction: "mean" over all samples, "sum" or "none".

    Returns:
        A loss without axes, or with "none" one a sample.

    Raises:
        ValueError: shapes that do not fit.

    >>> import xpnet, xpnet.functional as F
    >>> x, y = xpnet.asarray([[1.0, 0.0], [1.0, 0.0]]), xpnet.asarray([[2.0, 0.0], [3.0, 0.0]])
    >>> F.cosine_embedding_loss(x, y, [1, -1], reduction="none").tolist()
    [0.0, 1.0]
    """
    name = "cosine_embedding_loss"
    xp = _vectors(name, input1, input2)
    t = as_constant(target, input1)
    same = tuple(input1.shape) == tuple(input2.shape)
    if not same or tuple(t.shape) != tuple(input1.shape[:-1]) or input1.ndim > 2:
        raise ValueError(
            f"{name}: expected inputs (N, D) and a target (N,), or (D,) and (), got {tuple(input1.shape)}, "
            f"{tuple(input2.shape)} and {tuple(t.shape)}"
        )
    tiny = 1e-12  # PyTorch adds it to the squares of the lengths
    a, b = meet(input1, input2, name)
    wide_a, wide_b = widen(a), widen(b)
    square = lambda x: sum(x * x, -1) + tiny
    cos = sum(wide_a * wide_b, -1) / xp.sqrt(square(wide_a) * square(wide_b))
    nothing = xp.zeros_like(cos)
    losses = xp.where(t == 1, 1 - cos, xp.where(t == -1, _hinge(xp, cos - margin), nothing))
    return narrow(_reduced(name, losses, reduction), a)


def triplet_margin_loss(
    anchor: Array | Tensor,
    positive: Array | Tensor,
    negative: Array | Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(a, p) - d(a, n) + margin): the positive nearer than the negative (Schroff et al., 2015).

    Args:
        anchor: (N, D) or (D,).
        positive: the same shape.
        negative: the same shape.
        margin: by how much.
        p: of the norm.
        eps: added to each difference.
        swap: take the negative's distance from the positive, if that is less (Balntas et al., 2016).
        reduction: "mean" over all samples, "sum" or "none".

    Returns:
        A loss without axes, or with "none" one a sample.

    Raises:
        ValueError: shapes that do not fit, or p or the margin is not above 0.

    >>> import xpnet, xpnet.functional as F
    >>> a, p, n = (xpnet.asarray([[x, 0.0]]) for x in (0.0, 3.0, 2.0))
    >>> round(float(F.triplet_margin_loss(a, p, n)), 4)
    2.0
    """
    name = "triplet_margin_loss"
    if not margin > 0:
        raise ValueError(f"{name}: margin must be above 0, got {margin}")
    xp = _vectors(name, anchor, positive, negative)
    if len({x.ndim for x in (anchor, positive, negative)}) > 1:
        shapes = ", ".join(str(tuple(x.shape)) for x in (anchor, positive, negative))
        raise ValueError(f"{name}: expected three inputs of as many axes, got {shapes}")
    check_p(name, p)
    a, b = meet(anchor, positive, name)
    c = meet(anchor, negative, name)[1]
    x, y, z = widen(a), widen(b), widen(c)
    near, far = _norm(x - y + eps, p), _norm(x - z + eps, p)
    if swap:
        far = xp.minimum(far, _norm(y - z + eps, p))
    return narrow(_reduced(name, _hinge(xp, near - far + margin), reduction), a)


@takes_input
def multilabel_soft_margin_loss(
    x: Array | Tensor, target: Any, weight: Any = None, *, reduction: str = "mean"
) -> Tensor:
    """The mean over classes of -w (t log sigmoid(x) + (1 - t) log sigmoid(-x)).

    Args:
        x: scores (N, C) or (C,).
        target: in [0, 1], the same shape.
        weight: (C,) weight of each class.
        reduction: "mean" over all samples, "sum" or "none".

    Returns:
        A loss without axes, or with "none" one a sample.

    Raises:
        ValueError: shapes that do not fit.

    >>> import xpnet, xpnet.functional as F
    >>> round(float(F.multilabel_soft_margin_loss(xpnet.asarray([[0.0, 0.0]]), [[1.0, 0.0]])), 4)
    0.6931
    """
    losses = binary_cross_entropy_with_logits(x, target, weight, reduction="none")
    return _reduced("multilabel_soft_margin_loss", mean(losses, -1), reduction)
