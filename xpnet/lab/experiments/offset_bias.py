"""What the mean of an activation is when its inputs have mean 0, and how many outputs are 0."""

import math

import numpy as np

from xpnet import functional as F
from xpnet import init, to_numpy
from xpnet.lab import Check, Picture, Result, Table, experiment

N = 200_000
# core
HALF = 1 / math.sqrt(2 * math.pi)  # E[max(0, g)] for g from N(0, 1)
# E[exp(g); g < 0] = exp(1/2) P(g < -1)
BELOW = math.exp(0.5) * 0.5 * math.erfc(1 / math.sqrt(2))
MEANS = {
    "ReLU": (F.relu, HALF),
    "leaky ReLU": (F.leaky_relu, 0.99 * HALF),
    "leaky ReLU, beta 0.2": (lambda x: F.leaky_relu(x, 0.2), 0.8 * HALF),
    "ELU": (F.elu, HALF + BELOW - 0.5),
    "tanh": (F.tanh, 0.0),
}
# end of core


@experiment("S2, S3", "offset bias of ReLU, leaky ReLU and ELU; sparse activities")
def run() -> Result:
    x = init.normal((N,), std=1.0)
    outputs = {name: to_numpy(f(x)).astype(np.float64) for name, (f, _) in MEANS.items()}
    zeros = {name: float(np.mean(y == 0)) for name, y in outputs.items()}

    def draw(figure):
        axis = figure.subplots()
        axis.bar(range(len(MEANS)), [y.mean() for y in outputs.values()])
        axis.set(xticks=range(len(MEANS)), ylabel="mean output, inputs N(0, 1)")
        axis.set_xticklabels(list(MEANS), fontsize="small")

    return Result(
        "For inputs of mean 0 ReLU's outputs have the mean 0.399; a small slope below 0 hardly changes it "
        "(0.395 for 0.01), and ELU's is 0.160: weaker, but not 'no offset bias anymore' as S3 has "
        "it. Half of "
        "ReLU's outputs are exactly 0, S2's sparse activities; of the others none is.",
        [
            *(
                Check(f"mean output of {name}", outputs[name].mean(), exact=mean, atol=0.006)
                for name, (_, mean) in MEANS.items()
                if name != "ELU"
            ),
            Check(
                "mean output of ELU",
                outputs["ELU"].mean(),
                deck="0",
                exact=MEANS["ELU"][1],
                atol=0.006,
                slip="'no offset bias anymore': 0.160 is left of ReLU's 0.399",
            ),
            Check("share of outputs that are exactly 0: ReLU", zeros["ReLU"], exact=0.5, atol=0.005),
            Check(
                "share of outputs that are exactly 0: the others",
                [v for n, v in zeros.items() if n != "ReLU"],
                exact=[0.0] * 4,
                atol=1e-4,
            ),
        ],
        [
            Table(
                "Inputs N(0, 1)",
                ("activation", "mean", "exact", "share of zeros"),
                [[n, outputs[n].mean(), MEANS[n][1], zeros[n]] for n in MEANS],
            )
        ],
        [Picture("Offset bias", draw, (6, 3))],
    )
