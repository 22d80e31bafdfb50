"""One sample left for the last batch: refused at once where batch norm needs two values, and only there."""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim, to_numpy
from xpnet.data import DataLoader, Dataset
from xpnet.train import Trainer

RNG = np.random.default_rng(0)


def flat(n):
    return Dataset(RNG.normal(size=(n, 4)).astype(np.float32), np.arange(n) % 2)


def pictures(n):
    return Dataset(RNG.normal(size=(n, 1, 4, 4)).astype(np.float32), np.arange(n) % 2)


def mlp():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))


def cnn():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))


def cnn_of_one_position():
    return nn.Sequential(nn.Conv2d(1, 8, 4), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 2))


def layer_norm():
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))


def trainer(model):
    return Trainer(model, F.cross_entropy, optim.Adam(model))


REFUSED = [(mlp, flat, 33), (mlp, flat, 65), (mlp, flat, 1), (cnn_of_one_position, pictures, 33)]


@pytest.mark.parametrize(("make", "data", "n"), REFUSED)
@pytest.mark.parametrize("loaded", [True, False])
def test_refused_before_the_first_update(make, data, n, loaded):
    model = make()
    before = {name: np.copy(to_numpy(a)) for name, a in model.state_dict().items()}
    run = trainer(model)
    train = DataLoader(data(n), 32) if loaded else data(n)
    with pytest.raises(ValueError, match=rf"{n} samples in batches of 32 leave one.*(drop_last=True|larger)"):
        run.fit(train, epochs=1)
    assert run.step == 0
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(to_numpy(array), before[name])


@pytest.mark.parametrize(
    ("make", "train"),
    [
        (mlp, lambda: DataLoader(flat(33), 32, drop_last=True)),
        (mlp, lambda: DataLoader(flat(34), 32)),
        (mlp, lambda: DataLoader(flat(33), 11)),
        (cnn, lambda: DataLoader(pictures(33), 32)),
        (cnn, lambda: DataLoader(pictures(3), 1)),
        (layer_norm, lambda: DataLoader(flat(33), 32)),
    ],
)
def test_everything_else_trains(make, train):
    assert trainer(make()).fit(train(), epochs=1).epochs == 1


def test_finding_out_changes_nothing():
    """The same weights as with batches of no loader, at which nobody looks."""
    found = []
    data = pictures(33)
    for looked_at in (True, False):
        xpnet.manual_seed(0)
        model = nn.Sequential(*cnn().layers, nn.Dropout(0.5))
        loader = DataLoader(data, 32, shuffle=False)
        trainer(model).fit(loader if looked_at else [*loader], epochs=1)
        found.append(to_numpy(model.layers[0].weight.data))
    np.testing.assert_array_equal(*found)
