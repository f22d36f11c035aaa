"""Many runs, one budget: the time goes to the first run in the queue that is not finished."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lessons_lib.checkpoints import CheckpointError
from lessons_lib.data import DataError
from lessons_lib.evaluation.leaks import LeakError
from lessons_lib.training.alone import BusyError, agreed
from lessons_lib.training.config import Run, read_run
from lessons_lib.training.loop import Progress, train
from lessons_lib.training.standing import Standing, read_standing
from lessons_lib.training.start import WaitingError
from lessons_lib.training.tables import ConfigError


def read_queue(folder: Path) -> list[Run]:
    """All runs of a folder, the smallest priority first; equal ones by name.

    Raises:
        ConfigError: if there are none, or one cannot be read.
    """
    runs = [read_run(path) for path in folder.glob("*.toml")]
    if not runs:
        raise ConfigError(f"{folder} holds no run: no *.toml file")
    return sorted(runs, key=lambda run: (run.priority, run.name))


def read_standings(folder: Path) -> list[Standing]:
    """How far each run of a folder is, in the queue's order.

    Raises:
        ConfigError: see `read_queue` and `read_standing`.
    """
    return [read_standing(run, folder) for run in read_queue(folder)]


def train_queue(
    folder: Path,
    *,
    minutes: float,
    device: str = "auto",
    report: Callable[[Run, Progress], None] | None = None,
) -> list[Standing]:
    """Train one run after the other until the time is over, continuing what is unfinished.

    A run that another process trains is passed over, and so is one that starts from it: several
    queues can work side by side. One that cannot go on does not keep the others from it.

    Args:
        folder: of the runs: their TOML files, logs and states.
        minutes: time to spend on all of them together.
        device: see `train`.
        report: called after every step with the run it belongs to.

    Returns:
        How far each run is at the end, in the queue's order.

    Raises:
        ConfigError: see `read_queue`; and, once the others have had their time, for runs that could
            not go on, see `train`.
    """
    failures = []
    began = time.monotonic()
    for waiting in read_queue(folder):
        left = minutes - (time.monotonic() - began) / 60
        if agreed(left <= 0):
            break
        try:
            # While others were trained, its file may have been changed.
            run = read_run(folder / f"{waiting.name}.toml")
            tell = None if report is None else partial(report, run)
            standing = train(run, folder, minutes=left, device=device, report=tell)
        except (BusyError, WaitingError):
            continue
        except (ConfigError, CheckpointError, DataError, LeakError) as error:
            failures.append(f"{waiting.name}: {error}")
            continue
        if not standing.finished:
            break  # what is left of the time is too little for another step
    if failures:
        raise ConfigError("; ".join(failures))
    return read_standings(folder)
