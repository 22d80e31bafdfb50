"""The site as it is built: all names once, examples as code, no link that leads nowhere."""

from __future__ import annotations

import html
import importlib
import inspect
import json
import pkgutil
import re
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import xpnet
from bench import results
from docs import hooks, reference, tutorials
from xpnet.lab import catalogue

from ..browser import look
from .pages import Page

pytestmark = pytest.mark.host

PRINTED = {
    "first-network": "epoch   1/30",
    "own-table": "90% intervals hold",
    "pictures": "(300, 1, 8, 8)",
    "does-not-learn": "worst: PASS",
    "own-layer": "central differences give",
    "on-the-gpu": "compared: ['numpy'",
}
"""What no cell says, but one prints."""


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    """By their places in the site."""
    return {path.relative_to(site).as_posix(): Page(path) for path in site.rglob("*.html")}


def given() -> Iterator[tuple[str, str, Any]]:
    """What the package gives to people, without a word of docs/reference.py: (module, name, value).

    That is the `__all__` of `xpnet` and of what lies right under it, as a file, a folder or an alias; of a
    module that has none, what it defines.
    """
    names = {found.name for found in pkgutil.iter_modules(xpnet.__path__)} | {*dir(xpnet)}
    public = {name for name in names if name[0] != "_"} - {"cli", "core", "io"}
    for path in ["xpnet", *(f"xpnet.{name}" for name in sorted(public))]:
        module = named(path)
        module = importlib.import_module(path) if module is None else module
        if inspect.ismodule(module):
            own = [n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__]
            shown = getattr(module, "__all__", [name for name in own if name[0] != "_"])
            yield from ((path, name, getattr(module, name)) for name in shown)


def named(path: str) -> Any:
    """What a path from `xpnet` leads to, as of a heading of the reference."""
    try:
        return attrgetter(path.removeprefix("xpnet."))(xpnet) if path != "xpnet" else xpnet
    except AttributeError:
        return None


def test_every_public_name_is_described_once(pages):
    found = Counter(h for page in pages.values() for h in page.headings if h.startswith("xpnet."))
    assert {name: n for name, n in found.items() if n != 1} == {}
    described = {(path.rpartition(".")[2], id(named(path))) for path in found}
    wanted = {(m, name, id(value)) for m, name, value in given() if not inspect.ismodule(value)}
    assert len({key[1:] for key in wanted}) > 700
    assert [f"{m}.{name}" for m, name, key in sorted(wanted) if (name, key) not in described] == []


def test_a_name_that_two_modules_give_has_one_home():
    plan = reference.plan()
    assert plan["xpnet"]["grad"] == plan["xpnet.transforms"]["grad"] == "xpnet"
    assert plan["xpnet.random"]["normal"] == "xpnet.random"
    assert plan["xpnet.init"]["normal"] == "xpnet.init"


def test_examples_are_code(pages):
    """Markdown takes `>>>` for three quotes."""
    assert {name: page.stray for name, page in pages.items() if page.stray} == {}
    for module, homes in reference.plan().items():
        thing = reference.load(module)
        texts = [inspect.getdoc(getattr(thing, name)) or "" for name, home in homes.items() if home == module]
        of_names = sum(text.count(">>> ") for text in texts)
        assert pages[f"reference/{module}.html"].prompts >= of_names
        assert "blockquote" not in pages[f"reference/{module}.html"].tags


def test_sections_of_docstrings_are_tables(site):
    text = (site / "reference" / "xpnet.functional.html").read_text()
    for heading in ("Args:", "Raises:", "Attributes:"):
        assert f"<p>{heading}" not in text
    assert text.count('<span class="doc-section-title">Parameters:</span>') > 80


def test_links_lead_somewhere(site, pages):
    lost = []
    for page in pages.values():
        if page.path.name == "404.html":  # its links begin at the root of a server
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            path = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            known = (
                pages.get(path.relative_to(site.resolve()).as_posix()) if path.is_relative_to(site) else None
            )
            if not path.exists() or (parts.fragment and known and unquote(parts.fragment) not in known.ids):
                lost.append((page.path.name, link))
    assert lost == []


def test_the_whole_gallery_is_linked_as_far_as_it_is_made(monkeypatch):
    """`xpnet lab all` leaves out what needs CIFAR-10."""
    monkeypatch.setattr(hooks, "SHOWN", "all")
    linked = set(re.findall(r"gallery/index.html#([\w-]+)", hooks.experiments()))
    assert linked == {name for name, e in catalogue().items() if not e.on_cifar10} != set(catalogue())


