"""`lessons grade` on real lessons, honest, odd and hostile ones: a verdict for each exercise."""

import ast
import copy
import csv
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from lessons_lib.cli import main
from lessons_lib.grading import (
    WHOLE,
    Lesson,
    Limits,
    Row,
    child,
    choose_confinement,
    grade_folder,
    read_lessons,
)
from lessons_lib.grading.confinement import GUARD, NAMESPACES
from lessons_lib.grading.grade import _with_answers
from lessons_lib.grading.lessons import INSTALLS, hand_in, read_cells
from lessons_lib.grading.needed import BUILTINS, Statement, needed_for, statements

ROOT = Path(__file__).resolve().parents[1]
LESSONS = read_lessons(ROOT / "notebooks")
LESSON = LESSONS["07"]
NAMES = [asked.name for asked in LESSON.exercises]
NORM, PROX, SPARSE, LARGEST, STEP = NAMES

Notebook = dict[str, Any]


def stubs(lesson: Lesson) -> Notebook:
    """A lesson as students get it, with nothing printed yet, and nothing to install."""
    path = ROOT / "notebooks" / f"{lesson.stem}.ipynb"
    content: Notebook = json.loads(path.read_text("utf-8"))
    content["cells"] = [
        cell for cell in content["cells"] if INSTALLS not in cell["metadata"].get("tags", [])
    ]
    for cell in content["cells"]:
        cell["source"] = "".join(cell["source"])
        if "outputs" in cell:
            cell["outputs"] = []
    return content


def with_solutions(lesson: Lesson) -> Notebook:
    """The same with the course's answers."""
    content = stubs(lesson)
    answers = {
        one.id: one.source for one in read_cells(ROOT / "solutions" / f"{lesson.stem}.ipynb")
    }
    for asked in lesson.exercises:
        cell = content["cells"][asked.position]
        cell["source"] = answers[cell["id"]]
    return content


STUBS, SOLVED = stubs(LESSON), with_solutions(LESSON)


def solved() -> Notebook:
    return copy.deepcopy(SOLVED)


def cell_of(content: Notebook, name: str) -> Notebook:
    """The cell of an exercise."""
    return next(cell for cell in content["cells"] if f'check("{name}"' in cell["source"])


def code(source: str, name: str = "added") -> Notebook:
    return {"cell_type": "code", "id": name, "metadata": {}, "outputs": [], "source": source}


def answered(content: Notebook, **bodies: str) -> Notebook:
    """A notebook with other bodies of the functions, given by their names."""
    for function, body in bodies.items():
        for cell in content["cells"]:
            if f"\n{function} = check(" not in cell["source"]:
                continue
            head, _, tail = cell["source"].partition('"""\n')
            rest = tail[tail.index(f"\n\n\n{function} = check(") :]
            cell["source"] = f'{head}"""\n' + "".join(f"    {x}\n" for x in body.split("\n")) + rest
    return content


# --- What students hand in ------------------------------------------------------------------------


def wrong() -> Notebook:
    """A property broken, an error, a sentence that is no Python, a name that nobody knows."""
    content = answered(
        solved(),
        l12_norm="return codes.norm(dim=0).sum()",
        group_threshold="return z / 0 if threshold else z.nonsense",
        largest_lambda="return float(unknown_name)",
    )
    cell_of(content, SPARSE)["source"] += "\nfor forgotten in"
    return content


def rearranged() -> Notebook:
    """Cells deleted, moved and added; the answers are right, one with a helper of the student's."""
    content = answered(solved(), group_threshold="return shorter(z, threshold)")
    cells = content["cells"]
    cells.remove(cell_of(content, STEP))
    cells.remove(next(cell for cell in cells if "def agreement" in cell["source"]))
    moved = cell_of(content, LARGEST)
    cells.remove(moved)
    cells.insert(2, moved)
    helper = "import numpy as np\n%timeit 1\n\ndef shorter(z, threshold):\n"
    helper += "    length = z.norm(dim=-1, keepdim=True).clamp_min(np.float32(1e-12).item())\n"
    helper += "    return z * (1 - threshold / length).clamp_min(0)\nraise SystemExit"
    cells.insert(cells.index(cell_of(content, PROX)), code(helper))
    return content


