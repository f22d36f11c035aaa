"""Training by the clock: a config file, a time budget, and a state that nothing can lose."""

from lessons_lib.training.config import ConfigError, Run, read_run
from lessons_lib.training.export import export
from lessons_lib.training.loop import Progress, train
from lessons_lib.training.queue import train_queue
from lessons_lib.training.state import trained_model

__all__ = [
    "ConfigError",
    "Progress",
    "Run",
    "export",
    "read_run",
    "train",
    "train_queue",
    "trained_model",
]
