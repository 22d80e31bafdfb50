"""Schedule-free rules in a Trainer: trained at y; measured, saved and left at x."""

import json

import numpy as np
import pytest

import xpnet
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset
from xpnet.functional import mse_loss
from xpnet.train import Callback, EarlyStopping, Trainer, evaluate

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)
DATA = Dataset(X, X @ np.float32([[1.0], [-2.0], [0.5]]) + 0.1 * RNG.normal(size=(40, 1)).astype(np.float32))
RULES = {
    "sgd": lambda m: optim.SGDScheduleFree(m, lr=0.1),
    "adamw": lambda m: optim.AdamWScheduleFree(m, lr=0.05),
    "around another": lambda m: optim.Lookahead(optim.SGDScheduleFree(m, lr=0.1), k=3),
    "one of several": lambda m: {"all": optim.SGDScheduleFree(m, lr=0.1)},
}


def trained(rule, epochs, callbacks=(), resume=None, capture=False):
    xpnet.manual_seed(0)
    model = nn.Linear(3, 1)
    trainer = Trainer(model, mse_loss, RULES[rule](model), callbacks, verbose=False, capture=capture)
    trainer.fit(DataLoader(DATA, 8), DATA, epochs=epochs, resume=resume)
    return trainer


def rule_of(trainer):
    return getattr(trainer.optimizer, "named", {"all": trainer.optimizer})["all"]


def by_hand(rule, epochs):
    """What is measured at x, and x at the end."""
    xpnet.manual_seed(0)
    model, losses = nn.Linear(3, 1), []
    rule = RULES[rule](model)
    rule = rule["all"] if isinstance(rule, dict) else rule
    loader = DataLoader(DATA, 8)
    for _ in range(epochs):
        rule.train()
        for x, y in loader:
            rule.zero_grad()
            mse_loss(model(x), y).backward()
            rule.step()
        rule.eval()
        losses.append(evaluate(model, DATA, mse_loss)["loss"])
    return losses, model.weight.numpy()


@pytest.mark.parametrize("rule", RULES)
def test_validation_and_the_trained_model_are_the_mean(rule):
    losses, weight = by_hand(rule, 4)
    trainer = trained(rule, 4)
    np.testing.assert_allclose(trainer.history["val_loss"], losses, rtol=1e-5)
    np.testing.assert_allclose(trainer.model.weight.numpy(), weight, rtol=1e-5)
    assert not rule_of(trainer).training
    assert trainer.evaluate(DATA)["loss"] == pytest.approx(trainer.history["val_loss"][-1])


@pytest.mark.parametrize("rule", RULES)
def test_a_resumed_run_goes_on_with_the_same_bits(rule, tmp_path):
    whole = trained(rule, 4)
    trained(rule, 2).save_checkpoint(tmp_path / "run.npz")
    resumed = trained(rule, 4, resume=tmp_path / "run.npz")
    np.testing.assert_array_equal(resumed.model.weight.numpy(), whole.model.weight.numpy())
    assert resumed.history["val_loss"] == whole.history["val_loss"]


@pytest.mark.host
@pytest.mark.parametrize("rule", RULES)
def test_captured_steps_count_as_others_do(rule):
    plain, captured = (trained(rule, 4, capture=capture) for capture in (False, True))
    np.testing.assert_array_equal(captured.model.weight.numpy(), plain.model.weight.numpy())
    assert captured.history["val_loss"] == plain.history["val_loss"]


def test_the_best_weights_are_those_that_were_measured():
    stopping = EarlyStopping(patience=2, monitor="val_loss")
    trainer = trained("sgd", 12, [stopping])
    assert trainer.evaluate(DATA)["loss"] == pytest.approx(min(trainer.history["val_loss"]))


def test_a_measure_within_an_epoch_is_of_the_mean_and_training_goes_on():
    class Look(Callback):
        def on_batch_end(self, run):
            assert run.optimizer.training
            before = run.model.weight.numpy().copy()
            found.append(run.evaluate(DATA)["loss"])
            assert run.optimizer.training
            np.testing.assert_allclose(run.model.weight.numpy(), before, rtol=1e-5)
            here.append(evaluate(run.model, DATA, mse_loss)["loss"])

    found, here = [], []
    trained("sgd", 1, [Look()])
    assert found[0] == pytest.approx(here[0], rel=1e-5)  # after one step both are one
    assert all(abs(a - b) > 1e-3 * b for a, b in zip(found[1:], here[1:], strict=True))


@pytest.mark.parametrize("training", [True, False])
def test_the_state_knows_its_mode(training):
    ours = nn.Linear(3, 1)
    rule = optim.SGDScheduleFree(ours, lr=0.1)
    for _ in range(3):
        rule.zero_grad()
        mse_loss(ours(xpnet.asarray(DATA.x)), xpnet.asarray(DATA.y)).backward()
        rule.step()
    if not training:
        rule.eval()
    assert json.dumps(rule.state_dict()["training"]) == json.dumps(training)
    other = nn.Linear(3, 1)
    other.load_state_dict(ours.state_dict())
    again = optim.SGDScheduleFree(other, lr=0.1)
    again.load_state_dict(rule.state_dict())
    np.testing.assert_array_equal(
        again.train() and other.weight.numpy(), rule.train() and ours.weight.numpy()
    )
