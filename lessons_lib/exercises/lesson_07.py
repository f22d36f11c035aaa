"""Exercises of lesson 07: the group lasso, its norm, its prox, its largest λ, its ISTA."""

import math

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
from lessons_lib.ops.dictionary import dct_dictionary, normalize_atoms, spectral_norm


def l12_norm(codes: Tensor) -> Tensor:
    """``‖A‖₁,₂ = Σ_j ‖A^j‖₂`` of codes ``(K, n)``: the lengths of the rows, added up."""
    return prox.group_penalty(codes, 1.0)


def group_threshold(z: Tensor, threshold: float) -> Tensor:
    """Proximal operator of ``threshold · ‖·‖₁,₂``, for one group ``(K, n)`` or many."""
    return prox.group_threshold(z, threshold)


def sparse_group_threshold(z: Tensor, entry: float, row: float) -> Tensor:
    """Proximal operator of ``entry · ‖·‖₁ + row · ‖·‖₁,₂``: entries shrink first, then rows.

    Args:
        z: ``(K, n)``, one group, or ``(R, K, n)``, many.
        entry: λ₁ of the entries.
        row: λ₂ of the rows, which run along the last axis.

    Source: Bach, Jenatton, Mairal, Obozinski, *Optimization with sparsity-inducing penalties*,
    2012: proximal operators of nested groups compose.
    """
    return prox.group_threshold(prox.soft_threshold(z, entry), row)


def largest_lambda(patches: Tensor, dictionary: Tensor) -> float:
    """Smallest λ at which the group lasso of patches ``(m, n)`` has nothing but zeros.

    Zero is the solution as long as no row of ``DᵀY`` is longer than ``λ√n``.
    """
    rows = (dictionary.T @ patches).norm(dim=1)
    return float(rows.max()) / math.sqrt(patches.shape[1])


def group_step(
    patches: Tensor, dictionary: Tensor, codes: Tensor, lam: float, step: float
) -> Tensor:
    """One step of ISTA on groups, for ``½‖Y − DA‖² + λ√n ‖A‖₁,₂`` of each group.

    Args:
        patches: ``(R, m, n)``, ``R`` groups of ``n`` patches.
        dictionary: ``(m, K)``.
        codes: ``(R, K, n)``.
        lam: λ.
        step: ``1 / ‖D‖²`` or less.

    Source: GroupSC eq. 9 and 10; the weight √n of a group is that of eq. 11.
    """
    ahead = codes + step * dictionary.T @ (patches - dictionary @ codes)
    return prox.group_threshold(ahead, step * lam * math.sqrt(patches.shape[-1]))


def objective(patches: Tensor, dictionary: Tensor, codes: Tensor, lam: float) -> Tensor:
    """``½‖Y − DA‖² + λ√n Σ_j ‖A^j‖₂``, summed over groups ``(R, m, n)``."""
    error = (patches - dictionary @ codes).square().sum() / 2
    return error + lam * math.sqrt(patches.shape[-1]) * prox.group_penalty(codes, 1.0)


def _groups(dim: int, atoms: int, members: int, groups: int = 3) -> tuple[Tensor, Tensor]:
    """Random patches ``(groups, dim, members)`` and a dictionary of unit atoms."""
    return torch.randn(groups, dim, members), normalize_atoms(torch.randn(dim, atoms))


NORM = Exercise("group_lasso.norm", l12_norm)


@NORM.holds("one row: its Euclidean length", cause="lengths inside a row, a sum over rows")
def one_row(answer: Answer) -> None:
    found = answer(torch.tensor([[3.0, -4.0]]))
    mistakes = [
        (7.0, "which axis is a row?"),
        (25.0, "a length, or its square?"),
        (-1.0, "a length, or a sum?"),
    ]
    same(found, 5.0, case="the row (3, −4)", cause=likely_cause(found, mistakes))


@NORM.holds("one column: the sum of magnitudes, as in the lasso")
def one_column(answer: Answer) -> None:
    found = answer(torch.tensor([[3.0], [-4.0]]))
    mistakes = [
        (5.0, "one length for all rows, or one for each?"),
        (4.0, "the longest row, or all of them?"),
        (3.5, "a sum over rows, or a mean?"),
    ]
    same(found, 7.0, case="the column (3, −4)", cause=likely_cause(found, mistakes))


