"""The page in a browser: it renders, its parts move, and their numbers are the library's."""

import io
import json
from functools import partial

import numpy as np
import pytest

from xpnet import asarray, optim, tensor, to_numpy
from xpnet import functional as F
from xpnet.classic import mistake_bound, mistakes, with_bias
from xpnet.lab import Check, Experiment, Picture, Result, catalogue, formulas, surfaces
from xpnet.lab.excerpt import core, excerpt
from xpnet.lab.experiments.activation_statistics import THEORY
from xpnet.lab.experiments.optimizers_at_a_saddle import saddle
from xpnet.lab.experiments.optimizers_in_a_bowl import bowl
from xpnet.lab.experiments.optimizers_in_a_valley import RATES, valley
from xpnet.lab.gallery import DEMOS, as_page

from ..browser import look
from .formulas import convert

pytestmark = pytest.mark.host
NAMES = ("step-size", "optimizers-in-a-valley", "hidden-representation", "perceptron", "initial-loss")
SURFACES = {
    "valley": valley,
    "saddle": saddle,
    "bowl": bowl,
    "quadratic": lambda x: x[0] ** 2 + x[0] * x[1] + 4 * x[1] ** 2,
}


@pytest.fixture(scope="module")
def lab_page(tmp_path_factory):
    pytest.importorskip("matplotlib")
    pytest.importorskip("playwright")
    path = tmp_path_factory.mktemp("lab") / "index.html"
    path.write_text(as_page({name: (catalogue()[name], catalogue()[name]()) for name in NAMES}))
    return f"file://{path}"


@pytest.fixture
def opened(browser, lab_page):
    with look(browser, lab_page, viewport={"width": 1280, "height": 900}) as page:
        yield page


def demo(page, name):
    """The moving part of an experiment, on the screen."""
    place = page.locator(f"section[aria-labelledby={name}] .demo")
    place.scroll_into_view_if_needed()
    place.locator("canvas").wait_for()
    return place


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize(
    ("rule", "optimizer"),
    [
        ("momentum", lambda p, lr, rho: optim.SGD(p, lr=lr, momentum=rho)),
        ("Nesterov", lambda p, lr, rho: optim.SGD(p, lr=lr, momentum=rho, nesterov=rho > 0)),
        ("Adam", lambda p, lr, rho: optim.Adam(p, lr=lr)),
    ],
)
def test_paths_are_the_librarys(opened, name, rule, optimizer):
    rate, start = opened.evaluate(f"[lab.surfaces.{name}.rate, lab.surfaces.{name}.start]")
    for momentum in (0.0, 0.5, 0.9):
        if rule == "Nesterov" and not momentum:
            continue  # PyTorch has none without momentum
        path = opened.evaluate(f"lab.descend('{name}', '{rule}', {rate}, {momentum}, 60)")
        rule_of = partial(optimizer, lr=rate, rho=momentum)
        exact = surfaces.descend(SURFACES[name], start, rule_of, 60)
        np.testing.assert_allclose(path, exact, rtol=1e-7, atol=1e-9)


def test_layers_are_the_librarys(opened):
    """The same weights through the library's layers; and near the theory, which is of wide ones."""
    found = opened.evaluate("lab.layers(1.0, 'tanh').map(lab.deviation)")
    numbers = opened.evaluate(
        "(() => { const n = lab.gaussians(1); return Array.from({length: 72000}, n) })()"
    )
    stream = np.array(numbers)
    h = asarray(stream[:8000].reshape(100, 80))
    for l in range(10):
        weights = stream[8000 + 6400 * l : 14400 + 6400 * l].reshape(80, 80) / np.sqrt(80)
        h = F.tanh(F.linear(h, asarray(weights)))
        assert found[l] == pytest.approx(np.std(to_numpy(h)), rel=1e-9)
    np.testing.assert_allclose(found, THEORY["tanh, Xavier"], rtol=0.12)


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5])
def test_dropout_is_the_librarys(opened, p):
    outputs = np.array([0.9, 0.2, -0.6, 1.3, -0.4, 0.7, 0.1, -1.1])
    found = opened.evaluate(f"(({{mean, deviation}}) => [mean, deviation])(lab.dropout({p}))")
    assert found == pytest.approx(
        [outputs.sum(), np.sqrt(p / (1 - p) * (outputs**2).sum())], rel=1e-12, abs=1e-12
    )
    drawn = to_numpy(F.dropout(asarray(np.tile(outputs, (40_000, 1))), p)).sum(axis=1)
    assert [drawn.mean(), drawn.std()] == pytest.approx(found, abs=0.05)


