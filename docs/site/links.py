"""Links between the repository's files, as the site can follow them."""

import os
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REPOSITORY = METADATA["urls"]["Repository"]
# What the site has at the same place.
PAGES = re.compile(r"notebooks/\d\d_\w+\.ipynb|docs/\w+\.(md|png)|CONTRIBUTING\.md")


def relink(text: str, page: str) -> str:
    """Lead links to files that are no pages of the site to the repository.

    Args:
        text: Markdown.
        page: the place of its file in the repository.
    """
    folder = Path(page).parent

    def lead(match: re.Match[str]) -> str:
        words, target = match["words"], match["target"]
        path = os.path.normpath(folder / target.partition("#")[0]).replace(os.sep, "/")
        if target.endswith(".ipynb") and not (ROOT / path).exists():
            return words  # a lesson that is announced
        if path == "README.md":
            return f"[{words}]({os.path.relpath('index.md', folder)})".replace(os.sep, "/")
        if PAGES.fullmatch(path) or not (ROOT / path).exists():
            return match[0]
        return f"[{words}]({REPOSITORY}/blob/main/{path})"

    return re.sub(r"\[(?P<words>[^\]\[]+)\]\((?P<target>[^)\s:#][^)\s:]*)\)", lead, text)
