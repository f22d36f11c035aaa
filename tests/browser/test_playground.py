"""`lessons play` as its user sees it: a photograph of one's own, by mouse and by keyboard alone."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, TimeoutError

import course
from lessons_lib import data
from lessons_lib.degradations import GaussianNoise
from lessons_lib.images import Photo, write_image
from tests.browser.jupyter import poll, refuse_to_save, served

pytestmark = pytest.mark.browser

PICTURES = """box => [...box.querySelectorAll('img.widget-image')].map(image => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    canvas.getContext('2d').drawImage(image, 0, 0);
    return image.complete && image.naturalWidth ? canvas.toDataURL() : '';
})"""
# What is said of the control that has the focus: its text, or that of its label.
FOCUSED = """() => {
    const control = document.activeElement;
    const box = control.closest('.widget-inline-hbox, .widget-dropdown, .widget-checkbox, button');
    const labels = [...(box?.querySelectorAll('label') ?? [])];
    const words = element => element.textContent.replace(/\u200b/g, '').trim();
    return labels.map(words).find(Boolean) ?? words(box ?? control);
}"""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Start it as a user does and give the address that it prints."""
    command = [sys.executable, "-m", "lessons_lib", "play", "--no-browser", "--port", "0"]
    # As on a first visit, with nothing restored from an earlier one.
    workspaces = str(tmp_path / "workspaces")
    own = {"PYTHONPATH": str(course.ROOT), "JUPYTERLAB_WORKSPACES_DIR": workspaces}
    with served(command, tmp_path, own) as printed:
        yield printed


def run_all_cells(page: Page) -> Locator:
    """Run the notebook; return the playground's box, without the pictures before it."""
    box = page.locator(".jp-OutputArea .widget-vbox", has=page.get_by_role("button")).first
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=120_000)
    for _ in range(5):
        try:
            page.locator(".jp-Cell").first.click()
            page.get_by_role("menuitem", name="Run", exact=True).click(timeout=20_000)
            page.get_by_role("menuitem", name="Run All Cells", exact=True).click(timeout=20_000)
            page.get_by_role("button", name="Restore").wait_for(timeout=60_000)
            return box
        except TimeoutError:
            page.keyboard.press("Escape")
    raise AssertionError("the playground did not open")


def upload(page: Page, box: Locator, path: Path) -> None:
    """Open a file, as a user does in the browser's own dialogue."""
    with page.expect_file_chooser() as chooser:
        box.get_by_role("button", name="Open a photograph").click()
    chooser.value.set_files(path)


def test_a_photograph_of_ones_own_by_mouse_and_by_keyboard(
    page: Page, address: str, tmp_path: Path
) -> None:
    clean = data.sample("coffee", gray=False, size=400).repeat(1, 1, 5, 5)
    write_image(tmp_path / "sea.tif", Photo(GaussianNoise(20 / 255)(clean), bits=16))
    # As many cameras write it, and more than a server takes in one message by itself.
    assert (tmp_path / "sea.tif").stat().st_size > 20e6
    notebook = course.ROOT / "notebooks" / "playground.ipynb"
    before = notebook.read_bytes()
    assert "/lab/tree/notebooks/playground.ipynb" in address
    page.route("**/api/contents/**", refuse_to_save)
    page.goto(address, timeout=120_000)
    page.locator(".jp-CodeCell").first.wait_for(timeout=120_000)
    box = run_all_cells(page)
    pictures = lambda: box.evaluate(PICTURES)  # noqa: E731
    box.scroll_into_view_if_needed()

    # A sample photograph, three methods, by mouse.
    box.get_by_label("longest side").select_option("128 pixels")
    for number, name in ((1, "dct"), (2, "bm3d"), (2, "nlm"), (3, "sc-color-25")):
        if name in box.get_by_label(f"method {number}").inner_text():
            box.get_by_label(f"method {number}").select_option(name)
    box.get_by_role("button", name="Restore").click()
    assert poll(lambda: len(re.findall(r"[\d.]+ dB, [\d.]+ s, \d+ MB", box.inner_text())) == 3)
    assert poll(lambda: len(pictures()) == 5 and all(pictures())), [*map(len, pictures())]
    if folder := os.environ.get("LESSONS_SCREENSHOTS"):
        box.screenshot(path=f"{folder}/playground.png")

    # The line, the zoom and the differences, by keyboard: all panes follow.
    first = pictures()
    slider = box.get_by_role("slider").first
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert poll(lambda: [a != b for a, b in zip(pictures(), first, strict=True)][2:] == [True] * 3)
    page.keyboard.press("Tab")  # to the number beside the slider
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == "differences instead, 4 ×"
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == "zoom"
    whole = pictures()
    page.keyboard.press("ArrowRight")
    assert poll(lambda: all(a != b for a, b in zip(pictures(), whole, strict=True)))

    # One's own photograph, nothing done to it.
    upload(page, box, tmp_path / "sea.tif")
    assert poll(
        lambda: "2000 × 2000 pixels: the 128 × 128 pixels in its middle" in box.inner_text()
    )
    box.get_by_label("what happens").select_option("nothing: it has noise of its own")
    assert poll(lambda: re.search(r"at an estimated sigma of (18|19|20)\.\d", box.inner_text()))
    box.get_by_label("method 2").select_option("–")
    button = box.get_by_role("button", name="Restore")
    button.focus()
    page.keyboard.press("Enter")
    assert poll(lambda: re.search(r"dct [\d.]+ s, \d+ MB", box.inner_text()))
    if folder:
        box.screenshot(path=f"{folder}/playground-own.png")

    # What is no photograph is said in one line.
    (tmp_path / "broken.png").write_text("no picture")
    upload(page, box, tmp_path / "broken.png")
    assert poll(lambda: "broken.png: not a PNG, JPEG, TIFF, WebP or BMP image" in box.inner_text())
    assert "Traceback" not in page.locator(".jp-Notebook").inner_text()
    assert notebook.read_bytes() == before


def test_tab_reaches_every_control_in_the_order_of_work(page: Page, address: str) -> None:
    page.route("**/api/contents/**", refuse_to_save)
    page.goto(address, timeout=120_000)
    page.locator(".jp-CodeCell").first.wait_for(timeout=120_000)
    box = run_all_cells(page)
    box.get_by_role("button", name="Open a photograph").focus()
    names = [page.evaluate(FOCUSED)]
    while names[-1] != "Save as PNG" and len(names) < 40:
        page.keyboard.press("Tab")
        name = page.evaluate(FOCUSED)
        if name != names[-1]:  # a slider's number can be typed, too
            names.append(name)
    wanted = ["Open a photograph (0)", "or its path", "photograph", "in grey", "longest side"]
    wanted += ["if it is larger"]
    wanted += ["what happens", "σ", *(f"method {number}" for number in range(1, 5))]
    wanted += ["Restore", "left of the line", "line, %", "differences instead, 4 ×"]
    wanted += ["zoom", "across, %", "down, %", "Save as PNG"]
    assert names == wanted
