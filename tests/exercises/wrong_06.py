"""Wrong answers to the exercises of lesson 06, each with the property that it breaks."""

import math

import torch

from lessons_lib.exercises.answer import DTYPE, FINITE, SHAPE, UNCHANGED
from lessons_lib.exercises.lesson_06 import stack_bases, stack_codes, stack_pixels
from lessons_lib.ops.dictionary import cosine_basis, dct_dictionary
from lessons_lib.ops.prox import hard_threshold, soft_threshold
from lessons_lib.ops.similarity import squared_distances, window_mask


def distances_with(factor=2.0, clamp=True, sign=-1.0):
    """The distance formula with one thing wrong."""

    def answer(x, y):
        lengths = x.square().sum(dim=0)[:, None] + y.square().sum(dim=0)
        found = lengths + sign * factor * x.T @ y
        return found.clamp_min(0) if clamp else found

    return answer


def matching(window_of=lambda w: w, largest=False, root=False, skip=0, masked=True, ordered=True):
    """Block matching with one thing wrong."""

    def answer(patches, grid, window, count):
        distances = squared_distances(patches, patches).fill_diagonal_(0)
        if masked:
            outside = ~window_mask(grid, window_of(window))
            distances = distances.masked_fill(outside, -torch.inf if largest else torch.inf)
        nearest, numbers = distances.topk(count + skip, dim=0, largest=largest)
        nearest, numbers = nearest[skip:], numbers[skip:]
        if not ordered:
            nearest, numbers = (torch.cat([z[:1], z[1:].flip(0)]) for z in (nearest, numbers))
        return numbers, nearest.sqrt() if root else nearest

    return answer


def weights_with(excess=None, power=2, axis=0, late=False, sign=-1.0):
    """Non-local weights with one thing wrong."""

    def answer(distances, mask, sigma, h):
        bare = (distances - 2 * sigma**2).clamp_min(0)
        beyond = bare if excess is None else excess(distances, sigma)
        weights = torch.exp(sign * beyond / h**power)
        if late:
            return weights / weights.sum(dim=0) * mask
        weights = weights * mask
        return weights / weights.sum(dim=axis, keepdim=True)

    return answer


def masked_after(distances, mask, sigma, h):
    weights = torch.exp(-(distances - 2 * sigma**2).clamp_min(0) / h**2)
    return weights / weights.sum(dim=0)


def filtering(bases=stack_bases, shrink=hard_threshold, mean=True, back=None, weight=None):
    """Collaborative filtering with one thing wrong."""

    def answer(stacks, threshold):
        across, along = bases(stacks)
        codes = across.T @ stacks @ along
        kept = shrink(codes, threshold)
        if mean:
            kept[:, 0, 0] = codes[:, 0, 0]
        estimate = across @ kept @ along.T if back is None else back(across, kept, along)
        used = (kept != 0).sum(dim=(1, 2)).clamp_min(1).to(stacks)
        return estimate, 1 / used if weight is None else weight(used, stacks)

    return answer


def patches_alone(stacks):
    """No transform along the group."""
    m, n = stacks.shape[-2:]
    return dct_dictionary(math.isqrt(m), m), torch.eye(n)


def mean_of_each_patch(stacks, threshold):
    across, along = stack_bases(stacks)
    codes = across.T @ stacks @ along
    kept = hard_threshold(codes, threshold)
    kept[:, 0, :] = codes[:, 0, :]
    return across @ kept @ along.T, 1 / (kept != 0).sum(dim=(1, 2)).clamp_min(1).to(stacks)


def not_orthonormal(stacks):
    m, n = stacks.shape[-2:]
    return dct_dictionary(math.isqrt(m), m), cosine_basis(n) / math.sqrt(n)


def wiener(gain=None, signal=0, weight=None):
    """Wiener filtering with one thing wrong; ``signal`` 1 shrinks the pilot."""

    def answer(stacks, pilots, sigma):
        noisy, pilot = stack_codes(stacks), stack_codes(pilots)
        power = pilot.square()
        gains = power / (power + sigma**2) if gain is None else gain(pilot, noisy, sigma)
        shrunk = (noisy, pilot)[signal]
        trust = gains.square() if weight is None else weight(gains)
        return stack_pixels(gains * shrunk), 1 / trust.sum(dim=(1, 2))

    return answer


def patchwise(stacks, pilots, sigma):
    """Wiener filtering without a transform along the group."""
    across, _ = stack_bases(stacks)
    power = (across.T @ pilots).square()
    gains = power / (power + sigma**2)
    return across @ (gains * (across.T @ stacks)), 1 / gains.square().sum(dim=(1, 2))


