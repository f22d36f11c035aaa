"""Exercises of lesson 09: CSR, the proximal operator that pulls to zero and to a guess."""

import torch
from torch import Tensor

from lessons_lib.exercises.answer import Answer
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.properties import (
    ensure,
    ensure_batchwise,
    ensure_minimal,
    likely_cause,
    same,
)
from lessons_lib.ops import prox
from lessons_lib.ops.dictionary import dct_dictionary, normalize_atoms


def cost(u: Tensor, z: Tensor, beta: Tensor, lam: float, gamma: float) -> Tensor:
    """What the proximal operator of CSR minimises, for each entry alone.

    ``½(u − z)² + λ|u| + λγ|u − β|``

    Args:
        u: candidates; all tensors broadcast against each other.
        z: where we stand.
        beta: the guesses.
        lam: λ, not negative.
        gamma: γ, not negative.

    Returns:
        One number per entry; `lessons_lib.ops.prox.csr_penalty` sums the last two terms.

    Source: GroupSC eq. 8 and 15.
    """
    return 0.5 * (u - z).square() + lam * (u.abs() + gamma * (u - beta).abs())


def brute_force(z: Tensor, beta: Tensor, lam: float, gamma: float, candidates: Tensor) -> Tensor:
    """For each entry the candidate of smallest cost, ``(N,), (N,), (G,)`` to ``(N,)``."""
    table = cost(candidates[:, None], z, beta, lam, gamma)  # (G, N)
    return candidates[table.argmin(dim=0)]


def many_magnets(z: Tensor, places: Tensor, strengths: Tensor) -> Tensor:
    """Proximal operator of any number of weighted distances, each entry by itself.

    ``argmin over u of ½(u − z)² + Σ_l w_l |u − β_l|``

    Between two neighbouring places the penalty has one slope s, and the minimiser can only be
    ``z − s``; or it is a place. Of these ``2L + 1`` numbers it is the median.

    Args:
        z: where the gradient step has led, any shape.
        places: β, ``(L, ...)``, in any order.
        strengths: w, of the same shape, not negative.

    Returns:
        As ``z``.

    Source: Li, Osher, *A new median formula with applications to PDE based denoising*, 2009.
    """
    places, order = places.sort(dim=0)
    passed = strengths.gather(0, order).cumsum(dim=0)
    slopes = 2 * torch.cat([torch.zeros_like(passed[:1]), passed]) - passed[-1]
    return torch.cat([places, z - slopes]).median(dim=0).values


def average_codes(codes: Tensor, similarity: Tensor) -> Tensor:
    """β: for each patch the average code of the patches that resemble it.

    ``β_i = Σ_l Σ_li α_l / Σ_l Σ_li``

    Args:
        codes: ``(B, K, N)``.
        similarity: ``(B, N, N)``, non-negative; column ``i`` weighs the patches for patch ``i``.

    Returns:
        ``(B, K, N)``.

    Source: GroupSC eq. 16.
    """
    return codes @ (similarity / similarity.sum(dim=-2, keepdim=True))


def csr_step(
    codes: Tensor,
    patches: Tensor,
    C: Tensor,
    D: Tensor,
    similarity: Tensor,
    threshold: Tensor,
    gamma: Tensor,
) -> Tensor:
    """One step of trainable CSR, from codes ``(B, K, N)`` to codes ``(B, K, N)``.

    ``α ← prox of Λ(‖·‖₁ + γ‖· − β‖₁) at α + Cᵀ(y − Dα)``

    Args:
        codes: ``α``.
        patches: ``y``, ``(B, m, N)``, centred.
        C: ``(m, K)``.
        D: ``(m, K)``.
        similarity: ``(B, N, N)``, see `average_codes`.
        threshold: Λ, ``(K, 1)``.
        gamma: γ, one number.

    Source: GroupSC Algorithm 1, line 9, with Proposition 1.
    """
    ahead = codes + C.mT @ (patches - D @ codes)
    return prox.csr_threshold(ahead, average_codes(codes, similarity), threshold, gamma)


COST = Exercise("csr.cost", cost)


