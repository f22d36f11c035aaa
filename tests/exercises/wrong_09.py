"""Wrong answers to the exercises of lesson 09, each with the property that it breaks."""

import torch

from lessons_lib.exercises.answer import FINITE, RUNS, SHAPE, UNCHANGED
from lessons_lib.exercises.lesson_09 import average_codes, cost
from lessons_lib.ops.prox import csr_threshold, soft_threshold

ZERO = "with β = 0 both pulls go to zero, and their strengths add"
AT_Z = "at u = z only the pulls are left"
ADDS_UP = "entry by entry, the two pulls add up to the penalty of the library"
MINIMISER = "is the minimiser of the cost"
ODD = "turning the signs of z and β turns the sign of the result"
LONER = "a patch that resembles no other keeps its own code"
SC_STEP = "without γ it is a step of SC"
NO_STRENGTH = "magnets without strength do nothing"
AT_ZERO = "one magnet at 0 is soft thresholding, exactly"
TWO = "two magnets, one of them at 0, are Proposition 1"
STICKS = "a strong pull moves all that is near to β exactly"


def table(z, beta, lam, gamma, candidates):
    return cost(candidates[:, None], z, beta, lam, gamma)


def in_place(z, beta, lam, gamma):
    beta += lam * beta.sign()
    return soft_threshold(soft_threshold(z - beta, lam * gamma) + beta, lam)


def nearer(z, beta, lam, gamma):
    """Pulls to zero or to β, whichever is nearer: not to both."""
    towards = soft_threshold(z - beta, lam * gamma) + beta
    return torch.where(z.abs() < (z - beta).abs(), soft_threshold(z, lam), towards)


def magnets(z, places, strengths, *, sort=True, factor=1.0):
    """The prox of many magnets with one thing wrong."""
    order = places.sort(dim=0).indices
    if sort:
        strengths = strengths.gather(0, order)
    passed = torch.cat([0 * strengths[:1], strengths.cumsum(dim=0)])
    slopes = factor * (2 * passed - passed[-1])
    return torch.cat([places.gather(0, order), z - slopes]).median(dim=0).values


def inner_signs(z, places, strengths):
    """The slopes between the magnets with the wrong sign; those outside are right."""
    places, order = places.sort(dim=0)
    passed = torch.cat([0 * strengths[:1], strengths.gather(0, order).cumsum(dim=0)])
    slopes = 2 * passed - passed[-1]
    slopes[1:-1] *= -1
    return torch.cat([places, z - slopes]).median(dim=0).values


def one_by_one(z, places, strengths):
    for place, strength in zip(places, strengths, strict=True):
        z = place + soft_threshold(z - place, strength)
    return z


def in_the_middle(z, places, strengths):
    total = strengths.sum(dim=0)
    middle = (places * strengths).sum(dim=0) / total.clamp_min(1e-9)
    return middle + soft_threshold(z - middle, total)


def cheapest_place(z, places, strengths):
    costs = (places - z).square() / 2
    costs = costs + (strengths * (places[:, None] - places).abs()).sum(dim=1)
    return places.gather(0, costs.argmin(dim=0, keepdim=True))[0]


def on_a_grid(z, places, strengths):
    grid = torch.linspace(-10, 10, 4002, dtype=z.dtype).view(-1, *[1] * z.ndim)
    costs = (grid - z).square() / 2
    for place, strength in zip(places, strengths, strict=True):
        costs = costs + strength * (grid - place).abs()
    return grid.flatten()[costs.argmin(dim=0)]


def no_ties(z, places, strengths):
    """Magnets in one place are taken for one, of the strength of the last of them."""
    again = torch.stack([(places[i + 1 :] == places[i]).any(dim=0) for i in range(len(places))])
    return magnets(z, places, strengths.masked_fill(again, 0))


def step(codes, patches, C, D, similarity, threshold, gamma, late=False, first=False, sign=1.0):
    """One step of CSR with one thing wrong."""
    ahead = codes + sign * C.mT @ (patches - D @ codes)
    beta = average_codes(ahead if late else codes, similarity)
    if first:
        pulled = csr_threshold(codes, beta, threshold, gamma)
        return pulled + C.mT @ (patches - D @ pulled)
    return csr_threshold(ahead, beta, threshold, gamma)


