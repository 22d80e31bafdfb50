"""Ensembles against formulas and exact enumeration."""

import copy
import itertools
import math

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset, Standardize, load_digits, split
from xpnet.ensemble import (
    Ensemble,
    Snapshots,
    average_weights,
    bagging,
    bootstrap,
    ensemble_variance,
    monte_carlo_dropout,
)
from xpnet.train import Trainer, evaluate


def network(inputs=4, classes=3):
    return nn.Sequential(
        nn.Linear(inputs, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, classes)
    )


def samples(n=6, inputs=4):
    return xpnet.asarray(np.random.default_rng(0).normal(size=(n, inputs)).astype(np.float32))


# ---- averaged probabilities ----


def test_probabilities_are_the_mean_of_the_members():
    models, x = [network() for _ in range(3)], samples()
    ensemble = Ensemble(models)
    expected = np.mean([xpnet.to_numpy(F.softmax(m.eval()(x))) for m in models], axis=0)
    np.testing.assert_allclose(xpnet.to_numpy(ensemble.predict_proba(x)), expected, rtol=1e-5)
    y = np.arange(6) % 3
    loss = -np.log(expected[np.arange(6), y]).mean()
    found = evaluate(ensemble, (x, y), F.cross_entropy)
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["accuracy"] == pytest.approx(np.mean(expected.argmax(1) == y))


def test_tiny_probabilities_stay_finite():
    layer = nn.Linear(1, 2, bias=False)
    layer.weight.data = xpnet.asarray([[300.0], [-300.0]])
    scores = xpnet.to_numpy(Ensemble([layer, layer]).eval()(xpnet.asarray([[1.0]])))
    np.testing.assert_allclose(scores, [[0.0, -600.0]], atol=1e-4)


def test_no_models():
    with pytest.raises(ValueError, match="no models"):
        Ensemble([])
    with pytest.raises(ValueError, match="no models"):
        average_weights([])


# ---- bagging ----


@pytest.mark.host
def test_the_error_falls_as_the_formula_says():
    """rho sigma^2 + (1 - rho) sigma^2 / k, with errors drawn as common and own parts."""
    rng, sigma, n = np.random.default_rng(0), 1.5, 200_000
    for rho, k in itertools.product((0.0, 0.3, 1.0), (1, 4, 10)):
        errors = sigma * (
            math.sqrt(rho) * rng.normal(size=(n, 1)) + math.sqrt(1 - rho) * rng.normal(size=(n, k))
        )
        found = float((errors.mean(axis=1) ** 2).mean())
        # the relative deviation of a mean of n squares of normal numbers is sqrt(2 / n)
        assert ensemble_variance(sigma**2, k, rho) == pytest.approx(found, rel=5 * math.sqrt(2 / n))


@pytest.mark.host
def test_bagged_regressors_follow_the_formula():
    """Least squares on bootstrap samples: variance and correlation are measured, then compared."""
    rng, k, repeats = np.random.default_rng(1), 8, 400
    predictions = np.empty((repeats, k))
    for r in range(repeats):
        x = rng.normal(size=(12, 3))
        data = Dataset(x, x.sum(axis=1) + rng.normal(size=12))
        for i in range(k):
            part = bootstrap(data, i, seed=r)
            predictions[r, i] = np.linalg.lstsq(part.x, part.y, rcond=1e-6)[0].sum() - 3
    variance = predictions.var(axis=0).mean()
    covariance = np.cov(predictions.T, bias=True)
    correlation = (covariance.sum() - np.trace(covariance)) / (k * (k - 1)) / variance
    expected = ensemble_variance(variance, k, correlation)
    assert predictions.mean(axis=1).var() == pytest.approx(expected, rel=1e-9)
    assert expected < 0.8 * variance  # bagging helps an unstable learner


@pytest.mark.host
def test_a_bootstrap_sample_has_the_usual_fraction_of_distinct_samples():
    data = Dataset(np.arange(5000.0), np.arange(5000))
    part = bootstrap(data, 0)
    assert len(part) == 5000
    assert len(set(part.y.tolist())) / 5000 == pytest.approx(1 - 1 / math.e, abs=0.02)
    assert (bootstrap(data, 0).y == part.y).all()
    assert (bootstrap(data, 1).y != part.y).any()
    assert (bootstrap(data, 0, seed=1).y != part.y).any()


@pytest.mark.host
def test_bagging_trains_a_model_a_sample():
    seen = []

    def train(sample, i):
        seen.append((i, sample.y.tolist()))
        return nn.Linear(1, 2)

    data = Dataset(np.ones((20, 1), dtype=np.float32), np.arange(20))
    assert len(bagging(train, data, 3)) == 3
    assert [i for i, _ in seen] == [0, 1, 2]
    assert seen[1][1] == bootstrap(data, 1).y.tolist()
    with pytest.raises(ValueError, match="k must be at least 1"):
        bagging(train, data, 0)


# ---- snapshots, averaged weights ----


