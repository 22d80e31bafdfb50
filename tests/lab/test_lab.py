"""Every experiment of the decks: it runs, its figures are right, and its pictures draw."""

import ast
import builtins
import html
import html.parser
import io
import json
import os
import pydoc
import re
import subprocess
import sys
import textwrap
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import xpnet
from xpnet.cli import main
from xpnet.core.random import forked
from xpnet.lab import Check, Experiment, Picture, Result, catalogue
from xpnet.lab.drawing import STYLE, _drawn
from xpnet.lab.excerpt import core, excerpt
from xpnet.lab.experiment import text
from xpnet.lab.gallery import as_page, as_text
from xpnet.lab.items import items

from . import faults

host = pytest.mark.host
COUNTS = [68, 133, 50, 32, 44]
MISSING = 0


EVERYWHERE = {name: e for name, e in catalogue().items() if not e.on_cifar10}
# their thousands of steps take minutes on the emulated device; their ops have tests there
LONG = """
activation-statistics augmentation bagging batch-norm-regularises batch-norm-training best-overall
coarse-to-fine cross-validation curriculum depth dropout-training early-stopping-as-l2 gradient-noise
gradient-statistics grid-search hard-examples hidden-dropout-ratios init-rules l1-sparsity leaky-or-relu
learning-rate-too-low-or-high local-minimum many-saddles norm-layers optimizers-at-a-saddle
optimizers-in-a-valley optimizers-with-noise
"""


@pytest.fixture(scope="module")
def results():
    """All experiments that need no data, run once on NumPy; each leaves the random streams as they were."""
    found = {}
    for name, e in EVERYWHERE.items():
        state = xpnet.random.generator_state()
        found[name] = e, e()
        assert xpnet.random.generator_state() == state, name
    return found


@pytest.mark.parametrize("name", sorted(EVERYWHERE))
def test_experiment(name, backend, request):
    if backend == "array_api_strict":
        pytest.skip("ten times slower; every op has tests of its own there")
    if backend != "numpy" and name in LONG.split() and "XP_LADDER" not in os.environ:
        pytest.skip("long: XP_LADDER=1 runs it")
    experiment = catalogue()[name]
    state = xpnet.random.generator_state()
    result = request.getfixturevalue("results")[name][1] if backend == "numpy" else experiment()
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
    shown = page.index('<div class="code core">')
    assert f'<pre tabindex="0">{html.escape(core(experiment.run))}</pre></div><details>' in page[shown:]


@host
@pytest.mark.parametrize(
    ("check", "verdict"),
    [
        (Check("a", 1.0, exact=1.0), "agrees"),
        (Check("a", 1.0, exact=1.1), "DIFFERS"),
        (Check("a", 1.0, exact=1.1, atol=0.2), "agrees"),
        (Check("a", 1.0, deck=2.0, exact=1.0, slip="sign"), "slide wrong"),
        (Check("a", 1.0, deck=2.0, exact=1.0, slip="digits", kind="text"), "text wrong"),
        (Check("a", 1.0, deck=2.0, exact=1.0, slip="words", kind="reading"), "read two ways"),
        (Check("a", 1.0, deck=2.0, exact=1.0), "DIFFERS"),  # nobody explained it
        (Check("a", 1.0, deck=1.0, exact=1.0, slip="sign"), "agrees"),  # a slip that the numbers do not show
        (Check("a", 2.0, deck=2.0, exact=1.0, slip="sign"), "DIFFERS"),
        (Check("a", 1.0, deck="1.04", exact=1.036, atol=0.1, slip="digits"), "agrees"),
        (Check("a", 1.0, deck="1.04", exact=1.034, atol=0.1, slip="digits"), "slide wrong"),
        (Check("a", 1.0, deck="1", exact=1.1, atol=0.2, slip="integers are exact"), "slide wrong"),
        (Check("a", 1.0, deck="1e0", exact=1.1, atol=0.2, slip="good to half a unit"), "agrees"),
        (Check("a", 1.0, deck="1.04", exact=1.0, noise=0.05, slip="drawn"), "agrees"),
        (Check("a", [1.0, 1.0], deck="1.0 1.2", exact=[1.0, 1.0], noise=[0.0, 0.3], slip="s"), "agrees"),
        (Check("a", [1.0, 1.0], deck="1.0 1.2", exact=[1.0, 1.0], noise=[0.3, 0.0], slip="s"), "slide wrong"),
        (Check("a", 1.0, deck="nan", exact=1.0, slip="0/0"), "slide wrong"),
        (Check("a", [1.0, 2.0], exact=[1.0, 2.0]), "agrees"),
        (Check("a", [1.0, 2.0], exact=[1.0, 3.0], rtol=[0.0, 0.5]), "agrees"),
        (Check("a", [1.0, 2.0], exact=[1.0]), "DIFFERS"),
        (Check("a", float("nan"), exact=float("nan")), "DIFFERS"),
        (Check("a", 9.0, deck="2", at_least=4.0, kind="reading", slip="a rule of thumb"), "read two ways"),
        (Check("a", 9.0, deck="5", at_least=4.0, kind="reading", slip="a rule of thumb"), "agrees"),
        (Check("a", 3.0, deck="2", at_least=4.0, kind="reading", slip="a rule of thumb"), "DIFFERS"),
        (Check("a", 0.9, at_least=0.95), "DIFFERS"),
        (Check("a", 0.9, at_least=0.8, at_most=0.85), "DIFFERS"),
        (Check("a", 0.9, at_least=0.8), "agrees"),
        (Check("a", float("nan"), at_least=0.8), "DIFFERS"),
    ],
)
def test_verdict(check, verdict):
    assert check.verdict == verdict