def checks_changed() -> Notebook:
    """The check printed by hand, gone, and of another function; and defined anew for all."""
    content = answered(solved(), l12_norm="return codes.sum()", group_step="return codes")
    norm, prox, sparse = (cell_of(content, name) for name in (NORM, PROX, SPARSE))
    norm["source"] = norm["source"].replace(
        f'l12_norm = check("{NORM}", l12_norm)', f'print("{NORM}: PASS")'
    )
    prox["source"] = prox["source"].replace(
        f'group_threshold = check("{PROX}", group_threshold)', ""
    )
    sparse["source"] = sparse["source"].replace(
        f'"{SPARSE}", sparse', f'"{SPARSE}", lesson_06 and sparse'
    )
    fake = "def check(name, function):\n    print(name + ': PASS')\n    return function"
    content["cells"].insert(2, code(fake))
    return content


def hostile(folder: Path) -> Notebook:
    """Never ends, ends its process, changes the checks, forges results; one answer is honest."""
    forge = f"""import json, os
for number in range(3, 64):
    for word in ('', 'token ', '0' * 32 + ' '):
        line = word + json.dumps({{"event": "verdict", "name": "{STEP}", "verdict": "passed"}})
        try:
            os.write(number, (line + chr(10)).encode())
        except OSError:
            pass
open({str(folder / "left.txt")!r}, "w").write("x")
return codes"""
    return answered(
        solved(),
        l12_norm="while True:\n    pass",
        group_threshold="import os\nos._exit(0)",
        sparse_group_threshold="import lessons_lib.exercises.properties as p\n"
        "import lessons_lib.exercises.lesson_07 as l\nl.same = lambda *a, **k: None\n"
        "return z",
        group_step=forge,
    )


def hungry() -> Notebook:
    """More memory than there is, asked for in two ways; no network; a library's function."""
    content = answered(
        solved(),
        l12_norm="return torch.zeros(10**12).sum()",
        group_threshold="return len(bytearray(10**12)) * z",
        sparse_group_threshold="import socket\n"
        "socket.create_connection(('192.0.2.1', 80), timeout=60)\nreturn z",
    )
    cell = cell_of(content, LARGEST)
    cell["source"] = (
        "from lessons_lib.exercises.lesson_07 import largest_lambda\n\n"
        f'largest_lambda = check("{LARGEST}", largest_lambda)'
    )
    return content


def older() -> Notebook:
    """Saved by a program without ids of cells, from an older version of the lesson."""
    content = solved()
    content["nbformat_minor"] = 4
    for number, cell in enumerate(content["cells"]):
        del cell["id"]
        if cell["cell_type"] == "markdown" and number > 0:
            cell["source"] += "\nAn older version."
    cell = cell_of(content, STEP)
    cell_of(content, PROX)["source"] = "%%time\n" + cell_of(content, PROX)["source"]
    content["cells"].insert(0, copy.deepcopy(cell_of(STUBS, STEP)))  # tried twice
    cell["source"] = cell["source"].replace("check(", "check( ").replace('"', "'")
    return content


UNREADABLE: dict[str, tuple[str, str]] = {
    "empty": ("", "no JSON"),
    "words": ("my answers: 42", "no JSON"),
    "cut": (json.dumps(SOLVED)[:9000], "no JSON"),
    "deep": ("[" * 200_000, "no JSON"),
    "list": ("[1, 2]", "JSON of something else"),
    "old": ('{"worksheets": [], "nbformat": 3}', "an old format"),
    "no cells": ('{"cells": []}', "no cells"),
    "bad cells": ('{"cells": [7]}', "a cell is no cell"),
    "bad text": ('{"cells": [{"cell_type": "code", "source": 3}]}', "a cell without text"),
    "surrogate": ('{"cells": [{"cell_type": "code", "source": "\\ud800"}]}', "of no lesson"),
    "other": ('{"cells": [{"cell_type": "code", "source": "1 + 1"}]}', "of no lesson"),
}


