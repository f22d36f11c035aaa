"""What a training makes small: a number for how far estimates are from clean crops."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lessons_lib.data import unknown
from lessons_lib.training.tables import ConfigError, check_not_negative, check_types


def squared(estimate: Tensor, clean: Tensor, confidence: Tensor) -> Tensor:
    """``Σ [m (x̂ − x)]² / batch`` with ``m`` the confidence over its maximum.

    Args:
        estimate: ``(B, C, H, W)``.
        clean: same shape.
        confidence: ``(1, 1, H, W)``, how much each pixel's estimate is to be trusted; of patches,
            how many overlap there.

    Source: GroupSC eq. 7 and §3.6 (ii); that ``m`` is squared is its released code's.
    """
    weight = confidence / confidence.max()
    return (weight * (estimate - clean)).square().sum() / len(estimate)


def absolute(estimate: Tensor, clean: Tensor, confidence: Tensor) -> Tensor:
    """``Σ m |x̂ − x| / batch``, see `squared`: large differences count for less than in it."""
    weight = confidence / confidence.max()
    return (weight * (estimate - clean)).abs().sum() / len(estimate)


def charbonnier(estimate: Tensor, clean: Tensor, confidence: Tensor) -> Tensor:
    """``Σ m √((x̂ − x)² + ε²) / batch``, ε = 0.001: `absolute` with its kink made round.

    Source: Charbonnier, Blanc-Féraud, Aubert, Barlaud, *Two deterministic half-quadratic
    regularization algorithms for computed imaging*, 1994.
    """
    weight = confidence / confidence.max()
    return (weight * ((estimate - clean).square() + 1e-6).sqrt()).sum() / len(estimate)


def structural(estimate: Tensor, clean: Tensor, confidence: Tensor, deviation: float) -> Tensor:
    """``1 − SSIM`` at the centre of each crop, seen through a Gaussian as wide as the crop.

    Args:
        estimate: ``(B, C, H, W)`` on the [0, 1] scale.
        clean: same shape.
        confidence: ``(1, 1, H, W)``, multiplies the Gaussian.
        deviation: the Gaussian's, in pixels; 5 and 9 in the paper.

    Source: Zhao, Gallo, Frosio, Kautz, *Loss functions for image restoration with neural networks*,
    2017, §III-B.
    """
    luminance, structure = similarity(estimate, clean, gaussian(confidence, deviation))
    return 1 - (luminance * structure).mean()


def multiscale(estimate: Tensor, clean: Tensor, confidence: Tensor) -> Tensor:
    """``1 − l₈ · cs_½ cs₁ cs₂ cs₄ cs₈`` at each crop's centre, the indices being deviations.

    Five Gaussians stand for five sizes of the image: nothing is made smaller.

    Source: Zhao et al. §III-C, as their code computes it.
    """
    product = torch.ones_like(estimate[..., 0, 0])
    for deviation in (0.5, 1.0, 2.0, 4.0, 8.0):
        luminance, structure = similarity(estimate, clean, gaussian(confidence, deviation))
        product = product * structure
    return 1 - (luminance * product).mean()


def mixed(estimate: Tensor, clean: Tensor, confidence: Tensor, alpha: float) -> Tensor:
    """``α · multiscale + (1 − α) · Σ G₈ |x̂ − x|``, with the Gaussian ``G₈`` summing to 1.

    Source: Zhao et al. §III-D with α = 0.84; their code has 0.025.
    """
    errors = (gaussian(confidence, 8.0) * (estimate - clean).abs()).sum(dim=(-2, -1))
    return alpha * multiscale(estimate, clean, confidence) + (1 - alpha) * errors.mean()


def gaussian(confidence: Tensor, deviation: float) -> Tensor:
    """A Gaussian about the crop's centre ``(1, 1, H, W)``, summing to 1."""
    sides = [
        torch.arange(length, device=confidence.device) - (length - 1) / 2
        for length in confidence.shape[-2:]
    ]
    rows, columns = (torch.exp(-(side**2) / (2 * deviation**2)) for side in sides)
    window = confidence * rows[:, None] * columns
    return window / window.sum()


def similarity(estimate: Tensor, clean: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance and structure ``(B, C)``, the two factors of `lessons_lib.metrics.ssim`."""

    def mean(values: Tensor) -> Tensor:
        return (window * values).sum(dim=(-2, -1))

    mean_x, mean_y = mean(estimate), mean(clean)
    x, y = estimate - mean_x[..., None, None], clean - mean_y[..., None, None]
    luminance = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
    structure = (2 * mean(x * y) + 9e-4) / (mean(x * x) + mean(y * y) + 9e-4)
    return luminance, structure


def asymmetric(found: Tensor, noise: Tensor, alpha: float = 0.3) -> Tensor:
    """``Σ |α − 1[σ̂ < σ]| (σ̂ − σ)² / batch``.

    Noise that is taken for less than it is counts 0.7, for it remains in the image; noise that is
    taken for more counts 0.3.

    Args:
        found: σ̂, ``(B, C, H, W)``.
        noise: σ, same shape.
        alpha: α, the weight of noise that is taken for more; 1 − α where for less.

    Source: Guo, Yan, Zhang, Zuo, Zhang, *Toward convolutional blind denoising of real photographs*,
    2019, eq. 4, α = 0.3. A PyTorch version by others has the two weights the wrong way round.
    """
    weight = (alpha - (found < noise).to(found)).abs()
    return (weight * (found - noise).square()).sum() / len(found)


def total_variation(found: Tensor) -> Tensor:
    """``Σ (∂_h σ̂)² + (∂_v σ̂)² / batch``: noise changes slowly from pixel to pixel.

    Source: as of `asymmetric`, eq. 5.
    """
    down = (found[..., 1:, :] - found[..., :-1, :]).square().sum()
    across = (found[..., 1:] - found[..., :-1]).square().sum()
    return (down + across) / len(found)


# By the name that a config calls them; each takes estimate, clean crops and confidence.
LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "l2": squared,
    "l1": absolute,
    "charbonnier": charbonnier,
    "ssim-5": partial(structural, deviation=5.0),
    "ssim-9": partial(structural, deviation=9.0),
    "ms-ssim": multiscale,
    "mix": partial(mixed, alpha=0.84),
    "mix-0.025": partial(mixed, alpha=0.025),
}


@dataclass(frozen=True)
class Loss:
    """What to make small.

    Args:
        kind: a name of `LOSSES`.
        balanced: whether each crop's differences are divided by what a method without training
            leaves of its image, see `lessons_lib.training.balance`; not so in the paper.
        stability: weight of a penalty on steps so long that residuals would grow, see
            `lessons_lib.training.stability`; 0 as in the paper. 0.05 is enough for mosaics.
        noise: weight of the `asymmetric` error of the noise that a model finds, where the task
            tells a map of it; 0.5 for CBDNet.
        smooth: weight of the `total_variation` of what it finds; 0.05 for CBDNet.

    Raises:
        ConfigError: if a value is impossible.
    """

    kind: str = "l2"
    balanced: bool = False
    stability: float = 0.0
    noise: float = 0.0
    smooth: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        if self.kind not in LOSSES:
            raise ConfigError(unknown("loss", self.kind, LOSSES))
        check_not_negative(self, "stability", "noise", "smooth")
