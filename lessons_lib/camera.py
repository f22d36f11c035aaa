"""Noise as a camera leaves it in its files: born in linear light, then spread by what follows.

Guo, Yan, Zhang, Zuo, Zhang, *Toward convolutional blind denoising of real photographs*, 2019, §3.1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lessons_lib.degradations import JPEG, BayerMosaic, random_state
from lessons_lib.demosaicking import bilinear


@dataclass(frozen=True)
class CameraNoise:
    """``y = JPEG(f(demosaic(mosaic(L + n))))`` with light ``L = f⁻¹(x)``.

    The noise n has the variance ``shot² · L + read²``: more of it where there is more light. f is
    the curve by which light becomes the numbers in a file. Demosaicking and compression make
    neighbours' noise alike, so that it is no longer white.

    Args:
        shot: √(variance) of a white pixel's own light, on the [0, 1] scale; up to 0.16 in the
            paper.
        read: standard deviation of what the electronics add; up to 0.06 there.
        pattern: of the sensor's colours, see `BayerMosaic`.
        quality: of the JPEG file; 0 for a file that loses nothing.
        seed: of the noise, see `random_state`.

    Raises:
        ValueError: if either strength is negative or not finite, or both are 0; see `JPEG`.

    Source: Guo et al. eq. 1 to 3.
    Differs from the paper: its curves are those of 201 cameras, here it is that of sRGB.
    """

    shot: float
    read: float
    pattern: str = "RGGB"
    quality: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = sorted((self.shot, self.read))
        if not (low >= 0 and 0 < high < float("inf")):
            raise ValueError(f"strengths from 0 on, not both 0: not {self.shot} and {self.read}")
        BayerMosaic(self.pattern)
        if self.quality:
            JPEG(self.quality)

    def spread(self, image: Tensor) -> Tensor:
        """Standard deviation of the noise in linear light, for a clean ``(B, 3, H, W)``."""
        return (self.shot**2 * to_light(image.clamp(0, 1)) + self.read**2).sqrt()

    def __call__(self, image: Tensor, key: str = "") -> Tensor:
        """Noisy version of ``(B, 3, H, W)`` in [0, 1], clipped as files are."""
        drawn = random_state(self.seed, key).standard_normal(tuple(image.shape))
        noise = self.spread(image) * torch.from_numpy(drawn).to(image)
        mosaic = BayerMosaic(self.pattern)
        light = bilinear(mosaic(to_light(image.clamp(0, 1)) + noise), mosaic)
        noisy = from_light(light.clamp(0, 1))
        return JPEG(self.quality)(noisy) if self.quality else noisy


def to_light(values: Tensor) -> Tensor:
    """Numbers of an sRGB file in [0, 1] to linear light.

    Source: IEC 61966-2-1.
    """
    return torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def from_light(light: Tensor) -> Tensor:
    """The inverse of `to_light`.

    >>> values = torch.linspace(0, 1, 100)
    >>> torch.allclose(from_light(to_light(values)), values, atol=1e-6)
    True
    """
    curve = 1.055 * light.clamp_min(1e-9) ** (1 / 2.4) - 0.055
    return torch.where(light <= 0.0031308, 12.92 * light, curve)
