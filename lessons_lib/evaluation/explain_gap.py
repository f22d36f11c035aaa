"""Why two numbers for the same method differ: how they were scored, and how long it was trained.

One estimate is scored by every convention in use. What no convention explains is the training.
"""

from dataclasses import dataclass, replace
from statistics import fmean

from lessons_lib import data
from lessons_lib.checkpoints import Card, cards
from lessons_lib.classical import Progress
from lessons_lib.degradations import redrawn
from lessons_lib.evaluation.methods import INFERENCE, Inference, restore
from lessons_lib.evaluation.paper import published
from lessons_lib.evaluation.protocols import Protocol
from lessons_lib.evaluation.scores import stored
from lessons_lib.models import MODELS

NOT_ROUNDED = "estimates not rounded to 8 bits"
TILED = ", not rounded"  # what ends the name of the same, with other tiles


@dataclass(frozen=True)
class Convention:
    """One choice that a protocol makes, made otherwise, and the mean scores that follow."""

    name: str
    psnr: float
    ssim: float


def conventions(protocol: Protocol) -> dict[str, Protocol]:
    """Protocols that score the same estimates, each differing from ours in one choice."""
    found = {
        "our protocol": protocol,
        NOT_ROUNDED: replace(protocol, rounding=False),
        "estimates neither rounded nor clipped": replace(protocol, rounding=False, clip=False),
        "border of 8 pixels left out": replace(protocol, border=8),
        "SSIM over uniform 8 x 8 windows": replace(protocol, ssim="uniform8"),
        "SSIM over uniform 7 x 7 windows": replace(protocol, ssim="uniform7"),
    }
    if protocol.channel == "rgb":
        found["scored on luma only"] = replace(protocol, channel="y")
    return found


def explain_gap(
    method: str,
    protocol: Protocol,
    limit: int | None = None,
    progress: Progress | None = None,
    inference: Inference = INFERENCE,
    seeds: int = 2,
    overlap: int | None = None,
) -> list[Convention]:
    """Score a method's estimates by our protocol and by each other convention.

    Args:
        method: see `find_method`.
        protocol: ours.
        limit: only the first so many images of the data set.
        progress: called with the share done, from 0 to 1.
        inference: see `find_method`.
        seeds: how many other draws of the noise to try, if there is noise; each costs a run over
            the images.
        overlap: tiles that share so many pixels to try as well, see `lessons_lib.models.restore`.

    Returns:
        Our protocol first, then one for each other choice.

    Raises:
        MethodError: see `lessons_lib.evaluation.methods.restore`.
        DataError: see `lessons_lib.data.load`.

    Source: the conventions are those that published tables of denoising are known to have used.
    """
    dataset = data.load(protocol.dataset, limit)
    noise = protocol.degradation
    # What is run over the images: what degrades them, how they are restored, how that is scored.
    passes = [(noise, inference, conventions(protocol))]
    for seed in range(1, 1 + seeds):
        other = redrawn(noise, seed)
        if other is not None:
            passes.append((other, inference, {f"noise drawn with seed {seed}": protocol}))
    if overlap is not None:
        name = f"tiles overlapping by {overlap}"
        tiled = {name: protocol, f"{name}{TILED}": replace(protocol, rounding=False)}
        passes.append((noise, replace(inference, overlap=overlap), tiled))
    scores: dict[str, list[tuple[float, float]]] = {}
    for number, (degradation, how, ways) in enumerate(passes):
        for index, (file, image) in enumerate(dataset):
            clean = protocol.clean(image)
            degraded = degradation(clean, key=file)
            estimate = restore(method, degraded, degradation, protocol.task, inference=how)
            for label, way in ways.items():
                scores.setdefault(label, []).append(way.score(estimate, clean))
            if progress is not None:
                progress((number + (index + 1) / len(dataset)) / len(passes))
    return [
        Convention(label, fmean(psnr for psnr, _ in pairs), fmean(ssim for _, ssim in pairs))
        for label, pairs in scores.items()
    ]


def split_gap(method: str, protocol: Protocol, found: list[Convention]) -> str | None:
    """How much of the difference to the paper's number is scoring, and how much is training.

    Args:
        method: name of trained weights.
        protocol: ours.
        found: by `explain_gap`, also on a part of the images: what a choice of scoring is worth
            differs little between images, unlike the scores.

    Returns:
        A sentence; None where nothing was published, or no score of the whole data set is kept.

    Source: the released code of GroupSC clips its estimates but rounds nothing, and its tiles of 56
    pixels lie 12 apart in gray images, 10 in colour ones: they share 44 or 46 pixels. Those of
    DnCNN, FFDNet, NLRN and NSR round.
    """
    paper = published(method, protocol)
    if paper is None:
        return None
    kept = (
        score
        for score in stored(data.shipped("scores"))
        if (score.method, score.dataset, score.task, score.setting)
        == (method, protocol.dataset, protocol.task, protocol.setting)
        and score.overlap is None
        and not score.stale
    )
    score = next(kept, None)
    if score is None:
        return None
    gap = score.psnr - paper.psnr
    beside = f"{gap:+.3f} dB beside the published number on all of {protocol.dataset}: "
    if protocol.task == "sr":
        return (
            f"{beside}its paper rounds colours and not luma, which is worth 0.04 dB at most; the "
            "rest is training"
        )
    if MODELS[cards()[method].model].paper_rounds:
        return f"{beside}its paper scores as we do, all of it is training"
    # The last one has the paper's tiles as well, where they were tried.
    theirs = [way for way in found if way.name == NOT_ROUNDED or way.name.endswith(TILED)][-1]
    scoring = theirs.psnr - found[0].psnr
    return (
        f"{beside}{-scoring:+.3f} dB because the paper scores otherwise ({theirs.name}), "
        f"{gap + scoring:+.3f} dB by training"
    )


def explain_training(card: Card) -> str:
    """How much of the paper's training some weights have had, and whether it was still helping."""
    paper_pixels, share = MODELS[card.model].paper_pixels, ""
    if paper_pixels:
        percent = 100 * card.pixels_in_all / paper_pixels
        share = f", and {percent:.3g} % of the pixels that the paper's schedule looks at"
    start = card.run.get("start")
    first = "a dictionary" if MODELS[card.model].model.starts_from_dictionary else "random weights"
    begun = f"from {start or first}"
    lines = [
        f"training {begun}: {card.steps} of {card.run['steps']} steps; from the very beginning "
        f"{card.hours_in_all:.2g} hours{share}",
        f"held-out crops: {card.held_out_psnr:.2f} dB, of which {card.late_gain:+.3f} dB in the "
        "last quarter of the steps",
    ]
    return "\n".join(lines)
