"""Batch norm at test time: running averages (S5) or the statistics of the whole training set (S1)."""

import numpy as np

from xpnet import functional as F
from xpnet import init, nn, no_grad, optim, to_numpy
from xpnet.data import DataLoader, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Callback, Trainer, recompute_batch_norm

EPOCHS, BATCH = 12, 128


class Compare(Callback):
    """After every epoch: validation loss with running averages and with exact statistics."""

    def __init__(self, train, validation):
        self.train, self.validation, self.rows = train, validation, []

    def on_epoch_end(self, trainer):
        """Measure, then put the running averages back."""
        # core
        state = trainer.model.state_dict()
        running = trainer.evaluate(self.validation)["loss"]
        recompute_batch_norm(trainer.model, self.train)
        self.rows.append([running, trainer.evaluate(self.validation)["loss"]])
        trainer.model.load_state_dict(state)
        # end of core


@experiment("S1, S2, S5", "batch norm at test time: running average or statistics of the entire training set")
def run() -> Result:
    train, validation = split(load_digits().map(lambda x: (x - 4.9) / 6), (0.8, 0.2))
    train, validation = train.to_backend(), validation.to_backend()
    model = nn.Sequential(
        nn.Linear(64, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )
    compare = Compare(train, validation)
    trainer = Trainer(model, F.cross_entropy, optim.SGD(model, lr=0.1), [compare])
    trainer.fit(DataLoader(train, BATCH), epochs=EPOCHS)
    alone = to_numpy(model(validation.x[:1, ...]))
    together = to_numpy(model(validation.x))[:1]

    # exact statistics: as if the whole training set were one batch
    recompute_batch_norm(model, train)
    exact = (
        to_numpy(model(train.x)),
        model[1].running_mean.numpy().copy(),
        model[1].running_var.numpy().copy(),
    )
    model.train()
    with no_grad():
        one_batch = to_numpy(model(train.x))
        refused = ""
        try:
            model(validation.x[:1, ...])
        except ValueError as error:
            refused = str(error)
        model.eval()
        hidden = to_numpy(model[0](train.x)).astype(np.float64)

    # the running average of known batches: r <- 0.9 r + 0.1 mean
    layer = nn.BatchNorm1d(1)
    means, variances = [], []
    for _ in range(30):
        batch = init.normal((64, 1), std=1.0, mean=3.0)
        means.append(float(to_numpy(batch).astype(np.float64).mean()))
        variances.append(float(to_numpy(batch).astype(np.float64).var(ddof=1)))
        layer(batch)
    expected_var = 0.9**30 + sum(0.1 * 0.9 ** (29 - k) * v for k, v in enumerate(variances))
    expected = sum(0.1 * 0.9 ** (29 - k) * m for k, m in enumerate(means))

    def draw(figure):
        axis = figure.subplots()
        axis.plot(range(1, EPOCHS + 1), compare.rows, "o-", label=["running averages", "entire training set"])
        axis.set(xlabel="epoch", ylabel="validation loss")
        axis.legend()

    first = compare.rows[0]
    return Result(
        "At test time the batch must not matter, so batch norm uses stored statistics: exponential averages "
        "over the mini-batches (S5), cheap but of older weights, or a pass over the entire training set "
        "with the final weights (S1), exact. Early, or with few updates, the averages lag behind and the "
        "loss is higher; in the end both nearly agree.",
        [
            Check(
                "output of a picture alone - in a batch of 359",
                np.abs(alone - together).max(),
                exact=0.0,
                atol=1e-5,
            ),
            Check(
                "one picture in training mode is refused (1: yes)",
                float("more than one value" in refused),
                exact=1.0,
            ),
            Check(
                "exact: largest difference from the whole set as one batch",
                np.abs(exact[0] - one_batch).max(),
                exact=0.0,
                atol=1e-3,
            ),
            Check(
                "exact: mean of the first layer's inputs, first 4 units",
                exact[1][:4],
                exact=hidden.mean(axis=0)[:4],
                atol=1e-4,
            ),
            Check("exact: variance, first 4 units", exact[2][:4], exact=hidden.var(axis=0)[:4], rtol=1e-4),
            Check(
                "running mean after 30 batches, from 0",
                to_numpy(layer.running_mean)[0],
                exact=expected,
                atol=1e-4,
            ),
            Check(
                "running variance after 30 batches, from 1: of the population, n - 1 in the denominator",
                to_numpy(layer.running_var)[0],
                exact=expected_var,
                atol=1e-4,
            ),
            Check("after 1 epoch: validation loss running / exact", first[0] / first[1], at_least=1.1),
            Check(
                "after 12 epochs: the same", compare.rows[-1][0] / compare.rows[-1][1], exact=1.0, atol=0.3
            ),
        ],
        [
            Table(
                "Validation loss",
                ["epoch", "running averages", "entire training set"],
                [[k + 1, *row] for k, row in enumerate(compare.rows)],
            )
        ],
        [Picture("Two ways to normalise at test time", draw)],
    )
