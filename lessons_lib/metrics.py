"""PSNR and SSIM, with the definition in the name: a number without its definition compares nothing.

No function clips or rounds; a protocol that wants that does it first.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

SsimDefinition = Literal["gaussian", "uniform7", "uniform8"]


def psnr(estimate: Tensor, target: Tensor, data_range: float = 1.0) -> Tensor:
    """Peak signal-to-noise ratio of each image: ``10 log₁₀(range² / MSE)``.

    Args:
        estimate: ``(B, C, H, W)``.
        target: same shape. The error is averaged over all channels together.
        data_range: distance from black to white: 1, or 255.

    Returns:
        ``(B,)`` in dB, float64; infinite where the two are equal.

    Raises:
        ValueError: if the shapes differ.

    >>> float(psnr(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.1))[0].round(decimals=3))
    20.0
    """
    _require_same_shape(estimate, target)
    error = (estimate.double() - target.double()).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(data_range**2 / error)


def ssim(
    estimate: Tensor,
    target: Tensor,
    definition: SsimDefinition = "gaussian",
    data_range: float = 1.0,
) -> Tensor:
    """Structural similarity of each image, averaged over channels and over windows inside it.

    ``(2 μx μy + c1)(2 σxy + c2) / ((μx² + μy² + c1)(σx² + σy² + c2))`` with ``c1 = (0.01 range)²``
    and ``c2 = (0.03 range)²``, where means, variances and covariance are those of a window.

    Three definitions circulate, and they differ in the third decimal and more:

    - ``"gaussian"``: the authors' own: 11 × 11 Gaussian window of deviation 1.5; DnCNN, NLRN, NSR.
    - ``"uniform7"``: scikit-image's default: flat 7 × 7 window and sample (co)variances, divided by
      48 and not 49; GroupSC's released code.
    - ``"uniform8"``: flat 8 × 8 window; the published scores of JPEG deblocking.

    Args:
        estimate: ``(B, C, H, W)``.
        target: same shape.
        definition: one of the above.
        data_range: distance from black to white: 1, or 255.

    Returns:
        ``(B,)`` in ``[−1, 1]``, float64; 1 where the two are equal.

    Raises:
        ValueError: if the shapes differ, the name is unknown, or the image is smaller than the
            window.

    Source: Wang, Bovik, Sheikh, Simoncelli, *Image quality assessment: from error visibility to
    structural similarity*, 2004.
    """
    luminance, structure = _factors(estimate, target, definition, data_range)
    return (luminance * structure).mean(dim=(1, 2, 3))


# How much each of the scales counts, the image itself first.
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ms_ssim(estimate: Tensor, target: Tensor, data_range: float = 1.0) -> Tensor:
    """Structural similarity of each image on five scales, averaged over channels.

    ``Π cs_j^w_j · ssim_5^w_5``, where ``cs`` is SSIM's second factor, and each scale is the one
    before, halved by means of 2 × 2 pixels. A factor below zero counts as zero.

    Args:
        estimate: ``(B, C, H, W)``, 176 pixels at least on each side.
        target: same shape.
        data_range: distance from black to white: 1, or 255.

    Returns:
        ``(B,)`` in ``[0, 1]``, float64; 1 where the two are equal.

    Raises:
        ValueError: if the shapes differ, or the image is too small for the last scale's window.

    Source: Wang, Simoncelli, Bovik, *Multiscale structural similarity for image quality
    assessment*, 2003; the weights are those of §3.3.
    """
    x, y = estimate.double(), target.double()
    product = torch.ones(x.shape[:2], dtype=torch.float64, device=x.device)
    for number, weight in enumerate(SCALES):
        if number:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        luminance, structure = _factors(x, y, "gaussian", data_range)
        kept = luminance * structure if number == len(SCALES) - 1 else structure
        product = product * kept.mean(dim=(2, 3)).clamp(min=0) ** weight
    return product.mean(dim=1)


def _factors(
    estimate: Tensor, target: Tensor, definition: SsimDefinition, data_range: float
) -> tuple[Tensor, Tensor]:
    """The two factors of SSIM at each window inside the image, ``(B, C, H', W')`` each."""
    _require_same_shape(estimate, target)
    window = _window(definition).to(estimate.device)
    if min(estimate.shape[-2:]) < len(window):
        raise ValueError(
            f"SSIM looks through windows of {len(window)} pixels; the image is smaller"
        )

    def local_mean(image: Tensor) -> Tensor:
        planes = image.flatten(0, 1)[:, None]  # (B·C, 1, H, W)
        rows = F.conv2d(planes, window[None, None, None, :])
        means = F.conv2d(rows, window[None, None, :, None])
        return means.view(*image.shape[:2], *means.shape[-2:])

    x, y = estimate.double(), target.double()
    mean_x, mean_y = local_mean(x), local_mean(y)
    count = len(window) ** 2
    unbiased = count / (count - 1) if definition == "uniform7" else 1.0
    variance_x = unbiased * (local_mean(x * x) - mean_x**2)
    variance_y = unbiased * (local_mean(y * y) - mean_y**2)
    covariance = unbiased * (local_mean(x * y) - mean_x * mean_y)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return luminance, structure


def ssim_side(definition: SsimDefinition = "gaussian") -> int:
    """Pixels that each side of an image must have for its SSIM."""
    return len(_window(definition))


def _window(definition: SsimDefinition) -> Tensor:
    """One-dimensional window, summing to 1; its outer product with itself is the 2-D window."""
    if definition == "gaussian":
        offsets = torch.arange(-5, 6, dtype=torch.float64)
        weights = torch.exp(-(offsets**2) / (2 * 1.5**2))
    elif definition in ("uniform7", "uniform8"):
        weights = torch.ones(int(definition[-1]), dtype=torch.float64)
    else:
        raise ValueError(f"SSIM is 'gaussian', 'uniform7' or 'uniform8', not {definition!r}")
    return weights / weights.sum()


def _require_same_shape(estimate: Tensor, target: Tensor) -> None:
    if estimate.shape != target.shape or estimate.dim() != 4:
        raise ValueError(
            "expected two images (B, C, H, W) of the same shape, "
            f"got {tuple(estimate.shape)} and {tuple(target.shape)}"
        )
