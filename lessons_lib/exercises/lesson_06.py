"""Exercises of lesson 06: distances and their noise, matching, averages, collaborative filters."""

import math

import torch
from torch import Tensor

from lessons_lib.exercises.answer import Answer
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.properties import ensure, likely_cause, same
from lessons_lib.ops.dictionary import cosine_basis, dct_dictionary
from lessons_lib.ops.patches import extract_patches, group_average
from lessons_lib.ops.prox import hard_threshold
from lessons_lib.ops.similarity import block_matching as match_blocks
from lessons_lib.ops.similarity import squared_distances, window_mask


def distance_spread(distances: Tensor, m: int, sigma: float) -> Tensor:
    """Standard deviation of the squared distance of two noisy patches that do not overlap.

    With ``u`` the difference of two pixels' noise, of variance ``v = 2σ²``, and ``a`` that of the
    clean pixels, ``(a + u)² = a² + 2au + u²``. The last two terms are uncorrelated, since ``E u³``
    is 0, and have the variances ``4a²v`` and ``2v²``. Over ``m`` pixels that is ``4vd + 2mv²``.

    Args:
        distances: ``d``, squared distances of the clean patches, any shape.
        m: pixels in a patch.
        sigma: of the noise in either patch.
    """
    variance = 2 * sigma**2
    return (4 * variance * distances + 2 * m * variance**2).sqrt()


def nearest_patches(
    patches: Tensor, grid: tuple[int, int], window: int, count: int
) -> tuple[Tensor, Tensor]:
    """The most similar patches of each patch's search window, by looking at all pairs.

    Args:
        patches: ``(m, N)``, the patches of a grid, row by row.
        grid: ``(rows, columns)`` of the grid, ``N = rows · columns``.
        window: side of the window in patches, odd.
        count: patches per group.

    Returns:
        ``(count, N)`` twice: in column ``i`` the numbers of the patches most like patch ``i``, the
        nearest (itself) first; and their squared distances.
    """
    distances = squared_distances(patches, patches)
    distances = distances.fill_diagonal_(0).masked_fill(~window_mask(grid, window), torch.inf)
    nearest, numbers = distances.topk(count, dim=0, largest=False)
    return numbers, nearest


def nlm_weights(distances: Tensor, mask: Tensor, sigma: float, h: float) -> Tensor:
    """Weights of non-local means: ``w_li ∝ exp(−max(d_li − 2σ², 0) / h²)``, columns summing to 1.

    Args:
        distances: ``(N, N)`` mean squared differences between patches.
        mask: ``(N, N)`` boolean, which pairs may use each other.
        sigma: of the noise.
        h: how much difference is forgiven.

    Source: Buades, Coll, Morel, *A non-local algorithm for image denoising*, 2005; NLRN eq. 3.
    Both leave the noise in the distance; it is taken off as in Buades, Coll, Morel, *Non-local
    means denoising*, IPOL 2011.
    """
    excess = (distances - 2 * sigma**2).clamp_min(0)
    weights = torch.exp(-excess / h**2) * mask
    return weights / weights.sum(dim=0)


