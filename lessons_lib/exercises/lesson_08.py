"""Exercises of lesson 08: GroupSC, the group lasso with soft groups, and its form as attention."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lessons_lib.exercises.answer import Answer, Broken
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.properties import ensure_batchwise, likely_cause, same
from lessons_lib.ops import prox
from lessons_lib.ops.patches import centre, extract_patches, overlap_add, overlap_average
from lessons_lib.ops.similarity import gaussian_similarity, window_mask


def refresh(
    similarity: Tensor,
    estimate: Tensor,
    mean: Tensor,
    shape: tuple[int, int],
    kappa: Tensor,
    mask: Tensor,
    nu: float,
) -> Tensor:
    """Σ drawn towards the similarities of the current estimate.

    ``(1 − ν) Σ + ν Σ̂``, where Σ̂ compares the patches of the averaged image, each less its mean

    Args:
        similarity: Σ, ``(B, N, N)``.
        estimate: ``Wz``, centred patches ``(B, m, N)``.
        mean: of the noisy patches, ``(B, 1, N)``: what is added before the average, and taken away
            again after it.
        shape: ``(H, W)`` of the image.
        kappa: ``(m,)``.
        mask: ``(N, N)``, see `window_mask`.
        nu: ν, between 0 and 1.

    Returns:
        ``(B, N, N)``.

    Source: GroupSC Algorithm 1, lines 6, 7 and 11; "middle averaging" of Table 9.
    """
    size = math.isqrt(estimate.shape[1])
    agreed = extract_patches(overlap_average(estimate + mean, shape, size), size) - mean
    return torch.lerp(similarity, gaussian_similarity(agreed, kappa, mask), nu)


def far_from_prox(f: Callable[[Tensor], Tensor], z: Tensor) -> float:
    """How far a function is from being the proximal operator of anything, at one point.

    ``‖J − Jᵀ‖ / 2‖J‖`` with the Jacobian J of ``f`` and Frobenius norms: the share of J that is
    antisymmetric

    ``prox(z)`` is where ``⟨u, z⟩ − ½‖u‖² − Ψ(u)`` is largest, and so the gradient of that largest
    value, which is a convex function of z. A gradient's Jacobian is symmetric.

    Args:
        f: of a vector ``(n,)``, with a vector ``(n,)`` for a result.
        z: ``(n,)``, where ``f`` is smooth.

    Returns:
        Between 0 and 1. What has more than 0 is no proximal operator of any penalty, convex or not.
        What has 0 is one if its Jacobians have no negative eigenvalue either.

    Source: Gribonval, Nikolova, *A characterization of proximity operators*, 2020, Theorem 2.
    """
    slopes = torch.autograd.functional.jacobian(f, z)
    return float((slopes - slopes.T).norm() / (2 * slopes.norm()).clamp_min(1e-300))


def group_attention(
    codes: Tensor, patches: Tensor, kappa: Tensor, mask: Tensor, threshold: Tensor | float
) -> Tensor:
    """The relaxed group prox without Σ: soft thresholding against an attention average.

    ``z_ji · max(1 − Λ_j / s_ji, 0)`` with ``s_ji² = Σ_l w_li z_jl²`` and
    ``w_i = softmax_l(2⟨κx_i, κx_l⟩ − ‖κx_l‖²)``

    Args:
        codes: ``(B, K, N)``.
        patches: ``x``, ``(B, m, N)``.
        kappa: ``(m,)``.
        mask: ``(N, N)``, true where two patches see each other.
        threshold: Λ, a number or ``(K, 1)``.

    Returns:
        ``(B, K, N)``: `relaxed_group_threshold` with the `gaussian_similarity` of the patches.

    Source: GroupSC eq. 11 and 12, rewritten.
    """
    key = (kappa[:, None] * patches).mT  # (B, N, m)
    bias = -key.square().sum(dim=-1)[:, None, :]  # (B, 1, N)
    bias = bias.masked_fill(~mask, -torch.inf)  # (B, N, N)
    energy = F.scaled_dot_product_attention(
        2 * key, key, codes.square().mT, attn_mask=bias, scale=1.0
    )
    return codes * (1 - threshold / energy.mT.clamp_min(prox.EPS**2).sqrt()).clamp_min(0)


def _all(count: int) -> Tensor:
    return torch.ones(count, count, dtype=torch.bool)


SIMILARITY = Exercise("groupsc.similarity", gaussian_similarity)


@SIMILARITY.holds("a patch resembles itself fully")
def itself(answer: Answer) -> None:
    found = answer(torch.randn(1, 4, 5), torch.rand(4), _all(5))
    same(
        found.diagonal(dim1=1, dim2=2),
        1.0,
        case="diagonal of Σ of 5 patches",
        tolerance=1e-4,
        cause="what is exp(0)?",
    )


@SIMILARITY.holds("one step away exp(−1), two steps away exp(−4)")
def known_values(answer: Answer) -> None:
    found = answer(torch.tensor([[[0.0, 1.0, 2.0]]]), torch.ones(1), _all(3))[:, 0]
    steps = torch.tensor([[0.0, 1.0, 2.0]])
    mistakes = [
        ((-steps).exp(), "the distance, or its square?"),
        ((-steps.square() / 2).exp(), "eq. 12 has no ½"),
        (steps.square().exp(), "do patches that are far apart get less, or more?"),
    ]
    same(
        found,
        (-steps.square()).exp(),
        case="patches of one pixel, 0, 1 and 2, κ = 1",
        cause=likely_cause(found, mistakes),
    )


@SIMILARITY.holds(
    "κ = 2 is a picture twice as bright", cause="is κ inside the square, or outside of it?"
)
def kappa_inside(answer: Answer) -> None:
    patches = 0.5 * torch.randn(1, 3, 4)
    same(
        answer(patches, torch.full((3,), 2.0), _all(4)),
        answer(2 * patches, torch.ones(3), _all(4)),
        case="κ = 2, and patches twice as bright with κ = 1",
    )


@SIMILARITY.holds(
    "a pixel with κ = 0 does not count", cause="does κ have an entry for each pixel of a patch?"
)
def blind_pixel(answer: Answer) -> None:
    patches, kappa = torch.randn(1, 3, 4), torch.tensor([1.0, 0.0, 0.5])
    other = patches.clone()
    other[:, 1] = torch.randn(4)
    same(
        answer(other, kappa, _all(4)),
        answer(patches, kappa, _all(4)),
        case="4 patches, and the same with another second pixel, κ = [1, 0, 0.5]",
    )


@SIMILARITY.holds("patches outside the window have similarity 0", cause="is the mask used?")
def outside(answer: Answer) -> None:
    mask = window_mask((1, 4), 3)
    found = answer(0.1 * torch.randn(1, 3, 4), torch.ones(3), mask)
    same(found[:, ~mask], 0.0, case="4 patches in a row, window 3")


@SIMILARITY.holds("the members of a batch do not mix")
def batch_of_patches(answer: Answer) -> None:
    kappa, mask = torch.rand(3), _all(4)
    patches = torch.randn(2, 3, 4)
    together = answer(patches, kappa, mask)
    for i in range(2):
        same(
            together[i : i + 1],
            answer(patches[i : i + 1], kappa, mask),
            case=f"member {i} of a batch of 2, and it alone",
        )


SIMILARITY.agrees(
    lambda: [
        (torch.randn(1, 9, 12), torch.rand(9), window_mask((3, 4), 3)),
        (torch.randn(2, 4, 6), torch.randn(4), window_mask((2, 3), 5)),
        (torch.ones(1, 4, 4), torch.ones(4), _all(4)),
        (torch.zeros(1, 4, 3), torch.zeros(4), _all(3)),
    ]
)


THRESHOLD = Exercise("groupsc.threshold", prox.relaxed_group_threshold)


@THRESHOLD.holds(
    "with Σ the identity it is soft thresholding", cause="which codes does a patch alone look at?"
)
def alone(answer: Answer) -> None:
    codes = torch.randn(1, 3, 5)
    found = answer(codes, torch.eye(5)[None], 0.5)
    mistakes = [(codes * (1 - 0.5 / codes.abs()), "can a code be turned over by its threshold?")]
    same(
        found,
        prox.soft_threshold(codes, 0.5),
        case="5 patches, 3 atoms, Λ = 0.5",
        cause=likely_cause(found, mistakes),
    )


@THRESHOLD.holds(
    "with two groups it is the group lasso of lesson 07 on each, threshold Λ√n",
    cause="where does the size of the group come in, and is there a root?",
)
def hard_groups(answer: Answer) -> None:
    codes, member = torch.randn(1, 3, 5), torch.tensor([0, 1, 0, 0, 1])
    similarity = (member[:, None] == member).float()[None]
    expected = torch.empty_like(codes)
    for group in (0, 1):
        chosen = codes[..., member == group]
        shrunk = prox.group_threshold(chosen, 0.6 * chosen.shape[-1] ** 0.5)
        expected[..., member == group] = shrunk
    same(
        answer(codes, similarity, 0.6), expected, case="groups of 3 and 2 patches, 3 atoms, Λ = 0.6"
    )


@THRESHOLD.holds(
    "Σ and half of Σ give the same", cause="is the strength a sum over the group, or a mean?"
)
def homogeneous(answer: Answer) -> None:
    codes, similarity = torch.randn(1, 3, 5), torch.rand(1, 5, 5)
    same(
        answer(codes, 0.5 * similarity, 0.4),
        answer(codes, similarity, 0.4),
        case="5 patches, random Σ, Λ = 0.4",
    )


@THRESHOLD.holds(
    "each patch's group is its column of Σ", cause="which axis of Σ runs over the neighbours?"
)
def columns(answer: Answer) -> None:
    codes = torch.tensor([[[1.0, 3.0]]])
    similarity = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
    root = 5**0.5
    same(
        answer(codes, similarity, 1.0),
        torch.tensor([[[1 - 1 / root, 2.0]]]),
        case="codes [1, 3]; columns of Σ [1, 1] and [0, 1]; Λ = 1",
    )


@THRESHOLD.holds("each atom has its own threshold")
def per_atom(answer: Answer) -> None:
    codes, similarity = torch.randn(1, 2, 4), torch.rand(1, 4, 4)
    both = answer(codes, similarity, torch.tensor([[0.0], [9.0]]))
    same(
        both,
        torch.stack([codes[:, 0], torch.zeros(1, 4)], dim=1),
        case="Λ = 0 for the first atom, 9 for the second",
    )


@THRESHOLD.holds("an atom that nobody uses stays unused")
def unused(answer: Answer) -> None:
    codes = torch.randn(1, 3, 4)
    codes[:, 1] = 0
    same(
        answer(codes, torch.rand(1, 4, 4), torch.tensor([[0.3], [0.0], [0.3]]))[:, 1],
        0.0,
        case="3 atoms, all codes of the second are 0, and so is its Λ",
        cause="a division of 0 by 0?",
    )


@THRESHOLD.holds(
    "small codes are treated like large ones",
    cause="what keeps 0 / 0 away must be smaller than any code that matters",
)
def small_codes(answer: Answer) -> None:
    codes, similarity = torch.randn(1, 3, 5), torch.rand(1, 5, 5)
    same(
        answer(1e-3 * codes, similarity, 4e-4),
        1e-3 * answer(codes, similarity, 0.4),
        case="5 patches, random Σ, codes and Λ a thousandth",
        tolerance=1e-6,
    )


@THRESHOLD.holds("the members of a batch do not mix")
def batch_of_codes(answer: Answer) -> None:
    ensure_batchwise(answer, torch.randn(3, 2, 4), torch.rand(3, 4, 4), 0.2)


THRESHOLD.agrees(
    lambda: [
        (torch.randn(1, 4, 6), torch.rand(1, 6, 6), torch.rand(4, 1)),
        (torch.randn(2, 3, 5), torch.rand(2, 5, 5), 0.7),
        (torch.zeros(1, 3, 5), torch.rand(1, 5, 5), 0.0),
        (torch.ones(1, 4, 4), torch.ones(1, 4, 4), 0.3),
    ]
)


FAR = Exercise("groupsc.far_from_prox", far_from_prox)

Map = Callable[[Tensor], Tensor]


def _point(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def _linear(matrix: Tensor, name: str) -> Map:
    """A linear map that is called by a name in messages."""

    def linear(z: Tensor) -> Tensor:
        return matrix.to(z) @ z

    linear.__name__ = name
    return linear


def _growing(shape: tuple[int, int]) -> Tensor:
    """A matrix whose products ``⟨z, Mz⟩`` are positive, but which has both parts."""
    square, turning = _normal(*shape), _normal(*shape)
    return square @ square.T + turning - turning.T


def _soft_groups(z: Tensor) -> Tensor:
    places = torch.arange(len(z), dtype=z.dtype)
    near = torch.exp(-0.3 * (places[:, None] - places).square())
    return prox.relaxed_group_threshold(z[None, None], near[None], 0.4)[0, 0]


@FAR.holds("soft thresholding has 0")
def soft_has_none(answer: Answer) -> None:
    def soft(z: Tensor) -> Tensor:
        return prox.soft_threshold(z, 0.5)

    case = "soft thresholding at 0.5, z = [2, 0.3, −1]"
    same(answer(soft, _point(2.0, 0.3, -1.0)), 0.0, case=case)


@FAR.holds("the group prox has 0", cause="may a prox mix the entries of z?")
def group_has_none(answer: Answer) -> None:
    def group(z: Tensor) -> Tensor:
        return prox.group_threshold(z, 0.5)

    same(answer(group, _point(2.0, 0.3, -1.0)), 0.0, case="group prox, 0.5, z = [2, 0.3, −1]")


@FAR.holds(
    "the prox of a penalty that is not convex has 0",
    cause="such a prox may drive points apart: is that what you measure?",
)
def not_convex_has_none(answer: Answer) -> None:
    case = "f(z) = 3z, the prox of −‖u‖²/3"
    same(answer(_linear(3 * torch.eye(3), "3z"), _normal(3)), 0.0, case=case)
    rooted = _normal(4, 4)
    same(
        answer(_linear(rooted @ rooted.T, "a quadratic penalty's prox"), _normal(4)),
        0.0,
        case="f(z) = Mz, the prox of ½⟨u, M⁻¹u⟩ − ½‖u‖²",
    )


@FAR.holds("a function that gives 0 all around has 0")
def nothing_left(answer: Answer) -> None:
    def soft(z: Tensor) -> Tensor:
        return prox.soft_threshold(z, 0.5)

    case = "soft thresholding at 0.5, z = [0.1, 0.2]"
    same(answer(soft, _point(0.1, 0.2)), 0.0, case=case, cause="a division of 0 by 0?")


@FAR.holds("a quarter turn has 1", cause="what is as far from a prox as can be is to have 1")
def quarter_turn(answer: Answer) -> None:
    found = answer(_linear(_point(0.0, -1.0, 1.0, 0.0).view(2, 2), "a quarter turn"), _normal(2))
    mistakes = [
        (0.0, "which function is not found out?"),
        (2.0, "the largest number possible is to be 1"),
        (1 / math.sqrt(2), "relative to what? The largest number possible is to be 1"),
    ]
    same(found, 1.0, case="(z₁, z₂) ↦ (−z₂, z₁)", cause=likely_cause(float(found), mistakes))


@FAR.holds("f and a multiple of f have the same", cause="relative to what is your number?")
def relative(answer: Answer) -> None:
    matrix, z = _growing((3, 3)), _normal(3)
    once = answer(_linear(matrix, "a linear map"), z)
    for factor in (3.0, 1e-6):
        found = answer(_linear(factor * matrix, "its multiple"), z)
        same(found, once, case=f"a linear map of 3 numbers, and {factor:g} times this map")


@FAR.holds("a shear has 0.41", cause="are sizes roots of sums of squares?")
def shear(answer: Answer) -> None:
    found = answer(_linear(_point(1.0, 1.0, 0.0, 1.0).view(2, 2), "a shear"), _normal(2))
    golden = (1 + math.sqrt(5)) / 2
    mistakes = [
        (1 / (2 * golden), "sizes are roots of sums of squares, not the largest stretch"),
        (1 / 6, "a root is missing"),
    ]
    same(
        found,
        1 / math.sqrt(6),
        case="(z₁, z₂) ↦ (z₁ + z₂, z₂)",
        cause=likely_cause(float(found), mistakes),
    )


@FAR.holds("another orthonormal basis changes nothing", cause="are sizes roots of sums of squares?")
def other_basis(answer: Answer) -> None:
    matrix, z = _growing((4, 4)), _normal(4)
    turned = torch.linalg.qr(_normal(4, 4)).Q
    same(
        answer(_linear(turned @ matrix @ turned.T, "the map in another basis"), turned @ z),
        answer(_linear(matrix, "a linear map"), z),
        case="a linear map of 4 numbers, and the same in another basis",
    )


@FAR.holds("it is about f at z, not elsewhere", cause="where do you look at f?")
def at_the_point(answer: Answer) -> None:
    def bent(z: Tensor) -> Tensor:
        return torch.stack([z[0], z[0].square() / 2 + z[1]])

    # Slopes 1, 0 and z₁, 1.
    for first in (0.0, 1.0, 2.0):
        same(
            answer(bent, _point(first, 0.5)),
            first / math.sqrt(2 * (2 + first**2)),
            case=f"(z₁, z₂) ↦ (z₁, z₁²/2 + z₂) at z = [{first:g}, 0.5]",
        )


FAR.agrees(
    lambda: [
        (_linear(_growing((5, 5)), "a linear map of 5 numbers"), _normal(5)),
        (_linear(_growing((1, 1)), "a linear map of 1 number"), _normal(1)),
        (_soft_groups, _point(3.0, 1.5, 1.0, -2.0)),
    ],
    tolerance=1e-4,
)


REFRESH = Exercise("groupsc.refresh", refresh)


Case = tuple[Tensor, Tensor, Tensor, tuple[int, int], Tensor, Tensor]


def _image(size: int = 3, shape: tuple[int, int] = (6, 7)) -> Case:
    """Σ, centred patches of an image, their means, its shape, κ and a window."""
    patches, mean = centre(extract_patches(torch.rand(1, 1, *shape), size))
    grid = (shape[0] - size + 1, shape[1] - size + 1)
    mask = window_mask(grid, 5)
    similarity = torch.rand(1, *mask.shape) * mask
    return similarity, patches, mean, shape, torch.rand(size**2) + 0.5, mask


@REFRESH.holds("ν = 0 keeps Σ as it is", cause="which of the two does ν weigh?")
def keeps(answer: Answer) -> None:
    similarity, *rest = _image()
    same(answer(similarity, *rest, 0.0), similarity, case="a picture of 6 × 7 pixels, ν = 0")


@REFRESH.holds("ν = 1, patches that agree: the similarities of these patches")
def replaces(answer: Answer) -> None:
    similarity, patches, mean, shape, kappa, mask = _image()
    found = answer(similarity, patches, mean, shape, kappa, mask, 1.0)
    summed = extract_patches(overlap_add(patches + mean, shape, 3) / 9, 3) - mean
    without = extract_patches(overlap_average(patches, shape, 3), 3)
    mistakes = [
        (gaussian_similarity(patches, torch.ones_like(kappa), mask), "κ, as before?"),
        (gaussian_similarity(patches, kappa), "the window, as before?"),
        (gaussian_similarity(summed, kappa, mask), "how many patches hold a pixel at the border?"),
        (gaussian_similarity(patches + mean, kappa, mask), "is the mean taken away at the end?"),
        (gaussian_similarity(without - mean, kappa, mask), "is the mean put back at the start?"),
        (gaussian_similarity(without, kappa, mask), "where do the means come in?"),
    ]
    same(
        found,
        gaussian_similarity(patches, kappa, mask),
        case="the patches of one picture, ν = 1",
        cause=likely_cause(found, mistakes),
        tolerance=1e-4,
    )


@REFRESH.holds(
    "what one patch says of a pixel is averaged with what the others say",
    cause="is Σ̂ taken between the estimates themselves, or between patches of their average?",
)
def hears_neighbours(answer: Answer) -> None:
    similarity, patches, mean, shape, kappa, mask = _image()
    estimate = patches + 0.3 * torch.randn(patches.shape)
    agreed = extract_patches(overlap_average(estimate + mean, shape, 3), 3) - mean
    same(
        answer(similarity, estimate, mean, shape, kappa, mask, 1.0),
        gaussian_similarity(agreed, kappa, mask),
        case="patches that disagree, ν = 1",
        tolerance=1e-4,
    )


@REFRESH.holds("ν = 1/4 lies a quarter of the way from the old to the new")
def between(answer: Answer) -> None:
    similarity, estimate, *rest = _image()
    estimate = estimate + 0.1 * torch.randn(estimate.shape)
    new = answer(similarity, estimate, *rest, 1.0)
    same(
        answer(similarity, estimate, *rest, 0.25),
        0.75 * similarity + 0.25 * new,
        case="ν = 0, 1/4 and 1",
        tolerance=1e-4,
    )


REFRESH.agrees(lambda: [(*_image(2, (5, 5)), 0.6), (*_image(3, (7, 5)), 0.3)], tolerance=1e-4)


ATTENTION = Exercise("groupsc.attention", group_attention)


def _attended(
    codes: Tensor, patches: Tensor, threshold: float, two: float, bias: float, scale: float
) -> Tensor:
    """The prox with the weights ``softmax_l(scale · two · ⟨x_i, x_l⟩ − bias · ‖x_l‖²)``."""
    products = scale * two * patches.mT @ patches
    weights = (products - bias * patches.square().sum(1)[:, None]).softmax(-1)
    return codes * (1 - threshold / (codes.square() @ weights.mT).sqrt()).clamp_min(0)


@ATTENTION.holds("a patch that sees itself alone gets soft thresholding")
def sees_itself(answer: Answer) -> None:
    codes = torch.randn(1, 3, 5)
    found = answer(codes, torch.randn(1, 4, 5), torch.ones(4), torch.eye(5, dtype=torch.bool), 0.5)
    mistakes = [(codes * (1 - 0.5 / codes.square()).clamp_min(0), "is a root missing?")]
    same(
        found,
        prox.soft_threshold(codes, 0.5),
        case="5 patches, the mask is the identity, Λ = 0.5",
        cause=likely_cause(found, mistakes) or "what does the mask hide?",
    )


@ATTENTION.holds(
    "with κ = 0 all patches form one group",
    cause="is the average one of squares, and the root taken of it?",
)
def everybody(answer: Answer) -> None:
    codes = torch.randn(1, 3, 5)
    same(
        answer(codes, torch.randn(1, 4, 5), torch.zeros(4), _all(5), 0.3),
        prox.group_threshold(codes, 0.3 * 5**0.5),
        case="5 patches, κ = 0, Λ = 0.3",
    )


@ATTENTION.holds("adding one vector to all patches changes nothing")
def moved(answer: Answer) -> None:
    codes, patches, shift = torch.randn(1, 3, 6), torch.randn(1, 9, 6), torch.randn(9, 1)
    found = answer(codes, patches + shift, torch.ones(9), _all(6), 0.4)
    mistakes = [
        (_attended(codes, patches + shift, 0.4, *wrong), words)
        for wrong, words in [
            ((2.0, 0.0, 1.0), "which term of ‖κx_i − κx_l‖² is missing?"),
            ((2.0, 1.0, 1 / 3), "is there a scale of 1/√m in your softmax?"),
            ((1.0, 1.0, 1.0), "how often does the product come in the square of a difference?"),
            ((2.0, -1.0, 1.0), "which sign has the bias of a key?"),
        ]
    ]
    same(
        found,
        answer(codes, patches, torch.ones(9), _all(6), 0.4),
        case="6 patches, and the same 6 all moved, κ = 1",
        tolerance=1e-4,
        cause=likely_cause(found, mistakes) or "only differences of patches count",
    )


@ATTENTION.holds(
    "two patches at distance d weigh exp(−d²) against 1",
    cause="is there a scale of 1/√m in your softmax, or is a factor 2 missing?",
)
def weight_of_two(answer: Answer) -> None:
    codes, patches = torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[0.2, 1.0], [0.0, 0.6]]])
    weight = 1 / (1 + math.exp(-1.0))  # the distance is 1
    expected = 3 - 0.5 * 3 / (3 * weight**0.5)
    same(
        answer(codes, patches, torch.ones(2), _all(2), 0.5),
        torch.tensor([[[expected, 0.0]]]),
        case="two patches at distance 1, codes [3, 0], Λ = 0.5",
    )


@ATTENTION.holds(
    "κ = 2 is a picture twice as bright", cause="κ multiplies a patch: query and key, or one alone?"
)
def brighter(answer: Answer) -> None:
    codes, patches = torch.randn(1, 3, 5), 0.5 * torch.randn(1, 4, 5)
    same(
        answer(codes, patches, torch.full((4,), 2.0), _all(5), 0.4),
        answer(codes, 2 * patches, torch.ones(4), _all(5), 0.4),
        case="5 patches with κ = 2, and patches twice as bright with κ = 1",
        tolerance=1e-4,
    )


@ATTENTION.holds("an atom that nobody uses stays unused", cause="a division of 0 by 0?")
def unused_atom(answer: Answer) -> None:
    codes = torch.randn(1, 3, 4)
    codes[:, 1] = 0
    threshold = torch.tensor([[0.3], [0.0], [0.3]])
    same(
        answer(codes, torch.randn(1, 4, 4), torch.rand(4), _all(4), threshold)[:, 1],
        0.0,
        case="3 atoms, all codes of the second are 0, and so is its Λ",
    )


@ATTENTION.holds(
    "small codes are treated like large ones",
    cause="what keeps 0 / 0 away must be smaller than any code that matters",
)
def small_attended(answer: Answer) -> None:
    codes, patches, kappa = torch.randn(1, 3, 5), torch.randn(1, 4, 5), torch.rand(4)
    same(
        answer(1e-3 * codes, patches, kappa, _all(5), 4e-4),
        1e-3 * answer(codes, patches, kappa, _all(5), 0.4),
        case="5 patches, codes and Λ a thousandth",
        tolerance=1e-6,
    )


@ATTENTION.holds(
    "is the prox with a Gaussian Σ", cause="eq. 11 with w in the place of Σ divided by its sum"
)
def is_the_prox(answer: Answer) -> None:
    codes, patches, kappa = torch.randn(1, 3, 12), torch.randn(1, 4, 12), torch.rand(4)
    mask, threshold = window_mask((3, 4), 3), torch.rand(3, 1)
    expected = prox.relaxed_group_threshold(
        codes, gaussian_similarity(patches, kappa, mask), threshold
    )
    found = answer(codes, patches, kappa, mask, threshold)
    same(found, expected, case="12 patches, window 3", tolerance=1e-4)


@ATTENTION.holds("a softmax has weights to give, however far away all others are")
def far_away(answer: Answer) -> None:
    codes = torch.tensor([[[3.0, 2.0, 4.0]]])
    patches = torch.tensor([[[0.0, 16.0, 40.0]]])
    case = "patches of one pixel, 0, 16 and 40, none sees itself, codes [3, 2, 4], Λ = 1"
    cause = "is Σ, or its sum, computed on the way? exp(−256) is 0 in float32; a softmax never is"
    try:
        found = answer(codes, patches, torch.ones(1), ~torch.eye(3, dtype=torch.bool), 1.0)
    except Broken as broken:
        # What divides by a sum of zeros is not finite: an answer with a cause of its own.
        raise Broken(case, broken.expected, broken.actual, cause) from None
    # Each patch listens to the nearest other one, whose code is 2, 3 and 2.
    same(
        found,
        torch.tensor([[[3 * 0.5, 2 * 2 / 3, 4 * 0.5]]]),
        case=case,
        tolerance=1e-4,
        cause=cause,
    )


ATTENTION.agrees(
    lambda: [
        (torch.randn(2, 3, 6), torch.randn(2, 4, 6), torch.rand(4), window_mask((2, 3), 3), 0.5),
        (torch.randn(1, 5, 4), torch.randn(1, 2, 4), torch.rand(2), _all(4), torch.rand(5, 1)),
    ],
    tolerance=1e-4,
)
