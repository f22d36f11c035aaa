"""The course's notebooks as students get them, and which of their cells another notebook has.

Nothing here runs or parses code: cells are told apart by their ids and their text.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

# A lesson has at most 1.5 MB. What is far larger holds something else.
LARGEST = 50_000_000
# The tag of the cell that installs the library elsewhere, see solutions/build.py. Nobody is asked
# to keep it.
INSTALLS = "installs"
CHECK = re.compile(r"^(\w+) = check\(\"([\w.]+)\", \1\)", re.MULTILINE)
ANY_CHECK = re.compile(r"\bcheck\(\s*[\"']([\w.]+)[\"']")
TITLE = re.compile(r"^#\s+(\d\d)\b", re.MULTILINE)
OWN_CHECK = re.compile(
    r"^\s*(def check\b|check\s*=[^=]|from .* import .*\bas check\b)", re.MULTILINE
)


class NotebookError(ValueError):
    """A file is no notebook that can be graded; the message says why, without its name."""


@dataclass(frozen=True)
class Cell:
    """A cell of a notebook: ``kind`` is code, markdown or raw; ``id`` may be empty."""

    id: str
    kind: str
    source: str

    def same_text(self, other: "Cell") -> bool:
        """Whether both have the same kind and text, up to space at the ends of lines."""
        return self.kind == other.kind and _trimmed(self.source) == _trimmed(other.source)


@dataclass(frozen=True)
class Asked:
    """One exercise of a lesson: its name in `check`, its function, and its cell's position."""

    name: str
    function: str
    position: int


@dataclass(frozen=True)
class Lesson:
    """A notebook of the course as students get it, with stubs instead of answers.

    Attributes:
        number: two digits.
        stem: of the file's name, such as "07_group_lasso".
        cells: all of them.
        exercises: in the order of the notebook.
    """

    number: str
    stem: str
    cells: tuple[Cell, ...]
    exercises: tuple[Asked, ...]


@dataclass(frozen=True)
class Found:
    """What a student's notebook has of one exercise.

    Attributes:
        asked: the exercise.
        cell: position of the student's cell; None where there is none.
        untouched: whether the cell is as it was handed out.
        check_kept: whether the line that calls `check` is as it was handed out.
    """

    asked: Asked
    cell: int | None
    untouched: bool = False
    check_kept: bool = True


@dataclass(frozen=True)
class HandedIn:
    """A student's notebook beside the lesson that it is of.

    Attributes:
        lesson: the lesson.
        cells: the student's.
        origin: for each of the student's cells the position of the lesson's cell that it comes
            from; None for those that were added.
        answers: one for each exercise of the lesson.
    """

    lesson: Lesson
    cells: tuple[Cell, ...]
    origin: tuple[int | None, ...]
    answers: tuple[Found, ...]

    def remarks(self) -> list[str]:
        """What was done to the notebook beside answering, in a few words each."""
        kept = [position for position in self.origin if position is not None]
        said = []
        missing = len(self.lesson.cells) - len(set(kept))
        if missing > len(self.lesson.cells) / 3:
            said.append("another version of the lesson, or much of it deleted")
        elif missing:
            said.append(f"{_count(missing, 'cell')} deleted")
        added = self.origin.count(None)
        if added:
            said.append(f"{_count(added, 'cell')} added")
        if kept != sorted(kept):
            said.append("cells moved")
        edited = sum(
            not self.cells[here].same_text(self.lesson.cells[there])
            for here, there in enumerate(self.origin)
            if there is not None
            and self.lesson.cells[there].kind == "code"
            and there not in {asked.position for asked in self.lesson.exercises}
        )
        if edited:
            said.append(f"{_count(edited, 'cell')} of the lesson's own code edited")
        if any(cell.kind == "code" and OWN_CHECK.search(cell.source) for cell in self.cells):
            said.append("check is defined anew")
        return said


def read_lessons(folder: Path) -> dict[str, Lesson]:
    """The course's notebooks ``NN_name.ipynb`` of a folder, by their numbers.

    Raises:
        NotebookError: one of them cannot be read.
        OSError: the same.
    """
    lessons = {}
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        try:
            cells = read_cells(path)
        except NotebookError as error:
            raise NotebookError(f"{path}: {error}") from None
        exercises = tuple(
            Asked(name, function, position)
            for position, cell in enumerate(cells)
            if cell.kind == "code"
            for function, name in CHECK.findall(cell.source)
        )
        lessons[path.name[:2]] = Lesson(path.name[:2], path.stem, cells, exercises)
    return lessons


