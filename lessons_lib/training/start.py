"""Where a training begins: at a dictionary, or at what another run has learned.

Weights are taken over where name and shape agree: SC's dictionaries and thresholds also start a
GroupSC. Noise levels need not agree, nor whether there is one or several; thresholds are then
translated.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lessons_lib.models import MODELS, Restorer, build
from lessons_lib.training.config import ConfigError, Run, read_run
from lessons_lib.training.crops import Crops
from lessons_lib.training.state import State, read_state


def first_model(run: Run, root: Path, crops: Crops) -> Restorer:
    """A model from another run's weights, or from a dictionary learned for it.

    Args:
        run: to begin.
        root: holds the folder of the run to start from.
        crops: to learn the dictionary from, otherwise.

    Raises:
        ConfigError: if the other run is not finished, or has nothing that the model could use.
    """
    model = build(run.model, run.options)
    if not run.start:
        if not model.starts_from_dictionary:
            return model
        config = model.config
        return build(run.model, run.options, crops.dictionary(config.patch, config.atoms))
    other = read_state(root / run.start)
    if other is None or not other.finished:
        raise ConfigError(f"run {run.name} starts from {run.start}, which is not finished")
    if not model.start_from(translate(other, run)):
        raise ConfigError(f"run {run.name} has no weight in common with {run.start}")
    return model


@dataclass(frozen=True)
class Effort:
    """What training took.

    Attributes:
        hours: over all devices.
        pixels: of all crops.
    """

    hours: float = 0.0
    pixels: int = 0


def effort_to(start: str, runs: Path, root: Path) -> Effort:
    """What the weights of a run took, with all the runs that it goes back to.

    Args:
        start: its name; empty for what begins at a dictionary, which took nothing.
        runs: holds its TOML file.
        root: holds the folder of its state.

    Raises:
        ConfigError: if one of these runs has no TOML file, or has not begun.
    """
    if not start:
        return Effort()
    run, state = read_run(runs / f"{start}.toml"), read_state(root / start)
    if state is None:
        raise ConfigError(f"run {start} has not begun")
    # Names are relative to the folder of the run that starts from them.
    before = effort_to(run.start, (runs / start).parent, (root / start).parent)
    pixels = state.step * run.batch * run.crop**2
    return Effort(before.hours + state.seconds / 3600, before.pixels + pixels)


def translate(other: State, run: Run) -> dict[str, Tensor]:
    """Another run's weights, brought to the noise that a run is for.

    - From one level to another, weights are scaled, see `Restorer.noise_powers`.
    - From several levels to one, its thresholds are interpolated between theirs; where there is no
      noise, as in a mosaic, the quietest level's are taken.
    - From one level to several, each takes the mean of all steps' thresholds, scaled.
    """
    weights = dict(other.weights["average"])
    theirs, ours = (options.get("levels_255", ()) for options in (other.options, run.options))
    if theirs and not ours:
        steps = build(run.model, run.options).config.steps
        chosen = _between(weights["raw_thresholds"].abs(), theirs, run.sigma_255 or theirs[0])
        return weights | {"raw_thresholds": chosen.repeat(steps, 1)}
    if ours and not theirs:
        mean = weights["raw_thresholds"].abs().mean(dim=0)
        loudness = torch.tensor(ours)[:, None] / (other.sigma_255 or ours[-1])
        return weights | {"raw_thresholds": loudness * mean}
    if not run.sigma_255 or not other.sigma_255:
        return weights
    louder = run.sigma_255 / other.sigma_255
    powers = MODELS[run.model].model.noise_powers
    return {name: weight * louder ** powers.get(name, 0) for name, weight in weights.items()}


def _between(thresholds: Tensor, levels: list[float], sigma_255: float) -> Tensor:
    """Thresholds ``(K,)`` at a level, from those ``(levels, K)`` at some; proportional beyond."""
    at = torch.tensor(levels)
    if sigma_255 <= levels[0] or sigma_255 >= levels[-1]:
        nearest = 0 if sigma_255 <= levels[0] else -1
        return thresholds[nearest] * sigma_255 / levels[nearest]
    above = int(torch.bucketize(sigma_255, at))
    part = float((sigma_255 - at[above - 1]) / (at[above] - at[above - 1]))
    return thresholds[above - 1].lerp(thresholds[above], part)
