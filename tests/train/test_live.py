"""Pages and pictures of a run: while it goes on, in a notebook, as a figure."""

import base64
import io
import pickle
import re
import subprocess
import sys
import warnings
from html.parser import HTMLParser

import numpy as np
import pytest

import xpnet
from xpnet import nn, optim
from xpnet.cli import main
from xpnet.core.html import chart, picture, table
from xpnet.data import load_digits
from xpnet.functional import cross_entropy
from xpnet.train import Callback, Diagnostics, History, Live, Progress, Trainer
from xpnet.train.progress import quiet

pytestmark = pytest.mark.host


class Checked(HTMLParser):
    """Every element is closed, in order; collects what is fetched from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elsewhere = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)
        self.elsewhere += [v for k, v in attrs if k in ("src", "href") and v]

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def run(path, *more, epochs=3, live=True, **options):
    xpnet.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    look = Diagnostics(every=20)
    shown = [Live(path, "a <run>", look, **options)] if live else []
    trainer = Trainer(model, cross_entropy, optim.Adam(model), [look, *shown, *more])
    return trainer.fit(load_digits(), load_digits(), epochs=epochs)


def test_the_page_grows_with_the_run_and_ends(tmp_path):
    pages = []

    class Look(Callback):
        last = True

        def on_epoch_end(self, trainer):
            pages.append((tmp_path / "l.html").read_text())

    run(tmp_path / "l.html", Look())
    pages.append((tmp_path / "l.html").read_text())
    for k, page in enumerate(pages):
        assert Checked(page).elsewhere == ["data:,"]
        assert ('http-equiv="refresh"' in page) == (k < 3)
        assert ("a &lt;run&gt;" in page, "<run>" in page) == (True, False)
        for part in ("loss", "measures", "learning rate", "update ratios", "0.weight: values", "dead units"):
            assert part in page
    assert "2 of 3 epochs" in pages[1]
    assert "ended after 3 epochs" in pages[3]


def test_samples_are_shown_with_what_the_network_says(tmp_path, monkeypatch):
    monkeypatch.setattr("xpnet.train.live._SECONDS", 0.0)  # a page an update, too
    data = load_digits()
    few = data.subset(range(40))
    pages, states = [], set()

    class Look(Callback):
        last = True

        def on_batch_end(self, trainer):
            states.add(re.search("<p>(.*?)</p>", (tmp_path / "l.html").read_text())[1])

        def on_fit_end(self, trainer):
            pages.append((tmp_path / "l.html").read_text())
            pages.append(xpnet.to_numpy(trainer.predict(few.x[:12])))

    # the pictures are looked at, the samples predicted: they need not be alike
    pictures = 255 * np.eye(8)[None].repeat(40, axis=0)
    options = {"samples": few, "pictures": pictures}
    shown = run(tmp_path / "l.html", Look(), **options)
    plain = run(None, live=False)
    measured = [key for key in plain if key != "seconds"]
    assert [shown[key] for key in measured] == [plain[key] for key in measured]  # nothing but shown
    assert {"epoch 1 of 3, update 2", "epoch 2 of 3, update 60"} <= {s.split(", loss")[0] for s in states}
    page, scores = pages
    said = re.findall('figcaption class="(PASS|FAIL)">(\\d) ', page)
    wrong = scores.argmax(axis=1) != few.y[:12]
    assert [int(digit) for _, digit in said] == scores.argmax(axis=1).tolist()
    assert [verdict == "FAIL" for verdict, _ in said] == wrong.tolist()
    image = pytest.importorskip("PIL.Image")
    png = base64.b64decode(re.search('base64,([^"]*)"', page)[1])
    assert np.array_equal(np.asarray(image.open(io.BytesIO(png))), 255 * np.eye(8, dtype=np.uint8))
    colours = np.arange(24, dtype=np.uint8).reshape(3, 2, 4)
    png = base64.b64decode(re.search('base64,([^"]*)"', picture(colours))[1])
    assert np.array_equal(np.asarray(image.open(io.BytesIO(png))), colours.transpose(1, 2, 0))
    with pytest.raises(ValueError, match=r"samples of shape \(64,\) are no pictures: give `pictures`"):
        Live(tmp_path / "l.html", samples=data)


NOTEBOOK = """
from xpnet import nn, optim
from xpnet.data import load_digits
from xpnet.functional import cross_entropy
from xpnet.train import Diagnostics, Live, Trainer

