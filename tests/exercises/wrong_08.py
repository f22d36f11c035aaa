"""Wrong answers to the exercises of lesson 08, each with the property that it breaks."""

import math

import torch
import torch.nn.functional as F

from lessons_lib.exercises.answer import FINITE, RUNS, SHAPE, TYPE, UNCHANGED
from lessons_lib.exercises.lesson_08 import group_attention
from lessons_lib.exercises.lesson_08 import refresh as right_refresh
from lessons_lib.ops.patches import extract_patches, overlap_add, overlap_average
from lessons_lib.ops.prox import relaxed_group_threshold
from lessons_lib.ops.similarity import gaussian_similarity, squared_distances

STEPS = "one step away exp(−1), two steps away exp(−4)"
FAR = "a softmax has weights to give, however far away all others are"
HARD = "with two groups it is the group lasso of lesson 07 on each, threshold Λ√n"
SOFT = "with Σ the identity it is soft thresholding"
QUARTER = "ν = 1/4 lies a quarter of the way from the old to the new"
KEEPS = "ν = 0 keeps Σ as it is"
AGREEING = "ν = 1, patches that agree: the similarities of these patches"
HEARS = "what one patch says of a pixel is averaged with what the others say"
MOVED = "adding one vector to all patches changes nothing"
ONE_GROUP = "with κ = 0 all patches form one group"
TURN = "a quarter turn has 1"
MULTIPLE = "f and a multiple of f have the same"
ELSEWHERE = "it is about f at z, not elsewhere"
NOT_CONVEX = "the prox of a penalty that is not convex has 0"
BY_ITSELF = "a patch that sees itself alone gets soft thresholding"


def similarity(patches, kappa, mask, weigh=True, root=False, windowed=True, half=1.0):
    """Gaussian similarity with one thing wrong."""
    points = kappa[:, None] * patches if weigh else patches
    distances = squared_distances(points, points)
    if root:
        distances = distances.sqrt()
    found = torch.exp(-half * distances)
    return found * mask if windowed else found


def rows(patches, kappa, mask):
    points = kappa[:, None] * patches
    return torch.exp(-squared_distances(points.mT, points.mT))


def no_exponential(patches, kappa, mask):
    points = kappa[:, None] * patches
    return squared_distances(points, points) * mask


def outside_the_square(patches, kappa, mask):
    gaps = (patches[..., :, None] - patches[..., None, :]).square()
    return torch.exp(-(kappa[:, None, None] * gaps).sum(dim=-3)) * mask


def first_of_batch(patches, kappa, mask):
    return gaussian_similarity(patches[:1].expand_as(patches), kappa, mask)


def threshold(codes, sigma, lam, size=torch.sqrt, axis=-2, flip=False, power=1, guard=1e-12):
    """Relaxed group thresholding with one thing wrong."""
    weights = sigma.mT if flip else sigma
    norm = (codes.square() @ weights.pow(power)).sqrt()
    total = sigma.sum(dim=axis, keepdim=True)
    if axis == -1:
        total = total.mT
    return codes * (1 - lam * size(total) / norm.clamp_min(guard)).clamp_min(0)


def divides_by_zero(codes, sigma, lam):
    norm = (codes.square() @ sigma).sqrt()
    return codes * (1 - lam * sigma.sum(dim=-2, keepdim=True).sqrt() / norm).clamp_min(0)


def keeps_negative_factors(codes, sigma, lam):
    norm = (codes.square() @ sigma).sqrt().clamp_min(1e-12)
    return codes * (1 - lam * sigma.sum(dim=-2, keepdim=True).sqrt() / norm)


def jacobian(f, z):
    return torch.autograd.functional.jacobian(f, z)


def asymmetry(f, z, half=2.0, size=torch.linalg.matrix_norm, guard=1e-300, relative=True):
    """The distance from a prox with one thing wrong."""
    slopes = jacobian(f, z)
    whole = half * size(slopes) if relative else torch.tensor(half)
    return float(size(slopes - slopes.T) / whole.clamp_min(guard))


def expanding(f, z):
    return max(float(torch.linalg.matrix_norm(jacobian(f, z), 2)) - 1, 0.0)


def off_diagonal(f, z):
    slopes = jacobian(f, z)
    return float((slopes - slopes.diagonal().diag()).norm() / slopes.norm().clamp_min(1e-300))


