"""What an update of the Trainer may ask of a CUDA device, by count, whatever the step and the batches."""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset
from xpnet.train import EMA, Callback, LossScaler, ManualStep, Trainer, TrainingDivergedError
from xpnet.train.finiteness import EVERY


@pytest.fixture(autouse=True)
def cpucuda(backend):
    if backend != "cupy":
        pytest.skip("counts what CuPy does")
    return pytest.importorskip("cpucuda", reason="a GPU does not count: run it in tests.cupy_on_cpu")


def network():
    return nn.Sequential(nn.Linear(20, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 4))


class Pair(nn.Module):
    def __init__(self):
        self.one, self.other = nn.Linear(20, 4), nn.Linear(20, 4)

    def forward(self, left, right):
        return self.one(left) + self.other(right)


class Count(Callback):
    """Counts from the end of one update to the end of the next, when everything has been compiled."""

    def __init__(self, cpucuda):
        self.cpucuda = cpucuda

    def on_batch_end(self, run):
        if run.step == 7:
            self.counting = self.cpucuda.count(places=True)
            self.found = self.counting.__enter__()
        elif run.step == 8:
            self.counting.__exit__(None, None, None)


def with_measure(run, batch):
    x, y = batch
    output = run.model(x)
    return {"loss": F.cross_entropy(output, y), "largest": xpnet.Tensor(output.data).max()}


@ManualStep
def by_hand(run, batch):
    x, y = batch
    run.optimizer.zero_grad()
    loss = F.cross_entropy(run.model(x), y)
    loss.backward()
    run.optimizer.step()
    return {"loss": loss}


X = np.random.default_rng(0).standard_normal((320, 20)).astype(np.float32)
Y = np.arange(320) % 4


def batches():
    return [(xpnet.asarray(X[i : i + 32]), xpnet.asarray(Y[i : i + 32])) for i in range(0, 320, 32)]


CASES = {  # launches and products of one update
    "batches": (network, batches, {}, 19),
    "loader": (network, lambda: DataLoader(Dataset(X, Y).to_backend(), 32), {}, 21),
    "pair": (Pair, lambda: [{"left": x, "right": x, "y": y} for x, y in batches()], {}, 13),
    "own step": (network, batches, {"step": with_measure}, 20),
    "by hand": (network, batches, {"step": by_hand}, 19),
    "average": (network, batches, {"callbacks": [EMA(0.9)]}, 22),
    "accumulate": (network, batches, {"accumulate": 2}, 59),
}


# launches of one update outside of its graphs, and copies: of the batch into them, of results out of them
CAPTURED = {  # not "by hand", which makes its own updates
    "batches": (0, 5),
    "loader": (2, 5),  # rows of x and of y
    "pair": (0, 6),
    "own step": (0, 5),
    "average": (3, 5),  # the body of average_step
    "accumulate": (0, 16),
}


def updated(name, cpucuda, **more):
    """The counts of one update, and the Trainer that made it."""
    make, data, options, _ = CASES[name]
    model, count, options = make(), Count(cpucuda), options | more
    callbacks = [*options.pop("callbacks", ()), count]
    trainer = Trainer(model, F.cross_entropy, optim.Adam(model), callbacks, **options)
    trainer.fit(data(), epochs=2)
    return count.found, trainer


@pytest.mark.parametrize("name", CASES)
def test_an_update_does_not_wait(name, cpucuda):
    n, _ = updated(name, cpucuda)
    assert n.synchronisations == n.device_to_host == 0, n
    assert n.host_to_device <= 1, n
    assert n.launches + n.products <= CASES[name][-1], n


@pytest.mark.parametrize("name", CAPTURED)
def test_a_captured_update_is_one_launch_a_batch(name, cpucuda):
    n, trainer = updated(name, cpucuda, capture=True)
    launches, copies = CAPTURED[name]
    assert n.graphs == trainer.accumulate, n
    assert n.synchronisations == n.device_to_host == 0, n
    assert n.host_to_device <= n.graphs, n  # the numbers of the step
    assert n.launches + n.products <= launches, n
    assert n.device_to_device == copies, n


def test_loss_scaling_does_not_wait(cpucuda):
    model, count = nn.Linear(20, 4, dtype="float16"), Count(cpucuda)
    data = [(xpnet.asarray(x, "float16"), y) for x, y in batches()]
    Trainer(model, F.cross_entropy, optim.Adam(model), [count], scaler=LossScaler(64.0)).fit(data, epochs=2)
    assert count.found.synchronisations == 0, count.found


def test_looking_for_what_is_not_finite_does_not_wait(cpucuda):
    """At the first look, which asks, and at the second, which reads what the first has found."""
    model, found = network(), {}

    class Count(Callback):
        """The updates of which a look is a part, and one of which it is none."""

        def on_batch_end(self, run):
            if run.step in found:
                self.counting.__exit__(None, None, None)
            if run.step + 1 in (EVERY, 2 * EVERY, 2 * EVERY + 1):
                self.counting = cpucuda.count(places=True)
                found[run.step + 1] = self.counting.__enter__()

    Trainer(model, F.cross_entropy, optim.Adam(model), [Count()]).fit(batches() * 11, epochs=1)
    usual = found[2 * EVERY + 1]
    for step in (EVERY, 2 * EVERY):
        n = found[step]
        assert n.synchronisations == n.device_to_host == 0, n
        assert 0 < n.launches + n.products - usual.launches - usual.products <= 8, (n, usual)


def test_what_is_not_finite_is_noticed_without_a_read(cpucuda):
    model = network()

    class Poison(Callback):
        def on_batch_end(self, run):
            if run.step == 3:
                model.layers[0].weight.data[0, 0] = float("nan")

    trainer = Trainer(model, F.cross_entropy, optim.Adam(model), [Poison()])
    with pytest.raises(TrainingDivergedError, match=r"0\.weight is not finite"):
        trainer.fit(batches() * 100, epochs=1)
    assert trainer.step == 2 * EVERY
