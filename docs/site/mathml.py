"""Formulas as MathML, which browsers draw themselves: no script, nothing to fetch, read aloud too.

Telephones often lack a font for mathematics, so the site brings those letters of STIX Two Math (SIL
Open Font License 1.1) that its formulas need.
"""

import html
import importlib.resources
import re
import unicodedata

from docutils import nodes
from fontTools import subset
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

FONT = importlib.resources.files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf"

convert = LatexToMathML()
letters: set[str] = set()
logger = logging.getLogger(__name__)


def formula(node: nodes.math | nodes.math_block) -> str:
    """MathML of a formula; a formula that cannot be read is a warning, and so fails the build."""
    display = isinstance(node, nodes.math_block)
    try:
        mathml = convert.convert_with_local_state(node.astext(), displaystyle=display)
    except LatexError as error:
        logger.warning("%s in the formula %s", error, node.astext(), location=node)
        return ""
    # A browser would let a large bracket hang below its line where it alone has an exponent.
    mathml = re.sub(
        r"(<msu[bp]+>)<mo( minsize=.+?</mo>)", r'\1<mrow><mo form="postfix"\2</mrow>', mathml
    )
    letters.update(html.unescape(re.sub(r"<[^>]+>", "", mathml)))
    return mathml


def visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(formula(node))
    raise nodes.SkipNode


def visit_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula">{formula(node)}</div>\n')
    raise nodes.SkipNode


def write_font(app: Sphinx, error: Exception | None) -> None:
    """The letters of all formulas, with their larger variants and all that is said of the font."""
    if error:
        return
    options = subset.Options(flavor="woff", layout_features=["*"], name_IDs=["*"])
    with importlib.resources.as_file(FONT) as path:
        font = subset.load_font(str(path), options)
    # A browser draws the letter of a variable by its slanted form, which Unicode has as another.
    forms = [chr(code) for code in (0x210E, *range(0x1D400, 0x1D800))]
    used = letters.union(form for form in forms if unicodedata.normalize("NFKC", form) in letters)
    cut = subset.Subsetter(options)
    cut.populate(text="".join(used))
    cut.subset(font)
    subset.save_font(font, str(app.outdir / "_static" / "math.woff"), options)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("build-finished", write_font)
    # All letters are gathered in this process.
    return {"parallel_read_safe": True, "parallel_write_safe": False}
