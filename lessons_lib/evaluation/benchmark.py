"""Run a method over a data set, one image after the other, and score every estimate."""

import math
import time
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from torch import distributed

from lessons_lib import data
from lessons_lib.checkpoints import cards, load_card
from lessons_lib.classical import Progress
from lessons_lib.evaluation.methods import INFERENCE, Inference, find_method, restore, weights
from lessons_lib.evaluation.paper import Published, published
from lessons_lib.evaluation.protocols import Protocol
from lessons_lib.evaluation.unfinished import Unfinished
from lessons_lib.models.restore import Precision, resolve_precision


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
        task = "" if protocol.task == "denoise" else f"{protocol.task}-"
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
        """What was published for the same method, data set and noise; None if nothing was."""
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


def evaluate(
    method: str,
    protocol: Protocol,
    limit: int | None = None,
    progress: Progress | None = None,
    inference: Inference = INFERENCE,
    unfinished: Unfinished | None = None,
) -> Score:
    """Score a method by a protocol.

    The processes of one torch.distributed group share the images, and each returns all scores.

    Args:
        method: see `find_method`.
        protocol: how to measure.
        limit: only the first so many images of the data set.
        progress: called with the share done, from 0 to 1.
        inference: see `find_method`.
        unfinished: keeps the score of each image at once; those that it has are not measured again.

    Raises:
        MethodError: see `restore`.
        DataError: see `lessons_lib.data.load`.
    """
    find_method(method, protocol.task, inference)
    dataset = data.load(protocol.dataset, limit)
    blank = Score(method, protocol, (), dataset.sha256)
    if method in cards():
        blank = replace(
            blank,
            weights_sha256=load_card(method).sha256,
            precision=resolve_precision(weights(method, inference.device), inference.precision),
            overlap=inference.overlap,
        )
    rank, processes = 0, 1
    if distributed.is_initialized():
        rank, processes = distributed.get_rank(), distributed.get_world_size()
    known: list[Any] = []
    if unfinished is not None and rank == 0:
        known = unfinished.known(blank)
    if processes > 1:
        told = [known]
        distributed.broadcast_object_list(told)
        (known,) = told
    scores = {row["file"]: ImageScore(**row) for row in known}
    missing = [file.name for file in dataset.files if file.name not in scores]
    mine = missing[rank::processes]
    for name, image in dataset:
        if name not in mine:
            continue
        done = len(dataset) - len(missing) + missing.index(name)
        clean = protocol.clean(image)
        degraded = protocol.degradation(clean, key=name)

        def report(share: float, done: int = done) -> None:
            if progress is not None:
                progress((done + share) / len(dataset))

        started = time.perf_counter()
        estimate = restore(method, degraded, protocol.degradation, protocol.task, report, inference)
        seconds = time.perf_counter() - started
        scores[name] = ImageScore(name, *protocol.score(estimate, clean), seconds)
        if unfinished is not None:
            unfinished.add(blank, scores[name])
        report(1.0)
    if processes > 1:
        shares: list[Any] = [None] * processes
        distributed.all_gather_object(shares, scores)
        scores = {name: score for share in shares for name, score in share.items()}
    return replace(blank, per_image=tuple(scores[file.name] for file in dataset.files))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
