"""Each lesson runs with the course's answers and then with a student's own (work_through.py)."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = sorted((HERE.parents[1] / "solutions").glob("[0-9][0-9]_*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_lesson_runs_with_a_students_answers(source: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "work_through.py"), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