def unguarded(stacks, threshold):
    """A black group has nothing to count."""
    across, along = stack_bases(stacks)
    codes = across.T @ stacks @ along
    kept = hard_threshold(codes, threshold)
    kept[:, 0, 0] = codes[:, 0, 0]
    return across @ kept @ along.T, 1 / (kept != 0).sum(dim=(1, 2)).to(stacks)


def overwrites(stacks, threshold):
    stacks[:] = filtering()(stacks, threshold)[0]
    return stacks, filtering()(stacks, threshold)[1]


def inexact(patches, grid, window, count):
    """Leaves what rounding makes of a patch's distance to itself."""
    distances = squared_distances(patches, patches)
    distances = distances.masked_fill(~window_mask(grid, window), torch.inf)
    nearest, numbers = distances.topk(count, dim=0, largest=False)
    return numbers, nearest


def inverted_mask(patches, grid, window, count):
    distances = squared_distances(patches, patches).fill_diagonal_(0)
    distances = distances.masked_fill(window_mask(grid, window), torch.inf)
    nearest, numbers = distances.topk(count, dim=0, largest=False)
    return numbers, nearest


def spreading(cross=8.0, own=8.0, per_pixel=lambda m: m, finish=torch.sqrt):
    """The deviation of a noisy distance with one thing wrong."""

    def answer(distances, m, sigma):
        return finish(cross * sigma**2 * distances + own * per_pixel(m) * sigma**4)

    return answer


def adds_deviations(distances, m, sigma):
    return (8 * sigma**2 * distances).sqrt() + math.sqrt(8 * m) * sigma**2


def divided(shrink):
    return lambda x, y: shrink(squared_distances(x, y), len(x))