def turns_back(f, z):
    slopes = jacobian(f, z)
    return float((-torch.linalg.eigvalsh((slopes + slopes.T) / 2)).clamp_min(0).max())


def antisymmetric_over_symmetric(f, z):
    slopes = jacobian(f, z)
    return float((slopes - slopes.T).norm() / (slopes + slopes.T).norm().clamp_min(1e-9))


def of_the_result(f, z):
    return float((f(z) - z).norm() / z.norm())


def refresh(sigma, estimate, mean, shape, kappa, mask, nu, swap=False, add=True, subtract=True):
    """A refresh with one thing wrong."""
    size = math.isqrt(estimate.shape[1])
    image = overlap_average(estimate + mean if add else estimate, shape, size)
    agreed = extract_patches(image, size) - (mean if subtract else 0)
    new = gaussian_similarity(agreed, kappa, mask)
    return nu * sigma + (1 - nu) * new if swap else (1 - nu) * sigma + nu * new


def not_averaged(sigma, estimate, mean, shape, kappa, mask, nu):
    return (1 - nu) * sigma + nu * gaussian_similarity(estimate, kappa, mask)


def summed(sigma, estimate, mean, shape, kappa, mask, nu):
    size = math.isqrt(estimate.shape[1])
    agreed = extract_patches(overlap_add(estimate + mean, shape, size) / size**2, size) - mean
    return (1 - nu) * sigma + nu * gaussian_similarity(agreed, kappa, mask)


def no_window(sigma, estimate, mean, shape, kappa, mask, nu):
    return refresh(sigma, estimate, mean, shape, kappa, torch.ones_like(mask), nu)


def in_place(sigma, estimate, mean, shape, kappa, mask, nu):
    estimate += mean
    size = math.isqrt(estimate.shape[1])
    agreed = extract_patches(overlap_average(estimate, shape, size), size) - mean
    return (1 - nu) * sigma + nu * gaussian_similarity(agreed, kappa, mask)


def attention(
    codes,
    patches,
    kappa,
    mask,
    lam,
    scale: float | None = 1.0,
    two=2.0,
    bias=1.0,
    square=True,
    root=True,
    windowed=True,
    guard=1e-24,
):
    """The prox as attention with one thing wrong."""
    key = (kappa[:, None] * patches).mT
    extra = -bias * key.square().sum(dim=-1)[:, None, :].expand(-1, key.shape[1], -1)
    if windowed:
        extra = extra.masked_fill(~mask, -torch.inf)
    value = (codes.square() if square else codes.abs()).mT
    energy = F.scaled_dot_product_attention(two * key, key, value, attn_mask=extra, scale=scale)
    strength = energy.mT.clamp_min(guard)
    strength = strength.sqrt() if root and square else strength
    return codes * (1 - lam / strength).clamp_min(0)