model, look = nn.Sequential(nn.Linear(64, 10)), Diagnostics(every=20)
digits = load_digits()
live = Live(None, "in a cell", look, digits, load_digits(flatten=False).x)
trainer = Trainer(model, cross_entropy, optim.Adam(model), [look, live])
history = trainer.fit(digits, digits, epochs=3)
"""


def test_the_panel_in_a_notebook(tmp_path):
    pytest.importorskip("ipykernel")
    client, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    with pytest.raises(RuntimeError, match="Live without a path is for notebooks"):
        run(None)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK)])
    updates = []

    class Client(client.NotebookClient):
        def process_message(self, message, cell, index):
            if message["msg_type"] == "update_display_data":
                updates.append(message["content"]["data"]["text/html"])
            return super().process_message(message, cell, index)

    Client(book, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    states = [re.search("<p>(.*?)</p>", page)[1] for page in updates if "update" not in page.split("</p>")[0]]
    assert states == ["epoch 1 of 3", *(f"{k} of 3 epochs" for k in (1, 2, 3)), "ended after 3 epochs"]
    (output,) = book.cells[0].outputs  # one place, and nothing else is printed
    page = output["data"]["text/html"]
    assert page == updates[-1]
    for part in (
        "in a cell",
        "learning rate",
        "update ratios",
        "0.weight: values",
        "figcaption",
        "dead units",
    ):
        assert part in page
    assert all(link.startswith("data:") for link in Checked(page).elsewhere)


def test_the_curves_are_where_the_values_are():
    svg = chart("loss", {"a": [4.0, 3.0, 2.0], "b": [2.0, float("nan"), 3.0]})
    points = [tuple(map(float, p.split(","))) for p in re.search('points="([^"]*)"', svg)[1].split()]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert (x1 - x0, y1 - y0) == (pytest.approx(x2 - x1, abs=0.2), pytest.approx(y2 - y1, abs=0.2))
    assert x0 < x1
    assert y0 < y1  # down the page is smaller
    assert svg.count("<polyline") == 1
    assert svg.count("<circle") == 2  # a gap on either side
    Checked(svg)


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0], [float("inf")], [0.0, 0.0], [-1e300, 1e300]])
def test_any_values_are_drawn(values):
    svg = chart("t", {"a": values})
    assert "nan" not in svg
    assert "inf" not in svg


def test_a_page_that_cannot_be_written_ends_no_run(tmp_path):
    (tmp_path / "d").mkdir()

    class Remove(Callback):
        def on_epoch_end(self, trainer):
            if (tmp_path / "d").exists():
                for file in (tmp_path / "d").iterdir():
                    file.unlink()
                (tmp_path / "d").rmdir()

    assert run(tmp_path / "d" / "l.html", Remove()).epochs == 3
    with pytest.raises(OSError, match=r"l\.html"):
        Live(tmp_path / "nowhere" / "l.html")


def test_a_history_is_plotted_and_shown():
    pytest.importorskip("matplotlib")
    history = History()
    with pytest.raises(ValueError, match="no epoch was completed"):
        history.plot()
    assert history._repr_html_() == "<p>no epochs yet</p>"
    for k in range(3):
        history.append(
            {"train_loss": 3.0 - k, "val_loss": 2.5, "val_accuracy": 0.5, "lr": 0.1, "seconds": 1.0}
        )
    loss, accuracy, rate = history.plot().axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [[3.0, 2.0, 1.0], [2.5] * 3]
    assert [line.get_ydata().tolist() for line in accuracy.lines] == [[0.5] * 3]
    assert len(rate.lines) == 1
    assert len(history.plot(["val_loss"]).axes) == 1
    with pytest.raises(KeyError, match="no 'loss' in this history"):
        history.plot(["loss"])
    Checked(history._repr_html_())


def test_a_plot_is_a_picture_in_a_kernel_without_pyplot():
    """IPython's own formatter, to which nobody has told what a figure is."""
    pytest.importorskip("matplotlib")
    formatter = pytest.importorskip("IPython.core.formatters").DisplayFormatter()
    history = History()
    history.append({"train_loss": 3.0, "lr": 0.1})
    figure = history.plot()
    shown, _ = formatter.format(figure)
    assert shown["image/png"].startswith(b"\x89PNG")
    assert len(pickle.loads(pickle.dumps(figure)).axes) == 2


