"""How far a run is, from its log and its state."""

import math
from dataclasses import dataclass
from pathlib import Path

from lessons_lib.training.config import Run
from lessons_lib.training.files import Files
from lessons_lib.training.log import Log
from lessons_lib.training.state import read_state
from lessons_lib.training.tables import ConfigError


@dataclass(frozen=True)
class Standing:
    """How far a run is.

    Args:
        run: the config.
        stage: to train next, counted from 1; when all are finished, the last.
        step: steps done of it.
        hours: of all stages together.
        held_out_psnr: dB at the last look, NaN if there was none.
    """

    run: Run
    stage: int
    step: int
    hours: float
    held_out_psnr: float

    @property
    def begun(self) -> bool:
        """Whether there was a first look."""
        return not math.isnan(self.held_out_psnr)

    @property
    def left(self) -> int:
        """Steps left, of all stages."""
        return sum(stage.steps for stage in self.run.stages[self.stage - 1 :]) - self.step

    @property
    def finished(self) -> bool:
        """Whether no step of any stage is left."""
        return self.left <= 0

    @property
    def share(self) -> float:
        """Of all stages' steps, those that are done."""
        return 1 - self.left / sum(stage.steps for stage in self.run.stages)


def read_standing(run: Run, folder: Path) -> Standing:
    """How far a run is. A stage of which only looks are left, and no state, begins again.

    Args:
        run: the config.
        folder: of the runs.

    Raises:
        ConfigError: if log or state cannot be read, or are of more stages than the run has.
    """
    files = Files(folder, run.name)
    log, state = Log(files.log), read_state(files.state)
    if state is not None:
        log.cut(state.stage, state.step)
        stage, step = state.stage, state.step
    else:
        stage, step = (log.rows[-1]["stage"], log.rows[-1]["step"]) if log.rows else (1, 0)
    if stage > len(run.stages):
        raise ConfigError(f"run {run.name} was in stage {stage}, and has {len(run.stages)} now")
    if step >= run.stages[stage - 1].steps:
        if stage < len(run.stages):
            stage, step = stage + 1, 0
    elif state is None:
        log.cut(stage, -1)
        step = 0
    seconds = {row["stage"]: row["seconds"] for row in log.rows}
    if state is not None:
        seconds[state.stage] = state.seconds
    psnr = log.rows[-1]["held_out_psnr"] if log.rows else math.nan
    return Standing(run, stage, step, sum(seconds.values()) / 3600, psnr)
