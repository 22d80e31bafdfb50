"""A run that is cut in two ends with the same bits as one that is not."""

import json
from functools import partial

import numpy as np
import pytest

import xpnet
from tests.train import blobs as data
from xpnet import nn, optim
from xpnet.data import DataLoader
from xpnet.data.augment import Augmentation
from xpnet.data.samplers import HardExamples
from xpnet.functional import cross_entropy
from xpnet.train import (
    EMA,
    SWA,
    Callback,
    Checkpoint,
    EarlyStopping,
    GradientClipping,
    GradientNoise,
    LearningRate,
    LossScaler,
    ModelCheckpoint,
    MovingAverageStopping,
    StopOnDivergence,
    Trainer,
    accuracy,
    load_checkpoint,
)

pytest.importorskip("safetensors")


class Jitter(Augmentation):
    """Noise that depends on seed, epoch and sample."""

    def __call__(self, x, y, draw):
        return x + xpnet.asarray(draw.uniform(4)) * 0.1, y


blobs = partial(data.blobs, distance=2)


def network(hidden=8, layer=nn.ReLU):
    return nn.Sequential(
        nn.Linear(4, hidden), nn.BatchNorm1d(hidden), layer(), nn.Dropout(0.3), nn.Linear(hidden, 3)
    )


RULES = {
    "adam": lambda model: optim.Adam(model, lr=0.01),
    "amsgrad": lambda model: optim.Adam(model, lr=0.01, amsgrad=True, weight_decay=1e-3),
    "momentum": lambda model: optim.SGD(model, lr=0.05, momentum=0.9, nesterov=True),
    "rmsprop": lambda model: optim.RMSprop(model, lr=0.01, momentum=0.5, centered=True),
    "adagrad": lambda model: optim.Adagrad(model, lr=0.01, lr_decay=0.1),
    "adadelta": lambda model: optim.Adadelta(model),
}


class Run:
    """A model, its trainer and loader, made as a script would make them each time it starts."""

    def __init__(self, seed=0, rule="adam", more=(), prefetch=0, loader=None, model=None, **options):
        xpnet.manual_seed(seed)
        self.model = model or network()
        self.optimizer = RULES[rule](self.model)
        schedule = LearningRate(optim.CosineAnnealingLR(self.optimizer, 40), every="batch")
        self.callbacks = [EarlyStopping(4), StopOnDivergence(30), schedule, *more]
        self.trainer = Trainer(self.model, cross_entropy, self.optimizer, self.callbacks, **options)
        self.loader = loader or DataLoader(blobs(), 16, augment=Jitter(), prefetch=prefetch)

    def fit(self, epochs, **options):
        self.trainer.fit(self.loader, blobs(30, seed=1), epochs=epochs, **options)
        return self

    def result(self):
        """Everything that must agree: weights, moments, rates, random streams, measured numbers."""
        state = self.trainer.state_dict()
        del state["seconds"]
        state["history"].pop("seconds", None)
        shown = {f"shown {k}": v for k, v in self.model.state_dict().items()}
        return flat({**state, **shown})


def flat(tree, name=""):
    if isinstance(tree, dict):
        return {k: v for key, item in tree.items() for k, v in flat(item, f"{name}/{key}").items()}
    if isinstance(tree, list | tuple):
        return {k: v for i, item in enumerate(tree) for k, v in flat(item, f"{name}/{i}").items()}
    if hasattr(tree, "shape"):
        array = xpnet.to_numpy(tree)
        return {name: (str(array.dtype), array.shape, array.tobytes())}
    return {name: tree}


def same(a, b):
    a, b = a.result(), b.result()
    assert a.keys() == b.keys()
    assert [k for k in a if a[k] != b[k]] == []


class Break(Callback):
    """Ends a run in the middle, as a crash would."""

    def __init__(self, step):
        self.step = step

    def on_batch_end(self, trainer):
        if trainer.step == self.step:
            raise KeyboardInterrupt


def broken(step, path, *, every_steps=1, **options):
    """A run that writes checkpoints and breaks off after `step` updates."""
    more = [Checkpoint(path, every_steps=every_steps), *options.pop("more", ())]
    run = Run(more=more, **options)
    run.trainer.callbacks.append(Break(step + 1))
    with pytest.raises(KeyboardInterrupt):
        run.fit(6)
    return run


