"""Losses of margins, distances, counts and sequences as modules; the formulas are those of functional."""

from __future__ import annotations

from typing import Any

from xpnet import functional as F
from xpnet.core.tensor import Tensor
from xpnet.functional.distances import check_p
from xpnet.nn.losses import Loss


class SoftMarginLoss(Loss):
    """log(1 + exp(-t x)), t = -1 or 1.

    Args:
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.SoftMarginLoss()(xpnet.asarray([1000.0]), [1.0]))
    0.0
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        self._reduce(reduction)

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss, as of the function."""
        return F.soft_margin_loss(x, target, reduction=self.reduction)


class HingeEmbeddingLoss(Loss):
    """x for pairs that belong together (t = 1), max(0, margin - x) for others (t = -1).

    Args:
        margin: how far apart those of other pairs should be.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.HingeEmbeddingLoss()(xpnet.asarray([0.25]), [-1.0]))
    0.75
    """

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean") -> None:
        self._reduce(reduction)
        self.margin = margin

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss, as of the function."""
        return F.hinge_embedding_loss(x, target, self.margin, reduction=self.reduction)


class MarginRankingLoss(Loss):
    """max(0, -t (x1 - x2) + margin).

    Args:
        margin: by how much one should be larger.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.MarginRankingLoss(0.5)(xpnet.asarray([1.0]), xpnet.asarray([3.0]), [1.0]))
    2.5
    """

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        self._reduce(reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        """The loss, as of the function."""
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(Loss):
    """1 - cos for pairs that belong together (t = 1), max(0, cos - margin) for others (t = -1).

    Args:
        margin: the cosine that others may have.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.CosineEmbeddingLoss()(xpnet.asarray([[1.0, 0.0]]), xpnet.asarray([[0.0, 1.0]]), [1.0]))
    1.0
    """

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        self._reduce(reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        """The loss, as of the function."""
        return F.cosine_embedding_loss(input1, input2, target, self.margin, reduction=self.reduction)


class TripletMarginLoss(Loss):
    """max(0, d(a, p) - d(a, n) + margin).

    Args:
        margin: by how much the positive should be nearer.
        p: of the norm.
        eps: added to each difference.
        swap: take the negative's distance from the positive, if that is less.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.TripletMarginLoss(2.0)(*xpnet.asarray([[[0.0]], [[0.0]], [[9.0]]])))
    0.0
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        *,
        reduction: str = "mean",
    ) -> None:
        self._reduce(reduction)
        check_p("TripletMarginLoss", p)
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor:
        """The loss, as of the function."""
        return F.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, reduction=self.reduction
        )


class PoissonNLLLoss(Loss):
    """exp(x) - t x: -log of the Poisson probability of a count t.

    Args:
        log_input: False if x is the rate itself.
        full: add Stirling's approximation of log t!.
        eps: added to a rate within the logarithm.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.PoissonNLLLoss()(xpnet.asarray([0.0]), [3.0]))
    1.0
    """

    def __init__(
        self, log_input: bool = True, full: bool = False, *, eps: float = 1e-8, reduction: str = "mean"
    ) -> None:
        self._reduce(reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss, as of the function."""
        return F.poisson_nll_loss(
            x, target, self.log_input, self.full, eps=self.eps, reduction=self.reduction
        )


class GaussianNLLLoss(Loss):
    """(log v + (x - t)^2 / v) / 2: -log of the normal density.

    Args:
        full: add log(2 pi) / 2.
        eps: the smallest variance.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.GaussianNLLLoss()(xpnet.asarray([1.0]), [3.0], xpnet.asarray([1.0])))
    2.0
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        self._reduce(reduction)
        self.full = full
        self.eps = eps

    def forward(self, x: Any, target: Any, var: Any) -> Tensor:
        """The loss, as of the function."""
        return F.gaussian_nll_loss(x, target, var, self.full, self.eps, self.reduction)


class FocalLoss(Loss):
    """-alpha_t (1 - p_t)^gamma log p_t of scores and targets in [0, 1].

    Args:
        alpha: the weight of t = 1, 1 - alpha that of t = 0; negative: none.
        gamma: how little an easy example counts.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.FocalLoss()(xpnet.asarray([1000.0]), [1.0]))
    0.0
    """

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0, *, reduction: str = "mean") -> None:
        self._reduce(reduction)
        self.alpha = alpha
        self.gamma = gamma

    def forward(self, x: Any, target: Any) -> Tensor:
        """The loss, as of the function."""
        return F.sigmoid_focal_loss(x, target, self.alpha, self.gamma, self.reduction)


class CTCLoss(Loss):
    """-log of the probability of all ways to spell a target.

    Args:
        blank: the class of no label.
        reduction: "mean", "sum" or "none".
        zero_infinity: the loss of a target that is too long for its input is 0.

    Raises:
        ValueError: another reduction; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> float(nn.CTCLoss(reduction="sum")(xpnet.asarray([[[0.0, -9.0]]]), [[1]], [1], [1]))
    9.0
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        self._reduce(reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any) -> Tensor:
        """The loss, as of the function."""
        return F.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
