"""What the page says: its numbers, and which parts it has."""

import re
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import xpnet
from tests.report.test_report import digits_like, history, network, read
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset
from xpnet.diagnostics.observe import Layer, Observation, Weight
from xpnet.functional import cross_entropy, mse_loss
from xpnet.report import page
from xpnet.report.report import _describe, _processor, _scored, environment
from xpnet.train import EarlyStopping, Finding, History, Report, Trainer, write_report

pytestmark = pytest.mark.host


def run_of(**columns):
    found = History()
    for values in zip(*columns.values(), strict=True):
        found.append(dict(zip(columns, values, strict=True)))
    return found


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"train_loss": [1.5], "lr": [0.25]}, "1 epoch in 0.0 s; the last one: train loss 1.5, lr 0.25."),
        (
            {"train_loss": [2.0, 1.0], "seconds": [1.25, 2.5]},
            "2 epochs in 3.8 s; the last one: train loss 1.",
        ),
        (
            {"val_loss": [np.nan, 0.5, 0.25, 3.0], "seconds": [1] * 4},
            "4 epochs in 4.0 s; the last one: val loss 3. Lowest validation loss: 0.25 in epoch 3.",
        ),
        ({"val_loss": [np.nan, np.inf]}, "2 epochs in 0.0 s; the last one: val loss inf."),
    ],
)
def test_summary(columns, expected):
    assert page.summary_part(run_of(**columns)) == [f"<p>{expected}</p>"]


def test_without_epochs_there_are_no_curves():
    assert page.summary_part(History()) == ["<p>No epoch was completed.</p>"]
    assert page.curves_part(History()) == []
    heading, figure = page.curves_part(history())
    assert heading == "<h2>Learning curves</h2>"
    assert "<figcaption>" not in figure


def test_findings():
    assert page.findings_part([]) == []
    long = Finding("loss", "FAIL", 1234.56, "about 2", "Lower it.", "layer 3")
    heading, table = page.findings_part([long, Finding("rest", "PASS", 1.0, "below 2")])
    assert heading == "<h2>Diagnostics</h2>"
    assert re.findall(r"<tr>.*?</tr>", table) == [
        '<tr><td class="FAIL">FAIL</td><td>loss</td><td>1235</td><td>expected about 2; layer 3'
        '<br><span class="advice">Lower it.</span></td></tr>',
        '<tr><td class="PASS">PASS</td><td>rest</td><td>1</td><td>expected below 2</td></tr>',
    ]


@pytest.mark.parametrize(("layers", "axes"), [(True, 2), (True, 1), (False, 2), (False, 1)])
def test_inside_has_the_parts_that_were_seen(monkeypatch, layers, axes):
    """Where no layer was seen, or no weight, nothing is said about them."""
    sample = np.float32([1, 3])
    look = Observation(
        1, [Layer("0", "Linear", sample)] * layers, [Weight("0.weight", axes, sample, sample, 0.125)]
    )
    shown = {}

    def keep(seen, measure, title, name, real=page.by_layer):
        shown[name] = measure(seen[0].weights[0]), title
        return real(seen, measure, title, name)

    monkeypatch.setattr(page, "by_layer", keep)
    headings = [part[4:-5] for part in page.inside_part([look]) if part.startswith("<h2>")]
    expected = ["Activations by layer"] * layers
    assert headings == expected + ["Update ratios by layer", "Gradients by layer"] * (axes > 1)
    ratios = {"update-ratios": (0.125, "|update| / |weights|"), "gradients": (1.0, "std of the gradient")}
    assert shown == (ratios if axes > 1 else {})


# ---- the mistakes ----


def test_the_confusion_matrix_has_true_rows(monkeypatch):
    found = []
    monkeypatch.setattr(page, "confusion", lambda matrix, names: found.append((matrix.tolist(), names)) or "")
    scores = np.eye(3)[[1, 1, 0, 2]]
    page.classification_part(scores, [0, 0, 0, 2], None, None)
    assert found == [([[1, 2, 0], [0, 0, 0], [0, 0, 1]], ["0", "1", "2"])]


