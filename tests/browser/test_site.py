"""The static site in a real browser: formulas, both schemes of colours, and a telephone's width."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

PAGES = ["index.html", "notebooks/02_ista.html", "docs/results.html", "api/ops.html"]
DESK, TELEPHONE = {"width": 1280, "height": 1000}, {"width": 390, "height": 844}

# What leaves the screen must lie in a box of its own that can be moved, and not move the page.
WIDER_THAN_THE_SCREEN = """() => {
    const wide = document.documentElement.clientWidth;
    const moves = e => e && !e.matches('.bd-article-container') && (
        ['auto', 'scroll'].includes(getComputedStyle(e).overflowX) || moves(e.parentElement));
    return [...document.querySelectorAll('main *')]
        .filter(e => e.checkVisibility() && e.getBoundingClientRect().right > wide + 1 && !moves(e))
        .map(e => e.outerHTML.slice(0, 99));
}"""
# A formula that is not laid out has no height, or its numerator beside its denominator.
FLAT = """() => [...document.querySelectorAll('math')].filter(e => {
    if (e.closest('details:not([open])')) return false;
    const parts = [...e.querySelector('mfrac')?.children ?? []];
    const [over, under] = parts.map(part => part.getBoundingClientRect());
    return e.getBoundingClientRect().height < 5 || (over && over.bottom > under.bottom);
}).map(e => e.outerHTML.slice(0, 200))"""
BROKEN_IMAGES = """() => [...document.images].filter(e => {
    e.loading = 'eager';
    return e.complete && e.naturalWidth === 0;
}).map(e => e.src)"""
BRIGHTNESS = """() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3)
    .reduce((sum, part) => sum + Number(part), 0) / 3"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's own messages are to be read."""


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """The site, served on this machine as its host would."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def troubles(page: Page, address: str) -> Iterator[list[str]]:
    """What the browser complains of, and what it asks others for, while a test runs: nothing."""
    heard: list[str] = []
    page.on("console", lambda m: heard.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    # A page that is left gives up what it was still reading.
    page.on(
        "requestfailed",
        lambda request: (
            request.failure == "net::ERR_ABORTED"
            or heard.append(f"{request.url}: {request.failure}")
        ),
    )
    page.on(
        "request",
        lambda request: request.url.startswith((address, "data:")) or heard.append(request.url),
    )
    yield heard
    assert heard == []


@pytest.mark.usefixtures("troubles")
@pytest.mark.parametrize("size", [DESK, TELEPHONE], ids=["desk", "telephone"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole(page: Page, address: str, name: str, size: dict[str, int]):
    page.set_viewport_size({"width": size["width"], "height": size["height"]})
    page.goto(f"{address}/{name}", wait_until="networkidle")
    assert page.evaluate(WIDER_THAN_THE_SCREEN) == []
    assert page.evaluate(FLAT) == []
    assert page.evaluate(BROKEN_IMAGES) == []
    assert page.locator("h1").is_visible()


@pytest.mark.usefixtures("troubles")
def test_no_page_is_wider_than_a_telephone(page: Page, address: str, site: Path):
    page.set_viewport_size({"width": TELEPHONE["width"], "height": TELEPHONE["height"]})
    names = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    wide = {}
    for name in names:
        if not name.startswith("_static/"):
            page.goto(f"{address}/{name}")
            wide[name] = page.evaluate(WIDER_THAN_THE_SCREEN) + page.evaluate(FLAT)
    assert {name: parts for name, parts in wide.items() if parts} == {}


@pytest.mark.usefixtures("troubles")
def test_an_answer_is_folded_until_it_is_asked_for(page: Page, address: str):
    page.goto(f"{address}/notebooks/02_ista.html")
    fold = page.locator("details.answer").first
    code = fold.locator("pre")
    assert not code.is_visible()
    fold.locator("summary").click()
    assert code.is_visible()
    assert "def " in code.inner_text()


@pytest.mark.usefixtures("troubles")
def test_light_and_dark(page: Page, address: str):
    page.emulate_media(color_scheme="light")
    page.goto(f"{address}/index.html")
    assert page.evaluate(BRIGHTNESS) > 200
    page.emulate_media(color_scheme="dark")
    page.reload()
    assert page.evaluate(BRIGHTNESS) < 60


@pytest.mark.usefixtures("troubles")
def test_the_search_finds_a_function_and_a_lesson(page: Page, address: str):
    page.goto(f"{address}/search.html?q=soft_threshold")
    found = page.locator("#search-results a[href*='soft_threshold']")
    found.first.wait_for(timeout=20_000)
    page.goto(f"{address}/search.html?q=FISTA")
    page.locator("#search-results a[href*='02_ista']").first.wait_for(timeout=20_000)
