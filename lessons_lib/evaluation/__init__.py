"""Scores that carry the protocol they were measured by."""

from lessons_lib.evaluation.benchmark import evaluate
from lessons_lib.evaluation.methods import Inference, find_method
from lessons_lib.evaluation.protocols import Protocol, denoising
from lessons_lib.evaluation.score import Score

__all__ = ["Inference", "Protocol", "Score", "denoising", "evaluate", "find_method"]
