"""How strong the noise of a photograph is, found from the photograph alone.

Liu, Tanaka, Okutomi, *Single-image noise level estimation for blind denoising*, 2013.

White noise spreads patches equally in all directions of the space of patches. A picture does not:
smooth patches vary in a few directions only. So where there are directions without any picture in
them, the variance of the patches along them is that of the noise: the smallest eigenvalue of their
covariance. Textured patches fill all directions and have to be left out first.

Noise that a camera has demosaicked, smoothed and compressed is not white: neighbours share it, and
its finest waves are nearly gone. The smallest eigenvalue then finds what is left of those, a tenth
or a third of the noise. `estimate_noise` looks at all frequencies, and says which of the two it is.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from scipy.special import gammaincinv
from torch import Tensor

from lessons_lib.ops.dictionary import dct_dictionary
from lessons_lib.ops.patches import extract_patches, patch_positions, spaced

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

# Side of the patches in which frequencies are told apart.
BLOCK = 8
# About as many of them are looked at, and with fewer than the least nothing is said of them.
BLOCKS, LEAST_BLOCKS = 12_000, 2_000
# Shares of patches, the smoothest, in which noise is measured: the second is what counts, and the
# first and the last must agree with each other.
SMOOTHEST = (0.01, 0.05, 0.2)
# What noise in the smoothest fifth may have more than in the smoothest hundredth. Texture has no
# floor: the more of it is looked at, the stronger it is, by 1.4 to 10 times on photographs.
UNEVEN = 1.3
# How much stronger than the fine waves the coarse ones must be: equally strong in white noise, 4 to
# 12 times as strong after demosaicking.
COLOURED = 3.0


@dataclass(frozen=True)
class NoiseEstimate:
    """What is known of the noise of one image, on the scale of the image.

    Attributes:
        sigma: root mean square of all of the noise.
        white: whether no correlation between neighbouring pixels was found.
        finest: what `estimate_sigma` finds: the same where the noise is white, else the noise in
            the finest details alone.
    """

    sigma: float
    white: bool
    finest: float


def estimate_noise(image: Tensor) -> NoiseEstimate:
    """The strength of noise that may be correlated, and whether it is.

    Waves of all frequencies are measured in the smoothest patches. The noise is called correlated
    if coarse waves are `COLOURED` times as strong as fine ones, and so evenly over the smoothest
    fifth of the image that they are no texture. Weak correlated noise under texture is not found.

    Args:
        image: ``(1, C, H, W)``, sides of `SMALLEST` pixels at least.

    Returns:
        See `NoiseEstimate`. How often and how far it is wrong: docs/noise_level.md.

    Raises:
        ValueError: for more than one image, one that is too small, or one that is not finite.
    """
    if len(image) != 1:
        raise ValueError(f"the noise of one image is judged at a time, not of {len(image)}")
    finest = estimate_sigma(image).item()
    shared = correlated_rms(image)
    return NoiseEstimate(finest if shared is None else shared, shared is None, finest)


def correlated_rms(image: Tensor) -> float | None:
    """Root mean square of the correlated noise of an image; None if none is found.

    The first half of `estimate_noise`, with its arguments and errors.
    """
    energies = _energies(image.detach()[0].cpu().double())
    if energies.shape[-1] < LEAST_BLOCKS:
        return None
    fewest, some, many = (_spectrum(energies, share) for share in SMOOTHEST)
    wave = torch.arange(BLOCK)
    number = (wave[:, None] + wave).flatten()
    coarse = some[:, (number >= 2) & (number <= 5)].mean()
    fine = some[:, number >= 9].mean()
    even = many.mean() < UNEVEN**2 * fewest.mean()
    found = bool(even and coarse > COLOURED**2 * fine)
    return some.mean().sqrt().item() if found else None


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
        ValueError: if the image is too small, or has pixels that are no finite numbers.

    Source: Liu et al. 2013, algorithm of §III: weak textured patches chosen three times over.
    Differs from the paper: patches in which noise was cut off at the end of the scale are left out;
    of a large photograph every second, third, ... patch is looked at.
    """
    if min(image.shape[-2:]) < SMALLEST:
        raise ValueError(f"an image of {tuple(image.shape[-2:])} pixels is too small to judge")
    if not torch.isfinite(image).all():
        raise ValueError("the image has pixels that are no finite numbers: its noise has no level")
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
        found[0, 0][rows][:, columns].flatten() for found in (_texture(plane), _whole(plane, PATCH))
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


def _whole(plane: Tensor, side: int) -> Tensor:
    """Whether the patch at each place has no pixel at an end of the scale, ``(1, 1, h, w)``.

    A file cannot hold what is darker than black, so that noise in the shadows is cut off on one
    side and looks weaker than it is. Where it was cut off, many pixels have the very same value.
    """
    ends = torch.zeros_like(plane)
    for end in (plane.min(), plane.max()):
        there = (plane == end).to(plane)
        if there.mean() > CUT_OFF:
            ends += there
    return F.max_pool2d(ends, side, stride=1) == 0


def _energies(planes: Tensor) -> Tensor:
    """Squared cosine coefficients ``(C, BLOCK², N)`` of patches of all channels ``(C, H, W)``."""
    height, width = planes.shape[-2:]
    # An odd step meets the blocks of a JPEG file everywhere, not always at the same place.
    stride = math.isqrt(height * width // BLOCKS) | 1
    # A large photograph's samples may have gaps between them.
    rows, columns = (spaced(length - BLOCK, stride) for length in (height, width))
    whole = torch.stack([_whole(plane[None, None], BLOCK)[0, 0] for plane in planes]).all(dim=0)
    usable = whole[rows][:, columns].flatten()
    if usable.sum() < LEAST_BLOCKS:
        usable = torch.ones_like(usable)
    basis = dct_dictionary(BLOCK, BLOCK**2).double()
    windows = (plane.unfold(0, BLOCK, 1).unfold(1, BLOCK, 1) for plane in planes)
    patches = (all_of[rows][:, columns].flatten(2).flatten(0, 1)[usable] for all_of in windows)
    return torch.stack([(channel @ basis).T.square() for channel in patches])


def _spectrum(energies: Tensor, share: float) -> Tensor:
    """Mean energy of each frequency ``(C, BLOCK²)`` in a share of all patches, the smoothest ones.

    A patch is judged by one half of its frequencies, as the squares of a chessboard are halved, and
    measured on the other: choosing patches of little noise does not make the noise look weak. What
    a patch is judged by counts relative to what is measured, so a few rounds are needed.
    """
    wave = torch.arange(BLOCK)
    black = ((wave[:, None] + wave) % 2 == 0).flatten()
    count = round(share * energies.shape[-1])
    spectrum = energies.median(dim=-1).values
    for _ in range(ROUNDS):
        relative = energies / spectrum.clamp_min(torch.finfo(spectrum.dtype).tiny)[..., None]
        relative[:, 0] = 0  # how bright a patch is says nothing of its noise
        spectrum = torch.empty_like(spectrum)
        for judged in (black, ~black):
            smooth = relative[:, judged].sum(dim=(0, 1)).topk(count, largest=False).indices
            spectrum[:, ~judged] = energies[:, ~judged][..., smooth].mean(dim=-1)
    # A patch's mean is mostly picture: its noise is taken to be that of the two longest waves.
    spectrum[:, 0] = (spectrum[:, 1] + spectrum[:, BLOCK]) / 2
    return spectrum


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