@COST.holds("at u = z only the pulls are left")
def at_z(answer: Answer) -> None:
    z = torch.tensor([2.0])
    found = answer(z, z, torch.tensor([1.0]), 0.5, 0.4)
    mistakes = [
        (1.4, "does λ multiply both absolute values?"),
        (1.6, "is it the distance to β?"),
        (1.0, "where is the second magnet?"),
        (0.9, "does γ multiply the second absolute value alone?"),
        (0.48, "does γ multiply the second absolute value alone?"),
    ]
    same(
        found,
        torch.tensor([0.5 * 2 + 0.5 * 0.4 * 1]),
        case="u = z = 2, β = 1, λ = 0.5, γ = 0.4",
        cause=likely_cause(found, mistakes)
        or "what does each of the three terms cost where u = z?",
    )


@COST.holds("without λ it is half the squared distance to z", cause="half the square of u − z?")
def no_penalty(answer: Answer) -> None:
    u, z, beta = torch.randn(3, 5)
    same(answer(u, z, beta, 0.0, 2.0), 0.5 * (u - z) ** 2, case="5 random numbers, λ = 0, γ = 2")


@COST.holds("without γ the guess does not matter", cause="what does γ multiply?")
def no_guess(answer: Answer) -> None:
    u, z, beta = torch.randn(3, 5)
    same(
        answer(u, z, beta, 0.7, 0.0),
        answer(u, z, -beta, 0.7, 0.0),
        case="5 random numbers, λ = 0.7, γ = 0, and the same with −β",
    )


@COST.holds(
    "turning all signs changes nothing", cause="absolute values, or the numbers themselves?"
)
def symmetric(answer: Answer) -> None:
    u, z, beta = torch.randn(3, 5)
    same(
        answer(-u, -z, -beta, 0.7, 0.6),
        answer(u, z, beta, 0.7, 0.6),
        case="5 random numbers, and their negatives",
    )


@COST.holds(
    "entry by entry, the two pulls add up to the penalty of the library",
    cause="one number per entry, or their sum?",
)
def adds_up(answer: Answer) -> None:
    u, z, beta = torch.randn(3, 5)
    same(
        answer(u, z, beta, 0.7, 0.6).sum(),
        (u - z).square().sum() / 2 + prox.csr_penalty(u, beta, 0.7, 0.6),
        case="5 random numbers, λ = 0.7, γ = 0.6",
    )


COST.agrees(
    lambda: [
        (torch.randn(4), torch.randn(4), torch.randn(4), 0.3, 2.0),
        (torch.randn(6, 1), torch.randn(4), torch.randn(4), 1.0, 0.5),
        (torch.randn(5, 1, 1), torch.randn(2, 3), torch.randn(2, 3), 0.8, 0.0),
        (torch.zeros(3), torch.zeros(3), torch.zeros(3), 0.8, 0.5),
    ]
)


BRUTE = Exercise("csr.brute_force", brute_force)


@BRUTE.holds("every result is one of the candidates", cause="the best candidate, or its position?")
def a_candidate(answer: Answer) -> None:
    candidates = torch.tensor([-1.7, -0.4, 0.3, 1.2])
    found = answer(torch.randn(6), torch.randn(6), 0.3, 0.5, candidates)
    known = torch.isclose(found[:, None], candidates).any(dim=1)
    ensure(
        bool(known.all()),
        case="candidates [-1.7, -0.4, 0.3, 1.2], 6 random entries",
        expected="one of the candidates for each",
        actual=f"{found[~known][0].item():.4g}" if not known.all() else "",
    )


@BRUTE.holds("each entry is minimised by itself", cause="over which axis is the minimum taken?")
def entries_alone(answer: Answer) -> None:
    z, beta, candidates = 2 * torch.randn(5), torch.randn(5), torch.linspace(-4, 4, 41)
    together = answer(z, beta, 0.4, 0.5, candidates)
    for i in range(5):
        alone = answer(z[i : i + 1], beta[i : i + 1], 0.4, 0.5, candidates)
        same(together[i : i + 1], alone, case=f"entry {i} of 5, and it alone")


@BRUTE.holds("no candidate costs less")
def none_is_cheaper(answer: Answer) -> None:
    z, beta, candidates = 2 * torch.randn(6), torch.randn(6), torch.linspace(-4, 4, 33)
    found = answer(z, beta, 0.5, 0.6, candidates)
    costs = cost(candidates[:, None], z, beta, 0.5, 0.6)
    mistakes = [
        (candidates[costs.argmax(dim=0)], "the smallest cost, or the largest?"),
        (brute_force(z, 0 * beta, 0.5, 0.6, candidates), "does β take part?"),
        (candidates[(candidates[:, None] - z).abs().argmin(dim=0)], "nearest, or cheapest?"),
    ]
    same(
        cost(found, z, beta, 0.5, 0.6),
        costs.amin(dim=0),
        case="costs of 6 random entries, 33 candidates, λ = 0.5, γ = 0.6",
        cause=likely_cause(found, mistakes)
        or "is each z compared with its own β, and is nothing left out of the cost?",
    )


