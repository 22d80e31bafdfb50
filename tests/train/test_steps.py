"""What happens with a batch, passed or overridden: losses of one's own, updates by hand, a GAN."""

import copy
import itertools
from functools import partial

import numpy as np
import pytest

import xpnet
from tests.train import blobs as data
from xpnet import nn, optim, random
from xpnet.data import DataLoader, Dataset, ReuseWarning
from xpnet.data.batch import size_of
from xpnet.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss
from xpnet.train import (
    Callback,
    Checkpoint,
    EarlyStopping,
    GradientClipping,
    LossScaler,
    LRFinder,
    ManualStep,
    ModelCheckpoint,
    Run,
    Step,
    StopOnDivergence,
    Trainer,
    accuracy,
)

blobs = partial(data.blobs, distance=2)


def network():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def weights(model):
    return {name: xpnet.to_numpy(a).copy() for name, a in model.state_dict().items()}


def equal(a, b):
    return [name for name in a if not np.array_equal(a[name], b[name])] == []


def supervised(run, batch):
    x, y = batch
    return cross_entropy(run.model(x), y)


@ManualStep
def by_hand(run, batch):
    x, y = batch
    run.optimizer.zero_grad()
    loss = cross_entropy(run.model(x), y)
    loss.backward()
    run.optimizer.step()
    return loss


class ByHand(ManualStep):
    def forward(self, run, batch):
        return by_hand.own_forward(run, batch)


class Overridden(Step):
    def forward(self, run, batch):
        return supervised(run, batch)


def trained(step=None, loss=cross_entropy, epochs=3, more=(), **options):
    xpnet.manual_seed(0)
    model = network()
    trainer = Trainer(model, loss, optim.Adam(model, lr=0.01), more, step=step, **options)
    trainer.fit(DataLoader(blobs(), 16, seed=1), epochs=epochs)
    return trainer


@pytest.mark.parametrize("step", [supervised, by_hand, ByHand(), Overridden(), Step()])
def test_every_form_of_a_step_is_the_usual_one(step):
    usual, own = trained(), trained(step)
    assert equal(weights(usual.model), weights(own.model))
    assert usual.history["train_loss"] == own.history["train_loss"]
    assert usual.step == own.step == 12


@pytest.mark.parametrize("options", [{"accumulate": 3}, {"l1": 1e-3, "l2": 1e-2}, {"scaler": True}])
def test_what_follows_the_loss_follows_a_loss_of_ones_own(options):
    def made():
        return {k: LossScaler(64.0) if k == "scaler" else v for k, v in options.items()}

    more = [GradientClipping(norm=0.1)]
    usual, own = trained(**made(), more=more), trained(supervised, loss=None, **made(), more=more)
    assert equal(weights(usual.model), weights(own.model))
    assert usual.history["train_loss"] == own.history["train_loss"]


@pytest.mark.parametrize("manual", [False, True])
def test_other_numbers_are_recorded_as_means_over_samples(manual):
    seen = []

    def step(run, batch):
        x, y = batch
        loss = cross_entropy(run.model(x), y)
        run.optimizer.zero_grad()
        if manual:
            loss.backward()
            run.optimizer.step()
        first = xpnet.to_numpy(x)[:, 0]
        seen.append(first)
        size = xpnet.asarray(np.float32([len(first)]))
        return {"loss": loss, "first": float(first.mean()), "size": size}

    history = trained(ManualStep(step) if manual else step, epochs=1).history
    assert history["train_first"][0] == pytest.approx(np.concatenate(seen).mean(), rel=1e-5)
    sizes = np.array([len(part) for part in seen])
    assert history["train_size"][0] == pytest.approx((sizes**2).sum() / sizes.sum())
    assert history["train_loss"] == trained(epochs=1).history["train_loss"]


def test_without_a_loss_the_step_measures_validation():
    def autoencoder(run, batch):
        x, _ = batch
        found = run.model(x)
        return {"loss": mse_loss(found, x), "largest": abs(xpnet.to_numpy(found)).max()}

    model = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5), nn.Linear(2, 4))
    data = blobs(40)
    trainer = Trainer(model, None, optim.SGD(model, lr=0.01), step=autoencoder)
    history = trainer.fit(DataLoader(blobs(), 16), DataLoader(data, 16, shuffle=False), epochs=2)
    x = xpnet.asarray(data.x)
    with xpnet.no_grad():
        assert history["val_loss"][-1] == pytest.approx(float(mse_loss(model(x), x)), rel=1e-5)
    assert trainer.evaluate(data).keys() == {"loss", "largest"}
    assert {"train_largest", "val_largest"} < set(history)

    def sizes(run, batch):
        return {"loss": xpnet.tensor(1.0), "size": size_of(batch)}

    measured = Trainer(model, None, optim.SGD(model, lr=0.1), step=sizes)
    assert measured.evaluate(DataLoader(data, 30))["size"] == pytest.approx((30 * 30 + 10 * 10) / 40)
    with pytest.raises(ValueError, match="the evaluation data gave no batches"):
        trainer.evaluate([])


