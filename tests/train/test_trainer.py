"""The training loop, its callbacks and metrics."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import xpnet
from tests.train.blobs import blobs
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset
from xpnet.functional import cross_entropy, mse_loss
from xpnet.train import (
    Callback,
    EarlyStopping,
    History,
    LearningRate,
    Progress,
    Trainer,
    TrainingDivergedError,
    accuracy,
    confusion_matrix,
    evaluate,
    predict,
)


def network(dropout=0.0):
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))


def trainer_of(model, lr=0.1, callbacks=(), **options):
    return Trainer(model, cross_entropy, optim.SGD(model, lr=lr), callbacks, **options)


def weights(model):
    return {name: xpnet.to_numpy(a) for name, a in model.state_dict().items()}


class Scripted(Trainer):
    """Validation gives numbers laid down beforehand."""

    def script(self, values):
        self.values = values
        return self

    def evaluate(self, data):
        return {"loss": self.values[self.epoch]}


class Recorder(Callback):
    """Remembers the weights at the end of each epoch."""

    def on_fit_begin(self, trainer):
        self.states = []

    def on_epoch_end(self, trainer):
        self.states.append(weights(trainer.model))


# ---- metrics ----


def test_accuracy_counts_the_right_rows():
    scores = xpnet.asarray([[0.1, 0.9, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0], [5.0, 4.0, 3.0]])
    for labels in ([1, 0, 2, 1], np.array([1, 0, 2, 1], dtype=np.int32), xpnet.asarray([1, 0, 2, 1])):
        result = accuracy(xpnet.Tensor(scores), labels)
        assert "float32" in str(result.dtype)
        assert float(result) == 0.75
    with pytest.raises(ValueError, match=r"got \(4, 3\) and \(3,\)"):
        accuracy(scores, [1, 0, 2])


@pytest.mark.host
def test_confusion_matrix():
    assert confusion_matrix([2, 0, 2, 2], [1, 0, 2, 1], 3).tolist() == [[1, 0, 0], [0, 0, 0], [0, 2, 1]]
    with pytest.raises(ValueError, match="labels must be 0 to 1, got 0 to 2"):
        confusion_matrix([0, 1], [0, 2], 2)
    with pytest.raises(ValueError, match="two vectors of one length"):
        confusion_matrix([0, 1], [0], 2)


@pytest.mark.host
def test_history():
    history = History()
    assert history.epochs == 0
    history.append({"train_loss": 3.0, "val_loss": 1.0})
    history.append({"train_loss": 2.0, "val_loss": 4.0})
    assert history["val_loss"] == [1.0, 4.0]
    assert (history.epochs, history.best("val_loss"), history.best("val_loss", "max")) == (2, 0, 1)
    assert history.rows()[1] == history.last() == {"train_loss": 2.0, "val_loss": 4.0}
    with pytest.raises(KeyError, match="no 'loss' in this history; it has train_loss, val_loss"):
        history["loss"]
    with pytest.raises(ValueError, match="after epochs with"):
        history.append({"train_loss": 1.0})


# ---- the loop ----


def test_fit_is_the_loop_written_by_hand():
    data = blobs()
    model = network(dropout=0.3)
    trainer_of(model).fit(DataLoader(data, 16, seed=1), blobs(30, seed=1), epochs=3)

    xpnet.manual_seed(0)
    same = network(dropout=0.3)
    optimizer = optim.SGD(same, lr=0.1)
    loader = DataLoader(data, 16, seed=1)
    for _ in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            cross_entropy(same(x), y).backward()
            optimizer.step()
    for name, value in weights(same).items():
        assert np.array_equal(weights(model)[name], value), name


def test_fit_learns_and_records():
    model = network()
    history = trainer_of(model).fit(DataLoader(blobs(200), 20), blobs(100, seed=1), epochs=5)
    assert list(history) == ["train_loss", "val_loss", "val_accuracy", "lr", "seconds"]
    assert history.epochs == 5
    assert history["train_loss"][-1] < history["train_loss"][0]
    assert history["val_accuracy"][-1] > 0.9
    assert history["lr"] == [0.1] * 5
    assert all(type(v) is float for column in history.values() for v in column)
    assert not model.training
    assert "val_loss" not in trainer_of(model).fit(blobs(), epochs=1)


def test_losses_are_means_over_samples_not_batches():
    data = blobs(50)  # batches of 32 and 18
    model = nn.Sequential(nn.Linear(4, 3))
    x, y = xpnet.asarray(data.x), data.y
    expected = float(cross_entropy(model(x), y))
    # with learning rate 0, the loss of an epoch is that of the initial weights
    history = trainer_of(model, lr=0.0).fit(DataLoader(data, 32), DataLoader(data, 32), epochs=1)
    assert history["train_loss"][0] == pytest.approx(expected, rel=1e-5)
    assert history["val_loss"][0] == pytest.approx(expected, rel=1e-5)
    hits = (xpnet.to_numpy(model(x)).argmax(axis=1) == y).mean()
    assert history["val_accuracy"][0] == pytest.approx(hits, abs=1e-6)


def test_evaluation_changes_nothing_and_drops_nothing():
    model = network(dropout=0.5).train()
    model.layers[1].eval()
    before = weights(model)
    first, again = (evaluate(model, blobs(), cross_entropy) for _ in range(2))
    assert first == again
    assert [m.training for m in model.layers] == [True, False, True, True, True]
    assert all(np.array_equal(before[name], value) for name, value in weights(model).items())
    assert all(p.grad is None for p in model.parameters())


def test_predict_is_the_model_in_evaluation_mode():
    model = network(dropout=0.5)
    data = blobs(1500)  # more than one batch
    output = predict(model, data)
    expected = model.eval()(xpnet.asarray(data.x))
    for found in (
        output,
        predict(model, data.x),
        trainer_of(model).predict(DataLoader(data, 100, shuffle=False)),
    ):
        np.testing.assert_allclose(xpnet.to_numpy(found), xpnet.to_numpy(expected), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="no samples"):
        predict(model, data.x[:0])


def test_regression_has_a_loss_and_no_accuracy():
    x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    data = Dataset(x, x @ np.ones((3, 1), dtype=np.float32))
    model = nn.Sequential(nn.Linear(3, 1))
    history = Trainer(model, mse_loss, optim.SGD(model, lr=0.2)).fit(DataLoader(data, 16), data, epochs=20)
    assert list(history) == ["train_loss", "val_loss", "lr", "seconds"]
    assert history["val_loss"][-1] < 1e-4


def test_own_metrics_are_recorded_under_their_names():
    def fraction_of_class_0(output, target):
        return xpnet.asarray(np.float32((xpnet.to_numpy(output).argmax(axis=1) == 0).mean()))

    model = network()
    history = trainer_of(model, metrics=[fraction_of_class_0]).fit(blobs(), blobs(), epochs=1)
    assert 0 <= history["val_fraction_of_class_0"][0] <= 1
    assert "val_accuracy" not in history


def test_divergence_is_said_once_an_epoch():
    model = network()
    with (
        np.errstate(all="ignore"),
        pytest.raises(TrainingDivergedError, match=r"is (nan|inf) in epoch 1; lower the"),
    ):
        trainer_of(model, lr=1e38).fit(DataLoader(blobs(), 10), epochs=3)


@pytest.mark.host
def test_fit_refuses():
    model = network()
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        trainer_of(model).fit(blobs(), epochs=0)
    with pytest.raises(
        ValueError, match="the training data gave no batches; a generator can be used only once"
    ):
        trainer_of(model).fit((batch for batch in list(DataLoader(blobs(), 10))), epochs=2)
    with pytest.raises(ValueError, match="the evaluation data gave no batches"):
        trainer_of(model).fit(blobs(), [], epochs=1)


# ---- callbacks ----


@pytest.mark.host
def test_hooks_come_in_order():
    calls = []

    class Spy(Callback):
        def __getattribute__(self, name):
            if not name.startswith("on_"):
                return super().__getattribute__(name)
            return lambda trainer: calls.append(name)

    trainer_of(network(), callbacks=[Spy()]).fit(DataLoader(blobs(20), 10), blobs(), epochs=2)
    batch = ["on_backward_end", "on_batch_end"]
    epoch = ["on_epoch_begin", *batch * 2, "on_epoch_end"]
    assert calls == ["on_fit_begin", *epoch * 2, "on_fit_end"]


def test_gradients_can_be_changed_before_the_step():
    class Clip(Callback):
        def on_backward_end(self, trainer):
            optim.clip_grad_norm(trainer.model, 1e-3)

    model = network()
    before = weights(model)
    trainer_of(model, lr=1.0, callbacks=[Clip()]).fit(DataLoader(blobs(20), 20), epochs=1)
    moved = [weights(model)[name] - before[name] for name, _ in model.named_parameters()]
    assert math.sqrt(sum(float((d**2).sum()) for d in moved)) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([5, 4, 3, 6, 2, 7, 7, 7, 0], {"patience": 3}, 8, 4),
        ([5, 4, 3, 6, 2, 7, 7, 7, 0], {"patience": 1}, 4, 2),
        ([5, 4, 3, 6, 2, 7, 7, 7, 0], {"patience": 9}, 9, 8),
        ([5, 4.5, 4.1, 4.05, 3.9], {"patience": 2, "min_delta": 0.5}, 5, 2),
        ([5, 4.9, 4.8, 1], {"patience": 2, "min_delta": 0.5}, 3, 0),
        ([1, 3, 2, 2, 9], {"patience": 2, "mode": "max"}, 4, 1),
        ([5, math.nan, math.nan, 1], {"patience": 2}, 3, 0),
    ],
)
def test_early_stopping_restores_the_best_epoch(values, options, epochs, best):
    model, stopping, recorder = network(), EarlyStopping(**options), Recorder()
    trainer = Scripted(model, cross_entropy, optim.SGD(model, lr=0.1), [stopping, recorder]).script(values)
    history = trainer.fit(blobs(), blobs(), epochs=len(values))
    assert (history.epochs, stopping.best_epoch) == (epochs, best)
    assert stopping.best == values[best]
    for name, value in recorder.states[best].items():
        assert np.array_equal(weights(model)[name], value), name


@pytest.mark.host
def test_early_stopping_can_keep_the_last_epoch():
    model, recorder = network(), Recorder()
    callbacks = [EarlyStopping(1, restore_best=False), recorder]
    trainer = Scripted(model, cross_entropy, optim.SGD(model, lr=0.1), callbacks).script([1, 2, 3])
    trainer.fit(blobs(), blobs(), epochs=3)
    assert len(recorder.states) == 2
    assert all(np.array_equal(weights(model)[n], v) for n, v in recorder.states[1].items())


@pytest.mark.host
def test_early_stopping_refuses():
    with pytest.raises(ValueError, match="patience must be at least 1"):
        EarlyStopping(0)
    with pytest.raises(ValueError, match='mode is "min" or "max"'):
        EarlyStopping(mode="least")


@pytest.mark.host
def test_an_interrupted_run_keeps_the_best_weights():
    class CtrlC(Callback):
        def on_batch_end(self, trainer):
            if trainer.epoch == 3:
                raise KeyboardInterrupt

    model, recorder = network(), Recorder()
    callbacks = [EarlyStopping(9), recorder, CtrlC()]
    trainer = Scripted(model, cross_entropy, optim.SGD(model, lr=0.1), callbacks).script([3, 1, 2, 0])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(blobs(), blobs(), epochs=4)
    assert trainer.history.epochs == 3
    assert all(np.array_equal(weights(model)[n], v) for n, v in recorder.states[1].items())


@pytest.mark.host
def test_schedules_by_epoch_and_by_batch():
    model = network()
    optimizer = optim.SGD(model, lr=1.0)
    halve = LearningRate(optim.StepLR(optimizer, 1, gamma=0.5))
    history = Trainer(model, cross_entropy, optimizer, [halve]).fit(DataLoader(blobs(30), 10), epochs=3)
    assert history["lr"] == [1.0, 0.5, 0.25]

    optimizer = optim.SGD(model, lr=1.0)
    halve = LearningRate(optim.StepLR(optimizer, 1, gamma=0.5), every="batch")
    history = Trainer(model, cross_entropy, optimizer, [halve]).fit(DataLoader(blobs(30), 10), epochs=2)
    assert history["lr"] == [0.5**3, 0.5**6]  # as it stands at the end of the epoch


@pytest.mark.host
def test_the_plateau_schedule_sees_the_validation_loss():
    model = network()
    optimizer = optim.SGD(model, lr=1.0)
    plateau = LearningRate(optim.ReduceLROnPlateau(optimizer, patience=0))
    trainer = Scripted(model, cross_entropy, optimizer, [plateau]).script([3, 2, 2, 1, 1])
    assert trainer.fit(blobs(), blobs(), epochs=5)["lr"] == [1, 1, 1, 0.1, 0.1]
    with pytest.raises(ValueError, match="measured once an epoch"):
        LearningRate(optim.ReduceLROnPlateau(optimizer), every="batch")
    with pytest.raises(ValueError, match='every is "epoch" or "batch"'):
        LearningRate(optim.StepLR(optimizer, 1), every="step")


@pytest.mark.host
def test_progress_prints_a_line_an_epoch(capsys):
    trainer_of(network(), callbacks=[Progress(bar=False)]).fit(blobs(), blobs(), epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch   2/2  train loss ")
    assert "val accuracy" in lines[1]


@pytest.mark.host
def test_progress_shows_a_bar(capsys):
    pytest.importorskip("tqdm")
    trainer_of(network(), callbacks=[Progress(bar=True)]).fit(DataLoader(blobs(), 5), epochs=1)
    captured = capsys.readouterr()
    assert "epoch 1/1" in captured.err
    assert captured.out.count("\n") == 1


@pytest.fixture
def bars(monkeypatch):
    """The bars that tqdm was asked for."""
    found = []

    class Bar:
        def __init__(self, total, **options):
            self.total, self.options, self.steps, self.closed = total, options, [], 0
            found.append(self)

        def update(self, n):
            assert not self.closed
            self.steps.append(n)

        def close(self):
            self.closed += 1

    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(tqdm=Bar))
    monkeypatch.setattr("xpnet.train.progress.find_spec", lambda name: True)
    return found


@pytest.mark.host
def test_progress_has_one_bar_an_epoch_and_none_beside_its_line(bars, monkeypatch):
    lines = []
    monkeypatch.setattr("builtins.print", lambda *_, **__: lines.append([bar.closed for bar in bars]))
    trainer_of(network(), callbacks=[Progress(bar=True)]).fit(DataLoader(blobs(240), 2), epochs=2)
    assert [bar.options for bar in bars] == [
        {"desc": f"epoch {i}/2", "unit": "batch", "leave": False} for i in (1, 2)
    ]
    assert [bar.total for bar in bars] == [120, 120]
    assert [bar.steps for bar in bars] == [[2] * 60] * 2  # about fifty
    assert lines == [[1], [1, 1]]
    assert [bar.closed for bar in bars] == [1, 1]


@pytest.mark.host
@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("batches", [3, 6])
def test_progress_of_few_batches_and_of_who_knows_how_many(bars, sized, batches):
    class Stream:
        def __iter__(self):
            return iter([(blobs().x, blobs().y)] * batches)

    data = list(Stream()) if sized else Stream()
    trainer_of(network(), callbacks=[Progress(bar=True)]).fit(data, epochs=1)
    assert bars[0].total == (batches if sized else None)
    assert bars[0].steps == ([1] * batches if sized else [2] * (batches // 2))


@pytest.mark.host
def test_an_interruption_leaves_no_bar(bars):
    class Interrupt(Callback):
        def on_batch_end(self, trainer):
            raise KeyboardInterrupt

    trainer = trainer_of(network(), callbacks=[Progress(bar=True), Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(DataLoader(blobs(), 5), epochs=1)
    assert [bar.closed for bar in bars] == [1]


@pytest.mark.host
@pytest.mark.parametrize("error", [OSError("the disk is full"), ValueError("I/O operation on closed file")])
def test_a_run_goes_on_where_nothing_can_be_printed(monkeypatch, error):
    tries = []

    def fail(line, flush):
        tries.append(flush)
        raise error

    monkeypatch.setattr("builtins.print", fail)
    trainer = trainer_of(network(), callbacks=[Progress(bar=False)])
    with pytest.warns(UserWarning, match=f"Progress: nothing more is printed: {error}") as said:
        assert trainer.fit(blobs(), epochs=3).epochs == 3
    assert tries == [True]
    assert len(said) == 1


@pytest.mark.host
def test_progress_without_tqdm(monkeypatch):
    monkeypatch.setattr("xpnet.train.progress.find_spec", lambda name: None)
    assert not Progress().bar
    with pytest.raises(ImportError, match=r'pip install "xpnet\[progress\]"'):
        Progress(bar=True)


def test_a_pair_of_arrays_is_data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 3)).astype("float32")
    y = (x[:, 0] > 0).astype("int64")
    model = nn.Linear(3, 2)
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.5))
    history = trainer.fit((x, y), validation=(x, y), epochs=20)
    assert history["val_accuracy"][-1] > 0.9
    assert trainer.evaluate((x, y))["accuracy"] == history["val_accuracy"][-1]
