"""What makes two runs the same: one with another meaning is refused by name, before anything is lost."""

import json
import random
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.core.fingerprint import WHOLE, array_fingerprint, compare, fingerprint, text
from xpnet.data import Arrays, Compose, DataLoader, Dataset, Mixup, RandomCrop, RandomFlip, Standardize
from xpnet.data.fingerprint import data_fingerprint
from xpnet.train import Checkpoint, LearningRate, Trainer, load_checkpoint
from xpnet.train.environment import EnvironmentWarning, environment, environment_differences

pytest.importorskip("safetensors")
pytestmark = pytest.mark.host

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 1, 6, 6)).astype(np.float32), np.arange(60) % 3
ORDER = RNG.permutation(60)
WEIGHT = np.float32([1, 2, 3])
STRENGTH = 0.1


def scaled_loss(output, target, factor=1.0):
    return F.cross_entropy(output, target) * factor


def other_scaled_loss(output, target, factor=1.0):
    return F.cross_entropy(output, target) / factor


other_scaled_loss.__qualname__ = other_scaled_loss.__name__ = "scaled_loss"


def multiplied(k):
    return lambda x: x * k


def penalised(model):
    return lambda output, target: F.cross_entropy(output, target) + 1e-4 * (model.theta**2).sum()


class Noise:
    """An augmentation of one's own with a strength, without a base class."""

    def __init__(self, strength):
        self.strength, self.calls = strength, 0

    def __call__(self, x, y, draw):
        self.calls += 1
        return x + self.strength * draw.uniform(36).reshape(-1, 1, 6, 6), y


def mean_over(data):
    return Standardize().fit(data.reshape(len(data), -1)).transform


def run(
    path=None, *, loss=F.cross_entropy, x=X, y=Y, vx=X, vy=Y, augment=None, transform=None, lr=0.01, **fit
):
    """A short run of given parts; the trainer."""
    xpnet.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    callbacks = fit.pop("callbacks", ())
    trainer = Trainer(model, loss, optim.Adam(model, lr=lr), callbacks)
    loader = DataLoader(Dataset(x, y), 12, augment=augment, transform=transform)
    trainer.fit(loader, Dataset(vx, vy), fit.pop("epochs", 2), **fit)
    if path is not None:
        trainer.save_checkpoint(path)
    return trainer


