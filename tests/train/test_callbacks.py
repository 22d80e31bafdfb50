"""Callbacks against what they should do, worked out by hand."""

import csv
import math

import numpy as np
import pytest

import xpnet
from tests.train.blobs import blobs
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.data import DataLoader
from xpnet.functional import cross_entropy
from xpnet.train import (
    EMA,
    SWA,
    Callback,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    ExactBatchNorm,
    GradientClipping,
    GradientNoise,
    LossScaler,
    LRFinder,
    MovingAverageStopping,
    StopOnDivergence,
    TensorBoard,
    Trainer,
    TrainingDivergedError,
    recompute_batch_norm,
)


def network():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def plain():
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def host(model):
    return {name: xpnet.to_numpy(a).copy() for name, a in model.state_dict().items()}


class Scripted(Trainer):
    """Validation gives numbers laid down beforehand."""

    values = ()

    def evaluate(self, data):
        return {"loss": self.values[self.epoch]}


def scripted(values, *callbacks):
    model = network()
    trainer = Scripted(model, cross_entropy, optim.SGD(model, lr=0.1), callbacks)
    trainer.values = values
    trainer.fit(blobs(), blobs(), epochs=len(values))
    return trainer


# ---- stopping ----


@pytest.mark.host
def test_moving_average_stopping_is_h2o_s_rule():
    # averages of two: 4.5 3.5 2.75 2.75 2.85 2.85: two without an improvement after 2.75
    values = [5, 4, 3, 2.5, 3, 2.7, 3, 0]
    stopping = MovingAverageStopping(2)
    assert scripted(values, stopping).history.epochs == 6
    assert (stopping.best_epoch, stopping.best) == (3, 2.5)  # of single epochs: those weights are kept
    # a fall of less than a tenth of a percent is none
    slow = [1 - 0.0002 * i for i in range(12)]
    assert scripted(slow, MovingAverageStopping(2, tolerance=1e-3)).history.epochs < 12
    assert scripted(slow, MovingAverageStopping(2, tolerance=1e-4)).history.epochs == 12
    rising = [0.1 * i for i in range(1, 10)]
    assert scripted(rising, MovingAverageStopping(2, mode="max")).history.epochs == 9
    noisy = [5 - 0.1 * i + (0.3 if i % 2 else 0) for i in range(20)]  # every other epoch is worse
    assert scripted(noisy, MovingAverageStopping(2)).history.epochs == 20
    assert scripted(noisy, EarlyStopping(1)).history.epochs == 2
    with pytest.raises(ValueError, match="rounds must be at least 1 and tolerance in"):
        MovingAverageStopping(0)


def test_divergence_is_noticed_within_the_epoch():
    class Explode(Callback):
        """Makes the weights explode after some updates."""

        def on_batch_end(self, trainer):
            if trainer.step == 12:
                for p in trainer.model.parameters():
                    p.data *= 1e3

    stop = StopOnDivergence(every=5)
    model = plain()
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.01), [stop, Explode()])
    with pytest.raises(
        TrainingDivergedError, match=r"after 16 updates, it began at .*lower the learning rate"
    ):
        trainer.fit(DataLoader(blobs(400), 4), epochs=1)
    assert trainer.step == 16  # looks after 1, 6, 11, 16


def test_not_a_number_stops_too_and_good_runs_go_on():
    model = plain()
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.1), [StopOnDivergence(every=4)])
    assert trainer.fit(DataLoader(blobs(), 4), epochs=3).epochs == 3
    model.layers[0].weight.data[...] = math.nan
    with pytest.raises(TrainingDivergedError, match="the cost is nan after 1 updates"):
        trainer.fit(DataLoader(blobs(), 4), epochs=1)
    with pytest.raises(ValueError, match="factor must be above 1 and every at least 1"):
        StopOnDivergence(1.0)


# ---- gradients ----


