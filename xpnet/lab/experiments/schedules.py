"""Learning-rate schedules: the curves of the decks, and division by ten on a plateau."""

import math

import numpy as np

from xpnet import optim, tensor
from xpnet.lab import Check, Picture, Result, Table, experiment

RATE, EPOCHS, K = 0.1, 60, 0.05


def curve(make):
    """The learning rate of each epoch."""
    optimizer = optim.SGD([tensor([0.0], requires_grad=True)], lr=RATE)
    schedule, rates = make(optimizer), []
    for _ in range(EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    return np.array(rates)


def on_plateaus(losses, patience=3):
    """Divide by 10 when the loss has not improved for more than `patience` epochs, three times at most."""
    optimizer = optim.SGD([tensor([0.0], requires_grad=True)], lr=RATE)
    schedule = optim.ReduceLROnPlateau(optimizer, factor=0.1, patience=patience, min_lr=RATE * 1e-3)
    rates = []
    for loss in losses:
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step(loss)
    return np.array(rates)


@experiment("S1, S2, S3", "learning-rate schedules: step, exponential, 1/t, 0.95 per epoch, on a plateau")
def run() -> Result:
    t = np.arange(EPOCHS)
    # core
    schedules = {
        "halve every 10 epochs": (lambda o: optim.StepLR(o, 10, gamma=0.5), RATE * 0.5 ** (t // 10)),
        "exponential, a0 exp(-kt)": (lambda o: optim.ExponentialLR(o, math.exp(-K)), RATE * np.exp(-K * t)),
        "1/t, a0 / (1 + kt)": (lambda o: optim.InverseTimeLR(o, K), RATE / (1 + K * t)),
        "0.95 per epoch": (lambda o: optim.ExponentialLR(o, 0.95), RATE * 0.95**t),
        "half a cosine": (
            lambda o: optim.CosineAnnealingLR(o, EPOCHS),
            RATE * (1 + np.cos(np.pi * t / EPOCHS)) / 2,
        ),
    }
    # end of core
    curves = {name: curve(make) for name, (make, _) in schedules.items()}

    # a loss that improves for ten epochs and then stays
    losses = np.maximum(1.0 - 0.05 * np.arange(45), 0.5)
    rates = on_plateaus(losses)
    # the last improvement is in epoch 10, the 4th epoch after it is one too many: 0.01 from epoch 15 on
    expected = RATE / 10.0 ** np.clip((np.arange(45) - 11) // 4, 0, 3)
    half_life = math.log(2) / K

    def draw(figure):
        left, right = figure.subplots(1, 2)
        for name, values in curves.items():
            left.plot(t, values, label=name)
        left.set(xlabel="epoch", ylabel="learning rate")
        left.legend(fontsize="small")
        right.semilogy(rates, label="learning rate")
        right.semilogy(losses, label="loss")
        right.set(xlabel="epoch")
        right.legend(fontsize="small")

    return Result(
        "Every schedule is a factor of the first rate and follows its formula; 0.95 per epoch is the "
        "exponential with k = 0.051, half after 13.5 epochs. On a plateau S3 divides by ten, one to three "
        "times, and then stops.",
        [
            *(
                Check(name, curves[name], exact=exact, atol=1e-12, rtol=1e-9)
                for name, (_, exact) in schedules.items()
            ),
            Check(
                "exponential: epochs until half the rate",
                np.argmax(curves["exponential, a0 exp(-kt)"] < RATE / 2),
                exact=math.ceil(half_life),
            ),
            Check(
                "1/t: epochs until half the rate is passed",
                np.argmax(curves["1/t, a0 / (1 + kt)"] <= RATE / 2 * (1 + 1e-9)),
                exact=1 / K,
            ),
            Check("on a plateau: the rate of each epoch", rates, exact=expected, atol=1e-12, rtol=1e-6),
            Check("on a plateau: divisions by ten", len(np.unique(rates.round(9))) - 1, deck="3", exact=3),
        ],
        [
            Table(
                "Learning rate",
                ("schedule", "epoch 0", "epoch 10", "epoch 30", "epoch 59"),
                [[n, *v[[0, 10, 30, 59]]] for n, v in curves.items()],
            )
        ],
        [Picture("Schedules; and division by ten on a plateau", draw, (9, 3.5))],
    )
