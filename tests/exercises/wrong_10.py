"""Wrong answers to the exercises of lesson 10, each with the property that it breaks."""

import torch

from lessons_lib.exercises.answer import RUNS, SHAPE
from lessons_lib.ops.colour import rgb_to_luma, rgb_to_ycbcr, ycbcr_to_rgb
from lessons_lib.ops.prox import soft_threshold

ALL = "where all is measured it is a step of SC"
UNMEASURED = "what was not measured does not matter"
NOTHING = "where nothing is measured, codes only shrink"
GREY = "a patch of one grey has that grey for its mean"
ALIKE = "red, green and blue count alike"
BRIGHT = "brightness does not matter"
ALONE = "of pictures that fill two directions it sees the noise alone"
AT_LEVEL = "at a level it is the row of that level"
PROPORTIONAL = "what is proportional to the level becomes proportional to the noise"
IDENTITY = "a restoration that changes nothing changes nothing"


def covariance(patches):
    centred = patches - patches.mean(dim=1, keepdim=True)
    return centred @ centred.T / (patches.shape[1] - 1)


def per_channel(patches, known, channels):
    sums = (patches * known).unflatten(1, (channels, -1)).sum(dim=2)
    return sums / known.unflatten(1, (channels, -1)).sum(dim=2)


def not_zero(patches, channels):
    """The mean of what is not zero, which is not the same as what was measured."""
    apart = patches.unflatten(1, (channels, -1))
    counts = (apart != 0).sum(dim=2).clamp_min(1)
    return (apart.sum(dim=2) / counts).mean(dim=1, keepdim=True)


def smallest(values):
    """The root of the smallest eigenvalue of a matrix of squares."""
    return torch.linalg.eigvalsh(values)[0].clamp_min(0).sqrt()


def mixed(sigma, levels, rows, *, of=lambda level: level, bend=lambda share: share, clip=True):
    """A mixture of two rows, in shares that may be wrong."""
    upper = torch.searchsorted(levels, sigma).clamp(1, len(levels) - 1)
    low, high = of(levels[upper - 1]), of(levels[upper])
    share = (of(sigma) - low) / (high - low)
    share = bend(share.clamp(0, 1) if clip else share)[:, None]
    return rows[upper - 1] + share * (rows[upper] - rows[upper - 1])


def by_distance(sigma, levels, rows):
    """All levels take part, the nearer the more."""
    return torch.softmax(-(sigma[:, None] - levels).abs(), dim=1) @ rows


def in_rgb(rgb, restore_gray):
    return torch.cat([restore_gray(rgb[:, i : i + 1]) for i in range(3)], dim=1)


def gray_mean(rgb, restore_gray):
    y = rgb.mean(dim=1, keepdim=True)
    return rgb + restore_gray(y) - y


def swapped(rgb, restore_gray):
    planes = rgb_to_ycbcr(rgb)
    return ycbcr_to_rgb(torch.cat([planes[:, :1], restore_gray(planes[:, 1:2]), planes[:, 2:]], 1))


def luma_as_rgb(rgb, restore_gray):
    return torch.cat([restore_gray(rgb_to_luma(rgb)), rgb_to_ycbcr(rgb)[:, 1:]], dim=1)


