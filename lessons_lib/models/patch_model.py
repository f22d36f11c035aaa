"""Models that estimate an image from its overlapping patches: their sizes, and how patches are cut.

Letters are the paper's: ``y`` centred patches ``(B, m, N)``, ``z`` codes ``(B, K, N)``, ``C``,
``D``, ``W`` dictionaries ``(m, K)``, ``Λ`` thresholds, ``Σ`` similarities ``(B, N, N)``.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lessons_lib.models.restorer import Precision, Restorer
from lessons_lib.models.tiles import BlendedTiles
from lessons_lib.ops.dictionary import random_dictionary
from lessons_lib.ops.patches import centre, extract_patches, overlap_average, patch_counts


@dataclass(frozen=True)
class PatchSizes:
    """Sizes of a model that codes the overlapping patches of an image.

    Args:
        channels: 1 for gray, 3 for colour.
        patch: side of a patch; the paper takes 9 for gray and 7 for colour.
        atoms: columns of each dictionary.
        steps: proximal steps, the paper's K.
        threshold: first value of every threshold in Λ.

    Raises:
        ValueError: if a size is not positive or the threshold is negative.
    """

    channels: int = 1
    patch: int = 9
    atoms: int = 256
    steps: int = 24
    threshold: float = 0.02

    def __post_init__(self) -> None:
        if min(self.channels, self.patch, self.atoms, self.steps) < 1 or self.threshold < 0:
            raise ValueError(f"sizes must be positive, and the threshold not negative: {self}")

    @property
    def entries(self) -> int:
        """Numbers in one patch, the paper's m."""
        return self.channels * self.patch**2


class PatchModel(Restorer):
    """Anything that estimates an image from its overlapping patches."""

    config: PatchSizes
    application = BlendedTiles()
    starts_from_dictionary: ClassVar[bool] = True

    @property
    def border(self) -> int:
        """Where a pixel gets fewer estimates than in the middle."""
        return self.config.patch - 1

    def cut(self, noisy: Tensor) -> tuple[Tensor, Tensor]:
        """Centred patches ``(B, m, N)`` of an image and their means ``(B, 1, N)``: eq. 5.

        Raises:
            ValueError: if the image has other channels than the model, or is too small.
        """
        self.check_channels(noisy, smallest=self.config.patch)
        return centre(extract_patches(noisy, self.config.patch))

    def average(self, patches: Tensor, like: Tensor) -> Tensor:
        """The image that estimated patches ``(B, m, N)`` make together: eq. 6."""
        return overlap_average(patches, (like.shape[-2], like.shape[-1]), self.config.patch)

    def confidence(self, shape: tuple[int, int]) -> Tensor:
        """The number of estimates, see `estimate_counts`."""
        return self.estimate_counts(shape)

    def estimate_counts(self, shape: tuple[int, int]) -> Tensor:
        """Estimates that each pixel of an ``(H, W)`` image gets, ``(1, 1, H, W)``.

        Few near the border, where an estimate is therefore worse: training and the blending of
        tiles weigh pixels by it.
        """
        return patch_counts(shape, self.config.patch)

    def bytes_for(self, shape: tuple[int, int], precision: Precision) -> int:
        """The image's patches, and some copies of their codes."""
        numbers = 5 * self.patches_in(shape) * (self.config.atoms + 2 * self.config.entries)
        return numbers * (2 if precision == "bf16" else 4)

    def patches_in(self, shape: tuple[int, int]) -> int:
        """How many patches an ``(H, W)`` image has."""
        edge = self.config.patch - 1
        return (shape[0] - edge) * (shape[1] - edge)


def first_dictionary(config: PatchSizes, dictionary: Tensor | None) -> Tensor:
    """The given dictionary, checked; or Gaussian atoms.

    Raises:
        ValueError: if its shape does not fit the config.
    """
    shape = (config.entries, config.atoms)
    if dictionary is None:
        return random_dictionary(*shape, torch.Generator().manual_seed(0))
    if tuple(dictionary.shape) != shape:
        raise ValueError(f"the model needs a dictionary {shape}, not {tuple(dictionary.shape)}")
    return dictionary.detach()