WRONG = {
    "groupsc.similarity": [
        (
            lambda y, k, m: similarity(y, k, m, root=True),
            STEPS,
            "or its square?",
        ),
        (
            lambda y, k, m: similarity(y, k, m, half=0.5),
            STEPS,
            "no ½",
        ),
        (lambda y, k, m: similarity(y, k, m, half=-1.0), STEPS, "less, or more?"),
        (no_exponential, "a patch resembles itself fully"),
        (lambda y, k, m: similarity(y, k, m, weigh=False), "κ = 2 is a picture twice as bright"),
        (outside_the_square, "κ = 2 is a picture twice as bright"),
        (
            lambda y, k, m: similarity(y, k.mean().expand_as(k), m),
            "a pixel with κ = 0 does not count",
        ),
        (
            lambda y, k, m: similarity(y, k, m, windowed=False),
            "patches outside the window have similarity 0",
        ),
        (rows, SHAPE),
        (first_of_batch, "the members of a batch do not mix"),
    ],
    "groupsc.threshold": [
        (lambda z, s, lam: threshold(z, s, lam, size=lambda n: 1.0), HARD),
        (lambda z, s, lam: threshold(z, s, lam, size=lambda n: n), HARD),
        (lambda z, s, lam: threshold(z, s, lam, size=lambda n: 1 / n.sqrt()), HARD),
        (lambda z, s, lam: threshold(z, s, lam, power=2), "Σ and half of Σ give the same"),
        (
            lambda z, s, lam: threshold(z, s, lam, flip=True),
            "each patch's group is its column of Σ",
        ),
        (lambda z, s, lam: threshold(z, s, lam, axis=-1), "each patch's group is its column of Σ"),
        (lambda z, s, lam: threshold(z.mT, s, lam).mT, RUNS),
        (keeps_negative_factors, SOFT, "turned over"),
        (
            lambda z, s, lam: threshold(z, s, lam, guard=1e-2),
            "small codes are treated like large ones",
        ),
        (divides_by_zero, FINITE),
        (
            lambda z, s, lam: threshold(z, s, torch.as_tensor(lam).mean()),
            "each atom has its own threshold",
        ),
        (
            lambda z, s, lam: threshold(z, s[:1].expand_as(s), lam),
            "the members of a batch do not mix",
        ),
    ],
    "groupsc.far_from_prox": [
        (lambda f, z: asymmetry(f, z, half=1.0), TURN, "largest number possible"),
        (lambda f, z: asymmetry(f, z, relative=False, half=2 * 2**0.5), MULTIPLE, "relative to"),
        (lambda f, z: asymmetry(f, z, guard=1e-3), MULTIPLE, "relative to"),
        (
            lambda f, z: asymmetry(f, z, size=lambda m: torch.linalg.matrix_norm(m, 2)),
            "a shear has 0.41",
            "not the largest stretch",
        ),
        (
            lambda f, z: asymmetry(f, z) ** 2,
            "a shear has 0.41",
            "a root is missing",
        ),
        (
            lambda f, z: asymmetry(f, z, size=lambda m: m.abs().sum()),
            "a shear has 0.41",
            "roots of sums of squares",
        ),
        (lambda f, z: asymmetry(f, z, guard=0.0), FINITE),
        (lambda f, z: asymmetry(f, torch.ones_like(z)), ELSEWHERE, "where do you look"),
        (antisymmetric_over_symmetric, TURN),
        (expanding, NOT_CONVEX, "drive points apart"),
        (off_diagonal, "the group prox has 0", "mix the entries"),
        (turns_back, TURN, "not found out"),
        (of_the_result, "soft thresholding has 0"),
        (jacobian, TYPE),
        (lambda f, z: 0.0, TURN, "not found out"),
    ],
    "groupsc.refresh": [
        (lambda *a: refresh(*a, swap=True), KEEPS),
        (lambda *a: refresh(*a, add=False), AGREEING, "put back at the start"),
        (lambda *a: refresh(*a, subtract=False), AGREEING, "taken away at the end"),
        (
            lambda s, e, mu, shape, k, m, nu: refresh(s, e, mu, shape, torch.ones_like(k), m, nu),
            AGREEING,
            "κ, as before?",
        ),
        (summed, AGREEING, "at the border"),
        (not_averaged, HEARS),
        (no_window, AGREEING, "the window, as before?"),
        (lambda *a: right_refresh(*a[:-1], round(a[-1])), QUARTER),
        (in_place, UNCHANGED),
    ],
    "groupsc.attention": [
        (lambda *a: attention(*a, bias=0.0), MOVED, "is missing?"),
        (lambda *a: attention(*a, bias=-1.0), MOVED, "which sign"),
        (lambda *a: attention(*a, scale=None), MOVED, "1/√m"),
        (lambda *a: attention(*a, two=1.0), MOVED, "how often"),
        (
            lambda *a: attention(*a, two=1.0, bias=0.5),
            "two patches at distance d weigh exp(−d²) against 1",
        ),
        (lambda *a: attention(*a, square=False), ONE_GROUP),
        (lambda *a: attention(*a, root=False), BY_ITSELF, "is a root missing?"),
        (lambda *a: attention(*a, windowed=False), BY_ITSELF, "what does the mask hide?"),
        (
            lambda z, x, k, m, lam: group_attention(z, x, k.square(), m, lam),
            "κ = 2 is a picture twice as bright",
        ),
        (lambda *a: attention(*a, guard=0.0), FINITE),
        (lambda *a: attention(*a, guard=1e-4), "small codes are treated like large ones"),
        # The functions of exercises 1 and 2, and the same with a guard of their own.
        (
            lambda z, x, k, m, lam: relaxed_group_threshold(z, gaussian_similarity(x, k, m), lam),
            FAR,
            "a softmax never is",
        ),
        (
            lambda z, x, k, m, lam: threshold(z, gaussian_similarity(x, k, m), lam),
            FAR,
            "a softmax never is",
        ),
    ],
}
