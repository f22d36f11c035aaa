"""A built page as its readers get it: links, pictures, anchors, and the text between tags."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What makes a browser fetch something, by tag.
FETCHED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """Reads one HTML file.

    Attributes:
        links: what can be clicked.
        fetched: what the browser fetches by itself.
        images: attributes of all pictures.
        anchors: names that an address's # can lead to.
        folds: classes of all <details>.
        tags: how often each tag is there.
        text: what is read, without code, formulas and scripts.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.images: list[dict[str, str]] = []
        self.anchors: set[str] = set()
        self.folds: list[str] = []
        self.tags: dict[str, int] = {}
        self.text = ""
        self._inside: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags[tag] = self.tags.get(tag, 0) + 1
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "img":
            self.images.append(given)
        if tag == "details":
            self.folds.append(given.get("class", ""))
        if tag in FETCHED and FETCHED[tag] in given:
            self.fetched.append(given[FETCHED[tag]])
        if tag in ("pre", "code", "math", "script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.text += data

    def target(self, link: str) -> tuple[Path, str] | None:
        """File and anchor that a link leads to; None if that is outside the site."""
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            return None
        path = (self.path.parent / unquote(parts.path)).resolve() if parts.path else self.path
        return (path / "index.html" if path.is_dir() else path), unquote(parts.fragment)
