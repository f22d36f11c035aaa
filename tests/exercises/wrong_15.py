"""Wrong answers to the exercises of lesson 15, each with the property that it breaks."""

import math

import torch

from lessons_lib.exercises.answer import FINITE, SHAPE, TYPE, UNCHANGED
from lessons_lib.exercises.lesson_15 import noise_line, stabilise
from lessons_lib.models.nn3d import haar_matrix
from lessons_lib.models.nn3d import shrink as shrink_groups
from lessons_lib.training.losses import asymmetric

ON_A_LINE = "points on a line give this line"
AVERAGE = "with many rough points it is right on average"
DARK = "dark points, which are exact, outweigh bright ones"
PLAIN = "without shot noise it is L / σ_c"
PHOTONS = "without read noise it is 2√L / σ_s"
LITTLE = "a little shot noise changes little"
BELOW = "below −σ_c²/σ_s² it stays what it is there"
WORSE = "too little noise found costs more than too much"
COSTS = "off by 0.1: 0.007 if too low, 0.003 if too high"
HALF = "with α = ½ it is half the squared error"
BATCH = "a batch costs what its members cost on average"
SAME = "patches that are the same stay as they are"
PAIR = "two patches, 5 and 1, become 4.5 and 1.5 where τ² = 8/3, 4 and 2 where it is 8"
MEAN = "each pixel's mean over the group is kept"


def line(levels, variances, rounds=3, power=1.0, both=True, measured=False, start=True):
    """The regression with one thing wrong."""
    points = torch.stack([levels, torch.ones_like(levels) * start], dim=1)
    root = torch.ones_like(levels)
    for _ in range(rounds):
        right = root * variances if both else variances
        found = torch.linalg.lstsq(root[:, None] * points, right[:, None]).solution[:, 0]
        base = variances if measured else points @ found
        root = 1 / base.clamp_min(1e-6) ** power
    return found


def through_origin(levels, variances):
    slope = (levels * variances).sum() / levels.square().sum()
    return torch.stack([slope, torch.zeros_like(slope)])


def backwards(levels, variances):
    """Trusts what is strong."""
    points = torch.stack([levels, torch.ones_like(levels)], dim=1)
    root = torch.ones_like(levels)
    for _ in range(3):
        found = torch.linalg.lstsq(root[:, None] * points, (root * variances)[:, None]).solution
        root = (points @ found)[:, 0].clamp_min(1e-6)
    return found[:, 0]


def difference(light, shot, read, guard=0.0):
    """The usual form, with a difference of roots."""
    sigma = (shot**2 * light + read**2).clamp_min(0).sqrt()
    return 2 * (sigma - read) / (torch.tensor(shot) ** 2 + guard)


def no_constant(light, shot, read):
    return stabilise(light, shot, read) + 2 * read / max(shot, 1e-6) ** 2


def running_on(light, shot, read):
    sigma = (shot**2 * light + read**2).clamp_min(0).sqrt()
    return 2 * light / (sigma + read).clamp_min(1e-12)


def unclamped(light, shot, read):
    return 2 * light / ((shot**2 * light + read**2).sqrt() + read).clamp_min(1e-12)


def divided(light, shot, read):
    """By σ itself: the slope is not 1/σ."""
    return light / (shot**2 * light + read**2).clamp_min(1e-20).sqrt()


def camera_curve(light, shot, read):
    return light.clamp_min(0) ** (1 / 2.4)


def anscombe(light, shot, read):
    """With a constant for few photons, which do not come into it here."""
    inside = shot**2 * light + 3 / 8 * shot**4 + read**2
    start = math.sqrt(3 / 8 * shot**4 + read**2)
    return 2 * light / (inside.clamp_min(0).sqrt() + start)


def cost(found, noise, alpha, flip=False, power=2, divide=True, weighted=1, fixed=None, mean=False):
    """The asymmetric loss with one thing wrong."""
    low = (noise < found) if flip else (found < noise)
    weight = ((alpha if fixed is None else fixed) - low.float()).abs() ** weighted
    costs = weight * (found - noise).abs() ** power
    return costs.mean() if mean else costs.sum() / (len(found) if divide else 1)


def unsigned(found, noise, alpha):
    weight = alpha - (found < noise).float()
    return (weight * (found - noise).square()).sum() / len(found)


def per_member(found, noise, alpha):
    weight = (alpha - (found < noise).float()).abs()
    return (weight * (found - noise).square()).sum(dim=(1, 2, 3))


def shrunk(
    stacked, tau, keep=True, power=2, back=True, top=2, axis="ij,mjr->mir", matrix=haar_matrix
):
    """The filter of groups with one thing wrong."""
    haar = matrix(stacked.shape[1]).to(stacked)
    codes = torch.einsum(axis, haar, stacked)
    if top == 2:
        factor = codes.abs() ** power / (codes.abs() ** power + tau**power).clamp_min(1e-30)
    else:
        factor = tau**2 / (codes.square() + tau**2).clamp_min(1e-30)
    if keep:
        factor[:, 0] = 1
    return torch.einsum("ij,mir->mjr" if back else "ij,mjr->mir", haar, factor * codes)


def not_divided(stacked, tau):
    haar = haar_matrix(stacked.shape[1]).to(stacked)
    codes = torch.einsum("ij,mjr->mir", haar, stacked)
    kept = codes**3 / (codes**2 + tau**2)
    kept[:, 0] = codes[:, 0]
    return torch.einsum("ij,mir->mjr", haar, kept)


