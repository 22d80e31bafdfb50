"""The files that the commands write: their names, their contents, and what is said when one is missing."""

import json
from pathlib import Path

import numpy as np
import pytest

from xpnet.cli import output
from xpnet.cli.errors import FAILED, OK, BadInputError
from xpnet.train import History

pytestmark = pytest.mark.host


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def saved(monkeypatch):
    """The figures that were saved, with the options they were saved with."""
    figure = pytest.importorskip("matplotlib.figure").Figure
    found = []

    def keep(self, file, real=figure.savefig, **options):
        found.append((self, options))
        return real(self, file, **options)

    monkeypatch.setattr(figure, "savefig", keep)
    return found


# ---- writes that fail ----


@pytest.mark.parametrize("failures", [0, 1, 2, 3])
def test_a_write_is_tried_three_times(monkeypatch, capsys, failures):
    pauses, tries, writes = [], [], output.Writes()
    monkeypatch.setattr(output.time, "sleep", pauses.append)

    def write():
        tries.append(1)
        if len(tries) <= failures:
            raise OSError(f"the disk is full, try {len(tries)}")

    assert writes.attempt(write) == (failures < 3)
    assert len(tries) == min(failures + 1, 3)
    assert pauses == [0.5, 2.0][:failures]  # longer and longer, none after the last
    assert writes.attempt(lambda: None)  # the others are written nevertheless
    missing = ["the disk is full, try 3"] * (failures == 3)
    assert writes.missing == missing
    assert writes.finish("train", OK) == (FAILED if missing else OK)
    assert writes.finish("train", 130) == 130  # what ended the run is the reason
    said = capsys.readouterr()
    assert said.err == 2 * "".join(f"xpnet train: error: {line}\n" for line in missing)
    assert said.out == ""


def test_a_mistake_of_ours_is_not_tried_again(monkeypatch):
    monkeypatch.setattr(output.time, "sleep", None)
    with pytest.raises(ZeroDivisionError):
        output.Writes().attempt(lambda: 1 / 0)


# ---- where to ----

HERE, MISSING = (lambda name: object()), (lambda name: None)


@pytest.mark.parametrize(
    ("asked", "with_matplotlib", "without"),
    [
        (None, "run.png", "run.csv"),
        ("none", None, None),
        ("a.csv", "a.csv", "a.csv"),
        ("a.CSV", "a.CSV", "a.CSV"),
        *((f"a{ending}", f"a{ending}", "needs matplotlib") for ending in (".png", ".SVG", ".pdf")),
        *(
            (name, "expected a name that ends in", "expected a name that ends in")
            for name in ("a.gif", "png")
        ),
    ],
)
def test_where_curves_go(monkeypatch, asked, with_matplotlib, without):
    for found, expected in ((HERE, with_matplotlib), (MISSING, without)):
        monkeypatch.setattr(output, "find_spec", found)
        if expected is not None and " " in expected:
            with pytest.raises(BadInputError, match=f"--plot {asked}:? {expected}"):
                output.plot_path(asked, "run")
        else:
            assert output.plot_path(asked, "run") == expected


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize(
    ("asked", "with_matplotlib", "without"),
    [
        ("none", None, None),
        *((f"a{ending}", f"a{ending}", "needs matplotlib") for ending in (".png", ".SVG", ".pdf")),
        *(
            (name, "expected a name that ends in", "expected a name that ends in")
            for name in ("a.csv", "png")
        ),
    ],
)
def test_where_a_picture_goes(monkeypatch, asked, wanted, with_matplotlib, without):
    for found, expected in ((HERE, with_matplotlib), (MISSING, without)):
        monkeypatch.setattr(output, "find_spec", found)
        assert output.picture_path(None, "run.png", "--grid", wanted) == (
            "run.png" if wanted and found is HERE else None
        )
        if expected is not None and " " in expected:
            with pytest.raises(BadInputError, match=f"--grid {asked}:? {expected}"):
                output.picture_path(asked, "run.png", "--grid", wanted)
        else:
            assert output.picture_path(asked, "run.png", "--grid", wanted) == expected


