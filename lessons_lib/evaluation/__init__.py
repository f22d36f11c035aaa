"""Scores that carry the protocol they were measured by."""

from lessons_lib.evaluation.benchmark import Inference, Score, evaluate, find_method
from lessons_lib.evaluation.protocols import Protocol, denoising

__all__ = ["Inference", "Protocol", "Score", "denoising", "evaluate", "find_method"]