@BRUTE.holds("with γ = 0 it comes as close to soft thresholding as the candidates allow")
def soft(answer: Answer) -> None:
    z = 2 * torch.randn(7)
    found = answer(z, torch.zeros(7), 0.8, 0.0, torch.linspace(-6, 6, 1201))
    worst = (found - prox.soft_threshold(z, 0.8)).abs().max().item()
    ensure(
        worst <= 0.0051,
        case="7 random entries, λ = 0.8, candidates 0.01 apart",
        expected="at most half that distance from S_0.8(z)",
        actual=f"{worst:.4g}",
    )


BRUTE.agrees(
    lambda: [
        (2 * torch.randn(9), torch.randn(9), 0.5, 0.3, torch.linspace(-5, 5, 101)),
        (2 * torch.randn(4), torch.randn(4), 0.2, 2.0, torch.linspace(-5, 5, 57)),
    ]
)


THRESHOLD = Exercise("csr.threshold", prox.csr_threshold)


@THRESHOLD.holds("with γ = 0 it is soft thresholding", cause="which of the two thresholds is γ's?")
def no_pull(answer: Answer) -> None:
    z, beta = 2 * torch.randn(2, 8)
    same(
        answer(z, beta, 0.7, 0.0),
        prox.soft_threshold(z, 0.7),
        case="8 random numbers, λ = 0.7, γ = 0",
    )


@THRESHOLD.holds(
    "with β = 0 both pulls go to zero, and their strengths add",
    cause="how wide is the dead zone if both pull the same way?",
)
def one_magnet(answer: Answer) -> None:
    z = torch.tensor([-3.0, -1.2, -0.5, 0.0, 0.5, 1.2, 3.0])
    same(
        answer(z, torch.zeros(7), 0.8, 0.5),
        prox.soft_threshold(z, 0.8 * 1.5),
        case="z from −3 to 3, β = 0, λ = 0.8, γ = 0.5",
    )


@THRESHOLD.holds(
    "a strong pull moves all that is near to β exactly",
    cause="the outer threshold takes λ away: where must the inner one aim?",
)
def sticks(answer: Answer) -> None:
    beta = torch.tensor([2.0, 1.4, 0.9])
    same(
        answer(beta + 0.3, beta, 0.5, 3.0),
        beta,
        case="β = [2, 1.4, 0.9], z = β + 0.3, λ = 0.5, γ = 3",
    )


@THRESHOLD.holds("turning the signs of z and β turns the sign of the result")
def odd(answer: Answer) -> None:
    z, beta = 2 * torch.randn(2, 12)
    same(
        answer(-z, -beta, 0.6, 0.7),
        -answer(z, beta, 0.6, 0.7),
        case="12 random numbers, λ = 0.6, γ = 0.7",
        cause="is the shift towards the sign of β, or always upwards?",
    )


@THRESHOLD.holds("λ = 0 changes nothing", cause="both thresholds are then 0")
def no_threshold(answer: Answer) -> None:
    z, beta = 2 * torch.randn(2, 8)
    beta[:3] = 0
    same(answer(z, beta, 0.0, 0.7), z, case="8 random numbers, λ = 0, γ = 0.7")


@THRESHOLD.holds("is the minimiser of the cost")
def optimal(answer: Answer) -> None:
    for gamma in (0.3, 1.0, 2.5):
        z, beta = 2 * torch.randn(2, 8)

        def objective(
            u: Tensor, z: Tensor = z, beta: Tensor = beta, gamma: float = gamma
        ) -> Tensor:
            return (u - z).square().sum() / 2 + prox.csr_penalty(u, beta, 0.7, gamma)

        ensure_minimal(
            objective, answer(z, beta, 0.7, gamma), case=f"8 random numbers, λ = 0.7, γ = {gamma}"
        )


