"""One stage of a training run: so many steps, of one kind, from one beginning."""

from dataclasses import dataclass, field
from typing import Literal

from lessons_lib.training.losses import Loss
from lessons_lib.training.optimizers import Optimizer
from lessons_lib.training.tables import (
    ConfigError,
    check_not_negative,
    check_positive,
    check_types,
)


@dataclass(frozen=True)
class Watch:
    """How a training is looked at, and when it goes back.

    Args:
        every: steps between looks at the PSNR, on training and on held-out crops.
        tolerated_drop: a training PSNR lower than at the last look by more dB is a divergence: the
            weights of that look come back, and the learning rate is multiplied by `backtrack`. 0:
            never go back.
        backtrack: see above.

    Raises:
        ConfigError: if a value is impossible.

    Source: GroupSC §B, backtracking; the threshold in dB is its released code's.
    """

    every: int = 400
    tolerated_drop: float = 0.2
    backtrack: float = 0.8

    def __post_init__(self) -> None:
        check_types(self)
        check_positive(self, "every", "backtrack")
        check_not_negative(self, "tolerated_drop")


@dataclass(frozen=True)
class Stage:
    """A part of a run: two stages of equal settings, begun alike on one processor, end alike.

    Args:
        name: a word for it, or none.
        start: name of trained weights to start from, see `lessons_lib.checkpoints`; empty for where
            the stage before ended, or, in the first stage, for a dictionary.
        steps: how many.
        crop: side of the training crops.
        batch: crops in one step, over all processes together.
        seed: of crops and noise.
        precision: "fp32", or "bf16" for half-precision products; a processor that has no
            instructions for them computes in fp32 all the same, see `fastest_dtype`.
        compile: whether torch.compile fuses the model's loops: pays off on long runs.
        keep_statistics: whether normalisations use and keep the statistics that they begin the
            stage with, instead of each batch's. Where each crop of a small batch has another noise
            level, what an image is divided by depends on those beside it, and the network cannot
            tell how loud its noise is.
        ema: decay of the exponential moving average of the weights; the average is what is scored
            and shipped.
        optimizer: how weights move.
        loss: what they are to make small.
        watch: how they are looked at.

    Raises:
        ConfigError: if a value is impossible.
    """

    name: str = ""
    start: str = ""
    steps: int = 120_000
    crop: int = 56
    batch: int = 32
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    keep_statistics: bool = False
    ema: float = 0.999
    optimizer: Optimizer = field(default_factory=Optimizer)
    loss: Loss = field(default_factory=Loss)
    watch: Watch = field(default_factory=Watch)

    def __post_init__(self) -> None:
        check_types(self)
        check_positive(self, "steps", "crop", "batch")
        check_not_negative(self, "seed")
        if self.seed >= 2**31:
            raise ConfigError(f"a seed is less than 2147483648, not {self.seed}")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"ema must lie between 0 and 1, not {self.ema}")

    def rate(self, step: int) -> float:
        """Learning rate of a step, before any backtracking."""
        return self.optimizer.rate_at(step, self.steps)
