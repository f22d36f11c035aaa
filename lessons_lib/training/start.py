"""Where a stage begins: at a dictionary, or at what another training has learned.

Weights are taken over where name and shape agree: SC's dictionaries and thresholds also start a
GroupSC. Noise levels need not agree, nor whether there is one or several; thresholds are then
translated.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lessons_lib.checkpoints import cards, load_card, load_model
from lessons_lib.models import MODELS, Restorer, build
from lessons_lib.training.config import Run, read_run
from lessons_lib.training.crops import Crops
from lessons_lib.training.files import Files
from lessons_lib.training.log import Log
from lessons_lib.training.standing import read_standing
from lessons_lib.training.state import Effort, State, read_state
from lessons_lib.training.tables import ConfigError


class WaitingError(ConfigError):
    """A run starts from another one that is not finished."""


@dataclass(frozen=True)
class Learned:
    """Trained weights, as another training begins from them.

    Args:
        weights: by name.
        sigma_255: noise that they are for, white being 255; 0 if there is no one level.
        levels_255: those of a model of several levels, else none.
        effort: what they took.
    """

    weights: dict[str, Tensor]
    sigma_255: float
    levels_255: tuple[float, ...]
    effort: Effort


def first_model(
    run: Run, number: int, folder: Path, crops: Crops, before: State | None
) -> tuple[Restorer, Effort]:
    """The model with which a stage begins, and what its weights took.

    Args:
        run: whose stage it is.
        number: of the stage, counted from 1.
        folder: of the runs.
        crops: to learn a dictionary from, if need be.
        before: where the stage before ended, unless its weights are exported and nothing else of it
            is left.

    Raises:
        WaitingError: if the run has to wait for another.
        ConfigError: if the weights to start from have nothing that the model could use.
        CheckpointError: if there are no exported weights of that name.
    """
    model, start = build(run.model, run.options), run.stages[number - 1].start
    if start:
        other = learned_by(start, run, folder)
    elif before is not None:
        other = _of_state(before)
    elif number > 1:
        other = _exported_after(run, number - 1, Log(Files(folder, run.name).log))
    else:
        if not model.starts_from_dictionary:
            return model, Effort()
        dictionary = crops.dictionary(model.config.patch, model.config.atoms)
        return build(run.model, run.options, dictionary), Effort()
    if not model.start_from(translate(other, run)):
        raise ConfigError(f"run {run.name} has no weight in common with {start or run.name}")
    return model, other.effort


def learned_by(name: str, run: Run, folder: Path) -> Learned:
    """The latest weights of a name: those of a finished run of the folder, or exported ones.

    Args:
        name: of a run, or of weights.
        run: that is to start from them. It waits for another that the queue puts before it.
        folder: of the runs.

    Raises:
        WaitingError: if it has to wait.
        CheckpointError: if there are no such weights.
    """
    state, path = read_state(Files(folder, name).state), folder / f"{name}.toml"
    finished = state is not None and state.finished
    if path.exists():
        # Its file says what is left of it, and may have changed since the state was saved.
        other = read_run(path)
        finished = read_standing(other, folder).finished
        if other.priority < run.priority and not finished:
            raise WaitingError(f"run {run.name} starts from {name}, which is not finished")
    return _of_state(state) if finished and state is not None else _exported(name)


def _of_state(state: State) -> Learned:
    levels = tuple(state.options.get("levels_255", ()))
    return Learned(state.weights["average"], state.sigma_255, levels, state.effort)


def _exported(name: str) -> Learned:
    cards.cache_clear()  # another process may have exported since
    card = load_card(name)
    levels = tuple(card.options.get("levels_255", ()))
    effort = Effort(card.hours_in_all, card.pixels_in_all)
    return Learned(load_model(name).state_dict(), card.sigma_255, levels, effort)


def _exported_after(run: Run, stage: int, log: Log) -> Learned:
    """A run's own weights, if they are those with which a stage ended."""
    cards.cache_clear()
    card, end = load_card(run.name), log.of_stage(stage)[-1]
    if abs(card.held_out_psnr - end["held_out_psnr"]) > 1e-3:
        raise ConfigError(
            f"run {run.name} has no state, and the weights {run.name} are not those of the end of "
            f"its stage {stage}: {card.held_out_psnr} dB, not {end['held_out_psnr']:.3f}"
        )
    return _exported(run.name)


def translate(other: Learned, run: Run) -> dict[str, Tensor]:
    """Weights, brought to the noise that a run is for.

    - From one level to another, weights are scaled, see `Restorer.noise_powers`.
    - From several levels to one, its thresholds are interpolated between theirs; where there is no
      noise, as in a mosaic, the quietest level's are taken.
    - From one level to several, each takes the mean of all steps' thresholds, scaled.
    - From several to others, each of ours is interpolated between theirs.

    Networks without thresholds for a dictionary's codes, told the level or finding it, take over
    what there is as it is.
    """
    weights = dict(other.weights)
    theirs, ours = other.levels_255, tuple(run.options.get("levels_255", ()))
    own = build(run.model, run.options).state_dict().get("raw_thresholds") if theirs else None
    if own is not None:
        thresholds = weights["raw_thresholds"].abs()
        wanted = ours or (run.sigma_255 or theirs[0],) * len(own)
        found = torch.stack([_between(thresholds, theirs, level) for level in wanted])
        return weights | {"raw_thresholds": found}
    if ours and not theirs and "raw_thresholds" in weights:
        mean = weights["raw_thresholds"].abs().mean(dim=0)
        loudness = torch.tensor(ours)[:, None] / (other.sigma_255 or ours[-1])
        return weights | {"raw_thresholds": loudness * mean}
    if not run.sigma_255 or not other.sigma_255:
        return weights
    louder = run.sigma_255 / other.sigma_255
    powers = MODELS[run.model].model.noise_powers
    return {name: weight * louder ** powers.get(name, 0) for name, weight in weights.items()}


def _between(thresholds: Tensor, levels: tuple[float, ...], sigma_255: float) -> Tensor:
    """Thresholds ``(K,)`` at a level, from those ``(levels, K)`` at some; proportional beyond."""
    at = torch.tensor(levels)
    if sigma_255 <= levels[0] or sigma_255 >= levels[-1]:
        nearest = 0 if sigma_255 <= levels[0] else -1
        return thresholds[nearest] * sigma_255 / levels[nearest]
    above = int(torch.bucketize(sigma_255, at))
    part = float((sigma_255 - at[above - 1]) / (at[above] - at[above - 1]))
    return thresholds[above - 1].lerp(thresholds[above], part)
