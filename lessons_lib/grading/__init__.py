"""Grading of notebooks that students hand in: read, run out of reach, and scored by the checks.

`lessons` knows the course's notebooks and finds a student's answers in another one; `needed` picks
the statements that an answer depends on; `child` runs them in a process of its own, which `runner`
starts and ends, and `confinement` says what it may do; `grade` gathers the verdicts.
"""

from lessons_lib.grading.confinement import choose_confinement
from lessons_lib.grading.grade import WHOLE, GradingError, Row, grade_folder
from lessons_lib.grading.lessons import Lesson, NotebookError, read_lessons
from lessons_lib.grading.runner import Limits

__all__ = [
    "WHOLE",
    "GradingError",
    "Lesson",
    "Limits",
    "NotebookError",
    "Row",
    "choose_confinement",
    "grade_folder",
    "read_lessons",
]
