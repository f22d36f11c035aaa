"""Noise of a camera's files, of unknown strength and not white."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lessons_lib import data
from lessons_lib.camera import CameraNoise
from lessons_lib.degradations import PATTERNS
from lessons_lib.images import ImageError
from lessons_lib.ops.noise_level import SMALLEST
from lessons_lib.tasks.base import Channel, Examples, Goal, Posed, alike, in_colour
from lessons_lib.tasks.noise import Untold

# The strongest noise in CBDNet's training, and the JPEG files in it.
SHOT, READ = 0.16, 0.06
QUALITIES = (60, 100)


class Camera(Untold):
    """Colour files of a camera, simulated by `CameraNoise`.

    A level from 0 to 1 stands for noise of both kinds, 1 being the strongest that CBDNet is trained
    for. Nobody tells it: networks for white noise, and classical methods, are told what is found.

    Source: Guo et al., *Toward convolutional blind denoising of real photographs*, 2019, §3.1, 4.1.
    """

    name = mark = known_as = "camera"
    about = "camera (noise of a camera's files, simulated)"
    option = "level"
    tables = ("", "")
    also = ()
    aims_at = ""
    channels = (3,)

    def degradation(self, value: Any) -> Any:
        """A level from 0 to 1; files of quality 90."""
        if not 0 < value <= 1:
            raise ValueError(f"the level of a camera's noise lies between 0 and 1, not {value}")
        return CameraNoise(SHOT * value, READ * value, quality=90)

    def setting(self, degradation: Any) -> str:
        """ "level=0.5" """
        return f"level={round(degradation.shot / SHOT, 6):g}"

    def value(self, setting: str) -> float:
        """0.5 of "level=0.5"."""
        return float(setting.partition("=")[2])

    def channel(self, dataset: str) -> Channel:
        """All colours together."""
        if not in_colour(dataset):
            raise data.DataError(f"{dataset} is not all in colour: gray tells no sensor's colours")
        return "rgb"

    def fits(self, weights: Any, value: Any) -> float | None:
        """Those for a camera, or for all levels of noise: nobody says how strong it is."""
        return None if weights.sigma_255 else 0.0

    def goal_setting(self, goal: Goal) -> str:
        """The name: weights for it have learned from all levels."""
        return self.name

    def pose(self, pixels: Tensor, value: Any, path: str) -> Posed:
        """Noise of unknown strength, whatever is said."""
        if pixels.shape[1] != 3:
            raise ImageError(f"{path}: is gray, and this is for a camera's colours")
        if min(pixels.shape[-2:]) < SMALLEST:
            raise ImageError(f"{path}: too small to find its noise; name a sigma and denoise it")
        words = ("denoised", "as a camera's file")
        return Posed(pixels, self.degradation(value or 1.0), words)

    def examples(self, pixels: Tensor, goal: Goal, generator: np.random.Generator) -> Examples:
        """Crops of all levels and patterns, half of them compressed; told the map ``noise``."""
        noisy, maps = [], []
        lowest, highest = QUALITIES
        for crop in pixels.split(1):
            shot, read = generator.uniform(0, SHOT), generator.uniform(0, READ)
            pattern = PATTERNS[generator.integers(4)]
            # The lower and the upper quality are drawn as often as those between them.
            quality = int(generator.integers(lowest, highest + 1)) if generator.integers(2) else 0
            camera = CameraNoise(shot, read, pattern, quality, seed=int(generator.integers(2**31)))
            noisy.append(camera(crop))
            maps.append(camera.spread(crop))
        return Examples(pixels, torch.cat(noisy), {"noise": torch.cat(maps)}, alike(pixels))

    def levels(self, goal: Goal) -> tuple[float, ...]:
        """One for all."""
        return (0.5,)

    def simple_error(self, image: Tensor, goal: Goal, level: float, seed: int) -> float:
        """That of the file itself."""
        camera = CameraNoise(SHOT * level, READ * level, seed=seed)
        return (camera(image) - image).square().mean().item()