SAME = {
    "loss": partial(F.cross_entropy, label_smoothing=0.1),
    "augment": RandomFlip(0.5),
    "transform": np.abs,
}
CHANGES = {
    "another loss": (
        {"loss": F.multi_margin_loss},
        "loss is cross_entropy.*0.1. there and multi_margin_loss here",
    ),
    "a parameter of it": (
        {"loss": partial(F.cross_entropy, label_smoothing=0.2)},
        "smoothing=0.1.*smoothing=0.2",
    ),
    "class weights": ({"loss": partial(F.cross_entropy, weight=WEIGHT)}, "loss is .* there"),
    "shuffled labels": (
        {"y": Y[ORDER]},
        r"training data\.y is int64 \[60\] #\w+ there and int64 \[60\] #\w+ here",
    ),
    "two labels exchanged": ({"y": np.r_[Y[1], Y[0], Y[2:]]}, r"training data\.y"),
    "permuted samples": ({"x": X[ORDER], "y": Y[ORDER]}, r"training data\.x"),
    "shifted values": ({"x": X + np.float32(0.01)}, r"training data\.x"),
    "other validation data": ({"vx": X + 1}, r"validation data\.x"),
    "other validation labels": ({"vy": Y[ORDER]}, r"validation data\.y"),
    "no augmentation": ({"augment": None}, r"augmentation is RandomFlip\(p=0.5\) there and absent here"),
    "its strength": ({"augment": RandomFlip(0.3)}, r"RandomFlip\(p=0.5\) there and RandomFlip\(p=0.3\) here"),
    "another transform": ({"transform": np.negative}, "transform is absolute there and negative here"),
    "the learning rate": ({"lr": 0.02}, "optimizer.lr is 0.01 there and 0.02 here"),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("identity") / "c"
    run(path, **SAME)
    return path


@pytest.mark.parametrize("change", CHANGES)
def test_another_meaning_is_refused_by_name(checkpoint, change):
    options, message = CHANGES[change]
    before = checkpoint.read_bytes()
    with pytest.raises(ValueError, match=f"another run: .*{message}.*Nothing was changed.*allow="):
        run(resume=checkpoint, epochs=3, **{**SAME, **options})
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize("change", CHANGES)
def test_the_message_says_how_to_go_on_all_the_same(checkpoint, change):
    options, _ = CHANGES[change]
    with pytest.raises(ValueError, match="allow=") as error:
        run(resume=checkpoint, epochs=3, **{**SAME, **options})
    allow = eval(str(error.value).rpartition("allow=")[2].rstrip(")"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer = run(resume=checkpoint, epochs=3, **{**SAME, **options}, allow=allow)
    assert trainer.history.epochs == 3


def test_the_same_meaning_is_not_refused(checkpoint):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = {"loss": partial(F.cross_entropy, label_smoothing=0.1), "augment": RandomFlip(0.5)}
        whole, resumed = run(epochs=3, **SAME), run(resume=checkpoint, epochs=3, **{**SAME, **again})
    assert np.array_equal(whole.model.theta, resumed.model.theta)


def test_a_rate_that_is_allowed_is_the_one_used(checkpoint):
    trainer = run(resume=checkpoint, epochs=3, lr=0.02, allow=["optimizer"], **SAME)
    assert trainer.history["lr"] == [0.01, 0.01, 0.02]


def test_another_rule_begins_anew(tmp_path):
    run(tmp_path / "c")
    xpnet.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    trainer = Trainer(model, F.cross_entropy, optim.SGD(model, lr=0.1, momentum=0.9))
    loader = DataLoader(Dataset(X, Y), 12)
    trainer.fit(loader, Dataset(X, Y), 3, resume=tmp_path / "c", allow=["optimizer"])
    assert trainer.history["lr"] == [0.01, 0.01, 0.1]
    assert trainer.optimizer.state_dict()["state"][0]["step"] == 5  # updates of the third epoch


def test_a_longer_cosine_goes_on_in_its_place(tmp_path):
    def train(epochs, path=None, **fit):
        xpnet.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
        optimizer = optim.SGD(model, lr=0.1)
        schedule = LearningRate(optim.CosineAnnealingLR(optimizer, epochs))
        trainer = Trainer(model, F.cross_entropy, optimizer, [schedule, *fit.pop("more", ())])
        trainer.fit(DataLoader(Dataset(X, Y), 12), None, epochs, **fit)
        if path:
            trainer.save_checkpoint(path)
        return trainer.history["lr"]

    short = train(2, tmp_path / "c")
    with pytest.raises(ValueError, match=r"T_max': 2.*T_max': 4.*allow=\['callbacks'\]"):
        train(4, resume=tmp_path / "c")
    longer = train(4, resume=tmp_path / "c", allow=["callbacks"])
    assert longer == short + train(4)[2:]
    assert longer[2] == pytest.approx(0.05)


@pytest.mark.parametrize("allow", [["model"], ["metrics"], "loss", ["nothing"]])
def test_what_cannot_change_cannot_be_allowed(checkpoint, allow):
    with pytest.raises(ValueError, match="allow: expected a list of loss, step, optimizer"):
        run(resume=checkpoint, epochs=3, allow=allow, **SAME)


def test_what_counts_in_training_is_known_as_it_was_before(tmp_path):
    run(tmp_path / "c", augment=Noise(0.1))
    assert run(resume=tmp_path / "c", epochs=3, augment=Noise(0.1)).history.epochs == 3
    with pytest.raises(ValueError, match=r"strength=0.1.*strength=0.2"):
        run(resume=tmp_path / "c", epochs=3, augment=Noise(0.2))


def test_a_loss_that_holds_the_model_does_not_hold_its_weights(tmp_path):
    model = nn.Linear(2, 2)
    before = fingerprint(penalised(model))
    model.weight.data[...] = 7
    assert fingerprint(penalised(model)) == before


def test_a_checkpoint_of_before_goes_on(checkpoint, tmp_path):
    """Without fingerprints: what an earlier version wrote is compared as far as it goes."""
    from xpnet.io.generations import write_generation
    from xpnet.train.resume import checkpoint_content

    saved = load_checkpoint(checkpoint)
    old = {k: v for k, v in saved["settings"].items() if k not in ("meaning", "environment", "stateful")}
    write_generation(tmp_path / "c", checkpoint_content(old, saved["state"]).encode(), keep=1)
    assert run(resume=tmp_path / "c", epochs=3, **SAME).history.epochs == 3


def test_data_are_read_by_one_thread_at_a_time(tmp_path):
    class Alone(Items):
        """Not for several threads, like a file with one position."""

        inside = False

        def __getitem__(self, i):
            assert not self.inside
            self.inside = True
            time.sleep(1e-4)
            item = super().__getitem__(i)
            self.inside = False
            return item

    model = nn.Linear(64, 3)
    keep = Checkpoint(tmp_path / "c", every_steps=1)
    trainer = Trainer(model, F.cross_entropy, optim.SGD(model, lr=0.1), [keep])
    trainer.fit(DataLoader(Alone(LARGE[:200]), 10, prefetch=4), None, 1)
    assert trainer.step == 20


# ---- fingerprints -----------------------------------------------------------------------------------------


class Items:
    def __init__(self, x, chance=False):
        self.x, self.chance = x, chance

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i] + random.random() * self.chance, int(i) % 3


LARGE = RNG.normal(size=(40_000, 64)).astype(np.float32)  # 10 MB: rows of it are hashed
assert LARGE.nbytes > WHOLE
WAYS = {
    "shifted": lambda x: x + np.float32(1e-3),
    "scaled": lambda x: x * np.float32(1.001),
    "permuted": lambda x: x[np.random.default_rng(1).permutation(len(x))],
    "reversed": lambda x: x[::-1],
    "rolled by one": lambda x: np.roll(x, 1, axis=0),
    "features exchanged": lambda x: x[..., ::-1],
    "shorter": lambda x: x[:-1],
    "another dtype": lambda x: x.astype(np.float64),
}
KINDS = {
    "large": LARGE,
    "whole": LARGE[:2000],
    "pictures": (LARGE[:4000] * 50).astype(np.uint8).reshape(-1, 1, 8, 8),
    "ten numbers": LARGE[:10],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_other_values_have_other_fingerprints(kind, way):
    x = KINDS[kind]
    changed = WAYS[way](x)
    if x.dtype == np.uint8 and way in ("shifted", "scaled"):
        changed = x + np.uint8(1)
    for wrap in (
        lambda a: Dataset(a, np.arange(len(a))),
        lambda a: Arrays({"a": a, "y": a[:, 0]}),
        lambda a: (a, a),
    ):
        assert compare(data_fingerprint(wrap(x)), data_fingerprint(wrap(x.copy()))) == "same"
        assert compare(data_fingerprint(wrap(x)), data_fingerprint(wrap(changed))) == "other"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wrap", [Items, lambda x: [(part, part[:, 0]) for part in np.split(x[:1990], 10)]])
def test_items_and_batches_in_a_list_too(way, wrap):
    x = LARGE[:2000]
    assert compare(data_fingerprint(wrap(x)), data_fingerprint(wrap(x.copy()))) == "same"
    if wrap is Items or way != "shorter":
        assert compare(data_fingerprint(wrap(x)), data_fingerprint(wrap(WAYS[way](x)))) == "other"


def test_random_items_are_the_same_and_reading_them_draws_nothing():
    random.seed(3)
    expected = random.Random(3).random()
    one, other = (data_fingerprint(Items(LARGE[:20], chance=True)) for _ in range(2))
    assert compare(one, other) == "same"
    assert random.random() == expected


@pytest.mark.parametrize("x", [LARGE, LARGE[:100], LARGE.astype(np.float64), LARGE.astype(np.float16)])
def test_what_rounding_does_is_no_other_meaning(x):
    step = np.finfo(x.dtype).eps if x.dtype != np.float16 else 0
    rounded = x * (1 + RNG.integers(-1, 2, x.shape).astype(x.dtype) * step)
    assert compare(array_fingerprint(x), array_fingerprint(rounded)) == ("rounding" if step else "same")


@pytest.mark.parametrize("backend", ["array_api_strict", "torch"])
def test_fingerprints_do_not_depend_on_the_backend(backend):
    pytest.importorskip(backend)
    with xpnet.use_backend(backend):
        for x in (LARGE, LARGE[:100], np.arange(20)):
            assert array_fingerprint(xpnet.asarray(x)) == array_fingerprint(x)


class Focal(nn.Module):
    """A loss as a module, with what it is given, parts, and a state."""

    def __init__(self, gamma, weight=WEIGHT, inner=None):
        self.gamma, self.weight, self.inner = gamma, weight, inner
        self.scale = nn.Parameter(np.ones(1, np.float32))

    def forward(self, output, target):
        return F.cross_entropy(output, target) * self.gamma * self.scale.sum()


class OtherFocal(Focal):
    def forward(self, output, target):
        return F.cross_entropy(output, target) / self.gamma


OtherFocal.__qualname__ = OtherFocal.__name__ = "Focal"


class Slim:
    __slots__ = ("factor",)

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, output, target):
        return F.cross_entropy(output, target) * self.factor


MEANINGS = {
    "a module's number": (Focal(1.0), Focal(2.0)),
    "a module's array": (Focal(1.0), Focal(1.0, WEIGHT * 2)),
    "a module's part": (Focal(1.0, inner=nn.Dropout(0.1)), Focal(1.0, inner=nn.Dropout(0.2))),
    "a module's code": (Focal(1.0), OtherFocal(1.0)),
    "slots": (Slim(1.0), Slim(2.0)),
    "code": (scaled_loss, other_scaled_loss),
    "default": (scaled_loss, partial(scaled_loss, factor=2.0)),
    "closure": (multiplied(1), multiplied(2)),
    "lambda": (lambda x: x + 1, lambda x: x + 2),
    "object": (Noise(0.1), Noise(0.2)),
    "list": (Compose([RandomFlip()]), Compose([RandomFlip(), RandomCrop(4)])),
    "order": (Compose([RandomCrop(4), RandomFlip()]), Compose([RandomFlip(), RandomCrop(4)])),
    "data inside": (Mixup(Dataset(X, Y)), Mixup(Dataset(X, Y[ORDER]))),
    "statistics of a method's object": (mean_over(X), mean_over(X + 1)),
    "module": (nn.Linear(2, 2), nn.ReLU()),
}


@pytest.mark.parametrize("name", MEANINGS)
def test_other_functions_and_objects_have_other_fingerprints(name):
    one, other = MEANINGS[name]
    assert compare(fingerprint(one), fingerprint(other)) == "other"
    assert compare(fingerprint(one), json.loads(json.dumps(fingerprint(one)))) == "same"
    assert text(fingerprint(one)) != text(fingerprint(other))


def test_neither_the_mode_nor_the_state_of_a_module_is_its_meaning():
    one, other = Focal(1.0, inner=nn.BatchNorm1d(2)), Focal(1.0, inner=nn.BatchNorm1d(2)).eval()
    other.scale.data += 1
    other.inner.train()
    other.inner(np.ones((3, 2), np.float32))
    assert fingerprint(one) == fingerprint(other)


def test_a_constant_outside_of_the_function_counts(monkeypatch):
    noisy = lambda x: x * STRENGTH
    before = fingerprint(noisy)
    monkeypatch.setitem(globals(), "STRENGTH", 0.2)
    assert compare(before, fingerprint(noisy)) == "other"


def test_code_of_another_python_says_nothing():
    one, other = (fingerprint(f) for f in MEANINGS["lambda"])
    assert compare(one, {**other, "code": "2.7:00"}) == "same"


def test_what_contains_itself_ends():
    noise = Noise(0.1)
    noise.me = [noise]
    assert compare(fingerprint(noise), fingerprint(noise)) == "same"


class Odd:
    """Cannot be looked at."""

    def __repr__(self):
        raise RuntimeError

    @property
    def __dict__(self):
        raise RuntimeError


@pytest.mark.parametrize("value", [Odd(), [Odd()], lambda: Odd(), open, iter([1]), Path, np.float32, xpnet])
def test_nothing_is_too_odd(value):
    assert compare(fingerprint(value), fingerprint(value)) == "same"
    assert text(fingerprint(value))


LONG = {
    "numbers": list(range(5000)),
    "texts": [f"word {i}" for i in range(5000)],
    "a table": {f"word {i}": i for i in range(5000)},
    "objects": [Noise(i) for i in range(50)],
    "nested": [[Noise(i) for i in range(40)] for _ in range(40)],
}


@pytest.mark.parametrize("name", LONG)
def test_long_lists_have_short_fingerprints(name):
    value = LONG[name]
    assert len(json.dumps(fingerprint(value))) < 20_000
    shorter = dict(list(value.items())[1:]) if isinstance(value, dict) else value[1:]
    assert compare(fingerprint(value), fingerprint(shorter)) == "other"


def test_what_is_shared_is_looked_at_once():
    """Objects that all know one another: without that, 40! ways through them."""
    everyone = [Noise(i) for i in range(40)]
    for noise in everyone:
        noise.others = everyone
    assert len(json.dumps(fingerprint(everyone))) < 20_000


# ---- the environment --------------------------------------------------------------------------------------


def test_another_environment_is_said_in_one_line(checkpoint):
    with xpnet.fused(False), pytest.warns(EnvironmentWarning) as caught:
        run(resume=checkpoint, epochs=3, **SAME)
    said = [str(w.message) for w in caught if w.category is EnvironmentWarning]
    assert len(said) == 1
    assert "fused kernels was on, is off: the result is equal up to rounding, not bit for bit" in said[0]
    assert "\n" not in said[0]


@pytest.mark.parametrize("name", ["threads", "numpy", "xpnet", "device", "cpu kernels", "ranks"])
def test_each_part_of_it_is_named(name):
    here = environment()
    assert environment_differences({**here, name: "another"}, here).startswith(f"{name} was another, is ")


def test_data_that_differ_by_rounding_are_said_not_refused(checkpoint):
    nearly = X * (1 + RNG.integers(-1, 2, X.shape).astype(np.float32) * np.float32(1.2e-7))
    with pytest.warns(EnvironmentWarning, match=r"training data\.x differ by rounding"):
        run(resume=checkpoint, epochs=3, **{**SAME, "x": nearly})
