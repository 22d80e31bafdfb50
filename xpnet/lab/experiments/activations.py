"""Activations and their derivatives, by central differences in double precision."""

import numpy as np

from xpnet import asarray, nn, tensor, to_numpy
from xpnet import functional as F
from xpnet.lab import Check, Picture, Result, Table, experiment

BETA = 0.2  # S3's leaky ReLU has a slope of any size
ACTIVATIONS = {
    "identity": lambda z: z * 1.0,
    "sigmoid": F.sigmoid,
    "tanh": F.tanh,
    "LeCun's tanh": F.lecun_tanh,
    "hard tanh": F.hardtanh,
    "ReLU": F.relu,
    "leaky ReLU": F.leaky_relu,
    "leaky ReLU, beta": lambda z: F.leaky_relu(z, BETA),
    "ELU": F.elu,
    "ELU, alpha 2": lambda z: F.elu(z, 2.0),
    "maxout": lambda z: F.maxout(z.reshape(-1, 1) * asarray(np.array([-0.5, 1.5])) + 0.25).reshape(-1),
    "softplus": F.softplus,
    "GELU": F.gelu,
}
Z = np.linspace(-4, 4, 81) + 0.013  # no point on a kink


@experiment("S1, S2, S3", "activation functions and their derivatives")
def run() -> Result:
    def value(f, z):
        return f(tensor(np.asarray(z, dtype=np.float64))).numpy()

    curves, errors = {}, {}
    # core
    for name, f in ACTIVATIONS.items():
        z = tensor(Z, requires_grad=True)
        y = f(z)
        y.sum().backward()
        slope = to_numpy(z.grad)
        numeric = (value(f, Z + 1e-5) - value(f, Z - 1e-5)) / 2e-5
        errors[name] = np.max(np.abs(slope - numeric) / np.maximum(np.abs(numeric), 1e-3))
        # end of core
        curves[name] = y.numpy(), slope

    g = np.linspace(-10, 10, 20001)  # E[f(g)^2] for a standard normal g, as a plain sum
    density = np.exp(-(g**2) / 2) / np.sqrt(2 * np.pi)
    expected = np.sum(density * (1.7159 * np.tanh(2 * g / 3)) ** 2) * 0.001

    sigmoid, tanh = curves["sigmoid"], curves["tanh"]
    maxout_of = lambda slope: (
        lambda z: F.maxout(z.reshape(-1, 1) * asarray(np.array([slope, 1.0]))).reshape(-1)
    )
    leaky = np.abs(value(maxout_of(0.01), Z) - value(F.leaky_relu, Z)).max()
    relu, linear_maxout = nn.Linear(20, 50), nn.Maxout(20, 50)
    sizes = [sum(p.size for p in layer.parameters()) for layer in (relu, linear_maxout)]

    def draw(figure):
        axes = figure.subplots(3, 5, sharex=True, sharey=True)
        for axis, (name, (y, slope)) in zip(axes.flat, curves.items(), strict=False):
            axis.plot(Z, y)
            axis.plot(Z, slope, "--")
            axis.set(title=name, ylim=(-2.2, 4))
            axis.grid(alpha=0.3)
        for axis in figure.axes[len(curves) :]:
            axis.axis("off")
        figure.supxlabel("z")
        figure.supylabel("g(z), dashed: its derivative")

    return Result(
        "Every activation of the decks with its derivative, which agrees with central differences to "
        "1e-6. S3 swaps the cases of ELU, which would then explode; and LeCun's tanh keeps the variance 1 of "
        "inputs +-1, as S3 says, but makes 0.75 of the variance 1 of a Gaussian.",
        [
            *(
                Check(f"derivative of {n}: largest relative error", e, at_most=1e-6)
                for n, e in errors.items()
            ),
            Check("sigmoid' = g (1 - g)", sigmoid[1], exact=sigmoid[0] * (1 - sigmoid[0]), atol=1e-15),
            Check("tanh' = 1 - g^2", tanh[1], exact=1 - tanh[0] ** 2, atol=1e-15),
            Check("tanh z = 2 sigmoid(2z) - 1", tanh[0], exact=2 * value(F.sigmoid, 2 * Z) - 1, atol=1e-15),
            Check(
                "LeCun's tanh at -1, 1",
                value(F.lecun_tanh, [-1, 1]),
                exact=1.7159 * np.tanh([-2 / 3, 2 / 3]),
                atol=1e-12,
            ),
            Check(
                "LeCun's tanh at 2, as S3's slide on initialisation writes it, 1.7159 (2/3 x)",
                value(F.lecun_tanh, 2.0),
                deck=1.7159 * 2 / 3 * 2,
                exact=1.7159 * np.tanh(4 / 3),
                slip="the tanh is missing",
            ),
            Check(
                "ReLU: growth from -2 to -1 ('strictly increasing')",
                np.sign(np.diff(value(F.relu, [-2.0, -1.0])))[0],
                deck=1.0,
                exact=0.0,
                slip="ReLU is 0 for all z < 0: it never decreases, but does not increase there",
            ),
            Check(
                "maxout(0 z, z) = ReLU, maxout(z/100, z) = leaky ReLU: largest difference",
                [np.abs(value(maxout_of(0.0), Z) - value(F.relu, Z)).max(), leaky],
                exact=[0.0, 0.0],
                atol=1e-12,
            ),
            Check(
                "LeCun's tanh: variance for standard normal inputs",
                lecun_variance(),
                deck=1.0,
                noise=0.1,
                exact=expected,
                kind="reading",
                slip="'close to 1' holds for inputs +-1; for Gaussian ones it is 0.75",
            ),
            Check(
                "ELU at -2, 2",
                value(F.elu, [-2, 2]),
                deck=[-2, np.exp(2) - 1],
                exact=[np.exp(-2) - 1, 2],
                slip="S3 swaps the cases",
            ),
            Check(
                "maxout(-z/2 + 1/4, 3z/2 + 1/4)",
                curves["maxout"][0],
                exact=np.maximum(-0.5 * Z, 1.5 * Z) + 0.25,
                atol=1e-12,
            ),
            Check("parameters of maxout to those of ReLU", sizes[1] / sizes[0], deck="2", exact=2.0),
        ],
        [
            Table(
                "Derivatives against central differences",
                ("activation", "largest relative error"),
                list(errors.items()),
            ),
        ],
        [Picture("Activations, and their derivatives (dashed)", draw, (10, 7))],
    )


def lecun_variance() -> float:
    """E[f(z)^2] for z ~ N(0, 1), by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    f = to_numpy(F.lecun_tanh(asarray(nodes)))
    return float(weights @ f**2 / weights.sum())