# ---- curves and pictures ----


@pytest.fixture
def history():
    found = History()
    for epoch in range(2):
        found.append({"train_loss": 2.0 - epoch, "val_loss": 3.0 - epoch, "val_accuracy": 0.25 + epoch / 2})
    return found


def test_curves_as_numbers(history):
    output.write_curves("a.CSV", history, "T")
    assert Path("a.CSV").read_text() == (
        "epoch,train_loss,val_loss,val_accuracy\n1,2.0,3.0,0.25\n2,1.0,2.0,0.75\n"
    )


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.PDF", b"%PDF"), ("a.svg", b"<?xml")])
def test_curves_as_a_picture(history, saved, name, start):
    output.write_curves(name, history, "digits, 97%")
    assert Path(name).read_bytes().startswith(start)
    ((figure, _),) = saved
    loss, accuracy = figure.axes
    lines = [
        [(line.get_label(), list(line.get_xdata()), list(line.get_ydata())) for line in axis.get_lines()]
        for axis in (loss, accuracy)
    ]
    assert lines[0] == [("training", [1, 2], [2.0, 1.0]), ("validation", [1, 2], [3.0, 2.0])]
    assert [line[1:] for line in lines[1]] == [([1, 2], [0.25, 0.75])]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    assert loss.get_ylim()[0] == 0
    assert [a.get_xlabel() for a in (loss, accuracy)] == ["epoch", "epoch"]
    assert [a.get_ylabel() for a in (loss, accuracy)] == ["cross-entropy", "validation accuracy"]
    assert figure.get_suptitle() == "digits, 97%"


@pytest.mark.parametrize("sizes", [[2, 3], [3, 2], [1], [1, 1], [2]])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_stand_in_rows(saved, sizes, channels):
    rng = np.random.default_rng(0)
    rows = [list(rng.uniform(-0.5, 1.5, (n, channels, 4, 5))) for n in sizes]
    titles = [[f"{i} {j}" for j in range(n)] for i, n in enumerate(sizes)]
    output.write_pictures("a.png", rows, titles)
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    ((figure, _),) = saved
    grid = np.array(figure.axes, dtype=object).reshape(len(sizes), max(sizes))
    assert not any(axis.axison for axis in figure.axes)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            (shown,) = grid[i, j].images
            expected = np.moveaxis(np.clip(picture, 0, 1), 0, -1)
            np.testing.assert_array_equal(shown.get_array(), expected[..., 0] if channels == 1 else expected)
            assert channels == 3 or (shown.get_clim() == (0, 1) and shown.get_cmap().name == "gray")
            assert grid[i, j].get_title() == f"{i} {j}"
        assert not any(axis.images for axis in grid[i, len(row) :])


# ---- tables ----


def test_a_table():
    output.write_csv("a.csv", ["a", "b"], iter([[1, "x,y"], [None, "=1+1"], ["-2", '"']]))
    assert Path("a.csv").read_bytes() == b'a,b\n1,"x,y"\n,\'=1+1\n-2,""""\n'


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_json_holds_no_number_that_readers_refuse(number):
    output.write_json("a.json", {"a": [1.5, None], "b": "é"})
    text = Path("a.json").read_text()
    assert text.startswith('{\n  "a": [\n')
    assert text.endswith("}\n")
    assert json.loads(text) == {"a": [1.5, None], "b": "é"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        output.write_json("b.json", {"a": number})
    assert [path.name for path in Path().iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[1, 0], [0, 12]], "         0   1\n     0   1   .\n     1   .  12"),
        ([[0, 0], [0, 0]], "        0  1\n     0  .  .\n     1  .  ."),
    ],
)
def test_a_confusion_table(matrix, expected):
    assert output.confusion_table(np.array(matrix)) == expected


def test_a_table_of_eleven_classes_is_aligned():
    lines = output.confusion_table(np.eye(11, dtype=np.int64)).splitlines()
    assert {len(line) for line in lines} == {6 + 11 * 4}
    assert lines[-1].split() == ["10", *"." * 10, "1"]