@pytest.mark.parametrize("batch", [10, 12])  # 12: the last batch, and the last update, are smaller
def test_accumulated_batches_are_one_large_batch(batch):
    data = blobs(60)

    def run(size, accumulate, **options):
        xpnet.manual_seed(0)
        model = plain()
        trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.5), accumulate=accumulate, **options)
        trainer.fit(DataLoader(data, size, shuffle=False), epochs=2)
        return trainer

    few, many = run(3 * batch, 1, l2=0.01), run(batch, 3, l2=0.01)
    assert few.step == many.step == 2 * math.ceil(60 / (3 * batch))
    assert many.batches == math.ceil(60 / (3 * batch))
    for name, value in host(few.model).items():
        np.testing.assert_allclose(host(many.model)[name], value, rtol=1e-4, atol=1e-6)
    assert few.history["train_loss"] == pytest.approx(many.history["train_loss"], rel=1e-5)
    assert float(few.loss_value) == pytest.approx(float(many.loss_value), rel=1e-5)


def test_penalties_are_those_of_the_decks():
    """J = data + l2 sum W^2 + l1 sum |W|; the weights move by 2 l2 W + l1 sign W, the biases do not."""
    data = blobs(30)
    steps = {}
    for name, options in {"none": {}, "both": {"l1": 0.03, "l2": 0.05}}.items():
        xpnet.manual_seed(0)
        model = plain()
        before = host(model)
        trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=1.0), **options)
        history = trainer.fit(DataLoader(data, 30), epochs=1)
        steps[name] = {key: before[key] - value for key, value in host(model).items()}, history
    for key, w in before.items():
        extra = 0.1 * w + 0.03 * np.sign(w) if w.ndim == 2 else 0 * w
        np.testing.assert_allclose(steps["both"][0][key] - steps["none"][0][key], extra, atol=1e-6)
    (_, without), (_, penalised) = steps["none"], steps["both"]
    assert "train_penalty" not in without
    assert penalised["train_loss"] == pytest.approx(without["train_loss"])
    weights = [xpnet.to_numpy(w).astype(float) for w in F.regularizers.weights(model)]
    expected = sum(0.05 * (w**2).sum() + 0.03 * abs(w).sum() for w in weights)
    assert penalised["train_penalty"][0] == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="Trainer: l2 must be at least 0, got -1"):
        Trainer(model, cross_entropy, optim.SGD(model), l2=-1)


def test_clipping_by_norm_and_by_value():
    class Look(Callback):
        def on_backward_end(self, trainer):
            self.grads = [xpnet.to_numpy(p.grad).copy() for p in trainer.model.parameters()]

    raw, clipped = Look(), Look()
    model = plain()
    clip = GradientClipping(norm=0.05, value=0.04)
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.0), [raw, clip, clipped])
    trainer.fit(DataLoader(blobs(30), 30), epochs=1)
    cut = [np.clip(g, -0.04, 0.04) for g in raw.grads]
    norm = math.sqrt(sum(float((g.astype(float) ** 2).sum()) for g in cut))
    assert norm > 0.05
    assert max(abs(g).max() for g in raw.grads) > 0.04
    assert float(clip.last_norm) == pytest.approx(norm, rel=1e-5)
    for a, b in zip(clipped.grads, cut, strict=True):
        np.testing.assert_allclose(a, b * 0.05 / norm, rtol=1e-4, atol=1e-8)
    with pytest.raises(ValueError, match="give the largest norm, the largest value, or both"):
        GradientClipping()
    with pytest.raises(ValueError, match="norm must be above 0"):
        GradientClipping(norm=0)


