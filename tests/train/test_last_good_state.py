"""Whatever happens, there is a finite state on the disk to go on from, or a message that says why not."""

import errno
import os
import threading
import time
import warnings

import numpy as np
import pytest

import xpnet
from tests.train.blobs import blobs
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset
from xpnet.functional import cross_entropy, mse_loss
from xpnet.io.locks import InUseError, claimed
from xpnet.train import (
    Callback,
    Checkpoint,
    CSVLogger,
    ModelCheckpoint,
    StopOnDivergence,
    Trainer,
    TrainingDivergedError,
    load_checkpoint,
)
from xpnet.train.finiteness import EVERY

pytest.importorskip("safetensors")


class At(Callback):
    """Does something after certain updates."""

    def __init__(self, act, *steps):
        self.act, self.steps = act, steps

    def on_batch_end(self, run):
        if run.step in self.steps:
            self.act(run)


def poison(run):
    run.model.layers[0].weight.data[0, 0] = np.nan


def trainer_of(*callbacks, lr=0.01, **options):
    xpnet.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
    return Trainer(model, cross_entropy, optim.Adam(model, lr=lr), callbacks, **options)


def batches():
    """12 updates an epoch."""
    return DataLoader(blobs(96), 8)


def steps(*paths):
    return [load_checkpoint(path)["state"]["step"] for path in paths]


def weights(trainer):
    return {name: xpnet.to_numpy(a).tobytes() for name, a in trainer.model.state_dict().items()}


def fail_once(monkeypatch, times=1, code=errno.ENOSPC):
    """Let so many calls of fsync fail."""
    left, fsync = [times], os.fsync

    def failing(handle):
        if left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code))
        fsync(handle)

    monkeypatch.setattr("os.fsync", failing)


# ---- finite or not written ----


@pytest.mark.parametrize("background", [False, True])
def test_no_state_that_is_not_finite_is_written(tmp_path, background):
    path = tmp_path / "c"
    checkpoint = Checkpoint(path, every_steps=1, background=background)
    trainer = trainer_of(At(poison, 5), checkpoint)
    message = rf"parameter 0\.weight is not finite after 5 updates; {path} was not written"
    with pytest.raises(TrainingDivergedError, match=message):
        trainer.fit(batches(), epochs=2)
    assert steps(path) == [4]
    trainer.between_updates = True
    with pytest.raises(TrainingDivergedError, match="is not finite"):
        trainer.save_checkpoint(path)
    assert steps(path) == [4]
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_parameter_that_is_not_finite_is_noticed_within_the_epoch():
    trainer = trainer_of(At(poison, EVERY + 3))
    with pytest.raises(TrainingDivergedError, match=r"0\.weight is not finite after \d+ updates; lower"):
        trainer.fit(DataLoader(blobs(400), 1), epochs=1)
    assert EVERY < trainer.step <= 3 * EVERY  # CUDA answers one look later


def test_a_batch_whose_labels_are_all_ignored_is_no_divergence():
    """Its loss is NaN, and weighs nothing."""
    x, y = np.ones((4, 4), np.float32), np.zeros(4, np.int64)
    data = [(xpnet.asarray(x), xpnet.asarray(y - 100 * (i % 10 == 9))) for i in range(2 * EVERY)]
    trainer = trainer_of()
    trainer.fit(data, epochs=1)
    assert trainer.step == 2 * EVERY


@pytest.mark.host
def test_a_loss_beyond_all_reason_is_said_once(tmp_path):
    """SGD at a learning rate that makes the loss huge, and not yet infinite."""
    x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    model = nn.Linear(1, 1, dtype="float64")
    trainer = Trainer(model, mse_loss, optim.SGD(model, lr=30.0))
    with pytest.warns(
        UserWarning, match=r"the training loss is \S+e\+\d+ in epoch \d, it began at"
    ) as caught:
        trainer.fit([(x.astype(float), 2 * x.astype(float))] * 6, epochs=3)
    assert len(caught) == 1
    assert trainer.history["train_loss"][-1] > 1e20
    model = nn.Linear(1, 1, dtype="float64")
    trainer = Trainer(model, mse_loss, optim.SGD(model, lr=30.0), [StopOnDivergence(3.0, every=2)])
    with pytest.raises(TrainingDivergedError, match="the cost is"):
        trainer.fit([(x.astype(float), 2 * x.astype(float))] * 6, epochs=3)
    assert trainer.step <= 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer_of().fit(batches(), epochs=2)


# ---- generations ----