THRESHOLD.agrees(
    lambda: [
        (torch.randn(2, 5, 7), torch.randn(2, 5, 7), 0.4, 0.5),
        (3 * torch.randn(40), torch.randn(40), 0.9, 1.5),
        (torch.randn(4, 6), torch.randn(4, 6), torch.rand(4, 1), torch.tensor(0.8)),
        (torch.zeros(3, 3), torch.zeros(3, 3), 0.4, 0.5),
        (torch.ones(3, 3), torch.ones(3, 3), 0.4, 2.0),
    ]
)


MANY = Exercise("csr.many_magnets", many_magnets)


def _magnets(count: int, *shape: int) -> tuple[Tensor, Tensor, Tensor]:
    """``z``, places and strengths, all random, in float64."""
    z, places = (2 * torch.randn(*size, dtype=torch.float64) for size in (shape, (count, *shape)))
    return z, places, torch.rand(count, *shape, dtype=torch.float64)


@MANY.holds("magnets without strength do nothing", cause="must u be a place?")
def no_strength(answer: Answer) -> None:
    z, places, strengths = _magnets(3, 6)
    same(answer(z, places, 0 * strengths), z, case="6 random numbers, 3 magnets of strength 0")


@MANY.holds("one magnet at 0 is soft thresholding, exactly", cause="a formula, or a grid?")
def one_at_zero(answer: Answer) -> None:
    z = torch.tensor([-3.0, -0.7, -0.2, 0.0, 0.5, 0.71, 3.0])
    found = answer(z, torch.zeros(1, 7), torch.full((1, 7), 0.7))
    mistakes = [
        (prox.soft_threshold(z, 1.4), "the slope of a magnet is its strength, not twice that"),
        (prox.soft_threshold(z, 0.35), "the slope of ½(u − z)² is u − z, without a factor"),
        (torch.zeros(7), "must u be a place?"),
    ]
    same(
        found,
        prox.soft_threshold(z, 0.7),
        case="z from −3 to 3, a magnet of 0.7 at 0",
        cause=likely_cause(found, mistakes),
    )


@MANY.holds("one magnet elsewhere is the same from there", cause="towards its place, or towards 0?")
def one_elsewhere(answer: Answer) -> None:
    z = torch.tensor([-3.0, 0.2, 0.9, 1.5, 4.0])
    place = torch.tensor([[0.5, 0.5, 1.0, -2.0, 3.8]])
    same(
        answer(z, place, torch.full((1, 5), 0.7)),
        place[0] + prox.soft_threshold(z - place[0], 0.7),
        case="5 numbers, each with one magnet of 0.7",
    )


@MANY.holds("two magnets, one of them at 0, are Proposition 1")
def two_magnets(answer: Answer) -> None:
    z, places, _ = _magnets(2, 40)
    places[0] = 0
    strengths = torch.tensor([[0.6], [0.9]], dtype=z.dtype).expand(2, 40)
    found = answer(z, places, strengths)
    ends = [places[0], places[1], z - 1.5, z + 1.5, z - 0.3 * places[1].sign()]
    backwards = torch.stack(ends).median(dim=0).values
    unsorted = torch.stack([*ends[:-1], z + 0.3]).median(dim=0).values
    chain = places[1] + prox.soft_threshold(prox.soft_threshold(z, 0.6) - places[1], 0.9)
    other = prox.soft_threshold(places[1] + prox.soft_threshold(z - places[1], 0.9), 0.6)
    mean = 0.6 * places[1]
    one_by_one = "one magnet after the other: does the first pull to where the second wants it?"
    mistakes = [
        (backwards, "between two magnets, which of them pulls upwards?"),
        (unsorted, "where a place goes, its strength has to go along"),
        (chain, one_by_one),
        (other, one_by_one),
        (
            mean + prox.soft_threshold(z - mean, 1.5),
            "one magnet in the middle is not two: where are the kinks of the cost?",
        ),
    ]
    same(
        found,
        prox.csr_threshold(z, places[1], 0.6, 1.5),
        case="40 random numbers, magnets of 0.6 at 0 and of 0.9 at random places",
        cause=likely_cause(found, mistakes)
        or "what is the slope of the penalty below, between and above the two?",
    )


@MANY.holds(
    "the order of the magnets does not matter",
    cause="where a place goes, its strength has to go along",
)
def order_of_magnets(answer: Answer) -> None:
    z, places, strengths = _magnets(4, 5)
    same(
        answer(z, places[[2, 0, 3, 1]], strengths[[2, 0, 3, 1]]),
        answer(z, places.sort(dim=0)[0], strengths.gather(0, places.sort(dim=0)[1])),
        case="4 magnets in another order, and from the lowest to the highest",
    )


