"""A gradient on its way down through saturating layers."""

import numpy as np

from xpnet import functional as F
from xpnet import tensor, to_numpy
from xpnet.lab import Check, Picture, Result, Table, experiment

LAYERS = 10
UNITS = {"sigmoid": F.sigmoid, "tanh": F.tanh, "ReLU": F.relu}
STARTS = np.linspace(-6, 6, 49)


@experiment("S1, S2, S3", "saturation: sigmoids kill gradients, ReLU passes them on unchanged")
def run() -> Result:
    # core
    def through_layers(f):
        """A chain of units with weight 1; all starts at once."""
        x = tensor(STARTS, requires_grad=True)
        outputs = [x]
        for _ in range(LAYERS):
            outputs.append(f(outputs[-1]))
        outputs[-1].sum().backward()
        return to_numpy(x.grad), [z.numpy() for z in outputs]

    # end of core

    (sigmoid, s), (tanh, t), (relu, _) = (through_layers(f) for f in UNITS.values())
    z = tensor(np.array([0.0, 10.0, -10.0]), requires_grad=True)
    F.sigmoid(z).sum().backward()
    slopes = to_numpy(z.grad)

    def draw(figure):
        left, right = figure.subplots(1, 2)
        for name, f in UNITS.items():
            for layers, axis in ((1, left), (LAYERS, right)):
                x = tensor(STARTS, requires_grad=True)
                y = x
                for _ in range(layers):
                    y = f(y)
                y.sum().backward()
                axis.semilogy(STARTS, np.maximum(to_numpy(x.grad), 1e-12), label=name)
        left.set(title="1 layer", xlabel="input", ylabel="gradient", ylim=(1e-12, 3))
        right.set(title=f"{LAYERS} layers", xlabel="input", ylim=(1e-12, 3))
        right.legend()

    return Result(
        "The gradient of a chain of layers is the product of their slopes; a sigmoid's is at most 1/4, so "
        "ten of them leave less than a millionth. Far from 0 one sigmoid is enough, and tanh is little "
        "better, while an active ReLU multiplies by exactly 1 and an inactive one by 0.",
        [
            Check("sigmoid's slope at 0", slopes[0], exact=0.25, atol=1e-15),
            Check("sigmoid's slope at 10 and -10", slopes[1:], at_most=5e-5),
            Check(
                f"{LAYERS} sigmoids: gradient = product of the slopes h (1 - h)",
                sigmoid,
                exact=np.prod([h * (1 - h) for h in s[1:]], axis=0),
                atol=0,
                rtol=1e-12,
            ),
            Check(f"{LAYERS} sigmoids: largest gradient", sigmoid.max(), at_most=0.25**LAYERS),
            Check(
                f"{LAYERS} tanh: gradient = product of the slopes 1 - h^2",
                tanh,
                exact=np.prod([1 - h**2 for h in t[1:]], axis=0),
                atol=0,
                rtol=1e-12,
            ),
            Check(f"{LAYERS} ReLUs: gradient", relu, exact=(STARTS > 0) * 1.0),
        ],
        [
            Table(
                f"Largest gradient through {LAYERS} layers",
                ("unit", "gradient"),
                [["sigmoid", sigmoid.max()], ["tanh", tanh.max()], ["ReLU", relu.max()]],
            )
        ],
        [Picture("Gradient through 1 and through 10 layers, against the input", draw)],
    )