def tree(folder: Path) -> dict[str, str]:
    """Hash and time of each file."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() + str(path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def read_table(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as table:
        return {(row["student"], row["exercise"]): row for row in csv.DictReader(table)}


class Graded:
    """What one run of the command made of all of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.table = folder / "handed in", folder / "out" / "table.csv"
        if not (folder / "done").exists():
            self._hand_in()
            before = tree(self.folder)
            command = [sys.executable, "-m", "lessons_lib", "grade", str(self.folder), "--quick"]
            command += ["--csv", str(self.table), "--minutes", "0.5"]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
            assert self.table.exists(), done.stderr
            seen = [before, done.returncode, done.stdout, done.stderr]
            (folder / "done").write_text(json.dumps(seen))
        seen = json.loads((folder / "done").read_text())
        self.before, self.code, self.printed, self.errors = seen
        self.rows = read_table(self.table)

    def _hand_in(self) -> None:
        for student, content in {
            "solved": solved(),
            "untouched": STUBS,
            "wrong": wrong(),
            "rearranged": rearranged(),
            "=checks": checks_changed(),
            "hostile": hostile(self.folder),
            "hungry": hungry(),
            "older": older(),
        }.items():
            self._write(f"{student}/week 7/{LESSON.stem}.ipynb", json.dumps(content))
        for student, (text, _) in UNREADABLE.items():
            self._write(f"{student}_{LESSON.stem}.ipynb", text)
        self._write("solved/.ipynb_checkpoints/x.ipynb", "litter")

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def verdicts(self, student: str) -> list[str]:
        return [self.rows[student, name]["verdict"] for name in NAMES]

    def points(self, student: str) -> int:
        return sum(int(self.rows[student, name]["points"]) for name in NAMES)

    def detail(self, student: str, exercise: str) -> str:
        return self.rows[student, exercise]["detail"]


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Graded:
    # Several workers share what one of them has run.
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    with FileLock(place / "class.lock"):
        return Graded(place / "class")


# --- The whole class ------------------------------------------------------------------------------


@pytest.mark.slow
def test_right_answers_get_all_points(graded: Graded) -> None:
    assert graded.verdicts("solved") == ["passed"] * 5
    assert graded.detail("solved", WHOLE) == ""
    assert f"solved/week 7/{LESSON.stem}.ipynb: solved, lesson 07: 5 of 5" in graded.printed


@pytest.mark.slow
def test_stubs_are_not_tried(graded: Graded) -> None:
    assert graded.verdicts("untouched") == ["not tried"] * 5
    assert graded.points("untouched") == 0


@pytest.mark.slow
def test_what_is_wrong_is_named(graded: Graded) -> None:
    assert graded.verdicts("wrong") == ["broken", "broken", "error", "error", "passed"]
    assert graded.detail("wrong", NORM).startswith("one row: its Euclidean length (case: the row")
    assert graded.detail("wrong", PROX).startswith("result is finite (case: called with [[")
    assert graded.detail("wrong", SPARSE).startswith("SyntaxError")
    assert "unknown_name" in graded.detail("wrong", LARGEST)


@pytest.mark.slow
def test_cells_may_be_deleted_moved_and_added(graded: Graded) -> None:
    assert graded.verdicts("rearranged") == ["passed"] * 4 + ["cell missing"]
    assert graded.detail("rearranged", WHOLE) == "2 cells deleted; 1 cell added; cells moved"


@pytest.mark.slow
def test_a_changed_check_changes_no_points(graded: Graded) -> None:
    assert graded.verdicts("'=checks") == ["check changed"] * 3 + ["passed", "broken"]
    assert graded.detail("'=checks", NORM).startswith("broken: one row")
    assert graded.detail("'=checks", PROX) == "passes the official check"
    assert graded.points("'=checks") == 3
    assert "check is defined anew" in graded.detail("'=checks", WHOLE)


@pytest.mark.slow
def test_a_hostile_answer_costs_its_own_points_alone(graded: Graded) -> None:
    verdicts = graded.verdicts("hostile")
    assert verdicts == ["out of time", "error", "error", "passed", "error"]
    assert "ended its own process" in graded.detail("hostile", PROX)
    assert "it changes lessons_lib.exercises.lesson_07." in graded.detail("hostile", SPARSE)
    assert re.search("Read-only|PermissionError", graded.detail("hostile", STEP))
    assert not (graded.folder / "left.txt").exists()


