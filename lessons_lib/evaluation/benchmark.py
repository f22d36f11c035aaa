"""Run a method over a data set, one image after the other, and score every estimate."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from lessons_lib import data
from lessons_lib.classical import METHODS, Method
from lessons_lib.evaluation.protocols import Protocol

Progress = Callable[[float], None]


class MethodError(ValueError):
    """A method that is unknown, not installed, or cannot be used on this image."""


@dataclass(frozen=True)
class ImageScore:
    """Score of one image."""

    file: str
    psnr: float
    ssim: float
    seconds: float


@dataclass(frozen=True)
class Score:
    """Scores of a method, with what is needed to measure them again.

    Args:
        method: its name.
        protocol: how it was measured.
        per_image: one score for each file.
        data_sha256: hash over the files' hashes.
    """

    method: str
    protocol: Protocol
    per_image: tuple[ImageScore, ...]
    data_sha256: str

    @property
    def psnr(self) -> float:
        """Mean over the images, in dB."""
        return fmean(score.psnr for score in self.per_image)

    @property
    def ssim(self) -> float:
        """Mean over the images."""
        return fmean(score.ssim for score in self.per_image)

    @property
    def seconds_per_image(self) -> float:
        """Mean time that the method itself took."""
        return fmean(score.seconds for score in self.per_image)

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values; JSON has no infinity, so an infinite PSNR becomes None."""
        return {
            "method": self.method,
            "dataset": self.protocol.dataset,
            "sigma": self.protocol.sigma_255,
            "psnr": _finite(self.psnr),
            "ssim": _finite(self.ssim),
            "images": len(self.per_image),
            "per_image": [
                asdict(score) | {"psnr": _finite(score.psnr), "ssim": _finite(score.ssim)}
                for score in self.per_image
            ],
            "seconds_per_image": self.seconds_per_image,
            "protocol": self.protocol.as_dict(),
            "data_sha256": self.data_sha256,
        }


def find_method(name: str) -> Method:
    """A method by name, ready to run.

    Raises:
        MethodError: unknown name (says the nearest), or a package is missing.
    """
    if name not in METHODS:
        raise MethodError(data.unknown("method", name, METHODS))
    missing = METHODS[name].missing()
    if missing:
        raise MethodError(f"method '{name}' needs another package: pip install {missing}")
    return METHODS[name]


def restore(name: str, noisy: Tensor, sigma: float, progress: Progress | None = None) -> Tensor:
    """Run a method on one image, with its limits checked before and its result after.

    Args:
        name: of the method.
        noisy: (1, C, H, W).
        sigma: standard deviation of the noise on the [0, 1] scale.
        progress: called with the share done, from 0 to 1.

    Raises:
        MethodError: unknown method, image too small for it, or a result that is not finite.
    """
    method = find_method(name)
    height, width = noisy.shape[-2:]
    if min(height, width) < method.smallest:
        raise MethodError(
            f"the image has {width} x {height} pixels; method '{name}' needs "
            f"{method.smallest} on each side"
        )
    with torch.no_grad():
        # Beyond this nothing of an image is left in any case, and squares would overflow.
        estimate = method.function(noisy, min(sigma, 1e6), progress)
    if not torch.isfinite(estimate).all():
        raise MethodError(f"method '{name}' gave no finite result on this image")
    return estimate


def evaluate(
    method: str, protocol: Protocol, limit: int | None = None, progress: Progress | None = None
) -> Score:
    """Score a method by a protocol.

    Args:
        method: a name of `lessons_lib.classical.METHODS`.
        protocol: how to measure.
        limit: only the first so many images of the data set.
        progress: called with the share done, from 0 to 1.

    Raises:
        MethodError: see `restore`.
        DataError: see `lessons_lib.data.load`.
    """
    find_method(method)
    dataset = data.load(protocol.dataset, limit)
    scores = []
    for index, (name, image) in enumerate(dataset):
        clean = protocol.clean(image)
        noisy = protocol.degradation(clean, key=name)

        def report(share: float, index: int = index) -> None:
            if progress is not None:
                progress((index + share) / len(dataset))

        started = time.perf_counter()
        estimate = restore(method, noisy, protocol.degradation.sigma, report)
        seconds = time.perf_counter() - started
        scores.append(ImageScore(name, *protocol.score(estimate, clean), seconds))
        report(1.0)
    return Score(method, protocol, tuple(scores), dataset.sha256)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
