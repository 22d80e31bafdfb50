"""A real browser for pages: headless Chromium, which reports what goes wrong in them.

    from tests.browser import look

The fixture `browser` is in conftest.py, one for the session: playwright starts only once in a thread.
A test that uses it is skipped where there is no Chromium or no playwright (`pip install playwright`).
"""

import shutil
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

_HERE = ("127.0.0.1", "localhost", "::1")


@contextmanager
def chromium():
    """Chromium, without a window, for a `with` block."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def look(browser, address, picture=None, **options):
    """A page for a `with` block, at whose end it must have had no errors and asked for nothing outside.

    Args:
        browser: the fixture.
        address: file:// or http://127.0.0.1.
        picture: where a screenshot goes, at the end.
        options: of the page, such as viewport={"width": 480, "height": 800}.
    """
    page = browser.new_page(**options)
    wrong = []
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda asked: wrong.append(f"failed: {asked.url}"))
    page.on("request", lambda asked: None if _is_here(asked.url) else wrong.append(f"outside: {asked.url}"))
    try:
        page.goto(address)
        yield page
        if picture is not None:
            page.screenshot(path=picture, full_page=True)
        assert wrong == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
            "wider than the window"
        )
    finally:
        page.close()


def _is_here(url):
    parts = urlsplit(url)
    return parts.scheme in ("file", "data", "blob", "about") or parts.hostname in _HERE