@pytest.mark.host
def test_as_many_states_as_were_asked_for(tmp_path):
    path = tmp_path / "c"
    trainer_of(Checkpoint(path, every_steps=5, every=None, keep=3)).fit(batches(), epochs=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "c.1", "c.2"]
    assert steps(path, f"{path}.1", f"{path}.2") == [24, 20, 15]


@pytest.mark.host
@pytest.mark.parametrize("keep", [2, 3])
def test_a_damaged_newest_one_is_passed_over_and_never_pushed_over_a_whole_one(tmp_path, keep):
    path = tmp_path / "c"
    whole = trainer_of()
    whole.fit(batches(), epochs=3)
    trainer_of(Checkpoint(path, every_steps=5, keep=keep)).fit(batches(), epochs=2)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    again = trainer_of(Checkpoint(path, every_steps=5, keep=keep))
    with pytest.warns(UserWarning, match=rf"damaged one \(.*\); read {path}\.1 instead, of 20 updates"):
        again.fit(batches(), epochs=3, resume=path)
    assert weights(again) == weights(whole)
    assert steps(path, f"{path}.1") == [36, 35]

    path.write_bytes(content[:100])
    first = trainer_of(At(lambda run: 1 / 0, 26), Checkpoint(path, every_steps=25, keep=keep))
    with pytest.raises(ZeroDivisionError):
        first.fit(batches(), epochs=3)  # a new run of that name: what it finds is damaged
    assert steps(path, f"{path}.1") == [25, 24]


@pytest.mark.host
def test_without_an_older_one_the_damage_is_the_message(tmp_path):
    path = tmp_path / "c"
    trainer_of(Checkpoint(path)).fit(batches(), epochs=1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="damaged"):
        load_checkpoint(path)
    (tmp_path / "c.1").write_bytes(b"no better")
    with pytest.raises(ValueError, match=f"^{path}: "):
        load_checkpoint(path)


# ---- when ----


@pytest.mark.host
def test_by_the_clock(tmp_path, monkeypatch):
    now, written = [0.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    class Recording(Checkpoint):
        def write(self, trainer, *paths):
            super().write(trainer, *paths)
            written.append(trainer.step)

    def tick(run):
        now[0] += 20.0

    recording = Recording(tmp_path / "c", every=None, every_minutes=1.5)
    trainer_of(At(tick, *range(100)), recording).fit(batches(), epochs=2)
    assert written == [5, 10, 15, 20, 24]  # 90 s are over after 5 updates; and the end


@pytest.mark.host
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"keep": 0}, "keep must be at least 1, got 0"),
        ({"every_minutes": 0}, "every_minutes must be above 0, got 0"),
        ({"every_minutes": float("nan")}, "every_minutes must be above 0, got nan"),
    ],
)
def test_refused(options, message, tmp_path):
    for make in (Checkpoint, ModelCheckpoint):
        with pytest.raises(ValueError, match=f"{make.__name__}: {message}"):
            make(tmp_path / "c", **options)


# ---- a bad disk ----


