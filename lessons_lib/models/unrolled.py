"""What the models of unrolled proximal steps share: their weights, and what they are told.

Lecouat, Ponce, Mairal, *Fully trainable and interpretable non-local sparse models for image
restoration*, 2020. For the letters see `lessons_lib.models.patch_model`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lessons_lib.models import fast
from lessons_lib.models.patch_model import PatchModel, PatchSizes, first_dictionary
from lessons_lib.models.restorer import Precision
from lessons_lib.ops.dictionary import spectral_norm
from lessons_lib.ops.patches import extract_patches, measured_mean


@dataclass(frozen=True)
class PatchConfig(PatchSizes):
    """Sizes, and what a model is told besides the image.

    Args:
        levels_255: noise levels, white being 255 and the largest last, that share ``C``, ``D`` and
            ``W``: each has one Λ for all steps, and the image's level chooses. None: a model of one
            level, with a Λ of its own for each step.
        interpolate: whether Λ is interpolated between two levels, or the nearest level's taken
            (paper). Weights trained with the nearest level's gain 0.1 to 1.2 dB between levels, the
            more the weaker the noise (docs/training.md).
        masked_mean: mean of a patch of which only some entries were measured: that of the
            "measured" entries, see `measured_mean`, or the plain mean of the "zero-filled" patch
            (released code), about a third of the true one in a mosaic.

    Raises:
        ValueError: if levels are not positive or do not increase, or for an unknown name.
    """

    levels_255: tuple[float, ...] = ()
    interpolate: bool = True
    masked_mean: Literal["measured", "zero-filled"] = "measured"

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = self.levels_255
        if len(levels) == 1 or any(low >= high for low, high in pairwise((0.0, *levels))):
            raise ValueError(f"levels must be positive, increase, and be two at least: {levels}")
        if self.masked_mean not in ("measured", "zero-filled"):
            raise ValueError(f"masked_mean: 'measured' or 'zero-filled', not {self.masked_mean!r}")


class UnrolledModel(PatchModel):
    """The weights of eq. 3: ``C``, ``D``, ``W`` and Λ.

    All models take, besides the noisy image, a ``mask`` that is 1 where a value was measured and 0
    where none was, ``(1 or B, C, H, W)``, and the ``sigma`` of the noise, ``(B,)`` on the [0, 1]
    scale, of which models of several levels need to know.

    Args:
        config: sizes.
        dictionary: ``(m, K)`` to start from, as `learn_dictionary` finds it; Gaussian atoms where
            not given. ``C = D = W = D₀ / ‖D₀‖₂`` makes the first model an ISTA that converges.

    Source: GroupSC §3.6 and §B; of levels and masks, §3.4 and §3.5.
    """

    config: PatchConfig
    told = ("mask", "sigma")
    matrices = ("C", "D", "W")
    repeats = True
    noise_powers: ClassVar[dict[str, int]] = {"raw_thresholds": 1, "kappa": -1}
    # Whether it compares patches, as a `NonLocalModel` does.
    compares: ClassVar[bool] = False

    def __init__(self, config: PatchConfig, dictionary: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        start = first_dictionary(config, dictionary)
        start = start / spectral_norm(start)
        self.C = nn.Parameter(start.clone())
        self.D = nn.Parameter(start.clone())
        self.W = nn.Parameter(start.clone())
        first = torch.full((config.steps, 1), float(config.threshold))
        if config.levels_255:
            # Thresholds belong to the noise: the first value is that of the loudest level.
            levels = torch.tensor(config.levels_255)
            first = config.threshold * levels[:, None] / levels[-1]
        self.raw_thresholds = nn.Parameter(first.repeat(1, config.atoms))

    @property
    def loudest(self) -> float | None:
        """The loudest of several levels."""
        levels = self.config.levels_255
        return levels[-1] / 255 if levels else None

    @property
    def has_fast_form(self) -> bool:
        """Not so of a subclass without a step of its own: it may compute something else."""
        return "step_fast" in type(self).__dict__

    @property
    def half_precision_is_enough(self) -> bool:
        """On all of BSD68 it changes a score by 0.003 dB at most (docs/speed.md)."""
        return True

    def estimate(
        self, degraded: Tensor, precision: Precision, neighbours: int | None, **told: Tensor
    ) -> Tensor:
        """See `Restorer.estimate`."""
        if precision == "reference":
            return super().estimate(degraded, precision, neighbours, **told)
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        return fast.estimate(self, degraded, dtype, neighbours, **told)

    def step_fast(self, at: fast.Moment) -> None:
        """One proximal step in place, of a model that `has_fast_form`."""
        raise NotImplementedError

    @property
    def thresholds(self) -> Tensor:
        """Λ as ``(steps, K, 1)``, or ``(levels, K, 1)`` if there are several; never negative.

        The absolute value of free parameters. Unlike a clamp it does not stop learning at zero, and
        unlike an exponential or softplus it leaves the learning rate in units of the threshold.
        """
        return self.raw_thresholds.abs()[:, :, None]

    def look(
        self, noisy: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Centred patches ``(B, m, N)``, their means ``(B, 1, N)``, and what is known of them.

        Returns:
            ``y``, ``μ``, and None or ``(1 or B, m, N)``, 1 where an entry of a patch was measured.

        Raises:
            ValueError: see `cut`.

        Source: GroupSC §3.5.
        """
        y, mean = self.cut(noisy)
        if mask is None:
            return y, mean, None
        known = extract_patches(mask, self.config.patch)
        if self.config.masked_mean == "measured":
            patches = y + mean
            mean = measured_mean(patches, known, self.config.channels)
            y = known * (patches - mean)
        return y, mean, known

    def schedule(self, sigma: Tensor | None) -> Iterable[Tensor]:
        """Λ of each step, ``(K, 1)``; or ``(B, K, 1)``, where the noise ``(B,)`` chooses a level.

        Raises:
            ValueError: if there are levels to choose from and the noise is not given.

        Source: GroupSC §3.4.
        """
        if not self.config.levels_255:
            return self.thresholds
        if sigma is None:
            raise ValueError("a model of several noise levels needs to know sigma")
        levels = self.thresholds.new_tensor(self.config.levels_255) / 255
        above = torch.bucketize(sigma, levels).clamp(1, len(levels) - 1)
        low, high = levels[above - 1], levels[above]
        part = ((sigma - low) / (high - low)).clamp(0, 1)
        if not self.config.interpolate:
            part = part.round()
        lower, upper = self.thresholds[above - 1], self.thresholds[above]  # (B, K, 1)
        return [lower.lerp(upper, part[:, None, None])] * self.config.steps

    def first_codes(self, y: Tensor) -> Tensor:
        """Zeros ``(B, K, N)`` for patches ``(B, m, N)``."""
        return y.new_zeros(len(y), self.config.atoms, y.shape[-1])

    def dictionaries(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """``C``, ``D``, ``W`` as ``(B, m, K)`` views: one batched product each, and no copies."""
        C, D, W = (weight.expand(batch, -1, -1) for weight in (self.C, self.D, self.W))
        return C, D, W


def residual(y: Tensor, estimate: Tensor, known: Tensor | None) -> Tensor:
    """``M ⊙ (y − Dz)`` of patches ``(B, m, N)``: what was not measured cannot be wrong.

    Source: GroupSC eq. 13.
    """
    return y - estimate if known is None else known * (y - estimate)
