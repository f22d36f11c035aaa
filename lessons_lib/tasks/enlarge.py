"""Super-resolution: an image that bicubic interpolation made smaller is made larger again."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lessons_lib.classical import Method
from lessons_lib.degradations import BicubicDown
from lessons_lib.images import ImageError
from lessons_lib.images.photo import MAX_PIXELS
from lessons_lib.ops.colour import rgb_to_ycbcr, to_luma, ycbcr_to_rgb
from lessons_lib.ops.resize import imresize
from lessons_lib.tasks.base import Channel, Examples, Goal, Posed, Task, alike, in_colour, whole

LARGEST = 8
# What a network for all scales learns: those of published tables.
USUAL = (2, 3, 4)


class Enlarge(Task):
    """Luma of images whose sides are a whole number of times shorter.

    Sides are trimmed to multiples of the scale first. Luma is rounded to 8 bits, made smaller, and
    not rounded again; a border as wide as the scale is not scored. That gives the numbers printed
    for bicubic interpolation, to the last digit. Networks whose estimate is as large as what they
    see are given the image enlarged by bicubic interpolation.

    Source: NLRN §5 and Table 6; NSR §4.
    """

    name = mark = known_as = "sr"
    about = "sr (super-resolution: a photograph that is too small)"
    option = "scale"
    required = True
    tables = ("super-resolution", "super-resolution")
    smallest = 4
    quick = safe = "bicubic"
    channels = (1,)

    def degradation(self, value: Any) -> BicubicDown:
        """A scale from 2 to 8."""
        if value > LARGEST:
            raise ValueError(f"scale lies between 2 and {LARGEST}, not {value}")
        return BicubicDown(whole(value))

    def setting(self, degradation: BicubicDown) -> str:
        """ "x2" """
        return f"x{degradation.scale}"

    def value(self, setting: str) -> int:
        """2 of "x2"."""
        return int(setting.removeprefix("x"))

    def channel(self, dataset: str) -> Channel:
        """Luma, of gray images too."""
        in_colour(dataset)
        return "luma"

    def border(self, degradation: BicubicDown) -> int:
        """As wide as the scale."""
        return degradation.scale

    def trim(self, image: Tensor, degradation: BicubicDown) -> Tensor:
        """Sides that are multiples of the scale."""
        height, width = (side // degradation.scale * degradation.scale for side in image.shape[-2:])
        return image[..., :height, :width]

    def methods(self) -> dict[str, Method]:
        """Bicubic interpolation."""
        return {
            "bicubic": Method(
                lambda image, what, progress: imresize(image, what.scale),
                "bicubic interpolation",
                "bicubic interpolation",
                published=("Bicubic", "Bicubic"),
            )
        }

    def seen(self, planes: Tensor, degradation: BicubicDown, scale: int) -> Tensor:
        """Enlarged before, for a model that does not do it itself.

        Raises:
            ValueError: if the model enlarges by another scale.
        """
        if scale == 1:
            return imresize(planes, degradation.scale)
        if scale != degradation.scale:
            raise ValueError(f"the model enlarges {scale} times, not {degradation.scale}")
        return planes

    def fits(self, weights: Any, value: Any) -> float | None:
        """Those for this scale, or for all that are usual."""
        made_for = getattr(weights, "scale", 0)
        return 0.0 if value in ((made_for,) if made_for else USUAL) else None

    # A photograph in a file -------------------------------------------------------------------

    def pose(self, pixels: Tensor, value: Any, path: str) -> Posed:
        """Its luma."""
        height, width = pixels.shape[-2:]
        if value**2 * height * width > MAX_PIXELS:
            raise ImageError(
                f"{path}: would have more than {MAX_PIXELS // 1_000_000} million pixels"
            )
        planes = to_luma(pixels)
        return Posed(planes, self.degradation(value), ("enlarged", f"{value} times"))

    def finish(self, pixels: Tensor, estimate: Tensor) -> Tensor:
        """The luma with the photograph's colours, which are enlarged by bicubic interpolation.

        Source: NLRN §5.
        """
        if pixels.shape[1] == 1:
            return estimate
        scale = estimate.shape[-1] // pixels.shape[-1]
        colours = imresize(rgb_to_ycbcr(pixels)[:, 1:], scale)
        return ycbcr_to_rgb(torch.cat([estimate, colours], dim=1))

    # What a model learns from -----------------------------------------------------------------

    def refuse(self, goal: Goal, channels: int) -> str | None:
        """A scale that there is; 0 stands for 2, 3 and 4 together."""
        if goal.scale and not 2 <= goal.scale <= LARGEST:
            return f"scale lies between 2 and {LARGEST}, or is 0 for all, not {goal.scale}"
        if goal.enlarges not in (1, goal.scale):
            return f"the model enlarges {goal.enlarges} times, not {goal.scale}"
        return super().refuse(goal, channels)

    def goal_setting(self, goal: Goal) -> str:
        """ "x2", or "x2 x3 x4" """
        return " ".join(f"x{scale}" for scale in ([goal.scale] if goal.scale else USUAL))

    def training_image(self, image: Tensor, channels: int, goal: Goal) -> Tensor:
        """Luma; and for a model that does not enlarge, what is left of it at each scale."""
        luma = to_luma(image)
        scales = (goal.scale,) if goal.scale else USUAL
        whole = math.lcm(*scales)
        height, width = (side // whole * whole for side in luma.shape[-2:])
        luma = (luma[..., :height, :width] * 255).round() / 255
        if goal.enlarges > 1:
            return luma
        # Kept in 8 bits, which end at black and white; `seen` does not clip.
        blurred = [imresize(imresize(luma, 1 / scale), scale).clamp(0, 1) for scale in scales]
        return torch.cat([luma, *blurred], dim=1)

    def examples(self, pixels: Tensor, goal: Goal, generator: np.random.Generator) -> Examples:
        """A scale is drawn for each crop, where there are several."""
        clean = pixels[:, :1]
        if goal.enlarges > 1:
            # A crop made smaller by itself: at its edge it lacks what the whole image would tell.
            return Examples(clean, BicubicDown(goal.enlarges)(clean), {}, alike(pixels))
        drawn = torch.from_numpy(generator.integers(1, pixels.shape[1], size=len(pixels)))
        degraded = pixels[torch.arange(len(pixels)), drawn][:, None]
        return Examples(clean, degraded, {}, alike(pixels))

    def simple_error(self, image: Tensor, goal: Goal, level: float, seed: int) -> float:
        """That of bicubic interpolation."""
        clean = image[:, :1]
        if goal.enlarges > 1:
            what = BicubicDown(goal.enlarges)
            clean = self.trim(clean, what)
            blurred = imresize(what(clean), goal.enlarges)
        else:
            blurred = image[:, 1:]
        return (blurred - clean).square().mean().item()
