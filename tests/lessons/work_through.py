"""One lesson as a student works through it, with answers of one's own.

After the last cell sliders are moved, questions answered, and the code of folded solutions run.
Whatever asks another machine for something is refused, and named at the end if it took no notice.

It is run as a program, in a process of its own as a kernel is: lessons set the number of threads
and switch gradients off, for themselves.
"""

import ast
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jupytext  # type: ignore[import-untyped]
import matplotlib
from matplotlib.figure import Figure

from lessons_lib.viz import widgets

HERE = Path(__file__).parent


def own_answers(lesson: str) -> dict[str, str]:
    """The source of each answer by its function's name."""
    text = (HERE / f"own_{lesson}.py").read_text(encoding="utf-8")
    return {
        node.name: ast.get_source_segment(text, node) or ""
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
    }


def with_answer(cell: str, answers: dict[str, str]) -> str:
    """An exercise's cell with the answered function exchanged; what is around it stays."""
    for node in ast.parse(cell).body:
        if isinstance(node, ast.FunctionDef) and node.name in answers:
            given = ast.get_source_segment(cell, node) or ""
            cell = cell.replace(given, answers[node.name])
    return cell


def code_of_problems(text: str) -> list[str]:
    """The code in the folded solutions of the problems at a lesson's end."""
    folded = re.findall(r"<details><summary>Solution.*?</details>", text, re.DOTALL)
    return [code for part in folded for code in re.findall(r"```python\n(.*?)```", part, re.DOTALL)]


def refuse_network() -> list[str]:
    """Refuse every connection but those inside this machine's own processes from now on.

    Returns:
        What was refused, which grows.
    """
    refused: list[str] = []

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        # A socket between processes has the name of a file; addresses of machines are tuples.
        if event in ("socket.getaddrinfo", "socket.gethostbyname") or (
            event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple)
        ):
            refused.append(f"{event} {arguments}")
            raise OSError(f"a lesson needs no network: {refused[-1]}")

    sys.addaudithook(hear)
    return refused


def run(source: Path) -> None:
    """Every answer passes, nothing after it fails, and sliders still work after the last cell."""
    refused = refuse_network()
    os.environ["LESSONS_STRICT"] = "1"
    os.chdir(source.parent)
    matplotlib.use("agg")
    sliders: list[tuple[Callable[..., Figure], dict[str, Sequence[Any]]]] = []
    questions: list[tuple[dict[str, str], Callable[[], tuple[str, Figure | str]]]] = []
    widgets.explore = lambda draw, **options: sliders.append((draw, options))
    widgets.predict = lambda *question: questions.append(question)

    answers, asked = own_answers(source.stem[:2]), set()
    lesson: dict[str, Any] = {"__name__": "__main__"}
    cells = jupytext.read(source, fmt="py:percent").cells
    for number, cell in enumerate(cells):
        if cell.cell_type != "code":
            continue
        text = cell.source.replace("%matplotlib inline", "")
        where = f"{source.name}, cell {number}"
        if "BEGIN SOLUTION" in text:
            # The course's answer must pass too, before the student's takes its place.
            exec(compile(text, where, "exec"), lesson)
            asked |= {name for name in answers if f"{name} = check(" in text}
            text = with_answer(text, answers)
            assert "BEGIN SOLUTION" not in text, f"{where}: nobody answers"
        exec(compile(text, where, "exec"), lesson)
    assert asked == answers.keys(), "an answer to no exercise"

    for draw, options in sliders:
        first = {name: _value(values[0]) for name, values in options.items()}
        for name, values in options.items():
            for value in {len(values) // 2, len(values) - 1}:
                assert isinstance(draw(**{**first, name: _value(values[value])}), Figure)
    for options, outcome in questions:
        assert outcome()[0] in options
    for number, cell in enumerate(cells):
        for text in code_of_problems(cell.source) if cell.cell_type == "markdown" else []:
            exec(
                compile(text, f"{source.name}, cell {number}, a problem's solution", "exec"), lesson
            )
    assert not refused


def _value(option: Any) -> Any:
    """Of a slider's position: a (label, value) pair has both."""
    return option[1] if isinstance(option, tuple) else option


if __name__ == "__main__":
    run(Path(sys.argv[1]).resolve())
