"""Before anything else: can the network learn 20 samples by heart?"""

import numpy as np

from xpnet import init, nn, optim
from xpnet.data import DataLoader, Dataset, load_digits
from xpnet.functional import cross_entropy
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Trainer

EPOCHS = 200


# core
def train(data, weight_init):
    model = nn.Sequential(
        nn.Linear(64, 50, weight_init=weight_init, bias_init=init.zeros),
        nn.ReLU(),
        nn.Linear(50, 10, weight_init=weight_init, bias_init=init.zeros),
    )
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.1, momentum=0.9))
    losses = trainer.fit(DataLoader(data, batch_size=20), epochs=EPOCHS)["train_loss"]
    return losses, trainer.evaluate(data)


# end of core


@experiment("S2, S4", "sanity check: overfit 20 samples to accuracy 1 and a loss below 0.01")
def run() -> Result:
    digits = load_digits()
    x = (digits.x[:20] / 16).astype(np.float32)
    right = Dataset(x, digits.y[:20])
    random_labels = Dataset(x, np.random.default_rng(0).integers(0, 10, 20))

    small = lambda shape, dtype: init.normal(shape, 0.01, dtype=dtype)  # CS231n's init_two_layer_model
    found = {
        "digits": train(right, small),
        "random labels": train(random_labels, small),
        "zero weights": train(right, init.zeros),
    }
    # zero weights stay zero, as all their gradients do; the last bias learns the classes' shares
    shares = np.bincount(right.y, minlength=10) / 20
    entropy = -np.sum(shares[shares > 0] * np.log(shares[shares > 0]))

    def draw(figure):
        axis = figure.subplots()
        for name, (losses, _) in found.items():
            axis.semilogy(losses, label=name)
        axis.set(xlabel="epoch", ylabel="loss")
        axis.legend()

    def last(name, key="loss"):
        return found[name][1][key]

    return Result(
        "A network, optimizer and loss that work together learn 20 samples by heart, even with random "
        "labels: accuracy 1, loss near 0. One that cannot has a fault: here all weights are zero and stay "
        "zero, and the loss stops at the entropy of the classes.",
        [
            Check(
                "digits: accuracy after 200 epochs",
                last("digits", "accuracy"),
                deck="1.000000",
                exact=1.0,
            ),
            Check("digits: loss after 200 epochs (the deck's: 0.0026)", last("digits"), at_most=0.01),
            Check(
                "digits: loss of the first epoch, near ln 10",
                found["digits"][0][0],
                exact=np.log(10),
                atol=2e-3,
            ),
            Check("random labels: accuracy", last("random labels", "accuracy"), exact=1.0),
            Check("random labels: loss", last("random labels"), at_most=0.01),
            Check("zero weights: loss, the classes' entropy", last("zero weights"), exact=entropy, atol=1e-3),
        ],
        [
            Table(
                "After 200 epochs",
                ("data", "loss", "accuracy"),
                [[n, last(n), last(n, "accuracy")] for n in found],
            )
        ],
        [Picture("Loss on the 20 samples", draw, (7, 3))],
    )