@host
def test_a_changed_number_changes_the_verdict(results):
    """Each slip of the catalogue is one of numbers: with the exact value in its place the verdict "
    "is `agrees`."""
    slips = [c for _, r in results.values() for c in r.checks if c.verdict not in ("agrees", "DIFFERS")]
    assert {c.kind for c in slips} == {"slide", "text", "reading"}
    for check in slips:
        right = check.ours if check.exact is None else check.exact
        assert replace(check, deck=right).verdict == "agrees", check.what
        assert replace(check, ours=np.asarray(right, np.float64) * 0 - 1e6).verdict == "DIFFERS", check.what


@host
@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({}, ValueError, "exact"),
        ({"deck": 1.0}, ValueError, "formula"),
        ({"deck": 1.0, "at_least": 0.5}, ValueError, "formula"),
        ({"deck": 1.0, "kind": "reading"}, ValueError, "at_least"),
        ({"exact": 1.0, "kind": "joke"}, ValueError, "slide, text, reading"),
        ({"exact": xpnet.tensor([1.0])}, TypeError, "independent"),
    ],
)
def test_check_says_what_it_needs(arguments, error, match):
    with pytest.raises(error, match=match):
        Check("a", 1.0, **arguments)


@host
def test_the_lab_notices_planted_faults():
    """Four of `python -m tests.lab.faults`, which runs all; every text is in its module once."""
    root = Path(xpnet.__file__).parent
    for name, fault in faults.FAULTS.items():
        source = root.joinpath(*fault.module.split(".")).with_suffix(".py").read_text()
        assert source.count(fault.right) == 1, name
        assert set(fault.seen_by.split()) <= set(catalogue()), name
    assert len(faults.FAULTS) >= 90
    for name in (
        "elu: slope for alpha 1 only",
        "L1: slope 1 at 0",
        "SGD: a step up",
        "kernel of SGD: no decay",
    ):
        assert faults.run(name)


def unlabelled(figure):
    """Axes with numbers on them that no label of theirs, of the figure or of their row or column explains."""
    named = lambda ticks: any(any(map(str.isalpha, t.get_text())) for t in ticks)
    for axis in figure.axes:
        place = axis.get_subplotspec()
        if place is None or not axis.axison or axis.get_label() == "<colorbar>":
            continue
        for ticks, texts, label, of_all, outer in (
            (
                axis.get_xticks(),
                axis.get_xticklabels(),
                axis.get_xlabel(),
                figure._supxlabel,
                place.is_last_row(),
            ),
            (
                axis.get_yticks(),
                axis.get_yticklabels(),
                axis.get_ylabel(),
                figure._supylabel,
                place.is_first_col(),
            ),
        ):
            if outer and len(ticks) and not (label or of_all or named(texts)):
                yield axis


@host
def test_axes_are_labelled_and_legends_legible(results):
    matplotlib = pytest.importorskip("matplotlib")
    figure = pytest.importorskip("matplotlib.figure")
    for name, (_, result) in results.items():
        for picture in result.pictures:
            drawn = figure.Figure(figsize=picture.size)
            with matplotlib.rc_context(STYLE):
                picture.draw(drawn)
            assert list(unlabelled(drawn)) == [], (name, picture.title)
            legends = [axis.get_legend() for axis in drawn.axes if axis.get_legend()] + drawn.legends
            sizes = [text.get_fontsize() for legend in legends for text in legend.get_texts()]
            assert min(sizes, default=10) > 9, (name, picture.title)