@pytest.mark.parametrize("rule", RULES)
def test_three_epochs_and_three_more_are_six(tmp_path, rule):
    whole = Run(rule=rule).fit(6)
    first = Run(rule=rule).fit(3)
    first.trainer.save_checkpoint(tmp_path / "c")
    second = Run(seed=99, rule=rule).fit(6, resume=tmp_path / "c")
    same(whole, second)
    assert second.trainer.history.epochs == 6


def test_the_same_trainer_goes_on(tmp_path):
    run = Run().fit(3)
    run.trainer.save_checkpoint(tmp_path / "c")
    xpnet.manual_seed(5)
    run.trainer.predict(blobs())
    same(Run().fit(6), run.fit(6, resume=tmp_path / "c"))


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 8, 11])
def test_every_step_of_an_epoch(tmp_path, step):
    """Four batches an epoch: within one, and after its last batch."""
    broken(step, tmp_path / "c")
    same(Run().fit(6), Run(seed=7).fit(6, resume=tmp_path / "c"))


@pytest.mark.host
def test_prefetch_accumulation_and_penalties(tmp_path):
    options = {"accumulate": 3, "l1": 1e-4, "l2": 1e-3}
    for step in (1, 2, 5):
        broken(step, tmp_path / "c", prefetch=3, **options)
        same(
            Run(prefetch=3, **options).fit(6),
            Run(seed=7, prefetch=0, **options).fit(6, resume=tmp_path / "c"),
        )


@pytest.mark.host
def test_loss_scale_averages_and_noise(tmp_path):
    def parts():
        more = [EMA(0.9), SWA(1), GradientNoise(1e-4), GradientClipping(norm=1.0)]
        return {"more": more, "scaler": LossScaler(2.0**8, growth_interval=5)}

    broken(7, tmp_path / "c", **parts())
    resumed = Run(seed=7, **parts()).fit(6, resume=tmp_path / "c")
    same(Run(**parts()).fit(6), resumed)
    assert resumed.trainer.scaler.scale == 2.0**12


SCHEDULES = {
    "step": lambda o: optim.StepLR(o, 2, gamma=0.5),
    "exponential": lambda o: optim.ExponentialLR(o, 0.95),
    "inverse": lambda o: optim.InverseTimeLR(o, 0.1),
    "cosine": lambda o: optim.CosineAnnealingLR(o, 30),
    "one cycle": lambda o: optim.OneCycleLR(o, 0.1, 30, cycle_momentum=False),
    "sequence": lambda o: optim.SequentialLR(o, [optim.LinearLR(o), optim.MultiStepLR(o, [3])], [4]),
    "wsd": lambda o: optim.WarmupStableDecayLR(o, 2, 10, 6, start_factor=0.1),
    "warmup": lambda o: optim.WarmupLR(o, 5, after=optim.StepLR(o, 3, gamma=0.3)),
    "plateau": lambda o: optim.ReduceLROnPlateau(o, patience=0, threshold=0.5),
}


