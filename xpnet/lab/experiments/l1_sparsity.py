"""L1 sets weights to exactly 0, L2 only makes them small; and a step with sign(W) never arrives at 0."""

import numpy as np

from xpnet import asarray, init, tensor, to_numpy
from xpnet import functional as F
from xpnet.lab import Check, Picture, Result, Table, experiment

N, FEATURES, USEFUL = 200, 40, 5
STRENGTHS = (0.01, 0.1, 1.0)
RATE, STEPS = 0.1, 400


def soft_threshold(w, amount):
    """What minimises (v - w)^2 / 2 + amount |v|: nearer to 0 by `amount`, and 0 once there."""
    return F.relu(w - amount) - F.relu(-w - amount)


def fit(x, y, l1, l2=0.0, proximal=True):
    """Least squares with a penalty, by gradient descent."""
    # core
    w = tensor(init.zeros((1, FEATURES)), requires_grad=True)
    for _ in range(STEPS):
        w.grad = None
        loss = F.mse_loss(F.linear(x, w), y) + F.l2([w], l2)
        if not proximal:
            loss = loss + F.l1([w], l1)
        loss.backward()
        w.data = w.data - RATE * w.grad
        if proximal:
            w.data = soft_threshold(w.data, RATE * l1)
    # end of core
    return to_numpy(w)[0].astype(np.float64)


@experiment("S2, S4", "L1 drives weights to exactly 0, L2 makes them small")
def run() -> Result:
    x, noise = init.normal((N, FEATURES), std=1.0), init.normal((N, 1), std=0.5)
    true = np.zeros((1, FEATURES), dtype=np.float32)
    true[0, :USEFUL] = [3, -2, 2, -1, 1]
    y = F.linear(x, asarray(true)) + noise
    lasso = {s: fit(x, y, s) for s in STRENGTHS}
    ridge = {s: fit(x, y, 0.0, s) for s in STRENGTHS}
    plain = fit(x, y, 0.1, proximal=False)
    zeros = {
        name: [int((w == 0).sum()) for w in found.values()] for name, found in (("L1", lasso), ("L2", ridge))
    }

    # the optimum of L1: gradient of the data + s sign(w) = 0 where w != 0, at most s in size elsewhere
    host_x, host_y = to_numpy(x).astype(np.float64), to_numpy(y)[:, 0].astype(np.float64)
    w = lasso[0.1]
    slope = 2 / N * host_x.T @ (host_x @ w - host_y)
    at_nonzero, at_zero = slope[w != 0] + 0.1 * np.sign(w[w != 0]), slope[w == 0]
    exact_ridge = np.linalg.solve(host_x.T @ host_x / N + 0.1 * np.eye(FEATURES), host_x.T @ host_y / N)

    def draw(figure):
        for axis, (name, w) in zip(
            figure.subplots(1, 3, sharey=True),
            {"L1, 0.1": lasso[0.1], "L2, 0.1": ridge[0.1], "L1 by sign(W), 0.1": plain}.items(),
            strict=True,
        ):
            axis.stem(w, basefmt=" ")
            axis.set(title=f"{name}: {(w == 0).sum()} zeros", xlabel="weight")
        figure.axes[0].set_ylabel("value")

    return Result(
        "Of 40 weights of which 5 matter, L1 sets most others to exactly 0 and keeps the 5, L2 sets none to "
        "0. S2 is right that L1 pushes weights to exactly 0, which is where the "
        "optimum lies; plain steps along sign(W) jump back and forth across 0; exact zeros need a "
        "step that stops there, the soft threshold.",
        [
            Check("zeros by L1, strength 0.1", zeros["L1"][1], at_least=25),
            Check("zeros by L1, strength 1", zeros["L1"][2], at_least=34),
            Check("the 5 useful weights are kept at 0.1 (1: yes)", float((w[:USEFUL] != 0).all()), exact=1.0),
            Check("zeros by L2 at 0.01, 0.1, 1", zeros["L2"], exact=[0, 0, 0]),
            Check(
                "L1 optimum: largest |slope + 0.1 sign(w)| where w is not 0",
                np.abs(at_nonzero).max(),
                exact=0.0,
                atol=1e-4,
            ),
            Check("L1 optimum: largest slope where w is 0", np.abs(at_zero).max(), at_most=0.1),
            Check("L2 weights", ridge[0.1], exact=exact_ridge, atol=1e-4),
            Check(
                "zeros by steps along sign(W)",
                (plain == 0).sum(),
                exact=0,
            ),
            Check("its weights without use: largest", np.abs(plain[w == 0]).max(), at_most=2 * RATE * 0.1),
        ],
        [
            Table(
                "Weights that are exactly 0, of 40",
                ["strength", *map(str, STRENGTHS)],
                [[k, *v] for k, v in zeros.items()],
            )
        ],
        [Picture("Fitted weights; the first five are not 0 in truth", draw, (9, 3))],
    )
