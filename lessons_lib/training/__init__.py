"""Training by the clock: a config file, a time budget, and a state that nothing can lose."""

from lessons_lib.training.config import DictionaryStart, Run, read_run
from lessons_lib.training.export import export
from lessons_lib.training.loop import Progress, train
from lessons_lib.training.losses import Loss
from lessons_lib.training.optimizers import Optimizer
from lessons_lib.training.queue import read_standings, train_queue
from lessons_lib.training.stage import Stage, Watch
from lessons_lib.training.standing import Standing
from lessons_lib.training.state import trained_model
from lessons_lib.training.tables import ConfigError

__all__ = [
    "ConfigError",
    "DictionaryStart",
    "Loss",
    "Optimizer",
    "Progress",
    "Run",
    "Stage",
    "Standing",
    "Watch",
    "export",
    "read_run",
    "read_standings",
    "train",
    "train_queue",
    "trained_model",
]
