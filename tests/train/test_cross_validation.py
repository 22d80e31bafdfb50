"""Cross-validation: folds against scikit-learn, nothing seen before it is scored."""

import numpy as np
import pytest

import xpnet
from xpnet import nn, optim, random
from xpnet.data import Dataset, Standardize, k_fold, load_digits
from xpnet.train import Callback, cross_validate

pytestmark = pytest.mark.host


def make_model():
    return nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def digits(n=400):
    return load_digits().subset(np.arange(n))


def test_folds_have_the_sizes_of_scikit_learn_and_share_no_sample():
    model_selection = pytest.importorskip("sklearn.model_selection")
    data = Dataset(np.arange(103.0)[:, None], np.arange(103) % 4)
    theirs = sorted(len(b) for _, b in model_selection.KFold(5).split(data.x))
    seen = []
    for train, validation in k_fold(data, 5, seed=0):
        parts = [set(d.x[:, 0].tolist()) for d in (train, validation)]
        assert not parts[0] & parts[1]
        assert parts[0] | parts[1] == set(range(103))
        seen.append(len(validation))
    assert sorted(seen) == theirs


def test_mean_and_spread():
    found = cross_validate(make_model, digits(), 4, epochs=2, preprocessing=Standardize)
    assert len(found.scores) == len(found.histories) == 4
    assert found.scores == [h["val_accuracy"][-1] for h in found.histories]
    assert found.mean == pytest.approx(np.mean(found.scores))
    assert found.std == pytest.approx(np.std(found.scores, ddof=1))
    assert found.mean > 0.5
    assert str(found).endswith("(4 folds)")


def test_the_same_again_and_the_streams_are_put_back():
    xpnet.manual_seed(5)
    before = random.generator_state()
    a, b = (cross_validate(make_model, digits(), 2, epochs=1, seed=3) for _ in range(2))
    assert a.scores == b.scores
    assert random.generator_state() == before
    assert cross_validate(make_model, digits(), 2, epochs=1, seed=4).scores != a.scores


def test_preprocessing_sees_the_training_part_alone():
    fitted = []

    class Spy(Standardize):
        def fit(self, x):
            fitted.append(set(np.asarray(x)[:, 0].tolist()))
            return super().fit(x)

    data = Dataset(np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32), np.arange(30) % 2)
    cross_validate(lambda: nn.Linear(2, 2), data, 3, epochs=1, preprocessing=Spy, seed=1)
    folds = [set(train.x[:, 0].tolist()) for train, _ in k_fold(data, 3, seed=1)]
    assert fitted == folds


def test_options_reach_every_fold():
    optimizers, ends = [], []

    class End(Callback):
        def on_fit_end(self, trainer):
            ends.append(trainer.optimizer)

    def make_optimizer(model):
        optimizers.append(optim.SGD(model, lr=0.1))
        return optimizers[-1]

    found = cross_validate(
        make_model,
        digits(100),
        2,
        epochs=1,
        make_optimizer=make_optimizer,
        make_callbacks=lambda optimizer: [End()],
        monitor="val_loss",
    )
    assert ends == optimizers
    assert found.scores == [h["val_loss"][0] for h in found.histories]


def test_bad_k():
    with pytest.raises(ValueError, match="k must be from 2"):
        cross_validate(make_model, digits(20), 1)
