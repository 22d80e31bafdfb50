"""CIFAR-10 as S1 and S2 use it: pictures, network and training loop of CS231n, the course they quote."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from xpnet import Tensor, asarray, init, nn, optim, to_numpy
from xpnet import functional as F
from xpnet.data import DataLoader, Dataset, load_cifar10

STD = 1e-4  # of the first weights: S1's first losses, 2.303033 and 2.302811, give it away
SAMPLED = 1000  # pictures on which an accuracy is measured


class Pictures(NamedTuple):
    """Flat pictures, (n, 3072) float32, less the mean picture of the training set; the last 1000 validate."""

    training: Dataset
    validation: Dataset
    test: Dataset


class Line(NamedTuple):
    """What the slides print after an epoch."""

    cost: float  # of the epoch's last batch, with the penalty
    cost_of_slide: float  # the same by the slide's own formula, -log(softmax), which rounds to inf and nan
    training: float  # accuracies
    validation: float


def pictures(folder: str) -> Pictures:
    """Read CIFAR-10; the order is shuffled, since files of some distributions are sorted by class."""
    training, test = load_cifar10(folder, flatten=True, dtype="uint8")
    order = np.random.default_rng(0).permutation(len(training))
    first, last = (training.subset(part) for part in (order[:-SAMPLED], order[-SAMPLED:]))
    mean = np.mean(first.x, axis=0, dtype=np.float32)
    parts = (part.map(lambda x: x.astype(np.float32) - mean).to_backend() for part in (first, last, test))
    return Pictures(*parts)


def network(hidden: int = 50) -> nn.Sequential:
    """S2's init_two_layer_model(32*32*3, 50, 10): small random weights, ReLU, no bias at first."""
    small = lambda shape, dtype: init.normal(shape, STD, dtype=dtype)
    return nn.Sequential(
        nn.Linear(3072, hidden, weight_init=small, bias_init=init.zeros),
        nn.ReLU(),
        nn.Linear(hidden, 10, weight_init=small, bias_init=init.zeros),
    )


def first_loss(penalty: float, hidden: int = 50) -> float:
    """Of such a network: ln 10 + penalty/2 times the expected squares of its weights."""
    return float(np.log(10) + penalty / 2 * (3072 + 10) * hidden * STD**2)


def descend(
    model: nn.Module,
    training: Dataset,
    rate: float,
    penalty: float,
    momentum: float = 0.0,
    decay: float = 1.0,
    batch: int = 100,
) -> Iterator[tuple[Tensor, Tensor, Any]]:
    """Update after update, without end: the loss, the scores and the labels of each batch.

    Batches are drawn with replacement; each epoch multiplies the rate by `decay`.
    """
    optimizer = optim.SGD(model, lr=rate, momentum=momentum)
    loader = DataLoader(training, batch, drop_last=True, replacement=True)
    while True:
        for x, y in loader:
            optimizer.zero_grad()
            scores = model(x)
            loss = F.cross_entropy(scores, y) + F.l2(model, penalty / 2)
            loss.backward()
            optimizer.step()
            yield loss, scores, y
        optimizer.param_groups[0]["lr"] *= decay


def lines(model: nn.Module, data: Pictures, batch: int = 100, **settings: Any) -> Iterator[Line]:
    """Train an epoch for each line that is asked for; settings are those of `descend`."""
    updates = descend(model, data.training, batch=batch, **settings)
    while True:
        with np.errstate(all="ignore"):  # some are meant to explode
            *_, (loss, scores, y) = islice(updates, len(data.training) // batch)
            penalty = loss.item() - F.cross_entropy(scores.detach(), y).item()
            line = Line(
                loss.item(),
                cost_of_slide(to_numpy(scores), to_numpy(y)) + penalty,
                accuracy(model, data.training),
                accuracy(model, data.validation),
            )
        yield line


def train(model: nn.Module, data: Pictures, epochs: int, **settings: Any) -> list[Line]:
    """The lines of so many epochs."""
    return list(islice(lines(model, data, **settings), epochs))


def cost_of_slide(scores: np.ndarray, y: np.ndarray) -> float:
    """As neural_net.py of the slide computes it: a probability that rounds to 0 costs inf.

    >>> import numpy as np
    >>> from xpnet.lab.cifar import cost_of_slide
    >>> print(cost_of_slide(np.array([[0.0, 800.0]]), np.array([0])))
    inf
    """
    with np.errstate(all="ignore"):
        exp = np.exp(scores.astype(np.float64) - np.max(scores, axis=1, keepdims=True))
        probs = exp / exp.sum(axis=1, keepdims=True)
        return float(-np.sum(np.log(probs[range(len(y)), y])) / len(y))


def accuracy(model: nn.Module, data: Dataset, count: int = SAMPLED) -> float:
    """Share of right answers on the first pictures; where all scores are nan the answer is class 0."""
    scores = to_numpy(model(asarray(data.x[:count])))
    return float(np.mean(np.argmax(scores, axis=1) == to_numpy(data.y[:count])))