@host
def test_no_picture_is_cut_off(results):
    """Neither at an edge nor by the axes beside."""
    matplotlib, wrong = pytest.importorskip("matplotlib"), []
    for name, (_, result) in results.items():
        for picture in result.pictures:
            with matplotlib.rc_context(STYLE):
                drawn = _drawn(picture)
                boxes = [axes.get_tightbbox() for axes in drawn.axes]
            for outer, axes in zip(boxes, drawn.axes, strict=True):
                over = [-outer.x0, -outer.y0, outer.x1 - drawn.bbox.width, outer.y1 - drawn.bbox.height]
                others = [a.bbox for a in drawn.axes if a is not axes]
                over += [_common(outer, inner) for inner in others if _common(axes.bbox, inner) == 0]
                if max(over) > 1:
                    wrong.append((name, picture.title, axes.get_title(), [round(x) for x in over]))
    assert not wrong, wrong


def _common(a, b):
    """Pixels that two boxes share, in the direction of the fewer."""
    return max(0.0, min(min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)))


class _Strict(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.ids = [], []

    def handle_starttag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        assert tag not in ("img", "svg") or any(name in ("alt", "aria-label") for name, _ in attrs)
        if tag not in ("meta", "img", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@host
def test_page_escapes_and_closes():
    draw = lambda figure: figure.subplots().plot([1, 2])
    result = Result(
        "a < b",
        [Check("x < y", 1.0, exact=1.0)],
        (),
        [Picture("<p>", draw), Picture("m", draw, moves={"a": np.eye(2)})],
    )
    page = as_page({"n": (Experiment("n", "S1", "1 < 2", catalogue()["softmax"].run), result)})
    assert "x &lt; y" in page
    assert "a &lt; b" in page
    assert page.count("<animateMotion ") == 1
    reader = _Strict()
    reader.feed(page)
    assert reader.open == []


@host
@pytest.mark.parametrize("name", list(catalogue()))
def test_the_code_to_copy_lacks_nothing(name):
    """Every name is made before; drawing is left out, and checks are prints."""
    code = excerpt(catalogue()[name].run)
    tree = ast.parse(code)
    names = {
        kind: {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, kind)}
        for kind in (ast.Load, ast.Store)
    }
    made = names[ast.Store] | {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    made |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    made |= {n.asname or n.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.alias)}
    made |= {n.name for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler) and n.name}
    assert names[ast.Load] - made - set(dir(builtins)) == set()
    assert "Check(" not in code
    assert "(figure" not in code
    assert len(code.splitlines()) < 110


@host
@pytest.mark.parametrize("name", list(catalogue()))
def test_ten_lines_are_the_experiment(name):
    """3 to 12, whole statements, as they stand one below the other in the program; the page shows them."""
    experiment = catalogue()[name]
    lines, program = core(experiment.run), excerpt(experiment.run)
    assert 3 <= len(lines.splitlines()) <= 12
    ast.parse(lines)
    assert any(f"\n{textwrap.indent(lines, depth * ' ')}\n" in f"\n{program}\n" for depth in (0, 4, 8, 12))
    assert not any(mark in program for mark in ("# core", "# end of core"))


@host
def test_a_core_needs_its_two_comments():
    with pytest.raises(ValueError, match="one '# core' and one '# end of core' are needed, not 0"):
        core(faults.run)


TIMED = {"activation-costs", "dropout-training", "reverse-and-forward-mode"}  # another time each time


@host
@pytest.mark.parametrize("name", sorted(EVERYWHERE))
def test_the_code_to_copy_prints_the_numbers(name, results):
    """Those of the page, each in a line; the random streams are those of a program that begins."""
    said = io.StringIO()
    with redirect_stdout(said), forked(0), np.errstate(all="ignore"):
        exec(excerpt(catalogue()[name].run), {})
    printed, checks = said.getvalue().splitlines(), results[name][1].checks
    assert {line.rpartition(": ")[0] for line in printed} >= {check.what for check in checks}
    if name not in TIMED:
        assert set(printed) >= {f"{check.what}: {text(check.ours)}" for check in checks}


