"""All 2^H networks that dropout trains, enumerated: what to do at test time."""

import numpy as np

from xpnet import asarray, init, nn, to_numpy
from xpnet import functional as F
from xpnet.lab import Check, Picture, Result, Table, experiment

H, CLASSES = 10, 4
MASKS = (np.arange(2**H)[:, None] >> np.arange(H)) & 1  # (1024, 10): which units are kept


def probability(drop):
    """Of each mask."""
    kept = MASKS.sum(axis=1)
    return (1 - drop) ** kept * drop ** (H - kept)


@experiment("S3, S4, S5", "dropout: 2^H networks, and the weight-scaling rule at test time")
def run() -> Result:
    # core
    h, w = init.normal((1, H), std=1.0), init.normal((CLASSES, H), std=1.0)
    logits = to_numpy(F.linear(h * asarray(MASKS, "float32"), w)).astype(np.float64)  # of every network
    whole = to_numpy(F.linear(h, w))[0].astype(np.float64)

    # softmax regression: the networks' geometric mean is the network with scaled weights
    log_p = to_numpy(F.log_softmax(asarray(logits, "float32"))).astype(np.float64)
    geometric = {drop: np.exp(probability(drop) @ log_p) for drop in (0.2, 0.5)}
    scaled = {drop: to_numpy(F.softmax(asarray(whole * (1 - drop), "float32"))) for drop in (0.2, 0.5)}
    # end of core
    arithmetic = probability(0.5) @ np.exp(log_p)

    # behind a nonlinearity the rule is an approximation
    net = nn.Sequential(nn.Linear(CLASSES, 16), nn.Tanh(), nn.Linear(16, 1))
    through = to_numpy(net(asarray(logits, "float32")))[:, 0]
    expected, approximate = probability(0.5) @ through, net(asarray(whole[None] * 0.5, "float32")).item()

    # S5's example: z = t1 x + t2 y, each input dropped with probability 1/2
    t1, x, t2, y = 2.0, 3.0, -1.0, 5.0
    inputs = np.array([[a * x, b * y] for a in (0, 1) for b in (0, 1)])
    four = to_numpy(F.linear(asarray(inputs, "float32"), asarray([[t1, t2]])))

    def draw(figure):
        axis = figure.subplots()
        for drop in (0.2, 0.5):
            axis.hist(
                logits[:, 0],
                40,
                weights=probability(drop),
                alpha=0.6,
                label=f"p = {drop}",
                histtype="stepfilled",
            )
            axis.axvline((1 - drop) * whole[0], color="k", ls=":")
        axis.set(xlabel="output of unit 0", ylabel="probability")
        axis.legend()

    return Result(
        "The mean output of all 2^10 networks is the whole network's times 1 - p, the probability of "
        "keeping a unit. S3 multiplies by the probability that the unit was set to zero and S4 by the "
        "dropped fraction p, which agrees only for p = 0.5. For softmax regression the geometric mean of "
        "the networks is exactly the scaled one; behind a nonlinearity scaling is an approximation.",
        [
            Check("number of networks", len(logits), exact=2**H),
            Check(
                "mean of all networks, p = 0.2",
                probability(0.2) @ logits,
                deck=0.2 * whole,
                exact=0.8 * whole,
                atol=1e-5,
                slip="S3 multiplies by the probability of being set to zero; it is that of being kept",
            ),
            Check(
                "test phase, p = 0.2: activations 'reduced by a factor p' (S4)",
                probability(0.2) @ logits / whole,
                deck=[0.2] * CLASSES,
                exact=[0.8] * CLASSES,
                atol=1e-4,
                kind="reading",
                slip="reduced by the share p of themselves it is right, multiplied by p it is not",
            ),
            Check(
                "mean of all networks, p = 0.5",
                probability(0.5) @ logits,
                exact=0.5 * whole,
                atol=1e-5,
            ),
            Check(
                "two inputs, p = 0.5: mean of the four outputs (S5's E[z])",
                four.mean(),
                deck=(t1 * 0 + t2 * 0 + t1 * x + t2 * 0 + t1 * 0 + t2 * y + t1 * 0 + t2 * y + t1 * x + t2 * y)
                / 4,
                exact=0.5 * (t1 * x + t2 * y),
                atol=1e-6,
                slip="the four networks have eight terms; the slide prints ten, (2 t1 x + 3 t2 y) / 4",
            ),
            *(
                Check(
                    f"softmax: normalised geometric mean, p = {p}",
                    geometric[p] / geometric[p].sum(),
                    exact=scaled[p],
                    atol=1e-5,
                )
                for p in (0.2, 0.5)
            ),
            Check(
                "softmax: the arithmetic mean is another one",
                np.abs(arithmetic - scaled[0.5]).max(),
                at_least=0.02,
            ),
            Check("tanh: scaled weights against the exact mean", approximate, exact=expected, atol=0.3),
            Check("tanh: they are not equal", abs(approximate - expected), at_least=1e-4),
        ],
        [
            Table(
                "Outputs at test time, p = 0.2",
                ["unit", "mean of 2^10 networks", "times 1 - p", "times p (slides)"],
                [[k, (probability(0.2) @ logits)[k], 0.8 * whole[k], 0.2 * whole[k]] for k in range(CLASSES)],
            )
        ],
        [Picture("Output of the 1024 networks; dotted: the scaled network", draw)],
    )
