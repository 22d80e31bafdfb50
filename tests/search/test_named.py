"""Everything that has a name can be made by it, and trains."""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.nn.perceptron import ACTIVATIONS
from xpnet.optim.by_name import OPTIMIZERS
from xpnet.search import Space, make, named
from xpnet.search.named import KINDS
from xpnet.train import Trainer

pytestmark = pytest.mark.host
X, Y = np.random.default_rng(0).normal(size=(8, 1, 8, 8)).astype(np.float32), np.arange(8) % 3
AROUND = "schedule-free", "schedule-free sgd", "lookahead", "sam"
NO_DECAY = "rprop", "lbfgs"


@pytest.mark.parametrize("name", NO_DECAY)
def test_a_rule_without_weight_decay_says_so(name):
    with pytest.raises(ValueError, match=f"{name}: this rule has no weight decay, got 0.1; add F.l2"):
        make("optimizer", name)(nn.Linear(2, 2), weight_decay=0.1)


@pytest.mark.parametrize("name", sorted(KINDS["model"]))
def test_models_of_pictures(name):
    if name in ("resnet18", "resnet34", "resnet50"):
        with xpnet.init.to_be_loaded(1 << 30):
            model = make("model", name)((1, 16, 16), 3)
    else:
        model = make("model", name)((1, 16, 16), 3)
    x = np.random.default_rng(0).normal(size=(8, 1, 16, 16)).astype(np.float32)
    assert model(x).shape == (8, 3)


@pytest.mark.parametrize("name", sorted(KINDS["optimizer"]))
def test_rules_make_the_loss_smaller(name):
    xpnet.manual_seed(0)
    model = nn.Linear(64, 3)
    rule = make("optimizer", name)(model, weight_decay=0 if name in NO_DECAY else 1e-4)
    trainer = Trainer(model, F.cross_entropy, rule, verbose=False)
    losses = trainer.fit((X.reshape(8, 64), Y), epochs=20)["train_loss"]
    assert losses[-1] < losses[0]
    kind = type(make("optimizer", name)(model, lr=0.25))
    assert kind is type(rule)
    assert make("optimizer", name)(model, lr=0.25).param_groups[0]["lr"] == 0.25


@pytest.mark.parametrize("name", sorted(KINDS["schedule"]))
def test_schedules_end_at_or_below_their_start(name):
    rule = optim.SGD(nn.Linear(1, 1), lr=0.5)
    schedule, rates = make("schedule", name)(rule, 12), []
    for _ in range(12):
        rates.append(rule.param_groups[0]["lr"])
        rule.step()
        schedule.step()
    assert all(0 <= rate <= 0.5 for rate in rates)
    assert (rates[-1] < 0.2) == (name != "constant")


@pytest.mark.parametrize("name", sorted(KINDS["schedule"]))
@pytest.mark.parametrize("epochs", [1, 2, 5, 12])
def test_no_epoch_has_a_rate_of_0(name, epochs):
    rule = optim.SGD(nn.Linear(1, 1), lr=0.5, momentum=0.9)
    schedule = make("schedule", name)(rule, epochs)
    for _ in range(epochs):
        assert rule.param_groups[0]["lr"] > 0
        schedule.step()


def test_names_are_those_of_the_tables():
    assert set(KINDS["optimizer"]) == {*OPTIMIZERS, *AROUND, *NO_DECAY}
    assert set(KINDS["activation"]) == set(ACTIVATIONS)
    for kind in KINDS:
        space = Space({"x": named(kind)})
        assert {space.sample(0, k)["x"] for k in range(300)} == set(KINDS[kind])
    with pytest.raises(ValueError, match="no optimizer is called 'adm', did you mean 'adam'"):
        named("optimizer", ["adm"])
    with pytest.raises(ValueError, match="a kind is one of optimizer, activation"):
        make("rule", "adam")


@pytest.mark.parametrize("name", ["vit", "mixer"])
@pytest.mark.parametrize(
    ("sides", "padded"), [((28, 28), False), ((9, 12), True), ((29, 29), True), ((5, 5), False)]
)
def test_models_of_patches_take_pictures_of_any_size(name, sides, padded):
    """Patches fill them, or zeros make room for one more."""
    model = make("model", name)((2, *sides), 3)
    assert isinstance(model, nn.Sequential) is padded
    assert model(np.ones((2, 2, *sides), np.float32)).shape == (2, 3)


ORACLES = {
    "mse_loss": lambda s, y: ((s - y) ** 2).mean(),
    "l1_loss": lambda s, y: np.abs(s - y).mean(),
    "binary_cross_entropy_with_logits": lambda s, y: (np.logaddexp(0, s) - s * y).mean(),
    "soft_margin_loss": lambda s, y: np.logaddexp(0, -(2 * y - 1) * s).mean(),
}


@pytest.mark.parametrize("name", sorted(KINDS["loss"]))
def test_losses_take_class_labels_and_train(name):
    loss, scores = make("loss", name), np.random.default_rng(0).normal(size=(8, 3))
    if name in ORACLES:
        for target in (Y, np.eye(3)[Y] * 2 - 1 if name == "soft_margin_loss" else np.eye(3)[Y]):
            assert float(loss(scores, target)) == pytest.approx(ORACLES[name](scores, np.eye(3)[Y]))
    xpnet.manual_seed(0)
    model = nn.Linear(64, 3)
    losses = Trainer(model, loss, optim.Adam(model), verbose=False).fit((X.reshape(8, 64), Y), epochs=20)
    assert losses["train_loss"][-1] < losses["train_loss"][0]
    with pytest.raises(ValueError, match="label 3 is out of range"):
        loss(scores, Y + 1)
