"""Averaging the randomness of dropout out: y = E_z[f(x, z)], by sampling masks."""

import numpy as np

from xpnet import asarray, init, nn, no_grad, tensor, to_numpy
from xpnet import functional as F
from xpnet.ensemble import monte_carlo_dropout
from xpnet.lab import Check, Picture, Result, Table, experiment

INPUTS, H, P = 5, 10, 0.5
SIZES = (10, 100, 1000, 10000)


@experiment("S2, S4", "dropout makes the output random: Monte-Carlo average, input and hidden ratios")
def run() -> Result:
    x = init.normal((1, INPUTS), std=1.0)
    first, last = nn.Linear(INPUTS, H, weight_init=init.he_normal), nn.Linear(H, 3)
    head = nn.Sequential(last, nn.Tanh())
    model = nn.Sequential(first, nn.ReLU(), nn.Dropout(P), head)

    with no_grad():
        # core
        hidden = F.relu(first(x))
        masks = ((np.arange(2**H)[:, None] >> np.arange(H)) & 1) / (1 - P)
        exact = to_numpy(head(hidden * asarray(masks, "float32"))).astype(np.float64)
        mean, deviation = exact.mean(axis=0), exact.std(axis=0)  # p = 0.5: all masks are equally likely
        model.train()
        many = to_numpy(model(asarray(np.repeat(to_numpy(x), max(SIZES), axis=0)))).astype(np.float64)
        model.eval()
        scaled = to_numpy(model(x))[0]
        # end of core
    short_mean, short_deviation = (
        to_numpy(a)[0] for a in monte_carlo_dropout(model, x, 1000, activation=None)
    )
    averages = {n: many[:n].mean(axis=0) for n in SIZES}
    # the mean of n outputs has standard deviation sigma / sqrt(n): measure it with blocks of n
    spread = [many.reshape(-1, n, 3).mean(axis=1).std(axis=0)[0] for n in SIZES[:3]]

    ones = init.constant((1000, 100), 1.0)
    dropped = {p: to_numpy(F.dropout(ones, p)) for p in (0.2, 0.5)}

    passed = tensor(np.ones((1000, 100), dtype=np.float32), requires_grad=True)
    out = F.dropout(passed, 0.2)
    out.sum().backward()

    def draw(figure):
        axes = figure.subplots(1, 2)
        axes[0].hist(many[:, 0], 60, histtype="stepfilled")
        axes[0].axvline(mean[0], color="k", label="mean of all 2^10")
        axes[0].axvline(scaled[0], color="C1", ls="--", label="scaled weights")
        axes[0].set(xlabel="output 0", ylabel="of 10000 random networks")
        axes[0].legend()
        axes[1].semilogx(np.arange(1, 10001), np.cumsum(many[:, 0]) / np.arange(1, 10001))
        axes[1].axhline(mean[0], color="k")
        axes[1].set(xlabel="networks n", ylabel="mean of n outputs")

    return Result(
        "The integral over the masks 'seems hard', but the mean of n random passes comes within "
        "sigma/sqrt(n) of it, here checked against all 2^10 masks; scaled weights need one pass and are "
        "close. Usual ratios drop 0.2 of the inputs and 0.5 of the hidden units; what is kept is divided by "
        "1 - p, so the mean stays.",
        [
            Check(
                "mean of 10000 random networks, in standard errors",
                np.abs(averages[10000] - mean) / (deviation / 100),
                at_most=4.0,
            ),
            Check(
                "xpnet.ensemble.monte_carlo_dropout, 1000 masks: mean, in standard errors",
                np.abs(short_mean - mean) / (deviation / 1000**0.5),
                at_most=4.0,
            ),
            Check("its deviation of the outputs", short_deviation, exact=deviation, rtol=0.1),
            Check(
                "standard deviation of a mean of 10, 100, 1000",
                spread,
                exact=deviation[0] / np.sqrt(SIZES[:3]),
                rtol=0.4,
            ),
            Check(
                "gradient through dropout: the mask / (1 - p), largest difference",
                np.abs(to_numpy(passed.grad) - (to_numpy(out) > 0) / (1 - 0.2)).max(),
                exact=0.0,
                atol=1e-6,
            ),
            Check("one pass with scaled weights", scaled, exact=mean, atol=0.2),
            *(
                Check(f"share of zeros, p = {p}", np.mean(y == 0), exact=p, atol=0.007)
                for p, y in dropped.items()
            ),
            *(
                Check(f"mean after dropout, p = {p}", y.mean(), exact=1.0, atol=0.014)
                for p, y in dropped.items()
            ),
            *(
                Check(
                    f"value of the kept units, p = {p}", np.unique(y[y > 0]), exact=[1 / (1 - p)], rtol=1e-6
                )
                for p, y in dropped.items()
            ),
        ],
        [
            Table(
                "Mean of n random networks",
                ["n", "output 0", "output 1", "output 2"],
                [*([n, *a] for n, a in averages.items()), ["all 2^10", *mean], ["scaled weights", *scaled]],
            )
        ],
        [Picture("Monte-Carlo average", draw)],
    )