@pytest.mark.host
@pytest.mark.parametrize("background", [False, True])
def test_an_error_that_passes_is_no_matter(tmp_path, monkeypatch, background):
    trainer = trainer_of(checkpoint := Checkpoint(tmp_path / "c", background=background))
    fail_once(monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.fit(batches(), epochs=1)
    assert steps(tmp_path / "c") == [12]
    assert checkpoint.missing is None


@pytest.mark.host
@pytest.mark.parametrize("background", [False, True])
def test_a_full_disk_does_not_end_training(tmp_path, monkeypatch, background):
    path = tmp_path / "c"
    whole = trainer_of()
    whole.fit(batches(), epochs=3)
    seen = []
    checkpoint = Checkpoint(path, background=background)
    watch = At(lambda run: seen.append((run.step, checkpoint.missing and checkpoint.missing.errno)), 13, 25)
    trainer = trainer_of(checkpoint, watch)
    fail_once(monkeypatch, 2)
    with pytest.warns(UserWarning, match=f"cannot write {path}: No space left on device; training goes on"):
        trainer.fit(batches(), epochs=3)
    assert seen == [(13, None if background else errno.ENOSPC), (25, None)] or background
    assert checkpoint.missing is None
    assert steps(path) == [36]
    assert weights(trainer) == weights(whole)


@pytest.mark.host
@pytest.mark.parametrize("background", [False, True])
def test_what_is_missing_at_the_end_is_said(tmp_path, monkeypatch, background):
    path = tmp_path / "c"
    trainer_of(Checkpoint(path)).fit(batches(), epochs=1)
    before = path.read_bytes()
    checkpoint, log = Checkpoint(path, background=background), CSVLogger(tmp_path / "log")
    trainer = trainer_of(checkpoint, log)
    fail_once(monkeypatch, 1000, errno.EIO)
    with pytest.warns(UserWarning, match=f"cannot write {path}: Input/output error"):
        trainer.fit(batches(), epochs=2)
    assert checkpoint.missing.errno == log.missing.errno == errno.EIO
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


@pytest.mark.host
def test_the_best_state_is_not_lost_when_a_later_epoch_is_worse(tmp_path, monkeypatch):
    class Scripted(Trainer):
        def evaluate(self, data):
            return {"loss": [5.0, 3.0, 4.0][self.epoch]}

    model = nn.Linear(4, 3)
    checkpoint = ModelCheckpoint(tmp_path)
    act = At(lambda run: fail_once(monkeypatch, 3), 13)  # the second epoch's
    trainer = Scripted(model, cross_entropy, optim.SGD(model), [checkpoint, act])
    with pytest.warns(UserWarning, match="best.safetensors: No space"):
        trainer.fit(batches(), blobs(), epochs=3)
    assert steps(tmp_path / "best.safetensors", tmp_path / "last.safetensors") == [24, 36]


@pytest.mark.host
@pytest.mark.parametrize("times", [1, 2, 3, 4])
def test_a_log_that_could_not_be_written_has_all_its_rows_later(tmp_path, monkeypatch, times):
    path = tmp_path / "log"
    act = At(lambda run: fail_once(monkeypatch, times), 13)
    trainer = trainer_of(log := CSVLogger(path), act)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(batches(), epochs=3)
    assert len(caught) == times // 2
    assert all(f"cannot write {path}: No space left" in str(warning.message) for warning in caught)
    assert [row.split(",")[0] for row in path.read_text().splitlines()] == ["epoch", "1", "2", "3"]
    assert log.missing is None


# ---- a thread that writes ----


@pytest.mark.host
def test_what_a_thread_writes_is_the_state_of_when_it_was_asked(tmp_path, monkeypatch):
    fsync, wanted = os.fsync, {}
    for background, pause in ((False, 0), (True, 0.02)):
        monkeypatch.setattr("os.fsync", lambda handle, pause=pause: (time.sleep(pause), fsync(handle)))
        path = tmp_path / str(background)
        checkpoint = Checkpoint(path, every=None, every_steps=5, background=background)
        trainer = trainer_of(At(lambda run: 1 / 0, 17), checkpoint)
        with pytest.raises(ZeroDivisionError):
            trainer.fit(batches(), epochs=2)
        state = load_checkpoint(path)["state"]
        assert state["step"] == 15
        del state["seconds"], state["history"]["seconds"]
        wanted[background] = repr(state)
    assert wanted[False] == wanted[True]
    assert "xpnet writes" not in [thread.name for thread in threading.enumerate()]


# ---- one run a file ----


@pytest.mark.host
@pytest.mark.parametrize("make", [Checkpoint, CSVLogger])
def test_a_file_that_another_run_writes_is_refused_at_the_start(tmp_path, make):
    path, found = tmp_path / "c", []
    path.write_bytes(b"of the first")

    def second():
        try:
            trainer_of(make(path)).fit(batches(), epochs=1)
        except InUseError as error:
            found.append(str(error))

    with claimed(path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert found == [f"{path} is being written by another thread; name another file"]
    assert path.read_bytes() == b"of the first"
    second()  # it is free now
    assert len(found) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_running_mean_that_is_nan_is_not_written(tmp_path):
    """Such a network predicts NaN although its parameters are finite; -inf, as in a mask, may be meant."""
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    model.mask = nn.Buffer(xpnet.asarray([-np.inf, 0.0]))

    class Spoil(Callback):
        def on_batch_end(self, run):
            if run.step == 3:
                run.model[1].running_mean[...] = np.nan

    x, y = np.random.default_rng(0).normal(size=(40, 2)).astype("f4"), np.arange(40) % 2
    trainer = Trainer(
        model, cross_entropy, optim.SGD(model, 0.1), [Spoil(), Checkpoint(tmp_path / "c", every_steps=1)]
    )
    with pytest.raises(TrainingDivergedError, match=r"buffer 1\.running_mean is not finite after 3 updates"):
        trainer.fit(DataLoader(Dataset(x, y), 8), epochs=2)
    assert load_checkpoint(tmp_path / "c")["state"]["step"] == 2
