"""Wrong answers to the exercises of lesson 02, each with the property that it breaks."""

import math

import torch

from lessons_lib.exercises.answer import FINITE, SHAPE, TYPE, UNCHANGED
from lessons_lib.exercises.lesson_02 import kkt_violation, lipschitz, objective, refit
from lessons_lib.ops.prox import hard_threshold, soft_threshold


def rayleigh(dictionary, vector, iterations=100):
    for _ in range(iterations):
        vector = dictionary.T @ (dictionary @ vector)
        vector = vector / vector.norm().clamp_min(1e-12)
    return (dictionary @ vector).square().sum().item()


def never_normalised(dictionary):
    vector = torch.randn(dictionary.shape[1])
    for _ in range(500):
        vector = dictionary.T @ (dictionary @ vector)
    return vector.norm().item()


def ista(
    patches,
    dictionary,
    lam,
    step,
    iterations,
    *,
    sign=1.0,
    scale=None,
    threshold=None,
    prox=soft_threshold,
    restart=False,
    record=objective,
    before=False,
):
    codes = patches.new_zeros(dictionary.shape[1], patches.shape[1])
    values = []
    for _ in range(iterations):
        if before:
            values.append(record(patches, dictionary, codes, lam))
        start = torch.zeros_like(codes) if restart else codes
        correlation = dictionary.T @ (patches - dictionary @ codes)
        codes = prox(start + sign * (scale or step) * correlation, (threshold or step) * lam)
        if not before:
            values.append(record(patches, dictionary, codes, lam))
    return codes, torch.stack(values)


def gradient_after_prox(patches, dictionary, lam, step, iterations):
    codes = patches.new_zeros(dictionary.shape[1], patches.shape[1])
    values = []
    for _ in range(iterations):
        codes = soft_threshold(codes, step * lam)
        codes = codes + step * dictionary.T @ (patches - dictionary @ codes)
        values.append(objective(patches, dictionary, codes, lam))
    return codes, torch.stack(values)


def one_step_too_many(patches, dictionary, lam, step, iterations):
    codes, values = ista(patches, dictionary, lam, step, iterations + 1)
    return codes, values[1:]


def starts_at(start):
    def wrong(patches, dictionary, lam, step, iterations):
        codes, values = start(dictionary.T @ patches), []
        for _ in range(iterations):
            correlation = dictionary.T @ (patches - dictionary @ codes)
            codes = soft_threshold(codes + step * correlation, step * lam)
            values.append(objective(patches, dictionary, codes, lam))
        return codes, torch.stack(values)

    return wrong


def only_the_fit(patches, dictionary, codes, lam):
    return (patches - dictionary @ codes).square().sum() / 2


def twice_the_fit(patches, dictionary, codes, lam):
    fit = (patches - dictionary @ codes).square().sum()
    return fit + lam * codes.abs().sum()


def mean_over_patches(patches, dictionary, codes, lam):
    return objective(patches, dictionary, codes, lam) / patches.shape[1]


def list_of_objectives(*arguments):
    codes, values = ista(*arguments)
    return codes, values.tolist()


def only_bounds(patches, dictionary, codes, lam):
    correlation = dictionary.T @ (patches - dictionary @ codes)
    return (correlation.abs() - lam).clamp_min(0).amax(dim=0)


def ignores_signs(patches, dictionary, codes, lam):
    correlation = dictionary.T @ (patches - dictionary @ codes)
    kept = (correlation - lam).abs()
    dropped = (correlation.abs() - lam).clamp_min(0)
    return torch.where(codes != 0, kept, dropped).amax(dim=0)


def every_atom_at_lam(patches, dictionary, codes, lam):
    correlation = dictionary.T @ (patches - dictionary @ codes)
    return (correlation - lam * codes.sign()).abs().amax(dim=0)


def one_number(*arguments):
    return kkt_violation(*arguments).max()


def reduced(reduce):
    def wrong(patches, dictionary, codes, lam):
        correlation = dictionary.T @ (patches - dictionary @ codes)
        kept = (correlation - lam * codes.sign()).abs()
        dropped = (correlation.abs() - lam).clamp_min(0)
        return reduce(torch.where(codes != 0, kept, dropped))

    return wrong