@pytest.mark.host
def test_noise_falls_with_the_updates(tmp_path):
    class Look(Callback):
        def on_fit_begin(self, trainer):
            self.grads = []

        def on_backward_end(self, trainer):
            self.grads.append(trainer.model.grad.copy())

    model = nn.Linear(4, 3000)  # many equal gradients of noise
    zero = lambda output, target: (output * 0.0).sum()
    look = Look()
    trainer = Trainer(model, zero, optim.SGD(model, lr=0.0), [GradientNoise(0.04, 0.5), look], metrics=[])
    trainer.fit(DataLoader(blobs(), 10), epochs=2)
    for t, g in enumerate(look.grads):
        assert g.std() == pytest.approx(math.sqrt(0.04 / (1 + t) ** 0.5), rel=0.03)
    first = look.grads
    xpnet.manual_seed(0)
    trainer.fit(DataLoader(blobs(), 10), epochs=2)
    assert np.array_equal(first[0], look.grads[0])  # t begins again
    assert not np.array_equal(first[0], first[1])


# ---- half types ----


@pytest.mark.host
def test_loss_scaling_saves_small_gradients():
    """The gradient of an output is 1.6e-8, below the smallest float16 number; that of the weight is 1e-4."""
    x = xpnet.asarray(np.full((64, 1), 100), "float16")
    y = xpnet.asarray(np.zeros(64), "float16")

    def gradient(scaler):
        model = nn.Linear(1, 1, bias=False, dtype="float16")
        before = float(model.weight.data[0, 0])
        loss = lambda output, target: output.mean() * 1e-6
        Trainer(model, loss, optim.SGD(model, lr=1000.0), metrics=[], scaler=scaler).fit([(x, y)], epochs=1)
        return (before - float(model.weight.data[0, 0])) / 1000

    assert gradient(None) == 0
    assert gradient(LossScaler()) == pytest.approx(1e-4, rel=0.02)


@pytest.mark.host
@pytest.mark.parametrize("hooked", [False, True])
def test_scaled_gradients_are_divided_in_float32(hooked):
    """A gradient of 1e-8, which float16 does not have: the float32 copy of the weight moves by it."""
    x, y = xpnet.asarray(np.ones((8, 1)), "float16"), xpnet.asarray(np.zeros(8), "float16")
    model = nn.Linear(1, 1, bias=False, dtype="float16")
    optimizer = optim.SGD(model, lr=1e6)
    before = float(model.weight.data[0, 0])
    loss = lambda output, target: output.mean() * 1e-4 * 1e-4
    hook = Callback()
    hook.on_backward_end = lambda trainer: None
    callbacks = [hook] if hooked else []
    Trainer(model, loss, optimizer, callbacks, metrics=[], scaler=LossScaler()).fit([(x, y)], epochs=1)
    moved = before - float(optimizer.state_dict()["state"][0]["master"][0, 0])
    # hooks see the gradient itself, in its own type
    assert moved == (0.0 if hooked else pytest.approx(0.01, rel=0.02))
    assert optimizer.half_factor == 1


@pytest.mark.host
def test_the_scale_does_not_reach_0():
    scaler = LossScaler()
    for bad in (np.inf, np.nan) * 600:
        with np.errstate(all="ignore"):
            assert not scaler.unscale([np.array([bad], np.float16)])
    assert scaler.scale == 2.0**-24
    gradient = np.array([2.0**-24], np.float32)
    assert scaler.unscale([gradient])
    assert gradient == 1
    scaler.load_state_dict({"scale": 0.0, "good": 0, "skipped": 9})  # of a run that had lost it
    assert scaler.scale == 2.0**-24


@pytest.mark.host
def test_an_overflow_is_left_out_and_the_scale_falls():
    model = nn.Sequential(nn.Linear(4, 3, dtype="float16"))
    before = host(model)
    scaler = LossScaler(scale=2.0**15, growth_interval=2)
    x, y = blobs().x.astype(np.float16) * np.float16(50), blobs().y
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=1e-6, momentum=0.9), scaler=scaler)
    hooks = []

    class Spy(Callback):
        def on_backward_end(self, trainer):
            hooks.append((trainer.step, bool(np.isfinite(trainer.model.grad).all())))

    trainer.callbacks = [Spy()]
    loss = trainer.loss
    trainer.loss = lambda output, target: loss(output, target) * (100.0 if trainer.step == 0 else 1.0)
    with np.errstate(all="ignore"):
        trainer.fit([(x, y)], epochs=1)
    assert (scaler.skipped, scaler.scale, trainer.step, hooks) == (1, 2.0**14, 1, [])
    assert all(np.array_equal(before[name], value) for name, value in host(model).items())
    trainer.loss = loss
    trainer.fit([(x / 50, y)], epochs=3)  # the scale grows after two good ones
    assert (scaler.skipped, scaler.scale, scaler.good) == (1, 2.0**15, 1)
    assert [finite for _, finite in hooks] == [True] * 3
    with pytest.raises(ValueError, match=r"expected scale >= 2\*\*-24"):
        LossScaler(backoff=2)


