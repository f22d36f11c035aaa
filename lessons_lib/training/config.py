"""What a training run is: one TOML file, read into small frozen dataclasses."""

import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lessons_lib.data import unknown
from lessons_lib.models import MODELS, Restorer, build
from lessons_lib.tasks import GOALS, Goal
from lessons_lib.training.learner import normalisations
from lessons_lib.training.stage import Stage
from lessons_lib.training.tables import (
    ConfigError,
    check_positive,
    check_types,
    from_table,
    told,
)


@dataclass(frozen=True)
class DictionaryStart:
    """A dictionary learned from clean patches, for a model's first weights.

    Args:
        lam: its λ, images lying in [0, 1]. At 0.2 its spectral norm is 5.7; that of the authors'
            dictionary is 5.8.
        patches: how many it is learned from.

    Raises:
        ConfigError: if one is not positive.
    """

    lam: float = 0.2
    patches: int = 100_000

    def __post_init__(self) -> None:
        check_types(self)
        check_positive(self, "lam", "patches")


@dataclass(frozen=True)
class Run:
    """A training run, complete: a model, what it restores, and the stages it is trained in.

    Args:
        name: of the run, its file's stem.
        model: a name of `lessons_lib.models.MODELS`.
        sigma_255: noise, white being 255, for the task "denoise"; else 0.
        options: of the model's config; what is left out keeps its default.
        task: a name of `lessons_lib.tasks.GOALS`; "blind" is for a model of many levels of noise,
            "mixed" for one of files and enlarged images besides.
        quality: of the files to restore, for the task "jpeg"; else 0.
        scale: how many times larger images become, for the task "sr", 0 being 2, 3 and 4 together;
            else 0.
        dataset: training images; some of them are held out for validation.
        priority: the queue takes small numbers first.
        dictionary: what a first stage starts from that starts from no other weights.
        stages: one after the other, ``[[stage]]`` in the file; as they are, one of the paper's
            length.

    Raises:
        ConfigError: if a value is impossible.
    """

    name: str
    model: str
    sigma_255: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)
    task: str = "denoise"
    quality: int = 0
    scale: int = 0
    dataset: str = "BSD400"
    priority: int = 0
    dictionary: DictionaryStart = field(default_factory=DictionaryStart)
    stages: tuple[Stage, ...] = (Stage(),)

    def __post_init__(self) -> None:
        check_types(self)
        if self.model not in MODELS:
            raise ConfigError(unknown("model", self.model, MODELS))
        try:
            model = build(self.model, self.options)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        if self.task not in GOALS:
            raise ConfigError(unknown("task", self.task, GOALS))
        refused = GOALS[self.task].refuse(self._goal(model), model.config.channels)
        if refused:
            raise ConfigError(refused)
        if not self.stages:
            raise ConfigError("a run needs a stage at least")
        for number, stage in enumerate(self.stages, 1):
            with told(f"stage {number}"):
                _check_stage(stage, self.model, model)
                if (stage.loss.noise or stage.loss.smooth) and self.task != "camera":
                    raise ConfigError(f"the task {self.task!r} tells no map of the noise")
                if stage.loss.balanced and not GOALS[self.task].levels(self._goal(model)):
                    raise ConfigError(f"the task {self.task!r} has no errors to balance")
                if stage.crop % model.scale:
                    raise ConfigError(f"a crop of {stage.crop} is no multiple of {model.scale}")

    @cached_property
    def goal(self) -> Goal:
        """How far the model is to go in its task."""
        return self._goal(build(self.model, self.options))

    def _goal(self, model: Restorer) -> Goal:
        levels = getattr(model.config, "levels_255", ())
        loudest = () if model.loudest is None else (model.loudest,)
        given = tuple(level / 255 for level in levels) or loudest
        return Goal(self.sigma, self.quality, given, self.scale, model.scale)

    @cached_property
    def channels(self) -> int:
        """Of the images that the model is for."""
        return int(build(self.model, self.options).config.channels)

    @property
    def sigma(self) -> float:
        """Noise to be removed, on the [0, 1] scale; 0 where it has no one level."""
        return self.sigma_255 / 255


def _check_stage(stage: Stage, name: str, model: Restorer) -> None:
    """Whether a model has what a stage wants to move, and how."""
    weights = dict(model.named_parameters())
    for weight in stage.optimizer.paces:
        if weight not in weights:
            raise ConfigError(unknown("weight", weight, weights))
    if stage.optimizer.kind == "muon" and not model.matrices:
        raise ConfigError(f"model {name!r} has no matrices for the optimizer 'muon'")
    if (stage.loss.noise or stage.loss.smooth) and not model.finds_noise:
        raise ConfigError(f"model {name!r} finds no noise for 'noise' and 'smooth'")
    if stage.keep_statistics and not normalisations(model):
        raise ConfigError(f"model {name!r} has no normalisations for 'keep_statistics'")
    if stage.loss.stability and not model.repeats:
        raise ConfigError(f"model {name!r} has no C and D for 'stability'")


def read_run(path: Path) -> Run:
    """Read a run from its TOML file.

    Raises:
        ConfigError: no such file, not TOML, an unknown key (says the nearest), a missing one, or an
            impossible value.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: arrays in each other, too deep to be read") from error
    with told(path):
        return _from_file(path.stem, table)


def _from_file(name: str, table: dict[str, Any]) -> Run:
    # Keys before what is missing: a misspelt key is both.
    known = [key for key in Run.__dataclass_fields__ if key not in ("name", "stages")] + ["stage"]
    for key in table:
        if key not in known:
            raise ConfigError(unknown("key", key, known))
    wanted = {"model"} | ({"sigma_255"} if table.get("task", "denoise") == "denoise" else set())
    missing = wanted - set(table)
    if missing:
        raise ConfigError(f"lacks {' and '.join(sorted(missing))}")
    tables = table.pop("stage", [{}])
    if not (isinstance(tables, list) and all(isinstance(stage, dict) for stage in tables)):
        raise ConfigError("a stage is a table of its own: [[stage]]")
    stages = []
    for number, stage in enumerate(tables, 1):
        with told(f"stage {number}"):
            stages.append(from_table(Stage, stage))
    return from_table(Run, table, name=name, stages=tuple(stages))