@NORM.holds("two numbers cost more in two rows than in one", cause="which axis is a row?")
def sharing(answer: Answer) -> None:
    shared, apart = torch.zeros(5, 2), torch.zeros(5, 2)
    shared[1] = torch.tensor([3.0, 4.0])
    apart[1, 0], apart[2, 1] = 3.0, 4.0
    same(answer(shared), 5.0, case="2 patches, 5 atoms: 3 and 4 in one row")
    same(answer(apart), 7.0, case="2 patches, 5 atoms: 3 and 4 in two rows")


@NORM.holds("twice the codes, twice the norm", cause="is a root missing?")
def homogeneous(answer: Answer) -> None:
    codes = torch.randn(6, 4)
    same(answer(-2 * codes), 2 * answer(codes), case="6 atoms, 4 patches, and −2 times that")


NORM.agrees(lambda: [(torch.randn(6, 4),), (torch.randn(3, 9),), (torch.zeros(2, 2),)])


PROX = Exercise("group_lasso.prox", group_threshold)


@PROX.holds("a row shorter than the threshold becomes zero")
def dead_zone(answer: Answer) -> None:
    z = torch.tensor([[0.3, 0.4], [-0.6, 0.6]])
    same(
        answer(z, 1.0),
        0.0,
        case="rows (0.3, 0.4) and (−0.6, 0.6), threshold 1",
        cause="is it the length of a row that counts?",
    )


@PROX.holds("a row of zeros stays", cause="what is 0 / 0?")
def zeros(answer: Answer) -> None:
    for threshold in (0.5, 0.0):
        found = answer(torch.zeros(2, 3), threshold)
        same(found, 0.0, case=f"two rows of zeros, threshold {threshold}")


@PROX.holds("a longer row gets shorter by the threshold, and keeps its direction")
def shortens(answer: Answer) -> None:
    z = torch.tensor([[3.0, 4.0], [0.0, -2.0]])
    found = answer(z, 1.0)
    mistakes = [
        (prox.group_threshold(z, 1.0, dim=-2), "which axis is a row?"),
        (prox.soft_threshold(z, 1.0), "is each entry judged alone?"),
        (z, "it is kept as long as it was: by how much must it get shorter?"),
        (z * torch.tensor([[1 - 1 / 25], [1 - 1 / 4]]), "a length, or its square?"),
    ]
    same(
        found,
        torch.tensor([[2.4, 3.2], [0.0, -1.0]]),
        case="rows (3, 4) and (0, −2), threshold 1",
        cause=likely_cause(found, mistakes)
        or "one factor for the whole row: which length does it lead to?",
    )


@PROX.holds(
    "rows run along the last axis, of one group and of many",
    cause="in (R, K, n) the axes are counted from the end, or is it another one?",
)
def many_groups(answer: Answer) -> None:
    z = torch.tensor([[3.0, 4.0], [0.0, -2.0]])
    expected = torch.tensor([[2.4, 3.2], [0.0, -1.0]])
    same(
        answer(torch.stack([z, -z, z]), 1.0),
        torch.stack([expected, -expected, expected]),
        case="3 groups of 2 patches and 2 atoms, threshold 1",
    )


@PROX.holds(
    "short rows are treated like long ones",
    cause="what keeps 0 / 0 away must be smaller than any row that matters",
)
def short_rows(answer: Answer) -> None:
    z = 1e-3 * torch.tensor([[3.0, 4.0], [0.0, -2.0]])
    same(
        answer(z, 1e-3),
        1e-3 * torch.tensor([[2.4, 3.2], [0.0, -1.0]]),
        case="rows (0.003, 0.004) and (0, −0.002), threshold 0.001",
        tolerance=1e-6,
    )


