"""A deep linear network whose layers are 1.5 I or 0.5 I: its output explodes or vanishes."""

import numpy as np

from xpnet import nn, tensor, to_numpy
from xpnet.lab import Check, Picture, Result, experiment

DEPTHS = (2, 5, 10, 20, 50)


def chain(c, depth):
    """`depth` - 1 layers c I, then the last one, W^[L] = (1, 1)."""
    layers = [nn.Linear(2, 2, bias=False) for _ in range(depth - 1)]
    for layer in layers:
        layer.weight.data = tensor([[c, 0.0], [0.0, c]]).data
    last = nn.Linear(2, 1, bias=False)
    last.weight.data = tensor([[1.0, 1.0]]).data
    return nn.Sequential(*layers, last)


@experiment("S4", "too large and too small initialisation: W = 1.5 I and 0.5 I in every layer")
def run() -> Result:
    outputs, gradients = {}, {}
    # core
    for c in (1.5, 1.0, 0.5):
        outputs[c], gradients[c] = [], []
        for depth in DEPTHS:
            model = chain(c, depth)
            y = model(tensor([[1.0, 2.0]])).sum()
            y.backward()
            outputs[c].append(y.item())
            gradients[c].append(to_numpy(model[0].weight.grad).tolist())
    # end of core

    def draw(figure):
        axis = figure.subplots()
        for c, values in outputs.items():
            axis.semilogy(DEPTHS, values, "o-", label=f"W = {c} I")
        axis.set(xlabel="layers L", ylabel="output")
        axis.legend()

    powers = np.array(DEPTHS) - 1.0
    checks = [
        Check(
            f"output for L = 2, 5, 10, 20, 50, W = {c} I", outputs[c], exact=3 * c**powers, atol=0, rtol=1e-5
        )
        for c in outputs
    ]
    checks += [
        # dy/dW^[1] = W^[2] ... W^[L-1] (1, 1)^T x^T
        Check(
            f"gradient of the first layer, L = 2 to 50, W = {c} I",
            np.reshape(gradients[c], (-1, 4)),
            exact=c ** (powers - 1)[:, None] * [1, 2, 1, 2],
            atol=0,
            rtol=1e-5,
        )
        for c in outputs
    ]
    return Result(
        "The output of the chain is c^(L-1) W^[L] x: after 50 layers it is 4e8 times the input for c = 1.5 "
        "and 2e-15 times for c = 0.5. The gradient of the first layer has the factor c^(L-2), so it "
        "explodes or vanishes with it.",
        checks,
        pictures=[Picture("Output against depth", draw)],
    )