def stack_bases(stacks: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal cosines for stacks ``(R, m, n)``: ``(m, m)`` for pixels, ``(n, n)`` for patches.

    The 3-D DCT of a stack is ``acrossᵀ @ stack @ along``.
    """
    entries, members = stacks.shape[-2:]
    return dct_dictionary(math.isqrt(entries), entries), cosine_basis(members)


def stack_codes(stacks: Tensor) -> Tensor:
    """Orthonormal 3-D DCT of stacks of square patches, ``(R, m, n)`` to ``(R, m, n)``."""
    across, along = stack_bases(stacks)
    return across.T @ stacks @ along


def stack_pixels(codes: Tensor) -> Tensor:
    """Stacks ``(R, m, n)`` from their 3-D DCT: the inverse of `stack_codes`, and its transpose."""
    across, along = stack_bases(codes)
    return across @ codes @ along.T


def filter_stacks(stacks: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Hard thresholding of the 3-D DCT of stacks of similar patches.

    Args:
        stacks: ``(R, m, n)``: ``n`` patches of ``m`` pixels in each of ``R`` groups.
        threshold: of the coefficients; the mean of a stack is always kept.

    Returns:
        Estimates ``(R, m, n)``, and the weight ``(R,)`` of each group: one over the number of
        coefficients that it kept.

    Source: Dabov, Foi, Katkovnik, Egiazarian, *Image denoising by sparse 3-D transform-domain
    collaborative filtering*, 2007: the first of its two steps.
    """
    codes = stack_codes(stacks)
    kept = hard_threshold(codes, threshold)
    kept[:, 0, 0] = codes[:, 0, 0]
    return stack_pixels(kept), 1 / (kept != 0).sum(dim=(1, 2)).clamp_min(1).to(stacks)


def wiener_stacks(stacks: Tensor, pilots: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Shrink each coefficient by what a first estimate says of it: ``p² / (p² + σ²)``.

    Args:
        stacks: noisy, ``(R, m, n)``.
        pilots: the same patches of the first estimate.
        sigma: of the noise.

    Returns:
        Estimates ``(R, m, n)``, and the weight ``(R,)`` of each group: one over the sum of its
        squared gains.

    Source: Dabov et al., 2007: the second step.
    """
    power = stack_codes(pilots).square()
    gains = power / (power + sigma**2)
    return stack_pixels(gains * stack_codes(stacks)), 1 / gains.square().sum(dim=(1, 2))


def denoise(
    noisy: Tensor, sigma: float, pilot: Tensor | None = None, count: int = 16, stride: int = 3
) -> Tensor:
    """Match, filter, average: one pass of collaborative filtering on ``(1, 1, H, W)``.

    Without a pilot the groups are matched and filtered by hard thresholding at 2.7 σ; with one,
    both are guided by it. BM3D is the second pass with the first as its pilot.
    """
    indices, _ = match_blocks(noisy if pilot is None else pilot, 8, 39, count, stride)
    stacks = extract_patches(noisy, 8)[0][:, indices[0]].permute(2, 0, 1)
    if pilot is None:
        estimates, weights = filter_stacks(stacks, 2.7 * sigma)
    else:
        pilots = extract_patches(pilot, 8)[0][:, indices[0]].permute(2, 0, 1)
        estimates, weights = wiener_stacks(stacks, pilots, sigma)
    shape = (noisy.shape[-2], noisy.shape[-1])
    return group_average(estimates.permute(1, 2, 0)[None], indices, shape, 8, weights[None])


DISTANCES = Exercise("similarity.squared_distances", squared_distances)


@DISTANCES.holds(
    "equal patches have distance 0",
    cause="is every product there, with its sign and its factor?",
)
def equal_patches(answer: Answer) -> None:
    patch = torch.tensor([[1.0], [2.0]])
    found = torch.cat([answer(patch, patch), answer(3 * patch, 3 * patch), answer(-patch, -patch)])
    same(found.flatten(), torch.zeros(3), case="(1, 2), (3, 6), (−1, −2), each with itself")


@DISTANCES.holds(
    "the distance to zero is the squared length", cause="squared, and summed, not averaged?"
)
def lengths(answer: Answer) -> None:
    x = torch.tensor([[3.0, 1.0, 0.0], [4.0, 0.0, 2.0]])
    expected = torch.tensor([[25.0], [1.0], [4.0]])
    same(answer(x, torch.zeros(2, 1)), expected, case="x: (3, 4), (1, 0), (0, 2); y: (0, 0)")


@DISTANCES.holds(
    "entry (i, l) is the squared length of x_i − y_l", cause="what do rows and columns count?"
)
def by_hand(answer: Answer) -> None:
    x = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    y = torch.tensor([[3.0, 1.0, 0.0], [4.0, 0.0, 2.0]])
    same(
        answer(x, y),
        torch.tensor([[25.0, 1.0, 4.0], [20.0, 0.0, 5.0]]),
        case="x: (0, 0), (1, 0); y: (3, 4), (1, 0), (0, 2)",
    )


@DISTANCES.holds("it is the same for all pairs from a common shift")
def shift(answer: Answer) -> None:
    x, y, step = torch.randn(5, 4), torch.randn(5, 6), torch.randn(5, 1)
    same(
        answer(x + step, y + step),
        answer(x, y),
        case="4 and 6 patches, and all of them moved by one vector",
        tolerance=1e-4,
        cause="is every product there, with its sign and its factor?",
    )


@DISTANCES.holds("no distance is negative", cause="what does rounding make of a tiny difference?")
def not_negative(answer: Answer) -> None:
    patches = 30 + torch.rand(81, 50)
    lowest = float(answer(patches, patches).min())
    ensure(
        lowest >= 0,
        case="50 patches with themselves, all pixels between 30 and 31",
        expected="0 at least",
        actual=f"{lowest:.3g}",
    )


DISTANCES.agrees(
    lambda: [
        (torch.randn(9, 5), torch.randn(9, 7)),
        (torch.rand(64, 3), torch.rand(64, 3)),
        (torch.randn(1, 4), torch.randn(1, 1)),
    ],
    tolerance=1e-4,
)


def _measured_spread(gaps: Tensor, sigma: float) -> float:
    """Deviation over 400,000 drawings; ``gaps`` are the differences of the clean pixels."""
    noise = sigma * torch.randn(2, 400_000, len(gaps))
    return float((gaps + noise[0] - noise[1]).square().sum(dim=1).std())


SPREAD = Exercise("similarity.distance_spread", distance_spread)


@SPREAD.holds("without noise a distance does not vary", cause="which terms have no noise in them?")
def no_spread(answer: Answer) -> None:
    distances = torch.tensor([0.0, 1.0, 30.0])
    same(answer(distances, 64, 0.0), 0.0, case="distances 0, 1 and 30, 64 pixels, σ = 0")


@SPREAD.holds(
    "twice the picture and twice the noise: four times the distances, and their deviations"
)
def spread_scales(answer: Answer) -> None:
    distances = torch.tensor([0.0, 1.0, 30.0])
    same(
        answer(4 * distances, 16, 1.0),
        4 * answer(distances, 16, 0.5),
        case="distances 0, 1 and 30 at σ = 0.5, and four times these at σ = 1; 16 pixels",
        cause="a deviation has the unit of a distance: is it one, or its square or root?",
    )


@SPREAD.holds("equal patches of one pixel: as drawn 400,000 times")
def one_pixel(answer: Answer) -> None:
    found = answer(torch.zeros(1), 1, 0.5)
    mistakes = [
        (torch.tensor([0.0]), "equal patches have unequal noise: does their distance not vary?"),
        (found.new_tensor([2**0.5 / 4]), "how many of the two patches are noisy?"),
        (found.new_tensor([3**0.5 / 2]), "E u⁴ is not yet a variance: what is taken from it?"),
        (found.new_tensor([0.5]), "how large is E u⁴ of a Gaussian?"),
    ]
    same(
        found,
        _measured_spread(torch.zeros(1), 0.5),
        case="distance 0, one pixel, σ = 0.5",
        tolerance=0.01,
        cause=likely_cause(found, mistakes),
    )


@SPREAD.holds(
    "each pixel brings its own noise, four times as many twice the deviation",
    cause="what is added over the pixels: deviations, or variances?",
)
def more_pixels(answer: Answer) -> None:
    same(
        answer(torch.zeros(1), 64, 0.5),
        2 * answer(torch.zeros(1), 16, 0.5),
        case="distance 0, σ = 0.5, 64 pixels and 16",
    )


@SPREAD.holds("different patches: as drawn 400,000 times")
def different(answer: Answer) -> None:
    gaps = torch.tensor([1.0, -2.0, 0.5, 0.0])
    for factor in (1.0, 4.0):
        found = answer((factor * gaps).square().sum().reshape(1), 4, 0.5)
        cross, own = factor * (2 * 5.25) ** 0.5, 2**0.5
        mistakes = [
            (torch.tensor([own]), "(x_i − x_l)ᵀ(n_i − n_l) is 0 on average: does it not vary?"),
            (torch.tensor([cross]), "does ‖n_i − n_l‖² not vary?"),
            (torch.tensor([cross + own]), "what may be added: deviations, or variances?"),
            (
                torch.tensor([(cross**2 / 4 + own**2) ** 0.5]),
                "how often does the product of a and u stand in (a + u)²?",
            ),
        ]
        same(
            found,
            _measured_spread(factor * gaps, 0.5),
            case=f"4 pixels that differ by {factor:g} × (1, −2, 0.5, 0), σ = 0.5",
            tolerance=0.01,
            cause=likely_cause(found, mistakes)
            or "how large are the variances of 2au and of u², and over how many pixels?",
        )


SPREAD.agrees(
    lambda: [
        (torch.rand(5, 7), 64, 0.1),
        (torch.zeros(3), 9, 0.3),
        (10 * torch.rand(2, 3, 4, dtype=torch.float64), 1, 0.2),
        (torch.ones(1), 81, 0.0),
    ]
)


MATCHING = Exercise("similarity.block_matching", nearest_patches)


@MATCHING.holds(
    "from near to far, and nobody twice", cause="which distances are asked for, and in which order?"
)
def in_order(answer: Answer) -> None:
    numbers, distances = answer(torch.randn(9, 48), (6, 8), 5, 4)
    ensure(
        bool((distances.diff(dim=0) >= 0).all()),
        case="48 random patches, 4 in a group",
        expected="distances that never fall down a column",
        actual="one that does",
    )
    for name, patches in {"random": torch.randn(9, 48), "equal": torch.ones(9, 48)}.items():
        numbers, _ = answer(patches, (6, 8), 5, 4)
        distinct = min(len(column.unique()) for column in numbers.T)
        ensure(
            distinct == 4,
            case=f"48 {name} patches, 4 in a group",
            expected="4 different patches in every group",
            actual=f"only {distinct} in one",
        )


@MATCHING.holds(
    "no match lies outside the window",
    cause="whom does the mask name? And grid is (rows, columns)",
)
def inside(answer: Answer) -> None:
    patches = torch.randn(9, 1).expand(9, 35) + 0.01 * torch.randn(9, 35)
    numbers, _ = answer(patches, (5, 7), 3, 3)
    here = torch.arange(35)
    down = (numbers // 7 - here // 7).abs()
    right = (numbers % 7 - here % 7).abs()
    worst = int(torch.maximum(down, right).max())
    ensure(
        worst <= 1,
        case="35 patches on a grid of 5 × 7, window of 3",
        expected="matches at most 1 row and 1 column away",
        actual=f"one that is {worst} away",
    )


@MATCHING.holds("a patch is most like itself", cause="is it in its own group, and first?")
def itself(answer: Answer) -> None:
    numbers, _ = answer(torch.randn(9, 24), (4, 6), 3, 2)
    same(
        numbers[0],
        torch.arange(24),
        case="24 random patches on a grid of 4 × 6: the first row of numbers",
        cause="is it in its own group, and first?",
    )


@MATCHING.holds(
    "a patch is at distance 0 from itself, exactly",
    cause="rounding leaves something: which distances are known beforehand?",
)
def exactly_zero(answer: Answer) -> None:
    _, distances = answer(30 + torch.rand(81, 24), (4, 6), 3, 2)
    ensure(
        not bool(distances[0].any()),
        case="24 patches of 9 × 9 pixels between 30 and 31: the first row of distances",
        expected="zeros",
        actual=f"up to {float(distances[0].abs().max()):.2g}",
    )


@MATCHING.holds("distances belong to their patches")
def belonging(answer: Answer) -> None:
    patches = torch.randn(9, 30)
    numbers, distances = answer(patches, (5, 6), 5, 4)
    found = (patches[:, numbers] - patches[:, None]).square().sum(dim=0)
    same(
        distances,
        found,
        case="30 random patches, distances computed again from the numbers",
        tolerance=1e-4,
        cause="squared, and from the column's own patch?",
    )


@MATCHING.holds(
    "nobody in the window is nearer and left out", cause="is all of the window searched?"
)
def nearest(answer: Answer) -> None:
    patches = torch.randn(9, 30)
    _, distances = answer(patches, (5, 6), 5, 4)
    _, expected = answer.reference(patches, (5, 6), 5, 4)
    same(distances[-1], expected[-1], case="the last of 4 matches in a window of 5", tolerance=1e-4)


MATCHING.agrees(
    lambda: [
        (torch.randn(16, 30), (5, 6), 5, 5),
        (torch.randn(4, 12), (3, 4), 3, 4),
        (torch.randn(9, 20), (1, 20), 7, 3),
        (torch.randn(4, 6), (6, 1), 3, 1),
    ],
    tolerance=1e-4,
)


def _distances(count: int) -> Tensor:
    """Symmetric, zero on the diagonal."""
    patches = torch.rand(4, count)
    return squared_distances(patches, patches).fill_diagonal_(0) / 4


def _everybody(count: int) -> Tensor:
    return torch.ones(count, count, dtype=torch.bool)


WEIGHTS = Exercise("similarity.nlm_weights", nlm_weights)


@WEIGHTS.holds(
    "the weights of a patch, a column, sum to 1",
    cause="are they divided by their sum, and along which axis is it?",
)
def sum_to_one(answer: Answer) -> None:
    weights = answer(_distances(8), _everybody(8), 0.1, 0.2)
    same(weights.sum(dim=0), torch.ones(8), case="8 patches that may all use each other")


@WEIGHTS.holds("who is outside the window has no weight", cause="where is the mask?")
def outside(answer: Answer) -> None:
    mask = window_mask((1, 9), 3)
    same(answer(_distances(9), mask, 0.1, 0.2)[~mask], 0.0, case="9 patches in a row, window of 3")


@WEIGHTS.holds(
    "in a window the weights of a column sum to 1, too",
    cause="the mask: before the sum is taken, or after?",
)
def sum_in_window(answer: Answer) -> None:
    weights = answer(_distances(8), window_mask((2, 4), 3), 0.1, 0.2)
    same(weights.sum(dim=0), torch.ones(8), case="8 patches in a window of 3")


@WEIGHTS.holds(
    "of two large distances, h² more costs a factor e", cause="which power of h, and which sign?"
)
def decay(answer: Answer) -> None:
    distances = torch.tensor([[0.0, 0.04, 0.08], [0.04, 0.0, 0.04], [0.08, 0.04, 0.0]])
    weights = answer(distances, _everybody(3), 0.1, 0.2)
    same(
        torch.stack([weights[1, 0] / weights[2, 0], weights[1, 2] / weights[0, 2]]),
        torch.tensor([math.e, math.e]),
        case="distances 0.04 and 0.08, σ = 0.1, h = 0.2: ratio of their weights",
        tolerance=1e-4,
        cause="which power of h, and which sign?",
    )


@WEIGHTS.holds(
    "differences that noise explains cost nothing",
    cause="how far apart are two noisy versions of one patch? What if two are nearer than that?",
)
def explained(answer: Answer) -> None:
    distances = torch.tensor([[0.0, 0.02, 0.015], [0.02, 0.0, 0.01], [0.015, 0.01, 0.0]])
    same(
        answer(distances, _everybody(3), 0.1, 0.05),
        1 / 3,
        case="3 patches at distances up to 0.02, σ = 0.1",
    )
    same(
        answer(0 * distances, _everybody(3), 0.0, 0.05),
        1 / 3,
        case="3 equal patches, σ = 0",
    )


@WEIGHTS.holds(
    "a huge h averages all of the window alike", cause="by what are differences divided?"
)
def plain_mean(answer: Answer) -> None:
    mask = window_mask((1, 5), 3)
    expected = mask / mask.sum(dim=0)
    same(answer(_distances(5), mask, 0.1, 1e3), expected, case="5 patches in a row, h = 1000")


WEIGHTS.agrees(
    lambda: [
        (_distances(6), _everybody(6), 0.1, 0.3),
        (_distances(12), window_mask((3, 4), 3), 0.05, 0.2),
        (_distances(6), _everybody(6), 0.0, 0.3),
        (0 * _distances(4), _everybody(4), 0.1, 0.3),
    ]
)


FILTER = Exercise("collaborative.filter", filter_stacks)


@FILTER.holds("threshold 0 changes nothing", cause="there and back again: which one is transposed?")
def nothing_removed(answer: Answer) -> None:
    stacks = torch.rand(2, 16, 4)
    same(answer(stacks, 0.0)[0], stacks, case="2 groups of 4 patches of 16 pixels", tolerance=1e-4)


@FILTER.holds("small coefficients go, large ones stay as they are", cause="a hard threshold?")
def hard(answer: Answer) -> None:
    codes = torch.zeros(1, 16, 1)
    codes[0, 3], codes[0, 7], codes[0, 2] = 2.0, -1.5, 0.7
    expected = codes.clone()
    expected[0, 2] = 0
    same(
        stack_codes(answer(stack_pixels(codes), 1.0)[0]),
        expected,
        case="a single patch with the coefficients 2, −1.5 and 0.7, threshold 1",
        tolerance=1e-4,
        cause="what does a hard threshold do to what is above it?",
    )


@FILTER.holds("n equal patches halve what a threshold can hide, if n is 4")
def together(answer: Answer) -> None:
    wave = 0.6 * dct_dictionary(4, 16)[:, 5:6]
    for members, survives in ((1, False), (4, True)):
        stacks = 0.5 + wave.expand(16, members)[None]
        same(
            answer(stacks, 1.0)[0],
            stacks if survives else 0.5 + 0 * stacks,
            case=f"{members} equal patches: a mean, and a coefficient of 0.6; threshold 1",
            tolerance=1e-4,
            cause="is there a transform along the group as well, and is it orthonormal?",
        )


@FILTER.holds("a huge threshold leaves the mean of each group")
def only_means(answer: Answer) -> None:
    stacks = torch.rand(2, 16, 4)
    means = stacks.mean(dim=(1, 2), keepdim=True).expand_as(stacks)
    same(
        answer(stacks, 1e3)[0],
        means,
        case="2 groups, threshold 1000",
        tolerance=1e-4,
        cause="which one coefficient of a group is kept whatever its size?",
    )


@FILTER.holds(
    "the weight is one over what was kept",
    cause="how many numbers describe the group? Fewer of them weigh more",
)
def trust(answer: Answer) -> None:
    codes = torch.zeros(2, 16, 4)
    codes[:, 0, 0] = 5.0
    codes[0, 3, 1], codes[0, 7, 0] = 2.0, -1.5
    same(
        answer(stack_pixels(codes), 1.0)[1],
        torch.tensor([1 / 3, 1.0]),
        case="a group that keeps 3 coefficients and one that keeps 1",
    )


@FILTER.holds("a black group stays black, and has a weight", cause="one over how many, at least?")
def black(answer: Answer) -> None:
    for threshold in (0.0, 1.0):
        found, weights = answer(torch.zeros(2, 16, 4), threshold)
        same(found, 0.0, case=f"2 groups of zeros, threshold {threshold:g}")
        same(weights, 1.0, case=f"2 groups of zeros, threshold {threshold:g}: the weights")


FILTER.agrees(
    lambda: [(torch.rand(3, 16, 4), 0.4), (torch.rand(1, 64, 16), 0.8), (torch.rand(2, 9, 1), 0.2)],
    tolerance=1e-4,
)


WIENER = Exercise("collaborative.wiener", wiener_stacks)


@WIENER.holds("without noise nothing changes", cause="what is the gain if σ is far below p?")
def no_noise(answer: Answer) -> None:
    stacks = torch.rand(2, 16, 4)
    same(answer(stacks, stacks, 1e-6)[0], stacks, case="2 groups, σ = 10⁻⁶", tolerance=1e-3)


@WIENER.holds("drowned in noise, nothing is left", cause="what is the gain if σ is far above p?")
def drowned(answer: Answer) -> None:
    stacks = torch.rand(2, 16, 4)
    same(answer(stacks, stacks, 1e4)[0], 0.0, case="2 groups, σ = 10000", tolerance=1e-3)


@WIENER.holds("what is shrunk is the noisy stack: twice as large, twice as large a result")
def linear(answer: Answer) -> None:
    stacks, pilots = torch.rand(2, 16, 4), torch.rand(2, 16, 4)
    same(
        answer(2 * stacks, pilots, 0.3)[0],
        2 * answer(stacks, pilots, 0.3)[0],
        case="2 groups, and the same with all pixels doubled, one pilot",
        tolerance=1e-4,
        cause="which of the two is shrunk? And do the gains look at the pilot alone?",
    )


@WIENER.holds("a pilot as large as the noise halves")
def half(answer: Answer) -> None:
    codes, pilot = torch.zeros(1, 16, 1), torch.zeros(1, 16, 1)
    codes[0, 3], pilot[0, 3] = 0.8, -0.2
    codes[0, 5], pilot[0, 5] = 0.5, 0.6
    expected = torch.zeros(1, 16, 1)
    expected[0, 3], expected[0, 5] = 0.4, 0.45
    same(
        stack_codes(answer(stack_pixels(codes), stack_pixels(pilot), 0.2)[0]),
        expected,
        case="single patches: coefficients 0.8 and 0.5, pilots −0.2 and 0.6, σ = 0.2",
        tolerance=1e-4,
        cause="are gains made of squares?",
    )


@WIENER.holds("a group has the gains of its common coefficients")
def common(answer: Answer) -> None:
    stacks = (0.3 * dct_dictionary(4, 16)[:, 5:6]).expand(16, 4)[None]
    same(
        answer(stacks, stacks, 0.6)[0],
        stacks / 2,
        case="4 equal patches with a coefficient of 0.3, and themselves as pilot; σ = 0.6",
        tolerance=1e-4,
        cause="is there a transform along the group as well, of both stacks?",
    )


@WIENER.holds("the weight is one over the sum of squared gains", cause="how much noise gets by?")
def trusted(answer: Answer) -> None:
    pilot = torch.zeros(1, 16, 4)
    pilot[0, 0, 0], pilot[0, 4, 1] = 3.0, 1.0
    same(
        answer(torch.rand(1, 16, 4), stack_pixels(pilot), 1.0)[1],
        torch.tensor([1 / (0.9**2 + 0.5**2)]),
        case="a pilot with the coefficients 3 and 1, σ = 1",
        tolerance=1e-4,
    )


WIENER.agrees(
    lambda: [
        (torch.rand(3, 16, 4), torch.rand(3, 16, 4), 0.3),
        (torch.rand(1, 64, 16), torch.rand(1, 64, 16), 0.1),
    ],
    tolerance=1e-4,
)
