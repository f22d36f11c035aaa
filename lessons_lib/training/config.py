"""What a training run is: one TOML file, read into one frozen dataclass."""

import math
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from lessons_lib.data import unknown
from lessons_lib.models import MODELS, Restorer, build
from lessons_lib.tasks import TASKS, Goal


class ConfigError(ValueError):
    """A config file that cannot be read, or that says something impossible."""


@dataclass(frozen=True)
class Run:
    """A training run, complete: two runs of equal configs on one device end in equal weights.

    Args:
        name: of the run, its file's stem.
        model: a name of `lessons_lib.models.MODELS`.
        sigma_255: noise, white being 255, for the task "denoise"; else 0.
        options: of the model's config; what is left out keeps its default.
        task: "denoise"; "blind", for a model of several levels, noise up to the loudest of them;
            "demosaic"; or "jpeg".
        quality: of the files to restore, for the task "jpeg"; else 0.
        priority: the queue takes small numbers first.
        dataset: training images; some of them are held out for validation.
        crop: side of the training crops.
        batch: crops in one step, over all processes together.
        steps: length of the whole training.
        learning_rate: first step size.
        optimizer: "adam"; or "muon", for which the steps of C, D and W are made orthogonal matrices
            first, so that they move in all directions alike. Adam takes the steps of all other
            weights.
        schedule: "step" multiplies it by `decay` every `decay_every` steps; "cosine" lets it fall
            to zero.
        decay: see schedule.
        decay_every: see schedule; the paper's 80 epochs are 32,000 steps.
        paces: weights that learn faster or slower than the rest, and how many times. κ and γ are
            few numbers of size 1 to 10 beside thousands of size 0.1: at the same step size they
            stay where they started.
        eps: Adam's, the released code's 1e-3.
        max_gradient: norm to which gradients are shortened, those of all weights that one optimizer
            moves together; 0, as in the released code, leaves them. It is about 1 in every task. A
            batch on which the steps of the model blow up has one of 1e5, which the optimizer's
            averages then do not forget for hundreds of steps.
        balanced: whether each crop's squared error is divided by what a method without training
            leaves of its image, see `lessons_lib.training.balance`; not so in the paper.
        stability: weight of a penalty on steps so long that residuals would grow, see
            `lessons_lib.training.stability`; 0 as in the paper. 0.05 is enough for mosaics.
        ema: decay of the exponential moving average of the weights; the average is what is scored
            and shipped.
        precision: "fp32", or "bf16" for half-precision products (fast where the processor has
            them).
        compile: whether torch.compile fuses the model's loops: pays off on long runs.
        monitor_every: steps between looks at the PSNR, on training and on held-out crops.
        tolerated_drop: a training PSNR lower than at the last look by more dB is a divergence: the
            weights of that look come back, and the learning rate is multiplied by `backtrack`.
        backtrack: see above.
        seed: of crops and noise.
        dictionary_lam: λ of the dictionary learned from clean patches to start from, images lying
            in [0, 1]. At 0.2 its spectral norm is 5.7; that of the authors' dictionary is 5.8.
        dictionary_patches: how many patches it is learned from.
        start: name of a run whose weights to start from instead, "../NAME" for one in the folder
            above; empty for none.

    Raises:
        ConfigError: if a value is impossible.
    """

    name: str
    model: str
    sigma_255: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)
    task: str = "denoise"
    quality: int = 0
    priority: int = 0
    dataset: str = "BSD400"
    crop: int = 56
    batch: int = 32
    steps: int = 120_000
    learning_rate: float = 6e-4
    optimizer: Literal["adam", "muon"] = "adam"
    schedule: Literal["step", "cosine"] = "step"
    decay: float = 0.35
    decay_every: int = 32_000
    paces: dict[str, float] = field(default_factory=dict)
    eps: float = 1e-3
    max_gradient: float = 0.0
    balanced: bool = False
    stability: float = 0.0
    ema: float = 0.999
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    monitor_every: int = 400
    tolerated_drop: float = 0.2
    backtrack: float = 0.8
    seed: int = 0
    dictionary_lam: float = 0.2
    dictionary_patches: int = 100_000
    start: str = ""

    def __post_init__(self) -> None:
        for item in fields(self):
            value, wanted = getattr(self, item.name), item.type
            if wanted is float and type(value) is int:
                object.__setattr__(self, item.name, float(value))
            elif isinstance(wanted, type) and type(value) is not wanted:
                raise ConfigError(f"{item.name} = {value!r} should be of type {wanted.__name__}")
        if self.model not in MODELS:
            raise ConfigError(unknown("model", self.model, MODELS))
        try:
            model = build(self.model, self.options)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        names = dict(model.named_parameters())
        for name, pace in self.paces.items():
            if name not in names:
                raise ConfigError(unknown("weight", name, names))
            if not (isinstance(pace, (int, float)) and pace > 0 and math.isfinite(pace)):
                raise ConfigError(f"the pace of {name} must be positive, not {pace!r}")
        if self.task not in TASKS:
            raise ConfigError(unknown("task", self.task, TASKS))
        refused = TASKS[self.task].refuse(self._goal(model), model.config.channels)
        if refused:
            raise ConfigError(refused)
        for key in (
            "crop",
            "batch",
            "steps",
            "learning_rate",
            "decay",
            "decay_every",
            "eps",
            "monitor_every",
            "backtrack",
            "dictionary_lam",
            "dictionary_patches",
        ):
            value = getattr(self, key)
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{key} must be positive, not {value}")
        choices = {item.name: get_args(item.type) for item in fields(self)}
        for key in ("schedule", "optimizer", "precision"):
            value = getattr(self, key)
            if value not in choices[key]:
                known = " or ".join(map(repr, choices[key]))
                raise ConfigError(f"{key} is {known}, not {value!r}")
        if self.optimizer == "muon" and not model.matrices:
            raise ConfigError(f"model {self.model!r} has no matrices for the optimizer 'muon'")
        for key in ("max_gradient", "stability"):
            if not 0 <= getattr(self, key) < math.inf:
                raise ConfigError(f"{key} must not be negative, but is {getattr(self, key)}")
        if self.stability and not model.repeats:
            raise ConfigError(f"model {self.model!r} has no C and D for 'stability'")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"ema must lie between 0 and 1, not {self.ema}")

    @property
    def goal(self) -> Goal:
        """How far the model is to go in its task."""
        return self._goal(build(self.model, self.options))

    def _goal(self, model: Restorer) -> Goal:
        levels = getattr(model.config, "levels_255", ())
        loudest = () if model.loudest is None else (model.loudest,)
        given = tuple(level / 255 for level in levels) or loudest
        return Goal(self.sigma, self.quality, given)

    @property
    def sigma(self) -> float:
        """Noise to be removed, on the [0, 1] scale; 0 where it has no one level."""
        return self.sigma_255 / 255

    def rate(self, step: int) -> float:
        """Learning rate of a step, before any backtracking.

        Source: GroupSC §B; that the paper's "80 training steps" are epochs of 400 steps is what its
        released code says.
        """
        if self.schedule == "cosine":
            return self.learning_rate * (1 + math.cos(math.pi * step / self.steps)) / 2
        return self.learning_rate * self.decay ** (step // self.decay_every)


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
    known = [item.name for item in fields(Run) if item.name != "name"]
    for key in table:
        if key not in known:
            raise ConfigError(f"{path}: {unknown('key', key, known)}")
    wanted = {"model"} | ({"sigma_255"} if table.get("task", "denoise") == "denoise" else set())
    missing = wanted - set(table)
    if missing:
        raise ConfigError(f"{path}: lacks {' and '.join(sorted(missing))}")
    try:
        return Run(name=path.stem, **table)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
