"""Objectives at the top level of a module: worker processes import them."""

import math
import os
import time

import numpy as np

import xpnet
from xpnet import random
from xpnet.search import TrialFailedError, choice, integer, loguniform, uniform

SPACE = {
    "lr": loguniform(1e-4, 1e-1),
    "net": {"width": integer(8, 128, log=True), "dropout": uniform(0.0, 0.5)},
    "norm": choice(["batch", "layer", None]),
    "epochs": 3,
}


def smooth(params, trial):
    """Best at lr 0.01 and width 32."""
    return -((math.log10(params["lr"]) + 2) ** 2) - math.log2(params["net"]["width"] / 32) ** 2 / 10


def noisy(params, trial):
    """Uses the global streams and reports on the way: what could leak from one trial into the next."""
    noise = float(xpnet.to_numpy(random.uniform((1,), random.generators[random.NOISE].next_key()))[0])
    for epoch in range(trial.budget or 2):
        trial.report(epoch, smooth(params, trial) + noise / (epoch + 1))
    trial.info["noise"] = noise
    if params["lr"] > 0.05:
        raise TrialFailedError("too high")
    return smooth(params, trial) + noise


def slow(params, trial):
    """Finishes in another order than it began, and can be killed in the middle."""
    time.sleep(0.002 * (7 - trial.number % 8))
    return noisy(params, trial)


def mistaken(params, trial):
    if trial.number == 3:
        raise KeyError("widht")
    return 1.0


def deadly(params, trial):
    if trial.number == 3:
        time.sleep(0.2)  # the other worker finishes something meanwhile
        os.kill(os.getpid(), 9)
    return 1.0


class Counted:
    """Counts how often it is unpickled, in a file with a line each time; carries some data."""

    def __init__(self, path):
        self.path, self.data = str(path), np.arange(10)

    def __setstate__(self, state):
        self.__dict__.update(state)
        with open(self.path, "a") as file:
            file.write(f"{os.getpid()}\n")

    def __call__(self, params, trial):
        time.sleep(0.005)
        return float(self.data.sum()) + params["x"]


def climbing(params, trial):
    """A curve that a pruner can judge early."""
    for epoch in range(10):
        trial.report(epoch, params["x"] * (epoch + 1))
    return params["x"] * 10
