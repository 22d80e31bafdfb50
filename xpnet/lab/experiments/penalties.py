"""L2 and L1 penalties: their gradients, their three notations, and the priors that they stand for."""

import numpy as np

from xpnet import asarray, init, nn, optim, tensor, to_numpy
from xpnet import functional as F
from xpnet.lab import Check, Picture, Result, experiment

LAMBDA, M, RATE = 0.3, 50, 0.1  # strength, samples, learning rate
DRAWS = 1000


@experiment("S1, S2, S4, S5", "L2 and L1 regularisation: gradient, weight decay, Gaussian and Laplace prior")
def run() -> Result:
    model = nn.Linear(3, 2)
    w = model.weight.numpy().astype(np.float64)
    value, gradients = {}, {}
    # core
    for name, penalty in {
        "S2's L2": F.l2(model, LAMBDA),
        "S1's L2": F.l2(model, LAMBDA / (2 * M)),
        "L1": F.l1(model, LAMBDA),
    }.items():
        model.zero_grad()
        penalty.backward()
        value[name], gradients[name] = penalty.item(), to_numpy(model.weight.grad).copy()
        bias_gradient = model.bias.grad
    # end of core
    exact = {"S2's L2": 2 * LAMBDA * w, "S1's L2": LAMBDA / M * w, "L1": LAMBDA * np.sign(w)}

    # a step with the penalty in the loss, and one with weight decay, w <- w - rate (gradient + decay w)
    steps = []
    for decay, strength in ((0.0, LAMBDA / 2), (LAMBDA, 0.0)):
        p = tensor(asarray(w, "float32"), requires_grad=True)
        optimizer = optim.SGD([p], lr=RATE, weight_decay=decay)
        ((p * p * p).sum() + F.l2([p], strength)).backward()
        optimizer.step()
        steps.append(p.numpy())
    # decay with momentum: v = 0.9 v + (gradient + decay w), two steps on the gradient 1
    q = tensor(np.array([2.0]), requires_grad=True)
    optimizer, momentum = optim.SGD([q], lr=RATE, momentum=0.9, weight_decay=LAMBDA), []
    for _ in range(2):
        q.grad = asarray(np.ones(1))
        optimizer.step()
        momentum.append(q.numpy()[0])
    v1 = 1 + LAMBDA * 2.0
    after_one = 2.0 - RATE * v1
    after_two = after_one - RATE * (0.9 * v1 + 1 + LAMBDA * after_one)
    z = tensor(np.array([-2.0, 0.0, 3.0]), requires_grad=True)
    F.l1([z.reshape(1, 3)], LAMBDA).backward()
    # S1's sum over j runs to s_{j+1}; for a network 3-4-2 of ones the penalty counts its 20 weights
    one = lambda shape, dtype: init.constant(shape, 1.0, dtype)
    ones = nn.Sequential(nn.Linear(3, 4, weight_init=one), nn.Linear(4, 2, weight_init=one))
    decayed = w - RATE * (3 * w**2 + LAMBDA * w)

    # the mode of the posterior: w of a prior, y = w + noise of variance 1/2 in the data term sum (y - w)^2
    y = to_numpy(init.normal((DRAWS, 1), std=1.0)).astype(np.float64)
    modes = {}
    for name, penalty in {"Gaussian": F.l2, "Laplace": F.l1}.items():
        p = tensor(init.zeros((DRAWS, 1)), requires_grad=True)
        optimizer = optim.SGD([p], lr=0.01)
        for _ in range(400):
            optimizer.zero_grad()
            (((p - asarray(y, "float32")) ** 2).sum() + penalty([p], LAMBDA)).backward()
            optimizer.step()
        modes[name] = p.numpy()
    ridge = y / (1 + LAMBDA)  # posterior mean and mode under N(0, 1 / (2 lambda))
    soft = np.sign(y) * np.maximum(np.abs(y) - LAMBDA / 2, 0)  # under exp(-lambda |w|): soft threshold

    def draw(figure):
        axis = figure.subplots()
        order = y[:, 0].argsort()
        axis.plot(y[order], y[order], "k:", label="no prior")
        axis.plot(y[order], modes["Gaussian"][order], label="Gaussian prior (L2)")
        axis.plot(y[order], modes["Laplace"][order], label="Laplace prior (L1)")
        axis.set(xlabel="best fit", ylabel="most probable weight")
        axis.legend()

    return Result(
        "S2's lambda sum W^2 has gradient 2 lambda W, S1's lambda/2m sum W^2 has lambda/m W: the same "
        "penalty in other units, on weights and not on biases. It is the mode under a Gaussian prior, which "
        "shrinks all weights by one factor; a Laplace prior (L1) takes the same amount off each and sets "
        "the small ones to 0. S5 subtracts lambda theta^T theta from theta, a number from a vector: weight "
        "decay subtracts a multiple of theta.",
        [
            Check("S2: lambda sum W^2", value["S2's L2"], exact=LAMBDA * (w**2).sum(), rtol=1e-5),
            Check(
                "S1: lambda/2m sum W^2", value["S1's L2"], exact=LAMBDA / (2 * M) * (w**2).sum(), rtol=1e-5
            ),
            *(Check(f"gradient of {name}", gradients[name], exact=exact[name], atol=1e-6) for name in exact),
            Check("gradient of L1 at -2, 0, 3", z.grad, exact=LAMBDA * np.array([-1.0, 0, 1]), atol=1e-12),
            Check(
                "S1: sum of squares over a network 3-4-2 of ones",
                F.l2(ones, 1.0),
                deck=float("nan"),
                exact=3.0 * 4 + 4 * 2,
                slip="the last sum runs to s_{j+1}, its own index: s_{l+1}, the units of the next layer",
            ),
            Check("weight decay with momentum, two steps", momentum, exact=[after_one, after_two], atol=1e-9),
            Check("penalties give the bias a gradient (0: no)", float(bias_gradient is not None), exact=0.0),
            Check(
                "largest difference between L2 in the loss and weight decay",
                np.abs(steps[0] - steps[1]).max(),
                exact=0.0,
                atol=1e-6,
            ),
            Check(
                "weight decay: the step",
                steps[1],
                deck=decayed - RATE * LAMBDA * ((w**2).sum() - w),
                exact=decayed,
                atol=1e-5,
                slip="S5 writes theta - ... - lambda theta^T theta: it is lambda theta (and times the "
                "learning rate if lambda is the loss's)",
            ),
            Check(
                "largest error of the mode under the Gaussian prior",
                np.abs(modes["Gaussian"] - ridge).max(),
                exact=0.0,
                atol=1e-4,
            ),
            Check(
                "largest error of the mode under the Laplace prior",
                np.abs(modes["Laplace"] - soft).max(),
                exact=0.0,
                atol=0.01,
            ),
        ],
        pictures=[Picture("The two priors", draw)],
    )