def in_place(stacked, tau):
    codes = torch.einsum("ij,mjr->mir", haar_matrix(stacked.shape[1]).to(stacked), stacked)
    factor = codes.square() / (codes.square() + tau**2).clamp_min(1e-30)
    factor[:, 0] = 1
    haar = haar_matrix(stacked.shape[1]).to(stacked)
    stacked.copy_(torch.einsum("ij,mir->mjr", haar, factor * codes))
    return stacked


def hard(stacked, tau):
    haar = haar_matrix(stacked.shape[1]).to(stacked)
    codes = torch.einsum("ij,mjr->mir", haar, stacked)
    kept = torch.where(codes.abs() > tau, codes, 0.0)
    kept[:, 0] = codes[:, 0]
    return torch.einsum("ij,mir->mjr", haar, kept)


def around_the_mean(stacked, tau):
    """Without a transform: each patch's distance from the mean is shrunk by itself."""
    mean = stacked.mean(dim=1, keepdim=True)
    q = stacked - mean
    return mean + q * (2 * q.square() / (2 * q.square() + tau**2).clamp_min(1e-30))


def whole_patches(stacked, tau):
    """One factor for all pixels of a patch."""
    haar = haar_matrix(stacked.shape[1]).to(stacked)
    codes = torch.einsum("ij,mjr->mir", haar, stacked)
    energy = codes.square().mean(dim=0, keepdim=True)
    factor = (energy / (energy + tau**2).clamp_min(1e-30)).expand_as(codes).clone()
    factor[:, 0] = 1
    return torch.einsum("ij,mir->mjr", haar, factor * codes)


WRONG = {
    "camera.noise_line": [
        (lambda x, v: noise_line(x, v).flip(0), ON_A_LINE, "comes first"),
        (lambda x, v: noise_line(x, v).clamp_min(0).sqrt(), ON_A_LINE, "not their roots"),
        (through_origin, ON_A_LINE),
        (lambda x, v: line(x, v, both=False), ON_A_LINE),
        (lambda x, v: line(x, v, rounds=1), DARK, "both sides"),
        (backwards, DARK, "1/σ⁴"),
        (lambda x, v: line(x, v, measured=True), AVERAGE, "came out too small"),
        (lambda x, v: line(x, v, rounds=2), "agrees with the library", "three rounds"),
        (lambda x, v: line(x, v, rounds=8), "agrees with the library", "three rounds"),
        (lambda x, v: line(x, v, power=0.5), "agrees with the library", "1/σ⁴"),
        (lambda x, v: noise_line(x, v)[:, None], SHAPE),
        (lambda x, v: tuple(noise_line(x, v).tolist()), TYPE),
    ],
    "camera.stabilise": [
        (no_constant, "black is 0", "which constant"),
        (difference, FINITE, "multiply by the sum"),
        (lambda x, s, r: difference(x, s, r, guard=1e-12), PLAIN),
        (lambda x, s, r: difference(x, s, r) if s > 0 else x / r, LITTLE, "loses all digits"),
        (lambda x, s, r: stabilise(x, s, r) / 2, PLAIN, "slope 1/σ"),
        (divided, PHOTONS, "derivative of √L"),
        (lambda x, s, r: stabilise(x, s, 0.0) if s else x / r, "its slope times σ(L) is 1"),
        (lambda x, s, r: x / (s**2 / 2 + r**2) ** 0.5, PHOTONS),
        (camera_curve, PLAIN),
        (lambda x, s, r: -stabilise(x, s, r), "more light, larger number"),
        (anscombe, PHOTONS),
        (unclamped, FINITE, "root of a negative number"),
        (running_on, BELOW, "above and below"),
        (lambda x, s, r: stabilise(x.clamp_min(0), s, r), BELOW),
    ],
    "cbdnet.asymmetric": [
        (lambda f, n, a: cost(f, n, a, flip=True), WORSE, "for which of the two"),
        (lambda f, n, a: asymmetric(n, f, a), WORSE),
        (unsigned, WORSE),
        (lambda f, n, a: asymmetric(f, n, 0.5), WORSE),
        (lambda f, n, a: cost(f, n, a, power=1), COSTS, "or its square"),
        (lambda f, n, a: cost(f, n, a, weighted=2), COSTS, "weight squared"),
        (lambda f, n, a: cost(f, n, a, fixed=0.3), HALF, "is α used"),
        (lambda f, n, a: cost(f, n, a, mean=True), HALF, "the sum over pixels"),
        (lambda f, n, a: cost(f, n, a, divide=False), BATCH, "divided by the members"),
        (per_member, SHAPE),
        (lambda f, n, a: float(asymmetric(f, n, a)), TYPE),
    ],
    "nn3d.shrink": [
        (lambda s, t: shrunk(s, t, keep=False), SAME, "left alone"),
        (lambda s, t: shrunk(s, t, back=False), SAME),
        (lambda s, t: shrunk(s, t, power=1), PAIR, "τ, or its square"),
        (lambda s, t: shrunk(s, t, top=0), "τ = 0 changes nothing"),
        (lambda s, t: s.mean(dim=1, keepdim=True).expand_as(s), "τ = 0 changes nothing"),
        (hard, PAIR, "whether small or large"),
        (not_divided, FINITE),
        (in_place, UNCHANGED),
        (around_the_mean, MEAN),
        (whole_patches, "pixels and groups do not mix"),
        (lambda s, t: shrink_groups(s, t / 2), PAIR),
        (lambda s, t: s, PAIR),
    ],
}