def below_zero(patches, dictionary, codes, lam):
    correlation = dictionary.T @ (patches - dictionary @ codes)
    kept = (correlation - lam * codes.sign()).abs()
    return torch.where(codes != 0, kept, correlation.abs() - lam).amax(dim=0)


def gradient_alone(patches, dictionary, codes, lam):
    return (dictionary.T @ (patches - dictionary @ codes)).abs().amax(dim=0)


def bound(patches, dictionary, residual, lam, *, end=None, top=None, value=None):
    """A lower bound with one thing wrong."""
    tiny = 1e-30
    correlation = dictionary.T @ residual
    end = lam / (end or (lambda c: c.abs().amax(dim=0)))(correlation).clamp_min(tiny)
    best = (residual * patches).sum(dim=0) / residual.square().sum(dim=0).clamp_min(tiny)
    point = residual * (top(end) if top else best.clamp(-end, end))
    return value(patches, point) if value else (point * (patches - point / 2)).sum(dim=0)


def no_scaling(patches, dictionary, residual, lam):
    return (residual * (patches - residual / 2)).sum(dim=0)


def needs_the_length(patches, dictionary, residual, lam):
    """Shrinks the residual where it must, but never makes it longer."""
    return bound(patches, dictionary, residual, lam, top=lambda end: end.clamp_max(1))


def divides_by_zero(patches, dictionary, residual, lam):
    end = lam / (dictionary.T @ residual).abs().amax(dim=0)
    point = residual * ((residual * patches).sum(0) / residual.square().sum(0)).clamp(-end, end)
    return (point * (patches - point / 2)).sum(dim=0)


def accelerated(
    patches,
    dictionary,
    lam,
    step,
    codes,
    ahead,
    t,
    *,
    start=lambda codes, ahead: ahead,
    grow=lambda t: (1 + math.sqrt(1 + 4 * t**2)) / 2,
    on=lambda new, codes, ahead, t, later: new + (t - 1) / later * (new - codes),
    threshold=lambda step: step,
):
    """A step of FISTA with one thing wrong."""
    base = start(codes, ahead)
    correlation = dictionary.T @ (patches - dictionary @ base)
    new = soft_threshold(base + step * correlation, threshold(step) * lam)
    later = grow(t)
    return new, on(new, codes, ahead, t, later), later


def wrong_step(**slip):
    return lambda *arguments: accelerated(*arguments, **slip)


def old_codes_lost(patches, dictionary, lam, step, codes, ahead, t):
    codes, _, later = accelerated(patches, dictionary, lam, step, codes, ahead, t)
    return codes, codes + (t - 1) / later * (codes - codes), later


def gradient_elsewhere(patches, dictionary, lam, step, codes, ahead, t):
    correlation = dictionary.T @ (patches - dictionary @ codes)
    new = soft_threshold(ahead + step * correlation, step * lam)
    later = (1 + math.sqrt(1 + 4 * t**2)) / 2
    return new, new + (t - 1) / later * (new - codes), later


def forgets_the_support(patches, dictionary, codes, step, iterations):
    for _ in range(iterations):
        codes = codes + step * dictionary.T @ (patches - dictionary @ codes)
    return codes


def uphill(patches, dictionary, codes, step, iterations):
    return refit(patches, dictionary, codes, -step, iterations)


def shrinks_again(patches, dictionary, codes, step, iterations):
    support = codes != 0
    for _ in range(iterations):
        gradient = dictionary.T @ (dictionary @ codes - patches)
        codes = soft_threshold(support * (codes - step * gradient), step * 0.5)
    return codes


def from_zero(patches, dictionary, codes, step, iterations):
    support, codes = codes != 0, torch.zeros_like(codes)
    for _ in range(iterations):
        codes = support * (codes + step * dictionary.T @ (patches - dictionary @ codes))
    return codes


def one_step_only(patches, dictionary, codes, step, iterations):
    return refit(patches, dictionary, codes, step, 1)


def in_place(patches, dictionary, codes, step, iterations):
    support = codes != 0
    for _ in range(iterations):
        codes += step * support * (dictionary.T @ (patches - dictionary @ codes))
    return codes


