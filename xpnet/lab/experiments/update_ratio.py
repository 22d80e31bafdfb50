"""The size of an update beside the size of the weights: about a thousandth."""

from contextlib import suppress

import numpy as np

from xpnet import asarray, manual_seed, nn, optim, to_numpy
from xpnet.data import DataLoader, Dataset, Standardize, load_digits
from xpnet.functional import cross_entropy
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Callback, StopOnDivergence, Trainer, TrainingDivergedError

RATES = (1e-4, 1e-2, 0.1, 10.0)
EPOCHS = 8


class UpdateRatio(Callback):
    """S1's |update| / |W| for the first layer's weights, and the loss, of every update."""

    def __init__(self):
        self.ratios, self.losses = [], []

    # core
    def on_backward_end(self, trainer):
        """Before the step."""
        self.before = to_numpy(trainer.model[0].weight.data).copy()

    def on_batch_end(self, trainer):
        """After it."""
        update = to_numpy(trainer.model[0].weight.data) - self.before
        self.ratios.append(np.linalg.norm(update) / np.linalg.norm(self.before))
        self.losses.append(float(to_numpy(trainer.loss_value)))

    # end of core


def network():
    manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


@experiment("S1", "monitoring: the ratio of updates to weights should be around 1e-3")
def run() -> Result:
    digits = load_digits()
    data = Dataset(digits.x[:1000], digits.y[:1000])
    data = data.map(Standardize().fit(data.x).transform)
    runs = {}
    for rate in RATES:
        model, runs[rate] = network(), (watch := UpdateRatio())
        guard = StopOnDivergence(factor=3, every=1)
        trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=rate), [watch, guard])
        with suppress(TrainingDivergedError):  # at the highest rate
            trainer.fit(DataLoader(data, 50), epochs=EPOCHS)

    # for SGD the first ratio is rate |gradient| / |W|
    model = network()
    x, y = next(iter(DataLoader(data, 50)))
    cross_entropy(model(asarray(x)), y).backward()
    W = model[0].weight
    first = np.linalg.norm(to_numpy(W.grad)) / np.linalg.norm(W.numpy())
    ratio = {rate: float(np.median(watch.ratios)) for rate, watch in runs.items()}
    fall = {rate: float(np.mean(watch.losses[-20:]) / watch.losses[0]) for rate, watch in runs.items()}

    def draw(figure):
        axis = figure.subplots()
        for rate, watch in runs.items():
            axis.semilogy(watch.ratios, ".-" if len(watch.ratios) < 20 else "-", label=f"rate {rate:g}")
        axis.axhline(1e-3, ls=":", c="k")
        axis.set(xlabel="update", ylabel="|update| / |W|")
        axis.legend(fontsize="small")

    return Result(
        "The ratio of an update to the weights tells whether a learning rate fits, whatever the scale of "
        "both: at 1e-5 the loss hardly moves, around 1e-3 to 1e-2 it falls, and where one update is as "
        "large as the weights it explodes. The 1e-3 of S1 is a rule of thumb, to a factor of ten.",
        [
            *(
                Check(
                    f"rate {rate:g}: ratio of the first update",
                    runs[rate].ratios[0],
                    exact=rate * first,
                    rtol=2e-3,
                    atol=0,
                )
                for rate in RATES
            ),
            Check("rate 1e-4: median ratio", ratio[1e-4], at_most=1e-4),
            Check("rate 1e-4: loss in the end, to the first", fall[1e-4], at_least=0.9),
            Check("rates 0.01 and 0.1: median ratio", [ratio[1e-2], ratio[0.1]], at_least=3e-4, at_most=3e-2),
            Check("rates 0.01 and 0.1: loss in the end, to the first", [fall[1e-2], fall[0.1]], at_most=0.8),
            Check("rate 10: ratio of the first update", runs[10.0].ratios[0], at_least=0.3),
            Check("rate 10: updates until the loss is 3 times the first", len(runs[10.0].losses), at_most=5),
        ],
        [
            Table(
                f"{EPOCHS} epochs",
                ("rate", "first ratio", "median ratio", "loss, last to first"),
                [[rate, watch.ratios[0], ratio[rate], fall[rate]] for rate, watch in runs.items()],
            )
        ],
        [Picture("Update to weight ratio at four learning rates", draw, (7, 3.5))],
    )