# ---- averages of weights, statistics of batch norm ----


class Record(Callback):
    """The weights after each update, and at the end of each epoch."""

    def on_fit_begin(self, trainer):
        self.steps, self.epochs = [], []

    def on_batch_end(self, trainer):
        self.steps.append(host(trainer.model))

    def on_epoch_end(self, trainer):
        self.epochs.append(host(trainer.model))


def test_swa_is_the_mean_of_the_epochs_and_ema_the_moving_average():
    for callback, expected in (
        (SWA(2), lambda r: {k: np.mean([e[k] for e in r.epochs[2:]], axis=0) for k in r.epochs[0]}),
        (SWA(0.5), lambda r: {k: np.mean([e[k] for e in r.epochs[2:]], axis=0) for k in r.epochs[0]}),
        (EMA(0.7), None),
        (EMA(0.7, every=3), None),
    ):
        xpnet.manual_seed(0)
        model, record = plain(), Record()
        trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.5), [callback, record])
        trainer.fit(DataLoader(blobs(), 16), epochs=5 if callback.settings() != {"start": 0.5} else 4)
        if expected is None:
            first, *others = record.steps[callback.every - 1 :: callback.every]
            found, decay = first, 0.7**callback.every
            for step in others:
                found = {k: decay * v + (1 - decay) * step[k] for k, v in found.items()}
        else:
            found = expected(record)
        for name, value in host(model).items():
            np.testing.assert_allclose(value, found[name], rtol=1e-4, atol=1e-6)
    assert [EMA(d).every for d in (0.5, 0.99, 0.999, 0.9999)] == [1, 1, 10, 100]
    with pytest.raises(ValueError, match="decay must be in"):
        EMA(1.0)
    with pytest.raises(ValueError, match="start is an epoch"):
        SWA(1.5)


@pytest.mark.host
def test_an_average_of_half_types_is_made_in_float32():
    model = nn.Linear(2, 2, dtype="float16")
    ema = EMA(0.9999, every=1)
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.0), [ema], metrics=[])
    ema.on_fit_begin(trainer)
    model.weight.data[...] = 1.0
    ema.on_batch_end(trainer)
    model.weight.data[...] = 2.0
    for _ in range(10):
        ema.on_batch_end(trainer)
    average = xpnet.to_numpy(ema.averages()["weight"])
    assert average.dtype == np.float32
    np.testing.assert_allclose(average, 2 - 0.9999**10, rtol=1e-6)


def deep():
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 5), nn.BatchNorm1d(5)
    )


def test_batch_norm_statistics_of_the_whole_set():
    """Those of one pass with the whole set as one batch, whatever the batches are."""
    data = blobs(50)
    model, whole = deep(), deep()
    whole.load_state_dict(model.state_dict())
    for layer in (whole.layers[1], whole.layers[5]):
        layer.momentum = 1.0
    whole.layers[3].p = 0.0
    output = whole.train()(xpnet.asarray(data.x)).numpy()
    expected = host(whole)
    for key in ("1.running_var", "5.running_var"):
        expected[key] *= 49 / 50  # of the population; batch norm averages unbiased ones
    for source in (
        data,
        (data.x, data.y),
        DataLoader(data, 16),
        [(xpnet.asarray(data.x[:7]), 0), (xpnet.asarray(data.x[7:]), 0)],
    ):
        model.load_state_dict(deep().state_dict())
        model.load_state_dict({k: v for k, v in expected.items() if "running" not in k}, strict=False)
        position = source.state_dict() if isinstance(source, DataLoader) else None
        model.train()
        recompute_batch_norm(model, source)
        assert all(m.training for m in model.modules())
        assert position is None or source.state_dict() == position
        for name, value in host(model).items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)
        same = model.eval()(xpnet.asarray(data.x)).numpy()
        np.testing.assert_allclose(same, output, rtol=1e-3, atol=1e-4)