@pytest.mark.slow
def test_memory_and_network_end_where_they_should(graded: Graded) -> None:
    verdicts = graded.verdicts("hungry")
    assert verdicts == ["out of memory", "out of memory", "error", "error", "passed"]
    assert re.search("unreachable|there is no network", graded.detail("hungry", SPARSE))
    assert graded.detail("hungry", LARGEST) == "the answer is the library's own function"


@pytest.mark.slow
def test_an_older_version_without_ids_is_graded(graded: Graded) -> None:
    assert graded.verdicts("older") == ["passed"] * 5
    assert "another version of the lesson" in graded.detail("older", WHOLE)


@pytest.mark.slow
@pytest.mark.parametrize("student", UNREADABLE)
def test_what_is_no_notebook_gets_one_line(graded: Graded, student: str) -> None:
    row = graded.rows[student, WHOLE]
    assert row["verdict"] == "not graded"
    assert UNREADABLE[student][1] in row["detail"]
    lines = [line for line in graded.printed.splitlines() if line.startswith(f"{student}_")]
    assert len(lines) == 1
    assert UNREADABLE[student][1] in lines[0]
    assert (student, NORM) not in graded.rows


@pytest.mark.slow
def test_nothing_that_was_handed_in_is_changed(graded: Graded) -> None:
    assert tree(graded.folder) == graded.before
    assert graded.code == 2  # some could not be graded
    assert graded.errors.count("\n") == 1
    assert "Traceback" not in graded.printed
    assert "x.ipynb" not in graded.printed


@pytest.mark.slow
def test_the_tables_count_the_class(graded: Graded) -> None:
    assert "\nsolved      5/5  5\n" in graded.printed
    assert "\nhostile     1/5  1\n" in graded.printed
    line = next(one for one in graded.printed.splitlines() if one.startswith(f"07      {NORM} "))
    assert line.split("  ")[-1].strip() == "one row: its Euclidean length"
    assert " 3 of 8 " in line


# --- A notebook from its first cell to its last ---------------------------------------------------

TINY = [
    "from lessons_lib.exercises import check\nimport torch",
    'def l12_norm(codes):\n    """Sum."""\n    raise NotImplementedError\n\n\n'
    'l12_norm = check("group_lasso.norm", l12_norm)',
    "print(l12_norm(torch.ones(2, 2)))",
]
RIGHT = TINY[1].replace("raise NotImplementedError", "return codes.norm(dim=1).sum()")
WHOLES: dict[str, tuple[list[str], str, str]] = {
    "runs": ([TINY[0], RIGHT, "%matplotlib inline", TINY[2], "!true"], "runs", "2 cells added"),
    "stops": (["1", "nobody()", TINY[1]], "stops", "in cell 2: NameError: name 'nobody'"),
    "grows": (["b'0' * 10**12", TINY[1]], "out of memory", "in cell 1: MemoryError"),
    "leaves": (["import os; os.abort()", TINY[1]], "stops", "in cell 1: its process ended"),
}