WRONG = {
    "inverse.masked_step": [
        # The mask forgotten; on the patch alone; on the estimate alone; and outside of the step.
        (lambda z, y, M, C, D, t: soft_threshold(z + C.mT @ (y - D @ z), t), UNMEASURED),
        (lambda z, y, M, C, D, t: soft_threshold(z + C.mT @ (M * y - D @ z), t), NOTHING),
        (lambda z, y, M, C, D, t: soft_threshold(z + C.mT @ (y - M * (D @ z)), t), UNMEASURED),
        (lambda z, y, M, C, D, t: z + C.mT @ (M * (y - D @ z)), ALL, "is there a threshold?"),
        (lambda z, y, M, C, D, t: soft_threshold(z - C.mT @ (M * (y - D @ z)), t), ALL, "sign"),
        (
            lambda z, y, M, C, D, t: soft_threshold(z + C.mT @ ((1 - M) * (y - D @ z)), t),
            ALL,
            "is the mask 1",
        ),
        (lambda z, y, M, C, D, t: soft_threshold(z + C @ (M * (y - D @ z)), t), RUNS),
        (
            lambda z, y, M, C, D, t: soft_threshold(
                z + C.mT @ (M.amax(2, keepdim=True) * (y - D @ z)), t
            ),
            "each patch has its own mask",
            "keep its axes",
        ),
    ],
    "inverse.measured_mean": [
        (lambda p, M, c: p.mean(dim=1, keepdim=True), GREY),
        (lambda p, M, c: p.sum(dim=1, keepdim=True) / M.sum(dim=1, keepdim=True), ALIKE),
        (lambda p, M, c: 3 * p.mean(dim=1, keepdim=True), ALIKE),
        (lambda p, M, c: not_zero(p, c), "a measured 0 counts", "the mask"),
        (lambda p, M, c: per_channel(p, M, c), SHAPE),
        (lambda p, M, c: per_channel(p, M, c).mean(dim=(0, 1), keepdim=True), SHAPE),
    ],
    "inverse.noise_level": [
        (lambda p: torch.linalg.eigvalsh(covariance(p))[0], ALONE, "is a variance"),
        (
            lambda p: torch.linalg.eigvalsh(covariance(p))[-1].sqrt(),
            ALONE,
            "or the largest?",
        ),
        (lambda p: p.std(), BRIGHT),
        (
            lambda p: torch.linalg.eigvalsh(covariance(p)).mean().sqrt(),
            ALONE,
            "or the mean of all?",
        ),
        # Nothing taken away; one number for all pixels; one for each patch; patches for pixels.
        (lambda p: smallest(p @ p.T / (p.shape[1] - 1)), BRIGHT, "is the mean patch taken away"),
        (lambda p: smallest((p - p.mean()) @ (p - p.mean()).T / (p.shape[1] - 1)), BRIGHT),
        (
            lambda p: smallest((p - p.mean(0)) @ (p - p.mean(0)).T / (p.shape[1] - 1)),
            ALONE,
            "do you go?",
        ),
        (lambda p: smallest(covariance(p.T)), ALONE, "m × m"),
        (
            lambda p: torch.linalg.eigvalsh(covariance(p))[:3].mean().sqrt(),
            "agrees with the library",
        ),
    ],
    "inverse.between_levels": [
        (
            lambda s, levels, rows: rows[(s[:, None] - levels).abs().argmin(dim=1)],
            "a little more noise never makes it jump",
            "or in between?",
        ),
        (
            lambda s, levels, rows: mixed(s, levels, rows, of=torch.log),
            PROPORTIONAL,
            "or in its log?",
        ),
        (
            lambda s, levels, rows: mixed(s, levels, rows, of=torch.square),
            PROPORTIONAL,
            "or in the variance?",
        ),
        (
            lambda s, levels, rows: mixed(s, levels, rows, bend=lambda t: t * t * (3 - 2 * t)),
            PROPORTIONAL,
            "smooth",
        ),
        (
            lambda s, levels, rows: mixed(s, levels, rows, clip=False),
            "beyond the first and the last level their rows count",
            "more than 1",
        ),
        (lambda s, levels, rows: mixed(s, levels, rows.flip(0)), AT_LEVEL, "the larger share"),
        (by_distance, AT_LEVEL, "what share is left"),
        (
            lambda s, levels, rows: mixed(s, levels, rows)[..., None],
            SHAPE,
        ),
        (
            lambda s, levels, rows: mixed(s, levels[[0, -1]], rows[[0, -1]]),
            AT_LEVEL,
            "what share is left",
        ),
    ],
    "inverse.restore_luma": [
        (in_rgb, "the restoration sees the luma of the image"),
        (gray_mean, "the restoration sees the luma of the image"),
        (swapped, "the restoration sees the luma of the image"),
        (luma_as_rgb, IDENTITY),
        (lambda rgb, f: f(rgb_to_luma(rgb)), SHAPE),
        (lambda rgb, f: f(rgb_to_luma(rgb)).expand(-1, 3, -1, -1), IDENTITY),
    ],
}
