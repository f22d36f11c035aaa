"""A score: what was measured, of which images, and all that it depends on."""

import math
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from lessons_lib import data
from lessons_lib.evaluation.paper import Published, published
from lessons_lib.evaluation.protocols import Protocol
from lessons_lib.models.restorer import Precision
from lessons_lib.tasks import TASKS


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
        method: its name, or that of trained weights.
        protocol: how it was measured.
        per_image: one score for each file.
        data_sha256: hash over the files' hashes.
        weights_sha256: hash of the weights, if there are any.
        precision: how trained weights computed, see `lessons_lib.models.restore`; else None.
        overlap: of their tiles, where it was chosen, see there.
    """

    method: str
    protocol: Protocol
    per_image: tuple[ImageScore, ...]
    data_sha256: str
    weights_sha256: str | None = None
    precision: Precision | None = None
    overlap: int | None = None

    @property
    def stem(self) -> str:
        """Name of a file for it: no two methods, data sets, settings or overlaps share one."""
        protocol = self.protocol
        setting = protocol.setting.removeprefix("sigma=").replace(" ", "-")
        mark = TASKS[protocol.task].mark
        task = f"{mark}-" if mark else ""
        overlap = "" if self.overlap is None else f"-overlap{self.overlap}"
        return f"{protocol.dataset}-{task}{setting}-{self.method}{overlap}"

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

    @property
    def paper(self) -> Published | None:
        """What was published for the same method, data set and noise.

        None if nothing was, or only a part of the data set was measured.
        """
        known = data.dataset_names()
        dataset = self.protocol.dataset
        if dataset in known and len(self.per_image) < len(data.entry(dataset).files):
            return None
        return published(self.method, self.protocol)

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values; JSON has no infinity, so an infinite PSNR becomes None.

        ``difference`` is how many dB ours is better than the paper's, None where nothing was
        published.
        """
        paper = self.paper
        return {
            "method": self.method,
            "task": self.protocol.task,
            "dataset": self.protocol.dataset,
            "setting": self.protocol.setting,
            "sigma": self.protocol.sigma_255,
            "psnr": _finite(self.psnr),
            "ssim": _finite(self.ssim),
            "images": len(self.per_image),
            "per_image": [
                asdict(score) | {"psnr": _finite(score.psnr), "ssim": _finite(score.ssim)}
                for score in self.per_image
            ],
            "seconds_per_image": self.seconds_per_image,
            "paper": None if paper is None else asdict(paper),
            "difference": None if paper is None else _finite(self.psnr - paper.psnr),
            "protocol": self.protocol.as_dict(),
            "data_sha256": self.data_sha256,
            "weights_sha256": self.weights_sha256,
            "precision": self.precision,
            "overlap": self.overlap,
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
