"""Wrong answers to the exercises of lesson 07, each with the property that it breaks."""

import math

from lessons_lib.exercises.answer import FINITE, SHAPE, TYPE, UNCHANGED
from lessons_lib.exercises.lesson_07 import group_step, largest_lambda
from lessons_lib.ops.prox import group_threshold, soft_threshold


def shorten(z, threshold, dim=-1, clamp=True, order=2, guard=1e-12):
    """Group thresholding with one thing wrong."""
    length = z.norm(p=order, dim=dim, keepdim=True).clamp_min(guard)
    factor = 1 - threshold / length
    return z * (factor.clamp_min(0) if clamp else factor)


def unguarded(z, threshold):
    length = z.norm(dim=-1, keepdim=True)
    return z / length * (length - threshold).clamp_min(0)


def without_guard(z, threshold):
    """Right but for rows of zeros with threshold 0."""
    return z * (1 - threshold / z.norm(dim=-1, keepdim=True)).clamp_min(0)


def keep_or_kill(z, threshold):
    return z * (z.norm(dim=-1, keepdim=True) > threshold)


def by_the_square(z, threshold):
    square = z.square().sum(dim=-1, keepdim=True).clamp_min(1e-12)
    return z * (1 - threshold / square).clamp_min(0)


def one_for_all(z, threshold):
    """Judges a row by all groups together."""
    squares = z.square() if z.dim() == 2 else z.square().mean(dim=0, keepdim=True)
    length = squares.sum(dim=-1, keepdim=True).sqrt().clamp_min(1e-12)
    return z * (1 - threshold / length).clamp_min(0)


def in_place(z, threshold):
    z *= (1 - threshold / z.norm(dim=-1, keepdim=True).clamp_min(1e-12)).clamp_min(0)
    return z


def lengths(patches, dictionary):
    return (dictionary.T @ patches).norm(dim=1)


def moving(sign=1.0, weight=math.sqrt, scaled=True, prox=group_threshold, stale=False):
    """A step of ISTA on groups with one thing wrong."""

    def answer(patches, dictionary, codes, lam, step):
        left = patches if stale else patches - dictionary @ codes
        moved = codes + sign * step * dictionary.T @ left
        return prox(moved, (step if scaled else 1.0) * lam * weight(patches.shape[-1]))

    return answer


def counts_the_pixels(patches, dictionary, codes, lam, step):
    moved = codes + step * dictionary.T @ (patches - dictionary @ codes)
    return group_threshold(moved, step * lam * math.sqrt(patches.shape[-2]))


def mixes(patches, dictionary, codes, lam, step):
    """Judges a row over all groups."""
    moved = codes + step * dictionary.T @ (patches - dictionary @ codes)
    joined = moved.permute(1, 0, 2).flatten(1)
    kept = group_threshold(joined, step * lam * math.sqrt(patches.shape[-1]))
    return kept.view(moved.shape[1], len(moved), -1).permute(1, 0, 2)


def overwrites(patches, dictionary, codes, lam, step):
    codes.copy_(group_step(patches, dictionary, codes, lam, step))
    return codes


ONE_ROW = "one row: its Euclidean length"
ONE_COLUMN = "one column: the sum of magnitudes, as in the lasso"
SHORTER = "a longer row gets shorter by the threshold, and keeps its direction"
SINGLE = "for one patch it is that of the lasso"
LASSO = "groups of one patch: a step of the lasso"
CORRELATIONS = "from zero, and with λ = 0, it goes up the correlations"


def group_first(z, entry, row):
    return soft_threshold(group_threshold(z, row), entry)


def added(z, entry, row):
    """Right for one patch."""
    return group_threshold(z, entry + row)


def length_of_the_given_row(z, entry, row):
    length = z.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return soft_threshold(z, entry) * (1 - row / length).clamp_min(0)


def columns(z, entry, row):
    return group_threshold(soft_threshold(z, entry), row, dim=-2)


def both_added(z, entry, row):
    return soft_threshold(z, entry) + group_threshold(z, row) - z