def write_tiny(path: Path, cells: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = [code(source, f"cell of {len(source)} letters") for source in cells]
    path.write_text(json.dumps({"cells": made, "nbformat": 4}), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no limits on memory, and other signals")
def test_a_notebook_is_run_as_it_is(tmp_path: Path) -> None:
    write_tiny(tmp_path / "lessons" / "07_tiny.ipynb", TINY)
    for student, (cells, _, _) in WHOLES.items():
        write_tiny(tmp_path / "in" / f"{student}.ipynb", cells)
    known = read_lessons(tmp_path / "lessons")
    for rows in grade_folder(tmp_path / "in", known, Limits(2, 4), choose_confinement()):
        _, verdict, words = WHOLES[rows[0].student]
        assert rows[0].verdict == verdict, rows
        assert words in rows[0].detail
        assert [row.points for row in rows[1:]] == [int(verdict == "runs")]


@pytest.mark.slow
def test_a_notebook_that_never_ends_is_stopped(tmp_path: Path) -> None:
    write_tiny(tmp_path / "lessons" / "07_tiny.ipynb", TINY)
    write_tiny(tmp_path / "in" / "x.ipynb", ["1", "while True:\n    pass", TINY[1]])
    known = read_lessons(tmp_path / "lessons")
    ((whole, answer),) = grade_folder(tmp_path / "in", known, Limits(0.02, 4), choose_confinement())
    assert (whole.verdict, answer.verdict) == ("out of time", "not tried")
    assert whole.detail.startswith("in cell 2")


# --- What a student's process may do --------------------------------------------------------------

TRIALS = {
    "network": "import socket; socket.create_connection(('192.0.2.1', 9), timeout=30)",
    "name": "import socket; socket.getaddrinfo('example.org', 80)",
    "file": "open({victim!r}, 'a').write('x')",
    "removal": "import os; os.remove({victim!r})",
    "rename": "import os; os.rename('own', {victim!r})",
    "signal": "import os; os.kill({pid}, 15)",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["guard", "namespaces"])
def test_a_students_code_reaches_nothing_else(tmp_path: Path, kind: str) -> None:
    confined = GUARD if kind == "guard" else NAMESPACES
    if kind == "namespaces" and choose_confinement() is GUARD:
        pytest.skip("this machine permits no namespaces")
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    lines = ["open('own', 'w').write('mine')", "open('data.txt').read()", "failures = []"]
    for name, trial in TRIALS.items():
        text = trial.format(victim=str(victim), pid=os.getpid())
        lines.append(f"try:\n    {text}\nexcept OSError:\n    failures.append({name!r})")
    lines.append(f"assert failures == {list(TRIALS)}, failures")
    write_tiny(tmp_path / "lessons" / "07_tiny.ipynb", TINY)
    write_tiny(tmp_path / "in" / "eve" / "x.ipynb", [TINY[0], TINY[1], *lines])
    (tmp_path / "in" / "eve" / "data.txt").write_text("a file of the student's")
    known = read_lessons(tmp_path / "lessons")
    ((whole, answer),) = grade_folder(tmp_path / "in", known, Limits(2, 4), confined)
    assert (whole.verdict, answer.verdict) == ("runs", "not tried"), whole
    assert victim.read_text() == "untouched"


# --- What an answer needs of its notebook ---------------------------------------------------------


def needed(target: str, *cells: str, own: str = "") -> list[str]:
    stream: list[Statement] = statements(own, 0, own=True)
    for number, cell in enumerate(cells):
        stream += statements(cell, number, own=False)
    return [ast.unparse(one.node) for one in needed_for(target, stream)]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["import math", "a = 1", "def f(x): return math.pi * x"], ["import math", "def f"]),
        (["a = 1", "b = a", "def f(x, y=b): return y"], ["a = 1", "b = a", "def f"]),
        (["def f(): return g()", "def g(): return 1"], ["def f", "def g"]),
        (["a = []", "a.append(3)", "def f(): return a"], ["a = []", "a.append(3)", "def f"]),
        (["a = {}", "for i in range(3): a[i] = i", "f = a.get"], ["a = {}", "for i", "f = a.get"]),
        (["x = 1", "f = lambda x: x"], ["f = lambda"]),
        (["x = 1", "f = [x for x in range(3)]"], ["f = ["]),
        (["import torch", "torch.manual_seed(0)", "f = 1"], ["import torch", "torch.manual", "f"]),
        (["import torch", "for i in (1, 2): torch.manual_seed(i)", "f = 1"], ["import torch", "f"]),
        (["class A:\n  b = 2", "c = 1\ndef f(a: A): pass"], ["class A", "def f"]),
    ],
)
def test_only_what_an_answer_needs_runs(cells: list[str], expected: list[str]) -> None:
    found = needed("f", *cells)
    assert len(found) == len(expected), found
    for text, start in zip(found, expected, strict=True):
        assert text.startswith(start)


def test_a_students_own_statements_fill_gaps_only() -> None:
    own = "import numpy as np\nlam = 5\nunused = 1\nfrom math import *"
    found = needed("f", "lam = 1", "def f(x): return np.abs(x) * lam + sqrt(x)", own=own)
    assert found[:3] == ["import numpy as np", "from math import *", "lam = 1"]


