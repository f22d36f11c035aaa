"""Wrong answers to the exercises of lesson 02, each with the property that it breaks."""

import torch

from lessons_lib.exercises.core import SHAPE, TYPE, UNCHANGED
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


def gradient_alone(patches, dictionary, codes, lam):
    return (dictionary.T @ (patches - dictionary @ codes)).abs().amax(dim=0)


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


FIRST = "one step from zero is soft thresholding of step · Dᵀy"
LAST = "the last objective is that of the codes returned"
ZEROS = "entries below the threshold become zero"
SHRINKS = "large entries come closer to zero by the threshold"

WRONG = {
    "prox.soft_threshold": [
        (lambda z, t: z - t, ZEROS),
        (lambda z, t: z.sign() * (z.abs() - t), ZEROS),
        (hard_threshold, SHRINKS),
        (lambda z, t: (z - t).clamp_min(0), SHRINKS),
        (lambda z, t: z.abs().sub(t).clamp_min(0), SHRINKS),
        (lambda z, t: z.sign() * (z.abs() - t / 2).clamp_min(0) * (z.abs() > t), SHRINKS),
        (lambda z, t: z / (1 + t), ZEROS),
        (lambda z, t: z.mul_(z.abs() > t), UNCHANGED),
    ],
    "ista.lipschitz": [
        (lambda d: lipschitz(d) ** 0.5, "atoms twice as long have four times the L"),
        (lambda d: d.square().sum().item(), "an orthonormal dictionary has L = 1"),
        (lambda d: (d.T @ d).abs().max().item(), "the same atom three times has L = 3"),
        (lambda d: rayleigh(d, torch.ones(d.shape[1])), "an atom and its negative have L = 2"),
        (lambda d: rayleigh(d, torch.randn(d.shape[1]), 1), "agrees with the library"),
        (lambda d: lipschitz(d) / 2, "an orthonormal dictionary has L = 1"),
        (never_normalised, "an orthonormal dictionary has L = 1"),
        (lambda d: d.T @ d, TYPE),
    ],
    "ista.ista": [
        (lambda *a: ista(*a, threshold=1.0), FIRST),
        (lambda *a: ista(*a, scale=1.0), FIRST),
        (lambda *a: ista(*a, sign=-1.0), FIRST),
        (lambda *a: ista(*a, prox=hard_threshold), FIRST),
        (lambda *a: ista(*a, prox=lambda z, t: z), FIRST),
        (gradient_after_prox, FIRST),
        (
            lambda *a: ista(*a, restart=True),
            "with orthonormal atoms and step 1, one step solves it, and more change nothing",
        ),
        (lambda *a: ista(*a, record=only_the_fit), LAST),
        (lambda *a: ista(*a, record=twice_the_fit), LAST),
        (lambda *a: ista(*a, record=mean_over_patches), LAST),
        (lambda *a: ista(*a, before=True), LAST),
        (lambda *a: ista(*a)[0], TYPE),
        (list_of_objectives, TYPE),
        (lambda *a: (ista(*a)[0], ista(*a)[1][-1]), SHAPE),
    ],
    "ista.kkt": [
        (only_bounds, "notices an atom in use whose correlation is below λ, or above"),
        (ignores_signs, "vanishes at the solution"),
        (every_atom_at_lam, "codes of zero: by how much the largest |dᵀy| exceeds λ"),
        (gradient_alone, "codes of zero: by how much the largest |dᵀy| exceeds λ"),
        (one_number, SHAPE),
        (
            lambda p, d, c, lam: kkt_violation(p, d, c, lam).square(),
            "codes of zero: by how much the largest |dᵀy| exceeds λ",
        ),
    ],
    "ista.refit": [
        (forgets_the_support, "zeros stay zero"),
        (uphill, "with orthonormal atoms and step 1, kept entries become those of Dᵀy"),
        (shrinks_again, "with orthonormal atoms and step 1, kept entries become those of Dᵀy"),
        (from_zero, "starts from the codes that it is given"),
        (one_step_only, "many steps reach the least squares fit on the atoms in use"),
        (in_place, UNCHANGED),
    ],
}
