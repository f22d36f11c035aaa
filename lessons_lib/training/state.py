"""The state of a run: all that a killed process needs to go on as if nothing had been.

There is one as long as the run is unfinished, or its weights are not exported.
"""

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from lessons_lib.files import replace_file
from lessons_lib.models import Restorer, build
from lessons_lib.training.config import Run
from lessons_lib.training.files import Files
from lessons_lib.training.tables import ConfigError


@dataclass(frozen=True)
class Effort:
    """What training took.

    Attributes:
        hours: over all devices.
        pixels: of all crops.
    """

    hours: float = 0.0
    pixels: int = 0


@dataclass
class State:
    """Where a run is.

    Attributes:
        stage: that it is in, counted from 1.
        stages: how many there are.
        step: steps done of this stage.
        steps: of this stage.
        sigma_255: noise that the weights are for, white being 255; 0 if there is no one level.
        options: of the model that differ from the defaults.
        spent: seconds spent on this stage, over all sittings, by device.
        pixels: of all crops that the stage has looked at.
        hours_before: of training behind the weights that the stage began from.
        pixels_before: of all crops of that training.
        slowdown: what backtracking has multiplied the learning rate by.
        weights: of the model, their exponential moving average, and the optimisers', see
            `Learner.capture`; at the end of a stage the average alone.
        snapshot: the same at the last look, to go back to; empty if the stage never goes back.
        snapshot_psnr: training PSNR of that look.
    """

    stage: int
    stages: int
    step: int
    steps: int
    sigma_255: float
    options: dict[str, Any]
    spent: dict[str, float]
    pixels: int
    hours_before: float
    pixels_before: int
    slowdown: float
    weights: dict[str, Any]
    snapshot: dict[str, Any]
    snapshot_psnr: float

    @property
    def seconds(self) -> float:
        """Time spent on this stage, over all devices."""
        return sum(self.spent.values())

    @property
    def stage_finished(self) -> bool:
        """Whether no step of this stage is left."""
        return self.step >= self.steps

    @property
    def finished(self) -> bool:
        """Whether no step of any stage is left."""
        return self.stage >= self.stages and self.stage_finished

    @property
    def effort(self) -> Effort:
        """What its weights took, from the very beginning."""
        hours = self.hours_before + self.seconds / 3600
        return Effort(hours, self.pixels_before + self.pixels)


def write_state(state: State, path: Path) -> None:
    """Put a state into its file."""
    buffer = io.BytesIO()
    torch.save({item.name: getattr(state, item.name) for item in fields(state)}, buffer)
    replace_file(path, buffer.getvalue())


def read_state(path: Path) -> State | None:
    """The state in a file, or None if there is no file.

    Raises:
        ConfigError: if there is one that cannot be read.
    """
    if not path.exists():
        return None
    try:
        return State(**torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        # PyTorch advises at length, and not what would help here.
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{path} holds no training state: {why}") from error


def state_of(run: Run, folder: Path) -> State:
    """The state of a run that has begun.

    Raises:
        ConfigError: if it has none.
    """
    path = Files(folder, run.name).state
    state = read_state(path)
    if state is None:
        raise ConfigError(f"there is no {path}: run {run.name} has not begun, or is exported")
    return state


def average_of(run: Run, state: State) -> Restorer:
    """The averaged weights of a state, in the run's model.

    Raises:
        ConfigError: if the run began with another model.
    """
    model = build(run.model, run.options)
    try:
        model.load_state_dict(state.weights["average"])
    except RuntimeError as error:
        raise ConfigError(f"the state of {run.name} is another model's: {error}") from error
    return model.eval()


def trained_model(run: Run, folder: Path) -> Restorer:
    """The averaged weights of a run, in its model.

    Args:
        run: the config.
        folder: of the runs.

    Raises:
        ConfigError: if the run has no state, or began with another model.
    """
    return average_of(run, state_of(run, folder))
