"""Gradients through ten layers, for the same five initialisations: what the slides only ask about."""

import numpy as np

from xpnet import functional as F
from xpnet import init, tensor, to_numpy
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.gaussian import expectation, tanh_moments

SAMPLES, UNITS, LAYERS = 100, 500, 10
SCHEMES = {  # activation, standard deviation of the weights
    "tanh, std 0.01": (F.tanh, 0.01),
    "tanh, std 1": (F.tanh, 1.0),
    "tanh, Xavier": (F.tanh, UNITS**-0.5),
    "ReLU, Xavier": (F.relu, UNITS**-0.5),
    "ReLU, He": (F.relu, (2 / UNITS) ** 0.5),
}


def rms(x):
    return float(np.sqrt(np.mean(to_numpy(x).astype(np.float64) ** 2)))


def measure(activation, std):
    """RMS of the loss's derivative by the activations of layers 1 to 9, and by the weights of 1 to 10."""
    # core
    weights = [tensor(init.normal((UNITS, UNITS), std), requires_grad=True) for _ in range(LAYERS)]
    probes = [tensor(init.zeros((SAMPLES, UNITS)), requires_grad=True) for _ in range(LAYERS)]
    h = init.normal((SAMPLES, UNITS), 1.0)
    for weight, probe in zip(weights, probes, strict=True):
        h = activation(F.linear(h, weight)) + probe  # adds 0; its gradient is that of the activations
    h.backward(init.normal((SAMPLES, UNITS), 1.0))
    return [rms(p.grad) for p in probes[:-1]], [rms(w.grad) for w in weights]
    # end of core


def predict(activation, std):
    """A layer multiplies gradients by sqrt(n s^2 E[g'^2]), if they do not depend on the activations."""
    gain = UNITS * std**2
    if activation is F.relu:
        moments = 0.5 * gain * (gain / 2) ** np.arange(LAYERS)
        slopes = np.full(LAYERS, 0.5)
    else:
        moments = np.array(tanh_moments(gain, LAYERS))
        scales = np.sqrt(gain * np.array([1, *moments[:-1]]))
        slopes = np.array([expectation(lambda g, a=a: np.cosh(a * g) ** -4.0) for a in scales])
    activations = np.cumprod(np.sqrt(gain * slopes[:0:-1]))[::-1]  # layers 1 to 9
    before = np.sqrt(slopes) * np.append(activations, 1.0)  # before the nonlinearity
    return activations, np.sqrt(SAMPLES * np.array([1, *moments[:-1]])) * before


@experiment("S2, S5", "what do the gradients look like? the backward pass of the activation tables")
def run() -> Result:
    found = {name: measure(*scheme) for name, scheme in SCHEMES.items()}
    theory = {name: predict(*scheme) for name, scheme in SCHEMES.items()}
    saturated = expectation(lambda g: np.cosh((UNITS * 0.964) ** 0.5 * g) ** -2.0 < 0.01)
    z = F.linear(init.normal((SAMPLES, UNITS), 0.982), init.normal((UNITS, UNITS), 1.0))
    dead = np.mean(1 - np.tanh(to_numpy(z)) ** 2 < 0.01)

    def draw(figure):
        axes = figure.subplots(1, 2)
        for name in SCHEMES:
            for axis, ours, exact in zip(axes, found[name], theory[name], strict=True):
                layers = range(1, len(ours) + 1)
                (line,) = axis.semilogy(layers, ours, "o", label=name)
                axis.semilogy(layers, exact, color=line.get_color())
        axes[0].set(xlabel="layer", ylabel="gradient of the activations")
        axes[1].set(xlabel="layer", ylabel="gradient of the weights")
        axes[0].legend(fontsize="small")

    checks = [
        Check(f"RMS gradient by the activations of layers 1 to 9, {name}", ours, exact=exact, rtol=rtol)
        for (name, (ours, _)), (exact, _) in zip(found.items(), theory.values(), strict=True)
        for rtol in [0.05 if name in ("tanh, std 0.01", "tanh, Xavier") else 0.3]
    ]
    checks += [
        Check(
            "weights' gradients, tanh, std 0.01: the same at layer 1 and 10, and tiny",
            found["tanh, std 0.01"][1][0] / found["tanh, std 0.01"][1][-1],
            exact=theory["tanh, std 0.01"][1][0] / theory["tanh, std 0.01"][1][-1],
            rtol=0.05,
        ),
        Check("share of units with slope below 0.01, tanh, std 1", dead, exact=saturated, atol=0.01),
        Check(
            "growth of the gradients a layer, tanh, std 1",
            (found["tanh, std 1"][0][0]) ** (1 / (LAYERS - 1)),
            deck="0",
            exact=theory["tanh, std 1"][0][0] ** (1 / (LAYERS - 1)),
            rtol=0.05,
            slip="nearly all slopes are 0, but weights of size 1 carry the others: the gradients explode",
        ),
    ]
    return Result(
        "With weights of deviation 0.01 a gradient shrinks by 0.22 a layer while the slope of tanh is 1, "
        "and the gradients of all weights are equally tiny: small activations times small gradients. With "
        "deviation 1 most units are saturated as S2 says, but its 'gradients will be all zero' is wrong: "
        "the few that are not let the gradient grow by 3.5 a layer; only He's rule keeps ReLU's gradients "
        "as they are.",
        checks,
        [
            Table(
                "RMS gradient by the activations",
                ["layer", *SCHEMES],
                [[l + 1, *(found[s][0][l] for s in SCHEMES)] for l in range(LAYERS - 1)],
            )
        ],
        [Picture("Gradients by layer: measured (points) and theory (lines)", draw)],
    )
