"""Protocols: everything besides the method that moves a score."""

from dataclasses import asdict, dataclass
from typing import Any, cast

from torch import Tensor

from lessons_lib import data, metrics
from lessons_lib.camera import CameraNoise
from lessons_lib.degradations import Degradation
from lessons_lib.metrics import SsimDefinition
from lessons_lib.ops.colour import rgb_to_luma
from lessons_lib.tasks import TASKS, Channel


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
        task: what is restored, a name of `lessons_lib.tasks.TASKS`.
    """

    dataset: str
    degradation: Degradation
    channel: Channel
    clip: bool = True
    rounding: bool = True
    border: int = 0
    ssim: SsimDefinition = "gaussian"
    task: str = "denoise"

    @property
    def sigma_255(self) -> float | None:
        """Standard deviation of the noise where white is 255, as tables print it; None if none."""
        sigma = getattr(self.degradation, "sigma", None)
        return None if sigma is None else round(sigma * 255, 9)

    @property
    def setting(self) -> str:
        """How bad it is: "sigma=25", "q=10", or "bayer no noise", as published tables have it."""
        return TASKS[self.task].setting(self.degradation)

    def clean(self, image: Tensor) -> Tensor:
        """The image to be degraded and then aimed at, from the (1, C, H, W) of a file."""
        image = TASKS[self.task].trim(image, self.degradation)
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
            **asdict(cast(Any, self.degradation)),
        }
        if hasattr(self.degradation, "seed"):
            clipped = "clipped" if isinstance(self.degradation, CameraNoise) else "not clipped"
            drawn = f"RandomState seeded by sha256 of seed and file name; {clipped}"
            plain["degradation"]["drawn"] = drawn
        plain["psnr"] = "per image, then mean"
        return plain


def protocol(task: str, dataset: str, value: Any) -> Protocol:
    """The standard of tables for a task: 8-bit estimates, Gaussian SSIM.

    Args:
        task: a name of `lessons_lib.tasks.TASKS`.
        dataset: name; what is scored of its images is the task's choice.
        value: how bad it is, see `lessons_lib.tasks.Task`.

    Raises:
        DataError: unknown name, a set without clean references, or one that the task cannot use.
        ValueError: for a value that there is not.
    """
    what = TASKS[task]
    degradation = what.degradation(value)
    border = what.border(degradation)
    return Protocol(dataset, degradation, what.channel(dataset), border=border, task=task)


def standard(task: str, dataset: str, setting: str) -> Protocol:
    """The same, of a setting as `Protocol.setting` writes it.

    >>> standard("jpeg", "Classic5", "q=10") == jpeg_restoration("Classic5", 10)
    True
    """
    return protocol(task, dataset, TASKS[task].value(setting))


def denoising(dataset: str, sigma_255: float) -> Protocol:
    """White Gaussian noise, not clipped, of a known σ, white being 255; see `protocol`."""
    return protocol("denoise", dataset, sigma_255)


def blind_denoising(dataset: str, sigma_255: float) -> Protocol:
    """As `denoising`, but the method is not told how strong the noise is.

    Source: GroupSC §4, Table 1.
    """
    return protocol("blind", dataset, sigma_255)


def demosaicking(dataset: str, pattern: str = "BGGR") -> Protocol:
    """Colours from a Bayer mosaic without noise; all of the image is scored, in RGB.

    The pattern is the released code's, see `BayerMosaic`.

    Source: GroupSC §4, Table 5.
    """
    return protocol("demosaic", dataset, pattern)


def jpeg_restoration(dataset: str, quality: int) -> Protocol:
    """Luma of files that were compressed as gray images, see `lessons_lib.tasks.jpeg`."""
    return protocol("jpeg", dataset, quality)


def super_resolution(dataset: str, scale: int) -> Protocol:
    """Luma of images that were made smaller, see `lessons_lib.tasks.enlarge`."""
    return protocol("sr", dataset, scale)
