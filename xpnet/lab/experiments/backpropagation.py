"""Backpropagation: the layer recursion of S2 by hand, automatic differentiation, and a gradient check."""

from itertools import pairwise

import numpy as np

from xpnet import asarray, gradcheck, nn, tensor, to_numpy
from xpnet import functional as F
from xpnet.core.op import differentiable
from xpnet.lab import Check, Result, Table, experiment

SIZES = [6, 8, 7, 4]  # inputs, two hidden layers, classes


def by_hand(x, y, weights, biases):
    """S2's algorithm for one sample: -log f(x)_y and its gradients, from the last layer to the first."""
    h = [x]
    for W, b in zip(weights[:-1], biases[:-1], strict=True):
        h.append(np.tanh(b + W @ h[-1]))
    a = biases[-1] + weights[-1] @ h[-1]
    f = np.exp(a - a.max()) / np.exp(a - a.max()).sum()

    # core
    dW, db = [], []
    da = f - np.eye(len(f))[y]  # -(e(y) - f(x))
    for k in reversed(range(len(weights))):
        dW.insert(0, np.outer(da, h[k]))
        db.insert(0, da)
        dh = weights[k].T @ da
        da = dh * (1 - h[k] ** 2)  # g' of tanh; not used below the first layer
    # end of core
    return -np.log(f[y]), dW, db


@differentiable
def wrong_tanh(x):
    """A typical mistake: the derivative 1 - g instead of 1 - g^2."""
    y = np.tanh(to_numpy(x))
    return asarray(y), lambda dy: dy * asarray(1 - y)


@experiment("S2, S3", "backpropagation: the layer recursion by hand, autodiff, gradient check")
def run() -> Result:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5, SIZES[0])), rng.integers(0, SIZES[-1], 5)
    layers = [nn.Linear(i, o, dtype="float64") for i, o in pairwise(SIZES)]
    model = nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])
    loss = F.cross_entropy(model(asarray(x)), y)
    loss.backward()

    weights, biases = [
        [to_numpy(p.data) for p in ps]
        for ps in ([layer.weight for layer in layers], [layer.bias for layer in layers])
    ]
    samples = [by_hand(xi, yi, weights, biases) for xi, yi in zip(x, y, strict=True)]
    mean = lambda part: [np.mean([s[part][k] for s in samples], axis=0) for k in range(len(layers))]
    checks = [Check("loss", loss, exact=np.mean([s[0] for s in samples]), atol=1e-12)]
    for k, (layer, W, b) in enumerate(zip(layers, mean(1), mean(2), strict=True)):
        checks.append(Check(f"gradient of W{k + 1}", layer.weight.grad, exact=W, atol=1e-12))
        checks.append(Check(f"gradient of b{k + 1}", layer.bias.grad, exact=b, atol=1e-12))

    # the same network as a function of its parameters, against central differences
    def network(*parameters, activation=F.tanh):
        h = asarray(x)
        for k in range(3):
            h = F.linear(h, parameters[2 * k], parameters[2 * k + 1])
            h = activation(h) if k < 2 else h
        return F.cross_entropy(h, y)

    def passes(activation):
        parameters = [tensor(p.numpy().copy(), requires_grad=True) for p in model.parameters()]
        try:
            return gradcheck(lambda *p: network(*p, activation=activation), *parameters)
        except AssertionError:
            return False

    checks.append(Check("gradient check of all parameters passes", passes(F.tanh), exact=True))
    checks.append(
        Check("gradient check with the derivative 1 - g for tanh passes", passes(wrong_tanh), exact=False)
    )
    return Result(
        "The recursion of S2, from f(x) - e(y) down through W^T and g', gives the same gradients as xpnet's "
        "tape, to rounding. Central differences confirm both, and catch a wrong derivative at once.",
        checks,
        [
            Table(
                "Largest gradient by layer",
                ("layer", "weights", "bias"),
                [
                    [
                        k + 1,
                        np.abs(to_numpy(layer.weight.grad)).max(),
                        np.abs(to_numpy(layer.bias.grad)).max(),
                    ]
                    for k, layer in enumerate(layers)
                ],
            )
        ],
    )