def test_notebooks_show_models_optimizers_and_tensors():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.BatchNorm1d(4))
    page = model._repr_html_()
    Checked(page)
    assert "Sequential, 24 parameters" in page
    for cell in ("Linear(", "(4, 3), (4,)", "<td>16</td>", "ReLU(", "<td>0</td>", "<td>8</td>"):
        assert cell in page
    page = optim.SGD(model, lr=0.25, momentum=0.5)._repr_html_()
    Checked(page)
    for cell in ("SGD", "<th>lr</th>", "<td>0.25</td>", "<td>0.5</td>", "<td>24</td>"):
        assert cell in page
    page = xpnet.tensor([[1.0, 2.0]], requires_grad=True)._repr_html_()
    Checked(page)
    assert "tensor (1, 2) float32 on numpy, requires grad" in page
    assert "1. 2." in page


def test_tables_escape():
    assert table([], [["<script>", 1]], "a&b") == (
        "<table><caption>a&amp;b</caption><tbody><tr><td>&lt;script&gt;</td><td>1</td></tr></tbody></table>"
    )


def lines(out):
    return sum(line.startswith("epoch") for line in out.splitlines())


def printed(capsys, monkeypatch, fileno, **options):
    if fileno:
        monkeypatch.setattr(sys.stdout, "fileno", lambda: 1, raising=False)
    model = nn.Linear(64, 10)
    Trainer(model, cross_entropy, optim.Adam(model), **options).fit(load_digits(), epochs=2)
    return lines(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("fileno", "options", "expected"),
    [
        (True, {}, 2),
        (False, {}, 0),
        (True, {"verbose": False}, 0),
        (False, {"verbose": True}, 2),
        (True, {"callbacks": [Progress(False)]}, 2),
    ],
)
def test_a_line_an_epoch_where_the_process_prints(fileno, options, expected, capsys, monkeypatch):
    assert printed(capsys, monkeypatch, fileno, **options) == expected


SCRIPT = """
import subprocess
import sys
import warnings
from xpnet import nn, optim
from xpnet.data import load_digits
from xpnet.functional import cross_entropy
from xpnet.train import Progress, Trainer
model = nn.Linear(64, 10)
Trainer(model, cross_entropy, optim.Adam(model), **eval(sys.argv[1])).fit(load_digits(), epochs=2)
"""


@pytest.mark.parametrize(
    ("options", "expected"), [("{}", 2), ("{'verbose': False}", 0), ("{'callbacks': [Progress()]}", 2)]
)
def test_a_line_an_epoch_into_a_pipe_and_a_file_and_no_bar(options, expected, tmp_path):
    command = [sys.executable, "-c", SCRIPT, options]
    pipe = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (lines(pipe.stdout), len(pipe.stdout.splitlines())) == (expected, expected)
    assert pipe.stderr == ""
    with open(tmp_path / "out", "w") as file:
        subprocess.run(command, stdout=file, check=True)
    assert lines((tmp_path / "out").read_text()) == expected


def test_without_a_standard_output_nothing_is_printed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    model = nn.Linear(64, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Trainer(model, cross_entropy, optim.Adam(model)).fit(load_digits(), epochs=1)


def test_quiet_is_quiet(capsys, monkeypatch):
    with quiet():
        assert printed(capsys, monkeypatch, True) == 0
    assert printed(capsys, monkeypatch, True) == 2


def test_the_command_writes_a_live_page(tmp_path, monkeypatch, capsys):
    pytest.importorskip("safetensors")
    monkeypatch.chdir(tmp_path)
    words = ["train", "digits", "--epochs", "2", "--save", "none", "--plot", "none"]
    assert main([*words, "--live"]) == 0
    assert f"live: {(tmp_path / 'live.html').as_uri()}" in capsys.readouterr().out
    page = (tmp_path / "live.html").read_text()
    assert all(link.startswith("data:") for link in Checked(page).elsewhere)
    assert page.count("<figcaption") == 12
    assert "ended after 2 epochs" in page
    assert main([*words, "--live", "own.html", "--seed", "1"]) == 0
    assert main(["train", "digits", "--epochs", "1", "--run", "a", "--live"]) == 0
    assert (tmp_path / "runs" / "a" / "live.html").is_file()
    assert main([*words, "--live", "x.txt"]) == 2
    assert "--live x.txt: expected a name that ends in .html" in capsys.readouterr().err
