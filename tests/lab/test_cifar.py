"""The printouts on CIFAR-10: their training loop against NumPy, and the quick ones where the data are."""

import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from xpnet import asarray, manual_seed, to_numpy
from xpnet.cli import main
from xpnet.data import Dataset
from xpnet.lab import catalogue, cifar
from xpnet.lab.items import items

host = pytest.mark.host
DATA = Path(os.environ.get("XPNET_DATA", Path(__file__).parents[3] / "shared" / "data")) / "cifar10"


@host
@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 1.0), (0.9, 1.0), (0.0, 0.5)])
def test_descend_is_the_slides_loop(momentum, decay):
    """As two_layer_net and ClassifierTrainer of CS231n do it, in double precision; all samples are alike, so
    that every batch is.
    """
    rng = np.random.default_rng(0)
    x, y, rate, penalty = rng.normal(0, 60, 3072), 3, 1e-3, 0.5
    data = Dataset(np.repeat(x[None], 200, 0).astype(np.float32), np.full(200, y)).to_backend()
    manual_seed(0)
    model = cifar.network()
    p = [to_numpy(a).astype(np.float64) for a in (model[0].weight.data, model[2].weight.data)]
    b1, b2 = np.zeros(50), np.zeros(10)
    velocity = [np.zeros_like(a) for a in (*p, b1, b2)]
    found = cifar.descend(model, data, rate, penalty, momentum=momentum, decay=decay, batch=100)
    for k, (loss, scores, labels) in enumerate(islice(found, 5)):
        (w1, w2), lr = p, rate * decay ** (k // 2)  # two batches an epoch
        hidden = np.maximum(w1 @ x + b1, 0)
        z = w2 @ hidden + b2
        probs = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        expected = -np.log(probs[y]) + penalty / 2 * ((w1**2).sum() + (w2**2).sum())
        dz = probs - np.eye(10)[y]
        dh = (w2.T @ dz) * (hidden > 0)
        gradients = [np.outer(dh, x) + penalty * w1, np.outer(dz, hidden) + penalty * w2, dh, dz]
        velocity = [momentum * v + g for v, g in zip(velocity, gradients, strict=True)]
        w1, w2, b1, b2 = (a - lr * v for a, v in zip((w1, w2, b1, b2), velocity, strict=True))
        p = [w1, w2]
        assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
        np.testing.assert_allclose(to_numpy(scores)[0], z, rtol=2e-3, atol=1e-6)
        assert to_numpy(labels).tolist() == [y] * 100
    np.testing.assert_allclose(to_numpy(model[0].weight.data), p[0], rtol=2e-3, atol=1e-6)


@host
def test_cost_by_the_slides_formula():
    scores, y = np.array([[1.0, 2.0, 3.0]]), np.array([1])
    assert cifar.cost_of_slide(scores, y) == pytest.approx(1 + np.log(np.exp(-2) + np.exp(-1) + 1))
    assert cifar.cost_of_slide(1e4 * scores, y) == np.inf
    assert np.isnan(cifar.cost_of_slide(np.nan * scores, y))


@host
def test_first_loss_is_that_of_many_networks():
    """ln 10 + lambda / 2 E[sum w^2], within five deviations of the mean of 154100 squares; the slide's."""
    assert [cifar.first_loss(0.6), cifar.first_loss(0.3)] == pytest.approx([2.303033, 2.302811], abs=2e-5)
    squares = [sum(float((p.numpy() ** 2).sum()) for p in cifar.network().parameters()) for _ in range(3)]
    for penalty in (0.6, 100.0):
        expected = np.log(10) + penalty / 2 * np.mean(squares)
        assert cifar.first_loss(penalty) - np.log(10) == pytest.approx(expected - np.log(10), rel=1e-2)


@host
def test_accuracy_of_a_network_that_says_nan():
    """argmax of nothing but nan is 0: the share of class 0."""
    model = cifar.network()
    model[2].bias.data = asarray(np.full(10, np.nan, np.float32))
    data = Dataset(np.zeros((8, 3072), np.float32), np.array([0, 0, 0, 1, 2, 3, 4, 5])).to_backend()
    assert cifar.accuracy(model, data) == 3 / 8


@host
@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ["cifar-overfit-20"],
            "cifar-overfit-20 needs CIFAR-10; give the folder that has it with --data DIR",
        ),
        (["--data", "no/such"], "no/such: no such file or folder"),
        (["initial-loss", "--data", "no/such"], "no/such: no such file or folder"),
    ],
)
def test_the_command_asks_for_the_data(words, error, capsys):
    assert main(["lab", *words]) == 2
    assert error in capsys.readouterr().err


@host
def test_an_experiment_asks_for_the_data():
    with pytest.raises(ValueError, match="cifar-iterations needs CIFAR-10"):
        catalogue()["cifar-iterations"]()


@host
@pytest.mark.parametrize("name", ["cifar-overfit-20", "cifar-rate-too-low", "cifar-iterations"])
def test_printouts(name):
    if not DATA.is_dir():
        pytest.skip(f"CIFAR-10 is not in {DATA}; set XPNET_DATA to the folder that has cifar10/")
    experiment = catalogue()[name]
    result = experiment(str(DATA))
    assert [c.what for c in result.checks if not c.ok] == []
    for item in items():
        if item.experiment == name:
            assert item.verdict({name: (experiment, result)}) in ("agrees", "slide wrong"), item
