"""Many runs, one budget: the time goes to the first run in the queue that is not finished."""

import time
from collections.abc import Callable
from pathlib import Path

from lessons_lib.training.config import ConfigError, Run, read_run
from lessons_lib.training.loop import Progress, train
from lessons_lib.training.state import State, read_state


def read_queue(folder: Path) -> list[Run]:
    """All runs of a folder, the smallest priority first; equal ones by name.

    Raises:
        ConfigError: if there are none, or one cannot be read.
    """
    runs = [read_run(path) for path in folder.glob("*.toml")]
    if not runs:
        raise ConfigError(f"{folder} holds no run: no *.toml file")
    return sorted(runs, key=lambda run: (run.priority, run.name))


def train_queue(
    folder: Path,
    root: Path,
    *,
    minutes: float,
    device: str = "auto",
    report: Callable[[Run, Progress], None] | None = None,
) -> dict[str, State | None]:
    """Train one run after the other until the time is over, continuing what is unfinished.

    Args:
        folder: holds the runs' TOML files.
        root: holds their states.
        minutes: time to spend on all of them together.
        device: see `train`.
        report: called after every step with the run it belongs to.

    Returns:
        The state of every run at the end, in the queue's order; None for those not begun.

    Raises:
        ConfigError: see `read_queue` and `train`.
    """
    began = time.monotonic()
    runs = read_queue(folder)
    for run in runs:
        left = minutes - (time.monotonic() - began) / 60
        if left <= 0:
            break

        def tell(progress: Progress, run: Run = run) -> None:
            if report is not None:
                report(run, progress)

        train(run, root, minutes=left, device=device, report=tell)
    return {run.name: read_state(root / run.name) for run in runs}
