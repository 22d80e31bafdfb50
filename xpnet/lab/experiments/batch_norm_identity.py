"""What batch norm can undo, and what it makes useless."""

import numpy as np

from xpnet import asarray, init, nn, tensor, to_numpy
from xpnet import functional as F
from xpnet.lab import Check, Picture, Result, experiment

N, UNITS, EPS = 256, 8, 1e-5


@experiment("S1, S2, S5", "batch norm: unit Gaussians, identity restored by gamma and beta, biases cancelled")
def run() -> Result:
    # core
    h = init.normal((N, UNITS), std=3.0, mean=5.0)
    host = to_numpy(h).astype(np.float64)
    mean, variance = host.mean(axis=0), host.var(axis=0)

    normal = to_numpy(F.batch_norm(h, training=True)).astype(np.float64)

    layer = nn.BatchNorm1d(UNITS, eps=EPS)
    layer.weight.data = tensor(np.sqrt(variance + EPS), dtype="float32").data
    layer.bias.data = tensor(mean, dtype="float32").data
    restored = to_numpy(layer(h))
    # end of core
    layer.weight.data = tensor(np.sqrt(variance * 0.5), dtype="float32").data
    not_restored = to_numpy(layer(h))

    # a bias before batch norm: the output does not see it, and its gradient is 0
    linear = nn.Linear(UNITS, UNITS)
    outputs = []
    for shift in (0.0, 100.0):
        linear.bias.data = init.constant((UNITS,), shift)
        outputs.append(F.batch_norm(linear(h), training=True))
    loss = (outputs[0] * tensor(init.normal((N, UNITS), std=1.0))).sum()
    loss.backward()
    bias_gradient, weight_gradient = (np.abs(to_numpy(p.grad)).max() for p in (linear.bias, linear.weight))

    # the scale of the weights before it cancels too
    w = init.normal((UNITS, UNITS), std=0.1)
    target, scaled, gradients = init.normal((N, UNITS), std=1.0), [], []
    for scale in (1.0, 100.0):
        weight = tensor(w * scale, requires_grad=True)
        y = F.batch_norm(F.linear(h, weight), training=True, eps=0.0)
        (y * target).sum().backward()
        scaled.append(y.numpy())
        gradients.append(np.linalg.norm(to_numpy(weight.grad)))

    # its gradient, by hand: (dy - mean dy - x^ mean(dy x^)) gamma / sqrt(Var + eps)
    rng = np.random.default_rng(0)
    x64, dy = rng.exponential(size=(N, UNITS)), rng.standard_normal((N, UNITS))
    t = tensor(x64, requires_grad=True)
    out = F.batch_norm(t, training=True, eps=EPS)
    out.backward(asarray(dy))
    deviation = np.sqrt(x64.var(axis=0) + EPS)
    hat = (x64 - x64.mean(axis=0)) / deviation
    by_hand = (dy - dy.mean(axis=0) - hat * (dy * hat).mean(axis=0)) / deviation
    # skewed values stay as skewed: only mean and variance change
    skewness = lambda z: np.mean(((z - z.mean()) / z.std()) ** 3)
    skewed = np.exp(0.8 * rng.standard_normal((4000, 1)))
    kept = skewness(to_numpy(F.batch_norm(asarray(skewed), training=True, eps=EPS)))

    def draw(figure):
        axes = figure.subplots(1, 3, sharey=True)
        for axis, values, title in zip(
            axes, (host, normal, restored), ("input", "normalised", "gamma, beta restore it"), strict=True
        ):
            axis.hist(values.reshape(-1), 50, histtype="stepfilled")
            axis.set(title=title, xlabel="activation")
        axes[0].set_ylabel("number")

    return Result(
        "Batch norm makes each unit's inputs of mean 0 and variance 1 over the batch, and gamma = sqrt(Var "
        "+ eps), beta = E undo it exactly (the slides leave eps out, which matters only for units that "
        "hardly vary). A bias before it changes nothing and gets no gradient, and neither does the scale of "
        "the weights matter: leave the bias out.",
        [
            Check(
                "mean of each unit after batch norm", normal.mean(axis=0), exact=np.zeros(UNITS), atol=1e-5
            ),
            Check(
                "variance of each unit: Var / (Var + eps)",
                normal.var(axis=0),
                exact=variance / (variance + EPS),
                atol=1e-5,
            ),
            Check(
                "gamma = sqrt(Var + eps), beta = E: largest change of the input",
                np.abs(restored - host).max(),
                exact=0.0,
                atol=2e-5,
            ),
            Check("gradient of batch norm", t.grad, exact=by_hand, atol=1e-9),
            Check(
                "skewness after batch norm, log-normal inputs ('makes the input Gaussian')",
                kept,
                deck="0",
                exact=skewness(skewed),
                rtol=1e-4,
                slip="mean 0 and variance 1, but the shape of the distribution stays as it was",
            ),
            Check("another gamma: the change is not small", np.abs(not_restored - host).max(), at_least=1.0),
            Check(
                "largest effect of a bias of 100 before it",
                np.abs(to_numpy(outputs[1]) - to_numpy(outputs[0])).max(),
                exact=0.0,
                atol=5e-4,
            ),
            Check(
                "largest gradient of that bias, as a share of the weights'",
                bias_gradient / weight_gradient,
                exact=0.0,
                atol=1e-5,
            ),
            Check(
                "largest effect of weights 100 times as large",
                np.abs(scaled[1] - scaled[0]).max(),
                exact=0.0,
                atol=1e-4,
            ),
            Check(
                "their gradient, as a share of the smaller ones'",
                gradients[1] / gradients[0],
                exact=0.01,
                rtol=1e-3,
            ),
        ],
        pictures=[Picture("Activations of all units before and after batch norm", draw)],
    )