@PROX.holds("small entries of a long row survive", cause="is each entry judged alone?")
def survivors(answer: Answer) -> None:
    z = torch.tensor([[5.0, 0.1]])
    found = answer(z, 1.0)
    ensure(
        bool(found[0, 1] != 0),
        case="the row (5, 0.1), threshold 1",
        expected="no zero",
        actual=f"({found[0, 0]:.3g}, {found[0, 1]:.3g})",
    )


@PROX.holds("is the minimiser of ½‖u − z‖² + λ‖u‖₁,₂")
def optimal(answer: Answer) -> None:
    z = torch.randn(5, 3)
    ensure_minimal(
        lambda u: 0.5 * (u - z).square().sum() + prox.group_penalty(u, 1.3),
        answer(z, 1.3),
        case="5 atoms, 3 patches, λ = 1.3",
    )


@PROX.holds("groups do not mix")
def apart(answer: Answer) -> None:
    ensure_batchwise(answer, torch.randn(3, 5, 4), 1.0)


PROX.agrees(
    lambda: [
        (torch.randn(6, 4), 1.5),
        (torch.randn(7, 1), 0.8),
        (torch.randn(2, 5, 3), 0.0),
        (torch.randn(2, 2, 5, 3), 0.9),
        (torch.ones(3, 3, 3), 1.0),
        (torch.randn(4, 6), 9.0),
    ]
)


SPARSE = Exercise("group_lasso.sparse_prox", sparse_group_threshold)


@SPARSE.holds("without a penalty on rows it is soft thresholding", cause="what if λ₂ = 0?")
def entries_alone(answer: Answer) -> None:
    z = torch.tensor([[3.0, -0.4, 1.0], [0.2, 0.0, -2.0]])
    found = answer(z, 0.5, 0.0)
    same(found, prox.soft_threshold(z, 0.5), case="two rows of three, λ₁ = 0.5, λ₂ = 0")


@SPARSE.holds("without a penalty on entries it is group thresholding", cause="what if λ₁ = 0?")
def rows_alone(answer: Answer) -> None:
    z = torch.tensor([[3.0, -4.0, 0.0], [0.2, 0.0, -0.3], [0.0, 0.0, 0.0]])
    found = answer(z, 0.0, 1.0)
    same(found, prox.group_threshold(z, 1.0), case="three rows of three, λ₁ = 0, λ₂ = 1")


@SPARSE.holds("without penalties nothing changes", cause="what is 0 / 0?")
def without_penalties(answer: Answer) -> None:
    z = torch.tensor([[1.0, -2.0], [0.0, 0.0]])
    same(answer(z, 0.0, 0.0), z, case="a row of zeros beside another, λ₁ = λ₂ = 0")


@SPARSE.holds("for a group of one patch the thresholds add up", cause="of which row is the length?")
def one_patch(answer: Answer) -> None:
    z = torch.tensor([[3.0], [-1.2], [0.9]])
    expected = torch.tensor([[2.0], [-0.2], [0.0]])
    same(answer(z, 0.4, 0.6), expected, case="the column (3, −1.2, 0.9), λ₁ = 0.4, λ₂ = 0.6")


@SPARSE.holds("a row may keep some entries and drop others", cause="what is the fate of an entry?")
def some_entries(answer: Answer) -> None:
    stays = (answer(torch.tensor([[5.0, 0.3, -4.0]]), 1.0, 1.0) != 0).float()
    expected = torch.tensor([[1.0, 0.0, 1.0]])
    same(stays, expected, case="which entries of (5, 0.3, −4) are not 0, λ₁ = λ₂ = 1")


@SPARSE.holds("no other point has a smaller objective", cause="what does its derivative say?")
def sparse_minimal(answer: Answer) -> None:
    for entry, row in ((0.3, 0.5), (0.6, 0.2), (0.1, 1.5)):
        z = torch.randn(4, 5)

        def objective(u: Tensor, z: Tensor = z, entry: float = entry, row: float = row) -> Tensor:
            penalty = entry * u.abs().sum() + row * u.norm(dim=-1).sum()
            return (u - z).square().sum() / 2 + penalty

        case = f"4 rows of 5, λ₁ = {entry}, λ₂ = {row}"
        ensure_minimal(objective, answer(z, entry, row), case=case)


