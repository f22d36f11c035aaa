"""Forward models: what happened to the image before we got it.

Each is a small immutable object that maps an image to its degraded version. Random ones draw from
NumPy's legacy generator, whose stream is frozen, seeded by a hash of their seed and of a key (the
file name): the same picture gets the same noise on every machine and in any order.
"""

import hashlib
import io
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lessons_lib.ops.resize import resize_matrix


def random_state(seed: int, key: str = "") -> np.random.RandomState:
    """The generator for one picture, from a seed and the picture's name."""
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return np.random.RandomState(np.frombuffer(digest[:16], dtype="<u4"))


def _require_positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be positive and finite, not {value}")


@dataclass(frozen=True)
class GaussianNoise:
    """White Gaussian noise ``y = x + σn``, not clipped: the noise of denoising benchmarks.

    Args:
        sigma: standard deviation σ on the [0, 1] scale, e.g. ``25 / 255``.
        seed: of the noise, see `random_state`.

    Raises:
        ValueError: if σ is not positive and finite.
    """

    sigma: float
    seed: int = 0

    def __post_init__(self) -> None:
        _require_positive("sigma", self.sigma)

    def __call__(self, image: Tensor, key: str = "") -> Tensor:
        """Noisy version of ``(B, C, H, W)``."""
        noise = random_state(self.seed, key).standard_normal(tuple(image.shape))
        return image + self.sigma * torch.from_numpy(noise).to(image)


@dataclass(frozen=True, eq=False)
class VaryingNoise:
    """White Gaussian noise that is stronger in some places than in others, not clipped.

    Args:
        sigma: standard deviation at each pixel on the [0, 1] scale, ``(1 or B, 1, H, W)``.
        seed: of the noise, see `random_state`.

    Raises:
        ValueError: if a σ is negative or not finite, or all are 0.
    """

    sigma: Tensor
    seed: int = 0

    def __post_init__(self) -> None:
        if self.sigma.dim() != 4 or self.sigma.shape[1] != 1:
            raise ValueError(
                f"a map of the noise is (1 or B, 1, H, W), not {tuple(self.sigma.shape)}"
            )
        if not (self.sigma.isfinite().all() and self.sigma.min() >= 0 and self.sigma.max() > 0):
            raise ValueError("a map of the noise has numbers from 0 on, and is not 0 everywhere")

    def __call__(self, image: Tensor, key: str = "") -> Tensor:
        """Noisy version of ``(B, C, H, W)``."""
        noise = random_state(self.seed, key).standard_normal(tuple(image.shape))
        return image + self.sigma.to(image) * torch.from_numpy(noise).to(image)


@dataclass(frozen=True)
class PoissonGaussianNoise:
    """Noise of a sensor: photons arrive at random, then the electronics add their own.

    ``y = P(x · photons) / photons + σn``, with mean ``x`` and variance ``x / photons + σ²``.

    Args:
        photons: mean number of photons that a white pixel collects.
        sigma: standard deviation of the read noise on the [0, 1] scale.
        seed: of the noise, see `random_state`.

    Raises:
        ValueError: if either is not positive and finite.

    Source: Foi, Trimeche, Katkovnik, Egiazarian, *Practical Poissonian-Gaussian noise modeling and
    fitting for single-image raw-data*, 2008.
    """

    photons: float
    sigma: float
    seed: int = 0

    def __post_init__(self) -> None:
        _require_positive("photons", self.photons)
        _require_positive("sigma", self.sigma)

    def __call__(self, image: Tensor, key: str = "") -> Tensor:
        """Noisy version of ``(B, C, H, W)``; light below zero counts as none."""
        generator = random_state(self.seed, key)
        light = image.detach().cpu().double().clamp_min(0).numpy()
        counts = generator.poisson(light * self.photons) / self.photons
        noisy = counts + self.sigma * generator.standard_normal(light.shape)
        return torch.from_numpy(noisy).to(image)


PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")


