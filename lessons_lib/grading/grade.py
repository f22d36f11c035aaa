"""Grade what students hand in: a row for each exercise, whatever their notebooks hold."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lessons_lib.grading.confinement import Confinement
from lessons_lib.grading.lessons import (
    HandedIn,
    Lesson,
    NotebookError,
    hand_in,
    read_cells,
    recognise,
)
from lessons_lib.grading.runner import Event, Limits, Runner, start_runner

# The word of the row that is about a notebook and not about one of its exercises.
WHOLE = "notebook"
# Letters of a detail; errors of a student's own can be as long as they like.
LONGEST_TEXT = 500
NO_MEMORY = r"MemoryError|can't allocate memory|not enough memory|bad_alloc|bad allocation"


class GradingError(ValueError):
    """Nothing can be graded; the message says why."""


@dataclass(frozen=True)
class Row:
    """What became of one exercise, or of a notebook as a whole.

    Attributes:
        student: by the name of the folder or file.
        lesson: two digits; "" where it is not known.
        exercise: its name in `check`; `WHOLE` for the notebook.
        verdict: of an exercise: passed, broken, not tried, cell missing, check changed, error,
            out of time, out of memory. Of a notebook: runs, stops, out of time, out of memory, not
            run (where that was not asked for), not graded (it cannot be).
        detail: the property that is broken and its case, the error, what was done to the notebook.
        points: 1 for an exercise that the library's checks pass, else 0.
        seconds: that it took.
        file: the notebook's, in the folder.
    """

    student: str
    lesson: str
    exercise: str
    verdict: str
    detail: str
    points: int
    seconds: float
    file: str


def grade_folder(
    folder: Path,
    lessons: dict[str, Lesson],
    limits: Limits,
    confined: Confinement,
    whole: bool = True,
) -> Iterator[list[Row]]:
    """Grade every notebook of a folder, and of the folders in it; nothing in it is changed.

    Args:
        folder: notebooks, or a folder of notebooks for each student.
        lessons: the course's, see `read_lessons`.
        limits: of each notebook.
        confined: how its code is kept away from everything else, see `choose_confinement`.
        whole: whether notebooks are also run as they are, from the first cell to the last.

    Returns:
        The rows of one notebook after the other: first the one about the whole.

    Raises:
        GradingError: there is no such folder, or no notebook in it.
    """
    if not folder.is_dir():
        raise GradingError(f"{folder} is no folder")
    paths = [path for path in sorted(folder.rglob("*.ipynb")) if not _is_litter(path, folder)]
    if not paths:
        raise GradingError(f"{folder}: no notebook (*.ipynb) in it")
    return _graded(paths, folder, lessons, limits, confined, whole)


def _graded(
    paths: list[Path],
    folder: Path,
    lessons: dict[str, Lesson],
    limits: Limits,
    confined: Confinement,
    whole: bool,
) -> Iterator[list[Row]]:
    with start_runner(limits, confined) as runner:
        for path in paths:
            yield _grade(path, folder, lessons, runner, whole)


def _is_litter(path: Path, folder: Path) -> bool:
    """What Jupyter and archives of macOS leave beside notebooks."""
    return any(
        part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts
    )


def _grade(
    path: Path,
    folder: Path,
    lessons: dict[str, Lesson],
    runner: Runner,
    whole: bool,
) -> list[Row]:
    file = path.relative_to(folder).as_posix()
    student = _student(path, folder, lessons)
    blank = Row(_plain(student), "", WHOLE, "not graded", "", 0, 0.0, _plain(file))
    try:
        if path.is_symlink() or not path.is_file():
            raise NotebookError("a link or a folder, no file")
        cells = read_cells(path)
    except (NotebookError, OSError) as error:
        words = error.strerror if isinstance(error, OSError) else str(error)
        return [replace(blank, detail=words or "cannot be read")]
    lesson = recognise(cells, lessons)
    if lesson is None:
        return [replace(blank, detail="of no lesson of this course")]
    blank = replace(blank, lesson=lesson.number)
    given = hand_in(cells, lesson)
    companions = path.parent if path.parent != folder else None
    rows = [_run_whole(given, blank, companions, runner, whole)]
    scored = _score(given, companions, runner)
    for found in given.answers:
        verdict, detail, seconds = scored[found.asked.name]
        points = int(verdict == "passed")
        if not found.check_kept:
            outcome = "passes the official check" if points else f"{verdict}: {detail}"
            verdict, detail = "check changed", outcome.removesuffix(": ")
        rows.append(
            replace(
                blank,
                exercise=found.asked.name,
                verdict=verdict,
                detail=_plain(detail),
                points=points,
                seconds=seconds,
            )
        )
    return rows


def _student(path: Path, folder: Path, lessons: dict[str, Lesson]) -> str:
    """The folder's name, or the file's without the lesson's."""
    first, *rest = path.relative_to(folder).parts
    if rest:
        return first
    name = path.stem
    for lesson in lessons.values():
        name = name.replace(lesson.stem, "")
    return name.strip(" _-.") or path.stem