@pytest.mark.host
@pytest.mark.parametrize("every", ["epoch", "batch"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule(tmp_path, name, every):
    if (name, every) == ("plateau", "batch"):
        return

    def run(more=()):
        run = Run(more=more)
        run.callbacks[2] = run.trainer.callbacks[2] = LearningRate(SCHEDULES[name](run.optimizer), every)
        return run

    first = run([Checkpoint(tmp_path / "c", every_steps=1), Break(10)])
    with pytest.raises(KeyboardInterrupt):
        first.fit(6)
    whole = run().fit(6)
    same(whole, run().fit(6, resume=tmp_path / "c"))
    assert len(set(whole.trainer.history["lr"])) > 1


@pytest.mark.host
def test_a_validation_loader_that_augments_goes_on_too(tmp_path):
    def validation():
        return DataLoader(blobs(30, seed=1), 16, augment=Jitter(), seed=5)

    first = Run()
    first.trainer.fit(first.loader, validation(), epochs=2)
    first.trainer.save_checkpoint(tmp_path / "c")
    losses = []
    for resume in (None, tmp_path / "c"):
        run = Run()
        losses.append(run.trainer.fit(run.loader, validation(), 4, resume)["val_loss"])
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 4


@pytest.mark.host
def test_a_sampler_that_remembers_losses(tmp_path):
    class Tell(Callback):
        def on_epoch_end(self, trainer):
            trainer.data.sampler.update(np.arange(50.0) % (trainer.epoch + 2))

    def run(seed=0, more=()):
        xpnet.manual_seed(seed)
        return Run(seed, loader=DataLoader(blobs(), 16, sampler=HardExamples(50)), more=[Tell(), *more])

    first = run(more=[Checkpoint(tmp_path / "c", every_steps=1), Break(7)])
    with pytest.raises(KeyboardInterrupt):
        first.fit(6)
    same(run().fit(6), run(seed=3).fit(6, resume=tmp_path / "c"))


@pytest.mark.host
def test_batches_without_a_state_are_skipped(tmp_path):
    batches = list(DataLoader(blobs(), 16))
    broken(6, tmp_path / "c", loader=batches)
    same(Run(loader=batches).fit(6), Run(seed=7, loader=batches).fit(6, resume=tmp_path / "c"))


@pytest.mark.host
def test_a_run_that_stopped_early_stays_stopped(tmp_path):
    class Worse(Trainer):
        def evaluate(self, data):
            return {"loss": 1.0 + self.epoch}

    def run():
        model = network()
        callbacks = [EarlyStopping(2), Checkpoint(tmp_path / "c")]
        return Worse(model, cross_entropy, optim.SGD(model, lr=0.1), callbacks)

    assert run().fit(blobs(), blobs(), epochs=9).epochs == 3
    again = run()
    assert again.fit(blobs(), blobs(), epochs=9, resume=tmp_path / "c").epochs == 3
    assert again.callbacks[0].best_epoch == 0


class Asks(Callback):
    """Ends the run after the third epoch, for reasons of its own."""

    def on_epoch_end(self, trainer):
        trainer.stop = trainer.stop or trainer.epoch == 2


@pytest.mark.host
@pytest.mark.parametrize(
    ("first", "then", "epochs"),
    [
        ([EarlyStopping(2)], [EarlyStopping(3)], 4),
        ([EarlyStopping(2)], [EarlyStopping(9)], 6),
        ([EarlyStopping(2)], [EarlyStopping(2)], 3),
        ([EarlyStopping(2)], [EarlyStopping(1)], 3),
        ([EarlyStopping(9), Asks()], [EarlyStopping(20), Asks()], 3),
        (
            [EarlyStopping(2), EarlyStopping(2, mode="max")],
            [EarlyStopping(9), EarlyStopping(2, mode="max")],
            6,
        ),
        ([MovingAverageStopping(1)], [MovingAverageStopping(2)], 2),
    ],
)
def test_more_patience_takes_back_its_own_end_only(tmp_path, first, then, epochs):
    class Scripted(Trainer):
        def evaluate(self, data):
            return {"loss": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0][self.epoch]}

    def fit(callbacks, **resume):
        model = network()
        trainer = Scripted(model, cross_entropy, optim.SGD(model, lr=0.1), callbacks)
        trainer.fit(blobs(), blobs(), epochs=6, **resume)
        trainer.save_checkpoint(tmp_path / "c")
        return trainer.history.epochs

    assert fit(first) < 4
    assert fit(then, resume=tmp_path / "c") == epochs
    assert fit(then, resume=tmp_path / "c") == epochs


@pytest.mark.host
def test_moving_average_needs_no_state_of_its_own(tmp_path):
    more = [MovingAverageStopping(2, tolerance=0.2, restore_best=False)]
    whole = Run(more=more).fit(30)
    assert 3 < whole.trainer.history.epochs < 30
    first = Run(more=more).fit(3)
    first.trainer.save_checkpoint(tmp_path / "c")
    same(whole, Run(more=more).fit(30, resume=tmp_path / "c"))


@pytest.mark.host
@pytest.mark.parametrize("target", ["array_api_strict", "torch"])
def test_a_checkpoint_moves_between_backends(tmp_path, target):
    pytest.importorskip(target)
    broken(6, tmp_path / "c", rule="momentum")  # Adam would blow up rounding errors
    here = Run(seed=7, rule="momentum").fit(6, resume=tmp_path / "c")
    with xpnet.use_backend(target, {"array_api_strict": "device1"}.get(target)):
        there = Run(seed=7, rule="momentum")
        there.fit(6, resume=tmp_path / "c")
        moved = there.model.state_dict()
        assert there.trainer.history["val_loss"] == pytest.approx(here.trainer.history["val_loss"], rel=1e-4)
        there.trainer.save_checkpoint(tmp_path / "d")
    for name, value in here.model.state_dict().items():
        np.testing.assert_allclose(xpnet.to_numpy(moved[name]), value, rtol=1e-3, atol=1e-5)
    back = Run(seed=7, rule="momentum").fit(6, resume=tmp_path / "d")
    for name, value in back.model.state_dict().items():
        assert np.array_equal(xpnet.to_numpy(moved[name]), value), name


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.host
def test_other_dtypes_come_back_exactly(tmp_path, dtype):
    backend = "torch" if dtype == "bfloat16" else "numpy"
    pytest.importorskip(backend)

    def run(seed=0):
        xpnet.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 3, dtype=dtype))
        optimizer = optim.Adam(model, lr=0.01, eps=1e-3)  # the usual 1e-8 is 0 in float16
        x, y = xpnet.asarray(blobs().x, dtype), xpnet.asarray(blobs().y)
        trainer = Trainer(model, cross_entropy, optimizer)
        return trainer, [(x[i : i + 10], y[i : i + 10]) for i in range(0, 50, 10)]

    with xpnet.use_backend(backend):
        whole, batches = run()
        whole.fit(batches, epochs=4)
        first, _ = run()
        first.fit(batches, epochs=2)
        first.save_checkpoint(tmp_path / "c")
        second, _ = run(seed=1)
        second.fit(batches, epochs=4, resume=tmp_path / "c")
        for one, two in zip(whole.model.parameters(), second.model.parameters(), strict=True):
            assert dtype in str(two.dtype)
            assert bool((one.data == two.data).all())
        assert whole.history["train_loss"] == second.history["train_loss"]


