"""Noise, compression and enlargement at once: what one network for all three learns from."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from lessons_lib.degradations import JPEG
from lessons_lib.tasks.base import Examples, Goal, Task, alike
from lessons_lib.tasks.enlarge import Enlarge
from lessons_lib.tasks.noise import Blind, spread

QUALITIES = (5, 99)
BLOCK = 8  # side of what JPEG compresses by itself


class Mixed(Task):
    """A goal of training only: of each crop, chance decides what happened to it, all three alike.

    Noise of any level up to the loudest, files of qualities from 5 to 99, and images enlarged 2, 3
    or 4 times by bicubic interpolation, on luma. The network is told nothing.

    Source: DnCNN §III.D and §IV.A, of the network for three tasks, DnCNN-3.
    Differs from the paper: a crop is compressed by itself, continued as in a mirror, at any place
    of the grid of blocks.
    """

    name = mark = known_as = "mixed"
    about = "mixed (noise, JPEG files and super-resolution by one network)"
    option = ""
    tables = ("", "")
    also: ClassVar[tuple[str, ...]] = ("denoise", "blind", "jpeg", "sr")
    aims_at = "levels_255"
    channels = (1,)

    def goal_setting(self, goal: Goal) -> str:
        """ "sigma<=55 jpeg x2 x3 x4" """
        return f"sigma<={255 * goal.levels[-1]:g} jpeg {_ENLARGE.goal_setting(Goal())}"

    def training_image(self, image: Tensor, channels: int, goal: Goal) -> Tensor:
        """Luma, and what is left of it at each scale."""
        return _ENLARGE.training_image(image, channels, Goal())

    def examples(self, pixels: Tensor, goal: Goal, generator: np.random.Generator) -> Examples:
        """A third of the crops of each kind, as nearly as their number allows."""
        clean = pixels[:, :1]
        degraded, sigma = clean.clone(), clean.new_zeros(len(clean))
        kinds = torch.from_numpy(3 * spread(len(clean), generator)).int()
        if (some := kinds == 0).any():
            noisy = _BLIND.examples(clean[some], goal, generator)
            degraded[some], sigma[some] = noisy.degraded, noisy.told["sigma"]
        for number in torch.nonzero(kinds == 1)[:, 0].tolist():
            degraded[number] = _compressed(clean[number], generator)
        if (some := kinds == 2).any():
            degraded[some] = _ENLARGE.examples(pixels[some], Goal(), generator).degraded
        return Examples(clean, degraded, {"sigma": sigma}, alike(pixels))

    def levels(self, goal: Goal) -> tuple[float, ...]:
        """None: errors of three kinds are not weighed against each other."""
        return ()


def _compressed(crop: Tensor, generator: np.random.Generator) -> Tensor:
    """A crop ``(1, h, w)`` from a file, at any place of its grid of blocks."""
    lowest, highest = QUALITIES
    above, before = (int(generator.integers(BLOCK)) for _ in range(2))
    longer = pad(crop[None], (before, 0, above, 0), mode="reflect")
    quality = int(generator.integers(lowest, highest + 1))
    return JPEG(quality)(longer)[0, :, above:, before:]


_BLIND, _ENLARGE = Blind(), Enlarge()
