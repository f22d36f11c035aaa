"""Why two numbers for the same method differ: how they were scored, and how long it was trained.

One estimate is scored by every convention in use. What no convention explains is the training.
"""

from dataclasses import dataclass, replace
from statistics import fmean

from lessons_lib import data
from lessons_lib.checkpoints import Card
from lessons_lib.classical import Progress
from lessons_lib.degradations import GaussianNoise
from lessons_lib.evaluation.methods import INFERENCE, Inference, restore
from lessons_lib.evaluation.protocols import Protocol

# The paper's schedule for every task: 120,000 steps of 32 crops of 56 x 56 pixels. GroupSC §B and
# its released code.
PAPER_PIXELS = 120_000 * 32 * 56**2


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
        "estimates not rounded to 8 bits": replace(protocol, rounding=False),
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

    Returns:
        Our protocol first, then one for each other choice.

    Raises:
        MethodError: see `lessons_lib.evaluation.methods.restore`.
        DataError: see `lessons_lib.data.load`.

    Source: the conventions are those that published tables of denoising are known to have used.
    """
    dataset = data.load(protocol.dataset, limit)
    degradations = {"": protocol.degradation}
    if isinstance(protocol.degradation, GaussianNoise):
        for seed in range(protocol.degradation.seed + 1, protocol.degradation.seed + seeds + 1):
            degradations[f"noise drawn with seed {seed}"] = replace(protocol.degradation, seed=seed)
    scores: dict[str, list[tuple[float, float]]] = {}
    for draw, (other, degradation) in enumerate(degradations.items()):
        ways = {other: protocol} if other else conventions(protocol)
        for index, (name, image) in enumerate(dataset):
            clean = protocol.clean(image)
            degraded = degradation(clean, key=name)
            estimate = restore(method, degraded, degradation, protocol.task, inference=inference)
            for label, way in ways.items():
                scores.setdefault(label, []).append(way.score(estimate, clean))
            if progress is not None:
                progress((draw + (index + 1) / len(dataset)) / len(degradations))
    return [
        Convention(label, fmean(psnr for psnr, _ in pairs), fmean(ssim for _, ssim in pairs))
        for label, pairs in scores.items()
    ]


def explain_training(card: Card) -> str:
    """How much of the paper's training some weights have had, and whether it was still helping."""
    share = 100 * card.pixels_seen / PAPER_PIXELS
    start = card.run.get("start")
    begun = f"from {start}" if start else "from a dictionary"
    lines = [
        f"training {begun}: {card.steps} of {card.run['steps']} steps, {share:.3g} % of the pixels "
        "that the paper's schedule looks at",
        f"held-out crops: {card.held_out_psnr:.2f} dB, of which {card.late_gain:+.3f} dB in the "
        "last quarter of the steps",
    ]
    return "\n".join(lines)