def test_batch_norm_statistics_refuse():
    class Twice(nn.Module):
        def __init__(self):
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x):
            return self.norm(self.norm(x))

    with pytest.raises(ValueError, match="runs more than once"):
        recompute_batch_norm(Twice(), blobs())
    with pytest.raises(ValueError, match="at least two values a channel"):
        recompute_batch_norm(deep(), (blobs().x[:1], blobs().y[:1]))
    with pytest.raises(ValueError, match="no batches"):
        recompute_batch_norm(deep(), [])


def test_shown_weights_and_a_checkpoint_of_the_trained_ones(tmp_path):
    """Early stopping, averaging and exact batch norm change the model at the end, not the run."""
    pytest.importorskip("safetensors")

    def run(epochs, resume=None):
        xpnet.manual_seed(0)
        model = network()
        callbacks = [EarlyStopping(9), EMA(0.8), SWA(1), ExactBatchNorm()]
        trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.3), callbacks)
        trainer.fit(DataLoader(blobs(), 16), blobs(30, seed=1), epochs, resume)
        return trainer

    first, whole = run(3), run(5)
    assert not np.array_equal(
        host(first.model)["0.weight"], xpnet.to_numpy(first.state_dict()["model"]["0.weight"])
    )
    first.save_checkpoint(tmp_path / "c")
    resumed = run(5, tmp_path / "c")
    for name, value in host(whole.model).items():
        assert np.array_equal(host(resumed.model)[name], value), name
    # what is changed by hand after training is what is saved
    first.model.layers[0].weight.data[...] = 7.0
    assert float(first.state_dict()["model"]["0.weight"][0, 0]) == 7.0


def test_exact_batch_norm_follows_the_best_weights():
    model = network()
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.3), [EarlyStopping(9), ExactBatchNorm()])
    data = blobs()
    trainer.fit(DataLoader(data, 16), blobs(30, seed=1), epochs=3)
    x = xpnet.to_numpy(model.layers[0](xpnet.asarray(data.x)))
    np.testing.assert_allclose(host(model)["1.running_mean"], x.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(host(model)["1.running_var"], x.var(axis=0), rtol=1e-4)


# ---- loggers ----


def table(path):
    with open(path) as file:
        return list(csv.DictReader(file))


@pytest.mark.host
def test_csv_has_every_epoch_exactly_and_once(tmp_path):
    pytest.importorskip("safetensors")

    class Seen(Callback):
        """What is in the file when an epoch has ended."""

        last = True
        rows = ()

        def on_epoch_end(self, trainer):
            self.rows = (*self.rows, len(table(tmp_path / "log.csv")))

    def run(epochs, callbacks=(), **options):
        model = network()
        loggers = [CSVLogger(tmp_path / "log.csv"), *callbacks, Checkpoint(tmp_path / "c", every=2)]
        trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.1), loggers)
        return trainer.fit(DataLoader(blobs(), 16), blobs(), epochs, **options)

    class Crash(Callback):
        def on_epoch_begin(self, trainer):
            if trainer.epoch == 3:
                raise KeyboardInterrupt

    seen = Seen()
    with pytest.raises(KeyboardInterrupt):
        run(6, [seen, Crash()])
    assert seen.rows == (1, 2, 3)
    history = run(6, resume=tmp_path / "c")  # of epoch 2: the third is done again
    rows = table(tmp_path / "log.csv")
    assert [row.pop("epoch") for row in rows] == list("123456")
    assert [{k: float(v) for k, v in row.items()} for row in rows] == history.rows()
    run(1)
    assert len(table(tmp_path / "log.csv")) == 1  # a new run replaces the file
    model, loggers = network(), [CSVLogger(tmp_path / "no" / "log.csv")]
    trainer = Trainer(model, cross_entropy, optim.SGD(model), loggers)
    with pytest.raises(OSError, match="cannot write"):
        trainer.fit(blobs())


