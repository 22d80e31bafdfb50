"""Losses as modules; the formulas are those of xpnet.functional."""

from __future__ import annotations

from typing import Any

from xpnet import functional as F
from xpnet.core.tensor import Tensor
from xpnet.nn.module import Module
from xpnet.nn.parameter import Buffer

REDUCTIONS = ("mean", "sum", "none")


class Loss(Module):
    """What all losses share: what becomes of the loss of each element or sample."""

    reductions: tuple[str, ...] = REDUCTIONS

    def _reduce(self, reduction: str) -> None:
        if reduction not in self.reductions:
            words = ", ".join(map(repr, self.reductions))
            raise ValueError(f"{type(self).__name__}: reduction must be one of {words}, got {reduction!r}")
        self.reduction = reduction

    def extra_repr(self) -> str:
        """The reduction."""
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"


def _weight(values: Any) -> Buffer | None:
    return None if values is None else Buffer(values)


class L1Loss(Loss):
    """|x - t|.

    Args:
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.L1Loss()(xpnet.asarray([1.0, 4.0]), [1.0, 2.0]))
    1.0
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        self._reduce(reduction)

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss, as of the function."""
        return F.l1_loss(x, target, reduction=self.reduction)


class MSELoss(Loss):
    """(x - t)^2.

    Args:
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.MSELoss()(xpnet.asarray([1.0, 4.0]), [1.0, 2.0]))
    2.0
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        self._reduce(reduction)

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss, as of the function."""
        return F.mse_loss(x, target, reduction=self.reduction)


class SmoothL1Loss(Loss):
    """|x - t| - beta / 2, and a square within beta of the target.

    Args:
        beta: where the square ends; 0 is `L1Loss`.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.SmoothL1Loss()(xpnet.asarray([4.0]), [2.0]))
    1.5
    """

    def __init__(self, *, beta: float = 1.0, reduction: str = "mean") -> None:
        self._reduce(reduction)
        self.beta = beta

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss, as of the function."""
        return F.smooth_l1_loss(x, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(Loss):
    """(x - t)^2 / 2, and beyond delta a straight line.

    Args:
        reduction: "mean", "sum" or "none".
        delta: where the square ends, above 0.

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.HuberLoss(delta=2.0)(xpnet.asarray([4.0]), [0.0]))
    6.0
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        self._reduce(reduction)
        self.delta = delta

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss, as of the function."""
        return F.huber_loss(x, target, reduction=self.reduction, delta=self.delta)


class KLDivLoss(Loss):
    """t (log t - x), of log-probabilities x and a distribution t; "batchmean" is the divergence.

    Args:
        log_target: the target is log-probabilities, too.
        reduction: "mean" over elements, "batchmean", the sum over samples divided by them, "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.KLDivLoss(reduction="sum")(xpnet.asarray([[0.0, 0.0]]), [[1.0, 0.0]]))
    0.0
    """

    reductions = (*REDUCTIONS, "batchmean")

    def __init__(self, *, log_target: bool = False, reduction: str = "mean") -> None:
        self._reduce(reduction)
        self.log_target = log_target

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss, as of the function."""
        return F.kl_div(x, target, reduction=self.reduction, log_target=self.log_target)


class BCELoss(Loss):
    """-(t log x + (1 - t) log(1 - x)) of probabilities.

    Args:
        weight: of a shape that broadcasts to that of x.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.BCELoss()(xpnet.asarray([0.0]), [1.0]))
    100.0
    """

    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None:
        self._reduce(reduction)
        self.weight = _weight(weight)

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss, as of the function."""
        return F.binary_cross_entropy(x, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(Loss):
    """-w (q t log sigmoid(z) + (1 - t) log(1 - sigmoid(z))).

    Args:
        weight: w, of a shape that broadcasts to that of z.
        pos_weight: q, likewise: what a positive example weighs.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.BCEWithLogitsLoss()(xpnet.asarray([1000.0]), [1.0]))
    0.0
    """

    def __init__(self, weight: Any = None, *, pos_weight: Any = None, reduction: str = "mean") -> None:
        self._reduce(reduction)
        self.weight = _weight(weight)
        self.pos_weight = _weight(pos_weight)

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss, as of the function."""
        return F.binary_cross_entropy_with_logits(
            x, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class CrossEntropyLoss(Loss):
    """Softmax and negative log-likelihood in one: log sum exp(z) - z[y].

    Args:
        weight: (C,) weight of each class.
        ignore_index: rows with this label count for nothing.
        label_smoothing: the fraction of the target spread over all classes.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.CrossEntropyLoss()(xpnet.asarray([[0.0, 0.0]]), [1]))
    0.693147...
    """

    def __init__(
        self,
        weight: Any = None,
        *,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        self._reduce(reduction)
        self.weight = _weight(weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss, as of the function."""
        return F.cross_entropy(
            x,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            reduction=self.reduction,
        )


class NLLLoss(Loss):
    """-log p[y], from the output of LogSoftmax.

    Args:
        weight: (C,) weight of each class.
        ignore_index: rows with this label count for nothing.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.NLLLoss()(xpnet.asarray([[-0.5, -1.0]]), [0]))
    0.5
    """

    def __init__(self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        self._reduce(reduction)
        self.weight = _weight(weight)
        self.ignore_index = ignore_index

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss, as of the function."""
        return F.nll_loss(x, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class MultiMarginLoss(Loss):
    """Multiclass hinge: max(0, margin - s_y + s_k)^p, summed over other classes, divided by C.

    Args:
        p: 1, or 2 for squares.
        margin: how far ahead the right score should be.
        weight: (C,) weight of each class.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.MultiMarginLoss()(xpnet.asarray([[2.0, 1.5]]), [0]))
    0.25
    """

    def __init__(
        self, p: int = 1, margin: float = 1.0, weight: Any = None, *, reduction: str = "mean"
    ) -> None:
        self._reduce(reduction)
        self.p = p
        self.margin = margin
        self.weight = _weight(weight)

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss, as of the function."""
        return F.multi_margin_loss(x, target, self.p, self.margin, self.weight, reduction=self.reduction)


class MultiLabelSoftMarginLoss(Loss):
    """The mean over classes of -w (t log sigmoid(x) + (1 - t) log sigmoid(-x)).

    Args:
        weight: (C,) weight of each class.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.MultiLabelSoftMarginLoss()(xpnet.asarray([[1000.0]]), [[1.0]]))
    0.0
    """

    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None:
        self._reduce(reduction)
        self.weight = _weight(weight)

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss, as of the function."""
        return F.multilabel_soft_margin_loss(x, target, self.weight, reduction=self.reduction)
