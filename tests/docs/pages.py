"""Pages of HTML, read for what their tests ask."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

ALONE = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}


class Page(HTMLParser):
    """What stands in a page.

    Attributes:
        tags: of its elements.
        ids: of its elements.
        headings: those of headings.
        links: where they lead.
        prompts: `>>>` in code.
        stray: lines with `>>>` anywhere else, but for scripts.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.inside = path, list[str]()
        self.ids, self.headings, self.links, self.stray = list[str](), list[str](), list[str](), list[str]()
        self.prompts, self.tags = 0, set[str]()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.add(tag)
        if tag not in ALONE:
            self.inside.append(tag)
        if found.get("id"):
            self.ids.append(str(found["id"]))
            if tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
                self.headings.append(str(found["id"]))
        for name in ("href", "src"):
            if found.get(name):
                self.links.append(str(found[name]))

    def handle_endtag(self, tag: str) -> None:
        while tag in self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if ">>>" not in data or "script" in self.inside:
            return
        if "code" in self.inside:
            self.prompts += data.count(">>>")
        else:
            self.stray.append(data)
