"""Activations through ten layers of 500 units, for the ways of drawing weights that the decks compare."""

import math

import numpy as np

from xpnet import functional as F
from xpnet import init, to_numpy
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.gaussian import tanh_moments

SAMPLES, UNITS, LAYERS = 1000, 500, 10

SCHEMES = {  # activation, rule for the weights
    "tanh, std 0.01": (F.tanh, lambda shape: init.normal(shape, std=0.01)),
    "tanh, std 1": (F.tanh, lambda shape: init.normal(shape, std=1.0)),
    "tanh, Xavier": (F.tanh, init.xavier_fan_in),
    "ReLU, Xavier": (F.relu, init.xavier_fan_in),
    "ReLU, He": (F.relu, init.he_normal),
}
SLIDES = {  # S2's printout, layers 1 to 10, and what happened to it
    "tanh, std 0.01": (
        "0.213081 0.047551 0.010630 0.992378 0.998532 0.000119 0.000026 0.000006 0.000001 0.000000",
        "layers 4 and 5 read 0.99; other copies of the lecture have 0.002378 and 0.000532",
    ),
    "tanh, std 1": (
        "1.001311 0.981879 0.981649 0.981591 0.981751 0.981614 0.981560 0.981913 0.981728 0.981730",
        "layer 1 is the input's line, one line slipped; tanh cannot exceed 1",
    ),
    "tanh, Xavier": (
        "0.627953 0.486051 0.407723 0.340186 0.328917 0.292116 0.273387 0.254935 0.239266 0.228888",
        "layers 4 and 5 read 0.340 and 0.329, they are 0.357 and 0.321",
    ),
    "ReLU, Xavier": (
        "0.582273 0.493798 0.409212 0.398605 0.348299 0.303280 0.272748 0.051572 0.038583 0.026676",
        "layers 2 to 7 are misread: the means beside them fall by 1/sqrt(2) a layer, and so do the "
        "deviations",
    ),
    "ReLU, He": (
        "0.825232 0.827835 0.813855 0.826902 0.834892 0.858835 0.883110 0.889348 0.845357 0.844523",
        "",
    ),
}
MEANS = {  # S2's, of the ReLU networks
    "ReLU, Xavier": "0.398623 0.272352 0.198621 0.136442 0.099568 0.072234 0.049775 0.035138 "
    "0.025404 0.018408",
    "ReLU, He": "0.562408 0.553614 0.545687 0.505396 0.547678 0.587183 0.623214 0.623214 0.567498 0.552531",
}
RELU = math.sqrt(1 / 2 - 1 / (2 * math.pi))  # std of max(0, g)
THEORY = {
    "tanh, std 0.01": np.sqrt(tanh_moments(UNITS * 0.01**2, LAYERS)),
    "tanh, std 1": np.sqrt(tanh_moments(UNITS, LAYERS)),
    "tanh, Xavier": np.sqrt(tanh_moments(1, LAYERS)),
    "ReLU, Xavier": RELU * 0.5 ** (np.arange(LAYERS) / 2),
    "ReLU, He": RELU * math.sqrt(2) * np.ones(LAYERS),
}
MEAN_THEORY = {  # of ReLU: sqrt(q / 2 pi), q the variance before it
    "ReLU, Xavier": 0.5 ** (np.arange(LAYERS) / 2) / math.sqrt(2 * math.pi),
    "ReLU, He": np.ones(LAYERS) / math.sqrt(math.pi),
}
# a ReLU layer multiplies the second moment by 1 +- sqrt(5/500): two of these deviations, layer by layer
WANDERS = 0.03 + 0.1 * np.sqrt(np.arange(LAYERS))


