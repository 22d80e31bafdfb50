"""Every page in a real browser: no errors, no request to elsewhere, and used as people do."""

import base64
import csv
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest

import xpnet
from tests.browser import look
from xpnet.cli import main
from xpnet.cli.serve import Answers, make_server
from xpnet.data import load_digits

pytest.importorskip("safetensors")
pytestmark = pytest.mark.host

WIDTHS = (1100, 420)  # of a desk and of a telephone


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on pictures and one on a table, with all their pages."""
    pytest.importorskip("matplotlib")
    path = tmp_path_factory.mktemp("pages")
    rng = np.random.default_rng(0)
    size, town = rng.uniform(30, 200, 200), rng.choice(["Wien", "Graz", "<b>Linz</b>"], 200)
    with open(path / "homes.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["size", "town", "day", "price"])
        for a, b, noise in zip(size, town, rng.normal(size=200), strict=True):
            writer.writerow([f"{a:.1f}", b, f"2024-01-{1 + int(a) % 28:02}", f"{3 * a + 20 * noise:.2f}"])
    with pytest.MonkeyPatch.context() as patch, xpnet.use_backend("numpy"):
        patch.chdir(path)
        pages = ["--live", "live.html", "--report", "report.html", "--plot", "none"]
        assert main(["train", "digits", "--epochs", "3", *pages]) == 0
        table = ["train", "table", "homes.csv", "--target", "price", "--epochs", "3", "--ensemble", "2"]
        assert main([*table, "--live", "live-table.html", "--report", "report-table.html"]) == 0
        assert main(["report", "homes.safetensors", "homes.csv", "--output", "model.html"]) == 0
    return path


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("name", "parts", "pictures"),
    [
        ("live.html", ("ended after 3 epochs", "train_loss", "0.weight: values", "dead units"), 12),
        ("live-table.html", ("ended after 3 epochs", "learning rate"), 0),
        ("report.html", ("Confusion matrix", "Worst mistakes", "Update ratios by layer"), 0),
        ("report-table.html", ("Predicted against true", "Largest errors"), 0),
        ("model.html", ("The network", "town=<b>Linz</b>", "90% intervals hold"), 0),
    ],
)
def test_pages_are_shown(name, parts, pictures, width, browser, folder, tmp_path):
    options = {"viewport": {"width": width, "height": 800}}
    with look(browser, (folder / name).as_uri(), tmp_path / "page.png", **options) as page:
        text = page.inner_text("body") + " ".join(page.locator("svg").all_text_contents())
        assert [part for part in parts if part not in text] == []
        images = page.locator("img")
        assert images.count() == pictures
        assert images.evaluate_all("all => all.every(one => one.naturalWidth > 0)")
        drawn = page.locator("svg").evaluate_all("all => all.map(one => one.getBoundingClientRect().width)")
        assert drawn
        assert max(drawn) <= width
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_a_live_page_goes_on_by_itself(browser, tmp_path):
    words = ["train", "digits", "--epochs", "5000", "--patience", "5000", "--save", "none", "--plot", "none"]
    run = subprocess.Popen(
        [sys.executable, "-m", "xpnet", *words, "--live"], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 60
        while not (tmp_path / "live.html").exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        with look(browser, (tmp_path / "live.html").as_uri()) as page:
            states = []
            while len(states) < 2:
                assert time.monotonic() < until
                with suppress(Exception):  # it may be read anew at any moment
                    state = page.wait_for_selector("p").inner_text()
                    states += [state] if state not in states else []
                    page.wait_for_event("load", timeout=5000)
            run.terminate()
            run.wait(60)
            page.wait_for_selector("p:text-matches('^ended after')", timeout=20_000)
    finally:
        run.kill()
        run.wait()


@contextmanager
def serving(path):
    server = make_server(Answers(xpnet.load(path), "a model"), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


DROP = """content => {
  const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "digit.png", {type: "image/png"}));
  const drop = document.getElementById("drop");
  for (const kind of ["dragover", "drop"]) {
    drop.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
  }
}"""


def test_a_picture_is_dropped(browser, folder, tmp_path):
    image = pytest.importorskip("PIL.Image")
    digits = load_digits(flatten=False)
    saved = xpnet.load(folder / "digits.safetensors")
    for k in (0, 7):
        pixels = np.rint(digits.x[k, 0] * 255 / digits.x.max()).astype(np.uint8)
        image.fromarray(pixels).save(tmp_path / f"{k}.png")
    expected = saved.predict_proba(np.rint(digits.x[[0, 7]] * 255 / digits.x.max()).astype(np.float32))
    with serving(folder / "digits.safetensors") as address, look(browser, address) as page:
        page.evaluate(DROP, base64.b64encode((tmp_path / "0.png").read_bytes()).decode())
        page.wait_for_selector("#answer td")
        assert page.inner_text("#answer h2") == str(expected[0].argmax())
        assert page.inner_text("#answer tr:first-child td:nth-child(2)") == f"{100 * expected[0].max():.1f}%"
        assert page.locator("#answer tr").count() == 10
        assert page.evaluate("document.getElementById('shown').naturalWidth") == 8
        with page.expect_response("**/predict"):
            page.set_input_files("#file", tmp_path / "7.png")
        page.wait_for_selector(f"#answer h2:text-is('{expected[1].argmax()}')")
        (tmp_path / "no.png").write_text("no picture")
    with serving(folder / "digits.safetensors") as address:
        page = browser.new_page()
        page.goto(address)
        page.set_input_files("#file", tmp_path / "no.png")
        page.wait_for_selector("#answer h2.error")
        assert "not a picture" in page.inner_text("#answer h2")
        page.close()


def test_a_row_is_filled_in(browser, folder):
    row = {"size": "100", "town": "<b>Linz</b>", "day": "2024-01-11"}
    saved = xpnet.load(folder / "homes.safetensors")
    table = {name: [value] for name, value in row.items()}
    low, high = saved.predict_interval(table)
    with serving(folder / "homes.safetensors") as address, look(browser, address) as page:
        page.fill("input[name=size]", row["size"])
        page.fill("input[name=day]", row["day"])
        page.select_option("select[name=town]", row["town"])
        page.click("button")
        page.wait_for_selector("#answer p")
        assert float(page.inner_text("#answer h2")) == pytest.approx(float(saved.predict(table)[0, 0]), 1e-5)
        assert page.inner_text("#answer p").startswith(f"{low[0]:.6g} to {high[0]:.6g} with a probability")
    with serving(folder / "homes.safetensors") as address:
        page = browser.new_page()  # an answer that is an error is one on the console, too
        page.goto(address)
        page.fill("input[name=size]", "large")
        page.click("button")
        page.wait_for_selector("#answer h2.error")
        assert "'large' is not a number" in page.inner_text("#answer h2")
        page.close()
