"""White Gaussian noise, of a strength that is told or that has to be found."""

import math
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lessons_lib import classical
from lessons_lib.classical import Method, Progress
from lessons_lib.degradations import Degradation, GaussianNoise, VaryingNoise
from lessons_lib.images import ImageError
from lessons_lib.ops.noise_level import SMALLEST, NoiseEstimate, estimate_noise
from lessons_lib.tasks.base import Examples, Goal, Posed, Task, alike

# Weights multiply an image until its noise is the one that they remove. Made brighter than that, it
# has edges such as they never saw, and steps that nothing forces to converge blow up.
BRIGHTEST = 2.5
# Weights for all levels leave errors that are as large as noise a so many times fainter than the
# loudest that they learned from.
FAINTEST = 20


class Denoise(Task):
    """Noise whose strength is known."""

    name = known_as = "denoise"
    about = "denoise"
    option = "sigma"
    required = True
    tables = ("gray denoising", "color denoising")
    # Once its level is known, any noise can be made that of the training; and a camera's taken for
    # white.
    also: ClassVar[tuple[str, ...]] = ("blind", "camera")
    quick = "dictionary"
    # Of noise too faint for weights; the dictionary learns noise, or takes details for it.
    safe = "dct"
    aims_at = "sigma_255"
    mark = ""

    def degradation(self, value: Any) -> GaussianNoise:
        """Noise of σ = value, white being 255."""
        return GaussianNoise(value / 255)

    def setting(self, degradation: GaussianNoise) -> str:
        """ "sigma=25" """
        return f"sigma={round(degradation.sigma * 255, 9):g}"

    def value(self, setting: str) -> float:
        """25.0 of "sigma=25"."""
        return float(setting.partition("=")[2])

    def methods(self) -> dict[str, Method]:
        """All of `lessons_lib.classical`."""
        return {name: _for_noise(method) for name, method in classical.METHODS.items()}

    def told(self, degradation: GaussianNoise | VaryingNoise, planes: Tensor) -> dict[str, Any]:
        """``sigma``: a number, or a map."""
        if isinstance(degradation, VaryingNoise):
            return {"sigma": degradation.sigma}
        return {"sigma": _sigma(degradation)}

    def fits(self, weights: Any, value: Any) -> float | None:
        """Those for this noise, or a little more, or any less, or for many levels that reach it."""
        if not weights.sigma_255:
            return None if value and value < _quietest(weights) else 0.0
        if weights.sigma_255 > BRIGHTEST * value:
            return None
        return abs(math.log(weights.sigma_255 / value))

    def pose(self, pixels: Tensor, value: Any, path: str) -> Posed:
        """Noise of the given strength: a number, white being 255, or a map on the [0, 1] scale."""
        if isinstance(value, Tensor):
            if value.shape[-2:] != pixels.shape[-2:]:
                (height, width), (tall, wide) = pixels.shape[-2:], value.shape[-2:]
                sizes = f"{width} x {height} pixels, and the map of its noise {wide} x {tall}"
                raise ImageError(f"{path}: has {sizes}")
            return Posed(pixels, VaryingNoise(value), ("denoised", "at the sigma of a map"))
        return Posed(pixels, GaussianNoise(value / 255), ("denoised", f"at sigma {value:g}"))

    def goal_setting(self, goal: Goal) -> str:
        """ "sigma=25" """
        return self.setting(GaussianNoise(goal.sigma))

    def examples(self, pixels: Tensor, goal: Goal, generator: np.random.Generator) -> Examples:
        """Fresh noise of one level."""
        return Examples(pixels, pixels + goal.sigma * _noise(pixels, generator), {}, alike(pixels))

    def simple_error(self, image: Tensor, goal: Goal, level: float, seed: int) -> float:
        """That of DCT thresholding."""
        noisy = image + level * _noise(image, np.random.default_rng(seed))
        return (classical.dct(noisy, level) - image).square().mean().item()


class Untold(Denoise):
    """Noise whose strength nobody tells: a method is told what is found."""

    required = False
    smallest = SMALLEST

    def perceived(self, image: Tensor, degradation: Any) -> Degradation:
        """White noise, as strong as it is found to be."""
        return GaussianNoise(_found(image).sigma)


