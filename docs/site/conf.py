"""Sphinx's settings for the site; `build.py` beside it gathers the pages and calls Sphinx."""

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE)]

from links import METADATA, REPOSITORY  # noqa: E402

project = "Sparse and non-local image restoration"
author = "The lessons-lib contributors"
copyright = f"{author}. Code: BSD-3-Clause; text and figures: CC BY 4.0"
version = release = METADATA["version"]
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml"]
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
html_math_renderer = "mathml"

# Fences without a language are commands.
highlight_language = "none"
# A name in single backticks leads to what has that name, where the site has it.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
add_module_names = False
toc_object_entries_show_parents = "hide"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False  # what stands before a colon is as often a shape as a type
napoleon_attr_annotations = False  # the class's signature has them

html_theme = "pydata_sphinx_theme"
html_title = project
html_favicon = str(HERE / "static" / "favicon.svg")
html_static_path = ["static"]
html_context = {"default_mode": "auto"}
html_css_files = ["course.css"]
html_copy_source = False
html_show_sphinx = False
html_sidebars: dict[str, list[str]] = {name: [] for name in ("index", "CONTRIBUTING")}
html_theme_options = {
    "logo": {"text": "Image restoration"},
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_end": [],
    "icon_links": [
        {
            "name": "Repository",
            "url": REPOSITORY,
            "icon": "fa-brands fa-github",
        }
    ],
}


def indented_as_code(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Show what a docstring sets off by four spaces, a formula or a command, letter by letter."""
    marked: list[str] = []
    for number, line in enumerate(lines):
        set_off = line.startswith("    ") and number > 0 and not lines[number - 1].strip()
        before = next((text for text in reversed(marked) if text.strip()), "")
        if set_off and re.match(r"\S.*(?<!::)$", before):
            marked += ["::", ""]
        # These begin a paragraph of their own.
        if re.match(r"(Source|Differs from the paper): ", line):
            marked.append("")
        marked.append(line)
    lines[:] = marked


def readable_default(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, arguments: str | None, result: Any
) -> tuple[str | None, Any]:
    """Write what a dataclass makes anew for each object in a way that Sphinx can read."""
    return arguments and arguments.replace("<factory>", "..."), result


def setup(app: Sphinx) -> None:
    # Before napoleon, which has sections of its own that are indented.
    app.connect("autodoc-process-signature", readable_default)
    app.connect("autodoc-process-docstring", indented_as_code, priority=400)
