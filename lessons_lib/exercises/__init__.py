"""Checks for the learners' answers: each exercise is a reference and the properties it must have.

Notebooks need one function: ``soft_threshold = check("prox.soft_threshold", soft_threshold)``.
"""

from lessons_lib.exercises.core import check

__all__ = ["check"]
