"""Every experiment of the decks: it runs, its figures are right, and its pictures draw."""

import html.parser
import json

import pytest

import xpnet
from xpnet.cli import main
from xpnet.lab import Check, Experiment, Picture, Result, catalogue
from xpnet.lab.gallery import as_page, as_text

host = pytest.mark.host


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_experiment(name, backend):
    if backend == "array_api_strict":
        pytest.skip("ten times slower; every op has tests of its own there")
    experiment = catalogue()[name]
    state = xpnet.random.generator_state()
    result = experiment()
    wrong = [f"{c.what}: {c.ours} (exact {c.exact}, deck {c.deck})" for c in result.checks if not c.ok]
    assert result.checks
    assert not wrong
    assert result.says.count(".") >= 1
    assert xpnet.random.generator_state() == state
    if result.pictures:
        pytest.importorskip("matplotlib")
    page = as_page({name: (experiment, result)})
    assert page.count("<figure>") == len(result.pictures)
    assert name in as_text(experiment, result)


@host
@pytest.mark.parametrize(
    ("check", "verdict"),
    [
        (Check("a", 1.0, exact=1.0), "agrees"),
        (Check("a", 1.0, exact=1.1), "DIFFERS"),
        (Check("a", 1.0, exact=1.1, atol=0.2), "agrees"),
        (Check("a", 1.0, deck=1.0), "agrees"),
        (Check("a", 1.0, deck=2.0), "DIFFERS"),
        (Check("a", 1.0, deck=2.0, exact=1.0, slip="sign"), "slide wrong"),
        (Check("a", 2.0, deck=2.0, exact=1.0, slip="sign"), "DIFFERS"),
        (Check("a", [1.0, 2.0], exact=[1.0, 2.0]), "agrees"),
        (Check("a", [1.0, 2.0], exact=[1.0]), "DIFFERS"),
        (Check("a", float("nan"), exact=float("nan")), "DIFFERS"),
        (Check("a", 0.9, at_least=0.95), "DIFFERS"),
        (Check("a", 0.9, at_least=0.8, at_most=0.85), "DIFFERS"),
        (Check("a", 0.9, at_least=0.8), "agrees"),
        (Check("a", float("nan"), at_least=0.8), "DIFFERS"),
    ],
)
def test_verdict(check, verdict):
    assert check.verdict == verdict


@host
def test_check_needs_something_to_compare_with():
    with pytest.raises(ValueError, match="exact"):
        Check("a", 1.0)


class _Strict(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@host
def test_page_escapes_and_closes():
    draw = lambda figure: figure.subplots().plot([1, 2])
    moving = lambda figure, k: figure.subplots().plot([1, k])
    result = Result(
        "a < b", [Check("x < y", 1.0, exact=1.0)], (), [Picture("<p>", draw), Picture("m", moving, frames=2)]
    )
    page = as_page({"n": (Experiment("n", "S1", "1 < 2", lambda: result), result)})
    assert "x &lt; y" in page
    assert "a &lt; b" in page
    assert "data:image/gif;base64" in page
    reader = _Strict()
    reader.feed(page)
    assert reader.open == []


@host
def test_command(tmp_path, capsys):
    assert main(["lab"]) == 0
    assert "initial-loss" in capsys.readouterr().out
    assert main(["lab", "initial-loss", "--out", str(tmp_path)]) == 0
    assert "2.303" in capsys.readouterr().out
    assert (tmp_path / "index.html").stat().st_size > 5000
    assert json.loads((tmp_path / "lab.json").read_text())["initial-loss"]["verdict"] == "agrees"
    assert main(["lab", "initial"]) == 2
    assert "did you mean initial-loss" in capsys.readouterr().err


@host
def test_a_wrong_figure_fails_the_command(monkeypatch, capsys):
    import xpnet.cli.lab

    bad = Experiment("bad", "S1", "item", lambda: Result("Wrong.", [Check("a", 1.0, exact=2.0)]))
    monkeypatch.setattr(xpnet.cli.lab, "catalogue", lambda: {"bad": bad})
    assert main(["lab", "bad"]) == 1
    assert "DIFFERS: bad: a" in capsys.readouterr().out


def test_the_readme_lists_every_experiment():
    from pathlib import Path

    readme = Path(__file__).parents[2] / "README.md"
    rows = [line.split(" | ") for line in readme.read_text().splitlines() if line.startswith("| S")]
    listed = {(row[0].lstrip("| "), row[1], row[2].strip("`")) for row in rows}
    assert listed == {(e.deck, e.item, name) for name, e in catalogue().items()}