# ---- what is refused, and that nothing has changed then ----


def unchanged(run, resume, match, epochs=6):
    before = run.result()
    with pytest.raises(ValueError, match=match):
        run.fit(epochs, resume=resume)
    after = run.result()
    assert [k for k in before if before[k] != after[k]] == []
    assert run.model.training


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "c"
    with xpnet.use_backend("numpy"):
        broken(6, path)
    return path


@pytest.mark.host
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"model": "wide"}, r"model\.layers\[1\] is \(0\): Linear\(4, 8.* there and \(0\): Linear\(4, 9"),
        ({"model": "tanh"}, r"ReLU\(\) there and \(2\): Tanh\(\) here"),
        ({"rule": "momentum"}, "optimizer.rule is Adam there and SGD here"),
        ({"rule": "amsgrad"}, r"optimizer.weight_decay is 0.0 there and 0.001 here"),
        ({"loader": DataLoader(blobs(51), 16, augment=Jitter())}, "data.samples is 50 there and 51 here"),
        ({"loader": DataLoader(blobs(), 10, augment=Jitter())}, "data.batch_size is 16 there and 10 here"),
        ({"loader": DataLoader(blobs(), 16)}, "augmentation is Jitter.* there and absent here"),
        ({"accumulate": 2}, "training.accumulate is 1 there and 2 here"),
        ({"more": [EarlyStopping()]}, "callbacks is .* there and .* here"),
    ],
)
def test_another_run_is_refused(checkpoint, options, match):
    models = {"wide": lambda: network(9), "tanh": lambda: network(layer=nn.Tanh)}
    if "model" in options:
        options = {"model": models[options["model"]]()}
    unchanged(Run(seed=7, **options), checkpoint, match + r".*Nothing was changed")


@pytest.mark.host
def test_other_measurements_are_refused(checkpoint):
    with pytest.raises(ValueError, match=r"training\.validation is True there and False here"):
        Run().trainer.fit(DataLoader(blobs(), 16, augment=Jitter()), epochs=6, resume=checkpoint)
    unchanged(
        Run(metrics=[accuracy]), checkpoint, r"training.metrics is absent there and \['accuracy'\] here"
    )


@pytest.mark.host
def test_another_schedule_is_refused(checkpoint):
    run = Run()
    run.callbacks[2].schedule = optim.CosineAnnealingLR(run.optimizer, 41)
    unchanged(run, checkpoint, r"callbacks.*T_max': 40.* there and .*'T_max': 41")


