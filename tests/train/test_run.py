"""The state of a run is complete and each part of it counts; who knows the Trainer; what saving loads."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xpnet
from tests.train.test_resume import Run as Experiment
from tests.train.test_resume import blobs, broken
from xpnet import UnreadableFileError, nn, optim
from xpnet import functional as F
from xpnet.data import DataLoader
from xpnet.io.files import save_tree
from xpnet.train import EMA, Callback, LossScaler, Run, Trainer, load_checkpoint

pytest.importorskip("safetensors")
pytestmark = pytest.mark.host

PACKAGE = Path(xpnet.__file__).parent


def made(seed=0, **options):
    scaler = LossScaler(2.0**8, growth_interval=5)
    return Experiment(seed, more=[EMA(0.9), *options.pop("more", ())], scaler=scaler, accumulate=2, **options)


def cut(updates, path, **options):
    """The checkpoint of a run broken off after some updates, of which there are two an epoch."""
    scaler = LossScaler(2.0**8, growth_interval=5)
    broken(updates, path, more=[EMA(0.9)], scaler=scaler, accumulate=2, **options)
    return load_checkpoint(path)


def resumed(content, path, **options):
    save_tree(path, content)
    return made(seed=7, **options).fit(6, resume=path)


def differences(one, other):
    one, other = one.result(), other.result()
    return {name for name in one if one[name] != other.get(name)}


PARTS = [
    "model",
    "optimizer",
    "random",
    "data",
    "history",
    "means",
    "batches",
    "step",
    "stop",
    "scaler",
    "callbacks",
]


@pytest.mark.parametrize("part", PARTS)
def test_every_part_of_the_state_is_needed(part, tmp_path):
    # how many batches were taken counts where the data does not know it itself
    options = {"loader": list(DataLoader(blobs(), 16, seed=1))} if part == "batches" else {}
    whole, content = made(**options).fit(6), cut(5, tmp_path / "c", **options)
    assert set(content["state"]) == {*PARTS, "validation", "seconds"}
    assert differences(whole, resumed(content, tmp_path / "d", **options)) == set()
    earlier = cut(2, tmp_path / "e", **options)["state"][part]
    changed = True if part == "stop" else earlier
    if part == "history":
        changed = {key: [0.5 * v for v in values] for key, values in content["state"][part].items()}
    wrong = {**content, "state": {**content["state"], part: changed}}
    assert differences(whole, resumed(wrong, tmp_path / "d", **options))
    missing = {k: v for k, v in content["state"].items() if k != part}
    named = "mean" if part == "means" else part  # its earlier name is looked for, too
    with pytest.raises(UnreadableFileError, match=f"KeyError: '{named}'"):
        resumed({**content, "state": missing}, tmp_path / "d", **options)


def test_seconds_go_on():
    run = Experiment().fit(1)
    run.trainer.seconds = 100.0
    state = run.trainer.state_dict()
    run.trainer.seconds = 0.0
    run.trainer.load_state_dict(state)
    assert 100 <= run.trainer.seconds < 150


def test_an_epoch_has_means_of_its_own():
    class Losses(Callback):
        def on_fit_begin(self, run):
            self.of_epochs = []

        def on_epoch_begin(self, run):
            self.of_epochs.append([])

        def on_batch_end(self, run):
            self.of_epochs[-1].append((float(run.loss_value), run.loss_weight))

    losses = Losses()
    history = Experiment(more=[losses]).fit(3).trainer.history
    expected = [sum(v * w for v, w in epoch) / sum(w for _, w in epoch) for epoch in losses.of_epochs]
    assert history["train_loss"] == pytest.approx(expected, rel=1e-6)


def test_a_run_that_goes_on_within_an_epoch_begins_it_once(tmp_path):
    calls = []

    class Spy(Callback):
        def on_epoch_begin(self, run):
            calls.append(("begin", run.epoch))
            run.seconds = 1000.0  # before the state is restored

        def on_epoch_end(self, run):
            calls.append(("end", run.epoch))

    broken(6, tmp_path / "c")  # four updates an epoch
    run = Experiment(more=[Spy()]).fit(3, resume=tmp_path / "c")
    assert calls == [("begin", 1), ("end", 1), ("begin", 2), ("end", 2)]
    assert run.trainer.history["seconds"][1] < 500


def test_loaded_weights_are_the_trained_ones():
    """Those that were shown before do not come back."""
    trainer = Experiment().fit(3).trainer
    trainer.show({name: value * 0 for name, value in trainer.model.state_dict().items()})
    shown = trainer.model.state_dict()
    trainer.load_state_dict({**trainer.state_dict(), "model": shown})
    assert all((value == shown[name]).all() for name, value in trainer.state_dict()["model"].items())


def test_a_checkpoint_of_the_first_version_is_read(tmp_path):
    """It had the mean of the loss alone."""
    whole, content = made().fit(6), cut(5, tmp_path / "c")
    content["state"]["mean"] = content["state"].pop("means")["loss"]
    assert differences(whole, resumed(content, tmp_path / "d")) == set()


def test_a_trainer_is_the_run_that_hooks_and_steps_get():
    seen = []

    class Look(Callback):
        def on_batch_end(self, run):
            seen.append(run)

    def step(run, batch):
        seen.append(run)
        return run.loss(run.model(batch[0]), batch[1])

    run = Experiment(more=[Look()])
    trainer = Trainer(run.model, run.trainer.loss, run.optimizer, [Look()], step=step)
    trainer.fit(run.loader, epochs=1)
    assert all(found is trainer for found in seen)
    assert isinstance(trainer, Run)


@pytest.mark.parametrize(
    "name",
    [
        *("model", "loss", "optimizer", "callbacks", "metrics", "accumulate", "l1", "l2", "scaler"),
        *("communicator", "history", "data", "validation", "epoch", "epochs", "batches", "step", "batch"),
        *("output", "loss_value", "loss_weight", "stop", "evaluate", "predict", "show", "save_checkpoint"),
        *("state_dict", "load_state_dict", "settings", "fit"),
    ],
)
def test_what_callbacks_have_always_been_given(name):
    assert hasattr(Experiment().trainer, name)


@pytest.mark.parametrize("update", [1, 2, 5])
def test_within_an_update_there_is_nothing_to_save(update):
    class Save(Callback):
        def on_backward_end(self, run):
            if run.step + 1 == update:
                run.state_dict()

    with pytest.raises(RuntimeError, match="broken off within an update"):
        Experiment(more=[Save()]).fit(2)


def test_a_failed_load_changes_nothing():
    run = Experiment().fit(1)
    before = run.result()
    state = run.trainer.state_dict()
    state["step"] = 77
    state["history"] = None
    with pytest.raises(AttributeError):
        run.trainer.load_state_dict(state)
    after = run.result()
    assert [k for k in before if before[k] != after[k]] == []


# ---- who knows whom ----


def imports(path):
    """The modules that a file imports, for type checkers, too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