def test_of_many_mistakes_the_worst_are_shown():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(60, 2)).cumsum(axis=0)
    labels = 1 - scores.argmax(axis=1)
    loss = np.log1p(np.exp(np.abs(scores[:, 0] - scores[:, 1])))  # of the other of two classes
    parts = page.classification_part(scores, labels, None, None)
    rows = re.findall(r"<tr><td>(\d+)</td><td>(\d)</td><td>(\d)</td><td>(.*?)</td><td>(.*?)</td>", parts[-1])
    worst = np.argsort(-loss, kind="stable")[:24]
    assert [int(row[0]) for row in rows] == worst.tolist()
    assert [(int(t), int(p)) for _, t, p, _, _ in rows] == [(labels[i], 1 - labels[i]) for i in worst]
    assert [row[3:] for row in rows] == [(f"{1 - np.exp(-loss[i]):.3f}", f"{loss[i]:.3g}") for i in worst]


def test_the_pictures_are_those_of_the_mistakes(monkeypatch):
    found = []
    monkeypatch.setattr(page, "mistakes", lambda pictures, titles: found.append((pictures, titles)) or "")
    pictures = np.random.default_rng(0).random((4, 5, 5))
    scores = np.array([[0, 1], [3, 0], [0, 9], [2, 0]])
    page.classification_part(scores, xpnet.asarray(np.array([0, 0, 0, 1])), xpnet.asarray(pictures), "ab")
    ((shown, titles),) = found
    np.testing.assert_array_equal(shown, pictures[[2, 3, 0]])
    assert titles == ["a, not b\n100% sure", "b, not a\n88% sure", "a, not b\n73% sure"]


def test_scores_that_are_not_finite_are_mistakes_like_others():
    scores = np.array([[np.nan, 1.0], [0.0, np.inf], [-np.inf, 0.0]])
    text = "".join(page.classification_part(scores, [1, 1, 0], None, None))
    assert "nan" not in text.lower().replace("nanum", "")


@pytest.mark.parametrize(
    ("scores", "targets"),
    [((3, 2), None), ((3, 2), [0, 1]), ((3, 2), [0, 1, 0, 1]), ((3,), [0, 1, 1]), ((3, 2, 1), [0, 1, 1])],
)
def test_scores_and_targets_that_do_not_fit_are_refused(tmp_path, scores, targets):
    with pytest.raises(ValueError, match=r"scores are \(3.*; expected \(n, K\), with n targets"):
        write_report(tmp_path / "r.html", history(), scores=np.ones(scores), targets=targets)
    assert list(tmp_path.iterdir()) == []


# ---- the run ----


def test_given_rows_come_first_and_replace_those_of_the_environment(tmp_path):
    write_report(tmp_path / "r.html", history(), metadata={"idea": 1, "seed": "mine"}, title="T")
    text = (tmp_path / "r.html").read_text()
    rows = re.findall(r"<tr><th>(.*?)</th><td><code>(.*?)</code></td></tr>", text)
    assert rows[:2] == [("idea", "1"), ("seed", "mine")]
    names = [name for name, _ in rows]
    assert names == ["idea", "seed", "command", "folder", "backend", "versions", "machine", "written"]
    assert text.count("<title>T</title>") == text.count("<h1>T</h1>") == 1
    write_report(tmp_path / "r.html", history())
    assert "<h1>Training report</h1>" in (tmp_path / "r.html").read_text()


def test_environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "orig_argv", ["python", "my run.py"])
    xpnet.manual_seed(1234)
    with xpnet.use_backend("array_api_strict", "device1"):
        found = environment()
    assert re.fullmatch(r"array_api_strict, device .*device1\W*", found["backend"])
    assert (found["command"], found["seed"]) == ("python 'my run.py'", "1234")
    assert found["folder"] == str(tmp_path)
    versions = dict(word.rsplit(" ", 1) for word in found["versions"].split(", "))
    assert versions["numpy"] == np.__version__
    assert versions["Python"] == ".".join(map(str, sys.version_info[:3]))
    with xpnet.use_backend("numpy"):
        assert environment()["backend"] == "numpy"


def test_the_processor_has_a_name(monkeypatch):
    class File:
        text = "processor\t: 0\nmodel name\t: A: fast one\nflags\t: x\nmodel name\t: B\n"

        def __init__(self, path):
            assert path == "/proc/cpuinfo"

        def read_text(self):
            if self.text is None:
                raise FileNotFoundError
            return self.text

    monkeypatch.setattr("xpnet.report.report.Path", File)
    assert _processor() == "A: fast one"
    for text in (None, "processor : 0\n"):
        monkeypatch.setattr(File, "text", text)
        monkeypatch.setattr("platform.processor", lambda: "")
        monkeypatch.setattr("platform.machine", lambda: "arch")
        assert _processor() == "arch"
        monkeypatch.setattr("platform.processor", lambda: "named")
        assert _processor() == "named"