@pytest.mark.host
def test_tensorboard_reads_the_history(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    model = network()
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.1), [TensorBoard(tmp_path / "run")])
    history = trainer.fit(blobs(), blobs(), epochs=3)
    (file,) = (tmp_path / "run").iterdir()
    content, points = file.read_bytes(), {}
    while content:  # length, its checksum, the event, its checksum
        size = int.from_bytes(content[:8], "little")
        event, content = Event.FromString(content[12 : 12 + size]), content[16 + size :]
        for value in event.summary.value:
            points.setdefault(value.tag, []).append((event.step, value.simple_value))
    assert points.keys() == set(history)
    assert points["val_loss"] == [(i + 1, pytest.approx(v)) for i, v in enumerate(history["val_loss"])]


@pytest.mark.host
def test_tensorboard_without_the_extra(monkeypatch):
    monkeypatch.setattr("xpnet.train.loggers.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "xpnet\[tensorboard\]"'):
        TensorBoard()


# ---- the range test ----


def test_the_range_test_changes_nothing():
    model = deep()
    optimizer = optim.Adam(model, lr=0.02)
    trainer = Trainer(model, cross_entropy, optimizer, [EarlyStopping()], l2=1e-3)
    loader = DataLoader(blobs(), 16)
    trainer.fit(loader, blobs(), epochs=1)
    model.layers[1].train()

    def everything():
        state = [host(model), optimizer.state_dict(), xpnet.random.generator_state(), loader.state_dict()]
        return repr([state, [m.training for m in model.modules()], dict(trainer.history), trainer.step])

    before = everything()
    finder = LRFinder(1e-4, 1.0, steps=20).run(trainer, loader)
    assert everything() == before
    assert finder.rates[0] == pytest.approx(1e-4)
    np.testing.assert_allclose(np.diff(np.log(finder.rates)), math.log(1e4) / 19, rtol=1e-9)
    assert len(finder.losses) == len(finder.rates) == len(finder.smoothed())


@pytest.mark.host
def test_the_suggestion_is_where_a_known_loss_falls():
    finder = LRFinder(1e-4, 1.0, steps=100)
    finder.rates = list(np.geomspace(1e-4, 1.0, 100))
    finder.losses = [1 / (1 + (r / 0.01) ** 2) + (r / 0.3) ** 4 for r in finder.rates]  # steepest at 0.01
    assert 0.005 < finder.suggestion() < 0.03  # smoothing lags a little
    finder.losses = [1.0 + r for r in finder.rates]
    with pytest.raises(ValueError, match=r"the loss did not fall between 0.0001 and 1"):
        finder.suggestion()
    with pytest.raises(ValueError, match="call run first"):
        LRFinder().suggestion()
    with pytest.raises(ValueError, match="0 < low < high"):
        LRFinder(1.0, 0.1)


@pytest.mark.host
def test_the_suggested_rate_trains():
    data = blobs(200)
    model = plain()
    optimizer = optim.SGD(model, lr=1e-9)
    trainer = Trainer(model, cross_entropy, optimizer)
    finder = LRFinder(1e-5, 100.0, steps=60).run(trainer, DataLoader(data, 20))
    optimizer.param_groups[0]["lr"] = finder.suggestion()
    history = trainer.fit(DataLoader(data, 20), data, epochs=5)
    assert history["val_accuracy"][-1] > 0.9