DRIVERS = {"__init__.py", "cross_validation.py", "lr_finder.py", "trainer.py"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "train").glob("*.py")), ids=lambda path: path.name)
def test_what_is_called_in_training_knows_the_run_alone(path):
    found = {
        name for name in imports(path) if name.startswith(("xpnet.train.trainer", "xpnet.train.Trainer"))
    }
    assert path.name in DRIVERS or not found


def test_saving_a_model_loads_no_training():
    code = "import sys, xpnet; xpnet.save, xpnet.load; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = [name for name in done.stdout.split() if name.startswith("xpnet.")]
    rooms = {name.split(".")[1] for name in modules}
    assert rooms - {"random"} == {"core", "functional", "init", "io", "nn"}  # xpnet.random is core.random
    assert len(modules) < 100


def test_numbers_of_a_run_are_python_numbers():
    history = Experiment().fit(2).trainer.history
    assert all(type(value) is float for column in history.values() for value in column)
    assert np.isfinite(history["train_loss"]).all()


def test_capture_says_where_it_has_no_effect(backend):
    if backend.name in ("cupy", "numpy"):
        pytest.skip("there it has one")
    model = nn.Linear(3, 2)
    x, y = np.ones((4, 3), np.float32), np.array([0, 1, 0, 1])
    trainer = Trainer(model, F.cross_entropy, optim.SGD(model, lr=0.1), capture=True)
    with pytest.warns(
        RuntimeWarning, match=f"no effect: the model is on {backend.name}, neither on cupy nor on numpy"
    ):
        trainer.fit((x, y), epochs=1)
