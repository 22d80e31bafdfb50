"""Batch, layer, instance and group norm: which values share a mean, and what a small batch does."""

import numpy as np

from xpnet import functional as F
from xpnet import init, manual_seed, nn, optim, to_numpy
from xpnet.data import DataLoader, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Trainer

N, C, H = 6, 8, 4
AXES = {"batch": (0, 2, 3), "layer": (1, 2, 3), "instance": (2, 3)}
BATCHES = (2, 4, 16, 64)


def train_with(norm, train, validation, batch):
    manual_seed(0)
    layers = [nn.Linear(64, 32), norm(), nn.ReLU(), nn.Linear(32, 32), norm(), nn.ReLU(), nn.Linear(32, 10)]
    model = nn.Sequential(*layers)
    # as many small steps as batches
    trainer = Trainer(model, F.cross_entropy, optim.SGD(model, lr=0.002 * batch), capture=True)
    return trainer.fit(DataLoader(train, batch, drop_last=True), validation, epochs=1)["val_loss"][-1]


@experiment(
    "S5", "other normalisations: batch, layer, instance, group; batch norm's weakness with small batches"
)
def run() -> Result:
    # core
    x = init.normal((N, C, H, H), std=2.0, mean=1.0)
    outputs = {
        "batch": F.batch_norm(x, training=True),
        "layer": F.layer_norm(x, (C, H, H)),
        "instance": F.instance_norm(x),
    }
    means = {name: np.abs(to_numpy(y).mean(axis=AXES[name])).max() for name, y in outputs.items()}
    groups = to_numpy(F.group_norm(x, 4)).reshape(N, 4, -1)
    one, all_ = F.group_norm(x, 1), F.group_norm(x, C)
    # end of core

    # the noise of a mean and variance that are estimated from a batch of n
    sizes = (2, 4, 16, 64, 256)
    noise = []
    for n in sizes:
        one_batch = nn.BatchNorm1d(2000, momentum=1.0)  # remembers the last batch alone
        one_batch(init.normal((n, 2000), std=1.0))
        noise.append(float(to_numpy(one_batch.running_mean).std()))

    digits = load_digits().map(lambda x: (x - 4.9) / 6)
    train, validation = (part.to_backend() for part in split(digits, (0.8, 0.2)))
    batch_norm = [train_with(lambda: nn.BatchNorm1d(32), train, validation, n) for n in BATCHES]
    group_norm = [train_with(lambda: nn.GroupNorm(4, 32), train, validation, n) for n in BATCHES]

    def draw(figure):
        axes = figure.subplots(1, 2)
        axes[0].loglog(sizes, noise, "o", label="measured")
        axes[0].loglog(sizes, np.array(sizes) ** -0.5, label="1 / sqrt(n)")
        axes[0].set(xlabel="batch size n", ylabel="error of the batch's mean")
        axes[0].legend()
        axes[1].plot(BATCHES, batch_norm, "o-", label="batch norm")
        axes[1].plot(BATCHES, group_norm, "o-", label="group norm")
        axes[1].set_xscale("log", base=2)
        axes[1].set(xlabel="batch size", ylabel="validation loss after an epoch")
        axes[1].legend()

    same = lambda a, b: float(np.abs(to_numpy(a) - to_numpy(b)).max())
    return Result(
        "The four norms differ in which values share a mean and variance: batch norm those of one channel "
        "in all samples, layer norm a whole sample, instance norm one channel of one sample, group norm "
        "some channels of one sample. Batch norm's statistics have an error of 1/sqrt(n), so with batches "
        "of 2 it is worse than group norm, which does not see the batch.",
        [
            *(
                Check(f"{name} norm: largest mean over axes {AXES[name]}", value, exact=0.0, atol=1e-5)
                for name, value in means.items()
            ),
            Check(
                "group norm: largest mean of a group", np.abs(groups.mean(axis=2)).max(), exact=0.0, atol=1e-5
            ),
            Check("group norm: variance of the groups", groups.var(axis=2), exact=np.ones((N, 4)), atol=1e-3),
            Check("group norm of 1 group - layer norm", same(one, outputs["layer"]), exact=0.0, atol=1e-5),
            Check(
                "group norm of C groups - instance norm",
                same(all_, outputs["instance"]),
                exact=0.0,
                atol=1e-5,
            ),
            Check(
                "group norm does not see the batch: one sample alone",
                same(F.group_norm(x[:1, ...], 4), F.group_norm(x, 4)[:1, ...]),
                exact=0.0,
                atol=1e-6,
            ),
            Check(
                "batch norm does",
                same(F.batch_norm(x[:2, ...], training=True), outputs["batch"][:2, ...]),
                at_least=0.05,
            ),
            Check(
                "error of a mean from 2, 4, 16, 64, 256 samples",
                noise,
                exact=np.array(sizes) ** -0.5,
                rtol=0.15,
            ),
            Check(
                "validation loss at batch size 2, batch norm / group norm",
                batch_norm[0] / group_norm[0],
                at_least=1.5,
            ),
            Check("the same at batch size 64", batch_norm[-1] / group_norm[-1], at_most=1.2),
        ],
        [
            Table(
                "Validation loss after an epoch",
                ["batch size", *map(str, BATCHES)],
                [["batch norm", *batch_norm], ["group norm", *group_norm]],
            )
        ],
        [Picture("Small batches", draw)],
    )