def test_the_network_is_the_librarys(opened):
    """Its loss and 40 steps of Adam with a penalty, from the same weights, in double precision."""
    theta, points, losses, trained = opened.evaluate(
        """(() => {
          const n = new lab.Network(6), points = lab.clouds(30), theta = [...n.theta], losses = [];
          for (let k = 0; k < 40; k++) { losses.push(n.loss(points, 0.01)); n.step(points, 0.01, 0.03); }
          return [theta, points, losses, n.theta];
        })()"""
    )
    cut = lambda t: np.split(np.array(t), [12, 18, 30])
    w1, b1, w2, b2 = (tensor(part, requires_grad=True) for part in cut(theta))
    x, y = np.array(points)[:, :2], np.array(points)[:, 2].astype(int)
    optimizer = optim.Adam([w1, b1, w2, b2], lr=0.03)
    for loss in losses:
        optimizer.zero_grad()
        scores = F.linear(F.tanh(F.linear(asarray(x), w1.reshape(6, 2), b1)), w2.reshape(2, 6), b2)
        ours = F.cross_entropy(scores, y) + 0.01 * ((w1 * w1).sum() + (w2 * w2).sum())
        assert loss == pytest.approx(ours.item(), rel=1e-6)
        ours.backward()
        optimizer.step()
    for found, exact in zip(cut(trained), (w1, b1, w2, b2), strict=True):
        np.testing.assert_allclose(found, exact.numpy(), rtol=1e-5, atol=1e-7)


def test_sliders_move(opened):
    place = demo(opened, "optimizers-in-a-valley")
    words, canvas = place.locator("output.words"), place.locator("canvas")
    before, picture = words.text_content(), canvas.screenshot()
    place.get_by_label("momentum").last.fill("0")
    assert words.text_content() != before
    assert canvas.screenshot() != picture
    rate = float(place.get_by_label("learning rate").locator("xpath=..").locator("output").text_content())
    end = surfaces.descend(valley, [-1.2, 1.0], lambda p: optim.SGD(p, lr=rate), 100)[-1]
    assert f"({end[0]:.3g}, {end[1]:.3g})" in words.text_content()
    place.get_by_label("learning rate").focus()
    opened.keyboard.press("ArrowRight")
    assert f"({end[0]:.3g}" not in words.text_content()


def test_a_perceptron_learns_clicked_points(opened):
    place = demo(opened, "perceptron")
    words = place.locator("output.words")
    assert "4 mistakes, 0 corrections" in words.text_content()
    place.get_by_role("button", name="correct a mistake").click()
    assert words.text_content().startswith("w = (1.00, 1.00, 1.00)")
    box = place.locator("canvas").bounding_box()
    place.locator("canvas").click(position={"x": box["width"] * 0.9, "y": box["height"] * 0.1})
    place.get_by_role("button", name="100 corrections").click()
    weights = [float(w) for w in words.text_content().split("(")[1].split(")")[0].split(",")]
    x = with_bias(asarray(np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1], [2.4, 1.6]])))
    target = np.array([1.0, -1, -1, -1, 1])
    assert int(mistakes(x, target, asarray(np.array(weights)))) == 0
    assert ", 0 mistakes, " in words.text_content()
    corrections = int(words.text_content().split(", ")[-1].split()[0])
    assert 1 <= corrections <= mistake_bound(x, target, asarray(np.array(weights)))


def test_a_network_learns_points_of_the_keyboard(opened):
    place = demo(opened, "hidden-representation")
    words = place.locator("output.words")
    place.locator("canvas").focus()
    for key in ("ArrowRight", "ArrowUp", "Enter"):
        opened.keyboard.press(key)
    before = float(words.text_content().split()[1])
    for _ in range(3):
        place.get_by_role("button", name="train 100 steps").click()
    assert words.text_content().endswith("after 300 steps")
    assert float(words.text_content().split()[1]) < 0.1 < before