EQUAL = "equal patches have distance 0"
SCALES = "twice the picture and twice the noise: four times the distances, and their deviations"
ONE_PIXEL = "equal patches of one pixel: as drawn 400,000 times"
DIFFERENT = "different patches: as drawn 400,000 times"
LENGTH = "the distance to zero is the squared length"
WRONG = {
    "similarity.squared_distances": [
        (distances_with(factor=1.0), EQUAL, "its sign and its factor"),
        (distances_with(sign=1.0), EQUAL, "its sign and its factor"),
        (distances_with(clamp=False), "no distance is negative", "rounding"),
        (divided(lambda d, m: d.sqrt()), LENGTH, "squared, and summed"),
        (divided(lambda d, m: d / m), LENGTH, "0.5 times the expected ones"),
        (lambda x, y: squared_distances(y, x), SHAPE),
        (lambda x, y: squared_distances(x, y).diagonal(), SHAPE),
        (
            lambda x, y: squared_distances(x, y.flip(1)),
            "entry (i, l) is the squared length of x_i − y_l",
            "what do rows and columns count?",
        ),
    ],
    "similarity.distance_spread": [
        (spreading(finish=lambda variance: variance), SCALES, "or its square or root?"),
        (lambda d, m, sigma: d.sqrt() + 0 * sigma, "without noise a distance does not vary"),
        (spreading(own=0.0), ONE_PIXEL, "equal patches have unequal noise"),
        (spreading(cross=4.0, own=2.0), ONE_PIXEL, "how many of the two patches"),
        (spreading(own=12.0), ONE_PIXEL, "not yet a variance"),
        (spreading(own=4.0), ONE_PIXEL, "how large is E u⁴"),
        (
            spreading(per_pixel=lambda m: m**2),
            "each pixel brings its own noise, four times as many twice the deviation",
            "or variances?",
        ),
        (
            spreading(per_pixel=lambda m: 1.0),
            "each pixel brings its own noise, four times as many twice the deviation",
        ),
        (spreading(cross=0.0), DIFFERENT, "is 0 on average: does it not vary?"),
        (spreading(cross=2.0), DIFFERENT, "how often does the product"),
        (spreading(cross=4.0), DIFFERENT, "how large are the variances"),
        (adds_deviations, DIFFERENT, "deviations, or variances?"),
        (lambda d, m, sigma: spreading()(d, m, sigma).mean(), SHAPE),
    ],
    "similarity.block_matching": [
        (matching(largest=True), "from near to far, and nobody twice", "which distances"),
        (matching(ordered=False), "from near to far, and nobody twice", "in which order?"),
        (matching(skip=1), "a patch is most like itself", "is it in its own group"),
        (matching(masked=False), "no match lies outside the window"),
        (matching(window_of=lambda w: 2 * w + 1), "no match lies outside the window"),
        (inverted_mask, "no match lies outside the window", "whom does the mask name?"),
        (
            lambda patches, grid, *rest: matching()(patches, grid[::-1], *rest),
            "no match lies outside the window",
            "grid is (rows, columns)",
        ),
        (
            matching(window_of=lambda w: max(w - 2, 3)),
            "nobody in the window is nearer and left out",
        ),
        (inexact, "a patch is at distance 0 from itself, exactly", "rounding leaves something"),
        (matching(root=True), "distances belong to their patches", "squared"),
        (lambda *given: tuple(part.T for part in matching()(*given)), SHAPE),
        (lambda *given: matching()(*given)[::-1], DTYPE),
    ],
    "similarity.nlm_weights": [
        (
            weights_with(axis=1),
            "the weights of a patch, a column, sum to 1",
            "along which axis",
        ),
        (
            lambda d, mask, sigma, h: torch.exp(-(d - 2 * sigma**2).clamp_min(0) / h**2) * mask,
            "the weights of a patch, a column, sum to 1",
            "are they divided by their sum",
        ),
        (masked_after, "who is outside the window has no weight", "where is the mask?"),
        (
            weights_with(late=True),
            "in a window the weights of a column sum to 1, too",
            "before the sum is taken, or after?",
        ),
        (
            weights_with(excess=lambda d, sigma: d),
            "differences that noise explains cost nothing",
            "two noisy versions of one patch",
        ),
        (
            weights_with(excess=lambda d, sigma: (d - sigma**2).clamp_min(0)),
            "differences that noise explains cost nothing",
            "two noisy versions of one patch",
        ),
        (
            weights_with(excess=lambda d, sigma: d - 2 * sigma**2),
            "differences that noise explains cost nothing",
            "nearer than that",
        ),
        (weights_with(power=1), "of two large distances, h² more costs a factor e", "power of h"),
        (weights_with(sign=1.0), "of two large distances, h² more costs a factor e", "which sign"),
    ],
    "collaborative.filter": [
        (
            filtering(back=lambda across, kept, along: across.T @ kept @ along),
            "threshold 0 changes nothing",
            "which one is transposed?",
        ),
        (
            filtering(bases=not_orthonormal),
            "threshold 0 changes nothing",
            "0.25 times the expected ones",
        ),
        (
            filtering(mean=False),
            "a huge threshold leaves the mean of each group",
            "kept whatever its size",
        ),
        (
            mean_of_each_patch,
            "a huge threshold leaves the mean of each group",
            "which one coefficient",
        ),
        (
            filtering(bases=patches_alone),
            "n equal patches halve what a threshold can hide, if n is 4",
            "a transform along the group",
        ),
        (
            filtering(shrink=soft_threshold),
            "small coefficients go, large ones stay as they are",
            "hard threshold",
        ),
        (
            filtering(weight=lambda used, stacks: used),
            "the weight is one over what was kept",
            "Fewer of them weigh more",
        ),
        (
            filtering(weight=lambda used, stacks: used / stacks[0].numel()),
            "the weight is one over what was kept",
        ),
        (unguarded, FINITE),
        (overwrites, UNCHANGED),
    ],
    "collaborative.wiener": [
        (
            wiener(gain=lambda pilot, noisy, sigma: pilot.abs() / (pilot.abs() + sigma)),
            "a pilot as large as the noise halves",
            "are gains made of squares?",
        ),
        (
            wiener(signal=1),
            "what is shrunk is the noisy stack: twice as large, twice as large a result",
            "which of the two is shrunk?",
        ),
        (
            wiener(gain=lambda p, noisy, sigma: noisy**2 / (noisy**2 + sigma**2)),
            "what is shrunk is the noisy stack: twice as large, twice as large a result",
            "do the gains look at the pilot alone?",
        ),
        (
            wiener(gain=lambda p, noisy, sigma: sigma**2 / (p**2 + sigma**2)),
            "without noise nothing changes",
            "if σ is far below p",
        ),
        (
            wiener(
                gain=lambda p, noisy, sigma: (p.abs() > 2.7 * sigma).to(p),
                weight=lambda gains: gains + 1e-9,
            ),
            "a pilot as large as the noise halves",
        ),
        (
            patchwise,
            "a group has the gains of its common coefficients",
            "a transform along the group",
        ),
        (
            wiener(weight=lambda gains: gains),
            "the weight is one over the sum of squared gains",
            "how much noise gets by?",
        ),
    ],
}
