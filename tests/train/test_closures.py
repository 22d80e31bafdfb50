"""Rules that compute the gradients of a batch several times, in a Trainer."""

import numpy as np
import pytest

import xpnet
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset
from xpnet.functional import mse_loss
from xpnet.functional.regularizers import l2
from xpnet.train import GradientClipping, LossScaler, ManualStep, Trainer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3)).astype(np.float32)
DATA = Dataset(X, X @ np.float32([[1.0], [-2.0], [0.5]]))
RULES = {
    "sam": lambda m: optim.SAM(optim.SGD(m, lr=0.05)),
    "lookahead around sam": lambda m: optim.Lookahead(optim.SAM(optim.SGD(m, lr=0.05)), k=2),
    "lbfgs": lambda m: optim.LBFGS(m, lr=0.5, max_iter=3),
}


def start():
    xpnet.manual_seed(0)
    return nn.Linear(3, 1)


@pytest.mark.parametrize("strength", [0.0, 0.1])
@pytest.mark.parametrize("rule", RULES)
def test_a_trainer_gives_them_the_batch_as_a_closure(rule, strength):
    model = start()
    trainer = Trainer(
        model, mse_loss, RULES[rule](model), [GradientClipping(norm=100.0)], l2=strength, verbose=False
    )
    history = trainer.fit(DataLoader(DATA, 8, shuffle=False), DATA, epochs=2)
    assert trainer.step == 6
    other, losses = start(), []
    step = RULES[rule](other)
    for x, y in [*DataLoader(DATA, 8, shuffle=False)] * 2:

        def closure(x=x, y=y, of_batch=(of_batch := [])):
            step.zero_grad()
            loss = mse_loss(other(x), y)
            total = loss + l2(other, strength) if strength else loss
            total.backward()
            of_batch.append(float(loss.item()))
            return total

        step.step(closure)
        losses.append(of_batch[0])
    np.testing.assert_allclose(model.weight.numpy(), other.weight.numpy(), rtol=1e-5)
    assert history["train_loss"] == pytest.approx([np.mean(losses[:3]), np.mean(losses[3:])], rel=1e-5)


@pytest.mark.host
@pytest.mark.parametrize(
    ("options", "named"),
    [({"accumulate": 2}, "accumulate"), ({"scaler": LossScaler()}, "a scaler")],
)
def test_what_does_not_go_with_them_is_refused_at_once(options, named):
    model = start()
    with pytest.raises(ValueError, match=f"SAM computes the gradients .* not with {named}; .*ManualStep"):
        Trainer(model, mse_loss, RULES["sam"](model), **options)
    with pytest.raises(ValueError, match=r"LBFGS .* not with several optimizers"):
        Trainer(model, mse_loss, {"all": RULES["lbfgs"](model)})
    Trainer(model, None, {"all": RULES["lbfgs"](model)}, step=ManualStep(lambda run, batch: None))
