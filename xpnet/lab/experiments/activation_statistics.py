"""Activations through ten layers of 500 units, for the ways of drawing weights that the decks compare."""

import math

import numpy as np

from xpnet import functional as F
from xpnet import init, to_numpy
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.gaussian import tanh_moments

SAMPLES, UNITS, LAYERS, NETWORKS = 1000, 500, 10, 2

SCHEMES = {  # activation, rule for the weights
    "tanh, std 0.01": (F.tanh, lambda shape: init.normal(shape, std=0.01)),
    "tanh, std 1": (F.tanh, lambda shape: init.normal(shape, std=1.0)),
    "tanh, Xavier": (F.tanh, init.xavier_fan_in),
    "ReLU, Xavier": (F.relu, init.xavier_fan_in),
    "ReLU, He": (F.relu, init.he_normal),
}
SLIDES = {  # S2's printout, layers 1 to 10, and its misprints
    "tanh, std 0.01": (
        [0.213081, 0.047551, 0.01063, 0.992378, 0.998532, 0.000119, 0.000026, 0.000006, 0.000001, 0.0],
        "layers 4 and 5 print 0.99, they are 0.0024 and 0.00053",
    ),
    "tanh, std 1": (
        [1.001311, 0.981879, 0.981649, 0.981591, 0.981751, 0.981614, 0.98156, 0.981913, 0.981728, 0.98173],
        "layer 1 prints the input's line; tanh cannot exceed 1",
    ),
    "tanh, Xavier": (
        [0.627953, 0.486051, 0.407723, 0.340186, 0.328917, 0.292116, 0.273387, 0.254935, 0.239266, 0.228888],
        "layers 4 and 5 print 0.340 and 0.329, they are 0.357 and 0.321",
    ),
    "ReLU, Xavier": (
        [0.582273, 0.493798, 0.409212, 0.398605, 0.348299, 0.30328, 0.272748, 0.051572, 0.038583, 0.026676],
        "layers 2 to 7 are misprinted: the deviation falls by 1/sqrt(2) a layer",
    ),
    "ReLU, He": (
        [0.825232, 0.827835, 0.813855, 0.826902, 0.834892, 0.858835, 0.88311, 0.889348, 0.845357, 0.844523],
        "",
    ),
}
RELU = math.sqrt(1 / 2 - 1 / (2 * math.pi))  # std of max(0, g)
THEORY = {
    "tanh, std 0.01": np.sqrt(tanh_moments(UNITS * 0.01**2, LAYERS)),
    "tanh, std 1": np.sqrt(tanh_moments(UNITS, LAYERS)),
    "tanh, Xavier": np.sqrt(tanh_moments(1, LAYERS)),
    "ReLU, Xavier": RELU * 0.5 ** (np.arange(LAYERS) / 2),
    "ReLU, He": RELU * math.sqrt(2) * np.ones(LAYERS),
}


@experiment("S2, S4, S5", "activation statistics: 10 layers, 500 units, 1000 samples, five initialisations")
def run() -> Result:
    deviations, histograms = {}, {}
    for name, (activation, draw_weights) in SCHEMES.items():
        found = []
        for _ in range(NETWORKS):
            h = init.normal((SAMPLES, UNITS), std=1.0)
            layers = []
            for _ in range(LAYERS):
                h = activation(F.linear(h, draw_weights((UNITS, UNITS))))
                layers.append(to_numpy(h))
            found.append([np.std(layer) for layer in layers])
        deviations[name] = np.mean(found, axis=0)
        histograms[name] = [np.histogram(layer, 40, (-1, 1))[0] for layer in layers]

    def draw(figure):
        for row, (name, counts) in zip(
            figure.subplots(5, LAYERS, sharex=True), histograms.items(), strict=True
        ):
            for axis, count in zip(row, counts, strict=True):
                axis.fill_between(np.linspace(-1, 1, 40), count, step="mid")
                axis.set(yticks=[], xticks=[-1, 1])
            row[0].set_ylabel(name, fontsize=6)

    def draw_deviations(figure):
        axis = figure.subplots()
        for name in SCHEMES:
            (line,) = axis.semilogy(range(1, LAYERS + 1), deviations[name], "o", label=name)
            axis.semilogy(range(1, LAYERS + 1), THEORY[name], color=line.get_color())
        axis.set(xlabel="layer", ylabel="standard deviation")
        axis.legend(fontsize=7)

    return Result(
        "Weights of deviation 0.01 let the activations of a tanh network die out, weights of deviation 1 "
        "saturate them; Xavier's 1/sqrt(n) keeps tanh alive and He's sqrt(2/n) keeps ReLU exactly as it "
        "starts. The slides misprint a layer or more in four of the five tables; theory is q' = "
        "E[tanh^2(sqrt(n s^2 q) g)] for tanh and sqrt((1/2 - 1/2pi) n s^2 (n s^2/2)^(l-1)) for ReLU.",
        [
            # ReLU's deviations wander: a layer multiplies the second moment by 1 +- sqrt(5/500)
            Check(
                f"std of layers 1 to 10, {name}",
                deviations[name],
                deck=SLIDES[name][0],
                exact=THEORY[name],
                rtol=0.2 if "ReLU" in name else 0.03,
                slip=SLIDES[name][1],
            )
            for name in SCHEMES
        ],
        [
            Table(
                "Standard deviation: ours (theory)",
                ["layer", *SCHEMES],
                [
                    [l + 1, *(f"{deviations[s][l]:.3g} ({THEORY[s][l]:.3g})" for s in SCHEMES)]
                    for l in range(LAYERS)
                ],
            )
        ],
        [
            Picture(
                "Histograms of the activations in (-1, 1), layers 1 to 10 from left to right", draw, (10, 5)
            ),
            Picture("Standard deviation: measured (points) and theory (lines)", draw_deviations),
        ],
    )
