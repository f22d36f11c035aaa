"""Wrong answers to the exercises of lesson 06, each with the property that it breaks."""

import math

import torch

from lessons_lib.exercises.core import SHAPE, UNCHANGED
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


def overwrites(stacks, threshold):
    stacks[:] = filtering()(stacks, threshold)[0]
    return stacks, filtering()(stacks, threshold)[1]


BY_HAND = "entry (i, l) is the squared length of x_i − y_l"
WRONG = {
    "similarity.squared_distances": [
        (distances_with(factor=1.0), BY_HAND),
        (distances_with(sign=1.0), BY_HAND),
        (distances_with(clamp=False), "no distance is negative"),
        (lambda x, y: squared_distances(x, y).sqrt(), BY_HAND),
        (lambda x, y: squared_distances(y, x), SHAPE),
        (lambda x, y: squared_distances(x, y) / len(x), BY_HAND),
        (lambda x, y: squared_distances(x.T, y.T) if x.shape == y.shape else x.T @ y, BY_HAND),
    ],
    "similarity.block_matching": [
        (matching(largest=True), "a patch is most like itself"),
        (matching(skip=1), "a patch is most like itself"),
        (matching(masked=False), "no match lies outside the window"),
        (matching(window_of=lambda w: 2 * w + 1), "no match lies outside the window"),
        (matching(root=True), "distances belong to their patches"),
        (matching(ordered=False), "from near to far, and nobody twice"),
        (lambda *given: tuple(part.T for part in matching()(*given)), SHAPE),
    ],
    "similarity.nlm_weights": [
        (weights_with(axis=1), "the weights of a patch, a column, sum to 1"),
        (masked_after, "who is outside the window has no weight"),
        (weights_with(late=True), "the weights of a patch, a column, sum to 1"),
        (
            weights_with(excess=lambda d, sigma: d),
            "differences that noise explains cost nothing",
        ),
        (
            weights_with(excess=lambda d, sigma: (d - sigma**2).clamp_min(0)),
            "differences that noise explains cost nothing",
        ),
        (
            weights_with(excess=lambda d, sigma: d - 2 * sigma**2),
            "differences that noise explains cost nothing",
        ),
        (weights_with(power=1), "an excess of h² costs a factor e"),
        (weights_with(sign=1.0), "an excess of h² costs a factor e"),
    ],
    "collaborative.filter": [
        (
            filtering(back=lambda across, kept, along: across.T @ kept @ along),
            "threshold 0 changes nothing",
        ),
        (filtering(bases=not_orthonormal), "threshold 0 changes nothing"),
        (filtering(mean=False), "a huge threshold leaves the mean of each group"),
        (mean_of_each_patch, "a huge threshold leaves the mean of each group"),
        (filtering(bases=patches_alone), "a huge threshold leaves the mean of each group"),
        (filtering(shrink=soft_threshold), "small coefficients go, large ones stay as they are"),
        (
            filtering(weight=lambda used, stacks: used),
            "the weight is one over what was kept",
        ),
        (
            filtering(weight=lambda used, stacks: used / stacks[0].numel()),
            "the weight is one over what was kept",
        ),
        (overwrites, UNCHANGED),
    ],
    "collaborative.wiener": [
        (
            wiener(gain=lambda pilot, noisy, sigma: pilot.abs() / (pilot.abs() + sigma)),
            "a pilot as large as the noise halves",
        ),
        (wiener(signal=1), "a pilot as large as the noise halves"),
        (
            wiener(gain=lambda p, noisy, sigma: noisy**2 / (noisy**2 + sigma**2)),
            "a pilot as large as the noise halves",
        ),
        (
            wiener(gain=lambda p, noisy, sigma: sigma**2 / (p**2 + sigma**2)),
            "without noise nothing changes",
        ),
        (
            wiener(
                gain=lambda p, noisy, sigma: (p.abs() > 2.7 * sigma).to(p),
                weight=lambda gains: gains + 1e-9,
            ),
            "a pilot as large as the noise halves",
        ),
        (wiener(weight=lambda gains: gains), "the weight is one over the sum of squared gains"),
    ],
}