def test_a_step_with_a_loss_is_validated_by_the_loss():
    def noisy(run, batch):
        x, y = batch
        return cross_entropy(run.model(x + 0.1), y)

    trainer = trained(noisy)
    data = blobs(30, seed=1)
    trainer.model.eval()
    expected = float(cross_entropy(trainer.model(xpnet.asarray(data.x)), data.y))
    assert trainer.evaluate(data)["loss"] == pytest.approx(expected, rel=1e-5)
    assert trainer.evaluate(data).keys() == {"loss", "accuracy"}


@pytest.mark.host
def test_penalties_can_be_overridden():
    class Biases(Step):
        def penalties(self, run):
            return [(run.model.layers[4].bias ** 2).sum() * 10.0]

    free, held = trained(epochs=10), trained(Biases(), epochs=10)
    assert abs(weights(held.model)["4.bias"]).max() < 0.1 * abs(weights(free.model)["4.bias"]).max()
    assert "train_penalty" in held.history


@pytest.mark.host
def test_the_range_test_takes_the_step_with_it():
    seen = []

    def step(run, batch):
        seen.append(type(run))
        return supervised(run, batch)

    model = network()
    trainer = Trainer(model, None, optim.SGD(model, lr=0.1), step=step)
    finder = LRFinder(1e-4, 1.0, steps=12).run(trainer, DataLoader(blobs(), 16))
    assert len(seen) == len(finder.rates) <= 12
    assert issubclass(seen[0], Run)


# ---- several optimizers ----


class Two(nn.Module):
    def __init__(self):
        self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(xpnet.functional.relu(self.body(x)))


@pytest.mark.host
def test_hooks_see_the_gradient_of_the_whole_objective():
    class Look(Callback):
        def on_backward_end(self, run):
            self.seen = xpnet.to_numpy(run.model.weight.grad).copy()

    model, look = nn.Linear(4, 3), Look()
    x, y = blobs().x, blobs().y
    before = model.weight.numpy().copy()
    cross_entropy(model(x), y).backward()
    expected = model.weight.grad + 2 * 0.1 * before
    Trainer(model, cross_entropy, optim.SGD(model, lr=0.1), [look], l2=0.1).fit([(x, y)], epochs=1)
    np.testing.assert_allclose(look.seen, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.host
def test_batches_of_any_sizes_make_one_update():
    """Sums are kept in units of the first batch, whatever the second weighs."""
    x, y = blobs(35).x, blobs(35).y
    found = []
    for bounds in ((0, 35), (0, 10, 30, 35)):
        xpnet.manual_seed(0)
        model = nn.Linear(4, 3)
        batches = [(x[a:b], y[a:b]) for a, b in itertools.pairwise(bounds)]
        trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=1.0), accumulate=len(batches))
        loss = trainer.fit(batches, epochs=1)["train_loss"][0]
        assert float(trainer.loss_value) == pytest.approx(loss, rel=1e-5)
        found.append((weights(model)["weight"], loss))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-4, atol=1e-6)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-5)


@pytest.mark.host
def test_optimizers_by_name_undo_the_scale_of_half_precision():
    xpnet.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8, dtype="float16"), nn.ReLU(), nn.Linear(8, 3, dtype="float16"))
    plain = copy.deepcopy(model)
    data = [(blobs().x.astype(np.float16), blobs().y)]
    parts = {str(i): optim.SGD(model[i], lr=0.5) for i in (0, 2)}
    Trainer(model, cross_entropy, parts, scaler=LossScaler(256.0)).fit(data, epochs=3)
    Trainer(plain, cross_entropy, optim.SGD(plain, lr=0.5)).fit(data, epochs=3)
    for name, value in weights(plain).items():
        np.testing.assert_allclose(weights(model)[name], value, rtol=0.02, atol=0.002)


def test_optimizers_by_name_all_step():
    def run(several):
        xpnet.manual_seed(0)
        model = Two()
        body, head = {"lr": 0.1}, {"lr": 0.5}
        if several:
            optimizer = {"body": optim.SGD(model.body, **body), "head": optim.SGD(model.head, **head)}
        else:
            parts = [{"params": model.body, **body}, {"params": model.head, **head}]
            optimizer = optim.SGD(parts, lr=0.1)
        trainer = Trainer(model, cross_entropy, optimizer, scaler=LossScaler(16.0))
        trainer.fit(DataLoader(blobs(), 16, seed=1), epochs=2)
        return trainer

    one, several = run(False), run(True)
    assert equal(weights(one.model), weights(several.model))
    assert list(several.optimizer) == ["body", "head"]
    assert several.history["lr"] == [0.1, 0.1]