@dataclass(frozen=True)
class BayerMosaic:
    """A sensor's colour filter array: one of three colours per pixel, the others set to zero.

    Args:
        pattern: colours of the top left 2 × 2 pixels, row by row: ``"RGGB"``, ``"BGGR"``,
            ``"GRBG"`` or ``"GBRG"``.

    Raises:
        ValueError: for any other pattern.
    """

    pattern: str = "RGGB"

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise ValueError(f"pattern is RGGB, BGGR, GRBG or GBRG, not {self.pattern!r}")

    def mask(self, shape: tuple[int, int]) -> Tensor:
        """``(1, 3, H, W)``: 1 where the sensor sees red, green, blue."""
        mask = torch.zeros(1, 3, *shape)
        for index, colour in enumerate(self.pattern):
            mask[:, "RGB".index(colour), index // 2 :: 2, index % 2 :: 2] = 1
        return mask

    def __call__(self, image: Tensor, key: str = "") -> Tensor:
        """Mosaic of ``(B, 3, H, W)``, zero filled, same shape."""
        return image * self.mask((image.shape[-2], image.shape[-1])).to(image)

    # A diagonal operator of zeros and ones is its own adjoint.
    adjoint = __call__


@dataclass(frozen=True)
class JPEG:
    """JPEG compression of 8-bit gray or RGB images by libjpeg.

    Args:
        quality: from 1 (worst) to 100. On gray images Pillow's and MATLAB's qualities agree.

    Raises:
        ValueError: for a quality outside 1–100.
    """

    quality: int

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100 or self.quality != int(self.quality):
            raise ValueError(f"JPEG quality lies between 1 and 100, whole, not {self.quality}")

    def __call__(self, image: Tensor, key: str = "") -> Tensor:
        """Compressed version of ``(B, C, H, W)``, C 1 or 3, clipped and rounded to 8 bits."""
        pixels = (image.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
        decoded = [self._round_trip(picture.permute(1, 2, 0).numpy()) for picture in pixels]
        return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).to(image) / 255

    def _round_trip(self, pixels: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        gray = pixels.shape[2] == 1
        Image.fromarray(pixels[:, :, 0] if gray else pixels).save(
            buffer, "JPEG", quality=self.quality
        )
        return np.asarray(Image.open(buffer)).reshape(pixels.shape)


@dataclass(frozen=True)
class BicubicDown:
    """Downscaling by antialiased bicubic convolution, as super-resolution benchmarks do it.

    Args:
        scale: whole factor, at least 2. The image's sides must be multiples of it.

    Raises:
        ValueError: for a factor below 2, or one that is not whole.
    """

    scale: int

    def __post_init__(self) -> None:
        if self.scale < 2 or self.scale != int(self.scale):
            raise ValueError(f"scale must be a whole number from 2 on, not {self.scale}")

    def __call__(self, image: Tensor, key: str = "") -> Tensor:
        """``(B, C, H, W)`` to ``(B, C, H/scale, W/scale)``.

        Raises:
            ValueError: if a side is no multiple of the scale.
        """
        height, width = image.shape[-2:]
        if height % self.scale or width % self.scale:
            raise ValueError(f"{height} x {width} pixels are no multiple of {self.scale}")
        return self._matrix(height, image) @ image @ self._matrix(width, image).T

    def adjoint(self, image: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, C, h·scale, w·scale)``: the transposed operator."""
        height, width = image.shape[-2] * self.scale, image.shape[-1] * self.scale
        return self._matrix(height, image).T @ image @ self._matrix(width, image)

    def _matrix(self, length: int, like: Tensor) -> Tensor:
        return resize_matrix(length, 1 / self.scale).to(like)


class Degradation(Protocol):
    """What happened to an image: those above, and `lessons_lib.camera.CameraNoise`."""

    def __call__(self, image: Tensor, key: str = "") -> Tensor:
        """``(B, C, H, W)`` degraded; what is drawn depends on the key, such as a file's name."""


def redrawn(degradation: Degradation, seed: int) -> Degradation | None:
    """The same with so many added to its seed; None if nothing in it is drawn."""
    drawn: Any = degradation
    return replace(drawn, seed=drawn.seed + seed) if hasattr(drawn, "seed") else None
