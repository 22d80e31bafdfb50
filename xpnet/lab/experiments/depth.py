"""Why not only more layers: plain depth stops learning, and batch norm keeps its gradients alive."""

import numpy as np

from xpnet import asarray, init, manual_seed, nn, optim, to_numpy
from xpnet import functional as F
from xpnet.data import DataLoader, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Trainer

DEPTHS, WIDTH, EPOCHS = (2, 10, 30), 32, 5


# core
def network(depth, norm):
    manual_seed(0)
    # a bit below He
    small = lambda shape, dtype: init.normal(shape, std=0.7 * (2 / shape[1]) ** 0.5, dtype=dtype)
    layers, size = [], 64
    for _ in range(depth):
        layers += [nn.Linear(size, WIDTH, weight_init=small, bias_init=init.zeros)]
        layers += [nn.BatchNorm1d(WIDTH), nn.ReLU()] if norm else [nn.ReLU()]
        size = WIDTH
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10, weight_init=small, bias_init=init.zeros))


# end of core


def first_gradient(depth, norm, data):
    """RMS gradient of the first layer's weights, before training."""
    model = network(depth, norm)
    F.cross_entropy(model(asarray(data.x[:256])), data.y[:256]).backward()
    return float(np.sqrt(np.mean(to_numpy(model[0].weight.grad) ** 2)))


@experiment("S5", "very deep nets: batch norm's gradients; why not only more layers?")
def run() -> Result:
    train, _ = split(load_digits().map(lambda x: (x - 4.9) / 6), (0.8, 0.2))
    ratio, loss = {}, {}
    for norm in (False, True):
        sizes = [first_gradient(depth, norm, train) for depth in DEPTHS]
        ratio[norm] = [size / sizes[0] for size in sizes]
        loss[norm] = []
        for depth in DEPTHS:
            model = network(depth, norm)
            trainer = Trainer(model, F.cross_entropy, optim.SGD(model, lr=0.1), capture=True)
            loss[norm].append(trainer.fit(DataLoader(train, 64), epochs=EPOCHS)["train_loss"][-1])

    def draw(figure):
        left, right = figure.subplots(1, 2)
        for norm, name in ((False, "without"), (True, "batch norm")):
            left.semilogy(DEPTHS, ratio[norm], "o-", label=name)
            right.plot(DEPTHS, loss[norm], "o-", label=name)
        left.set(xlabel="hidden layers", ylabel="first gradient / with 2 layers")
        right.set(xlabel="hidden layers", ylabel="training loss")
        right.legend()

    return Result(
        "From weights 0.7 times He's, each plain layer passes on 0.7 of the signal: 30 layers leave "
        "nothing and the loss stays at ln 10: worse even on the training set. Batch norm undoes the scale: "
        "its gradients grow by 1.2 a layer (Yang et al., 2019) instead of vanishing, and 30 layers learn, if "
        "slowly; 10 layers do better.",
        [
            Check(
                "without: gradient of the first layer, 30 layers / 2 layers",
                ratio[False][-1],
                at_most=0.2,
                at_least=1e-6,
            ),
            Check(
                "batch norm: growth of the gradient a layer, sqrt(pi / (pi - 1)) for wide layers",
                ratio[True][-1] ** (1 / (DEPTHS[-1] - DEPTHS[0])),
                exact=(np.pi / (np.pi - 1)) ** 0.5,
                rtol=0.06,
            ),
            Check("without: training loss of 30 layers", loss[False][-1], exact=np.log(10), atol=0.02),
            Check("without: training loss of 2 layers", loss[False][0], at_most=0.5),
            Check("batch norm: training loss of 30 layers", loss[True][-1], at_most=2.2),
            Check("batch norm: training loss of 10 layers", loss[True][1], at_most=0.6),
        ],
        [
            Table(
                "By hidden layers",
                ("", *map(str, DEPTHS)),
                [
                    [f"{what}, {'batch norm' if n else 'without'}", *v[n]]
                    for what, v in (("loss", loss), ("gradient", ratio))
                    for n in (False, True)
                ],
            )
        ],
        [Picture("Depth", draw, (8, 3.2))],
    )
