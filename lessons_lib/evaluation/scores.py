"""Scores that were measured and kept: a JSON file each, from which all tables are made."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from statistics import fmean, median

from lessons_lib.checkpoints import known_weights
from lessons_lib.evaluation.methods import MethodError
from lessons_lib.evaluation.paper import Published, published
from lessons_lib.evaluation.protocols import standard
from lessons_lib.evaluation.score import Score
from lessons_lib.files import replace_file


@dataclass(frozen=True)
class StoredScore:
    """What a table needs of a kept score; see `Score`. ``per_image`` has the PSNR of each file.

    Seconds are the median: the first image may wait for a method to be set up, and another for
    whatever else the machine had to do.
    """

    method: str
    dataset: str
    task: str
    setting: str
    images: int
    psnr: float
    ssim: float
    seconds_per_image: float
    device: str
    weights_sha256: str | None
    overlap: int | None
    per_image: dict[str, float]

    @property
    def place(self) -> tuple[str, str, str]:
        """Data set, task and setting: methods are compared where these are the same."""
        return self.dataset, self.task, self.setting

    @property
    def paper(self) -> Published | None:
        """See `published`."""
        return published(self.method, standard(self.task, self.dataset, self.setting))

    @property
    def stale(self) -> bool:
        """Whether it was measured with other weights than those that now bear the name."""
        weights = known_weights().get(self.method)
        return self.weights_sha256 != (weights.sha256 if weights else None)


def store(score: Score, folder: Path, device: str) -> Path:
    """Keep a score, in place of an earlier one of the same method, data set, setting and overlap.

    Args:
        score: of a whole data set.
        folder: is made if need be.
        device: what it was measured on, for the seconds.

    Raises:
        MethodError: if a PSNR is not finite, so that no table can hold it.
    """
    if not math.isfinite(score.psnr):
        raise MethodError(f"the PSNR of '{score.method}' is not finite")
    content = score.as_dict() | {"device": device}
    # What was published stands in a table of its own, and may be corrected there.
    del content["paper"], content["difference"]
    path = folder / f"{score.stem}.json"
    text = json.dumps(content, allow_nan=False, indent=1) + "\n"
    replace_file(path, text.encode())
    return path


def stored(folder: Traversable) -> Iterator[StoredScore]:
    """All scores kept in a folder, by file name.

    Raises:
        MethodError: see `read_score`.
    """
    files = (file for file in folder.iterdir() if file.name.endswith(".json"))
    for file in sorted(files, key=lambda file: file.name):
        yield read_score(file)


def read_score(file: Traversable) -> StoredScore:
    """The score in a JSON file.

    Raises:
        MethodError: if it holds none; says why.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        rows = content["per_image"]
        score = StoredScore(
            content["method"],
            content["dataset"],
            content["task"],
            content["setting"],
            len(rows),
            fmean(row["psnr"] for row in rows),
            fmean(row["ssim"] for row in rows),
            median(row["seconds"] for row in rows),
            content["device"],
            content["weights_sha256"],
            content["overlap"],
            {row["file"]: row["psnr"] for row in rows},
        )
        standard(score.task, score.dataset, score.setting)
    # Nesting without end ends in a RecursionError.
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise MethodError(f"{file} holds no score: {error}") from error
    if not all(map(math.isfinite, (score.psnr, score.ssim, score.seconds_per_image))):
        raise MethodError(f"{file} holds no score: its numbers are not finite")
    return score