@experiment("S2, S4, S5", "activation statistics: 10 layers, 500 units, 1000 samples, five initialisations")
def run() -> Result:
    deviations, means, histograms = {}, {}, {}
    # core
    for name, (activation, draw_weights) in SCHEMES.items():
        h, layers = init.normal((SAMPLES, UNITS), std=1.0), []
        for _ in range(LAYERS):
            h = activation(F.linear(h, draw_weights((UNITS, UNITS))))
            layers.append(to_numpy(h))
        deviations[name] = np.array([np.std(layer) for layer in layers])
        means[name] = np.array([np.mean(layer) for layer in layers])
        # end of core
        histograms[name] = [np.histogram(layer[:200], 40, (-1, 1))[0] for layer in layers]

    def draw(figure):
        axes = figure.subplots(5, 1, sharex=True, subplot_kw={"yticks": []})
        for axis, (name, counts) in zip(axes, histograms.items(), strict=True):
            for l, count in enumerate(counts, 1):  # from -1 to 1, side by side
                axis.stairs(count / count.max(), np.linspace(l - 0.42, l + 0.42, 41), fill=True, color="C0")
            axis.set_ylabel(name.replace(", ", "\n"), fontsize="small")
        axes[-1].set(xticks=range(1, LAYERS + 1), xlabel="layer; each histogram from -1 to 1")

    def draw_deviations(figure):
        axis = figure.subplots()
        for name in SCHEMES:
            (line,) = axis.semilogy(range(1, LAYERS + 1), deviations[name], "o", label=name)
            axis.semilogy(range(1, LAYERS + 1), THEORY[name], color=line.get_color())
        axis.set(xlabel="layer", ylabel="standard deviation")
        axis.legend(fontsize="small")

    def draw_means(figure):
        axis = figure.subplots()
        for name in SCHEMES:
            axis.plot(range(1, LAYERS + 1), means[name], "o-", label=name)
        axis.set(xlabel="layer", ylabel="mean")
        axis.legend(fontsize="small")

    return Result(
        "Weights of deviation 0.01 let the activations of a tanh network die out, weights of deviation 1 "
        "saturate them; Xavier's 1/sqrt(n) keeps tanh alive and He's sqrt(2/n) keeps ReLU exactly as it "
        "starts. Our text of the slides has a damaged layer or more in four of the five tables; "
        "theory is q' = "
        "E[tanh^2(sqrt(n s^2 q) g)] for tanh and sqrt((1/2 - 1/2pi) n s^2 (n s^2/2)^(l-1)) for ReLU.",
        [
            *(
                Check(
                    f"std of layers 1 to 10, {name}",
                    deviations[name],
                    deck=SLIDES[name][0],
                    exact=THEORY[name],
                    rtol=WANDERS if "ReLU" in name else 0.03,
                    noise=WANDERS if "ReLU" in name else 0.003 if name == "tanh, std 1" else 0.03,
                    kind="text",
                    slip=SLIDES[name][1],
                )
                for name in SCHEMES
            ),
            *(
                Check(
                    f"mean of layers 1 to 10, {name}",
                    means[name],
                    deck=MEANS[name],
                    exact=MEAN_THEORY[name],
                    rtol=WANDERS,
                    noise=WANDERS,
                )
                for name in MEANS
            ),
        ],
        [
            Table(
                "Standard deviation: ours (theory)",
                ["layer", *SCHEMES],
                [
                    [l + 1, *(f"{deviations[s][l]:.3g} ({THEORY[s][l]:.3g})" for s in SCHEMES)]
                    for l in range(LAYERS)
                ],
            ),
            Table(
                "Mean: ours (theory)",
                ["layer", *MEANS],
                [
                    [l + 1, *(f"{means[s][l]:.3g} ({MEAN_THEORY[s][l]:.3g})" for s in MEANS)]
                    for l in range(LAYERS)
                ],
            ),
        ],
        [
            Picture("Mean of the activations by layer, S2's other plot", draw_means),
            Picture(
                "Histograms of the activations in (-1, 1), layers 1 to 10 from left to right", draw, (10, 5)
            ),
            Picture("Standard deviation: measured (points) and theory (lines)", draw_deviations),
        ],
    )