def read_cells(path: Path) -> tuple[Cell, ...]:
    """The cells of a notebook of format 4, without the one that installs the library.

    Raises:
        NotebookError: it is none, or another format's.
        OSError: it cannot be read.
    """
    if path.stat().st_size > LARGEST:
        raise NotebookError(f"larger than {LARGEST / 1e6:.0f} MB")
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise NotebookError("not a notebook: no JSON in it") from None
    if not isinstance(content, dict):
        raise NotebookError("not a notebook: JSON of something else")
    if "worksheets" in content:
        raise NotebookError("an old format: open it in JupyterLab and save it again")
    cells = content.get("cells")
    if not isinstance(cells, list) or not cells:
        raise NotebookError("not a notebook: no cells")
    return tuple(_cell(cell) for cell in cells if not _installs(cell))


def recognise(cells: tuple[Cell, ...], lessons: dict[str, Lesson]) -> Lesson | None:
    """The lesson that a notebook is of; None if it is of no lesson.

    Ids of cells decide, then names of exercises, then the number in the title: programs that save
    notebooks may change ids, and students write their names above the title.
    """
    ids = {cell.id for cell in cells if cell.id}
    names = {name for cell in cells for name in ANY_CHECK.findall(cell.source)}
    by_ids = {one: len(ids & {cell.id for cell in one.cells}) for one in lessons.values()}
    by_names = {
        one: len(names & {asked.name for asked in one.exercises}) for one in lessons.values()
    }
    for votes in (by_ids, by_names):
        best = max(votes, key=votes.__getitem__, default=None)
        if best is not None and votes[best]:
            return best
    opening = "\n".join(cell.source for cell in cells[:3] if cell.kind == "markdown")
    title = TITLE.search(opening)
    return lessons.get(title[1]) if title else None


def hand_in(cells: tuple[Cell, ...], lesson: Lesson) -> HandedIn:
    """Find a lesson's cells and its exercises in a student's notebook."""
    places = {cell.id: position for position, cell in enumerate(lesson.cells)}
    origin = [places.get(cell.id) for cell in cells]
    seen: set[int] = set()
    for here, there in enumerate(origin):
        # A copy has the id of what it was copied from in some programs.
        if there in seen:
            origin[here] = None
        elif there is not None:
            seen.add(there)
    for here, cell in enumerate(cells):
        if origin[here] is None:
            same = [
                position
                for position, other in enumerate(lesson.cells)
                if position not in seen and cell.same_text(other)
            ]
            origin[here] = same[0] if same else None
            seen.update(same[:1])
    answers = tuple(_find(asked, cells, lesson, origin) for asked in lesson.exercises)
    for found in answers:
        # Without ids, an answered cell is known by the exercise that it answers.
        if found.cell is not None and found.asked.position not in seen:
            origin[found.cell] = found.asked.position
            seen.add(found.asked.position)
    return HandedIn(lesson, cells, tuple(origin), answers)


def _find(asked: Asked, cells: tuple[Cell, ...], lesson: Lesson, origin: list[int | None]) -> Found:
    """The last cell that answers an exercise, or else its untouched stub."""
    stub = lesson.cells[asked.position]
    defines = re.compile(rf"^def {asked.function}\b", re.MULTILINE)
    candidates = [
        here
        for here, cell in enumerate(cells)
        if cell.kind == "code"
        and (origin[here] == asked.position or asked.name in ANY_CHECK.findall(cell.source))
    ] or [
        here
        for here, cell in enumerate(cells)
        if cell.kind == "code" and origin[here] is None and defines.search(cell.source)
    ]
    if not candidates:
        return Found(asked, None)
    answered = [here for here in candidates if not cells[here].same_text(stub)]
    if not answered:
        return Found(asked, candidates[-1], untouched=True)
    here = answered[-1]
    kept = re.search(
        rf"^{asked.function}\s*=\s*check\(\s*[\"']{re.escape(asked.name)}[\"']\s*,"
        rf"\s*{asked.function}\s*,?\s*\)\s*(#.*)?$",
        cells[here].source,
        re.MULTILINE,
    )
    return Found(asked, here, check_kept=kept is not None)


def _installs(content: object) -> bool:
    metadata = content.get("metadata") if isinstance(content, dict) else None
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return isinstance(tags, list) and INSTALLS in tags


def _cell(content: object) -> Cell:
    if not isinstance(content, dict):
        raise NotebookError("not a notebook: a cell is no cell")
    source = content.get("source", "")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise NotebookError("not a notebook: a cell without text")
    metadata = content.get("metadata")
    # Google Colab keeps ids in the metadata.
    name = content.get("id") or (metadata.get("id") if isinstance(metadata, dict) else None)
    return Cell(str(name or ""), str(content.get("cell_type")), source)


def _trimmed(source: str) -> str:
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)
