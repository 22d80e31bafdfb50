"""Accumulated gradients, epochs and evaluations of weighted losses are those of one large batch."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim, to_numpy
from xpnet.data import DataLoader, Dataset
from xpnet.functional.weighing import Weight
from xpnet.parallel import Communicator
from xpnet.train import LossScaler, Trainer, evaluate
from xpnet.train.accumulation import Accumulation

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype(np.float32)
PLAIN = RNG.integers(0, 3, 64)
SOME = np.where(np.arange(64) < 20, -100, PLAIN)  # a whole batch of 16 is ignored
WEIGHT = np.float32([1, 10, 0.1])


def weighted(loss):
    return lambda z, y: loss(z, y, weight=xpnet.asarray(WEIGHT))


def by_position(z, y):
    """As for segmentation: (N, C, 2), the second position of some rows ignored."""
    z, y = z.reshape((z.shape[0], 3, 1)), np.asarray(to_numpy(y))
    both = np.stack([y, np.where(y == 1, -100, y)], axis=1)
    from xpnet.core.operators import getitem

    return F.cross_entropy(getitem(z, (slice(None), slice(None), np.array([0, 0]))), both)


CASES = {
    "plain": (F.cross_entropy, PLAIN),
    "ignored": (F.cross_entropy, SOME),
    "class weights": (weighted(F.cross_entropy), PLAIN),
    "class weights, ignored": (weighted(F.cross_entropy), SOME),
    "smoothed, ignored": (lambda z, y: F.cross_entropy(z, y, label_smoothing=0.1), SOME),
    "nll": (lambda z, y: weighted(F.nll_loss)(F.log_softmax(z), y), SOME),
    "positions": (by_position, SOME),
    "hinge": (F.multi_margin_loss, PLAIN),
    "a loss of one's own": (lambda z, y: (z * z).mean(), PLAIN),
}


def trained(loss, y, size, accumulate, **options):
    xpnet.manual_seed(0)
    model = nn.Linear(4, 3)
    trainer = Trainer(model, loss, optim.SGD(model, lr=1.0), accumulate=accumulate, metrics=[], **options)
    history = trainer.fit(DataLoader(Dataset(X, y), size, shuffle=False), epochs=1)
    return to_numpy(model.weight.data), history["train_loss"][0]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("options", [{}, {"scaler": LossScaler(8.0)}], ids=["", "scaled"])
def test_accumulation_is_one_large_batch(name, options):
    loss, y = CASES[name]
    weights, value = trained(loss, y, 64, 1)
    for size, accumulate in ((16, 4), (8, 8), (20, 9)):
        parts, mean = trained(loss, y, size, accumulate, **options)
        np.testing.assert_allclose(parts, weights, rtol=1e-5, atol=1e-6)
        assert mean == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_evaluation_does_not_depend_on_the_batches(name):
    loss, y = CASES[name]
    model = nn.Linear(4, 3)
    whole = loss(model(xpnet.tensor(X)), y).item()
    for size in (5, 16, 64):
        found = evaluate(model, DataLoader(Dataset(X, y), size, shuffle=False), loss, metrics=[])["loss"]
        assert found == pytest.approx(whole, rel=1e-5)


def test_of_several_terms_the_weighted_one_counts():
    """Ignored rows count for nothing, also where a penalty is added to the loss."""
    model = nn.Linear(4, 3)
    loss = lambda z, y: F.cross_entropy(z, y) + F.l2(model, 0.1)
    whole = loss(model(xpnet.tensor(X)), SOME).item()
    data = DataLoader(Dataset(X, SOME), 24, shuffle=False)
    assert evaluate(model, data, loss, metrics=[])["loss"] == pytest.approx(whole, rel=1e-5)


def test_data_without_a_label_have_no_loss():
    model = nn.Linear(4, 3)
    assert np.isnan(evaluate(model, Dataset(X, np.full(64, -100)), F.cross_entropy, metrics=[])["loss"])


class Pair(Communicator):
    """Rank 0 of two: the other has as many samples, and losses that are twice as large."""

    size = 2

    def __init__(self):
        self.sent = []

    def all_reduce(self, array):
        self.sent.append(("at once", math.prod(array.shape)))
        array *= 3

    def start(self, array):
        self.sent.append(("during backward", math.prod(array.shape)))
        array *= 3

    def total(self, count):
        return 2 * count


@pytest.mark.parametrize(("accumulate", "batches"), [(1, 1), (2, 1), (2, 2), (3, 2), (3, 3)])
def test_ranks_send_the_sum_of_an_update_once_and_while_its_last_backward_runs(accumulate, batches):
    """An update that an epoch's end leaves short is sent after it."""
    model, pair = nn.Linear(4, 3), Pair()
    run = SimpleNamespace(
        model=model,
        accumulate=accumulate,
        communicator=pair,
        scaler=None,
        optimizer=None,
        loss_value=None,
        loss_weight=None,
    )
    accumulation, bounds = Accumulation(run), [0, 10, 16, 40]
    for a, b in itertools.pairwise(bounds[: batches + 1]):
        loss = F.cross_entropy(model(xpnet.tensor(X[a:b])), PLAIN[a:b])
        value, weight = accumulation.add(run, loss, Weight(b - a, b - a))
        assert float(value) == pytest.approx(1.5 * loss.item(), rel=1e-6)
        assert weight == 2 * (b - a)
    accumulation.reduce(run)
    accumulation.average(run)
    found = to_numpy(model.weight.grad).copy(), float(run.loss_value)
    how = "during backward" if batches == accumulate else "at once"
    gradients = [sent for sent in pair.sent if sent[1] > 1]  # the others are losses
    assert {way for way, _ in gradients} == {how}
    assert sum(size for _, size in gradients) == 15
    model.zero_grad()
    whole = F.cross_entropy(model(xpnet.tensor(X[: bounds[batches]])), PLAIN[: bounds[batches]])
    whole.backward()
    np.testing.assert_allclose(found[0], 1.5 * to_numpy(model.weight.grad), rtol=1e-5, atol=1e-6)
    assert found[1] == pytest.approx(1.5 * whole.item(), rel=1e-5)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_one_rank_sends_nothing(accumulate):
    alone = Pair()
    alone.size = 1
    trained(F.cross_entropy, PLAIN, 16, accumulate, communicator=alone)
    assert alone.sent == []


@pytest.mark.parametrize("counted", [5, 10])
def test_an_update_of_one_batch_that_is_half_ignored(counted):
    """Its gradient is that of its mean, whatever the unit was."""
    model = nn.Linear(4, 3)
    labels = np.where(np.arange(10) < counted, PLAIN[:10], -100)
    run = SimpleNamespace(
        model=model,
        accumulate=2,
        communicator=Communicator(),
        scaler=None,
        optimizer=None,
        loss_value=None,
        loss_weight=None,
    )
    found = []
    for accumulation in (Accumulation(run), None):
        model.zero_grad()
        loss = F.cross_entropy(model(xpnet.tensor(X[:10])), labels)
        if accumulation is None:
            loss.backward()
        else:
            accumulation.add(run, loss, Weight(counted, 10))
            accumulation.average(run)
            assert float(run.loss_value) == pytest.approx(loss.item(), rel=1e-6)
        found.append(to_numpy(model.weight.grad).copy())
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-7)
