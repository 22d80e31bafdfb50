"""Hinge and cross-entropy: one is content with a margin, the other never."""

import numpy as np

from xpnet import asarray, nn, optim, tensor, to_numpy
from xpnet.functional import cross_entropy, multi_margin_loss
from xpnet.lab import Check, Picture, Result, experiment

EXAMPLE = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])  # scores, from CS231n
LEADS = np.linspace(-3, 12, 61)


def hinge(scores, target, reduction="mean"):
    """The decks' sum over k != y of max(0, s_k - s_y + 1); xpnet, like PyTorch, divides it by the classes."""
    return multi_margin_loss(scores, target, reduction=reduction) * scores.shape[1]


@experiment("S5", "hinge saturates at 0 when a class is learnt well enough; cross-entropy never does")
def run() -> Result:
    y = np.array([0, 1, 2])
    by_hand = np.sum(np.maximum(0, EXAMPLE - EXAMPLE[y, y][:, None] + 1), axis=1) - 1  # without k = y

    wrong = EXAMPLE - EXAMPLE[y, y][:, None] + 1 > 0
    wrong[y, y] = False
    slopes = wrong - np.eye(3)[y] * wrong.sum(axis=1)[:, None]  # +1 if too near, -1 for each such
    example = tensor(EXAMPLE, requires_grad=True)
    hinge(example, y, reduction="sum").backward()

    # core
    def curve(loss):
        """Scores (lead, 0, 0) with class 0 right: losses and the slope in the lead."""
        lead = tensor(LEADS, requires_grad=True)
        scores = lead.reshape(-1, 1) * asarray(np.array([[1.0, 0, 0]]))
        losses = loss(scores, np.zeros(len(LEADS), dtype=np.int64), reduction="none")
        losses.sum().backward()
        return losses.numpy(), to_numpy(lead.grad)

    # end of core

    def train(loss, steps=300):
        """Three separable clouds, a linear classifier."""
        rng = np.random.default_rng(0)
        labels = np.arange(60) % 3
        centres = np.array([[0, 2], [2, -1], [-2, -1.0]])
        x = asarray((centres[labels] + 0.3 * rng.standard_normal((60, 2))).astype(np.float32))
        model = nn.Linear(2, 3)
        optimizer, history, moved = optim.SGD(model, lr=0.5), [], []
        for _ in range(steps):
            before = to_numpy(model.weight.data).copy()
            optimizer.zero_grad()
            value = loss(model(x), labels)
            value.backward()
            optimizer.step()
            history.append(value.item())
            moved.append(np.abs(to_numpy(model.weight.data) - before).max())
        return history, moved[-1]

    h, dh = curve(hinge)
    c, dc = curve(cross_entropy)
    (hinge_history, hinge_moves), (ce_history, ce_moves) = train(hinge), train(cross_entropy)

    def draw(figure):
        left, right = figure.subplots(1, 2)
        left.plot(LEADS, h, label="hinge")
        left.plot(LEADS, c, label="cross-entropy")
        left.set(xlabel="lead of the right score", ylabel="loss")
        right.semilogy(np.maximum(hinge_history, 1e-6), label="hinge")
        right.semilogy(ce_history, label="cross-entropy")
        right.set(xlabel="step", ylabel="loss (floor 1e-6)")
        right.legend()

    beyond = LEADS > 1
    return Result(
        "Once the right score leads by 1 the hinge loss and its gradient are exactly 0, and training stops. "
        "Cross-entropy is log(1 + 2 exp(-lead)) here: always positive, always pulling.",
        [
            Check("hinge of three examples", hinge(asarray(EXAMPLE), y, "none"), exact=by_hand, atol=1e-12),
            Check("hinge of three examples: slopes", example.grad, exact=slopes, atol=1e-12),
            Check("hinge where the lead exceeds 1", h[beyond], exact=0 * h[beyond], atol=0),
            Check("its gradient there", dh[beyond], exact=0 * h[beyond], atol=0),
            Check("cross-entropy = log(1 + 2 exp(-lead))", c, exact=np.log1p(2 * np.exp(-LEADS)), atol=1e-12),
            Check("its gradient = -2 / (exp(lead) + 2)", dc, exact=-2 / (np.exp(LEADS) + 2), atol=1e-12),
            Check("cross-entropy at a lead of 12", c[-1], at_least=1e-6),
            Check("trained: hinge at the end", hinge_history[-1], exact=0.0, atol=0),
            Check("trained: last update with hinge", hinge_moves, exact=0.0, atol=0),
            Check("trained: last update with cross-entropy", ce_moves, at_least=1e-5),
        ],
        pictures=[Picture("Loss against the lead of the right score; and during training", draw)],
    )
