"""The page about a training run."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import xpnet
from xpnet import nn, optim
from xpnet.cli import main
from xpnet.data import Dataset
from xpnet.functional import cross_entropy, mse_loss
from xpnet.train import (
    Callback,
    Diagnostics,
    EarlyStopping,
    Finding,
    History,
    Report,
    Trainer,
    TrainingDivergedError,
    write_report,
)

pytest.importorskip("matplotlib")

VOID = {"meta", "br", "img", "hr", "link", "input"}


class Page(HTMLParser):
    """Reads a page and insists that elements nest, ids are unique, and nothing is loaded from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.uses, self.text, self.tags = [], [], [], "", []
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(set(self.ids)) == len(self.ids)
        assert set(self.uses) <= set(self.ids)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.look(attributes)

    def handle_startendtag(self, tag, attributes):
        self.look(attributes)

    def look(self, attributes):
        for name, value in attributes:
            assert not name.startswith("on")
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href"):
                assert value.startswith(("#", "data:image/png;base64,")), value
            if name == "xlink:href" and value.startswith("#"):
                self.uses.append(value[1:])
            self.uses += re.findall(r"url\(#([^)]*)\)", value or "")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


def read(path):
    text = Path(path).read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert set(re.findall(r'https?://[^"\s]*', text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    return page


def digits_like(n=120, seed=0, classes=4):
    """Pictures of 5 by 5 pixels: a noisy bright row tells the class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    x = rng.normal(size=(n, 1, 5, 5)).astype(np.float32)
    x[np.arange(n), 0, y] += 1.5
    return Dataset(x, y)


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(25, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))


class Always(Callback):
    """At the end, make the last layer say one class."""

    def __init__(self, label):
        self.label = label

    def on_fit_end(self, trainer):
        state = trainer.model.state_dict()
        state["4.weight"] = state["4.weight"] * 0
        state["4.bias"] = xpnet.asarray(np.eye(4, dtype=np.float32)[self.label])
        trainer.show(state)


def history(epochs=3, **columns):
    found = History()
    for epoch in range(epochs):
        found.append({"train_loss": 1.0 / (1 + epoch), "lr": 0.1, "seconds": 0.5, **columns})
    return found


@pytest.mark.host
def test_report_of_a_run(tmp_path):
    path = tmp_path / "run.html"
    model = network()
    report = Report(path, title="Rows & columns", metadata={"idea": "a < b"}, every=5)
    callbacks = [report, EarlyStopping(), Always(1)]  # the report is of what these two leave
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.05), callbacks)
    trainer.fit(digits_like(), digits_like(seed=1), epochs=4)
    page = read(path)
    for heading in (
        "Rows & columns",
        "Diagnostics",
        "Learning curves",
        "Confusion matrix",
        "Worst mistakes",
        "Activations by layer",
        "Update ratios by layer",
        "Gradients by layer",
    ):
        assert page.text.count(heading) >= 1, heading
    assert page.tags.count("svg") == 7
    assert "a < b" in page.text
    assert "SGD(lr=0.05, " in page.text
    assert "seed0" in page.text  # a row of the table
    assert f"xpnet {xpnet.__version__}" in page.text
    assert "4 epochs in" in page.text
    for name, kind in (("1", "Linear"), ("2", "BatchNorm1d"), ("3", "ReLU"), ("4", "Linear")):
        assert f"{name} {kind}" in page.text
    assert all(f"{f.status}{f.name}" in page.text for f in report.findings())
    scores = xpnet.to_numpy(trainer.predict(digits_like(seed=1).x))
    right = int((digits_like(seed=1).y == 1).sum())
    assert (scores.argmax(axis=1) == 1).all()
    assert f"{right} of 120 right: accuracy {right / 120:.2%}" in page.text


@pytest.mark.host
def test_the_worst_mistakes_come_first(tmp_path):
    path = tmp_path / "run.html"
    scores = np.array([[2.0, 0.0], [0.0, 9.0], [3.0, 0.0], [0.0, 1.0]])
    write_report(path, history(), scores=scores, targets=[0, 0, 1, 0], class_names=["<cat>", "dog & co"])
    text = read(path).text
    assert "1<cat>dog & co1.00092dog & co<cat>0.9533.053<cat>dog & co0.7311.31" in text
    assert "1 of 4 right" in text
    pictures = np.random.default_rng(0).random((4, 1, 6, 6))
    write_report(path, history(), scores=scores, targets=[0, 0, 1, 0], pictures=pictures)
    text = read(path).text
    assert text.index("100% sure") < text.index("95% sure") < text.index("73% sure")
    write_report(path, history(), scores=scores[[0, 2]], targets=[0, 0])
    assert "Worst mistakes" not in read(path).text
    with pytest.raises(ValueError, match="with n targets"):
        write_report(path, history(), scores=scores, targets=[0])


@pytest.mark.host
def test_everything_from_outside_is_escaped(tmp_path):
    path = tmp_path / "run.html"
    evil = "<script>alert(1)</script>"
    write_report(
        path,
        history(),
        title=evil,
        metadata={evil: evil},
        findings=[Finding(evil, "WARN", 1.0, evil, evil, evil)],
        scores=np.eye(2),
        targets=[1, 0],
        class_names=[evil, "b$_$"],
    )
    text = read(path).text
    assert text.count(evil) >= 9
    assert text.count("b$_$") >= 3
    write_report(
        path,
        history(),
        scores=np.eye(2),
        targets=[1, 0],
        pictures=np.ones((2, 4, 4)),
        class_names=["a", "$_$"],
    )
    assert "a, not $_$" in read(path).text


@pytest.mark.host
def test_the_same_run_gives_the_same_figures(tmp_path):
    write_report(tmp_path / "a.html", history(val_accuracy=0.5))
    write_report(tmp_path / "b.html", history(val_accuracy=0.5))
    first, second = (
        re.findall(r"<svg.*?</svg>", (tmp_path / f"{name}.html").read_text(), re.S) for name in "ab"
    )
    assert len(first) == 1
    assert first == second


@pytest.mark.host
def test_a_run_without_labels_and_without_validation(tmp_path):
    x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    model = nn.Sequential(nn.Linear(3, 1))
    path = tmp_path / "run.html"
    Trainer(model, mse_loss, optim.SGD(model, lr=0.1), [Report(path)]).fit((x, x[:, :1]), epochs=1)
    assert "Confusion" not in read(path).text


@pytest.mark.host
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_run_that_diverges_has_a_report(tmp_path):
    path = tmp_path / "run.html"
    model = network()
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=1e30), [Report(path, every=1)])
    with pytest.raises(TrainingDivergedError):
        trainer.fit(digits_like(), digits_like(seed=1), epochs=3)
    text = read(path).text
    assert "No epoch was completed." in text
    assert "FAILupdate ratio" in text


@pytest.mark.host
def test_a_deep_network_shows_some_of_its_layers(tmp_path, monkeypatch):
    monkeypatch.setattr("xpnet.report.figures._SHOWN", 3)
    layers = [layer for _ in range(4) for layer in (nn.Linear(4, 4), nn.Tanh())]
    model, watch = nn.Sequential(nn.Dropout(0.1), *layers, nn.Linear(4, 2)), Diagnostics()
    x = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.1), [watch])
    trainer.fit((x, np.arange(32) % 2), epochs=1)
    write_report(tmp_path / "run.html", trainer.history, observations=watch.observations)
    text = read(tmp_path / "run.html").text
    assert re.findall(r"\d (?:Linear|Tanh|Dropout)", text) == ["1 Linear", "5 Linear", "9 Linear"]
    assert set(re.findall(r"\d\.weight", text)) == {"1.weight", "5.weight", "9.weight"}


# ---- refused before training ----


class Never(nn.Module):
    def __init__(self):
        self.layer, self.ran = nn.Linear(2, 2), False

    def forward(self, x):
        self.ran = True
        return self.layer(x)


@pytest.mark.host
def test_refused_before_training(tmp_path, monkeypatch):
    model = Never()
    data = np.zeros((4, 2), dtype=np.float32), np.zeros(4, dtype=np.int64)

    def fit(path):
        Trainer(model, cross_entropy, optim.SGD(model, lr=0.1), [Report(path)]).fit(data, epochs=1)

    with pytest.raises(OSError, match="cannot write"):
        fit(tmp_path / "no" / "run.html")
    with pytest.raises(OSError, match="it is a folder"):
        fit(tmp_path)
    monkeypatch.setattr("xpnet.report.report.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'needs matplotlib: pip install "xpnet\[plot\]"'):
        fit(tmp_path / "run.html")
    with pytest.raises(ImportError, match="matplotlib"):
        write_report(tmp_path / "run.html", history())
    assert list(tmp_path.iterdir()) == []
    assert not model.ran


# ---- the command line ----


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with xpnet.use_backend("numpy"):
        yield tmp_path


@pytest.mark.host
def test_the_command_line_writes_a_report(folder, capsys):
    options = ["train", "digits", "--epochs", "2", "--save", "none", "--plot", "none", "--seed", "3"]
    assert main([*options, "--report", "the run.html"]) == 0
    printed = capsys.readouterr().out
    assert "saved the page about this run in the run.html" in printed
    page = read("the run.html")
    command = "xpnet train digits --epochs 2 --save none --plot none --seed 3 --report 'the run.html'"
    assert f"command{command}" in page.text
    assert "digits, network 64-128-64-10" in page.text
    assert "samples1258 training, 180 validation, 359 test" in page.text
    assert "endedas planned" in page.text
    accuracy = re.search(r"test accuracy ([\d.]+%)", printed)[1]
    assert f"accuracy {accuracy}" in page.text
    assert page.text.count("% sure") > 0
    assert Path("the run.html").stat().st_size < 2_000_000
    assert [p.name for p in folder.iterdir()] == ["the run.html"]


@pytest.mark.host
def test_the_command_line_reports_a_failure(folder, capsys):
    pytest.importorskip("safetensors")
    options = ["train", "digits", "--epochs", "2", "--optimizer", "sgd", "--lr", "1e30"]
    assert main([*options, "--report", "run.html"]) == 1
    assert "only run.html was written" in capsys.readouterr().err
    text = read("run.html").text
    assert "endedthe training loss is nan" in text
    assert [p.name for p in folder.iterdir()] == ["run.html"]


@pytest.mark.host
def test_the_command_line_refuses_before_training(folder, capsys, monkeypatch):
    options = ["train", "digits", "--save", "none", "--plot", "none", "--report"]
    assert main([*options, "run.pdf"]) == 2
    assert "expected a name that ends in .html" in capsys.readouterr().err
    assert main([*options, "no/run.html"]) == 2
    assert "cannot write no/run.html" in capsys.readouterr().err
    monkeypatch.setattr("xpnet.report.report.find_spec", lambda name: None)
    assert main([*options, "run.html"]) == 2
    captured = capsys.readouterr()
    assert 'pip install "xpnet[plot]"' in captured.err
    assert captured.out == ""
