"""Lessons as pages: the student's notebook with what a page can have instead of a kernel."""

import ast
import html
import re
from collections.abc import Iterable, Iterator
from itertools import zip_longest

import nbformat
from links import relink
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from lessons_lib.viz.quizzes import Question, questions

# What the functions of lessons_lib.viz draw.
DRAWN = {
    "show_images": "Photographs side by side",
    "show_dictionary": "The atoms of a dictionary as little pictures",
    "show_similar": "Weights of similar patches laid over a photograph",
    "show_groups": "Groups of similar patches framed on a photograph",
    "show_histories": "Objective and duality gap of solvers, iteration by iteration",
    "show_tradeoff": "Decibels against seconds",
    "show_flow": "A diagram of pictures and the steps between them",
}
LABELS = ("title", "xlabel", "ylabel", "label")
WRITERS = ("psnr_title", "set_title", "set_xlabel", "set_ylabel")
ALT_LENGTH = 300


def lesson_page(student: NotebookNode, solved: NotebookNode, name: str) -> NotebookNode:
    """The student's notebook with folded answers, texts for its figures, and no dead widgets.

    It has the solution's cells: the one that installs the library on Colab is the student's alone.
    """
    page = nbformat.v4.new_notebook(metadata=student.metadata)
    # %matplotlib inline is no Python.
    page.metadata.language_info = {"name": "python", "pygments_lexer": "ipython3"}
    theirs = {cell.id: cell for cell in student.cells}
    heading = ""
    for number, (answered, below) in enumerate(zip_longest(solved.cells, solved.cells[1:])):
        cell = theirs.get(answered.id)
        if cell is None:  # nothing but an answer
            page.cells.append(fold("Answer", answer(answered.source), "answer"))
        elif cell.cell_type == "markdown":
            heading = (re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE) or [heading])[-1]
            page.cells.append(new_markdown_cell(relink(cell.source, f"notebooks/{name}.ipynb")))
        elif has_widget(cell):
            page.cells += without_widget(cell.source)
        else:
            if has_picture(cell):
                alt = describe_figure(cell.source, heading, below.source if below else "")
                cell.metadata["mystnb"] = {"image": {"alt": alt}}
            page.cells.append(cell)
            if cell.source != answered.source:
                page.cells.append(fold("Answer", answer(answered.source), "answer"))
        if number == 0:
            page.cells.append(downloads(name))
    return page


def has_picture(cell: NotebookNode) -> bool:
    return any("image/png" in output.get("data", {}) for output in cell.outputs)


def has_widget(cell: NotebookNode) -> bool:
    """Whether solutions/build.py has put an invitation in a widget's place."""
    texts = (output.get("data", {}).get("text/plain", "") for output in cell.outputs)
    return any(text.startswith("Run this cell to ") for text in texts)


def downloads(name: str) -> NotebookNode:
    links = {"Download this notebook": "student", "the same with answers": "solved"}
    parts = [
        f'<a href="../download/{folder}/{name}.ipynb" download>{title}</a>'
        for title, folder in links.items()
    ]
    return new_markdown_cell(f'<p class="downloads">{" · ".join(parts)}</p>')


def answer(source: str) -> str:
    return re.sub(r"^ *### (BEGIN|END) SOLUTION\n?", "", source, flags=re.MULTILINE)


def fold(summary: str, code: str, kind: str) -> NotebookNode:
    """A cell whose code is seen once its summary is clicked."""
    return new_markdown_cell(
        f'<details class="{kind}"><summary>{summary}</summary>\n\n'
        f"````ipython3\n{code.strip()}\n````\n\n</details>"
    )


def without_widget(source: str) -> Iterator[NotebookNode]:
    """What stands for a cell whose widget needs a kernel: what it offers, and its code folded."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="predict"), args=[options, *_]):
                values = options.values if isinstance(options, ast.Dict) else []
                offered = "".join(f"\n- {''.join(strings(value))}" for value in values)
                text = "*Choose one. In the notebook, an experiment then says which is right.*"
                yield new_markdown_cell(f"{text}\n{offered}")
            case ast.Call(func=ast.Attribute(attr="explore"), keywords=sliders):
                names = ", ".join(str(slider.arg).replace("_", " ") for slider in sliders)
                yield new_markdown_cell(f"*In the notebook, sliders redraw the figure: {names}.*")
            case ast.Call(func=ast.Attribute(attr="quiz"), args=[ast.Constant(value=str(lesson))]):
                yield new_markdown_cell(quiz(questions(lesson)))
    yield fold("Code", source, "widget")


def quiz(asked: Iterable[Question]) -> str:
    """Questions whose answers are replied to once they are clicked."""
    text = ""
    for number, question in enumerate(asked, 1):
        text += f"\n**{number}.** {question.question}\n\n"
        for letter, choice in question.choices.items():
            verdict = "Right." if letter == question.right else "No."
            text += f'<details class="choice"><summary>{html.escape(choice.answer)}</summary>\n\n'
            text += f"**{verdict}** {choice.reply}\n\n</details>\n\n"
    return text


def describe_figure(source: str, heading: str, below: str = "") -> str:
    """A text for those who cannot see a figure: its kind, its place, and what is written on it.

    What only a run of the cell could tell, such as the values in a formatted string, is left open:
    "…". Where the cell writes nothing on its figure, the first sentence of *What to notice* tells.

    Args:
        source: of the cell that draws the figure.
        heading: the one above.
        below: text of the next cell.
    """
    tree = ast.parse(re.sub(r"^%.*$", "", source, flags=re.MULTILINE))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    drawn = next((DRAWN[name] for name in map(name_of, calls) if name in DRAWN), "")
    written: list[str] = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(keywords=keywords):
                for keyword in keywords:
                    if keyword.arg in LABELS:
                        written += strings(keyword.value)
                if name_of(node) in WRITERS:
                    written += strings(node.args[0])
            case ast.Dict(keys=keys) if drawn:
                for key in keys:
                    written += strings(key) if key else []
    has_axes = any(keyword.arg == "xlabel" for call in calls for keyword in call.keywords)
    kind = drawn or ("Plot" if has_axes else "Figure")
    section = re.sub(r"[*`$\\]", "", heading)
    text = f"{kind} in “{section}”"
    told = [" ".join(words.split()) for words in written if re.search(r"\w", words)]
    noticed = re.match(r"\*\*What to notice\.\*\* (.+?[.!?])\s", below, re.DOTALL)
    if noticed and not told:
        told = [re.sub(r"[*`$\\]", "", " ".join(noticed[1].split()))]
    for number, words in enumerate(dict.fromkeys(told)):
        longer = f"{text}{', ' if number else ': '}{words}"
        if len(longer) > ALT_LENGTH:
            break
        text = longer
    return text


def name_of(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def strings(node: ast.expr) -> list[str]:
    """The text of a string, or of each string of a list; nothing for what is computed otherwise."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=values):
            return ["".join("".join(strings(part)) or "…" for part in values)]
        case ast.List(elts=several) | ast.Tuple(elts=several):
            return [text for one in several for text in strings(one)]
    return []
