"""Scores that carry the protocol they were measured by."""

from lessons_lib.evaluation.benchmark import Score, evaluate, find_method
from lessons_lib.evaluation.protocols import Protocol, denoising

__all__ = ["Protocol", "Score", "denoising", "evaluate", "find_method"]