@SPARSE.holds("twice the row and the penalties, twice the result", cause="is a length squared?")
def doubled(answer: Answer) -> None:
    z = torch.randn(3, 4)
    same(answer(2 * z, 0.6, 1.0), 2 * answer(z, 0.3, 0.5), case="3 rows of 4, and twice that")


@SPARSE.holds("many groups are as many problems")
def one_by_one(answer: Answer) -> None:
    ensure_batchwise(answer, torch.randn(3, 4, 5), 0.3, 0.5)


SPARSE.agrees(
    lambda: [
        (torch.randn(4, 6), 0.3, 0.8),
        (torch.randn(2, 4, 6).double(), 0.5, 0.4),
        (torch.ones(3, 2), 0.5, 0.5),
        (torch.randn(5, 1), 0.2, 0.2),
    ]
)


LARGEST = Exercise("group_lasso.largest_lambda", largest_lambda)


@LARGEST.holds("for one patch it is that of the lasso")
def single(answer: Answer) -> None:
    patch = torch.tensor([[0.5], [-3.0], [1.0]])
    found = answer(patch, torch.eye(3))
    mistakes = [
        (1.0, "can a good match be negative?"),
        (9.0, "a length, or its square?"),
        (1.5, "the strongest atom, or all of them?"),
        (4.5, "the strongest atom, or all of them?"),
        (3 / 3**0.5, "n is the number of patches: which axis is that?"),
    ]
    same(
        found,
        3.0,
        case="the patch (0.5, −3, 1), the identity as dictionary",
        cause=likely_cause(found, mistakes),
    )


@LARGEST.holds("equal patches need no more than one of them", cause="where does √n belong?")
def copies(answer: Answer) -> None:
    patch, dictionary = torch.randn(6, 1), normalize_atoms(torch.randn(6, 9))
    same(
        answer(patch.expand(6, 4).clone(), dictionary),
        answer(patch, dictionary),
        case="4 copies of a patch, and the patch alone",
    )


@LARGEST.holds("a row counts by its length", cause="its length, or its largest entry?")
def by_length(answer: Answer) -> None:
    same(
        answer(torch.tensor([[3.0, 4.0]]), torch.eye(1)),
        5 / 2**0.5,
        case="two patches of one pixel, 3 and 4, and one atom",
    )


@LARGEST.holds("patches twice as strong, twice as large")
def linear(answer: Answer) -> None:
    (patches, *_), dictionary = _groups(6, 9, 4)
    same(
        answer(-2 * patches, dictionary),
        2 * answer(patches, dictionary),
        case="4 patches, and −2 times these",
        cause="a length, or its square?",
    )


@LARGEST.holds("above it zero is optimal, below it is not", cause="one atom, or all of them?")
def frontier(answer: Answer) -> None:
    patches, dictionary = _groups(6, 9, 4, 1)
    lam, step = float(answer(patches[0], dictionary)), 1 / spectral_norm(dictionary) ** 2
    for factor, awake in ((1.01, False), (0.99, True)):
        moved = group_step(patches, dictionary, torch.zeros(1, 9, 4), factor * lam, step)
        ensure(
            bool((moved != 0).any()) == awake,
            case=f"4 patches, 9 atoms, λ = {factor} × the answer: one step of ISTA from zero",
            expected="an atom in use" if awake else "no atom in use",
            actual="no atom in use" if awake else "an atom in use",
        )


LARGEST.agrees(
    lambda: [
        (torch.randn(16, 5), dct_dictionary(4, 25)),
        (torch.randn(4, 9), normalize_atoms(torch.randn(4, 7))),
        (torch.randn(6, 1), normalize_atoms(torch.randn(6, 9))),
        (torch.zeros(6, 3), normalize_atoms(torch.randn(6, 9))),
        (torch.ones(6, 3), normalize_atoms(torch.randn(6, 9))),
    ]
)


STEP = Exercise("group_lasso.step", group_step)


