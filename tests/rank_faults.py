"""Programs that go wrong on one rank: `mpiexec -n 2 python -m tests.rank_faults NAME`; see test_leaving.py.

Each is a function of (run, rank), with `run` the parts of a training, which it may change before it begins.
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np

import xpnet
from xpnet import functional as F
from xpnet import nn, optim, parallel
from xpnet.data import DataLoader, Dataset, load_digits
from xpnet.train import Callback, Trainer


class At(Callback):
    """Does something after some updates."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_batch_end(self, trainer):
        if trainer.step == self.step:
            self.action(trainer)


def nothing(parts, rank):
    """A training like any other."""


def exit_0(parts, rank):
    if rank == 1:
        sys.exit(0)


def exit_3(parts, rank):
    if rank == 1:
        sys.exit("no data on this machine")


def last_line(parts, rank):
    parts["train"] = rank == 0


def exit_in_a_step(parts, rank):
    parts["callbacks"] = [At(5, lambda trainer: sys.exit(0) if rank else None)]


def exit_in_a_step_of_rank_0(parts, rank):
    parts["callbacks"] = [At(5, lambda trainer: None if rank else sys.exit(0))]


def error_in_a_step(parts, rank):
    parts["callbacks"] = [At(5, lambda trainer: 1 / (1 - rank))]


def exit_without_a_word(parts, rank):
    parts["callbacks"] = [At(5, lambda trainer: os._exit(0) if rank else None)]


def other_rate(parts, rank):
    parts["lr"] = (0.1, 0.2)[rank]


def other_labels(parts, rank):
    if rank:
        parts["y"] = np.roll(parts["y"], 1)


def other_samples(parts, rank):
    if rank:
        parts["x"] = parts["x"] + np.float32(0.01)


def fewer_samples(parts, rank):
    if rank:
        parts["x"], parts["y"] = parts["x"][:-100], parts["y"][:-100]


def other_batch(parts, rank):
    parts["batch"] = (50, 40)[rank]


def other_seed(parts, rank):
    parts["seed"] = rank


def other_loss(parts, rank):
    if rank:
        parts["loss"] = lambda output, target: 2 * F.cross_entropy(output, target)


def other_layers(parts, rank):
    parts["hidden"] = (16, 17)[rank]


def other_optimizer(parts, rank):
    parts["rule"] = (optim.SGD, optim.RMSprop)[rank]


def more_epochs(parts, rank):
    parts["epochs"] = (1, 2)[rank]


def accumulate(parts, rank):
    parts["accumulate"] = (1, 2)[rank]


def resume_on_one(parts, rank):
    """Rank 0 begins anew, rank 1 goes on from a checkpoint."""
    if rank:
        own, parts["communicator"] = parts["communicator"], parallel.Communicator()
        fit(parts).save_checkpoint(f"{os.environ['FAULTS']}/c.safetensors")
        parts["communicator"], parts["resume"] = own, f"{os.environ['FAULTS']}/c.safetensors"


def weights_of_one(parts, rank):
    """A callback, alike on both, that changes the weights of one."""

    def change(trainer):
        if trainer.communicator.rank == 1:
            trainer.model.layers[0].weight.data[0, 0] += 1e-3

    parts["callbacks"] = [At(130, change)]
    parts["epochs"] = 9


def weights_at_the_end(parts, rank):
    """Likewise, in an epoch of fewer updates than lie between two looks."""
    weights_of_one(parts, rank)
    parts["callbacks"][0].step, parts["epochs"] = 30, 1


def rank_0_works_longer(parts, rank):
    """No fault: rank 0 is still busy when the others have ended."""
    parts["after"] = 3.0 if rank == 0 else 0


def diverging(parts, rank):
    """All ranks fail alike, and each may go on as it likes."""
    parts["lr"], parts["caught"], parts["after"] = 1e30, True, 3.0 if rank == 0 else 0


def fit(parts) -> Trainer:
    xpnet.manual_seed(7)
    model = nn.Sequential(nn.Linear(64, parts["hidden"]), nn.ReLU(), nn.Linear(parts["hidden"], 10))
    trainer = Trainer(
        model,
        parts["loss"],
        parts["rule"](model, lr=parts["lr"]),
        parts["callbacks"],
        accumulate=parts["accumulate"],
        communicator=parts["communicator"],
        verbose=False,
    )
    loader = DataLoader(Dataset(parts["x"], parts["y"]), parts["batch"], seed=parts["seed"])
    trainer.fit(loader, None, parts["epochs"], resume=parts["resume"])
    return trainer


def main(name: str) -> None:
    group = parallel.connect()
    digits = load_digits()
    parts = {
        "x": np.asarray(digits.x) / np.float32(16),
        "y": np.asarray(digits.y),
        "lr": 0.1,
        "batch": 50,
        "seed": 0,
        "hidden": 16,
        "loss": F.cross_entropy,
        "rule": optim.SGD,
        "epochs": 2,
        "accumulate": 1,
        "callbacks": [],
        "resume": None,
        "communicator": group,
        "train": True,
        "after": 0,
    }
    globals()[name](parts, group.rank)
    if parts["train"]:
        try:
            fit(parts)
        except RuntimeError:
            if not parts.get("caught"):
                raise
    time.sleep(parts["after"])
    print(f"rank {group.rank} is done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