@MANY.holds("two magnets in one place are one of both strengths", cause="does a tie get lost?")
def one_place(answer: Answer) -> None:
    z, places, strengths = _magnets(3, 8)
    z[:3] = places[0, :3]
    twice = torch.cat([places, places])
    same(
        answer(z, twice, torch.cat([strengths, 0.5 * strengths])),
        answer(z, places, 1.5 * strengths),
        case="3 magnets, and the same 3 as pairs",
    )


@MANY.holds("turning all signs turns the sign of the result")
def many_odd(answer: Answer) -> None:
    z, places, strengths = _magnets(4, 9)
    same(
        answer(-z, -places, strengths),
        -answer(z, places, strengths),
        case="9 random numbers, 4 magnets, and their negatives",
    )


@MANY.holds("moving everything moves the result", cause="is 0 a special place?")
def moved(answer: Answer) -> None:
    z, places, strengths = _magnets(4, 9)
    same(
        answer(z + 3, places + 3, strengths),
        answer(z, places, strengths) + 3,
        case="9 random numbers, 4 magnets, and all of them plus 3",
    )


@MANY.holds("is the minimiser of the cost")
def many_optimal(answer: Answer) -> None:
    for count in (1, 2, 3, 6):
        z, places, strengths = _magnets(count, 7)
        strengths[0, :3] = 0

        def objective(
            u: Tensor, z: Tensor = z, places: Tensor = places, strengths: Tensor = strengths
        ) -> Tensor:
            return (u - z).square().sum() / 2 + (strengths * (u - places).abs()).sum()

        found = answer(z, places, strengths)
        ensure_minimal(objective, found, case=f"7 random numbers, L = {count}")
        for place in places:
            cheaper = (place - z).square() / 2 + (strengths * (place - places).abs()).sum(dim=0)
            own = (found - z).square() / 2 + (strengths * (found - places).abs()).sum(dim=0)
            ensure(
                bool((own <= cheaper + 1e-6).all()),
                case=f"7 random numbers, L = {count}",
                expected="no magnet is a cheaper place",
                actual=f"one is, by {(own - cheaper).max().item():.4g}",
            )


MANY.agrees(
    lambda: [
        _magnets(5, 3, 4),
        _magnets(2, 2, 3, 4),
        (torch.randn(6), torch.randn(3, 6), torch.rand(3, 6)),
        (torch.zeros(4), torch.zeros(3, 4), torch.ones(3, 4)),
        (torch.ones(2, 3), torch.ones(1, 2, 3), torch.zeros(1, 2, 3)),
    ]
)


AVERAGE = Exercise("csr.average", average_codes)


@AVERAGE.holds("a patch that resembles no other keeps its own code")
def loner(answer: Answer) -> None:
    codes, similarity = torch.randn(1, 3, 4), 0.3 * torch.eye(4)[None]
    found = answer(codes, similarity)
    mistakes = [
        (codes @ similarity.softmax(dim=-2), "Σ holds similarities: it needs no exponential"),
        (codes @ similarity / 4, "a sum of similarities, or how many there are?"),
        (codes @ similarity / similarity.sum(), "the sum of all of Σ, or one for each patch?"),
    ]
    same(
        found,
        codes,
        case="similarities 0.3 × identity",
        cause=likely_cause(found, mistakes) or "are the weights made to sum to 1?",
    )


@AVERAGE.holds(
    "patches that are all alike get the mean code", cause="are the weights made to sum to 1?"
)
def all_alike(answer: Answer) -> None:
    codes = torch.randn(1, 3, 4)
    same(
        answer(codes, torch.full((1, 4, 4), 0.2)),
        codes.mean(dim=2, keepdim=True).expand(-1, -1, 4),
        case="all similarities 0.2",
    )


@AVERAGE.holds("each patch's weights are its column of Σ", cause="which axis of Σ is summed over?")
def columns(answer: Answer) -> None:
    codes = torch.tensor([[[1.0, 0.0, 5.0]]])
    similarity = torch.tensor([[[1.0, 0.0, 0.0], [3.0, 1.0, 0.0], [0.0, 1.0, 1.0]]])
    same(
        answer(codes, similarity),
        torch.tensor([[[0.25, 2.5, 5.0]]]),
        case="codes [1, 0, 5]; columns of Σ [1, 3, 0], [0, 1, 1], [0, 0, 1]",
    )