WRONG = {
    "group_lasso.norm": [
        (lambda a: a.norm(dim=0).sum(), ONE_ROW, "which axis"),
        (lambda a: a.abs().sum(), ONE_ROW),
        (lambda a: a.norm(), ONE_COLUMN, "one length for all rows"),
        (lambda a: a.square().sum(dim=1).sum(), ONE_ROW, "or its square?"),
        (lambda a: a.norm(dim=1).max(), ONE_COLUMN, "the longest row"),
        (lambda a: a.norm(dim=1).mean(), ONE_COLUMN, "or a mean?"),
        (lambda a: a.norm(dim=1), SHAPE),
        (lambda a: a.norm(dim=1).sum().item(), TYPE),
    ],
    "group_lasso.prox": [
        (lambda z, t: shorten(z, t, dim=-2), SHORTER, "which axis is a row?"),
        (
            lambda z, t: shorten(z, t, dim=1),
            "rows run along the last axis, of one group and of many",
        ),
        (soft_threshold, SHORTER, "is each entry judged alone?"),
        (without_guard, FINITE, "division by zero"),
        (
            lambda z, t: shorten(z, t, guard=1e-2),
            "short rows are treated like long ones",
            "smaller than any row",
        ),
        (
            lambda z, t: shorten(z, t, clamp=False),
            "a row shorter than the threshold becomes zero",
        ),
        (unguarded, FINITE),
        (keep_or_kill, SHORTER, "by how much"),
        (by_the_square, SHORTER, "or its square?"),
        (lambda z, t: shorten(z, t, order=1), "a row shorter than the threshold becomes zero"),
        (one_for_all, "groups do not mix"),
        (in_place, UNCHANGED),
    ],
    "group_lasso.largest_lambda": [
        (
            lambda y, d: lengths(y, d).max().item(),
            "equal patches need no more than one of them",
        ),
        (
            lambda y, d: lengths(y, d).max().item() / y.shape[1],
            "equal patches need no more than one of them",
        ),
        (
            lambda y, d: lengths(y, d).max().item() / math.sqrt(len(y)),
            SINGLE,
            "which axis is that?",
        ),
        (lambda y, d: (d.T @ y).max().item(), SINGLE, "can a good match be negative?"),
        (
            lambda y, d: (d.T @ y).abs().max().item(),
            "a row counts by its length",
            "or its largest entry?",
        ),
        (
            lambda y, d: lengths(y, d).mean().item() / math.sqrt(y.shape[1]),
            SINGLE,
            "or all of them?",
        ),
        (lambda y, d: largest_lambda(y, d) ** 2, SINGLE, "or its square?"),
    ],
    "group_lasso.step": [
        (moving(sign=-1.0), CORRELATIONS, "sign of the gradient"),
        (moving(sign=5.0), CORRELATIONS, "multiplied by the step"),
        (moving(stale=True), "codes that explain their patches stay, with λ = 0"),
        (moving(scaled=False), LASSO, "is the step in the threshold?"),
        (moving(prox=lambda z, t: z), LASSO, "is there a threshold?"),
        (counts_the_pixels, LASSO, "which axis is that?"),
        (moving(weight=lambda n: 1.0), "n copies of a patch move like the patch alone"),
        (moving(weight=lambda n: n), "n copies of a patch move like the patch alone"),
        (
            moving(prox=soft_threshold),
            "n copies of a patch move like the patch alone",
        ),
        (mixes, LASSO),
        (overwrites, UNCHANGED),
    ],
    "group_lasso.sparse_prox": [
        (group_first, "no other point has a smaller objective", "derivative"),
        (added, "without a penalty on rows it is soft thresholding", "λ₂ = 0"),
        (length_of_the_given_row, "for a group of one patch the thresholds add up", "which row"),
        (columns, "without a penalty on entries it is group thresholding", "λ₁ = 0"),
        (both_added, "for a group of one patch the thresholds add up"),
        (
            lambda z, entry, row: soft_threshold(z, entry),
            "without a penalty on entries it is group thresholding",
        ),
    ],
}
