"""From a training state to weights that others can load: `lessons_lib.checkpoints`."""

import subprocess
from dataclasses import asdict
from pathlib import Path

from lessons_lib import __version__, data
from lessons_lib.checkpoints import Card, save_model
from lessons_lib.training.config import ConfigError, Run
from lessons_lib.training.start import effort_to
from lessons_lib.training.state import read_state, trained_model

LICENCE = "BSD-3-Clause"


def export(run: Run, runs: Path, root: Path, folder: Path) -> Card:
    """Write the averaged weights of a run, finished or not, and their card.

    Args:
        run: the config.
        runs: holds its TOML file, and those of the runs that it goes back to.
        root: holds the folders of their states.
        folder: where the weights go.

    Raises:
        ConfigError: see `trained_model` and `effort_to`.
    """
    model = trained_model(run, root / run.name)
    state = read_state(root / run.name)
    if state is None or not state.log:
        raise ConfigError(f"run {run.name} has not been looked at yet: train it a little longer")
    before = effort_to(run.start, runs, root)
    return save_model(
        model,
        folder,
        name=run.name,
        sigma_255=run.sigma_255,
        task=run.task,
        quality=run.quality,
        run=asdict(run),
        steps=state.step,
        finished=state.finished,
        hours={device: round(seconds / 3600, 3) for device, seconds in state.spent.items()},
        curve=[[int(row["step"]), round(row["held_out_psnr"], 3)] for row in state.log],
        revision=_revision(),
        data=run.dataset,
        licence=LICENCE,
        data_licence=data.entry(run.dataset).licence,
        hours_before=round(before.hours, 3),
        pixels_before=before.pixels,
    )


def _revision() -> str:
    """Version of the library, and its commit where it runs from a checkout."""
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{__version__} {answer.stdout.strip()}"
