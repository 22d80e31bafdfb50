"""Softmax and cross-entropy that neither overflow nor underflow, and their gradient f - e(y)."""

import math

import numpy as np

from xpnet import array_api, asarray, tensor, to_numpy
from xpnet import functional as F
from xpnet.lab import Check, Picture, Result, Table, experiment

LOGITS = np.array([[1e4, 0, -1e4], [-1e4, -1e4, -1e4], [1e4, 1e4, 0]], dtype=np.float32)


def one_hot_checks():
    """S2's table: labels 3, 6 and 0 as vectors; cross-entropy takes them in both forms."""
    labels = np.array([3, 6, 0])
    hot = to_numpy(array_api.one_hot(asarray(labels), 10, dtype="float64"))
    wanted = np.zeros((3, 10))
    wanted[range(3), labels] = 1
    logits = np.sin(np.arange(30.0)).reshape(3, 10)
    by_hand = np.log(np.exp(logits).sum(axis=1)) - logits[range(3), labels]
    found = [to_numpy(F.cross_entropy(asarray(logits), asarray(t), reduction="none")) for t in (labels, hot)]
    deck = "0 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 1 0 0 0 1 0 0 0 0 0 0 0 0 0"
    return [
        Check("one-hot vectors of the labels 3, 6, 0", hot.reshape(-1), deck=deck, exact=wanted.reshape(-1)),
        Check(
            "cross-entropy of labels, and of their one-hot vectors",
            found,
            exact=[by_hand, by_hand],
            rtol=1e-9,
        ),
    ]


@experiment(
    "S1, S2, S3, S5", "softmax: stable for logits of +-1e4, shift invariance, output gradient f - e(y)"
)
def run() -> Result:
    # core
    y = np.array([2, 0, 1])
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        naive = -np.log(np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True))[range(3), y]
    stable = to_numpy(F.cross_entropy(asarray(LOGITS), y, reduction="none"))

    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((50, 10)) * 3, rng.integers(0, 10, 50)
    a = tensor(logits, requires_grad=True)
    F.cross_entropy(a, labels, reduction="sum").backward()
    f = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    # end of core

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
        left.set(xlabel=f"class (right: {labels[0]})", ylabel="probability, gradient")
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
            *(
                Check(
                    f"softmax of logits + {b:g}: largest change", np.abs(s - shifted[0]).max(), at_most=1e-11
                )
                for b, s in zip(shifts[1:], shifted[1:], strict=True)
            ),
            Check(
                "softmax of (1, 2, 3) + b for a fixed vector b = (1, 0, 0): largest change",
                np.abs(
                    to_numpy(F.softmax(asarray([2.0, 2.0, 3.0])))
                    - to_numpy(F.softmax(asarray([1.0, 2.0, 3.0])))
                ).max(),
                deck="0",
                exact=np.exp(2) / (2 * np.exp(2) + np.exp(3))
                - np.exp(1) / (np.exp(1) + np.exp(2) + np.exp(3)),
                atol=1e-6,
                slip="softmax(a + b) = softmax(a) needs the same number in every place, not any fixed vector",
            ),
            Check(
                "the probability of three neurons, logits 0, ln 2, ln 5",
                F.softmax(asarray(np.log([1.0, 2, 5]))),
                exact=np.array([1, 2, 5]) / 8,
                atol=1e-6,
            ),
            *one_hot_checks(),
            Check(
                "binary cost of p = 0.8, target 0, and p = 0.5, target 1: -1/n sum y log p + (1 - y) "
                "log(1 - p)",
                F.binary_cross_entropy_with_logits(asarray([math.log(4), 0.0]), asarray([0.0, 1.0])),
                deck=(-math.log(0.5) + math.log(0.2)) / 2,
                exact=-(math.log(0.5) + math.log(0.2)) / 2,
                atol=1e-6,
                kind="reading",
                slip="S5 leaves out the brackets: the minus sign belongs to both terms",
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
                deck=math.log(0.8),  # the formula, evaluated
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
