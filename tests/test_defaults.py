"""What a caller leaves out, and orders that only a number tells: small choices that every user relies on."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset, MeanImage, Standardize, flips
from xpnet.diagnostics.finding import Finding, judge, largest, worst
from xpnet.functional import cross_entropy
from xpnet.io.files import load_arrays
from xpnet.optim.by_name import OPTIMIZERS, make_optimizer
from xpnet.search import CoarseToFine, RandomSearch, Space, SuccessiveHalving, loguniform
from xpnet.train import LRFinder, Trainer, load_checkpoint

pytestmark = pytest.mark.host


# ---- optimizers and schedules ----

# the constants are those of the papers and of PyTorch; the rates suit small networks with batch norm
USUAL = {
    "sgd": ("SGD", {"lr": 0.1, "momentum": 0, "nesterov": False, "weight_decay": 0}),
    "momentum": ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": False}),
    "nesterov": ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    "adagrad": ("Adagrad", {"lr": 0.02, "eps": 1e-10}),
    "adadelta": ("Adadelta", {"lr": 1.0, "rho": 0.9, "eps": 1e-6}),
    "rmsprop": ("RMSprop", {"lr": 0.002, "alpha": 0.99, "eps": 1e-8, "momentum": 0}),
    "adam": ("Adam", {"lr": 0.005, "betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False}),
    "adamw": ("AdamW", {"lr": 0.005, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}),
    "nadam": ("NAdam", {"lr": 0.005, "betas": (0.9, 0.999), "eps": 1e-8, "momentum_decay": 4e-3}),
    "radam": ("RAdam", {"lr": 0.005, "betas": (0.9, 0.999), "eps": 1e-8}),
    "adamax": ("Adamax", {"lr": 0.005, "betas": (0.9, 0.999), "eps": 1e-8}),
    "lamb": ("LAMB", {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-6}),
    "adan": ("Adan", {"lr": 0.005, "betas": (0.98, 0.92, 0.99), "eps": 1e-8}),
    "adafactor": ("Adafactor", {"lr": 0.02, "beta2_decay": -0.8, "d": 1.0}),
    "asgd": ("ASGD", {"lr": 0.1, "lambd": 1e-4, "alpha": 0.75, "t0": 1e6}),
    "muon": ("MuonWithAuxAdam", {"lr": 0.005, "momentum": 0.95, "betas": (0.9, 0.95), "nesterov": True}),
    "lion": ("Lion", {"lr": 0.0005, "betas": (0.9, 0.99)}),
}


@pytest.mark.parametrize("name", USUAL)
def test_an_optimizer_by_its_name(name):
    rule, options = USUAL[name]
    assert set(USUAL) == set(OPTIMIZERS)
    found = make_optimizer(name, nn.Linear(2, 3))
    assert type(found).__name__ == rule
    assert {key: found.param_groups[0][key] for key in options} == options
    assert make_optimizer(name, nn.Linear(2, 3), lr=0.5).param_groups[0]["lr"] == 0.5
    weights, biases = make_optimizer(name, nn.Linear(2, 3), weight_decay=0.25).param_groups
    assert (weights["weight_decay"], biases["weight_decay"]) == (0.25, 0.0)
    assert [p.ndim for p in weights["params"]] == [2]
    assert [p.ndim for p in biases["params"]] == [1]


def test_a_rise_begins_at_once_whatever_follows_it():
    optimizer = optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    after = optim.WarmupLR(optimizer, steps=4, start_factor=0.25)  # it has set the rate to 0.25
    schedule = optim.WarmupLR(optimizer, steps=2, start_factor=0.5, after=after)
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    assert rates == [0.5, 0.75, 0.25, 0.4375, 0.625]


# ---- networks ----


def test_the_dropout_of_the_small_cnn():
    drops = lambda model: [m.p for m in model.modules() if isinstance(m, nn.Dropout)]
    assert drops(nn.small_cnn(10, width=2)) == [0.2]
    assert drops(nn.small_cnn(10, width=2, dropout=0.4)) == [0.4]
    assert drops(nn.small_cnn(10, width=2, dropout=0)) == []
    model = nn.small_cnn(10, width=2, dropout=0.4)
    assert [type(m).__name__ for m in list(model)[-3:]] == ["GlobalAvgPool2d", "Dropout", "Linear"]
    assert next(iter(model)).weight.shape[1] == 3


@pytest.mark.parametrize(
    "target", [np.full((4, 3), 1 / 3, np.float32), np.zeros((4, 1), np.int64), np.int64(1)]
)
@pytest.mark.parametrize("logits", [np.float32(np.arange(12).reshape(4, 3)), np.float32([1, 2, 4])])
def test_the_kernel_of_cross_entropy_leaves_other_targets_to_the_body(target, logits):
    def tried(fused):
        with xpnet.fused(fused):
            x = xpnet.tensor(logits, requires_grad=True)
            try:
                loss = F.cross_entropy(x, target)
                loss.backward()
            except (ValueError, TypeError, IndexError) as error:
                return type(error), str(error)
            return float(loss.item()), xpnet.to_numpy(x.grad).tolist()

    assert tried(True) == tried(False)


@pytest.mark.parametrize("shape", [((3, 2),), ([3, 2],), (3, 2), (-1, 2), ((3, -1),)])
def test_a_shape_is_one_tuple_or_several_numbers(shape):
    x = xpnet.tensor(np.arange(6.0, dtype=np.float32).reshape(2, 3))
    assert x.reshape(*shape).numpy().tolist() == [[0, 1], [2, 3], [4, 5]]
    assert x.view(*shape).shape == (3, 2)
    assert x.reshape(6).shape == x.reshape((6,)).shape == x.reshape(-1).shape == (6,)


# ---- searching ----


@pytest.mark.parametrize(
    "strategy",
    [
        RandomSearch(4),
        CoarseToFine((4, 2), (1, 2)),
        SuccessiveHalving(trials=4, budget=1, max_budget=4, eta=2),
    ],
)
def test_trials_are_numbered_and_the_seed_is_the_seed(strategy):
    space = Space({"lr": loguniform(1e-4, 1.0)})
    for seed in (0, 7):
        first = next(strategy.rounds(space, seed, "max"))
        assert list(first.params) == [space.sample(seed=seed, number=i) for i in range(4)]
    assert space.sample(seed=7, number=1) != space.sample(seed=1, number=7)


# ---- rankings ----


def finder(losses, steps=40):
    found = LRFinder(1e-4, 1.0, steps=steps, smoothing=0.0)
    found.rates = [float(i) for i in range(len(losses))]
    found.losses = list(losses)
    return found


def test_the_suggested_rate_is_where_the_loss_falls_most_steeply():
    losses = [2.0 - 0.01 * i for i in range(20)] + [1.8 - 0.2 * i for i in range(6)] + [0.8] * 4 + [5.0] * 10
    steepest = finder(losses).suggestion()
    assert 20 <= steepest <= 24
    assert finder(losses).suggestion() == finder([loss * 3 for loss in losses]).suggestion()
    late = (
        [2.0] * 10
        + [1.9]
        + [1.9 - 0.01 * i for i in range(15)]
        + [1.7 - 0.3 * i for i in range(5)]
        + [9.0] * 9
    )
    assert finder(late).suggestion() > 25
    with pytest.raises(ValueError, match="did not fall"):
        finder([1.0 + i for i in range(40)]).suggestion()
    with pytest.raises(ValueError, match="did not fall"):
        finder([1.0] * 40).suggestion()
    with pytest.raises(ValueError, match="call run first"):
        finder([]).suggestion()


def test_smoothing_has_no_bias_towards_its_start():
    found = LRFinder(1e-4, 1.0, smoothing=0.9)
    found.losses = [3.0] * 5
    assert found.smoothed() == pytest.approx([3.0] * 5)
    found.losses = [1.0, 2.0]
    assert found.smoothed() == pytest.approx([1.0, (0.9 * 0.1 * 1.0 + 0.1 * 2.0) / (1 - 0.81)])


def test_rates_rise_geometrically_and_the_sweep_ends_where_the_loss_explodes():
    xpnet.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    model = nn.Linear(4, 1)
    trainer = Trainer(model, F.mse_loss, optim.SGD(model, lr=0.1))
    found = LRFinder(1e-4, 1e-2, steps=11).run(trainer, DataLoader(Dataset(x, x[:, :1]), 32, seed=0))
    np.testing.assert_allclose(found.rates, 1e-4 * 100 ** (np.arange(11) / 10), rtol=1e-6)
    exploding = LRFinder(1e-3, 1e3, steps=200).run(trainer, DataLoader(Dataset(x, x[:, :1]), 32, seed=0))
    assert len(exploding.rates) < 200
    assert exploding.smoothed()[-1] > 4.0 * min(exploding.smoothed()) or not np.isfinite(exploding.losses[-1])


def test_findings_are_ranked_by_their_gravity():
    of = lambda *states: worst([Finding("x", s, 0.0, "") for s in states])
    assert of("PASS", "FAIL", "WARN") == "FAIL"
    assert of("WARN", "PASS") == of("PASS", "WARN") == "WARN"
    assert of("PASS") == of() == "PASS"
    assert largest({"a": 0.1, "b": 0.7, "c": 0.2}) == ("b", 0.7)
    assert largest({}) == ("", 0.0)
    both = judge("x", 1, "less", warn=True, fail=True, advice="change it")
    assert (both.status, both.advice) == ("FAIL", "change it")
    assert judge("x", 1, "less", warn=True, advice="a").status == "WARN"
    assert judge("x", 1, "less", advice="a").advice == ""


# ---- data ----


@pytest.mark.parametrize(
    "x", [np.float32(3.0), np.zeros((0, 2), np.float32), np.zeros((2, 0), np.float32), []]
)
@pytest.mark.parametrize("kind", [Standardize, MeanImage])
def test_nothing_to_fit(kind, x):
    with pytest.raises(ValueError, match=f"{kind.__name__}: nothing to fit"):
        kind().fit(x)


def test_a_picture_is_mirrored_left_to_right_and_comes_first():
    x = np.arange(12.0).reshape(1, 1, 3, 4)
    first, second = flips(x)
    assert np.array_equal(first, x)
    assert np.array_equal(second[0, 0], [[3, 2, 1, 0], [7, 6, 5, 4], [11, 10, 9, 8]])


# ---- files ----


def test_a_foreign_file_without_metadata_is_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"w": np.ones(2, np.float32)}, tmp_path / "foreign")
    with pytest.raises(ValueError, match="foreign: a safetensors file, but not one that xpnet saved"):
        load_arrays(tmp_path / "foreign")


def test_a_checkpoint_without_metadata_has_none(tmp_path):
    model = nn.Linear(2, 2)
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.1))
    trainer.fit(Dataset(np.eye(2, dtype=np.float32), np.arange(2)), epochs=1)
    trainer.save_checkpoint(tmp_path / "c")
    assert load_checkpoint(tmp_path / "c")["metadata"] == {}
    trainer.save_checkpoint(tmp_path / "c", {"note": 1})
    assert load_checkpoint(tmp_path / "c")["metadata"] == {"note": 1}


# ---- the command line's defaults ----


def test_data_and_the_settings_that_suit_them():
    from xpnet.cli.data import SOURCES, choose

    rows = {
        "digits": (1 / 8, (128, 64), 50, 32, "mlp", False, None),
        "mnist": (1 / 12, (256, 128), 10, 128, "mlp", False, None),
        "cifar10": (1 / 10, (256, 128), 30, 128, "cnn", True, None),
        "images": (1 / 8, (256, 128), 30, 32, "cnn", True, 64),
        "table": (1 / 10, (64, 32), 100, 32, "mlp", False, None),
        "text": (1 / 10, (), 10, 32, "gpt", False, None),
    }
    assert rows == {
        name: (s.validation, s.layers, s.epochs, s.batch_size, s.model, s.mirrored, s.size)
        for name, s in SOURCES.items()
    }
    train, validation, test = SOURCES["digits"].load(None)
    again = SOURCES["digits"].load(None)[2]
    assert (len(train), validation, len(test)) == (1438, None, 359)
    assert np.array_equal(test.x, again.x)
    given = lambda **words: SimpleNamespace(**{"dataset": None, "data": None, **words})
    assert choose(given(), "digits") == "digits"
    assert (
        choose(given(data="mnist"), "digits")
        == choose(given(dataset="mnist", data="mnist"), "digits")
        == "mnist"
    )


def test_where_curves_and_pictures_go(monkeypatch):
    from xpnet.cli import output
    from xpnet.cli.errors import BadInputError

    assert output.plot_path("none", "x") is None
    assert output.plot_path(None, "x") == "x.png"
    assert output.plot_path("a.SVG", "x") == "a.SVG"
    assert output.picture_path(None, "x.png", "--grid", True) == "x.png"
    assert output.picture_path(None, "x.png", "--grid", False) is None
    assert output.picture_path("a.pdf", "x.png", "--grid", False) == "a.pdf"
    assert output.picture_path("none", "x.png", "--grid", True) is None
    with pytest.raises(BadInputError, match=r"--grid a\.txt"):
        output.picture_path("a.txt", "x.png", "--grid", True)
    monkeypatch.setattr(output, "find_spec", lambda name: None)
    assert output.plot_path(None, "x") == "x.csv"
    assert output.plot_path("a.csv", "x") == "a.csv"
    assert output.picture_path(None, "x.png", "--grid", True) is None
    for call in (
        lambda: output.plot_path("a.png", "x"),
        lambda: output.picture_path("a.png", "x", "--grid", True),
    ):
        with pytest.raises(BadInputError, match="needs matplotlib"):
            call()


def test_the_table_of_confusions():
    from xpnet.cli.output import confusion_table

    assert confusion_table(np.array([[10, 0], [3, 7]])) == "         0   1\n     0  10   .\n     1   3   7"


def test_predictions_are_of_the_right_samples(tmp_path, monkeypatch, capsys):
    from xpnet.cli import main

    monkeypatch.chdir(tmp_path)
    scores = nn.Sequential(nn.Linear(3, 3, bias=False))
    scores[0].weight.data[...] = 5 * np.eye(3, dtype=np.float32)
    facts = {
        "kind": "mlp",
        "model": {"classes": 3},
        "shape": [3],
        "data": "digits",
        "class_names": ["a", "b", "c"],
    }
    one = Standardize().fit(np.float32([[-1, -1, -1], [1, 1, 1]]))
    xpnet.save(scores, "m", one, facts)
    np.save("x.npy", np.eye(3, dtype=np.float32)[[2, 0, 1, 1] * 4])
    assert main(["predict", "m", "--input", "x.npy", "--output", "p.csv"]) == 0
    lines = Path("p.csv").read_text().splitlines()
    assert lines[0] == "sample,prediction,probability"
    assert [line.split(",")[:2] for line in lines[1:5]] == [["0", "c"], ["1", "a"], ["2", "b"], ["3", "b"]]
    assert len(lines) == 17
    sure = np.exp(5) / (np.exp(5) + 2)
    assert float(lines[1].split(",")[2]) == pytest.approx(sure, rel=1e-5)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "16 samples from x.npy"
    assert printed[1].split() == ["sample", "prediction", "probability"]
    assert printed[2].split() == ["0", "c", f"{sure:.4f}"]
    assert printed[11].split()[0] == "9"
    assert printed[12:] == ["... 6 more", "saved the predictions in p.csv"]
    np.save("x.npy", np.eye(3, dtype=np.float32)[[0] * 10])
    assert main(["predict", "m", "--input", "x.npy"]) == 0
    assert "more" not in capsys.readouterr().out


def test_the_doctors_exit_code_and_file(tmp_path, monkeypatch, capsys):
    import json

    from xpnet.cli import doctor, main

    monkeypatch.chdir(tmp_path)
    for states, code in ((("PASS", "WARN"), 0), (("PASS", "FAIL", "WARN", "PASS"), 1)):
        found = [Finding(f"n{i}", s, float(i), "e") for i, s in enumerate(states)]
        seen = []
        monkeypatch.setattr(
            doctor, "examine", lambda *words, found=found, seen=seen: seen.append(words) or found
        )
        assert main(["doctor", "digits", "--layers", "4", "--steps", "17", "--json", "d.json"]) == code
        written = json.loads(Path("d.json").read_text())
        assert written["status"] == worst(found)
        assert [f["name"] for f in written["findings"]] == [f.name for f in found]
        assert written["data"] == "digits"
        assert written["seed"] == 0
        assert seen[0][-1] == 17
        counts = ", ".join(f"{states.count(s)} {s}" for s in ("PASS", "WARN", "FAIL"))
        assert capsys.readouterr().out.endswith("\n" + counts + "\n")


# ---- found by `python -m tests.mutants` ----


def test_ops_are_called_by_their_names():
    from xpnet.core import elementwise

    for name in ("maximum", "minimum"):
        assert getattr(elementwise, name).__name__ == name
    assert {op.__name__ for op in elementwise.OPS.values()} == set(elementwise.OPS)


def test_a_tangent_is_not_lost_in_numpy():
    with pytest.raises(TypeError, match="no NumPy array: that would lose its tangent"):
        xpnet.jvp(lambda x: np.asarray(x) * 2, (np.ones(2),), (np.ones(2),))


def test_objects_that_are_no_numbers_stay_objects():
    from xpnet.core.incoming import ordinary

    mixed = np.array([1, "a"], dtype=object)
    assert ordinary(mixed).dtype == object
    assert ordinary(np.array([1, 2.5], dtype=object)).dtype == np.float64


def test_a_tensor_as_an_array_of_numpy_is_copied_only_when_asked():
    x = xpnet.tensor([1.0, 2.0])
    assert np.shares_memory(np.asarray(x), x.data)
    assert not np.shares_memory(np.array(x, copy=True), x.data)
    assert np.asarray(x, dtype="float64").dtype == np.float64


@pytest.mark.parametrize("fused", [False, True])
def test_one_sample_without_its_axis_has_the_gradient_of_a_batch_of_one(fused):
    values, label = np.float32([0.5, -1.0, 2.0]), np.int64(1)
    with xpnet.fused(fused):
        alone, batch = (
            xpnet.tensor(values, requires_grad=True),
            xpnet.tensor(values[None], requires_grad=True),
        )
        one, several = F.cross_entropy(alone, label), F.cross_entropy(batch, np.array([label]))
        one.backward()
        several.backward()
    assert float(one.item()) == float(several.item())
    assert alone.grad.shape == (3,)
    assert xpnet.to_numpy(alone.grad).tolist() == xpnet.to_numpy(batch.grad)[0].tolist()
    shares = np.exp(values) / np.exp(values).sum()
    np.testing.assert_allclose(xpnet.to_numpy(alone.grad), shares - [0, 1, 0], atol=1e-6)


def test_what_a_gradient_needs_may_not_be_written_over_and_the_rest_may():
    from xpnet.core import operators as ops

    x = xpnet.tensor([1.0, 2.0], requires_grad=True)
    for op, keeps in ((ops.sum, False), (ops.exp, True), (ops.log, True)):
        assert op.keeps is keeps
    y = x + 1.0
    total = ops.sum(y)
    with xpnet.no_grad():
        y[0] = 5.0
    total.backward()
    assert xpnet.to_numpy(x.grad).tolist() == [1.0, 1.0]


def test_a_checkpoint_that_cannot_be_written_is_refused_before_training(tmp_path):
    from xpnet.train import Callback, Checkpoint

    (tmp_path / "taken").mkdir()
    model, batches = nn.Linear(2, 2), []

    class Count(Callback):
        def on_batch_end(self, run):
            batches.append(run.step)

    trainer = Trainer(
        model, cross_entropy, optim.SGD(model, lr=0.1), [Checkpoint(tmp_path / "taken"), Count()]
    )
    with pytest.raises(OSError, match=r"cannot write .*taken"):
        trainer.fit(Dataset(np.eye(2, dtype=np.float32), np.arange(2)), epochs=1)
    assert batches == []


@pytest.mark.parametrize("fused", [False, True])
def test_weights_of_the_binary_cross_entropy_multiply(fused):
    z, t = np.array([[0.3, -2.0], [1.5, 0.1]]), np.array([[1.0, 0.0], [0.25, 1.0]])
    w, q = np.array([[2.0, 0.5], [3.0, 0.25]]), np.array([4.0, 0.5])
    s = 1 / (1 + np.exp(-z))
    expected = -w * (q * t * np.log(s) + (1 - t) * np.log(1 - s))
    with xpnet.fused(fused):
        logits = xpnet.tensor(z, requires_grad=True, dtype="float64")
        loss = F.binary_cross_entropy_with_logits(logits, t, weight=w, pos_weight=q, reduction="none")
        loss.sum().backward()
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(logits.grad, w * ((1 - t) * s - q * t * (1 - s)), rtol=1e-12)


def test_an_axis_has_two_names_of_which_one_is_used():
    x = xpnet.asarray([[1.0, 2.0], [3.0, 5.0]])
    assert np.array_equal(F.softmax(x, dim=0), F.softmax(x, axis=0))
    assert not np.array_equal(F.softmax(x, dim=0), F.softmax(x))
    assert np.array_equal(F.softmax(x), F.softmax(x, axis=-1))
    with pytest.raises(TypeError, match="axis and dim are one thing"):
        F.softmax(x, axis=0, dim=0)


def test_a_size_is_one_number_or_two():
    x = xpnet.asarray(np.arange(16.0, dtype=np.float32).reshape(1, 1, 4, 4))
    assert (
        F.max_pool2d(x, 2).shape
        == F.max_pool2d(x, (2,)).shape
        == F.max_pool2d(x, (2, 2)).shape
        == (1, 1, 2, 2)
    )
    assert F.max_pool2d(x, [2, 4]).shape == (1, 1, 2, 1)
    with pytest.raises(ValueError, match="or a pair of them"):
        F.max_pool2d(x, (2, 2, 2))
