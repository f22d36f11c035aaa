"""The static site: it builds without a warning, nothing in it is missing, and browsers show it."""

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from lessons_lib.viz.quizzes import Choice, Question
from tests.site.page import Page
from tests.test_layers import LAYERS

ROOT = Path(__file__).parents[2]
LESSONS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))

sys.path.append(str(ROOT / "docs" / "site"))
import build  # noqa: E402
import lesson_pages  # noqa: E402
import links  # noqa: E402
import reference_pages  # noqa: E402


def cells(folder: str, lesson: str) -> list[dict[str, Any]]:
    notebook = json.loads((ROOT / folder / f"{lesson}.ipynb").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = notebook["cells"]
    return found


# --- What the builder makes of a notebook ---------------------------------------------------------


def test_a_figure_is_described_by_what_is_written_on_it():
    source = """
%matplotlib inline
shown = {"noisy": noisy, f"width {width:.1f}": smooth}
figures.show_images(shown, crop=crop)
"""
    assert lesson_pages.describe_figure(source, "3. Can *averaging* help with $x$?") == (
        "Photographs side by side in “3. Can averaging help with x?”: noisy, width …"
    )
    source = 'axes.set(xlabel="iteration", ylabel=label)\naxes.plot(x, label="FISTA")\n{"a": 1}'
    assert lesson_pages.describe_figure(source, "Speed") == "Plot in “Speed”: iteration, FISTA"


def test_where_nothing_is_written_on_a_figure_the_text_below_says_what_is_seen():
    below = "**What to notice.** On the left *dots*,\non the right none. And more."
    told = lesson_pages.describe_figure("compare({})", "Groups", below)
    assert told == "Figure in “Groups”: On the left dots, on the right none."
    assert lesson_pages.describe_figure("compare({})", "Groups", "Next.") == "Figure in “Groups”"


def test_a_description_is_never_longer_than_somebody_will_listen():
    source = "figures.show_images({" + ", ".join(f'"picture {n}": x' for n in range(200)) + "})"
    text = lesson_pages.describe_figure(source, "Many")
    assert re.search(r": picture 0, .*, picture 2\d$", text)
    assert len(text) <= lesson_pages.ALT_LENGTH


def test_links_lead_to_pages_where_there_is_one_and_to_the_repository_elsewhere():
    def linked(target: str, page: str = "docs/results.md") -> str:
        found: str = links.relink(f"see [it]({target}), x[i](j)", page)
        return found.removeprefix("see ").removesuffix(", x[i](j)")

    assert linked("training.md#a") == "[it](training.md#a)"
    assert linked("#a") == "[it](#a)"
    assert linked("https://example.org/a") == "[it](https://example.org/a)"
    assert linked("../README.md") == "[it](../index.md)"
    assert linked("../LICENSE") == f"[it]({links.REPOSITORY}/blob/main/LICENSE)"
    assert linked(f"{LESSONS[0]}.ipynb", "notebooks/x.ipynb") == f"[it]({LESSONS[0]}.ipynb)"
    assert linked("99_not_yet.ipynb", "notebooks/x.ipynb") == "it"


def test_every_kind_of_figure_has_a_name():
    drawing = (ROOT / "lessons_lib" / "viz").glob("*.py")
    functions = {
        node.name
        for path in drawing
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("show_")
    }
    assert functions == set(lesson_pages.DRAWN)


def test_what_a_widget_offers_is_on_the_page():
    def shown(source: str) -> str:
        return "\n".join(cell.source for cell in lesson_pages.without_widget(source))

    asked = shown('widgets.predict({"a": "a square", "b": f"{n} discs"}, dropped)')
    assert "- a square\n- … discs" in asked
    assert "experiment" in shown("widgets.predict(options, dropped)")
    slid = shown("widgets.explore(draw, lam=[1, 2], small_image=list(ways))")
    assert "sliders redraw the figure: lam, small image" in slid
    assert '<details class="widget">' in slid


def test_a_quiz_replies_to_each_answer():
    choices = {"a": Choice("more < less", "Look again."), "b": Choice("less", "It is.")}
    text = lesson_pages.quiz([Question("Which?", choices, right="b")])
    folds = re.findall(r"<summary>(.+?)</summary>\n\n(.+?)\n\n</details>", text)
    assert folds == [("more &lt; less", "**No.** Look again."), ("less", "**Right.** It is.")]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(SystemExit, match="something other than a site"):
        build.build(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_the_reference_has_the_librarys_layers_and_all_of_their_modules():
    assert [set(parts) for parts in reference_pages.LAYERS.values()] == [
        layer - {"cli", "__main__"} for layer in LAYERS
    ]
    parts = [part for parts in reference_pages.LAYERS.values() for part in parts]
    listed = [name for part in parts for name in reference_pages.modules(part)]
    assert len(listed) == len(set(listed))
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lessons_lib").rglob("*.py")}
    names = {re.sub(r"(/__init__)?\.py$", "", file).replace("/", ".") for file in files}
    missing = {name for name in names - set(listed) if ".cli" not in name}
    assert {re.sub(r"\d+", "NN", name) for name in missing} == {
        "lessons_lib", "lessons_lib.__main__", "lessons_lib.exercises.lesson_NN",
    }  # fmt: skip


# --- The site -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    names = {path: path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    return {name: Page(path) for path, name in names.items() if not name.startswith("_static/")}


@pytest.mark.slow
def test_every_lesson_and_every_document_is_there(site: Path, pages: dict[str, Page]):
    documents = [path.stem for path in (ROOT / "docs").glob("*.md")]
    wanted = {f"notebooks/{lesson}.html" for lesson in LESSONS}
    wanted |= {f"docs/{name}.html" for name in documents}
    wanted |= {"index.html", "search.html", "CONTRIBUTING.html", "api/index.html"}
    assert wanted <= set(pages)
    landing = pages["index.html"]
    shown = {image["src"] for image in landing.images}
    for lesson in LESSONS:
        assert f"notebooks/{lesson}.html" in landing.links
        assert f"data/thumbnails/{lesson}.png" in shown
    assert "python3 course.py lab" in (site / "index.html").read_text("utf-8")


@pytest.mark.slow
def test_every_link_within_the_site_leads_somewhere(site: Path, pages: dict[str, Page]):
    known = {page.path: page for page in pages.values()}
    dead = []
    for name, page in pages.items():
        for link in page.links + page.fetched:
            target = page.target(link)
            if target is None:
                continue
            path, anchor = target
            there = path.is_relative_to(site) and path.is_file()
            if not there or (anchor and path in known and anchor not in known[path].anchors):
                dead.append(f"{name}: {link}")
    assert dead == []


@pytest.mark.slow
def test_no_page_fetches_anything_from_elsewhere(site: Path, pages: dict[str, Page]):
    """So the site works offline, and tells nobody who reads it."""
    outside = {link for page in pages.values() for link in page.fetched if not page.target(link)}
    assert {link for link in outside if not link.startswith("data:")} == set()
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", sheet.read_text("utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_has_its_figures_each_with_words_for_it(pages: dict[str, Page], lesson: str):
    page = pages[f"notebooks/{lesson}.html"]
    figures = [image for image in page.images if "_images/" in image["src"]]
    drawn = [
        output
        for cell in cells("notebooks", lesson)
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(figures) == len(drawn) > 0
    texts = [image.get("alt", "") for image in page.images]
    assert all(len(text.split()) > 3 and not text.endswith(".png") for text in texts), texts


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_has_stubs_and_its_answers_in_folds(
    site: Path, pages: dict[str, Page], lesson: str
):
    page = pages[f"notebooks/{lesson}.html"]
    exercises = [
        "".join(cell["source"])
        for cell in cells("solutions", lesson)
        if "BEGIN SOLUTION" in "".join(cell["source"])
    ]
    html = (site / "notebooks" / f"{lesson}.html").read_text("utf-8")
    text = re.sub(r"<[^>]+>", "", html)
    assert page.folds.count("answer") == len(exercises) > 0
    assert text.count("not attempted: using the library") == len(exercises)
    assert "SOLUTION" not in text.replace("Solution", "")
    for exercise in exercises:
        function = next(
            node for node in ast.parse(exercise).body if isinstance(node, ast.FunctionDef)
        )
        assert len(re.findall(rf"\bdef {function.name}\(", text)) >= 2, function.name


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS)
def test_no_widget_is_left_without_a_word(pages: dict[str, Page], lesson: str):
    page = pages[f"notebooks/{lesson}.html"]
    calls = [
        call
        for cell in cells("notebooks", lesson)
        for call in re.findall(r"^ *widgets\.(\w+)\(", "".join(cell["source"]), re.MULTILINE)
    ]
    assert set(calls) <= {"predict", "explore", "quiz"}
    assert page.folds.count("widget") == len(calls)
    assert "Run this cell to" not in page.path.read_text("utf-8")
    assert page.text.count("Choose one. In the notebook") == calls.count("predict")
    assert page.text.count("sliders redraw the figure") == calls.count("explore")
    assert ("choice" in page.folds) == ("quiz" in calls)


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS)
def test_every_formula_of_a_lesson_is_a_formula(pages: dict[str, Page], lesson: str):
    page = pages[f"notebooks/{lesson}.html"]
    text = "\n\n".join(
        "".join(cell["source"])
        for cell in cells("notebooks", lesson)
        if cell["cell_type"] == "markdown"
    )
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`]+`", "", text)
    blocks = re.findall(r"\$\$.+?\$\$", text, re.DOTALL)
    inline = re.findall(r"\$[^$]+\$", re.sub(r"\$\$.+?\$\$", "", text, flags=re.DOTALL))
    assert page.tags.get("math", 0) == len(blocks) + len(inline)
    assert not re.search(r"\$|\\[a-z]{2,}", page.text)


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS)
def test_the_notebooks_can_be_downloaded_as_they_are(
    site: Path, pages: dict[str, Page], lesson: str
):
    for version, folder in {"student": "notebooks", "solved": "solutions"}.items():
        link = f"../download/{version}/{lesson}.ipynb"
        assert link in pages[f"notebooks/{lesson}.html"].links
        downloaded = (site / "download" / version / f"{lesson}.ipynb").read_bytes()
        assert downloaded == (ROOT / folder / f"{lesson}.ipynb").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", [part for parts in reference_pages.LAYERS.values() for part in parts]
)
def test_the_reference_has_whatever_has_a_docstring(pages: dict[str, Page], part: str):
    page = pages[f"api/{part}.html"]
    for module in reference_pages.modules(part):
        assert f"module-{module}" in page.anchors
        file = ROOT / module.replace(".", "/")
        file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
                named = f"{module}.{node.name}" in page.anchors
                assert named != node.name.startswith("_"), node.name
