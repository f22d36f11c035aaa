"""How strong the noise of a photograph is, found from the photograph alone.

Liu, Tanaka, Okutomi, *Single-image noise level estimation for blind denoising*, 2013.

White noise spreads patches equally in all directions of the space of patches. A picture does not:
smooth patches vary in a few directions only. So where there are directions without any picture in
them, the variance of the patches along them is that of the noise: the smallest eigenvalue of their
covariance. Textured patches fill all directions and have to be left out first.
"""

import math
from functools import cache

import torch
import torch.nn.functional as F
from scipy.special import gammaincinv
from torch import Tensor

from lessons_lib.ops.patches import extract_patches, patch_positions

PATCH = 7
# Side of the smallest image that can be judged.
SMALLEST = 16
ROUNDS = 3
# A patch of pure noise is taken for texture once in so many.
CONFIDENCE = 1 - 1e-6
# Fewer patches than entries always leave a direction without any variance.
FEW = 2 * PATCH**2
# Share of pixels at the end of the scale from which on noise counts as cut off there.
CUT_OFF = 1e-3
# More patches than this make the estimate no better.
ENOUGH = 200_000


def estimate_sigma(image: Tensor) -> Tensor:
    """Standard deviation of white Gaussian noise.

    Args:
        image: ``(B, C, H, W)``, sides of `SMALLEST` pixels at least. Noise is taken to be equally
            strong in all channels.

    Returns:
        ``(B,)``, on the scale of the image. A smallest eigenvalue is too small, the more so the
        fewer patches there are: by 1 % on benchmark photographs, by 5 % where there are 20,000. And
        the result is too large where no part of the image is smooth. At σ = 5 to 50 (white being
        255) it is off by 0.1 to 0.5 on benchmark photographs, a wavelet's median by 0.4 to 2.6
        (docs/noise_level.md). Noise of 50 in an 8-bit file, cut off in most patches, is underrated.

    Raises:
        ValueError: if the image is too small.

    Source: Liu et al. 2013, algorithm of §III: weak textured patches chosen three times over.
    Differs from the paper: patches in which noise was cut off at the end of the scale are left out;
    of a large photograph every second, third, ... patch is looked at.
    """
    if min(image.shape[-2:]) < SMALLEST:
        raise ValueError(f"an image of {tuple(image.shape[-2:])} pixels is too small to judge")
    planes = image.detach().flatten(0, 1)[:, None].cpu().double()
    variances = torch.tensor([_variance(plane[None]) for plane in planes])
    return variances.view(image.shape[:2]).mean(dim=1).sqrt().to(image)


def _variance(plane: Tensor) -> float:
    """Noise variance of one ``(1, 1, H, W)`` plane."""
    stride = min(PATCH, max(1, math.isqrt(plane.numel() // ENOUGH)))
    # Less the mean, so that little cancels when that of the patches is taken off.
    patches = extract_patches(plane - plane.mean(), PATCH, stride)[0]
    rows, columns = (patch_positions(length, PATCH, stride) for length in plane.shape[-2:])
    texture, whole = (
        found[0, 0][rows][:, columns].flatten() for found in (_texture(plane), _whole(plane))
    )
    usable = whole if whole.sum() > FEW else torch.ones_like(whole)
    weak = usable
    variance = math.inf
    for _ in range(1 + ROUNDS):
        if weak.sum() <= FEW:
            break
        variance = max(0.0, torch.linalg.eigvalsh(_covariance(patches[:, weak]))[0].item())
        weak = usable & (texture < variance * _noise_texture())
    return variance


def _covariance(patches: Tensor) -> Tensor:
    """Of patches ``(m, N)``, ``(m, m)``; as `torch.cov`, with fewer copies of all patches."""
    count = patches.shape[1]
    mean = patches.mean(dim=1, keepdim=True)
    return (patches @ patches.T - count * mean @ mean.T) / (count - 1)


def _whole(plane: Tensor) -> Tensor:
    """Whether the patch at each place has no pixel at an end of the scale, ``(1, 1, h, w)``.

    A file cannot hold what is darker than black, so that noise in the shadows is cut off on one
    side and looks weaker than it is. Where it was cut off, many pixels have the very same value.
    """
    ends = torch.zeros_like(plane)
    for end in (plane.min(), plane.max()):
        there = (plane == end).to(plane)
        if there.mean() > CUT_OFF:
            ends += there
    return F.max_pool2d(ends, PATCH, stride=1) == 0


def _texture(plane: Tensor) -> Tensor:
    """Energy of the gradients that lie wholly within the patch at each place, ``(1, 1, h, w)``."""
    across = (plane[..., 2:] - plane[..., :-2]) / 2
    down = (plane[..., 2:, :] - plane[..., :-2, :]) / 2
    inner = PATCH - 2
    mean = F.avg_pool2d(across.square(), (PATCH, inner), stride=1)
    mean += F.avg_pool2d(down.square(), (inner, PATCH), stride=1)
    return mean * (PATCH * inner)


@cache
def _noise_texture() -> float:
    """Strength of texture that noise of variance 1 hardly ever exceeds.

    The energy of gradients is a quadratic form of the noise, close to a gamma distribution that has
    the form's mean and as many degrees of freedom as the form has rank.

    Source: Liu et al. 2013, eq. 10 and 11.
    """
    pixels = torch.eye(PATCH**2, dtype=torch.float64).reshape(-1, 1, PATCH, PATCH)
    kernel = torch.tensor([-0.5, 0, 0.5], dtype=torch.float64)
    across = F.conv2d(pixels, kernel.view(1, 1, 1, 3)).flatten(1)
    down = F.conv2d(pixels, kernel.view(1, 1, 3, 1)).flatten(1)
    form = across @ across.T + down @ down.T
    rank = torch.linalg.matrix_rank(form).item()
    return float(gammaincinv(rank / 2, CONFIDENCE)) * 2 * form.trace().item() / rank