BELOW = "no code has a smaller objective"
TIGHT = "at the solution it is the minimum"
GROWS = "t grows from 1 to 1.618, and from 3 to 3.541"
ON = "the next point ahead goes on from the old codes through the new ones"
AHEAD = "the step is taken at the point ahead"
UNSHRUNK = "with orthonormal atoms and step 1, kept entries become those of Dᵀy"
ONE = "one iteration is one step"
ZERO_CODES = "codes of zero: by how much the largest |dᵀy| exceeds λ"
START = "patches of zeros have codes of zero"
FIRST = "one step from zero is soft thresholding of step · Dᵀy"
LAST = "the last objective is that of the codes returned"
ZEROS = "entries below the threshold become zero"
SHRINKS = "large entries come closer to zero by the threshold"

WRONG = {
    "prox.soft_threshold": [
        (lambda z, t: z - t, ZEROS, "which entries"),
        (lambda z, t: z * (1 - t / z.abs()).clamp_min(0), FINITE, "divided by"),
        (lambda z, t: z.sign() * (z.abs() - t), ZEROS),
        (hard_threshold, SHRINKS, "shrinks as well"),
        (lambda z, t: (z - t).clamp_min(0), SHRINKS, "large negative"),
        (lambda z, t: z.abs().sub(t).clamp_min(0), SHRINKS, "the sign"),
        (lambda z, t: z.sign() * (z.abs() - t / 2).clamp_min(0) * (z.abs() > t), SHRINKS),
        (lambda z, t: z / (1 + t), ZEROS),
        (lambda z, t: z.mul_(z.abs() > t), UNCHANGED),
    ],
    "ista.lipschitz": [
        (lambda d: lipschitz(d) ** 0.5, "atoms twice as long have four times the L", "its square"),
        (
            lambda d: d.square().sum().item(),
            "an orthonormal dictionary has L = 1",
            "the sum of all",
        ),
        (lambda d: (d.T @ d).abs().max().item(), "the same atom three times has L = 3"),
        (lambda d: rayleigh(d, torch.ones(d.shape[1])), "an atom and its negative have L = 2"),
        (lambda d: rayleigh(d, torch.randn(d.shape[1]), 1), "agrees with the library", "enough"),
        (lambda d: lipschitz(d) / 2, "an orthonormal dictionary has L = 1"),
        (never_normalised, "an orthonormal dictionary has L = 1"),
        (lambda d: d.T @ d, TYPE),
    ],
    "ista.ista": [
        (one_step_too_many, FIRST, "how often does the loop run"),
        (starts_at(torch.clone), FIRST, "from which codes"),
        (starts_at(torch.ones_like), START, "from which codes"),
        (starts_at(torch.randn_like), START, "from which codes"),
        (lambda *a: ista(*a, threshold=1.0), FIRST, "which threshold belongs"),
        (lambda *a: ista(*a, scale=1.0), FIRST, "multiplied by the step"),
        (lambda *a: ista(*a, sign=-1.0), FIRST, "which way is downhill"),
        (lambda *a: ista(*a, prox=hard_threshold), FIRST, "is the threshold soft"),
        (lambda *a: ista(*a, prox=lambda z, t: z), FIRST, "after the gradient step"),
        (gradient_after_prox, FIRST, "after the gradient step"),
        (
            lambda *a: ista(*a, restart=True),
            "with orthonormal atoms and step 1, one step solves it, and more change nothing",
        ),
        (lambda *a: ista(*a, record=only_the_fit), LAST, "where is the penalty"),
        (lambda *a: ista(*a, record=twice_the_fit), LAST, "one half"),
        (lambda *a: ista(*a, record=mean_over_patches), LAST, "a mean of them"),
        (lambda *a: ista(*a, before=True), LAST, "recorded before the step"),
        (lambda *a: ista(*a)[0], TYPE),
        (list_of_objectives, TYPE),
        (lambda *a: (ista(*a)[0], ista(*a)[1][-1]), SHAPE, "records one number"),
        (lambda *a: (ista(*a)[0], torch.cat([ista(*a)[1]] * 2)), SHAPE, "records one number"),
    ],
    "ista.kkt": [
        (only_bounds, "notices an atom in use whose correlation is below λ, or above"),
        (ignores_signs, "vanishes at the solution"),
        (every_atom_at_lam, ZERO_CODES),
        (gradient_alone, ZERO_CODES, "only what exceeds"),
        (one_number, SHAPE, "a patch is a column"),
        (reduced(lambda all_atoms: all_atoms.amax(dim=1)), SHAPE, "a patch is a column"),
        (reduced(lambda all_atoms: all_atoms.mean(dim=0)), ZERO_CODES, "or the mean"),
        (reduced(lambda all_atoms: all_atoms.sum(dim=0)), ZERO_CODES, "or the sum"),
        (reduced(lambda all_atoms: all_atoms.amin(dim=0)), ZERO_CODES, "the smallest"),
        (reduced(lambda all_atoms: all_atoms.amax(dim=0) ** 2), ZERO_CODES, "or its square"),
        (below_zero, ZERO_CODES, "not in use"),
    ],
    "ista.lower_bound": [
        (lambda *a: bound(*a).sum(), SHAPE, "a bound of its own"),
        (no_scaling, BELOW, "some other code gets below"),
        (lambda y, d, r, lam: r.square().sum(dim=0) / 2, BELOW, "about all the others"),
        (lambda *a: bound(*a, value=lambda y, p: (p * y).sum(dim=0)), BELOW, "free z"),
        (lambda *a: -bound(*a), TIGHT, "opposite sign"),
        (lambda *a: bound(*a, end=lambda c: c.abs().amin(dim=0)), BELOW, "which multiples"),
        (
            lambda *a: bound(*a, end=lambda c: c.abs().amax()),
            "a patch is bounded without regard to the others",
            "over which axis",
        ),
        (lambda *a: bound(*a, end=lambda c: c.norm(dim=0)), TIGHT, "may the multiple of r"),
        (lambda *a: bound(*a, end=lambda c: c.abs().sum(dim=0)), TIGHT, "may the multiple of r"),
        (
            lambda *a: bound(*a, value=lambda y, p: (p * (y - p)).sum(dim=0)),
            TIGHT,
            "one half",
        ),
        (lambda y, d, r, lam: 0 * r.sum(dim=0), TIGHT),
        (
            lambda *a: bound(*a, top=lambda end: end),
            "where 0 is the solution, the patch itself gives the minimum",
            "not always the best",
        ),
        (needs_the_length, "how long r is, and its sign, make no difference", "the best of them"),
        (divides_by_zero, FINITE, "0 times r"),
    ],
    "ista.fista_step": [
        (
            wrong_step(threshold=lambda step: 1),
            "from codes of zero, the first step is ISTA's",
            "which threshold",
        ),
        (
            wrong_step(on=lambda new, codes, ahead, t, later: new + (new - codes)),
            "from codes of zero, the first step is ISTA's",
            "at the first step",
        ),
        (wrong_step(grow=lambda t: t), GROWS, "or the old one"),
        (wrong_step(grow=lambda t: (1 + math.sqrt(1 + 4 * t)) / 2), GROWS, "is t squared"),
        (wrong_step(grow=lambda t: 1 + math.sqrt(1 + 4 * t**2)), GROWS, "one half"),
        (wrong_step(start=lambda codes, ahead: codes), AHEAD, "this is ISTA's"),
        (gradient_elsewhere, AHEAD, "the gradient is taken there"),
        (old_codes_lost, ON, "still the old ones"),
        (
            wrong_step(
                on=lambda new, codes, ahead, t, later: new - (t - 1) / later * (new - codes)
            ),
            ON,
            "beyond the new codes",
        ),
        (
            wrong_step(
                on=lambda new, codes, ahead, t, later: new + (t - 1) / later * (new - ahead)
            ),
            ON,
            "not from the old point ahead",
        ),
        (
            wrong_step(on=lambda new, codes, ahead, t, later: new + (t - 1) / t * (new - codes)),
            ON,
            "in the denominator",
        ),
        (lambda *a: accelerated(*a)[:2], TYPE),
    ],
    "ista.refit": [
        (forgets_the_support, "zeros stay zero", "after each step"),
        (uphill, UNSHRUNK, "downhill"),
        (shrinks_again, UNSHRUNK, "shrunk"),
        (lambda y, d, c, step, n: refit(y, d, c, step, n + 1), ONE, "how often does the loop"),
        (lambda y, d, c, step, n: refit(y, d, c, 2 * step, n), UNSHRUNK),
        (from_zero, "starts from the codes that it is given", "from which codes"),
        (one_step_only, "many steps reach the least squares fit on the atoms in use"),
        (in_place, UNCHANGED),
    ],
}