@pytest.mark.host
def test_optimizers_that_share_are_refused():
    model = Two()
    both = {"a": optim.SGD(model, lr=0.1), "b": optim.SGD(model.head, lr=0.1)}
    with pytest.raises(ValueError, match="'a' and 'b' share a parameter"):
        Trainer(model, cross_entropy, both)
    with pytest.raises(ValueError, match="dict of optimizers is empty"):
        Trainer(model, cross_entropy, {})
    with pytest.raises(ValueError, match="parameters of another model"):
        Trainer(model, cross_entropy, {"a": optim.SGD(network(), lr=0.1)})


# ---- alternating training ----


class GAN(nn.Module):
    """Numbers from noise, and a judge of numbers."""

    def __init__(self):
        self.generator = nn.Linear(1, 1)
        self.discriminator = nn.Sequential(nn.Linear(1, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))


@ManualStep
def adversarial(run, batch):
    real, gan = batch, run.model
    noise = random.normal(real.shape, random.generators[random.NOISE].next_key())
    judge, maker = run.optimizer["discriminator"], run.optimizer["generator"]
    one, zero = np.ones(real.shape, np.float32), np.zeros(real.shape, np.float32)

    judge.zero_grad()
    fake = gan.generator(noise)
    told = binary_cross_entropy_with_logits(gan.discriminator(real), xpnet.asarray(one))
    told = told + binary_cross_entropy_with_logits(gan.discriminator(fake.detach()), xpnet.asarray(zero))
    told.backward()
    judge.step()

    maker.zero_grad()
    fooled = binary_cross_entropy_with_logits(gan.discriminator(gan.generator(noise)), xpnet.asarray(one))
    fooled.backward()
    maker.step()
    return {"discriminator": told, "generator": fooled}


def gan_trainer(callbacks=(), seed=0):
    xpnet.manual_seed(seed)
    gan = GAN()
    optimizers = {
        "discriminator": optim.Adam(gan.discriminator, lr=0.01, betas=(0.5, 0.999)),
        "generator": optim.Adam(gan.generator, lr=0.01, betas=(0.5, 0.999)),
    }
    trainer = Trainer(gan, None, optimizers, callbacks, step=adversarial)
    real = np.random.default_rng(1).normal(4.0, 0.5, (640, 1)).astype(np.float32)
    return trainer, DataLoader(list(real), 32)


def test_a_gan_learns_where_the_numbers_are():
    trainer, loader = gan_trainer()
    before = float(trainer.model.generator.bias.data[0])
    history = trainer.fit(loader, epochs=40)
    assert abs(before) < 1.5
    assert float(trainer.model.generator.bias.data[0]) == pytest.approx(4.0, abs=0.7)
    assert list(history) == ["train_discriminator", "train_generator", "lr", "seconds"]
    assert trainer.step == 800


@pytest.mark.host
@pytest.mark.parametrize("step", [3, 20, 31])
def test_a_gan_resumes_with_the_same_bits(tmp_path, step):
    class Break(Callback):
        def on_batch_end(self, run):
            if run.step == step + 1:
                raise KeyboardInterrupt

    whole, loader = gan_trainer()
    whole.fit(loader, epochs=3)
    cut, loader = gan_trainer([Checkpoint(tmp_path / "c", every_steps=step), Break()])
    with pytest.raises(KeyboardInterrupt):
        cut.fit(loader, epochs=3)
    again, loader = gan_trainer(seed=5)
    again.fit(loader, epochs=3, resume=tmp_path / "c")
    assert equal(weights(whole.model), weights(again.model))
    for name in ("train_discriminator", "train_generator"):
        assert whole.history[name] == again.history[name]


# ---- what is refused ----


@pytest.mark.host
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"accumulate": 2}, "accumulate"),
        ({"scaler": LossScaler()}, "scaler"),
        ({"l1": 0.1}, "l1"),
        ({"l2": 0.1}, "l2"),
        ({"more": [GradientClipping(norm=1.0)]}, "GradientClipping"),
    ],
)
def test_a_manual_step_refuses_what_it_would_pass_over(options, named):
    with pytest.raises(ValueError, match=f"Trainer: {named} work between backward and the update"):
        trained(by_hand, **options)