class Blind(Untold):
    """White noise. A model of many levels may find its strength, or be told it.

    Of a photograph it is found before a method is called: what is left is to `Denoise`.
    """

    name = "blind"
    about = "blind (noise of unknown strength)"
    tables = ("", "blind color denoising")
    also: ClassVar[tuple[str, ...]] = ("denoise", "camera")
    aims_at = "levels_255"
    mark = "blind"

    def pose(self, pixels: Tensor, value: Any, path: str) -> Posed:
        """Noise of the strength that is found, unless one is given; says if it is not white."""
        if value is not None:
            return super().pose(pixels, value, path)
        if min(pixels.shape[-2:]) < SMALLEST:
            raise ImageError(
                f"{path}: too small to find its noise; say how strong it is with --sigma"
            )
        noise = _found(pixels)
        words = ("denoised", f"at an estimated sigma of {noise.sigma * 255:.1f}")
        if noise.white:
            return Posed(pixels, GaussianNoise(noise.sigma), words)
        note = (
            "its noise is correlated, as demosaicking, smoothing and JPEG leave it: about "
            f"{noise.sigma * 255:.1f} in all, though only {noise.finest * 255:.1f} in the finest "
            "details; if too much or too little is removed, say --sigma"
        )
        if pixels.shape[1] == 3:
            note += ", or try --task camera"
        return Posed(pixels, GaussianNoise(noise.sigma), words, (note,), self.quick)

    def goal_setting(self, goal: Goal) -> str:
        """ "sigma<=55" """
        return f"sigma<={255 * goal.levels[-1]:g}"

    def examples(self, pixels: Tensor, goal: Goal, generator: np.random.Generator) -> Examples:
        """Fresh noise, of any level up to the loudest in each crop; see `spread`."""
        noise = _noise(pixels, generator)
        return _with(noise, pixels, goal.levels[-1] * spread(len(pixels), generator))

    def watched(self, pixels: Tensor, goal: Goal, generator: np.random.Generator) -> Examples:
        """Each crop's level is drawn for itself."""
        noise = _noise(pixels, generator)
        return _with(noise, pixels, generator.uniform(0, goal.levels[-1], size=len(pixels)))

    def levels(self, goal: Goal) -> tuple[float, ...]:
        """Those that share a model's weights."""
        return goal.levels


def _quietest(weights: Any) -> float:
    """The least noise that weights for many levels do no harm to, white being 255."""
    levels = weights.options.get("levels_255")
    return float(min(levels) if levels else weights.options.get("loudest_255", 0) / FAINTEST)


def _with(noise: Tensor, pixels: Tensor, levels: np.ndarray) -> Examples:
    sigma = torch.from_numpy(levels).float()
    noisy = pixels + sigma[:, None, None, None] * noise
    return Examples(pixels, noisy, {"sigma": sigma}, alike(pixels))


def spread(count: int, generator: np.random.Generator) -> np.ndarray:
    """Numbers between 0 and 1, each alike likely to be any, and one in each of `count` equal parts.

    A batch with the noise of all levels in it is as loud as any other. Drawn each for itself, eight
    squares of noise levels have means that differ by a third from batch to batch, and what batch
    normalisation divides by with them: by a sixth, which is an error in the noise that is found.
    """
    return (generator.permutation(count) + generator.uniform(size=count)) / count


def _noise(pixels: Tensor, generator: np.random.Generator) -> Tensor:
    return torch.from_numpy(generator.standard_normal(tuple(pixels.shape), dtype=np.float32))


def _found(image: Tensor) -> NoiseEstimate:
    """The noise of an image, or the least that a method can be told: it must not be none at all."""
    noise = estimate_noise(image)
    # A tenth of a gray level where white is the brightest pixel; of a black image, of white.
    least = (image.abs().max().item() or 1.0) / 2550
    return replace(noise, sigma=max(noise.sigma, least))


def _sigma(noise: GaussianNoise) -> float:
    # Beyond this nothing of an image is left in any case, and squares would overflow.
    return min(noise.sigma, 1e6)


def _for_noise(method: Method) -> Method:
    def denoise(image: Tensor, what: GaussianNoise, progress: Progress | None) -> Tensor:
        return method.function(image, _sigma(what), progress)

    return replace(method, function=denoise)