@host
def test_the_code_to_copy_is_a_program(tmp_path, results):
    """In a file of its own, in a process of its own."""
    path = tmp_path / "copied.py"
    path.write_text(excerpt(catalogue()["initial-loss"].run))
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True)
    numbers = [f"{check.what}: {text(check.ours)}" for check in results["initial-loss"][1].checks]
    assert done.stdout.splitlines() == numbers


def test_errata_name_every_kind_of_mistake():
    names = ("hebb", "input-scaling", "activations")
    found = {name: (catalogue()[name], catalogue()[name]()) for name in names}
    page = as_page(found)
    start = page.index('id="errata"')
    sheet = page[start : page.index('id="index"', start)]
    wrong = {check.verdict for _, result in found.values() for check in result.checks} - {"agrees"}
    assert wrong == {"slide wrong", "text wrong", "read two ways"}
    assert all(verdict in sheet for verdict in wrong)


def test_ids_are_unique():
    """Two pictures of two experiments on one page: matplotlib calls the parts of each alike."""
    names = ("initial-loss", "offset-bias", "augmentation")
    page = as_page({name: (catalogue()[name], catalogue()[name]()) for name in names})
    reader = _Strict()
    reader.feed(page)
    assert len(reader.ids) > 50
    assert len(reader.ids) == len(set(reader.ids))
    for link in re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', page):
        assert "".join(link) in reader.ids
    assert "<rdf" not in page


@host
def test_items(results):
    """Every item is somewhere: an experiment's checks, a public name, a module of bench; no slip is left."""
    found, named, rows = results, set(), items()
    assert [sum(item.deck == deck for item in rows) for deck in ("S1", "S2", "S3", "S4", "S5")] == COUNTS
    for item in rows:
        on_cifar10 = item.experiment in set(catalogue()) - set(EVERYWHERE)
        assert (item.verdict(found) == "not run") == on_cifar10, item
        if on_cifar10:
            continue
        if item.experiment is None:
            assert item.where in ("-", "?", "bench.images") or pydoc.locate(item.where), item
            continue
        start = item.where.partition("#")[2]
        named |= {c.what for c in found[item.experiment][1].checks if start and c.what.startswith(start)}
    assert set(catalogue()) == {item.experiment for item in rows} - {None}
    slips = {c.what for _, result in found.values() for c in result.checks if c.verdict != "agrees"}
    assert slips <= named
    assert sum(item.where == "?" for item in rows) <= MISSING


@host
def test_command(tmp_path, capsys):
    assert main(["lab"]) == 0
    assert "initial-loss" in capsys.readouterr().out
    assert main(["lab", "initial-loss", "--out", str(tmp_path)]) == 0
    assert "2.303" in capsys.readouterr().out
    assert (tmp_path / "index.html").stat().st_size > 5000
    found = json.loads((tmp_path / "lab.json").read_text())["initial-loss"]
    assert found["verdict"] == "agrees"
    ten = found["checks"][-1]
    assert ten["what"] == "initial loss, K = 10"
    assert ten["exact"] == pytest.approx(np.log(10))
    assert abs(ten["ours"] - ten["exact"]) <= ten["atol"]
    assert {"deck", "rtol", "noise", "at_least", "at_most", "verdict", "kind", "slip"} < set(ten)
    assert main(["lab", "initial"]) == 2
    assert "did you mean initial-loss" in capsys.readouterr().err


@host
def test_a_wrong_figure_fails_the_command(monkeypatch, capsys):
    import xpnet.cli.lab

    bad = Experiment("bad", "S1", "item", lambda: Result("Wrong.", [Check("a", 1.0, exact=2.0)]))
    monkeypatch.setattr(xpnet.cli.lab, "catalogue", lambda: {"bad": bad})
    assert main(["lab", "bad"]) == 1
    assert "DIFFERS: bad: a" in capsys.readouterr().out


@host
def test_the_lab_s_page_lists_every_experiment_with_its_verdict(results):
    page = (Path(__file__).parents[2] / "docs" / "pages" / "lab.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| S")]
    listed = {(deck, item, name.strip("`")) for deck, item, name, _ in rows}
    assert listed == {(e.deck, e.item, name) for name, e in catalogue().items()}
    said = {name.strip("`"): verdict for _, _, name, verdict in rows}
    assert {name: said[name] for name in results} == {name: r.verdict for name, (_, r) in results.items()}
    assert f"each of {len(faults.FAULTS)} wrong lines" in page
