"""Bicubic resizing that agrees with MATLAB's ``imresize``, which super-resolution tables rest on.

Common libraries differ from it in the cubic (a = −0.75), in leaving out the antialiasing filter, or
at the border; each costs tenths of a decibel.
"""

import math

import torch
from torch import Tensor


def cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = −½, zero outside ``[−2, 2]``.

    Source: Keys, *Cubic convolution interpolation for digital image processing*, 1981.
    """
    distance = x.abs()
    inner = 1.5 * distance**3 - 2.5 * distance**2 + 1
    outer = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    return torch.where(distance <= 1, inner, torch.where(distance <= 2, outer, 0 * distance))


def resize_matrix(length: int, scale: float) -> Tensor:
    """Resizing of one axis as a matrix.

    Shrinking stretches the kernel by ``1 / scale``, which removes what the coarse grid cannot hold.
    Samples beyond the border are mirrored with the border pixel repeated.

    Args:
        length: pixels before.
        scale: pixels after divided by pixels before, positive.

    Returns:
        ``(ceil(length * scale), length)``, float64, rows summing to 1.

    Raises:
        ValueError: if ``scale`` is not positive.
    """
    if scale <= 0:
        raise ValueError(f"scale must be positive, not {scale}")
    stretch = max(1.0, 1.0 / scale)
    new_length = math.ceil(length * scale - 1e-9)
    centres = (torch.arange(new_length, dtype=torch.float64) + 0.5) / scale - 0.5
    taps = math.ceil(4 * stretch) + 2
    first = torch.floor(centres - 2 * stretch).long()
    source = first[:, None] + torch.arange(taps)
    weights = cubic((centres[:, None] - source) / stretch)
    weights /= weights.sum(dim=1, keepdim=True)
    folded = source.remainder(2 * length)  # one period of the mirrored signal
    mirrored = torch.where(folded < length, folded, 2 * length - 1 - folded)
    matrix = torch.zeros(new_length, length, dtype=torch.float64)
    return matrix.scatter_add_(1, mirrored, weights)


def imresize(image: Tensor, scale: float) -> Tensor:
    """Resize ``(..., H, W)`` by bicubic convolution, with antialiasing when shrinking.

    Args:
        image: floating point of any range; the result is not clipped and overshoots at edges.
        scale: size after divided by size before, the same for both axes.

    Returns:
        ``(..., ceil(H * scale), ceil(W * scale))``.

    Raises:
        ValueError: if ``scale`` is not positive, or the image holds whole numbers.

    >>> imresize(torch.full((1, 1, 9, 12), 0.25), 1 / 3).shape
    torch.Size([1, 1, 3, 4])
    """
    if not image.is_floating_point():
        raise ValueError(f"an image in floating point is resized, not in {image.dtype}")
    down = resize_matrix(image.shape[-2], scale).to(image)
    across = resize_matrix(image.shape[-1], scale).to(image)
    return down @ image @ across.T