@pytest.mark.host
def test_a_callback_that_refuses_undoes_the_rest(checkpoint):
    class Picky(StopOnDivergence):
        """Takes its own reset state, but not that of the checkpoint."""

        def load_state_dict(self, state):
            if state["first"] is not None:
                raise ValueError("not mine")

    Picky.__name__ = "StopOnDivergence"
    run = Run()
    run.trainer.callbacks[1] = Picky(30)
    before = {k: v for k, v in run.result().items() if "/model" in k or "/optimizer" in k or "/random" in k}
    with pytest.raises(ValueError, match="not mine"):
        run.fit(6, resume=checkpoint)
    after = run.result()
    assert [k for k in before if before[k] != after[k]] == []


@pytest.mark.host
def test_damaged_and_foreign_files_are_refused(checkpoint, tmp_path):
    content = checkpoint.read_bytes()
    run = Run()
    for cut in (0, 7, len(content) // 2, len(content) - 1):
        (tmp_path / "c").write_bytes(content[:cut])
        unchanged(run, tmp_path / "c", "not a safetensors file, or a truncated or damaged one")
    middle = len(content) - 100
    (tmp_path / "c").write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    unchanged(run, tmp_path / "c", "damaged")
    xpnet.train.save_arrays(tmp_path / "c", run.model.state_dict())
    unchanged(run, tmp_path / "c", "not a checkpoint")
    with pytest.raises(FileNotFoundError):
        run.fit(6, resume=tmp_path / "none")


@pytest.mark.host
def test_no_checkpoint_within_an_update(tmp_path):
    class Crash(Callback):
        def on_backward_end(self, trainer):
            raise KeyboardInterrupt

    run = Run(more=[Crash()])
    with pytest.raises(KeyboardInterrupt):
        run.fit(1)
    with pytest.raises(RuntimeError, match="broken off within an update"):
        run.trainer.save_checkpoint(tmp_path / "c")
    assert not (tmp_path / "c").exists()


# ---- the files ----


@pytest.mark.host
def test_best_and_last(tmp_path):
    class Scripted(Trainer):
        def evaluate(self, data):
            return {"loss": [5.0, 3.0, 4.0, 6.0][self.epoch]}

    model = network()
    weights = []

    class Record(Callback):
        def on_epoch_end(self, trainer):
            weights.append(trainer.model.state_dict())

    callbacks = [ModelCheckpoint(tmp_path / "new" / "run"), Record()]
    Scripted(model, cross_entropy, optim.SGD(model, lr=0.1), callbacks).fit(blobs(), blobs(), epochs=4)
    assert sorted(p.name for p in (tmp_path / "new" / "run").iterdir()) == [
        "best.safetensors",
        "last.safetensors",
    ]
    for name, epoch in (("best", 1), ("last", 3)):
        state = load_checkpoint(tmp_path / "new" / "run" / f"{name}.safetensors")["state"]
        assert len(state["history"]["val_loss"]) == epoch + 1
        assert all(np.array_equal(state["model"][k], v) for k, v in weights[epoch].items())


@pytest.mark.host
def test_a_checkpoint_holds_what_later_callbacks_did(tmp_path):
    """It comes last, wherever it stands in the list."""
    model = network()
    optimizer = optim.SGD(model, lr=1.0)
    callbacks = [Checkpoint(tmp_path / "c", every=2), LearningRate(optim.StepLR(optimizer, 1, gamma=0.5))]
    Trainer(model, cross_entropy, optimizer, callbacks).fit(blobs(), epochs=3)
    content = load_checkpoint(tmp_path / "c")
    assert content["state"]["optimizer"]["param_groups"][0]["lr"] == 0.125  # the last epoch is written too
    assert content["metadata"] == {}


@pytest.mark.host
def test_checkpoint_refuses(tmp_path):
    with pytest.raises(ValueError, match="every_steps must be at least 1"):
        Checkpoint(tmp_path / "c", every_steps=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Run(more=[Checkpoint(tmp_path / "file" / "c")]).fit(1)


@pytest.mark.host
def test_numbers_come_back_exactly(tmp_path):
    from xpnet.io.files import load_tree, save_tree

    tree = {
        "a": [0.1 + 0.2, 1e-323, float("inf"), 2**63],
        "b": {"1": np.float32(0.1), "2": {"__x": None}},
        "c": "µ",
    }
    save_tree(tmp_path / "t", tree)
    found = load_tree(tmp_path / "t")
    assert flat(found) == flat(tree)
    assert json.dumps(found["a"]) == json.dumps(tree["a"])
