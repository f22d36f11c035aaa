"""Colours from a sensor's mosaic, in which each pixel has measured one of three."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lessons_lib import data, demosaicking
from lessons_lib.classical import Method, Progress
from lessons_lib.degradations import PATTERNS, BayerMosaic
from lessons_lib.images import ImageError, Photo
from lessons_lib.ops.patches import extract_patches
from lessons_lib.tasks.base import Channel, Examples, Goal, Posed, Task, alike, in_colour


class Demosaic(Task):
    """Demosaicking without noise.

    Source: GroupSC §4, Table 5.
    """

    name = mark = known_as = "demosaic"
    about = "demosaic (a sensor's mosaic)"
    option = "pattern"
    told_by_files = True
    needs_value = False
    quick = safe = "bilinear"
    tables = ("", "demosaicking")
    channels = (3,)

    def degradation(self, value: Any) -> BayerMosaic:
        """A mosaic of a pattern; the released code's, where none is given."""
        return BayerMosaic(value or "BGGR")

    def setting(self, degradation: Any) -> str:
        """The same for all patterns, as the paper's."""
        return "bayer no noise"

    def value(self, setting: str) -> None:
        """The usual pattern."""

    def channel(self, dataset: str) -> Channel:
        """All colours together."""
        if not in_colour(dataset):
            raise data.DataError(f"{dataset} is not all in colour: gray makes no mosaic")
        return "rgb"

    def methods(self) -> dict[str, Method]:
        """All of `lessons_lib.demosaicking`."""
        return {name: _for_mosaics(method) for name, method in demosaicking.METHODS.items()}

    def told(self, degradation: BayerMosaic, planes: Tensor) -> dict[str, Any]:
        """``mask``."""
        return {"mask": degradation.mask((planes.shape[-2], planes.shape[-1])).to(planes)}

    def find_value(self, photo: Photo, path: Path, name: str) -> str:
        """The pattern, of a file that holds a mosaic and says so."""
        if photo.mosaic is None:
            raise ImageError(f"{name}: does not say which pixel has which colour; say --pattern")
        return photo.mosaic.pattern

    def pose(self, pixels: Tensor, value: Any, path: str) -> Posed:
        """A gray image, each pixel of which is of one colour."""
        if pixels.shape[1] != 1:
            raise ImageError(f"{path}: has three colours at each pixel, a mosaic has one")
        mosaic = BayerMosaic(value)
        planes = mosaic(pixels.expand(-1, 3, -1, -1))
        return Posed(planes, mosaic, ("demosaicked", f"from {value}"))

    def examples(self, pixels: Tensor, goal: Goal, generator: np.random.Generator) -> Examples:
        """Mosaics of all four patterns."""
        size = (pixels.shape[-2], pixels.shape[-1])
        patterns = generator.choice(PATTERNS, size=len(pixels))
        masks = torch.cat([BayerMosaic(str(pattern)).mask(size) for pattern in patterns])
        return Examples(pixels, pixels * masks, {"mask": masks}, alike(pixels))

    def simple_error(self, image: Tensor, goal: Goal, level: float, seed: int) -> float:
        """That of bilinear interpolation."""
        mosaic = BayerMosaic("RGGB")
        return (demosaicking.bilinear(mosaic(image), mosaic) - image).square().mean().item()

    def measured(self, side: int, channels: int) -> Tensor:
        """A patch may begin at each of the four phases."""
        masks = torch.cat([BayerMosaic(pattern).mask((side, side)) for pattern in PATTERNS])
        return extract_patches(masks, side)[..., 0]


def _for_mosaics(method: Method) -> Method:
    def demosaic(image: Tensor, what: BayerMosaic, progress: Progress | None) -> Tensor:
        return method.function(image, what)

    return replace(method, function=demosaic)
