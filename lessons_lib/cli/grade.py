"""``lessons grade``: score the notebooks that students hand in."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lessons_lib.cli.options import check_csv

if TYPE_CHECKING:
    from lessons_lib.grading import Row


def grade(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Notebooks, or a folder of notebooks for each student."
        ),
    ],
    table: Annotated[
        Path | None, typer.Option("--csv", help="Also write all verdicts into this file.")
    ] = None,
    minutes: Annotated[
        float, typer.Option(min=0.1, help="Time for a notebook; an answer gets a tenth of it.")
    ] = 5,
    memory: Annotated[float, typer.Option(min=1, help="Memory for a notebook, in GiB.")] = 4,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Score the answers only; do not run notebooks from top to bottom as well.",
        ),
    ] = False,
    lessons: Annotated[
        Path | None,
        typer.Option(help="Folder of the notebooks that were handed out, else the course's."),
    ] = None,
) -> None:
    """Score the notebooks that students hand in.

    The lesson is recognised by what is in a notebook. Its answers are put into the lesson's own
    notebook and scored by the library's checks, in a process with limits on time and memory and
    without a network. Nothing in FOLDER is changed.
    """
    if table is not None:
        check_csv(table)
    import lessons_lib
    from lessons_lib.files import replace_file
    from lessons_lib.grading import (
        WHOLE,
        GradingError,
        Limits,
        choose_confinement,
        grade_folder,
        read_lessons,
    )

    handed_out = lessons or Path(lessons_lib.__file__).parents[1] / "notebooks"
    known = read_lessons(handed_out)
    if not known:
        raise GradingError(f"{handed_out}: none of the course's notebooks; name their --lessons")
    confined, limits = choose_confinement(), Limits(minutes, memory)
    graded = grade_folder(folder, known, limits, confined, whole=not quick)
    typer.echo(f"Students' code runs {confined.words}.", err=True)
    rows: list[Row] = []
    for some in graded:
        rows += some
        typer.echo("\n".join(_lines(some)))
        if table is not None:
            replace_file(table, _as_csv(rows).encode())
    typer.echo("\n" + "\n".join(_by_student(rows)))
    if scored := [row for row in rows if row.exercise != WHOLE]:
        typer.echo("\n" + "\n".join(_by_exercise(scored)))
    if any(row.verdict == "not graded" for row in rows):
        raise typer.Exit(2)


def _lines(rows: list["Row"]) -> list[str]:
    """A notebook in a line, and a line for each exercise that is not passed."""
    whole, *exercises = rows
    if whole.verdict == "not graded":
        return [f"{whole.file}: not graded: {whole.detail}"]
    words = [f"{sum(row.points for row in exercises)} of {len(exercises)} points"]
    if whole.verdict != "not run":
        words.append(f"{whole.verdict} in {whole.seconds:.0f} s")
    words += [whole.detail] if whole.detail else []
    return [
        f"{whole.file}: {whole.student}, lesson {whole.lesson}: {'; '.join(words)}",
        *(
            f"    {row.exercise}: {row.verdict}" + (f": {row.detail}" if row.detail else "")
            for row in exercises
            if row.verdict != "passed"
        ),
    ]


def _by_student(rows: list["Row"]) -> list[str]:
    """Points of each student in each lesson; of several notebooks of a lesson, the best."""
    best: dict[tuple[str, str], tuple[int, int]] = {}
    for file in dict.fromkeys(row.file for row in rows):
        whole, *exercises = (row for row in rows if row.file == file)
        place = (whole.student, whole.lesson)
        points = (sum(row.points for row in exercises), len(exercises))
        best[place] = max(points, best.get(place, (0, 0)))
    lessons = sorted({lesson for _, lesson in best if lesson})
    table = [("student", *lessons, "points")]
    for student in sorted({student for student, _ in best}):
        found = [best.get((student, lesson)) for lesson in lessons]
        cells = [f"{one[0]}/{one[1]}" if one else "-" for one in found]
        table.append((student, *cells, str(sum(one[0] for one in found if one))))
    return _columns(table)


def _by_exercise(rows: list["Row"]) -> list[str]:
    """How many passed each exercise, and what most of the others broke."""
    table = [("lesson", "exercise", "passed", "not tried", "other", "most often")]
    places = dict.fromkeys((row.lesson, row.exercise) for row in rows)
    for place in sorted(places, key=lambda place: place[0]):
        here = [row for row in rows if (row.lesson, row.exercise) == place]
        passed = sum(row.points for row in here)
        untried = sum(row.verdict == "not tried" for row in here)
        broken = Counter(
            row.detail.removeprefix("broken: ").partition(" (")[0] or row.verdict
            for row in here
            if not row.points and row.verdict != "not tried"
        )
        often = broken.most_common(1)[0][0] if broken else ""
        other = len(here) - passed - untried
        table.append((*place, f"{passed} of {len(here)}", str(untried), str(other), often))
    return _columns(table)


def _columns(table: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def _as_csv(rows: list["Row"]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ("student", "lesson", "exercise", "verdict", "detail", "points", "seconds", "file")
    writer.writerow(head)
    for row in rows:
        points = row.points if row.verdict != "not graded" else ""
        cells = (row.student, row.lesson, row.exercise, row.verdict, row.detail)
        writer.writerow([*map(_no_formula, cells), points, row.seconds, _no_formula(row.file)])
    return text.getvalue()


def _no_formula(cell: str) -> str:
    """A text that no spreadsheet takes for a formula, whatever a student has written."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t") else cell