def pixels(page, canvas, points, xs, ys):
    """The colours (n, 3) at points of a plot over these ranges, by what they are drawn on."""
    places = [[(x - xs[0]) / (xs[1] - xs[0]), (ys[1] - y) / (ys[1] - ys[0])] for x, y in points]
    found = canvas.evaluate(
        """(canvas, places) => {
          const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {
            willReadFrequently: true,
          });
          copy.drawImage(canvas, 0, 0);
          return places.map(([x, y]) => {
            const at = [x * canvas.width, y * canvas.height].map(Math.round);
            return [...copy.getImageData(...at, 1, 1).data].slice(0, 3);
          });
        }""",
        places,
    )
    return np.array(found, dtype=float)


def themes(page):
    """The colours of class 2, class 1 and the paper: rows of (3, 3); a label of 0 or 1 is a row."""
    said = page.evaluate("['two', 'one', 'paper'].map(colour)")
    short = lambda c: c if len(c) == 7 else "#" + "".join(2 * digit for digit in c[1:])
    return np.array([[int(short(c)[k : k + 2], 16) for k in (1, 3, 5)] for c in said], dtype=float)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_classes_have_their_own_colours(opened, scheme):
    """Of dots, and of the area where a network answers with their class."""
    opened.emulate_media(color_scheme=scheme)
    place = demo(opened, "hidden-representation")
    for _ in range(4):
        place.get_by_role("button", name="train 100 steps").click()
    assert float(place.locator("output.words").text_content().split()[1]) < 0.1
    xor, labels = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]), np.array([0, 1, 1, 0])
    canvas, ranges, colours = place.locator("canvas"), ((-3, 3), (-2, 2)), themes(opened)
    np.testing.assert_allclose(pixels(opened, canvas, xor, *ranges), colours[labels], atol=3)
    around = pixels(opened, canvas, xor + np.array([0.2, 0.0]), *ranges)  # outside the dots
    mixed = (colours + colours[2]) / 2  # one sure answer: half of the class's colour on paper
    np.testing.assert_allclose(around, mixed[labels], atol=25)
    assert np.abs(mixed[0] - mixed[1]).max() > 50

    place = demo(opened, "perceptron")
    found = pixels(opened, place.locator("canvas"), [[1, 1], [1, -1], [-1, 1], [-1, -1]], *ranges)
    np.testing.assert_allclose(found, colours[[1, 0, 0, 0]], atol=3)


