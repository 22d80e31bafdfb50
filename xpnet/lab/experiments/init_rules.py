"""Every rule for initial weights, against its formula; and what rand for randn would do."""

import math
from itertools import pairwise

import numpy as np

from xpnet import functional as F
from xpnet import init, tensor, to_numpy
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.gaussian import expectation

OUT, IN = 400, 300
# core
RULES = {  # rule, variance
    "normal": (init.normal, 0.01**2),
    "lecun_normal": (init.lecun_normal, 1 / IN),
    "xavier_fan_in": (init.xavier_fan_in, 1 / IN),
    "glorot_normal": (init.glorot_normal, 2 / (IN + OUT)),
    "glorot_uniform": (init.glorot_uniform, 2 / (IN + OUT)),
    "torch_default": (init.torch_default, 1 / (3 * IN)),
    "he_normal": (init.he_normal, 2 / IN),
    "he_uniform": (init.he_uniform, 2 / IN),
    "orthogonal": (init.orthogonal, 1 / OUT),
}
# end of core
BOUNDS = {
    "glorot_uniform": math.sqrt(6 / (IN + OUT)),
    "torch_default": 1 / math.sqrt(IN),
    "he_uniform": math.sqrt(6 / IN),
}


def through(rule, activation, layers, n=500):
    """Activations of 200 Gaussian samples after each of some layers of n units."""
    h, found = init.normal((200, n), std=1.0), []
    for _ in range(layers):
        h = activation(F.linear(h, rule((n, n))))
        found.append(to_numpy(h))
    return found


def backward_rms(n=500, layers=5):
    """A gradient sent back through linear layers whose weights have variance 1/n_out."""
    x = tensor(init.normal((200, n), std=1.0), requires_grad=True)
    h = x
    for _ in range(layers):
        h = F.linear(h, init.normal((n, n), std=n**-0.5))
    h.backward(init.normal((200, n), std=1.0))
    return float(np.sqrt(np.mean(to_numpy(x.grad) ** 2)))


@experiment("S1, S2, S3, S4", "initialisation rules: Xavier, Glorot, Torch, LeCun, He, orthogonal")
def run() -> Result:
    drawn = {name: to_numpy(rule((OUT, IN))) for name, (rule, _) in RULES.items()}
    variances = {name: float(np.mean(w.astype(np.float64) ** 2)) for name, w in drawn.items()}

    linear = [h.std() for h in through(init.torch_default, lambda z: z, 5)]
    rotated = through(init.orthogonal, lambda z: z, 10)
    lecun = through(init.lecun_normal, F.lecun_tanh, 10)[-1].std()
    moment = 1.0
    for _ in range(10):
        moment = expectation(lambda g, q=moment: (1.7159 * np.tanh(2 / 3 * q**0.5 * g)) ** 2)

    rand = lambda shape: init.uniform(shape, 0.0, 1.0) * math.sqrt(2 / shape[1])  # the line on the slide
    slide = through(rand, F.relu, 4)

    def draw(figure):
        for axis, (name, w) in zip(figure.subplots(3, 3, sharex=True).flat, drawn.items(), strict=True):
            axis.hist(w.reshape(-1), 60, range=(-0.25, 0.25), histtype="stepfilled")
            axis.set_title(f"{name}: variance {variances[name]:.2e}", fontsize="small")
            axis.set_yticks([])
        figure.supxlabel("weight")
        figure.supylabel("number of weights")

    checks = [
        # the variance of n draws is known to within about sqrt(2 / n) = 0.4 %
        Check(f"variance of {name}", variances[name], exact=exact, rtol=0.02)
        for name, (_, exact) in RULES.items()
    ]
    checks += [
        Check(f"largest |w| of {name}", np.abs(drawn[name]).max(), exact=bound, rtol=1e-3)
        for name, bound in BOUNDS.items()
    ]
    w = drawn["orthogonal"]
    checks += [
        Check(
            "orthogonal: largest entry of W^T W - I", np.abs(w.T @ w - np.eye(IN)).max(), exact=0.0, atol=1e-5
        ),
        Check(
            "orthogonal: length after 10 linear layers / before",
            np.linalg.norm(rotated[-1]) / np.linalg.norm(rotated[0]),
            exact=1.0,
            atol=1e-4,
        ),
        Check(
            "Torch's rule: std after 1 to 5 linear layers",
            linear,
            exact=3.0 ** (-np.arange(1, 6) / 2),
            rtol=0.1,
        ),
        Check(
            "Torch's rule: standard deviation of the weights",
            drawn["torch_default"].std(),
            deck=1 / (3 * IN),
            exact=math.sqrt(1 / (3 * IN)),
            rtol=0.01,
            slip="S3 calls sigma^2 = (b - a)^2 / 12 the standard deviation; it is the variance",
        ),
        Check(
            "variance 1/n_out: RMS of a gradient after 5 linear layers back, 500 to 500",
            backward_rms(),
            exact=1.0,
            rtol=0.1,
        ),
        Check("LeCun's rule and tanh: std after 10 layers", lecun, exact=math.sqrt(moment), rtol=0.03),
        Check(
            "S1's np.random.rand(n)*sqrt(2/n): growth of the mean activation a ReLU layer, n = 500",
            [b.mean() / a.mean() for a, b in pairwise(slide[1:])],
            deck="1 1",
            exact=[math.sqrt(500 / 2)] * 2,
            rtol=0.02,
            slip="randn is meant: rand is uniform in [0, 1), all weights positive; and the rule is He's, "
            "not Glorot's",
        ),
    ]
    return Result(
        "Each rule has the variance that its formula says; Torch's uniform +-1/sqrt(n) has 1/(3n), which "
        "costs a factor sqrt(3) a linear layer, and orthogonal weights keep lengths exactly. S1's code for "
        "ReLU draws with rand, whose weights are all positive and blow the activations up by sqrt(n/2) a "
        "layer: it must be randn, and the rule is due to He et al., 2015, not Glorot.",
        checks,
        [
            Table(
                f"Weights of shape ({OUT}, {IN})",
                ["rule", "variance", "formula"],
                [[name, variances[name], exact] for name, (_, exact) in RULES.items()],
            )
        ],
        [Picture("The weights that each rule draws", draw, (9, 5))],
    )