@STEP.holds(
    "from zero, and with λ = 0, it goes up the correlations", cause="which way is downhill?"
)
def no_penalty(answer: Answer) -> None:
    patches, dictionary = _groups(6, 9, 4)
    found = answer(patches, dictionary, torch.zeros(3, 9, 4), 0.0, 0.2)
    expected = 0.2 * dictionary.T @ patches
    mistakes = [
        (-expected, "is the sign of the gradient right?"),
        (5 * expected, "is the gradient multiplied by the step?"),
    ]
    same(
        found,
        expected,
        case="3 groups of 4 patches, 9 atoms, codes of zero, λ = 0, step 0.2",
        cause=likely_cause(found, mistakes),
    )


@STEP.holds(
    "codes that explain their patches stay, with λ = 0",
    cause="is what the codes explain taken away from the patches?",
)
def explained(answer: Answer) -> None:
    _, dictionary = _groups(6, 9, 4)
    codes = torch.randn(3, 9, 4)
    same(
        answer(dictionary @ codes, dictionary, codes, 0.0, 0.2),
        codes,
        case="3 groups of 4 patches, made from their codes, λ = 0, step 0.2",
    )


@STEP.holds("groups of one patch: a step of the lasso", cause="are step and λ in the threshold?")
def lasso(answer: Answer) -> None:
    patches, dictionary = _groups(6, 9, 1)
    codes, step = torch.randn(3, 9, 1), 0.2
    moved = codes + step * dictionary.T @ (patches - dictionary @ codes)
    found = answer(patches, dictionary, codes, 0.7, step)
    mistakes = [
        (
            prox.soft_threshold(moved, step * 0.7 * 6**0.5),
            "n is the number of patches: which axis is that?",
        ),
        (prox.soft_threshold(moved, 0.7), "is the step in the threshold?"),
        (moved, "is there a threshold?"),
    ]
    same(
        found,
        prox.soft_threshold(moved, step * 0.7),
        case="3 groups of 1 patch, λ = 0.7, step 0.2",
        cause=likely_cause(found, mistakes),
    )


@STEP.holds("n copies of a patch move like the patch alone", cause="where does √n belong?")
def copies_move(answer: Answer) -> None:
    patches, dictionary = _groups(6, 9, 1)
    codes = torch.randn(3, 9, 1)
    four = answer(
        patches.expand(3, 6, 4).clone(), dictionary, codes.expand(3, 9, 4).clone(), 0.7, 0.2
    )
    one = answer.reference(patches, dictionary, codes, 0.7, 0.2)
    same(four, one, case="3 groups of 4 equal patches, and of 1, λ = 0.7, step 0.2")


@STEP.holds("the objective never rises", cause="is the gradient taken at the codes?")
def descent(answer: Answer) -> None:
    patches, dictionary = _groups(6, 9, 4)
    codes, step = torch.zeros(3, 9, 4), 1 / spectral_norm(dictionary) ** 2
    value = float(objective(patches, dictionary, codes, 0.4))
    for number in range(1, 9):
        codes = answer(patches, dictionary, codes, 0.4, step)
        after = float(objective(patches, dictionary, codes, 0.4))
        ensure(
            after <= value * (1 + 1e-5),
            case=f"3 groups of 4 patches, 9 atoms, λ = 0.4, step 1/‖D‖², step number {number}",
            expected=f"an objective of {value:.5g} at most, as before",
            actual=f"{after:.5g}",
        )
        value = after


@STEP.holds("each group moves alone")
def alone(answer: Answer) -> None:
    patches, dictionary = _groups(6, 9, 4)
    codes = torch.randn(3, 9, 4)
    together = answer(patches, dictionary, codes, 0.5, 0.1)
    for i in range(3):
        same(
            together[i : i + 1],
            answer(patches[i : i + 1], dictionary, codes[i : i + 1], 0.5, 0.1),
            case=f"group {i} of 3, and it alone",
        )


STEP.agrees(
    lambda: [
        (*_groups(6, 9, 4), torch.randn(3, 9, 4), 0.5, 0.1),
        (*_groups(16, 25, 3, 1), torch.zeros(1, 25, 3), 1.0, 0.05),
        (*_groups(5, 5, 5, 5), torch.ones(5, 5, 5), 0.3, 0.1),
    ]
)
