"""`Trainer(precision=...)`: as autocast and GradScaler of PyTorch; captured, resumed, refused."""

import warnings

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim, to_numpy
from xpnet.core.context import autocasts
from xpnet.data import DataLoader, Dataset, load_digits, split
from xpnet.train import AnotherRunError, Checkpoint, LossScaler, ManualStep, Trainer

CLASSES = 5


@pytest.fixture(params=["bf16", "float16"])
def precision(request, backend):
    if backend == "array_api_strict":
        pytest.skip("the standard has no 16-bit type")
    if request.param == "bf16" and backend.name in ("numpy", "cupy"):
        pytest.importorskip("ml_dtypes")
    return request.param


def blobs(n=100, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, n)
    return Dataset((rng.normal(size=(n, 20)) + y[:, None]).astype(np.float32), y)


def network():
    return nn.mlp(20, [32], CLASSES, batch_norm=True, dropout=0.1)


def trainer_of(precision, *callbacks, **options):
    xpnet.manual_seed(1)
    model = network()
    return Trainer(
        model, F.cross_entropy, optim.Adam(model, lr=0.01), callbacks, precision=precision, **options
    )


def fitted(precision, epochs=4, resume=None, callbacks=(), **options):
    trainer = trainer_of(precision, *callbacks, **options)
    history = trainer.fit(DataLoader(blobs(), 16, seed=2), blobs(40, 1), epochs=epochs, resume=resume)
    kept = {key: history[key] for key in ("train_loss", "val_loss", "val_accuracy")}
    return kept, [to_numpy(v) for v in trainer.model.state_dict().values()], trainer


def same(a, b):
    assert a[0] == b[0]
    for x, y in zip(a[1], b[1], strict=True):
        np.testing.assert_array_equal(x, y)


def test_it_trains_as_float32_does_with_weights_and_moments_in_float32(precision):
    train, validation, _ = split(load_digits(), seed=0)
    accuracies = []
    for kind in (None, precision):
        xpnet.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        types = set()
        model[1].register_forward_hook(lambda layer, x, y: types.add(str(y.dtype).removeprefix("torch.")))  # noqa: B023
        trainer = Trainer(model, F.cross_entropy, optim.Adam(model, lr=0.003), precision=kind)
        history = trainer.fit(DataLoader(train, 32), validation, epochs=3)
        accuracies.append(history["val_accuracy"][-1])
        assert types == {{"bf16": "bfloat16", "float16": "float16", None: "float32"}[kind]}
        state = trainer.optimizer.state_dict()["state"][0]
        assert set(state) == {"step", "exp_avg", "exp_avg_sq"}
        for array in (*state.values(), *(p.data for p in model.parameters())):
            assert "float32" in str(getattr(array, "dtype", "float32"))
        assert (trainer.scaler is not None) == (kind == "float16")
        assert history["val_loss"][-1] == pytest.approx(trainer.evaluate(validation)["loss"], rel=1e-6)
    assert accuracies[0] > 0.9
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.02)
    assert autocasts == [0]


def test_a_captured_run_has_the_bits_of_one_that_is_not(precision, backend):
    if backend.name not in ("numpy", "cupy"):
        pytest.skip("nothing is captured there")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        captured = fitted(precision, capture=True)
    plain = fitted(precision)
    same(captured, plain)
    assert plain[0]["train_loss"] != fitted(None)[0]["train_loss"]


def test_a_resumed_run_has_the_bits_of_one_at_once(precision, tmp_path):
    whole = fitted(precision)
    fitted(precision, epochs=2, callbacks=[Checkpoint(tmp_path / "c")])
    resumed = fitted(precision, callbacks=[Checkpoint(tmp_path / "c")], resume=tmp_path / "c")
    same(resumed, whole)
    with pytest.raises(AnotherRunError, match="precision"):
        fitted("float32", epochs=6, callbacks=[Checkpoint(tmp_path / "c")], resume=tmp_path / "c")


@pytest.mark.host
@pytest.mark.parametrize("kind", ["bf16", "float16"])
def test_steps_are_those_of_autocast_and_grad_scaler(kind):
    torch = pytest.importorskip("torch")
    pytest.importorskip("ml_dtypes")
    xpnet.manual_seed(0)
    ours = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.LayerNorm(32), nn.Linear(32, CLASSES))
    start = [to_numpy(p.data).copy() for p in ours.parameters()]
    modules = torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.LayerNorm(32), torch.nn.Linear(32, CLASSES)
    theirs = torch.nn.Sequential(*modules)
    with torch.no_grad():
        for p, value in zip(theirs.parameters(), start, strict=True):
            p.copy_(torch.tensor(value))
    data = blobs()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**15, enabled=kind == "float16")
    dtype = torch.bfloat16 if kind == "bf16" else torch.float16
    for i in range(0, 80, 16):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=dtype):
            x, y = torch.tensor(data.x[i : i + 16]), torch.tensor(data.y[i : i + 16])
            loss = torch.nn.functional.cross_entropy(theirs(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    part = data.subset(range(80))
    trainer = Trainer(ours, F.cross_entropy, optim.SGD(ours, lr=0.1, momentum=0.9), precision=kind)
    trainer.fit(DataLoader(part, 16, shuffle=False), epochs=1)
    for p, q, first in zip(ours.parameters(), theirs.parameters(), start, strict=True):
        moved = np.abs(q.detach().numpy() - first).max()
        error = np.abs(to_numpy(p.data) - q.detach().numpy()).max()
        assert error <= 0.06 * moved


def test_tf32_and_float32_set_how_exact_products_are(backend):
    found = []

    def step(run, batch):
        found.append(xpnet.get_matmul_precision())
        return F.cross_entropy(run.model(batch[0]), batch[1])

    for kind in ("tf32", "float32", None):
        with xpnet.matmul_precision("bf16"):
            trainer_of(kind, step=step).fit(blobs(32), epochs=1)
    assert found == ["tf32", "float32", "bf16"]


def half():
    return nn.Linear(20, CLASSES, dtype="float16")


BAD = {
    "unknown": (network, "float8", {}, "one of float32, tf32, bf16, float16, or None, got 'float8'; did you"),
    "of another type": (network, 16, {}, "or None, got 16"),
    "a half model": (half, "bf16", {}, "is of a float32 model, whose weights stay so; weight is float16"),
}


@pytest.mark.host
@pytest.mark.parametrize("what", list(BAD))
def test_what_cannot_be_is_said_in_one_line(what):
    make, kind, options, message = BAD[what]
    model = make()
    with pytest.raises(ValueError, match=message) as error:
        Trainer(model, F.cross_entropy, optim.SGD(model), precision=kind, **options)
    assert "\n" not in str(error.value)


@pytest.mark.host
def test_without_ml_dtypes_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ml_dtypes", None)
    with pytest.raises(ValueError, match=r"numpy has not; pip install \"xpnet.bfloat16.\", or take"):
        trainer_of("bf16")


def test_a_step_that_makes_its_own_updates_makes_its_own_block(precision):
    def step(run, batch):
        x, y = batch
        run.optimizer.zero_grad()
        loss = run.loss(run.model(x), y)
        loss.backward()
        run.optimizer.step()

    with pytest.raises(ValueError, match="make it in a block, with xpnet"):
        trainer_of(precision, step=ManualStep(step)).fit(blobs(32), epochs=1)


def test_a_scaler_of_ones_own_is_taken():
    scaler = LossScaler(2.0**4)
    assert trainer_of(None, scaler=scaler).scaler is scaler
    assert trainer_of("tf32").scaler is None
