"""The loss of a variational autoencoder."""

from __future__ import annotations

from typing import Any

from xpnet.core.arrays import floating, narrow, widen
from xpnet.core.backend import Array
from xpnet.core.convert import array_like
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.operators import add, multiply
from xpnet.core.places import namespace
from xpnet.core.tensor import Tensor
from xpnet.functional.losses import mse_loss
from xpnet.functional.options import binary_cross_entropy_with_logits
from xpnet.functional.pairs import check_range

LIKELIHOODS = ("bernoulli", "gaussian")


@differentiable(loss=True)
def gaussian_kl(mean: Array, log_variance: Array) -> tuple[Array, Pullback]:
    """KL(N(m, e^v) || N(0, 1)) = 1/2 sum (m^2 + e^v - 1 - v); gradients m and (e^v - 1) / 2.

    Args:
        mean: m, (N, latent).
        log_variance: v, likewise.

    Returns:
        The mean over the N samples, without axes.

    Raises:
        ValueError: other shapes.

    >>> import xpnet, xpnet.functional as F
    >>> float(F.gaussian_kl(xpnet.asarray([[1.0, 0.0]]), xpnet.asarray([[0.0, 0.0]])))
    0.5
    """
    xp = namespace(floating("gaussian_kl", mean, "the mean"), log_variance)
    if mean.ndim != 2 or mean.shape != log_variance.shape:
        raise ValueError(
            f"gaussian_kl: expected two arrays (N, latent), got {tuple(mean.shape)} and "
            f"{tuple(log_variance.shape)}"
        )
    m, v = widen(mean), widen(log_variance)
    above = xp.expm1(v)  # e^v - 1, which is small where v is
    n = max(mean.shape[0], 1)
    value = xp.sum(m * m + above - v) / (2 * n)
    return narrow(value, mean), lambda dy: (
        lambda out: narrow(m * (widen(dy) / n), mean),
        lambda out: narrow(above * (widen(dy) / (2 * n)), mean),
    )


def elbo_loss(output: Any, target: Any, likelihood: str = "gaussian", *, beta: float = 1.0) -> Tensor:
    """The negative evidence lower bound of a sample, on average (Kingma & Welling, 2014).

    Args:
        output: what `nn.VAE` gives: (N, ...) made of the samples, and means and log variances (N, latent).
        target: (N, ...), the samples.
        likelihood: "gaussian", of variance 1: half the squared error; "bernoulli", of scores, for samples in
            [0, 1]: the cross-entropy.
        beta: the weight of `gaussian_kl` (Higgins et al., 2017).

    Returns:
        A loss without axes.

    Raises:
        ValueError: another likelihood, shapes that do not fit, or on NumPy samples outside [0, 1].

    >>> import xpnet, xpnet.functional as F
    >>> zeros = xpnet.asarray([[0.0, 0.0]])
    >>> float(F.elbo_loss((zeros, zeros, zeros), [[1.0, 2.0]]))
    2.5
    """
    if likelihood not in LIKELIHOODS:
        words = " or ".join(map(repr, LIKELIHOODS))
        raise ValueError(f"elbo_loss: likelihood must be {words}, got {likelihood!r}")
    made, mean, log_variance = output
    n = max(made.shape[0], 1)
    if likelihood == "gaussian":
        error = multiply(mse_loss(made, target, reduction="sum"), 0.5 / n)
    else:
        check_range('elbo_loss: samples must be in [0, 1] for "bernoulli"', array_like(target), 1)
        error = multiply(binary_cross_entropy_with_logits(made, target, reduction="sum"), 1 / n)
    return add(error, multiply(gaussian_kl(mean, log_variance), beta))