def test_optimizers_are_described():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    parts = {"a": optim.SGD(model[0], lr=0.5), "b": optim.SGD(model[1], lr=0.25, momentum=0.5)}
    alone = _describe(parts["a"])
    assert alone.startswith("SGD(lr=0.5, momentum=0")
    assert _describe(parts) == f"a: {alone}, b: {_describe(parts['b'])}"


# ---- what is judged ----


def test_data_of_a_classifier_is_scored():
    data, model = digits_like(n=30), network()
    model.eval()
    found = _scored(model, data)
    scores = xpnet.to_numpy(model(xpnet.tensor(data.x)))
    np.testing.assert_allclose(found["scores"], scores, rtol=1e-5, atol=1e-6)
    assert found["targets"].tolist() == data.y.tolist()
    assert (found["pictures"].min(), found["pictures"].max()) == (0, 1)
    spread = np.ptp(data.x)
    np.testing.assert_allclose(found["pictures"], (data.x - data.x.min()) / spread, rtol=1e-5, atol=1e-6)
    assert found["class_names"] == data.class_names
    doubled = _scored(model, DataLoader(data, 7, transform=lambda x: x * 2))
    scores = xpnet.to_numpy(model(xpnet.tensor(data.x * 2)))
    np.testing.assert_allclose(doubled["scores"], scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(doubled["pictures"], found["pictures"])  # as they are, not as they are fed


@pytest.mark.parametrize(
    ("shape", "shown"),
    [((1, 5, 5), True), ((3, 5, 5), True), ((2, 5, 5), False), ((5, 5), True), ((25,), False)],
)
def test_pictures_have_one_or_three_channels(shape, shown):
    x = np.ones((4, *shape), np.float32)  # all alike
    model = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 2))
    pictures = _scored(model, Dataset(x, np.array([0, 1, 0, 1])))["pictures"]
    assert (pictures is not None) == shown
    if shown:
        assert pictures.shape == x.shape
        assert not pictures.any()


@pytest.mark.parametrize(
    "data",
    [
        None,
        [(np.ones((2, 25), np.float32), np.array([0, 1]))],
        Dataset(np.ones((2, 25), np.float32), np.ones(2, np.float32)),
        Dataset(np.ones((2, 25), np.float32), np.ones((2, 1), np.int64)),
    ],
    ids=["none", "batches", "numbers", "several labels"],
)
def test_other_data_is_not_scored(data):
    assert _scored(nn.Linear(25, 4), data) == {}


def test_outputs_that_are_no_scores_are_not_scored():
    class Flat(nn.Module):
        def forward(self, x):
            return x[:, 0]

    assert _scored(Flat(), Dataset(np.ones((2, 3), np.float32), np.array([0, 1]))) == {}


def test_a_report_judges_the_validation_data_or_its_own(tmp_path):
    def text(data):
        model, path = network(), tmp_path / "r.html"
        report = Report(path, data, every=2)
        trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.05), [EarlyStopping(), report])
        trainer.fit(digits_like(), digits_like(n=40, seed=1), epochs=1)
        assert [o.step for o in report.observations] == list(range(1, trainer.step + 1, 2))
        return read(path).text

    assert " of 40 right" in text(None)
    own = digits_like(n=50, seed=2)
    assert " of 50 right" in text(own)
    assert " of 50 right" in text((own.x, own.y))


def test_given_metadata_replaces_the_optimizer_of_a_report(tmp_path):
    x = np.ones((8, 3), np.float32)
    model = nn.Sequential(nn.Linear(3, 1))
    report = Report(tmp_path / "r.html", metadata={"optimizer": "mine"})
    Trainer(model, mse_loss, optim.SGD(model, lr=0.1), [report]).fit((x, x[:, :1]), epochs=1)
    text = read(tmp_path / "r.html").text
    assert "optimizermine" in text
    assert "SGD(" not in text


def test_a_run_that_did_not_begin_writes_nothing(tmp_path):
    """Nor does it end with an error of its own."""
    model, report = network(), Report(tmp_path / "no" / "r.html")
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.05), [report])
    with pytest.raises(OSError, match="cannot write"):
        trainer.fit(digits_like(), epochs=1)
    report.on_fit_end(trainer)
    assert list(tmp_path.iterdir()) == []
