"""Everything that a user makes is copied and pickled, and goes on from where it was."""

import copy
import inspect
import math
import pickle

import numpy as np
import pytest

import xpnet
from tests.every_layer import LAYERS, sample
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset
from xpnet.train import EarlyStopping, History, Trainer

pytestmark = pytest.mark.host
WAYS = {"deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}
each_way = pytest.mark.parametrize("duplicate", WAYS.values(), ids=WAYS)


@each_way
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, duplicate):
    make, shape = LAYERS[name]
    layer = make()
    x = sample(layer, shape)
    layer(xpnet.tensor(x))
    copied = duplicate(layer)
    assert repr(copied) == repr(layer)
    for module in (layer, copied):
        module.eval()
    np.testing.assert_array_equal(xpnet.to_numpy(copied(x)), xpnet.to_numpy(layer(x)))
    for p in copied.parameters():
        p.data[...] = 0.0
    assert not copied.parameters() or any(p.numpy().any() for p in layer.parameters())


class WithClosure(optim.LBFGS):
    """L-BFGS on the gradients that there are: a closure computes none."""

    def step(self, closure=None):
        return super().step(lambda: 1.0)


RULES = {
    n: k
    for n, k in ((n, getattr(optim, n)) for n in optim.__all__)
    if inspect.isclass(k) and issubclass(k, optim.Optimizer)
}
RULES.pop("Optimizer", None)
RULES["LBFGS"] = lambda p, lr: WithClosure(p, lr=lr)
RULES["Lookahead"] = lambda p, lr: optim.Lookahead(optim.Adam(p, lr=lr), k=2)
RULES["Muon"] = lambda p, lr: optim.Muon([p.weight], lr=lr)
RULES["MuonWithAuxAdam"] = lambda p, lr: optim.MuonWithAuxAdam(optim.matrices_and_others(p), lr=lr)
RULES.pop("SAM")  # its step takes a closure
SCHEDULES = {
    "StepLR": lambda o: optim.StepLR(o, 2),
    "ExponentialLR": lambda o: optim.ExponentialLR(o, 0.9),
    "InverseTimeLR": lambda o: optim.InverseTimeLR(o, 0.5),
    "CosineAnnealingLR": lambda o: optim.CosineAnnealingLR(o, 9),
    "CosineAnnealingWarmRestarts": lambda o: optim.CosineAnnealingWarmRestarts(o, 2, 2),
    "MultiStepLR": lambda o: optim.MultiStepLR(o, [2, 3]),
    "LambdaLR": lambda o: optim.LambdaLR(o, math.exp2),
    "LinearLR": lambda o: optim.LinearLR(o),
    "OneCycleLR": lambda o: optim.OneCycleLR(o, 1.0, 9, cycle_momentum=False),
    "SequentialLR": lambda o: optim.SequentialLR(o, [optim.ConstantLR(o), optim.PolynomialLR(o)], [2]),
    "WarmupStableDecayLR": lambda o: optim.WarmupStableDecayLR(o, 1, 2, 3),
    "WarmupLR": lambda o: optim.WarmupLR(o, 3),
    "ReduceLROnPlateau": lambda o: optim.ReduceLROnPlateau(o, patience=0),
}


@each_way
@pytest.mark.parametrize("rule", RULES)
def test_optimizers(rule, duplicate):
    model = nn.Linear(3, 2)
    optimizer = RULES[rule](model, lr=0.1)
    x, y = np.float32([[1, 2, 3], [0, 1, -1]]), np.array([0, 1])

    def train(model, optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        return [p.numpy().copy() for p in model.parameters()]

    train(model, optimizer)
    copied, copied_optimizer = duplicate((model, optimizer))
    for a, b in zip(train(copied, copied_optimizer), train(model, optimizer), strict=True):
        np.testing.assert_array_equal(a, b)


@each_way
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules(schedule, duplicate):
    optimizer = optim.SGD(nn.Linear(1, 1), lr=0.5)
    original = SCHEDULES[schedule](optimizer)
    step = (lambda s: s.step(1.0)) if schedule == "ReduceLROnPlateau" else (lambda s: s.step())
    step(original)
    copied, copied_optimizer = duplicate((original, optimizer))
    for _ in range(5):
        step(original)
        step(copied)
        assert copied_optimizer.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


@each_way
def test_training(duplicate):
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(64, 3)).astype(np.float32), rng.integers(0, 2, 64))
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, momentum=None), nn.Dropout(0.1), nn.Linear(4, 2))
    trainer = Trainer(model, F.cross_entropy, optim.Adam(model, lr=0.01), [EarlyStopping(patience=3)])
    history = trainer.fit(DataLoader(data, 16), data, epochs=2)
    copied = duplicate(trainer)
    assert isinstance(duplicate(history), History)
    state = xpnet.random.generator_state()
    again = [
        t.fit(DataLoader(data, 16), data, epochs=2)["val_loss"] for t in (trainer, copied) if restore(state)
    ]
    assert again[0] == again[1]


def restore(state):
    xpnet.random.set_generator_state(state)
    return True
