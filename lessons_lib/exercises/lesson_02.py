"""Exercises of lesson 02: soft thresholding, the step size, ISTA, FISTA, when to stop, a refit."""

import torch
from torch import Tensor

from lessons_lib.exercises.answer import FINITE, SHAPE, Answer
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.properties import (
    cause_of,
    ensure,
    ensure_minimal,
    likely_cause,
    same,
)
from lessons_lib.ops import prox
from lessons_lib.ops.dictionary import dct_dictionary, normalize_atoms, spectral_norm
from lessons_lib.solvers import fista


def objective(patches: Tensor, dictionary: Tensor, codes: Tensor, lam: float) -> Tensor:
    """``½‖Y − DA‖² + λ‖A‖₁``, summed over patches."""
    residual = patches - dictionary @ codes
    return residual.square().sum() / 2 + prox.l1_penalty(codes, lam)


def lipschitz(dictionary: Tensor) -> float:
    """Largest eigenvalue of ``DᵀD``."""
    return spectral_norm(dictionary) ** 2


def ista(
    patches: Tensor, dictionary: Tensor, lam: float, step: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """Proximal gradient steps of a given size, from zero; codes, and the objective after each."""
    codes = patches.new_zeros(dictionary.shape[1], patches.shape[1])
    values = []
    for _ in range(iterations):
        correlation = dictionary.T @ (patches - dictionary @ codes)
        codes = prox.soft_threshold(codes + step * correlation, step * lam)
        values.append(objective(patches, dictionary, codes, lam))
    return codes, torch.stack(values)


def kkt_violation(patches: Tensor, dictionary: Tensor, codes: Tensor, lam: float) -> Tensor:
    """Largest violation of the optimality conditions of the lasso, one number per patch."""
    correlation = dictionary.T @ (patches - dictionary @ codes)
    kept = (correlation - lam * codes.sign()).abs()
    dropped = (correlation.abs() - lam).clamp_min(0)
    return torch.where(codes != 0, kept, dropped).amax(dim=0)


def lower_bound(patches: Tensor, dictionary: Tensor, residual: Tensor, lam: float) -> Tensor:
    """The largest lower bound of the lasso that a multiple of a vector gives, one per patch.

    ``min_α ½‖y − Dα‖² + λ‖α‖₁ ≥ θᵀy − ½‖θ‖²`` for every ``θ`` with ``‖Dᵀθ‖∞ ≤ λ``; here ``θ = s·r``
    with the best ``s``, the top of a parabola or the end of the interval that is allowed.

    Args:
        patches: ``(m, N)``.
        dictionary: ``(m, K)``.
        residual: ``r``, ``(m, N)``: any vectors, good ones if they are residuals of good codes.
        lam: λ.

    Returns:
        ``(N,)``.

    Source: Fercoq, Gramfort, Salmon, *Mind the duality gap: safer rules for the lasso*, 2015.
    """
    tiny = torch.finfo(patches.dtype).tiny
    top = (residual * patches).sum(dim=0) / residual.square().sum(dim=0).clamp_min(tiny)
    end = lam / (dictionary.T @ residual).abs().amax(dim=0).clamp_min(tiny)
    point = residual * top.clamp(-end, end)
    return (point * (patches - point / 2)).sum(dim=0)


def fista_step(
    patches: Tensor,
    dictionary: Tensor,
    lam: float,
    step: float,
    codes: Tensor,
    ahead: Tensor,
    t: float,
) -> tuple[Tensor, Tensor, float]:
    """One accelerated step: codes, the point ahead of them, and the weight, each one step later.

    ``α' = S_{step·λ}(β + step·Dᵀ(y − Dβ))``, ``t' = ½(1 + √(1 + 4t²))``,
    ``β' = α' + (t − 1)/t' · (α' − α)``

    Source: Beck and Teboulle, *A fast iterative shrinkage-thresholding algorithm*, 2009, §4.
    """
    correlation = dictionary.T @ (patches - dictionary @ ahead)
    new = prox.soft_threshold(ahead + step * correlation, step * lam)
    later = (1 + (1 + 4 * t**2) ** 0.5) / 2
    return new, new + (t - 1) / later * (new - codes), later


def refit(
    patches: Tensor, dictionary: Tensor, codes: Tensor, step: float, iterations: int
) -> Tensor:
    """Gradient steps on ``½‖Y − DA‖²`` that keep the zeros of the codes."""
    support = (codes != 0).to(codes)
    for _ in range(iterations):
        gradient = dictionary.T @ (dictionary @ codes - patches)
        codes = support * (codes - step * gradient)
    return codes


def _small_problem() -> tuple[Tensor, Tensor]:
    """Patches (6, 5) and a dictionary (6, 9) of unit atoms."""
    return torch.randn(6, 5), normalize_atoms(torch.randn(6, 9))


SOFT = Exercise("prox.soft_threshold", prox.soft_threshold)


@SOFT.holds("entries below the threshold become zero")
def dead_zone(answer: Answer) -> None:
    same(
        answer(torch.tensor([-0.9, 0.0, 0.5]), 1.0),
        0.0,
        case="z = [-0.9, 0, 0.5], threshold 1",
        cause="which entries does it set to 0?",
    )


@SOFT.holds("large entries come closer to zero by the threshold")
def shrinks(answer: Answer) -> None:
    z = torch.tensor([3.0, -3.0, 7.0])
    found = answer(z, 1.0)
    slips = [
        (torch.tensor([2.0, 0.0, 6.0]), "what becomes of large negative entries?"),
        (torch.tensor([2.0, 2.0, 6.0]), "where does the sign come back?"),
        (z, "a kept entry shrinks as well: by how much?"),
    ]
    same(
        found,
        torch.tensor([2.0, -2.0, 6.0]),
        case="z = [3, -3, 7], threshold 1",
        cause=likely_cause(found, slips)
        or "by how much does a kept entry shrink, and in which direction?",
    )


@SOFT.holds("threshold 0 changes nothing")
def threshold_zero(answer: Answer) -> None:
    z = torch.tensor([0.5, 0.0, -2.0])
    with cause_of(FINITE, "what is 0 divided by here?"):
        same(answer(z, 0.0), z, case="z = [0.5, 0, -2], threshold 0")


@SOFT.holds("is the minimiser of ½‖u − z‖² + λ‖u‖₁")
def optimal(answer: Answer) -> None:
    z = 2 * torch.randn(8)
    ensure_minimal(
        lambda u: 0.5 * (u - z).square().sum() + prox.l1_penalty(u, 0.7),
        answer(z, 0.7),
        case="8 random numbers, λ = 0.7",
    )


SOFT.agrees(lambda: [(torch.randn(2, 5, 7), 0.8), (torch.randn(4, 3), 0.0), (torch.randn(9), 3.0)])


LIPSCHITZ = Exercise("ista.lipschitz", lipschitz)


@LIPSCHITZ.holds("an orthonormal dictionary has L = 1")
def orthonormal(answer: Answer) -> None:
    found = answer(dct_dictionary(3, 9))
    same(
        found,
        1.0,
        case="9 cosines of 3 x 3 pixels",
        tolerance=1e-3,
        cause=likely_cause(
            found,
            [
                (9.0, "that is the sum of all eigenvalues: which one is wanted?"),
            ],
        )
        or "such a dictionary leaves the length of every vector as it is: which length is scaled?",
    )


@LIPSCHITZ.holds("atoms twice as long have four times the L")
def quadratic(answer: Answer) -> None:
    same(
        answer(2 * dct_dictionary(3, 9)),
        4.0,
        case="9 cosines of 3 x 3 pixels, times 2",
        tolerance=1e-3,
        cause="is it a norm, or its square?",
    )


@LIPSCHITZ.holds("the same atom three times has L = 3")
def repeated(answer: Answer) -> None:
    atom = torch.tensor([[0.6], [0.8]])
    same(
        answer(torch.cat([atom, atom, atom], dim=1)),
        3.0,
        case="(0.6, 0.8) three times",
        tolerance=1e-3,
        cause="which vector does DᵀD stretch most, and by how much?",
    )


@LIPSCHITZ.holds("an atom and its negative have L = 2")
def opposite(answer: Answer) -> None:
    atom = torch.tensor([[0.6], [0.8]])
    same(
        answer(torch.cat([atom, -atom], dim=1)),
        2.0,
        case="(0.6, 0.8) and (−0.6, −0.8)",
        tolerance=1e-3,
        cause="a start that is orthogonal to the answer never finds it",
    )


LIPSCHITZ.agrees(
    lambda: [(d,) for d in (torch.randn(6, 9), torch.randn(16, 8), dct_dictionary(4, 36))],
    tolerance=1e-3,
    cause="are there enough iterations?",
)


ISTA = Exercise("ista.ista", ista)


@ISTA.holds("there are as many objectives as iterations")
def counts(answer: Answer) -> None:
    for iterations in (1, 3):
        with cause_of(SHAPE, "codes are (K, N), and each iteration records one number, after it"):
            answer(*_small_problem(), 0.5, 0.3, iterations)


@ISTA.holds("patches of zeros have codes of zero")
def starts_at_zero(answer: Answer) -> None:
    patches, dictionary = _small_problem()
    codes, _ = answer(0 * patches, dictionary, 0.5, 0.3, 1)
    same(codes, 0.0, case="patches of zeros, 1 iteration", cause="from which codes does it start?")


def _first_steps(
    patches: Tensor, dictionary: Tensor, lam: float, step: float
) -> tuple[Tensor, list[tuple[Tensor, str]]]:
    """Codes after one step from zero, and after likely mistakes, with words that answer them."""
    shrink, correlation = prox.soft_threshold, dictionary.T @ patches
    forward = step * correlation
    right = shrink(forward, step * lam)
    back = dictionary.T @ (patches - dictionary @ right)
    ahead = dictionary.T @ (patches - dictionary @ correlation)
    slips = [
        (
            shrink(right + step * back, step * lam),
            "this is what two steps give: how often does the loop run?",
        ),
        (torch.zeros_like(right), "this is what no step gives: how often does the loop run?"),
        (shrink(correlation + step * ahead, step * lam), "from which codes does it start?"),
        (shrink(forward, lam), "which threshold belongs to a step of this size?"),
        (shrink(correlation, step * lam), "is the gradient multiplied by the step?"),
        (
            shrink(correlation, lam),
            "step and threshold: do both of them know the size of the step?",
        ),
        (-right, "which way is downhill? The residual is patches minus their estimate"),
        (forward, "the threshold comes after the gradient step, and sees its result"),
        (
            prox.hard_threshold(forward, step * lam),
            "kept entries shrink as well: is the threshold soft?",
        ),
    ]
    return right, slips


@ISTA.holds("one step from zero is soft thresholding of step · Dᵀy")
def first_step(answer: Answer) -> None:
    patches, dictionary = _small_problem()
    expected, slips = _first_steps(patches, dictionary, 0.5, 0.3)
    found, _ = answer(patches, dictionary, 0.5, 0.3, 1)
    same(
        found,
        expected,
        case="λ = 0.5, step 0.3, 1 iteration",
        cause=likely_cause(found, slips) or "a gradient step, then a soft threshold",
    )


@ISTA.holds("with orthonormal atoms and step 1, one step solves it, and more change nothing")
def orthonormal_codes(answer: Answer) -> None:
    patches, dictionary = torch.randn(9, 4), dct_dictionary(3, 9)
    expected = prox.soft_threshold(dictionary.T @ patches, 0.5)
    for iterations in (1, 2):
        same(
            answer(patches, dictionary, 0.5, 1.0, iterations)[0],
            expected,
            case=f"9 cosines, λ = 0.5, {iterations} iterations",
            cause="does a step start from the codes of the step before?",
        )


@ISTA.holds("the last objective is that of the codes returned")
def objective_of_codes(answer: Answer) -> None:
    patches, dictionary = _small_problem()
    codes, values = answer(patches, dictionary, 0.5, 0.3, 4)
    before, _ = answer(patches, dictionary, 0.5, 0.3, 3)
    right = objective(patches, dictionary, codes, 0.5)
    fit = right - prox.l1_penalty(codes, 0.5)
    slips = [
        (
            objective(patches, dictionary, before, 0.5),
            "is it recorded before the step, or after it?",
        ),
        (fit, "where is the penalty?"),
        (right + fit, "does the fit have its factor of one half?"),
        (right / patches.shape[1], "is it summed over patches, or a mean of them?"),
        (values[0], "in which order are they recorded?"),
    ]
    same(
        values[-1],
        right,
        case="λ = 0.5, 4 iterations",
        cause=likely_cause(values[-1], slips)
        or "is it recorded after the step, with both of its terms, summed over patches?",
    )


@ISTA.holds("the objective never rises with step 1/L")
def descent(answer: Answer) -> None:
    patches, dictionary = _small_problem()
    _, values = answer(patches, dictionary, 0.3, 1 / lipschitz(dictionary), 30)
    worst = (values[1:] - values[:-1]).max().item()
    ensure(
        worst <= 1e-4,
        case="30 iterations, λ = 0.3",
        expected="no rise",
        actual=f"a rise by {worst:.3g}",
    )


@ISTA.holds("many steps reach the minimum")
def convergence(answer: Answer) -> None:
    patches, dictionary = _small_problem()
    codes, _ = fista(patches, dictionary, 0.5, tolerance=1e-7, max_iterations=3000)
    _, values = answer(patches, dictionary, 0.5, 1 / lipschitz(dictionary), 1000)
    same(
        values[-1],
        objective(patches, dictionary, codes, 0.5),
        case="1000 iterations, λ = 0.5",
        tolerance=1e-4,
        cause="do all the iterations run, each from where the last one ended?",
    )


ISTA.agrees(
    lambda: [
        (*_small_problem(), 0.4, 0.2, 5),
        (*_small_problem(), 1.0, 0.05, 12),
        (*_small_problem(), 0.0, 0.1, 3),
    ],
    tolerance=1e-4,
)


KKT = Exercise("ista.kkt", kkt_violation)


@KKT.holds("there is one number per patch")
def one_per_patch(answer: Answer) -> None:
    patches, dictionary = _small_problem()
    with cause_of(SHAPE, "a patch is a column: over which axis do its atoms run?"):
        answer(patches, dictionary, torch.randn(9, 5), 0.5)


@KKT.holds("codes of zero: by how much the largest |dᵀy| exceeds λ")
def zero_codes(answer: Answer) -> None:
    patches, dictionary = torch.tensor([[2.0, 0.3, 1.0], [-3.0, 0.4, 1.0]]), torch.eye(2)
    found = answer(patches, dictionary, torch.zeros(2, 3), 0.5)
    slips = [
        (torch.tensor([2.0, 0.0, 0.5]), "the largest violation, or the mean over the atoms?"),
        (torch.tensor([4.0, 0.0, 1.0]), "the largest violation, or the sum over the atoms?"),
        (torch.tensor([1.5, 0.0, 0.5]), "the smallest violation, or the largest?"),
        (torch.tensor([6.25, 0.0, 0.25]), "a distance, or its square?"),
        (torch.tensor([3.0, 0.4, 1.0]), "only what exceeds λ violates anything"),
        (
            torch.tensor([2.5, -0.1, 0.5]),
            "is a correlation below λ a violation, if the atom is not in use?",
        ),
        (
            torch.tensor([2.5, 0.2, 0.5]),
            "an atom that is not in use is not asked to have the correlation λ",
        ),
    ]
    same(
        found,
        torch.tensor([2.5, 0.0, 0.5]),
        case="y = (2, −3), (0.3, 0.4) and (1, 1), D the identity, λ = 0.5",
        cause=likely_cause(found, slips) or "what may the correlation of an unused atom be?",
    )


@KKT.holds("vanishes at the solution")
def zero_at_solution(answer: Answer) -> None:
    patches, dictionary = torch.randn(9, 4), dct_dictionary(3, 9)
    solution = prox.soft_threshold(dictionary.T @ patches, 0.5)
    same(
        answer(patches, dictionary, solution, 0.5),
        torch.zeros(4),
        case="9 orthonormal cosines, soft thresholded, λ = 0.5",
        tolerance=1e-4,
        cause="what must the correlation of an atom in use be, if its code is negative?",
    )


@KKT.holds(
    "notices an atom in use whose correlation is below λ, or above",
    cause="for an atom in use, is the condition an equality?",
)
def equality(answer: Answer) -> None:
    patches, dictionary = torch.tensor([[2.0], [0.0]]), torch.eye(2)
    for code, violation in ((1.8, 0.3), (1.2, 0.3), (1.5, 0.0)):
        same(
            answer(patches, dictionary, torch.tensor([[code], [0.0]]), 0.5),
            torch.tensor([violation]),
            case=f"y = (2, 0), α = ({code}, 0), λ = 0.5",
        )


@KKT.holds("turning the sign of patches and codes changes nothing")
def symmetric(answer: Answer) -> None:
    patches, dictionary = _small_problem()
    codes = prox.hard_threshold(torch.randn(9, 5), 0.8)
    same(
        answer(-patches, dictionary, -codes, 0.4),
        answer(patches, dictionary, codes, 0.4),
        case="random patches and codes, λ = 0.4",
        cause="where do the signs of the codes enter?",
    )


KKT.agrees(
    lambda: [
        (*_small_problem(), prox.hard_threshold(torch.randn(9, 5), 0.8), 0.4),
        (*_small_problem(), torch.randn(9, 5), 1.0),
    ]
)


BOUND = Exercise("ista.lower_bound", lower_bound)


def _lasso_minimum(patches: Tensor, dictionary: Tensor, lam: float) -> tuple[Tensor, Tensor]:
    """Minimum of each patch, and the residual there."""
    codes, _ = fista(patches, dictionary, lam, tolerance=1e-11, max_iterations=5000)
    residual = patches - dictionary @ codes
    return residual.square().sum(dim=0) / 2 + lam * codes.abs().sum(dim=0), residual


def _double_problem() -> tuple[Tensor, Tensor]:
    """As `_small_problem`, in double precision."""
    patches, dictionary = _small_problem()
    return patches.double(), dictionary.double()


def _bound_slips(
    patches: Tensor, dictionary: Tensor, residual: Tensor, lam: float
) -> list[tuple[Tensor, str]]:
    """What likely mistakes return, with words that answer them and keep the answer back."""
    within = residual * (lam / (dictionary.T @ residual).abs().amax(dim=0))
    bound = (within * (patches - within / 2)).sum(dim=0)
    return [
        (
            (residual * (patches - residual / 2)).sum(dim=0),
            "some other code gets below: which multiples of r are allowed, whatever the code?",
        ),
        (
            residual.square().sum(dim=0) / 2,
            "a part of the objective of one code: what about all the others?",
        ),
        (
            (within * patches).sum(dim=0),
            "free z: at which z is your sum smallest, and what is it there?",
        ),
        (
            bound - within.square().sum(dim=0) / 2,
            "free z: does the fit have its factor of one half?",
        ),
        (-bound, "what has the opposite sign?"),
        (
            (within * (patches - within)).sum(dim=0) + within.square().sum(dim=0),
            "free z: at which z is your sum smallest, and what is it there?",
        ),
    ]


@BOUND.holds("there is one number per patch")
def one_bound_per_patch(answer: Answer) -> None:
    patches, dictionary = _small_problem()
    with cause_of(SHAPE, "a patch is a column, and each patch has a bound of its own"):
        answer(patches, dictionary, torch.randn(6, 5), 0.5)


@BOUND.holds("no code has a smaller objective")
def never_above(answer: Answer) -> None:
    for lam in (0.2, 0.7):
        patches, dictionary = _double_problem()
        minimum, best = _lasso_minimum(patches, dictionary, lam)
        some = best + 0.1 * torch.randn_like(best)
        kinds = {
            "the residual of codes near the solution": some,
            "a random vector": torch.randn_like(patches),
            "the residual of the code 0": patches,
            "the residual of a code that is much too large": 30 * torch.randn_like(patches),
        }
        for name, residual in kinds.items():
            found = answer(patches, dictionary, residual, lam)
            excess, at = (found - minimum).max(dim=0)
            ensure(
                excess.item() <= 1e-7,
                case=f"5 random patches, 9 atoms, λ = {lam}; r is {name}",
                expected=f"at most {minimum[at].item():.5g} for patch {int(at)}, which a code has",
                actual=f"{found[at].item():.5g}",
                cause=likely_cause(found, _bound_slips(patches, dictionary, residual, lam))
                or "which multiples of r are allowed, whatever the code?",
            )


@BOUND.holds("a patch is bounded without regard to the others")
def bound_of_columns(answer: Answer) -> None:
    patches, dictionary = _double_problem()
    residual = torch.randn_like(patches) * torch.tensor([0.1, 1.0, 2.0, 5.0, 20.0])
    together = answer(patches, dictionary, residual, 0.4)
    for n in range(5):
        column = slice(n, n + 1)
        same(
            together[column],
            answer(patches[:, column], dictionary, residual[:, column], 0.4),
            case=f"patch {n} among 5, and alone",
            cause="a patch is a column: over which axis is the largest correlation taken?",
        )


@BOUND.holds("at the solution it is the minimum")
def tight(answer: Answer) -> None:
    for lam in (0.2, 0.7):
        patches, dictionary = _double_problem()
        minimum, residual = _lasso_minimum(patches, dictionary, lam)
        found = answer(patches, dictionary, residual, lam)
        same(
            found,
            minimum,
            case=f"5 random patches, 9 atoms, λ = {lam}; r is the residual of the solution",
            tolerance=1e-4,
            cause=likely_cause(found, _bound_slips(patches, dictionary, residual, lam))
            or "it is a bound, but not the highest: may the multiple of r be larger, and still be "
            "allowed?",
        )


@BOUND.holds("where 0 is the solution, the patch itself gives the minimum")
def zero_solution(answer: Answer) -> None:
    patches, dictionary = _double_problem()
    lam = 1.5 * (dictionary.T @ patches).abs().max().item()
    same(
        answer(patches, dictionary, patches, lam),
        patches.square().sum(dim=0) / 2,
        case="λ above every correlation, r the patch",
        cause="the largest multiple that is allowed is not always the best one",
    )


@BOUND.holds("how long r is, and its sign, make no difference")
def any_length(answer: Answer) -> None:
    patches, dictionary = _double_problem()
    residual = torch.randn_like(patches)
    for lam in (0.3, 50.0):
        for factor in (0.05, 40.0, -1.0):
            same(
                answer(patches, dictionary, factor * residual, lam),
                answer(patches, dictionary, residual, lam),
                case=f"λ = {lam}, a random r, and {factor} times that",
                cause="the multiples of r are those of its multiples: is yours the best of them?",
            )


@BOUND.holds("a patch of one pixel: any r gives the minimum")
def one_pixel(answer: Answer) -> None:
    patches = torch.tensor([[3.0, -2.0, 0.4, 0.0]])
    same(
        answer(patches, torch.ones(1, 1), torch.tensor([[0.1, 7.0, -1.0, 2.0]]), 1.0),
        torch.tensor([2.5, 1.5, 0.08, 0.0]),
        case="y = 3, −2, 0.4 and 0, the atom 1, λ = 1",
        cause="is yours the best multiple of r, of either sign?",
    )


@BOUND.holds("an r of zeros gives 0, and so does λ = 0")
def zero_residual(answer: Answer) -> None:
    patches, dictionary = _small_problem()
    cause = "0 times r is allowed as well: is anything divided by 0?"
    with cause_of(FINITE, cause):
        same(answer(patches, dictionary, 0 * patches, 0.5), 0.0, case="r = 0", cause=cause)
        same(
            answer(patches, dictionary, torch.randn(6, 5), 0.0),
            0.0,
            case="λ = 0, 9 atoms that explain any patch",
            cause="which multiples of r are allowed if λ is 0?",
        )


BOUND.agrees(
    lambda: [
        (*_small_problem(), torch.randn(6, 5), 0.4),
        (*_double_problem(), torch.randn(6, 5).double(), 1.2),
        (torch.randn(16, 3), dct_dictionary(4, 25), torch.randn(16, 3), 8.0),
    ],
    tolerance=1e-4,
)


FISTA = Exercise("ista.fista_step", fista_step)


def _on_the_way() -> tuple[Tensor, Tensor, float, float, Tensor, Tensor]:
    """Everything but t: a step somewhere on the way, whose codes and point ahead differ."""
    patches, dictionary = _small_problem()
    return patches, dictionary, 0.4, 0.2, torch.randn(9, 5), torch.randn(9, 5)


def _plain_step(
    patches: Tensor, dictionary: Tensor, lam: float, step: float, start: Tensor
) -> Tensor:
    correlation = dictionary.T @ (patches - dictionary @ start)
    return prox.soft_threshold(start + step * correlation, step * lam)


@FISTA.holds("from codes of zero, the first step is ISTA's")
def first_is_plain(answer: Answer) -> None:
    patches, dictionary = _small_problem()
    zero = torch.zeros(9, 5)
    expected, slips = _first_steps(patches, dictionary, 0.5, 0.3)
    found, ahead, _ = answer(patches, dictionary, 0.5, 0.3, zero, zero, 1.0)
    case = "codes and point ahead 0, t = 1, λ = 0.5, step 0.3"
    same(
        found,
        expected,
        case=case,
        cause=likely_cause(found, slips) or "a gradient step, then a soft threshold",
    )
    same(
        ahead,
        expected,
        case=f"the point ahead; {case}",
        cause="what is (t − 1) at the first step, with the t that was given?",
    )


@FISTA.holds("t grows from 1 to 1.618, and from 3 to 3.541")
def weights(answer: Answer) -> None:
    for t, later in ((1.0, (1 + 5**0.5) / 2), (3.0, (1 + 37**0.5) / 2)):
        found = answer(*_on_the_way(), t)[2]
        slips = [
            (t, "is the new t returned, or the old one?"),
            ((1 + (1 + 4 * t) ** 0.5) / 2, "is t squared under the root?"),
            ((1 + (1 + t**2) ** 0.5) / 2, "what is t² multiplied by?"),
            (1 + (1 + 4 * t**2) ** 0.5, "one half of all, or of a part?"),
            (1 + (1 + 4 * t**2) ** 0.5 / 2, "one half of all, or of a part?"),
            (0.5 + (1 + 4 * t**2) ** 0.5, "one half of all, or of a part?"),
            ((1 + 1 + 4 * t**2) / 2, "where is the root?"),
        ]
        same(found, later, case=f"t = {t:g}", cause=likely_cause(found, slips))


@FISTA.holds("the step is taken at the point ahead")
def at_the_point_ahead(answer: Answer) -> None:
    patches, dictionary, lam, step, codes, ahead = _on_the_way()
    found = answer(patches, dictionary, lam, step, codes, ahead, 2.0)[0]
    gradient = dictionary.T @ (patches - dictionary @ ahead)
    elsewhere = dictionary.T @ (patches - dictionary @ codes)
    shrink = prox.soft_threshold
    slips = [
        (
            shrink(codes + step * elsewhere, step * lam),
            "this is ISTA's: the step starts from the point ahead",
        ),
        (
            shrink(codes + step * gradient, step * lam),
            "the gradient is that at the point ahead, and so is the start",
        ),
        (
            shrink(ahead + step * elsewhere, step * lam),
            "the start is the point ahead, and the gradient is taken there, too",
        ),
    ]
    same(
        found,
        _plain_step(patches, dictionary, lam, step, ahead),
        case="codes and point ahead random, t = 2, λ = 0.4, step 0.2",
        cause=likely_cause(found, slips) or "a gradient step from the point ahead, then the prox",
    )


@FISTA.holds("the next point ahead goes on from the old codes through the new ones")
def next_point(answer: Answer) -> None:
    patches, dictionary, lam, step, codes, ahead = _on_the_way()
    for t in (1.0, 2.0, 5.0):
        new, found, _ = answer(patches, dictionary, lam, step, codes, ahead, t)
        later = (1 + (1 + 4 * t**2) ** 0.5) / 2
        weight = (t - 1) / later
        after = (1 + (1 + 4 * later**2) ** 0.5) / 2
        slips = [
            (new, "are the old codes still the old ones when the difference is taken?"),
            (new - weight * (new - codes), "it lies beyond the new codes, not before them"),
            (new + weight * (new - ahead), "on from the old codes, not from the old point ahead"),
            (ahead + weight * (new - codes), "on from the new codes, not from the point ahead"),
            (codes + weight * (new - codes), "on from the new codes, not from the old ones"),
            (new + (t - 1) / t * (new - codes), "which t is in the denominator?"),
            (new + (later - 1) / later * (new - codes), "which t is in the numerator?"),
            (new + (later - 1) / after * (new - codes), "which t is in the numerator?"),
            (new + t / later * (new - codes), "what is subtracted from t?"),
            (new + later / t * (new - codes), "which t is in the denominator?"),
        ]
        same(
            found,
            new + weight * (new - codes),
            case=f"codes and point ahead random, t = {t:g}",
            cause=likely_cause(found, slips) or "how far on, with which of the two t?",
        )


@FISTA.holds("at the solution nothing moves")
def solution_rests(answer: Answer) -> None:
    patches, dictionary = _double_problem()
    codes, _ = fista(patches, dictionary, 0.5, tolerance=1e-11, max_iterations=3000)
    step = 1 / lipschitz(dictionary)
    for t in (1.0, 4.0):
        found, ahead, _ = answer(patches, dictionary, 0.5, step, codes, codes, t)
        for name, value in {"the codes": found, "the point ahead": ahead}.items():
            same(value, codes, case=f"{name}, from the solution, t = {t:g}", tolerance=1e-4)


def _far_from_round() -> tuple[Tensor, Tensor]:
    """Atoms that all resemble each other: the largest eigenvalue of DᵀD is far from the others."""
    return torch.randn(6, 4).double(), normalize_atoms(1 + 0.2 * torch.randn(6, 9).double())


@FISTA.holds("after k steps the objective is as near to the minimum as Beck and Teboulle prove")
def guarantee(answer: Answer) -> None:
    patches, dictionary = _far_from_round()
    L, lam = lipschitz(dictionary), 0.1
    best, _ = fista(patches, dictionary, lam, tolerance=1e-9, max_iterations=1500)
    minimum = objective(patches, dictionary, best, lam).item()
    codes = ahead = slow = torch.zeros_like(best)
    t = 1.0
    for k in range(1, 101):
        codes, ahead, t = answer(patches, dictionary, lam, 1 / L, codes, ahead, t)
        slow = _plain_step(patches, dictionary, lam, 1 / L, slow)
        far = objective(patches, dictionary, codes, lam).item() - minimum
        limit = 2 * L * best.square().sum().item() / (k + 1) ** 2
        ensure(
            far <= limit * (1 + 1e-6),
            case=f"atoms that resemble each other, step 1/L, {k} steps",
            expected=f"objective − minimum at most {limit:.4g}",
            actual=f"{far:.4g}",
        )
    plain = objective(patches, dictionary, slow, lam).item() - minimum
    ensure(
        far < plain / 4,
        case="atoms that resemble each other, step 1/L, 100 steps",
        expected=f"objective − minimum at most {plain / 4:.4g}, a quarter of ISTA's",
        actual=f"{far:.4g}",
    )


FISTA.agrees(
    lambda: [
        (*_on_the_way(), 1.0),
        (*_on_the_way(), 2.5),
        (*[v.double() if isinstance(v, Tensor) else v for v in _on_the_way()], 7.0),
        (*_small_problem(), 0.0, 0.1, torch.zeros(9, 5), torch.randn(9, 5), 3.0),
        (
            torch.randn(4, 1),
            dct_dictionary(2, 9),
            0.3,
            0.5,
            torch.randn(9, 1),
            torch.zeros(9, 1),
            2.0,
        ),
    ],
    tolerance=1e-4,
)


REFIT = Exercise("ista.refit", refit)


@REFIT.holds("zeros stay zero", cause="are the zeros put back after each step?")
def keeps_zeros(answer: Answer) -> None:
    patches, dictionary = _small_problem()
    codes = prox.hard_threshold(torch.randn(9, 5), 0.8)
    same(
        answer(patches, dictionary, codes, 0.2, 7)[codes == 0],
        0.0,
        case="random codes, 7 iterations",
    )


@REFIT.holds("starts from the codes that it is given")
def starts_at_codes(answer: Answer) -> None:
    patches, dictionary = _small_problem()
    codes = prox.hard_threshold(torch.randn(9, 5), 0.8)
    found = answer(patches, dictionary, codes, 0.0, 3)
    slips = [
        (0 * codes, "from which codes does it start?"),
    ]
    cause = likely_cause(found, slips) or "what changes the codes beside a step of size 0?"
    same(found, codes, case="step 0, 3 iterations", cause=cause)


@REFIT.holds("with orthonormal atoms and step 1, kept entries become those of Dᵀy")
def undoes_shrinkage(answer: Answer) -> None:
    patches, dictionary = torch.randn(9, 4), dct_dictionary(3, 9)
    plain = dictionary.T @ patches
    codes = prox.soft_threshold(plain, 0.5)
    kept = prox.hard_threshold(plain, 0.5)
    found = answer(patches, dictionary, codes, 1.0, 1)
    slips = [
        (2 * codes - kept, "which way is downhill?"),
        (codes, "does the loop run, and is anything shrunk that should not be?"),
    ]
    same(
        found,
        kept,
        case="9 cosines, λ = 0.5, 1 iteration",
        cause=likely_cause(found, slips) or "is anything shrunk that should not be?",
    )


@REFIT.holds("one iteration is one step")
def one_step(answer: Answer) -> None:
    patches, dictionary = _small_problem()
    codes = prox.hard_threshold(torch.randn(9, 5), 0.8)
    found = answer(patches, dictionary, codes, 0.2, 1)
    slips = [
        (answer.reference(patches, dictionary, codes, 0.2, 2), "how often does the loop run?"),
        (
            answer.reference(patches, dictionary, codes, 0.4, 1),
            "the gradient of ½‖·‖² has no factor of 2",
        ),
        (
            answer.reference(patches, dictionary, codes, 1.0, 1),
            "is the gradient multiplied by the step?",
        ),
    ]
    same(
        found,
        answer.reference(patches, dictionary, codes, 0.2, 1),
        case="step 0.2, 1 iteration",
        cause=likely_cause(found, slips) or "a gradient step of the given size, then the zeros",
    )


@REFIT.holds("many steps reach the least squares fit on the atoms in use")
def least_squares(answer: Answer) -> None:
    patches, dictionary = torch.randn(6, 1), normalize_atoms(torch.randn(6, 4))
    codes = torch.tensor([[1.0], [0.0], [-1.0], [0.0]])
    expected = torch.zeros(4, 1)
    expected[[0, 2]] = torch.linalg.lstsq(dictionary[:, [0, 2]], patches).solution
    same(
        answer(patches, dictionary, codes, 0.5, 500),
        expected,
        case="2 of 4 atoms in use, step 0.5, 500 iterations",
        tolerance=1e-3,
        cause="do all the iterations run, each from where the last one ended?",
    )


REFIT.agrees(
    lambda: [(*_small_problem(), prox.hard_threshold(torch.randn(9, 5), 0.8), 0.1, 4)],
    tolerance=1e-4,
)