def _plain(text: str) -> str:
    """A text for terminals and tables: one line, not long, of letters that can be written."""
    letters = text.encode("utf-8", "replace").decode()
    shown = "".join(letter if letter.isprintable() else "?" for letter in letters)
    return shown if len(shown) <= LONGEST_TEXT else shown[: LONGEST_TEXT - 1] + "…"


# --- What a notebook's cells do -------------------------------------------------------------------


def _run_whole(
    given: HandedIn, blank: Row, companions: Path | None, runner: Runner, wanted: bool
) -> Row:
    """The row about a notebook as it was handed in."""
    remarks = given.remarks()
    if not wanted:
        return replace(blank, verdict="not run", detail="; ".join(remarks))
    cells = [cell.source if cell.kind == "code" else "" for cell in given.cells]
    job = {"kind": "run", "cells": cells}
    started, number, verdict, why = time.monotonic(), 0, "runs", ""
    for event in runner.run(job, companions, 60 * runner.limits.minutes):
        if event["event"] == "cell":
            number = event["number"]
        elif event["event"] == "stopped":
            why = event["error"]
            verdict = "out of memory" if re.search(NO_MEMORY, why) else "stops"
        elif event["event"] == "ended":
            why = event["detail"]
            verdict = "stops" if event["verdict"] == "error" else event["verdict"]
    if verdict != "runs":
        remarks.insert(0, f"in cell {number + 1}" + (f": {why}" if why else ""))
    seconds = round(time.monotonic() - started, 1)
    return replace(blank, verdict=verdict, detail=_plain("; ".join(remarks)), seconds=seconds)


def _score(
    given: HandedIn, companions: Path | None, runner: Runner
) -> dict[str, tuple[str, str, float]]:
    """Verdict, detail and seconds of each exercise.

    An answer that never ends, or ends its process, settles its own verdict alone: the others are
    scored in another process.
    """
    scored: dict[str, tuple[str, str, float]] = {}
    for found in given.answers:
        if found.cell is None:
            scored[found.asked.name] = ("cell missing", "", 0.0)
        elif found.untouched:
            scored[found.asked.name] = ("not tried", "", 0.0)
    lesson = {"lesson": given.lesson.number, "cells": _with_answers(given)}
    while len(scored) < len(given.answers):
        exercises = [
            {
                "name": found.asked.name,
                "function": found.asked.function,
                "settled": found.asked.name in scored,
            }
            for found in given.answers
        ]
        job = {"kind": "score", **lesson, "exercises": exercises}
        first = next(str(one["name"]) for one in exercises if not one["settled"])
        current, started = first, time.monotonic()
        for event in runner.run(job, companions, 6 * runner.limits.minutes):
            if event["event"] == "begin":
                current, started = event["name"], time.monotonic()
            elif event["event"] == "verdict":
                scored[event["name"]] = _verdict(event)
                if event["verdict"] == "tampered":
                    break
            elif event["event"] == "ended":
                took = round(time.monotonic() - started, 1)
                scored[current] = (event["verdict"], event["detail"], took)
        scored.setdefault(first, ("error", "no verdict came of it", 0.0))
    return scored


def _verdict(event: Event) -> tuple[str, str, float]:
    verdict, detail = event["verdict"], event.get("detail", "")
    if verdict == "error" and re.search(NO_MEMORY, detail):
        verdict = "out of memory"
    elif verdict in ("tampered", "library"):
        verdict = "error"
    elif verdict == "unknown":
        verdict, detail = "error", "the installed library has no such exercise"
    return verdict, detail, event.get("seconds", 0.0)


def _with_answers(given: HandedIn) -> list[Event]:
    """The lesson's code with a student's answers in it; what the student added is marked."""
    answers = {found.cell: found for found in given.answers if found.cell is not None}
    exercises = {found.asked.position: found for found in given.answers}
    added: dict[int, list[str]] = {}
    after = -1
    for here, cell in enumerate(given.cells):
        origin = given.origin[here]
        after = after if origin is None else origin
        if cell.kind != "code" or here in answers:
            continue
        if origin is None or origin in exercises or not cell.same_text(given.lesson.cells[origin]):
            # Before every answer that it came before.
            ahead = [one.asked.position - 1 for place, one in answers.items() if here < place]
            added.setdefault(min([after, *ahead]), []).append(cell.source)
    cells = [_cell(source, own=True) for source in added.get(-1, ())]
    for position, cell in enumerate(given.lesson.cells):
        found = exercises.get(position)
        if found is not None and found.cell is not None:
            # An untouched stub stays out: its function is the library's.
            source = "" if found.untouched else given.cells[found.cell].source
            cells.append(_cell(source, answers=found.asked.name))
        elif found is None and cell.kind == "code":
            cells.append(_cell(cell.source))
        cells += [_cell(source, own=True) for source in added.get(position, ())]
    return cells


def _cell(source: str, own: bool = False, answers: str | None = None) -> Event:
    return {"source": source, "own": own, "answers": answers}
