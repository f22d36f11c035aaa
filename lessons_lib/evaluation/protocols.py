"""Protocols: everything besides the method that moves a score."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor

from lessons_lib import data, metrics
from lessons_lib.degradations import GaussianNoise
from lessons_lib.metrics import SsimDefinition
from lessons_lib.ops.colour import rgb_to_luma

Channel = Literal["gray", "rgb", "y"]


@dataclass(frozen=True)
class Protocol:
    """How a score is measured.

    Args:
        dataset: name of the data set.
        degradation: what happens to each clean image; its key is the file name.
        channel: "gray" turns colours to gray first; "rgb" works and scores on all channels
            together; "y" works on RGB and scores on BT.601 studio-range luma.
        clip: whether estimates are clipped to [0, 1] before they are scored.
        rounding: whether they are rounded to the 256 levels of a file.
        border: pixels left out on each side.
        ssim: definition, as `lessons_lib.metrics.ssim` names it.
        task: what is restored.
    """

    dataset: str
    degradation: GaussianNoise
    channel: Channel
    clip: bool = True
    rounding: bool = True
    border: int = 0
    ssim: SsimDefinition = "gaussian"
    task: str = "denoise"

    @property
    def sigma_255(self) -> float:
        """Standard deviation of the noise where white is 255, as tables print it."""
        return round(self.degradation.sigma * 255, 9)

    def clean(self, image: Tensor) -> Tensor:
        """The image to be degraded and then aimed at, from the (1, C, H, W) of a file."""
        return data.to_gray(image) if self.channel == "gray" else image

    def score(self, estimate: Tensor, clean: Tensor) -> tuple[float, float]:
        """PSNR in dB and SSIM of one estimate (1, C, H, W)."""
        if self.clip:
            estimate = estimate.clamp(0, 1)
        if self.rounding:
            estimate = (estimate * 255).round() / 255
        if self.channel == "y" and clean.shape[1] == 3:
            estimate, clean = rgb_to_luma(estimate), rgb_to_luma(clean)
        if self.border:
            inside = slice(self.border, -self.border)
            estimate, clean = estimate[..., inside, inside], clean[..., inside, inside]
        psnr = metrics.psnr(estimate, clean).item()
        return psnr, metrics.ssim(estimate, clean, self.ssim).item()

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        plain = asdict(self)
        plain["degradation"] = {
            "kind": type(self.degradation).__name__,
            **asdict(self.degradation),
            "drawn": "RandomState seeded by sha256 of seed and file name; not clipped",
        }
        plain["psnr"] = "per image, then mean"
        return plain


def denoising(dataset: str, sigma_255: float) -> Protocol:
    """The standard of denoising tables: unclipped noise, 8-bit estimates, Gaussian SSIM.

    Args:
        dataset: name; sets in colour are denoised and scored in RGB, all others in gray.
        sigma_255: standard deviation of the noise, white being 255.

    Raises:
        DataError: unknown name, or a set without clean references.
        ValueError: if sigma is not positive and finite.
    """
    entry = data.entry(dataset)
    if entry.role == "noisy":
        raise data.DataError(f"{dataset} has no clean references: nothing to score against")
    return Protocol(
        dataset,
        degradation=GaussianNoise(sigma_255 / 255),
        channel="rgb" if entry.kind == "colour" else "gray",
    )
