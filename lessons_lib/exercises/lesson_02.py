"""Exercises of lesson 02: soft thresholding, the step size, ISTA, its optimality, and a refit."""

import torch
from torch import Tensor

from lessons_lib.exercises.core import Answer, Exercise, ensure, ensure_minimal, same
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
    same(answer(torch.tensor([-0.9, 0.0, 0.5]), 1.0), 0.0, case="z = [-0.9, 0, 0.5], threshold 1")


@SOFT.holds(
    "large entries come closer to zero by the threshold",
    cause="by how much does a kept entry shrink, and in which direction?",
)
def shrinks(answer: Answer) -> None:
    z = torch.tensor([3.0, -3.0, 7.0])
    same(answer(z, 1.0), torch.tensor([2.0, -2.0, 6.0]), case="z = [3, -3, 7], threshold 1")


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
    same(answer(dct_dictionary(3, 9)), 1.0, case="cosines of 3 x 3 pixels", tolerance=1e-3)


@LIPSCHITZ.holds("atoms twice as long have four times the L", cause="is it a norm, or its square?")
def quadratic(answer: Answer) -> None:
    same(
        answer(2 * dct_dictionary(3, 9)),
        4.0,
        case="cosines of 3 x 3 pixels, times 2",
        tolerance=1e-3,
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
)


ISTA = Exercise("ista.ista", ista)


@ISTA.holds(
    "one step from zero is soft thresholding of step · Dᵀy",
    cause="which threshold belongs to a step of this size?",
)
def first_step(answer: Answer) -> None:
    patches, dictionary = _small_problem()
    expected = prox.soft_threshold(0.3 * dictionary.T @ patches, 0.3 * 0.5)
    same(
        answer(patches, dictionary, 0.5, 0.3, 1)[0], expected, case="λ = 0.5, step 0.3, 1 iteration"
    )


@ISTA.holds(
    "with orthonormal atoms and step 1, one step solves it, and more change nothing",
    cause="does a step start from the codes of the step before?",
)
def orthonormal_codes(answer: Answer) -> None:
    patches, dictionary = torch.randn(9, 4), dct_dictionary(3, 9)
    expected = prox.soft_threshold(dictionary.T @ patches, 0.5)
    for iterations in (1, 2):
        same(
            answer(patches, dictionary, 0.5, 1.0, iterations)[0],
            expected,
            case=f"9 cosines, λ = 0.5, {iterations} iterations",
        )


@ISTA.holds("the last objective is that of the codes returned")
def objective_of_codes(answer: Answer) -> None:
    patches, dictionary = _small_problem()
    codes, values = answer(patches, dictionary, 0.5, 0.3, 4)
    same(
        values[-1],
        objective(patches, dictionary, codes, 0.5),
        case="λ = 0.5, 4 iterations",
        cause="is it recorded after the step, with both of its terms, summed over patches?",
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
    )


ISTA.agrees(
    lambda: [(*_small_problem(), 0.4, 0.2, 5), (*_small_problem(), 1.0, 0.05, 12)], tolerance=1e-4
)


KKT = Exercise("ista.kkt", kkt_violation)


@KKT.holds(
    "codes of zero: by how much the largest |dᵀy| exceeds λ",
    cause="what may the correlation of an unused atom be?",
)
def zero_codes(answer: Answer) -> None:
    patches, dictionary = torch.tensor([[2.0, 0.3], [-3.0, 0.4]]), torch.eye(2)
    same(
        answer(patches, dictionary, torch.zeros(2, 2), 0.5),
        torch.tensor([2.5, 0.0]),
        case="y = (2, −3) and y = (0.3, 0.4), D the identity, λ = 0.5",
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
    )


KKT.agrees(
    lambda: [
        (*_small_problem(), prox.hard_threshold(torch.randn(9, 5), 0.8), 0.4),
        (*_small_problem(), torch.randn(9, 5), 1.0),
    ]
)


REFIT = Exercise("ista.refit", refit)


@REFIT.holds("zeros stay zero")
def keeps_zeros(answer: Answer) -> None:
    patches, dictionary = _small_problem()
    codes = prox.hard_threshold(torch.randn(9, 5), 0.8)
    same(
        answer(patches, dictionary, codes, 0.2, 7)[codes == 0],
        0.0,
        case="random codes, 7 iterations",
    )


@REFIT.holds(
    "with orthonormal atoms and step 1, kept entries become those of Dᵀy",
    cause="which way does a gradient step go, and what is shrunk that should not be?",
)
def undoes_shrinkage(answer: Answer) -> None:
    patches, dictionary = torch.randn(9, 4), dct_dictionary(3, 9)
    plain = dictionary.T @ patches
    same(
        answer(patches, dictionary, prox.soft_threshold(plain, 0.5), 1.0, 1),
        prox.hard_threshold(plain, 0.5),
        case="9 cosines, λ = 0.5, 1 iteration",
    )


@REFIT.holds("starts from the codes that it is given")
def starts_at_codes(answer: Answer) -> None:
    patches, dictionary = _small_problem()
    codes = prox.hard_threshold(torch.randn(9, 5), 0.8)
    same(answer(patches, dictionary, codes, 0.0, 3), codes, case="step 0, 3 iterations")


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
    )


REFIT.agrees(
    lambda: [(*_small_problem(), prox.hard_threshold(torch.randn(9, 5), 0.8), 0.1, 4)],
    tolerance=1e-4,
)
