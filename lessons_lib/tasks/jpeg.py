"""What JPEG compression did to the luma of a file."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lessons_lib.classical import Method
from lessons_lib.degradations import JPEG
from lessons_lib.images import ImageError, Photo, jpeg_quality
from lessons_lib.ops.colour import rgb_to_ycbcr, to_luma, ycbcr_to_rgb
from lessons_lib.tasks.base import Channel, Examples, Goal, Posed, Task, alike, in_colour, whole

# Weights for files much worse or better than a file would take its detail for artefacts, or leave
# them.
NEAR = 10
# Networks for all qualities gain 0.5 dB on Classic5 at quality 75, and lose 0.9 at 90, its authors'
# DnCNN-3 as much as ours.
BEST = 80


class MendJPEG(Task):
    """Luma of files that were compressed as gray images: colours are turned to luma first.

    Source: GroupSC §4, Table 4; that luma comes first is what the published numbers of the files
    themselves show.
    """

    name = mark = known_as = "jpeg"
    about = "jpeg (what compression did to a file)"
    option = "quality"
    told_by_files = True
    tables = ("jpeg artefact reduction", "jpeg artefact reduction")
    aims_at = "quality"
    channels = (1,)

    def degradation(self, value: Any) -> JPEG:
        """Compression at a quality."""
        return JPEG(whole(value))

    def setting(self, degradation: JPEG) -> str:
        """ "q=10" """
        return f"q={degradation.quality}"

    def value(self, setting: str) -> int:
        """10 of "q=10"."""
        return int(setting.partition("=")[2])

    def channel(self, dataset: str) -> Channel:
        """Luma, of gray images too."""
        in_colour(dataset)
        return "luma"

    def methods(self) -> dict[str, Method]:
        """The file as it is."""
        as_it_is = Method(
            lambda image, what, progress: image,
            "the file as it is",
            "the file itself",
            published=("JPEG", "JPEG"),
        )
        return {"noisy": as_it_is}

    def fits(self, weights: Any, value: Any) -> float | None:
        """The nearest quality does, unless it is too far; weights for all do up to `BEST`."""
        if not value:
            return 0.0
        if not weights.quality:
            return 0.0 if value <= BEST else None
        distance = abs(weights.quality - value)
        return distance if distance <= NEAR else None

    def find_value(self, photo: Photo, path: Path, name: str) -> int:
        """The quality of the file's tables."""
        quality = jpeg_quality(path)
        if quality is None:
            raise ImageError(f"{name}: is no JPEG file; say its quality with --quality")
        return quality

    def pose(self, pixels: Tensor, value: Any, path: str) -> Posed:
        """Its luma."""
        planes, file = to_luma(pixels), JPEG(whole(value))
        return Posed(planes, file, ("restored", f"from JPEG quality {file.quality}"))

    def finish(self, pixels: Tensor, estimate: Tensor) -> Tensor:
        """The restored luma with the colours that the file has."""
        if pixels.shape[1] == 1:
            return estimate
        return ycbcr_to_rgb(torch.cat([estimate, rgb_to_ycbcr(pixels)[:, 1:]], dim=1))

    def refuse(self, goal: Goal, channels: int) -> str | None:
        """A quality that there is."""
        beyond = f"quality lies between 1 and 100, not {goal.quality}"
        return super().refuse(goal, channels) or (beyond if goal.quality > 100 else None)

    def goal_setting(self, goal: Goal) -> str:
        """ "q=10" """
        return f"q={goal.quality}"

    def training_image(self, image: Tensor, channels: int, goal: Goal) -> Tensor:
        """Luma, and luma compressed: blocks lie anywhere in a crop that is cut afterwards."""
        luma = to_luma(image)
        return torch.cat([luma, JPEG(goal.quality)(luma)], dim=1)

    def examples(self, pixels: Tensor, goal: Goal, generator: np.random.Generator) -> Examples:
        """Nothing is drawn."""
        return Examples(pixels[:, :1], pixels[:, 1:], {}, alike(pixels))

    def simple_error(self, image: Tensor, goal: Goal, level: float, seed: int) -> float:
        """That of the file itself."""
        return (image[:, 1:] - image[:, :1]).square().mean().item()
