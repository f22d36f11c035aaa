"""Protocols: everything besides the method that moves a score."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from torch import Tensor

from lessons_lib import data, metrics
from lessons_lib.degradations import JPEG, BayerMosaic, Degradation, GaussianNoise
from lessons_lib.metrics import SsimDefinition
from lessons_lib.ops.colour import rgb_to_luma

Task = Literal["denoise", "blind", "demosaic", "jpeg"]
Channel = Literal["gray", "rgb", "y", "luma"]


@dataclass(frozen=True)
class Protocol:
    """How a score is measured.

    Args:
        dataset: name of the data set.
        degradation: what happens to each clean image; its key is the file name.
        channel: "gray" turns colours to gray first; "rgb" works and scores on all channels
            together; "y" works on RGB and scores on BT.601 studio-range luma; "luma" works and
            scores on that luma, rounded to 8 bits, of colours, and on gray images as they are.
        clip: whether estimates are clipped to [0, 1] before they are scored.
        rounding: whether they are rounded to the 256 levels of a file.
        border: pixels left out on each side.
        ssim: definition, as `lessons_lib.metrics.ssim` names it.
        task: what is restored: "denoise", "blind" if the level of noise is not told, "demosaic",
            "jpeg".
    """

    dataset: str
    degradation: Degradation
    channel: Channel
    clip: bool = True
    rounding: bool = True
    border: int = 0
    ssim: SsimDefinition = "gaussian"
    task: Task = "denoise"

    @property
    def sigma_255(self) -> float | None:
        """Standard deviation of the noise where white is 255, as tables print it; None if none."""
        noise = self.degradation
        return round(noise.sigma * 255, 9) if isinstance(noise, GaussianNoise) else None

    @property
    def setting(self) -> str:
        """How bad it is: "sigma=25", "q=10", or "bayer no noise", as published tables have it."""
        if isinstance(self.degradation, JPEG):
            return f"q={self.degradation.quality}"
        if isinstance(self.degradation, BayerMosaic):
            return "bayer no noise"
        return f"sigma={self.sigma_255:g}"

    def clean(self, image: Tensor) -> Tensor:
        """The image to be degraded and then aimed at, from the (1, C, H, W) of a file."""
        if self.channel == "luma" and image.shape[1] == 3:
            return (rgb_to_luma(image) * 255).round() / 255
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
        }
        if isinstance(self.degradation, GaussianNoise):
            drawn = "RandomState seeded by sha256 of seed and file name; not clipped"
            plain["degradation"]["drawn"] = drawn
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
    return Protocol(
        dataset,
        degradation=GaussianNoise(sigma_255 / 255),
        channel="rgb" if _in_colour(dataset) else "gray",
    )


def blind_denoising(dataset: str, sigma_255: float) -> Protocol:
    """As `denoising`, but the method is not told how strong the noise is.

    Source: GroupSC §4, Table 1.
    """
    return replace(denoising(dataset, sigma_255), task="blind")


def demosaicking(dataset: str, pattern: str = "BGGR") -> Protocol:
    """Colours from a Bayer mosaic without noise; all of the image is scored, in RGB.

    Args:
        dataset: name of a set in colour.
        pattern: see `BayerMosaic`; the default is the released code's.

    Raises:
        DataError: unknown name, a set in gray, or one without clean references.
        ValueError: unknown pattern.

    Source: GroupSC §4, Table 5.
    """
    if not _in_colour(dataset):
        raise data.DataError(f"{dataset} is gray: it makes no mosaic")
    return Protocol(dataset, BayerMosaic(pattern), channel="rgb", task="demosaic")


def jpeg_restoration(dataset: str, quality: int) -> Protocol:
    """Luma of files that were compressed as gray images: colours are turned to luma first.

    Args:
        dataset: name.
        quality: from 1 to 100.

    Raises:
        DataError: unknown name, or a set without clean references.
        ValueError: for a quality that there is not.

    Source: GroupSC §4, Table 4; that luma comes first is what the published numbers of the files
    themselves show.
    """
    _in_colour(dataset)
    return Protocol(dataset, JPEG(quality), channel="luma", task="jpeg")


def standard(task: Task, dataset: str, setting: str) -> Protocol:
    """The protocol of a task for a setting as `Protocol.setting` writes it.

    >>> standard("jpeg", "Classic5", "q=10") == jpeg_restoration("Classic5", 10)
    True
    """
    number = setting.partition("=")[2]
    if task == "jpeg":
        return jpeg_restoration(dataset, int(number))
    if task == "demosaic":
        return demosaicking(dataset)
    return (blind_denoising if task == "blind" else denoising)(dataset, float(number))


def _in_colour(dataset: str) -> bool:
    entry = data.entry(dataset)
    if entry.role == "noisy":
        raise data.DataError(f"{dataset} has no clean references: nothing to score against")
    return entry.kind == "colour"
