"""One pass through lesson 00 as a newcomer sees it: `course.py lab` in a real browser."""

import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, TimeoutError

import course
from tests.browser.jupyter import poll, refuse_to_save, served

pytestmark = pytest.mark.browser

# JavaScript about the lesson that is open in JupyterLab. It is looked up among all that is open:
# while JupyterLab lays out its panels it may at any time hand the focus to its file browser.
LESSON = "[...window.jupyterapp.shell.widgets('main')].find(widget => widget.sessionContext)"
KERNEL_WAITS = f"() => ({LESSON})?.sessionContext.session?.kernel?.status === 'idle'"
# Menus act on the document that has the focus.
FOCUS = f"() => window.jupyterapp.shell.activateById(({LESSON}).id)"
NOTEBOOK = f"""() => {{
    const panel = {LESSON};
    const cells = panel.content.model.toJSON().cells;
    const code = cells.filter(cell => cell.cell_type === 'code' && cell.source.length);
    const outputs = code.flatMap(cell => cell.outputs);
    const view = 'application/vnd.jupyter.widget-view+json';
    return {{
        path: panel.context.path,
        code: code.length,
        done: code.filter(cell => cell.execution_count !== null).length,
        outputs: outputs.length,
        errors: outputs.filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue),
        widgets: cells.flatMap((cell, k) => cell.outputs?.some(o => o.data?.[view]) ? [k] : []),
    }};
}}"""
CLEARED = f"() => ({NOTEBOOK})().outputs === 0"
BEGUN = f"() => ({NOTEBOOK})().done > 0"
FINISHED = f"""() => {{
    const notebook = ({NOTEBOOK})();
    return notebook.errors.length || (notebook.done === notebook.code && ({KERNEL_WAITS})());
}}"""
SCROLL = f"index => ({LESSON}).content.scrollToItem(index)"
PIXELS = """image => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    canvas.getContext('2d').drawImage(image, 0, 0);
    return image.complete && image.naturalWidth ? canvas.toDataURL() : '';
}"""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Start the server as a user does and give the address it prints."""
    # Whatever the user has set up for another JupyterLab must not open this one to others.
    careless = "c.IdentityProvider.token = ''\nc.ServerApp.allow_remote_access = True\n"
    (tmp_path / "jupyter_server_config.py").write_text(careless)
    if not course.is_ready(course.COURSE):
        pytest.fail("set up .venv first: python3 course.py test --browser")
    command = [sys.executable, "course.py", "lab", "--no-browser", "--port", "0"]
    # The page's application object lets the test read outputs that are scrolled out of sight.
    command += ["--", "--LabApp.expose_app_in_browser=True"]
    # As on a first visit, with nothing restored from an earlier one.
    workspaces = str(tmp_path / "workspaces")
    own = {"JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTERLAB_WORKSPACES_DIR": workspaces}
    with served(command, course.ROOT, own) as printed:
        yield printed


def status(address: str) -> int:
    without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with without_proxy.open(address, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def choose(page: Page, menu: str, entry: str, effect: str) -> None:
    """Choose a menu's entry for the lesson, again if something took the focus meanwhile.

    Args:
        page: shows JupyterLab.
        menu: as written in the menu bar.
        entry: as written in the menu.
        effect: JavaScript function that is true once the entry has done its work.
    """
    for attempt in range(5):
        try:
            page.evaluate(FOCUS)
            page.get_by_role("menuitem", name=menu, exact=True).click(timeout=20_000)
            page.get_by_role("menuitem", name=entry, exact=True).click(timeout=20_000)
            page.wait_for_function(effect, timeout=20_000)
            return
        except TimeoutError:
            page.keyboard.press("Escape")
            if attempt == 4:
                raise


def show(page: Page, cells: list[int], role: str) -> Locator:
    """Scroll to the first of some cells whose widget has a control; return the widget's box.

    Args:
        page: shows JupyterLab, which keeps in the page only what is in sight.
        cells: indices of cells with widgets.
        role: of the control, such as "slider".
    """
    box = page.locator(".widget-box", has=page.get_by_role(role)).first
    for cell in cells:
        page.evaluate(SCROLL, cell)
        if poll(box.count, seconds=5):
            return box
    raise AssertionError(f"none of the cells {cells} shows a {role}")


def test_lesson_00_runs_and_its_question_and_its_slider_answer(page: Page, address: str) -> None:
    parts = urlsplit(address)
    assert parts.hostname == "127.0.0.1"
    assert status(address) == 200
    assert status(f"http://{parts.netloc}/api/contents") == 403
    lesson = course.ROOT / parts.path.removeprefix("/lab/tree/")
    before = lesson.read_bytes()
    page.route("**/api/contents/**", refuse_to_save)

    page.goto(address, timeout=120_000)
    page.locator(".jp-CodeCell").first.wait_for(timeout=120_000)
    page.wait_for_function(KERNEL_WAITS, timeout=120_000)
    choose(page, "Edit", "Clear Outputs of All Cells", CLEARED)
    choose(page, "Run", "Run All Cells", BEGUN)
    page.wait_for_function(FINISHED, timeout=240_000)
    page.evaluate(FOCUS)
    notebook = page.evaluate(NOTEBOOK)
    assert course.ROOT / notebook["path"] == lesson
    assert notebook["errors"] == []
    assert notebook["done"] == notebook["code"] > 0

    question = show(page, notebook["widgets"], "radio")
    assert not question.locator("p").count(), "the answer is shown before it is chosen"
    question.get_by_role("radio").first.check(timeout=20_000)
    assert poll(lambda: "it is" in question.inner_text() or "As you said" in question.inner_text())

    box = show(page, notebook["widgets"], "slider")
    slider, image = box.get_by_role("slider").first, box.locator("img.widget-image")
    slider.focus(timeout=20_000)
    first_picture = poll(lambda: image.evaluate(PIXELS))
    at_end = slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
    page.keyboard.press("ArrowLeft" if at_end else "ArrowRight")
    assert poll(lambda: image.evaluate(PIXELS) not in ("", first_picture)), "the picture stayed"
    assert lesson.read_bytes() == before