@pytest.mark.host
def test_snapshots_are_taken_at_the_minima_of_the_rate():
    train, validation, _ = split(load_digits(), seed=0)
    scaler = Standardize(per_feature=False).fit(train.x)
    train, validation = train.map(scaler.transform), validation.map(scaler.transform)
    model = network(64, 10)
    optimizer = optim.SGD(model, lr=0.1, momentum=0.9)
    snapshots = Snapshots(optimizer, cycle=3)
    trainer = Trainer(model, F.cross_entropy, optimizer, [snapshots])
    history = trainer.fit(DataLoader(train, 64), validation, epochs=6)
    # epoch t of a cycle: a0 (1 + cos(pi t / 3)) / 2
    np.testing.assert_allclose(history["lr"], [0.1, 0.075, 0.025] * 2)
    assert len(snapshots.models) == 2
    np.testing.assert_array_equal(snapshots.models[-1].theta, model.theta)
    members = [evaluate(m, validation, F.cross_entropy) for m in snapshots.models]
    assert members[0]["accuracy"] == pytest.approx(history["val_accuracy"][2])
    both = evaluate(snapshots.ensemble(), validation, F.cross_entropy)
    # -log is convex: the loss of the mean probabilities is at most the mean of the losses (Jensen)
    assert both["loss"] <= np.mean([m["loss"] for m in members]) + 1e-6
    assert len(snapshots.ensemble(last=1)) == 1

    other = Snapshots(optimizer, cycle=3)
    other._model = model
    other.load_state_dict(snapshots.state_dict())
    for a, b in zip(other.models, snapshots.models, strict=True):
        np.testing.assert_array_equal(a.theta, b.theta)


def test_averaged_weights_are_the_mean():
    models = [network() for _ in range(3)]
    before = [copy.deepcopy(m.state_dict()) for m in models]
    averaged = average_weights(models).state_dict()
    for name, value in averaged.items():
        expected = np.mean([xpnet.to_numpy(m.state_dict()[name]) for m in models], axis=0)
        np.testing.assert_allclose(xpnet.to_numpy(value), expected, rtol=1e-5, atol=1e-7)
    for model, state in zip(models, before, strict=True):
        for name, value in model.state_dict().items():
            np.testing.assert_array_equal(xpnet.to_numpy(value), xpnet.to_numpy(state[name]))
    with pytest.raises(ValueError, match="different parameters"):
        average_weights([nn.Linear(2, 3), nn.Linear(3, 2)])


def test_averaged_linear_models_give_the_averaged_output():
    models, x = [nn.Linear(4, 3) for _ in range(2)], samples()
    expected = np.mean([xpnet.to_numpy(m(x).data) for m in models], axis=0)
    np.testing.assert_allclose(
        xpnet.to_numpy(average_weights(models)(x).data), expected, rtol=1e-5, atol=1e-6
    )


# ---- dropout at test time ----


def exact_moments(model, hidden, p, x):
    """Mean and deviation of the probabilities over all masks of the hidden layer, in float64."""
    first, second = model[0], model[3]
    w1, b1, w2, b2 = (
        xpnet.to_numpy(a).astype(float) for a in (first.weight, first.bias, second.weight, second.bias)
    )
    h = np.maximum(xpnet.to_numpy(x) @ w1.T + b1, 0)
    mean = square = 0.0
    for mask in itertools.product((0, 1), repeat=hidden):
        kept = sum(mask)
        weight = (1 - p) ** kept * p ** (hidden - kept)
        z = (h * mask / (1 - p)) @ w2.T + b2
        e = np.exp(z - z.max(axis=1, keepdims=True))
        q = e / e.sum(axis=1, keepdims=True)
        mean, square = mean + weight * q, square + weight * q**2
    return mean, np.sqrt(square - mean**2)


@pytest.mark.host
def test_monte_carlo_dropout_against_all_masks():
    hidden, p, n = 6, 0.4, 4000
    model = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Dropout(p), nn.Linear(hidden, 3))
    x = samples(5)
    mean, std = (xpnet.to_numpy(a) for a in monte_carlo_dropout(model, x, n))
    exact_mean, exact_std = exact_moments(model, hidden, p, x)
    np.testing.assert_array_less(np.abs(mean - exact_mean), 4.5 * exact_std / math.sqrt(n) + 1e-6)
    np.testing.assert_allclose(std, exact_std, rtol=0.08)


def test_monte_carlo_dropout_leaves_modes_and_batch_norm_alone():
    model, x = network(), samples()
    model.eval()
    before = {name: xpnet.to_numpy(v).copy() for name, v in model.state_dict().items()}
    mean, std = monte_carlo_dropout(model, x, 5, activation=None)
    assert tuple(mean.shape) == tuple(std.shape) == (6, 3)
    assert float(xpnet.to_numpy(std).max()) > 0
    assert not any(m.training for m in model.modules())
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(xpnet.to_numpy(value), before[name])


def test_without_dropping_it_is_evaluation_mode():
    model, x = network(), samples()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    mean, std = monte_carlo_dropout(model, x, 3)
    np.testing.assert_allclose(xpnet.to_numpy(mean), xpnet.to_numpy(F.softmax(model.eval()(x))), rtol=1e-6)
    np.testing.assert_allclose(xpnet.to_numpy(std), 0, atol=1e-7)


def test_mean_and_deviation_are_those_of_the_samples():
    model, x = network(), samples()
    xpnet.manual_seed(1)
    mean, std = monte_carlo_dropout(model, x, 4, activation=None)
    xpnet.manual_seed(1)
    outputs = [xpnet.to_numpy(monte_carlo_dropout(model, x, 1, activation=None)[0]) for _ in range(4)]
    np.testing.assert_allclose(xpnet.to_numpy(mean), np.mean(outputs, axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(xpnet.to_numpy(std), np.std(outputs, axis=0), rtol=1e-4, atol=1e-6)


def test_no_dropout_layers():
    with pytest.raises(ValueError, match="expected Dropout layers"):
        monte_carlo_dropout(nn.Linear(4, 3), samples())