WRONG = {
    "csr.cost": [
        (
            lambda u, z, b, lam, g: (u - z) ** 2 + lam * (u.abs() + g * (u - b).abs()),
            "without λ it is half the squared distance to z",
        ),
        (
            lambda u, z, b, lam, g: 0.5 * (u - z) ** 2 + lam * u.abs() + g * (u - b).abs(),
            AT_Z,
            "does λ",
        ),
        (
            lambda u, z, b, lam, g: 0.5 * (u - z) ** 2 + lam * u.abs() + lam * g * (z - b).abs(),
            ADDS_UP,
        ),
        (
            lambda u, z, b, lam, g: 0.5 * (u - z) ** 2 + lam * u + lam * g * (u - b),
            "turning all signs changes nothing",
        ),
        (
            lambda u, z, b, lam, g: (
                0.5 * (u - z) ** 2 + lam * u.abs() + lam * g * (u - b).abs()
            ).sum(),
            SHAPE,
        ),
        (
            lambda u, z, b, lam, g: 0.5 * (u - z) ** 2 + lam * (u.abs() + g * (u + b).abs()),
            AT_Z,
            "to β?",
        ),
    ],
    "csr.brute_force": [
        (
            lambda z, b, lam, g, c: table(z, b, lam, g, c).argmin(dim=0).to(z),
            "every result is one of the candidates",
        ),
        (
            lambda z, b, lam, g, c: table(z, b, lam, g, c).amin(dim=0),
            "every result is one of the candidates",
        ),
        (
            lambda z, b, lam, g, c: c[table(z, b, lam, g, c).argmax(dim=0)],
            "no candidate costs less",
            "or the largest?",
        ),
        (
            lambda z, b, lam, g, c: c[table(z, b, lam, g, c).sum(dim=1).argmin()].expand(len(z)),
            "each entry is minimised by itself",
            "over which axis",
        ),
        (
            lambda z, b, lam, g, c: c[table(z, 0 * b, lam, g, c).argmin(dim=0)],
            "no candidate costs less",
            "does β take part?",
        ),
        (lambda z, b, lam, g, c: c[cost(c, z, b, lam, g).argmin(dim=0)], RUNS),
    ],
    "csr.threshold": [
        (lambda z, b, lam, g: soft_threshold(soft_threshold(z - b, lam * g) + b, lam), STICKS),
        (
            lambda z, b, lam, g: soft_threshold(soft_threshold(z - b, lam) + b, lam * g),
            "with γ = 0 it is soft thresholding",
        ),
        (
            lambda z, b, lam, g: soft_threshold(
                soft_threshold(z - b - lam, lam * g) + b + lam, lam
            ),
            ODD,
            "or always upwards?",
        ),
        (
            lambda z, b, lam, g: torch.where(
                b == 0, soft_threshold(z, lam), csr_threshold(z, b, lam, g)
            ),
            ZERO,
        ),
        (lambda z, b, lam, g: csr_threshold(z, b.abs(), lam, g), ODD),
        (
            lambda z, b, lam, g: lam * csr_threshold(z / lam, b / lam, 1.0, g),
            FINITE,
        ),
        (lambda z, b, lam, g: csr_threshold(z, b, lam, g / 2), ZERO),
        (nearer, "with γ = 0 it is soft thresholding"),
        (
            lambda z, b, lam, g: torch.where(
                b.abs() > 0.5, csr_threshold(z, b, lam, g), soft_threshold(z, lam * (1 + g))
            ),
            MINIMISER,
        ),
        (in_place, UNCHANGED),
    ],
    "csr.many_magnets": [
        (one_by_one, TWO, "one magnet after the other"),
        (in_the_middle, TWO, "in the middle is not two"),
        (cheapest_place, NO_STRENGTH, "must u be a place?"),
        (on_a_grid, NO_STRENGTH),
        (
            lambda z, b, w: magnets(z, b, w, sort=False),
            TWO,
            "has to go along",
        ),
        (inner_signs, TWO, "which of them pulls upwards?"),
        (lambda z, b, w: magnets(z, b, w, factor=2.0), AT_ZERO, "not twice that"),
        (lambda z, b, w: magnets(z, b, w, factor=0.5), AT_ZERO, "without a factor"),
        (no_ties, "two magnets in one place are one of both strengths", "a tie"),
        (
            lambda z, b, w: soft_threshold(z, w.sum(dim=0)),
            "one magnet elsewhere is the same from there",
            "or towards 0?",
        ),
        (lambda z, b, w: csr_threshold(z, b[-1], w[0], w[-1] / w[0]), FINITE),
    ],
    "csr.average": [
        (lambda z, s: z @ s, LONER, "made to sum to 1"),
        (lambda z, s: z @ s / s.shape[-1], LONER, "how many there are"),
        (lambda z, s: z @ s / s.sum(), LONER, "one for each patch"),
        (
            lambda z, s: z @ (s / s.sum(dim=-1, keepdim=True)),
            "each patch's weights are its column of Σ",
        ),
        (
            lambda z, s: z @ s.mT / s.sum(dim=-1)[:, None],
            "each patch's weights are its column of Σ",
        ),
        (lambda z, s: z @ s.softmax(dim=-2), LONER, "no exponential"),
        (lambda z, s: z @ s[0] / s[0].sum(dim=0), "the members of a batch do not mix"),
    ],
    "csr.step": [
        (lambda *a: step(*a, late=True), "from zero, both pulls go to zero"),
        (lambda *a: step(*a, first=True), SC_STEP, "then the prox"),
        (lambda *a: step(*a, sign=-1.0), SC_STEP, "which sign"),
        (lambda z, y, C, D, s, t, g: step(z, y, D, C, s, t, g), SC_STEP, "which of C and D"),
        (
            lambda z, y, C, D, s, t, g: csr_threshold(z + C.mT @ (y - D @ z), z, t, g),
            "with a huge γ and a small λ, codes become the averages of the old ones",
        ),
        (
            lambda z, y, C, D, s, t, g: csr_threshold(
                z + C.mT @ (y - D @ z), average_codes(C.mT @ y, s), t, g
            ),
            "from zero, both pulls go to zero",
        ),
    ],
}