def test_tutorials_show_what_they_print_and_draw(site, pages):
    """They ran: a cell that fails ends the build."""
    assert set(PRINTED) == set(tutorials.ORDER)
    assert {f"{name}.ipynb" for name in tutorials.ORDER} == {p.name for p in tutorials.FOLDER.glob("*.ipynb")}
    for name, word in PRINTED.items():
        text = (site / "tutorials" / f"{name}.html").read_text()
        assert word in text
        assert (site / "tutorials" / f"{name}.ipynb").exists()
        assert "#000000" not in text, "a figure's black does not follow the theme"
    drawn = sum(
        (site / "tutorials" / f"{name}.html").read_text().count("<svg fill=") for name in tutorials.ORDER
    )
    assert drawn >= 9


@pytest.mark.parametrize("path", sorted(tutorials.FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


def test_all_machines_and_cases_stand_on_the_page_on_performance(site):
    text = html.unescape((site / "performance.html").read_text())
    for machine, runs in results.history().items():
        assert machine in text
        missing = {case["name"] for run in runs for case in run.cases.values() if case["name"] not in text}
        assert missing == set(), machine


def test_what_is_proved_is_read_from_the_tests(site, pages):
    text = html.unescape((site / "proofs.html").read_text())
    assert "<!-- " not in text.partition("<article")[2].partition("</article")[0]
    for name in json.loads((reference.ROOT / "tests" / "kernels" / "ladder.json").read_text()):
        assert f"<code>{name}</code>" in text
    for path in (reference.ROOT / "tests" / "oracle").glob("test_*.py"):
        assert f"<code>{path.stem}</code>" in text
    modules = {m for m in re.findall(r"python -m ([\w.]+)", text) if m.startswith(("tests.", "bench"))}
    assert len(modules) >= 8
    for module in modules:
        assert find_spec(module), module
    for path in re.findall(r"pytest (?:--backend cupy )?((?:tests|docs)[\w/. ]*)", text):
        assert all((reference.ROOT / part).exists() for part in path.split()), path


def test_nothing_is_loaded_from_elsewhere(pages):
    for page in pages.values():
        text = page.path.read_text()
        for start in ("<script src=", "<img src=", "<iframe src=", 'rel="stylesheet" href='):
            assert f'{start}"http' not in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
@pytest.mark.parametrize("name", ["index", "reference/xpnet.nn", "gallery", "proofs", "tutorials/own-table"])
def test_a_page_in_a_browser(browser, site, name, width, scheme):
    size = {"width": width, "height": 900}
    with look(browser, f"file://{site}/{name}.html", viewport=size, color_scheme=scheme) as page:
        dark = "getComputedStyle(document.body).colorScheme"
        assert page.evaluate(dark) == ("dark" if scheme == "dark" else "light")
        assert page.locator("article h1").first.is_visible()


def test_the_gallery_is_dark_where_the_site_is(browser, site):
    with look(browser, f"file://{site}/gallery.html", color_scheme="null") as page:  # the system's
        frame = page.frame_locator("iframe.gallery").locator("body")
        for background in ("rgb(255, 255, 255)", "rgb(22, 22, 22)"):
            page.locator("form[data-md-component=palette] label:visible").click()
            page.wait_for_timeout(200)
            assert frame.evaluate("body => getComputedStyle(body).backgroundColor") == background


def test_the_switch_and_the_search(browser, site):
    with look(browser, f"file://{site}/index.html", viewport={"width": 1280, "height": 900}) as page:
        background = "getComputedStyle(document.body).backgroundColor"
        before = page.evaluate(background)
        for _ in range(2):  # the system's, light, dark
            page.locator("form[data-md-component=palette] label:visible").click()
        assert page.evaluate(background) != before
        page.locator("input[name=query]").fill("cross_entropy")
        found = page.locator(".md-search-result__item a[href*='#xpnet.functional.cross_entropy']")
        found.wait_for(state="attached")


FIRST = {
    "--resume": "how-to/resume.html",
    "nn.Linear": "reference/xpnet.nn.html#xpnet.nn.Linear",
    "xpnet.nn.Linear": "reference/xpnet.nn.html#xpnet.nn.Linear",
    "F.cross_entropy": "reference/xpnet.functional.html#xpnet.functional.cross_entropy",
    "optim.Adam": "reference/xpnet.optim.html#xpnet.optim.Adam",
    "DataLoader": "reference/xpnet.data.html#xpnet.data.DataLoader",
    "onnx": "how-to/onnx.html",
}
"""What people look for, and the page or the name that they should see first."""


@pytest.mark.parametrize(("asked", "first"), FIRST.items())
def test_the_search_finds_options_and_names_first(browser, site, asked, first):
    with look(browser, f"file://{site}/index.html", viewport={"width": 1280, "height": 900}) as page:
        page.locator("input[name=query]").fill(asked)
        links = page.locator(".md-search-result__item").first.locator("a")  # a page, and places in it
        links.first.wait_for(state="attached")
        found = [str(link.get_attribute("href")).partition("#") for link in links.all()]
    paths = {path.partition("?")[0].rpartition(f"{site.name}/")[2] for path, _, _ in found}
    assert paths == {first.partition("#")[0]}
    assert "#" not in first or next(name for _, _, name in found if name) == first.partition("#")[2]
