"""Softmax and cross-entropy that neither overflow nor underflow, and their gradient f - e(y)."""

import math

import numpy as np

from xpnet import asarray, tensor, to_numpy
from xpnet import functional as F
from xpnet.lab import Check, Picture, Result, Table, experiment

LOGITS = np.array([[1e4, 0, -1e4], [-1e4, -1e4, -1e4], [1e4, 1e4, 0]], dtype=np.float32)


@experiment(
    "S1, S2, S3, S5", "softmax: stable for logits of +-1e4, shift invariance, output gradient f - e(y)"
)
def run() -> Result:
    y = np.array([2, 0, 1])
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        naive = -np.log(np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True))[range(3), y]
    stable = to_numpy(F.cross_entropy(asarray(LOGITS), y, reduction="none"))

    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((50, 10)) * 3, rng.integers(0, 10, 50)
    a = tensor(logits, requires_grad=True)
    F.cross_entropy(a, labels, reduction="sum").backward()
    f = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    shifts = [0.0, 1.0, 100.0, 1e4]
    shifted = [to_numpy(F.softmax(asarray(logits + b))) for b in shifts]

    # one-vs-all: K sigmoids, each with the binary cross-entropy
    binary = tensor(logits, requires_grad=True)
    hot = np.eye(10)[labels]
    value = F.binary_cross_entropy_with_logits(binary, asarray(hot), reduction="sum")
    value.backward()
    p = 1 / (1 + np.exp(-logits))
    by_formula = -np.sum(hot * np.log(p) + (1 - hot) * np.log(1 - p))
    extreme = F.binary_cross_entropy_with_logits(asarray(LOGITS[0]), asarray([0.0, 0, 0]), reduction="none")

    def draw(figure):
        left, right = figure.subplots(1, 2)
        left.bar(np.arange(10) - 0.2, f[0], 0.4, label="f(x)")
        left.bar(np.arange(10) + 0.2, to_numpy(a.grad)[0], 0.4, label="gradient f - e(y)")
        left.set(xlabel=f"class (right: {labels[0]})")
        left.legend()
        probability = np.linspace(0.01, 1, 100)
        right.plot(probability, -np.log(probability))
        right.set(xlabel="probability of the right class", ylabel="-log p")

    return Result(
        "Softmax does not change when all logits move by the same amount, so shifting by the largest keeps "
        "every exponential at most 1; log and exp then meet in one log-sum-exp, and the loss is exact even "
        "for +-1e4, where softmax followed by log gives inf and NaN. S3 subtracts the largest weight "
        "vector: it must be the largest logit; S5 prints the binary loss of a sample without its minus "
        "sign.",
        [
            Check("cross-entropy of logits +-1e4", stable, exact=[2e4, math.log(3), math.log(2)], rtol=1e-6),
            Check("log of softmax, step by step: finite values", np.isfinite(naive).sum(), exact=0),
            *(
                Check(
                    f"softmax of logits + {b:g}: largest change", np.abs(s - shifted[0]).max(), at_most=1e-11
                )
                for b, s in zip(shifts[1:], shifted[1:], strict=True)
            ),
            Check("sums of softmax", shifted[0].sum(axis=1), exact=np.ones(50), atol=1e-12),
            Check(
                "output gradient - (f - e(y)), largest",
                np.abs(to_numpy(a.grad) - (f - hot)).max(),
                at_most=1e-12,
            ),
            Check("binary cross-entropy, ten classes one against all", value, exact=by_formula, rtol=1e-12),
            Check(
                "its gradient - (sigmoid - t), largest",
                np.abs(to_numpy(binary.grad) - (p - hot)).max(),
                at_most=1e-12,
            ),
            Check(
                "binary cross-entropy of p = 0.8, target 1",
                F.binary_cross_entropy_with_logits(asarray([math.log(4)]), asarray([1.0])),
                deck=math.log(0.8),
                exact=-math.log(0.8),
                atol=1e-6,
                slip="S5 prints the loss of one sample without its minus sign",
            ),
            Check(
                "binary cross-entropy of logits 1e4, 0, -1e4, targets 0",
                extreme,
                exact=[1e4, math.log(2), 0],
                rtol=1e-6,
            ),
        ],
        [
            Table(
                "Logits, right class, loss step by step, stable loss",
                ("logits", "y", "naive", "stable"),
                [[row, k, n, s] for row, k, n, s in zip(LOGITS, y, naive, stable, strict=True)],
            )
        ],
        [Picture("Output gradient of one sample; and the loss of the right class's probability", draw)],
    )