@AVERAGE.holds("patches in another order give the same averages in that order")
def permuted(answer: Answer) -> None:
    codes, similarity = torch.randn(1, 3, 5), torch.rand(1, 5, 5)
    order = torch.tensor([3, 0, 4, 1, 2])
    same(
        answer(codes[..., order], similarity[:, order][..., order]),
        answer(codes, similarity)[..., order],
        case="5 patches, and the same 5 in another order",
    )


@AVERAGE.holds("the members of a batch do not mix")
def batch(answer: Answer) -> None:
    ensure_batchwise(answer, torch.randn(3, 2, 4), torch.rand(3, 4, 4))


AVERAGE.agrees(
    lambda: [
        (torch.randn(1, 5, 6), torch.rand(1, 6, 6)),
        (torch.randn(2, 3, 4), torch.rand(2, 4, 4)),
        (torch.zeros(1, 3, 4), torch.ones(1, 4, 4)),
        (torch.randn(3, 3, 3), torch.rand(3, 3, 3)),
    ]
)


STEP = Exercise("csr.step", csr_step)


def _problem() -> tuple[Tensor, ...]:
    """Codes (1, 6, 5), patches (1, 4, 5), C and D (4, 6), similarities (1, 5, 5), Λ (6, 1)."""
    C, D = (normalize_atoms(torch.randn(4, 6)) for _ in range(2))
    return torch.randn(1, 6, 5), torch.randn(1, 4, 5), C, D, torch.rand(1, 5, 5), torch.rand(6, 1)


@STEP.holds("without γ it is a step of SC")
def step_of_sc(answer: Answer) -> None:
    codes, patches, C, D, similarity, threshold = _problem()
    left = patches - D @ codes
    shrunk = prox.soft_threshold(codes, threshold)
    found = answer(codes, patches, C, D, similarity, threshold, torch.tensor(0.0))
    mistakes = [
        (prox.soft_threshold(codes - C.mT @ left, threshold), "which sign has the gradient?"),
        (
            prox.soft_threshold(codes + D.mT @ (patches - C @ codes), threshold),
            "which of C and D makes patches of codes?",
        ),
        (codes + C.mT @ left, "is there a threshold?"),
        (shrunk + C.mT @ (patches - D @ shrunk), "first the gradient step, then the prox?"),
    ]
    same(
        found,
        prox.soft_threshold(codes + C.mT @ left, threshold),
        case="5 patches, 6 atoms, γ = 0",
        cause=likely_cause(found, mistakes) or "a gradient step with C and D, then the prox?",
    )


@STEP.holds("from zero, both pulls go to zero", cause="which codes is β an average of?")
def from_zero(answer: Answer) -> None:
    codes, patches, C, D, similarity, threshold = _problem()
    same(
        answer(0 * codes, patches, C, D, similarity, threshold, torch.tensor(0.5)),
        prox.soft_threshold(C.mT @ patches, 1.5 * threshold),
        case="5 patches, codes of zero, γ = 0.5",
    )


@STEP.holds(
    "with a huge γ and a small λ, codes become the averages of the old ones",
    cause="β of the codes before the gradient step, or after it?",
)
def all_to_the_guess(answer: Answer) -> None:
    codes, patches, C, D, similarity, _ = _problem()
    beta = average_codes(codes, similarity)
    tiny = torch.full((6, 1), 1e-4)
    same(
        answer(codes, patches, C, D, similarity, tiny, torch.tensor(1e6)),
        beta,
        case="Λ = 0.0001, γ = 1,000,000",
        tolerance=1e-3,
    )


@STEP.holds("orthonormal atoms, everybody alike: one step is the prox at Dᵀy")
def orthonormal(answer: Answer) -> None:
    basis, patches = dct_dictionary(2, 4), torch.randn(1, 4, 5)
    codes, alike = torch.randn(1, 4, 5), torch.ones(1, 5, 5)
    beta = codes.mean(dim=2, keepdim=True).expand(-1, -1, 5)
    threshold = torch.full((4, 1), 0.3)
    same(
        answer(codes, patches, basis, basis, alike, threshold, torch.tensor(0.7)),
        prox.csr_threshold(basis.mT @ patches, beta, threshold, 0.7),
        case="4 cosines, Λ = 0.3, γ = 0.7",
    )


STEP.agrees(lambda: [(*_problem(), torch.tensor(0.4)), (*_problem(), torch.tensor(1.5))])
