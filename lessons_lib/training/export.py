"""From a training state to weights that others can load: `lessons_lib.checkpoints`."""

import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lessons_lib import __version__, data
from lessons_lib.checkpoints import Card, save_model
from lessons_lib.training.config import Run
from lessons_lib.training.files import Files
from lessons_lib.training.log import Log
from lessons_lib.training.state import average_of, state_of

LICENCE = "BSD-3-Clause"


def export(run: Run, runs: Path, folder: Path) -> Card:
    """Write the averaged weights of a run, finished or not, and their card.

    The state of a finished run has then served its purpose, and is removed.

    Args:
        run: the config.
        runs: folder of its log and state.
        folder: where the weights go.

    Raises:
        ConfigError: see `state_of` and `average_of`.
    """
    files = Files(runs, run.name)
    # Read once: another process may go on with the run meanwhile.
    state = state_of(run, runs)
    model = average_of(run, state)
    log = Log(files.log)
    log.cut(state.stage, state.step)
    # By the run as it is now: a stage may have become longer or shorter since.
    finished = state.step >= run.stages[state.stage - 1].steps
    card = save_model(
        model,
        folder,
        name=run.name,
        sigma_255=run.sigma_255,
        task=run.task,
        quality=run.quality,
        scale=run.scale,
        run=_settings(run, state.stage),
        steps=state.step,
        finished=finished,
        hours={device: round(seconds / 3600, 3) for device, seconds in state.spent.items()},
        curve=[[row["step"], round(row["held_out_psnr"], 3)] for row in log.of_stage(state.stage)],
        revision=_revision(),
        data=run.dataset,
        licence=LICENCE,
        data_licence=data.entry(run.dataset).licence,
        hours_before=round(state.hours_before, 3),
        pixels_before=state.pixels_before,
    )
    if finished and state.stage == len(run.stages):
        files.state.unlink()
    return card


def _settings(run: Run, number: int) -> dict[str, Any]:
    """What a card tells of the run, and of the stage that its weights come from."""
    settings, stage = asdict(run), asdict(run.stages[number - 1])
    del settings["stages"], stage["name"]
    start = stage["start"] or (run.name if number > 1 else "")
    return settings | {"stage": number} | stage | {"start": start}


def _revision() -> str:
    """Version of the library, and its commit where it runs from a checkout."""
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{__version__} {answer.stdout.strip()}"