@pytest.mark.host
@pytest.mark.parametrize(
    ("step", "error", "match"),
    [
        (lambda run, batch: 1.0, TypeError, "must be a Tensor with a gradient, got 1.0"),
        (lambda run, batch: None, TypeError, "got None; a step that makes its own updates is passed as Man"),
        (
            lambda run, batch: supervised(run, batch).detach(),
            TypeError,
            "Tensor of shape .* without a gradient",
        ),
        (lambda run, batch: {"acc": 1.0}, ValueError, "the dict of a step has 'acc', not 'loss'"),
        (
            lambda run, batch: {"loss": supervised(run, batch), "rows": batch[1]},
            TypeError,
            r"gave a ndarray of shape \(16,\) under 'rows', expected one number",
        ),
        (
            lambda run, batch: {"loss": supervised(run, batch), "name": "x"},
            TypeError,
            "gave 'x' under 'name', expected one number",
        ),
    ],
)
def test_what_a_step_may_not_return(step, error, match):
    with pytest.raises(error, match=match):
        trained(step)


@pytest.mark.host
def test_a_step_of_no_kind_is_refused():
    model = network()
    optimizer = optim.SGD(model, lr=0.1)
    with pytest.raises(TypeError, match=r"expected a function of \(run, batch\), got 3"):
        Trainer(model, cross_entropy, optimizer, step=3)
    with pytest.raises(TypeError, match=r"loss is None; pass a function of \(output, target\), or step="):
        Trainer(model, None, optimizer)
    with pytest.raises(TypeError, match="metrics need a loss"):
        Trainer(model, None, optimizer, metrics=[accuracy], step=supervised)
    with pytest.raises(ValueError, match="to measure other data pass the Trainer a loss"):
        Trainer(model, None, optimizer, step=by_hand).fit(blobs(), blobs(), epochs=1)
    with pytest.raises(ValueError, match="to measure other data pass the Trainer a loss"):
        Trainer(model, None, optimizer, step=by_hand).evaluate(blobs())
    with pytest.raises(TypeError, match=r"ManualStep: pass a function of \(run, batch\), or"):
        ManualStep()


@pytest.mark.host
def test_who_needs_a_loss_says_so():
    @ManualStep
    def silent(run, batch):
        return None

    for callback in (StopOnDivergence(), EarlyStopping(monitor="train_loss")):
        with pytest.raises(
            (ValueError, KeyError), match=r"StopOnDivergence needs a loss|no 'train_loss' in this"
        ):
            trained(silent, more=[callback])


@pytest.mark.host
def test_another_step_is_another_run(tmp_path):
    pytest.importorskip("safetensors")
    trained(supervised, more=[ModelCheckpoint(tmp_path)])
    model = network()
    usual = Trainer(model, cross_entropy, optim.Adam(model, lr=0.01), [ModelCheckpoint(tmp_path)])
    with pytest.raises(ValueError, match=r"training\.step is supervised there and absent here"):
        usual.fit(DataLoader(blobs(), 16, seed=1), epochs=4, resume=tmp_path / "last.safetensors")


def test_a_step_of_ones_own_measures_arrays_as_fit_takes_them():
    """Pairs of arrays, dicts of arrays and a Dataset are the same validation data."""
    data, found = blobs(), []
    x, y = data.x, data.y

    def step(run, batch):
        x, y = batch.values() if isinstance(batch, dict) else batch
        return cross_entropy(run.model(x), y)

    for validation in (data, (x, y), {"x": x, "y": y}):
        xpnet.manual_seed(0)
        model = network()
        trainer = Trainer(model, None, optim.Adam(model, lr=0.01), step=step)
        found.append(trainer.fit(data, validation, epochs=1)["val_loss"])
        assert trainer.evaluate(validation)["loss"] == pytest.approx(found[-1][0])
    assert found[0] == found[1] == found[2]


def test_a_step_of_ones_own_notes_the_use_of_a_test_set():
    model = network()
    trainer = Trainer(model, None, optim.SGD(model, lr=0.1), step=supervised)
    test = blobs().guarded()
    trainer.evaluate(test)
    with pytest.warns(ReuseWarning):
        trainer.evaluate(test)


def test_a_step_of_ones_own_weighs_batches_as_its_loss_does():
    """Ignored rows count for nothing, in batches of any size."""
    data = blobs(20)
    x, y = data.x, data.y.copy()
    y[:13] = -100
    model = network()
    trainer = Trainer(model, None, optim.SGD(model, lr=0.1), step=supervised)
    found = [trainer.evaluate(DataLoader(Dataset(x, y), n, shuffle=False))["loss"] for n in (14, 20)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_weights_shown_twice_leave_the_trained_ones_in_the_state():
    """Averaged weights are put in, then the batch norms that belong to them: two times."""
    model = network()
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.1))
    trained = weights(model)
    for factor in (2.0, 3.0):
        trainer.show({name: value * factor for name, value in trained.items()})
    assert equal(trained, {n: xpnet.to_numpy(a) for n, a in trainer.state_dict()["model"].items()})
    assert equal(weights(model), {name: value * 3.0 for name, value in trained.items()})
