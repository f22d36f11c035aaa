"""Make the static site from what is committed; no notebook is run.

    python docs/site/build.py [FOLDER]      FOLDER is site/ where none is given

Pages keep the places that their sources have in the repository, so that links between them hold.
"""

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from sphinx.cmd.build import main as sphinx

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT)]  # the library of this tree, whichever is installed

from lesson_pages import lesson_page  # noqa: E402
from links import relink  # noqa: E402
from reference_pages import reference  # noqa: E402

# Folders that notebooks are downloaded from, and those that they come from.
VERSIONS = {"student": "notebooks", "solved": "solutions"}
# The README's sections that the first page has; the others are the library's page.
ON_LANDING = ["Start", "The lessons", "Contributing, citing, licence"]
# These are a digest of pages that the site has in full.
DIGESTS = ["Results"]
# Documents that stand below the results in the menu; the others stand below the library's page.
MEASURED = ["training", "speed", "losses", "nn3d", "louder", "classes", "pooling"]
MEASURED += ["noise_level", "unlike", "reliability"]


def sections(markdown: str) -> dict[str, str]:
    """Text under each heading of the second level, without it; what comes before is under ""."""
    parts = re.split(r"^## (.+)\n", markdown, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def lesson_cards(table: str) -> str:
    """The README's table of lessons for screens of any width."""
    row = re.compile(
        r'^\| <img src="(?P<picture>[^"]+)".*?> \| \[(?P<title>[^\]]+)\]\((?P<page>[^)]+)\.ipynb\) '
        r"\| (?P<goal>.+?) \| (?P<minutes>\d+) \|$",
        re.MULTILINE,
    )
    cards = [
        f'<li><a href="{lesson["page"]}.html"><img src="{lesson["picture"]}" alt="" loading="lazy">'
        f"<strong>{lesson['title']}</strong></a>"
        f"<span>{lesson['goal']}</span><small>{lesson['minutes']} minutes</small></li>"
        for lesson in row.finditer(table)
    ]
    return '<ul class="lessons">\n' + "\n".join(cards) + "\n</ul>\n"


def menu(pages: list[str]) -> str:
    return "\n```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```\n"


def gather(extra: Path) -> dict[str, str]:
    """All pages by their places, as text.

    Args:
        extra: a folder to put what the site has as files.
    """
    pages = {}
    lessons = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    for lesson in lessons:
        for version, folder in VERSIONS.items():
            (extra / "download" / version).mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / folder / f"{lesson}.ipynb", extra / "download" / version)
        student, solved = (
            nbformat.read(ROOT / folder / f"{lesson}.ipynb", as_version=4)
            for folder in VERSIONS.values()
        )
        page = lesson_page(student, solved, lesson)
        pages[f"notebooks/{lesson}.ipynb"] = nbformat.writes(page)
    shutil.copytree(ROOT / "data" / "thumbnails", extra / "data" / "thumbnails")

    readme = sections(relink((ROOT / "README.md").read_text("utf-8"), "README.md"))
    title, _, opening = readme.pop("").partition("\n")
    opening = re.sub(r"^\[!\[.*$", "", opening, flags=re.MULTILINE)  # badges
    cards = lesson_cards(readme["The lessons"])
    table = re.compile(r"^\|.*\n(\|.*\n)*", re.MULTILINE)
    readme["The lessons"] = table.sub(lambda _: cards, readme["The lessons"])
    landing = [f"## {name}\n{readme[name]}" for name in ON_LANDING]
    rest = [f"## {name}\n{readme[name]}" for name in readme if name not in ON_LANDING + DIGESTS]
    top = menu(["lessons", "docs/results", "library", "api/index", "CONTRIBUTING"])
    pages["index.md"] = f"{title}\n{opening}{''.join(landing)}{top}"
    documents = sorted(path.stem for path in (ROOT / "docs").glob("*.md"))
    others = [f"docs/{name}" for name in documents if name not in ["results", *MEASURED]]
    pages["library.md"] = f"# Commands and library\n\n{''.join(rest)}{menu(others)}"
    inside = menu([f"notebooks/{lesson}" for lesson in lessons])
    pages["lessons.md"] = f"# Lessons\n\n{readme['The lessons']}{inside}"

    for name in [*(f"docs/{document}.md" for document in documents), "CONTRIBUTING.md"]:
        pages[name] = relink((ROOT / name).read_text("utf-8"), name)
    pages["docs/results.md"] += menu(MEASURED)
    return pages | {f"api/{name}": text for name, text in reference().items()}


# --- The site -----------------------------------------------------------------------------------


def build(site: Path) -> int:
    """Write the site, in place of one that was there; return Sphinx's exit code.

    Raises:
        SystemExit: if the folder holds something else.
    """
    if site.exists() and any(site.iterdir()) and not (site / "objects.inv").exists():
        raise SystemExit(f"{site} holds something other than a site: name another folder.")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for page, text in gather(work / "extra").items():
            (work / "pages" / page).parent.mkdir(parents=True, exist_ok=True)
            (work / "pages" / page).write_text(text, encoding="utf-8")
        for picture in (ROOT / "docs").glob("*.png"):
            shutil.copy(picture, work / "pages" / "docs")
        options = ["--quiet", "--fail-on-warning", "--conf-dir", str(HERE)]
        options += [f"--define=html_extra_path={work / 'extra'}"]
        options += ["--doctree-dir", str(work / "doctrees"), "--builder=html"]
        code = sphinx([*options, str(work / "pages"), str(work / "site")])
        if code == 0:
            shutil.rmtree(site, ignore_errors=True)
            shutil.move(work / "site", site)
    return code


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the static site.")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "site", metavar="FOLDER")
    site = parser.parse_args().folder.resolve()
    code = build(site)
    if code == 0:
        print(f"The site is in {site}: open {(site / 'index.html').as_uri()}")
    return code


if __name__ == "__main__":
    sys.exit(main())
