"""Exercises of lesson 10: the same prior for mosaics, unknown noise, and compressed files."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lessons_lib.degradations import BayerMosaic
from lessons_lib.exercises.answer import Answer
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.properties import ensure, ensure_batchwise, likely_cause, same
from lessons_lib.ops.colour import rgb_to_luma, rgb_to_ycbcr, ycbcr_to_rgb
from lessons_lib.ops.dictionary import normalize_atoms
from lessons_lib.ops.patches import measured_mean
from lessons_lib.ops.prox import soft_threshold


def masked_step(
    codes: Tensor, patches: Tensor, known: Tensor, C: Tensor, D: Tensor, threshold: Tensor
) -> Tensor:
    """One step of SC on patches of which some entries were not measured.

    ``α ← S_Λ(α + Cᵀ(M ⊙ (y − Dα)))``

    Args:
        codes: ``α``, ``(B, K, N)``.
        patches: ``y``, ``(B, m, N)``, centred; anything where nothing was measured.
        known: ``M``, ``(B, m, N)``, 1 where an entry was measured, else 0.
        C: ``(m, K)``.
        D: ``(m, K)``.
        threshold: Λ, ``(K, 1)``.

    Source: GroupSC eq. 13 and 14.
    """
    return soft_threshold(codes + C.mT @ (known * (patches - D @ codes)), threshold)


def noise_level(patches: Tensor) -> Tensor:
    """Standard deviation of white noise, from patches ``(m, N)`` without strong texture.

    The root of the smallest eigenvalue of their covariance.

    Source: Liu, Tanaka, Okutomi, *Single-image noise level estimation for blind denoising*, 2013.
    """
    centred = patches - patches.mean(dim=1, keepdim=True)
    covariance = centred @ centred.T / (patches.shape[1] - 1)
    return torch.linalg.eigvalsh(covariance)[0].clamp_min(0).sqrt()


def between_levels(sigma: Tensor, levels: Tensor, rows: Tensor) -> Tensor:
    """For each image a row, of the rows that belong to the two levels around its noise.

    Linear in σ between two levels, constant beyond the last ones: what is proportional to the level
    becomes proportional to σ.

    Args:
        sigma: ``(B,)``.
        levels: ``(L,)``, increasing, two at least.
        rows: ``(L, K)``: thresholds, or the pixels of estimates.

    Returns:
        ``(B, K)``.

    Source: GroupSC §3.4 has the nearest level's row.
    """
    upper = torch.searchsorted(levels, sigma).clamp(1, len(levels) - 1)
    low, high = levels[upper - 1], levels[upper]
    share = ((sigma - low) / (high - low)).clamp(0, 1)[:, None]
    return (1 - share) * rows[upper - 1] + share * rows[upper]


def restore_luma(rgb: Tensor, restore_gray: Callable[[Tensor], Tensor]) -> Tensor:
    """Restore the luma of a colour image, and leave its colours as they are.

    Args:
        rgb: ``(B, 3, H, W)``.
        restore_gray: from ``(B, 1, H, W)`` to the same shape.

    Returns:
        ``(B, 3, H, W)``.

    Source: GroupSC §4, JPEG artefact reduction.
    """
    colours = rgb_to_ycbcr(rgb)[:, 1:]
    return ycbcr_to_rgb(torch.cat([restore_gray(rgb_to_luma(rgb)), colours], dim=1))


STEP = Exercise("inverse.masked_step", masked_step)


def _problem() -> tuple[Tensor, ...]:
    """Codes (2, 7, 5), patches (2, 6, 5), their mask, C and D (6, 7), Λ (7, 1)."""
    C, D = (normalize_atoms(torch.randn(6, 7)) for _ in range(2))
    known = (torch.rand(2, 6, 5) < 0.4).float()
    return torch.randn(2, 7, 5), torch.randn(2, 6, 5), known, C, D, 0.3 * torch.rand(7, 1)


@STEP.holds("where all is measured it is a step of SC")
def all_measured(answer: Answer) -> None:
    codes, patches, known, C, D, threshold = _problem()
    ahead = C.mT @ (patches - D @ codes)
    found = answer(codes, patches, torch.ones_like(known), C, D, threshold)
    mistakes = [
        (codes + ahead, "is there a threshold?"),
        (soft_threshold(codes - ahead, threshold), "which sign has the gradient?"),
        (soft_threshold(codes, threshold), "is the mask 1 where something was measured?"),
        (
            soft_threshold(codes + D.mT @ (patches - C @ codes), threshold),
            "which of C and D makes patches of codes?",
        ),
    ]
    same(
        found,
        soft_threshold(codes + ahead, threshold),
        case="10 patches, a mask of ones",
        cause=likely_cause(found, mistakes) or "a gradient step with C and D, then the prox?",
    )


@STEP.holds("each patch has its own mask", cause="does the mask keep its axes?")
def own_mask(answer: Answer) -> None:
    codes, patches, known, C, D, threshold = _problem()
    whole = answer(codes, patches, known, C, D, threshold)
    for i in range(5):
        one = slice(i, i + 1)
        alone = answer(codes[..., one], patches[..., one], known[..., one], C, D, threshold)
        same(whole[..., one], alone, case=f"patch {i} of 5, and it alone")


@STEP.holds(
    "what was not measured does not matter",
    cause="is it the patch that is masked, or the difference to what the codes say?",
)
def unmeasured(answer: Answer) -> None:
    codes, patches, known, C, D, threshold = _problem()
    other = torch.where(known > 0, patches, torch.randn_like(patches))
    same(
        answer(codes, other, known, C, D, threshold),
        answer(codes, patches, known, C, D, threshold),
        case="10 patches, and the same with other numbers where the mask is 0",
    )


@STEP.holds(
    "where nothing is measured, codes only shrink",
    cause="can an entry be wrong of which nothing is known?",
)
def nothing_measured(answer: Answer) -> None:
    codes, patches, known, C, D, threshold = _problem()
    same(
        answer(codes, patches, 0 * known, C, D, threshold),
        soft_threshold(codes, threshold),
        case="10 patches, a mask of zeros",
    )


STEP.agrees(lambda: [_problem(), _problem()])


MEAN = Exercise("inverse.measured_mean", measured_mean)


def _mosaic() -> tuple[Tensor, Tensor]:
    """Patches (1, 27, 3) of 3 × 3 pixels, zero where the mask (1, 27, 3) is."""
    mask = BayerMosaic("GRBG").mask((3, 5))
    known = torch.stack([mask[0, :, :, i : i + 3].flatten() for i in range(3)], dim=1)[None]
    return torch.rand(1, 27, 3) * known, known


@MEAN.holds(
    "a patch of one grey has that grey for its mean",
    cause="what is the sum divided by: all entries, or those that were measured?",
)
def grey(answer: Answer) -> None:
    _, known = _mosaic()
    same(answer(0.6 * known, known, 3), torch.full((1, 1, 3), 0.6), case="0.6 where measured")


@MEAN.holds(
    "red, green and blue count alike",
    cause="half of the measured pixels are green; is half of the patch?",
)
def channels_alike(answer: Answer) -> None:
    _, known = _mosaic()
    colour = torch.tensor([0.9, 0.3, 0.6]).repeat_interleave(9)[None, :, None]
    same(
        answer(colour * known, known, 3),
        torch.full((1, 1, 3), 0.6),
        case="patches of one colour, red 0.9, green 0.3, blue 0.6",
    )


@MEAN.holds("a measured 0 counts")
def black(answer: Answer) -> None:
    known, patches = torch.ones(1, 9, 2), torch.full((1, 9, 2), 0.6)
    known[:, ::3] = 0
    patches[:, 1::3] = 0
    same(
        answer(patches * known, known, 3),
        torch.full((1, 1, 2), 0.3),
        case="of each channel half of what was measured is 0, the rest 0.6",
        cause="what says that an entry was measured: the mask, or not being 0?",
    )


@MEAN.holds("where all is measured it is the plain mean")
def plain(answer: Answer) -> None:
    patches = torch.rand(2, 27, 4)
    same(
        answer(patches, torch.ones_like(patches), 3),
        patches.mean(dim=1, keepdim=True),
        case="8 random patches, all measured",
    )


@MEAN.holds("the members of a batch do not mix")
def mean_batch(answer: Answer) -> None:
    known = torch.ones(3, 12, 2)
    known[:, ::2] = 0
    patches = torch.rand(3, 12, 2) * known
    ensure_batchwise(answer, patches, known, 3)


MEAN.agrees(
    lambda: [
        (*_mosaic(), 3),
        (torch.rand(1, 8, 2), torch.ones(1, 8, 2), 2),
        (torch.zeros(2, 8, 3), torch.ones(2, 8, 3), 2),
    ]
)


LEVEL = Exercise("inverse.noise_level", noise_level)


def _white(dim: int, count: int = 120) -> Tensor:
    """Noise ``(dim, count)`` of mean 0 whose covariance is the identity, up to rounding."""
    noise = torch.randn(count, dim, dtype=torch.float64)
    columns = torch.linalg.qr(noise - noise.mean(dim=0))[0]
    return (columns.mT * math.sqrt(count - 1)).float()


def _drawn(sigma: float) -> Tensor:
    """Patches (12, 120): pictures of two atoms each, and noise of exactly this strength."""
    atoms, drawn = torch.linalg.qr(torch.randn(12, 12))[0][:, :2], _white(14)
    return 0.5 + atoms @ drawn[:2] + sigma * drawn[2:]


@LEVEL.holds("brightness does not matter")
def brightness(answer: Answer) -> None:
    patches = torch.tensor([[1.0], [3.0]]) * _white(2)
    brighter = patches + torch.tensor([[5.0], [0.0]])
    found = answer(brighter)
    same(
        found,
        answer(patches),
        case="120 patches of 2 pixels, noise of 1 and of 3, and the first pixel brighter by 5",
        tolerance=1e-2,
        cause="is the mean patch taken away, one number for each pixel?",
    )


@LEVEL.holds("of pictures that fill two directions it sees the noise alone")
def noise_alone(answer: Answer) -> None:
    patches = _drawn(0.1)
    found = answer(patches)
    values = torch.linalg.eigvalsh(torch.cov(patches))
    mistakes = [
        (0.01, "an eigenvalue is a variance"),
        (0.0, "the mean patch has m numbers, the covariance m × m: over which axis do you go?"),
        (values[-1].sqrt(), "the smallest, or the largest?"),
        (values[-1], "the smallest, or the largest?"),
        (values.mean().sqrt(), "one eigenvalue, or the mean of all?"),
    ]
    same(
        found,
        torch.tensor(0.1),
        case="120 patches of 12 pixels, two atoms, noise of 0.1",
        tolerance=2e-3,
        cause=likely_cause(found.round(decimals=3), mistakes)
        or "which of the eigenvalues has no picture in it?",
    )


@LEVEL.holds("pure noise has its standard deviation", cause="a variance, or its root?")
def pure_noise(answer: Answer) -> None:
    same(
        answer(2 * _white(6)),
        torch.tensor(2.0),
        case="120 patches of 6 pixels, noise of 2",
        tolerance=5e-3,
    )


@LEVEL.holds("where nothing varies there is no noise", cause="a division by zero?")
def flat(answer: Answer) -> None:
    same(answer(torch.zeros(4, 30)), torch.tensor(0.0), case="30 black patches of 4 pixels")


@LEVEL.holds("twice the contrast, twice the noise")
def contrast(answer: Answer) -> None:
    patches = _drawn(0.3)
    same(
        answer(2 * patches),
        2 * answer(patches),
        case="120 patches, and the same doubled",
        tolerance=1e-3,
    )


LEVEL.agrees(
    lambda: [(torch.randn(9, 400),), (torch.rand(5, 100),), (torch.rand(2, 400),)], tolerance=2e-3
)


BETWEEN = Exercise("inverse.between_levels", between_levels)


def _three_levels() -> tuple[Tensor, Tensor]:
    """Levels 5, 10, 25 and random rows (3, 4)."""
    return torch.tensor([5.0, 10.0, 25.0]), torch.rand(3, 4)


@BETWEEN.holds("at a level it is the row of that level")
def at_a_level(answer: Answer) -> None:
    levels, rows = _three_levels()
    found = answer(torch.tensor([25.0, 5.0, 10.0]), levels, rows)
    mistakes = [
        (rows[[0, 2, 1]], "is the nearer level the one with the larger share?"),
        (rows[[0, 2, 0]], "the nearest, or the farthest?"),
        (rows[[2, 2, 2]], "is the sign of a difference taken away?"),
    ]
    same(
        found,
        rows[[2, 0, 1]],
        case="levels 5, 10, 25; images of 25, 5 and 10",
        cause=likely_cause(found, mistakes)
        or "where the noise is at a level, what share is left for the others?",
    )


@BETWEEN.holds(
    "beyond the first and the last level their rows count",
    cause="can a share be negative, or more than 1?",
)
def beyond(answer: Answer) -> None:
    levels, rows = _three_levels()
    same(
        answer(torch.tensor([90.0, 0.1, 0.0]), levels, rows),
        rows[[2, 0, 0]],
        case="levels 5, 10, 25; images of 90, 0.1 and 0",
    )


@BETWEEN.holds("equal rows come out as they are", cause="do the shares sum to 1?")
def equal_rows(answer: Answer) -> None:
    levels, rows = _three_levels()
    same(
        answer(torch.tensor([7.0, 18.0, 3.0]), levels, rows[:1].expand(3, 4)),
        rows[:1].expand(3, 4),
        case="levels 5, 10, 25 with the same row; images of 7, 18 and 3",
    )


@BETWEEN.holds("only the two levels around the noise count", cause="which rows have a share?")
def two_levels(answer: Answer) -> None:
    levels, rows = torch.tensor([5.0, 10.0, 25.0, 50.0]), torch.rand(4, 3)
    others = rows.clone()
    others[[0, 3]] = 9.0
    same(
        answer(torch.tensor([11.0, 17.0, 24.0]), levels, others),
        answer(torch.tensor([11.0, 17.0, 24.0]), levels, rows),
        case="levels 5, 10, 25, 50; images of 11, 17, 24; other rows for 5 and 50",
    )


@BETWEEN.holds("a little more noise never makes it jump", cause="nearest, or in between?")
def no_jump(answer: Answer) -> None:
    levels, rows = _three_levels()
    sigma = torch.linspace(2, 30, 2801)  # 0.01 apart
    found = answer(sigma, levels, rows)
    jump = (found[1:] - found[:-1]).abs().max().item()
    ensure(
        jump < 0.02,
        case="levels 5, 10, 25; noise from 2 to 30 in steps of 0.01, rows of numbers from 0 to 1",
        expected="no step changes a row by more than 0.02",
        actual=f"one changes it by {jump:.3g}",
    )


@BETWEEN.holds("what is proportional to the level becomes proportional to the noise")
def proportional(answer: Answer) -> None:
    levels, factors = torch.tensor([5.0, 10.0, 25.0]), torch.tensor([1.0, 0.3, -2.0])
    sigma = torch.tensor([6.0, 7.5, 9.0, 12.0, 20.0])
    found = answer(sigma, levels, levels[:, None] * factors)
    wanted = sigma[:, None] * factors
    low, high = torch.tensor([5.0, 5, 5, 10, 10]), torch.tensor([10.0, 10, 10, 25, 25])
    share = (sigma - low) / (high - low)
    shares = [
        ((sigma / low).log() / (high / low).log(), "are the shares linear in σ, or in its log?"),
        (
            (sigma**2 - low**2) / (high**2 - low**2),
            "are the shares linear in σ, or in the variance?",
        ),
        (1 - share, "is the nearer level the one with the larger share?"),
        (share * share * (3 - 2 * share), "smooth, but which shares make 7.5 of 5 and 10?"),
        (torch.full_like(share, 0.5), "does the share depend on where between the two σ lies?"),
    ]
    mistakes = [((low + part * (high - low))[:, None] * factors, words) for part, words in shares]
    same(
        found,
        wanted,
        case="levels 5, 10, 25, rows 1, 0.3 and −2 times the level; noise 6, 7.5, 9, 12, 20",
        cause=likely_cause(found, mistakes) or "which shares make 7.5 of 5 and 10, and 9, and 6?",
    )


@BETWEEN.holds("each image has its own row")
def own_row(answer: Answer) -> None:
    levels, rows = _three_levels()
    sigma = torch.tensor([24.0, 6.0, 90.0, 6.0])
    whole = answer(sigma, levels, rows)
    for i in range(4):
        alone = answer(sigma[i : i + 1], levels, rows)
        same(whole[i : i + 1], alone, case=f"image {i} of 4, and it alone")


BETWEEN.agrees(
    lambda: [
        (torch.tensor([3.0, 30.0, 14.0]), torch.tensor([2.0, 9.0, 16.0, 40.0]), torch.rand(4, 6)),
        (
            torch.tensor([3.0, 14.0], dtype=torch.float64),
            torch.tensor([2.0, 9.0], dtype=torch.float64),
            torch.rand(2, 5, dtype=torch.float64),
        ),
    ]
)


LUMA = Exercise("inverse.restore_luma", restore_luma)


@LUMA.holds(
    "a restoration that changes nothing changes nothing",
    cause="YCbCr and back must be each other's inverse: are all three planes there?",
)
def identity(answer: Answer) -> None:
    rgb = torch.rand(2, 3, 4, 5)
    same(answer(rgb, lambda y: y), rgb, case="two images, Y as it was", tolerance=1e-5)


@LUMA.holds("the restoration sees the luma of the image", cause="is Y the plain mean of R, G, B?")
def sees_luma(answer: Answer) -> None:
    rgb = torch.rand(1, 3, 4, 5)
    seen: list[Tensor] = []

    def look(y: Tensor) -> Tensor:
        seen.append(y.clone())
        return y

    answer(rgb, look)
    same(seen[0], rgb_to_luma(rgb), case="what restore_gray was given", tolerance=1e-5)


@LUMA.holds("luma becomes what was restored, colours stay", cause="which planes are put back?")
def only_luma(answer: Answer) -> None:
    # Nothing leaves [0, 1], so that whoever clips the result does no harm.
    rgb = 0.4 + 0.2 * torch.rand(1, 3, 4, 5)
    before = rgb_to_ycbcr(rgb)
    after = rgb_to_ycbcr(answer(rgb, lambda y: 0.5 * y + 0.1))
    same(after[:, :1], 0.5 * before[:, :1] + 0.1, case="Y, halved and raised", tolerance=1e-5)
    same(after[:, 1:], before[:, 1:], case="Cb and Cr beside it", tolerance=1e-5)