def test_decision_boundaries_have_the_colours_of_their_points(opened):
    """Clouds of 100 points: dots of their class, some under others, on an area that answers for most."""
    opened.evaluate("document.querySelector('main').append(element('div', {id: 'here'}))")
    opened.evaluate("demos.boundary(document.getElementById('here'))")
    points = np.array(opened.evaluate("lab.clouds(100)"))
    inside = points[(abs(points[:, 0]) < 3.9) & (abs(points[:, 1]) < 2.9)]
    canvas, colours = opened.locator("#here canvas"), themes(opened)
    found = pixels(opened, canvas, inside[:, :2], (-4, 4), (-3, 3))
    distance = np.abs(found[:, None] - colours[:2]).sum(axis=2)
    assert np.mean(distance.argmin(axis=1) == inside[:, 2]) > 0.9
    corners = pixels(opened, canvas, [[-3, -2], [3, 2]], (-4, 4), (-3, 3))  # of class 2 and of class 1
    assert np.abs(corners[:, None] - colours[:2]).sum(axis=2).argmin(axis=1).tolist() == [0, 1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pixels_of_figures_follow_the_theme(browser, tmp_path, scheme):
    """What has many points is drawn on white: its corner is the page's paper, its labels as light as text."""
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    many = Picture(
        "many", lambda figure: figure.subplots().plot(np.random.default_rng(0).random(20_000), ".")
    )
    known = Experiment("n", "S1", "one", catalogue()["softmax"].run)
    path = tmp_path / "page.html"
    path.write_text(as_page({"n": (known, Result("a.", [Check("x", 1.0, exact=1.0)], (), [many]))}))
    with look(browser, f"file://{path}", color_scheme=scheme) as page:
        figure = page.locator("figure img")
        seen = np.asarray(image.open(io.BytesIO(figure.screenshot())).convert("RGB"), dtype=float)
        np.testing.assert_allclose(seen[8, 8], themes(page)[2], atol=8)
    ink = seen.sum(axis=2).max() if scheme == "dark" else seen.sum(axis=2).min()
    assert abs(ink - seen[8, 8].sum()) > 500


def test_an_animation_shows_the_librarys_paths(opened):
    """Half-way, each dot is where its optimizer is after half of the steps; a button stops all."""
    figure = opened.locator("section[aria-labelledby=optimizers-in-a-valley] figure").first
    figure.scroll_into_view_if_needed()
    figure.get_by_role("button", name="pause").click()
    assert figure.get_by_role("button", name="play").is_visible()
    dots = """(svg, seconds) => {
      svg.setCurrentTime(seconds);
      const box = svg.getBoundingClientRect();
      const at = ({ x, y, width, height }) => [x + width / 2 - box.x, y + height / 2 - box.y];
      return [...svg.querySelectorAll("circle")].map((dot) => at(dot.getBoundingClientRect()));
    }"""
    svg = figure.locator("svg")
    start, middle, end = (np.array(svg.evaluate(dots, t)) for t in (0.0, 4.0, 7.999))
    path = surfaces.descend(valley, [-1.2, 1.0], partial(surfaces.RULES["SGD"], lr=RATES["SGD"]), 200)
    share = (middle[0] - start[0]) / (end[0] - start[0])  # of the way to the right, and down
    np.testing.assert_allclose(share, (path[100] - path[0]) / (path[-1] - path[0]), atol=0.02)
    np.testing.assert_allclose(start, start[:1].repeat(len(start), axis=0), atol=0.2)
    opened.emulate_media(reduced_motion="reduce")
    opened.reload()
    assert figure.get_by_role("button", name="play").is_visible()
    np.testing.assert_allclose(svg.evaluate(dots, 7.999), end, atol=0.5)


def test_search_and_formulas(opened):
    opened.locator("#search").fill("s2 hebb trace")
    assert opened.locator("#items tbody tr:visible").count() == 1
    assert opened.locator("#found").text_content() == "1 items"
    math = opened.locator("section[aria-labelledby=initial-loss] math")
    assert math.first.bounding_box()["height"] > 10


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_part_is_made_in_light_and_dark(opened, scheme):
    opened.emulate_media(color_scheme=scheme)
    for name in set(DEMOS) & set(NAMES):
        assert demo(opened, name).locator("output.words").text_content()
    ink, paper = opened.evaluate(
        "['color', 'backgroundColor'].map((k) => getComputedStyle(document.body)[k])"
    )
    light = lambda rgb: sum(map(int, rgb[4:-1].split(",")))
    assert abs(light(ink) - light(paper)) > 500
    assert (light(paper) < light(ink)) == (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_follow_the_theme(opened, scheme):
    """Text without a colour of its own, lines that were black, and legends that were white."""
    opened.emulate_media(color_scheme=scheme)
    ink, paper, text, legend = opened.evaluate(
        """() => {
          const figure = document.querySelector("section[aria-labelledby=initial-loss] figure svg");
          const style = (element) => getComputedStyle(element);
          const body = style(document.body);
          const parts = ["text", "g[id*=legend] path"].map((name) => style(figure.querySelector(name)).fill);
          return [body.color, body.backgroundColor, ...parts];
        }"""
    )
    assert (text, legend) == (ink, paper)


@pytest.mark.parametrize(("kind", "wanted"), [("core", core), ("whole", excerpt)])
def test_code_is_copied(browser, lab_page, kind, wanted):
    """The lines that are shown, and the program that is folded beneath them."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(lab_page)
    section = page.locator("section[aria-labelledby=initial-loss]")
    assert section.locator(".core pre").is_visible()
    assert not section.locator(".whole pre").is_visible()
    section.get_by_text("The whole program", exact=True).click()
    section.locator(f".{kind} button.copy").click()
    section.get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    context.close()
    assert copied == wanted(catalogue()["initial-loss"].run)


def test_formulas_are_converted():
    """The MathML is that of the LaTeX; where the converter is not there, at least none is missing."""
    known = json.loads(formulas.files("xpnet.lab").joinpath("formulas.json").read_text("utf-8"))
    assert set(known) == {latex for found in formulas.FORMULAS.values() for latex in found}
    assert set(formulas.FORMULAS) <= set(catalogue())
    pytest.importorskip("latex2mathml")
    assert known == convert()
