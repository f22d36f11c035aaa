"""Weights against a classical method on the same images: where do they lose?"""

from dataclasses import dataclass
from statistics import fmean

from lessons_lib.data import shipped
from lessons_lib.evaluation.scores import StoredScore, stored


@dataclass(frozen=True)
class Match:
    """Two methods on one data set, image by image.

    Attributes:
        score: of the method.
        mean: how many dB it is better than the rival.
        worst: name of the image on which it is worst beside the rival.
        worst_difference: how many dB it is better there.
    """

    score: StoredScore
    mean: float
    worst: str
    worst_difference: float


def matches(method: str, rival: str = "bm3d") -> list[Match]:
    """Kept scores of a method, beside a rival's on the same images with the same noise.

    Args:
        method: a classical method or trained weights. Scores of other weights under the same name
            do not count, nor those with an overlap that somebody chose.
        rival: another.
    """
    kept = [score for score in stored(shipped("scores")) if score.overlap is None]
    rivals = {score.place: score for score in kept if score.method == rival}
    found = []
    for score in kept:
        other = rivals.get(score.place)
        if score.method != method or score.stale or other is None:
            continue
        differences = {
            file: psnr - other.per_image[file]
            for file, psnr in score.per_image.items()
            if file in other.per_image
        }
        if differences:
            worst = min(differences, key=lambda file: differences[file])
            mean = fmean(differences.values())
            found.append(Match(score, mean, worst, differences[worst]))
    return found