@pytest.mark.parametrize("lesson", LESSONS.values(), ids=lambda lesson: lesson.stem)
def test_an_answer_has_all_that_it_needs(lesson: Lesson, tmp_path: Path) -> None:
    """Of the solved lesson: whatever its answers use is bound by what is chosen, and no figure."""
    assert {asked.name for asked in lesson.exercises} <= child.exercises_of(lesson.number).keys()
    path = tmp_path / "solved.ipynb"
    path.write_text(json.dumps(with_solutions(lesson)), encoding="utf-8")
    given = hand_in(read_cells(path), lesson)
    assert [found.asked for found in given.answers if found.cell is None or found.untouched] == []
    assert not given.remarks()
    stream: list[Statement] = []
    ends: dict[str, int] = {}
    for number, cell in enumerate(_with_answers(given)):
        assert not cell["own"]
        source = cell["source"].replace("%matplotlib inline", "")
        found = statements(source, number, own=False)
        stream += [one for one in found if "check" not in one.reads]
        if cell["answers"]:
            ends[cell["answers"]] = len(stream)
    provided: list[str] = []
    for asked in lesson.exercises:
        chosen = needed_for(asked.function, stream[: ends[asked.name]], provided)
        bound = {name for one in chosen for name in one.binds} | BUILTINS | set(provided)
        assert {name for one in chosen for name in one.reads} <= bound
        assert not [one for one in chosen if "figure" in one.binds]
        provided.append(asked.function)


# --- All lessons, with answers other than the course's --------------------------------------------


def own_answers(lesson: Lesson, folder: Path) -> None:
    """Write a lesson's notebook with the answers of tests/lessons in it."""
    path = ROOT / "tests" / "lessons" / "work_through.py"
    spec = importlib.util.spec_from_file_location("work_through", path)
    assert spec is not None
    assert spec.loader is not None
    work = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(work)
    answers = work.own_answers(lesson.number)
    content = stubs(lesson)
    for asked in lesson.exercises:
        cell = content["cells"][asked.position]
        cell["source"] = work.with_answer(cell["source"], answers)
    (folder / f"student_{lesson.stem}.ipynb").write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    "lesson",
    [
        # Both load parts of PyTorch that replace others of its parts.
        pytest.param(one, marks=pytest.mark.slow if number in ("08", "12") else pytest.mark.long)
        for number, one in LESSONS.items()
    ],
    ids=lambda lesson: lesson.stem,
)
def test_a_students_own_answers_pass_in_every_lesson(lesson: Lesson, tmp_path: Path) -> None:
    own_answers(lesson, tmp_path)
    confined = choose_confinement()
    (rows,) = grade_folder(tmp_path, LESSONS, Limits(5, 4), confined, whole=False)
    wrong: list[Row] = [row for row in rows if row.exercise != WHOLE and not row.points]
    assert not wrong
    assert len(rows) == 1 + len(lesson.exercises)
    assert rows[0].student == "student"


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: [folder / "nowhere"], "is no folder"),
        (lambda folder: [folder], "no notebook"),
        (lambda folder: [folder, "--lessons", folder], "none of the course's notebooks"),
        (lambda folder: [folder, "--minutes", "0"], "minutes"),
    ],
)
def test_bad_input_gets_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], list[object]],
    says: str,
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["grade", *map(str, make(tmp_path))])
    captured = capsys.readouterr()
    assert caught.value.code == 2
    assert says in captured.err
    assert captured.err.startswith("lessons: ")
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_nobody_is_asked_to_keep_the_cell_that_installs_the_library() -> None:
    lesson = read_lessons(ROOT / "notebooks")["07"]
    handed_out = json.loads((ROOT / "notebooks" / f"{lesson.stem}.ipynb").read_text("utf-8"))
    assert sum("pip" in "".join(cell["source"]) for cell in handed_out["cells"]) == 1
    assert not any("pip" in cell.source for cell in lesson.cells)
    without = read_cells(ROOT / "solutions" / f"{lesson.stem}.ipynb")
    assert not hand_in(without, lesson).remarks()
