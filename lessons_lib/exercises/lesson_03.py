"""Exercises of lesson 03: learning a dictionary."""

import math

import torch
from torch import Tensor

from lessons_lib.exercises.answer import FINITE, SHAPE, Answer
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.properties import cause_of, ensure, likely_cause, same
from lessons_lib.ops import dictionary as dictionaries
from lessons_lib.ops.dictionary import dct_dictionary, normalize_atoms
from lessons_lib.ops.patches import centre, extract_patches, overlap_average
from lessons_lib.solvers import omp


def update_atoms(patches: Tensor, dictionary: Tensor, codes: Tensor) -> Tensor:
    """One round over the atoms: each becomes the best unit atom while all the others rest.

    ``u_j = d_j + E a_jᵀ / ‖a_j‖²`` with ``E = Y − DA``, then ``d_j ← u_j / ‖u_j‖``

    Args:
        patches: ``Y``, ``(m, N)``.
        dictionary: ``D``, ``(m, K)``, unit columns.
        codes: ``A``, ``(K, N)``; ``a_j`` is its row ``j``.

    Returns:
        ``(m, K)``, unit columns. Atoms that no patch uses stay as they are.

    Source: Mairal, Bach, Ponce, Sapiro, *Online learning for matrix factorization and sparse
    coding*, JMLR 2010, algorithm 2, on the sphere instead of the ball.
    """
    updated = dictionary.clone()
    residual = patches - dictionary @ codes
    for j in range(codes.shape[0]):
        energy = codes[j].square().sum()
        if energy > 0:
            before = updated[:, j].clone()
            direction = before + residual @ codes[j] / energy
            updated[:, j] = direction / direction.norm()
            residual = residual + torch.outer(before - updated[:, j], codes[j])
    return updated


def best_pair(rest: Tensor) -> tuple[Tensor, Tensor]:
    """The unit atom ``(m,)`` and the codes ``(n,)`` with the smallest ``‖E − d a‖_F``.

    They are the first singular vectors of ``E``, the right one times the singular value; the sign
    of the two is arbitrary.

    Source: Aharon, Elad, Bruckstein, *K-SVD: an algorithm for designing overcomplete dictionaries
    for sparse representation*, 2006; Elad and Aharon 2006.
    """
    left, values, right = torch.linalg.svd(rest, full_matrices=False)
    return left[:, 0], values[0] * right[0]


def pursue(patch: Tensor, dictionary: Tensor, limit: float, most: int) -> Tensor:
    """Orthogonal matching pursuit of one patch ``(m,)``, giving its code ``(K,)``.

    Differs from `lessons_lib.solvers.omp`: SPAMS chooses the atom that leaves the shortest residual
    after the fit, which is often another one.
    """
    code, left = dictionary.new_zeros(dictionary.shape[1]), patch
    support: list[int] = []
    while left.norm() > limit and len(support) < most:
        support.append(int((dictionary.T @ left).abs().argmax()))
        code[support] = torch.linalg.lstsq(dictionary[:, support], patch[:, None]).solution[:, 0]
        left = patch - dictionary @ code
    return code


def code_noisy(patches: Tensor, dictionary: Tensor, sigma: float, factor: float) -> Tensor:
    """Codes ``(K, N)`` of centred patches ``(m, N)``, up to a residual as long as the noise."""
    length = factor * sigma * math.sqrt(patches.shape[0])
    return omp(patches, dictionary, residual_norm=length)[0]


def denoise(noisy: Tensor, dictionary: Tensor, size: int, sigma: float, factor: float) -> Tensor:
    """Centre, code and average all patches of ``(1, 1, H, W)``."""
    centred, mean = centre(extract_patches(noisy, size))
    estimate = dictionary @ code_noisy(centred[0], dictionary, sigma, factor)
    return overlap_average(estimate[None] + mean, (noisy.shape[-2], noisy.shape[-1]), size)


def _unit(dim: int, atoms: int) -> Tensor:
    return normalize_atoms(torch.randn(dim, atoms))


def _basis(dim: int) -> Tensor:
    """Orthonormal atoms, for which every pursuit takes the same ones."""
    return torch.linalg.qr(torch.randn(dim, dim)).Q


def _error(patches: Tensor, dictionary: Tensor, codes: Tensor) -> Tensor:
    return (patches - dictionary @ codes).square().sum() / 2


UPDATE = Exercise("dictionary.update_atoms", update_atoms)


@UPDATE.holds("every atom has length 1")
def unit_length(answer: Answer) -> None:
    updated = answer(torch.randn(6, 15), _unit(6, 4), torch.randn(4, 15))
    slips = [
        (torch.ones(6), "along which axis does an atom lie?"),
    ]
    same(
        updated.norm(dim=0),
        torch.ones(4),
        case="lengths of 4 atoms after an update",
        cause=likely_cause(updated.norm(dim=1), slips) or "what is u divided by?",
    )


@UPDATE.holds("an atom that no patch uses stays")
def unused_atom(answer: Answer) -> None:
    cause = "what does a row of zeros in A ask for?"
    for unused in (slice(2, 3), slice(0, 4)):
        dictionary, codes = _unit(6, 4), torch.randn(4, 15)
        codes[unused] = 0
        with cause_of(FINITE, cause):
            updated = answer(torch.randn(6, 15), dictionary, codes)
        same(
            updated[:, unused],
            dictionary[:, unused],
            case=f"{unused.stop - unused.start} of 4 atoms, whose row of A is zero",
            cause=cause,
        )


@UPDATE.holds("atoms that explain the patches exactly stay", cause="what is the step if Y = DA?")
def fixed_point(answer: Answer) -> None:
    dictionary, codes = _unit(6, 4), torch.randn(4, 15)
    same(answer(dictionary @ codes, dictionary, codes), dictionary, case="Y = DA")


@UPDATE.holds("a single atom turns to what its patches have in common")
def common_direction(answer: Answer) -> None:
    truth, start, codes = _unit(6, 1), _unit(6, 1), torch.randn(1, 15)
    found = answer(truth @ codes, start, codes)
    energy = codes.square().sum()
    slips = [
        (normalize_atoms(2 * start - truth), "in which direction does the residual pull?"),
        (normalize_atoms(truth - start), "where does the old atom enter u?"),
        (
            normalize_atoms(start + energy * (truth - start)),
            "is the step divided by the energy of its row of A?",
        ),
        (
            normalize_atoms(start + energy.sqrt() * (truth - start)),
            "the energy of a row of A, or its length?",
        ),
    ]
    same(
        found,
        truth,
        case="patches that are all multiples of one atom, and another atom to start from",
        cause=likely_cause(found, slips) or "is the whole step taken?",
    )


@UPDATE.holds(
    "the error never grows", cause="after the first atom has moved, what is left to explain?"
)
def descent(answer: Answer) -> None:
    for _ in range(5):
        patches, dictionary = torch.randn(6, 15), _unit(6, 8)
        codes = torch.rand(8, 15)  # positive: neighbouring atoms want to mend the same error
        before = _error(patches, dictionary, codes).item()
        after = _error(patches, answer(patches, dictionary, codes), codes).item()
        ensure(
            after <= before * (1 + 1e-5),
            case="15 patches, 8 atoms, all of them in use",
            expected=f"½‖Y − DA‖² at most {before:.5g}, as before",
            actual=f"{after:.5g}",
        )


@UPDATE.holds(
    "no other unit atom does better in the last atom's place",
    cause="from the first atom to the last: what do the others look like when its turn comes?",
)
def last_atom_is_best(answer: Answer) -> None:
    patches, codes = torch.randn(6, 15), torch.randn(4, 15)
    updated = answer(patches, _unit(6, 4), codes)
    value = _error(patches, updated, codes).item()
    for scale in (0.01, 0.1, 1.0):
        for _ in range(20):
            rival = updated.clone()
            rival[:, 3] += scale * torch.randn(6)
            best = _error(patches, normalize_atoms(rival), codes).item()
            ensure(
                value <= best * (1 + 1e-5),
                case="last of 4 atoms, the other 3 at rest",
                expected=f"½‖Y − DA‖² at most {best:.5g}, which another atom reaches",
                actual=f"{value:.5g}",
            )


UPDATE.agrees(
    lambda: [
        (torch.randn(4, 9), _unit(4, 6), torch.randn(6, 9) * (torch.rand(6, 9) > 0.5))
        for _ in range(3)
    ],
    tolerance=1e-4,
    cause="from the first atom to the last: the residual of each sees the atoms already moved",
)


PAIR = Exercise("dictionary.best_pair", best_pair)


def _left_over(rest: Tensor, atom: Tensor, codes: Tensor) -> float:
    return float((rest - torch.outer(atom, codes)).square().sum())


@PAIR.holds("one atom of m numbers, and one code for each of n patches")
def sizes(answer: Answer) -> None:
    for shape in ((6, 9), (9, 6), (5, 1), (1, 5)):
        with cause_of(SHAPE, "E has a patch in each column: which of the two is as long as it?"):
            answer(torch.randn(shape))


@PAIR.holds("the atom has length 1")
def unit_atom(answer: Answer) -> None:
    atom, _ = answer(3 * torch.randn(6, 9))
    same(
        atom.norm(),
        1.0,
        case="E random, 6 × 9",
        cause="the scale goes to the codes",
    )


@PAIR.holds("codes are the best for their atom")
def least_squares_row(answer: Answer) -> None:
    rest = torch.randn(6, 9)
    atom, codes = answer(rest)
    best = atom @ rest
    slips = [
        (best / best.norm(), "the codes have a length of their own: which one?"),
        (-best, "atom and codes: do their signs belong together?"),
        (best / best.norm() ** 0.5, "a singular value, or its root?"),
        (best * best.norm(), "a singular value, or its square?"),
    ]
    same(
        codes,
        best,
        case="E random, 6 × 9; codes of your atom by least squares",
        tolerance=1e-4,
        cause=likely_cause(codes, slips) or "if d is given, what does least squares say about a?",
    )


@PAIR.holds("nothing is left of multiples of one patch")
def rank_one(answer: Answer) -> None:
    row = torch.randn(9)
    for name, codes in {"random": row, "that sum to 0": row - row.mean()}.items():
        rest = torch.outer(_unit(6, 1)[:, 0], codes)
        atom, found = answer(rest)
        cause = (
            "the strongest direction, or the weakest?"
            if found.norm() < 0.01 * codes.norm()
            else "which direction do all the columns have in common, whatever their signs?"
        )
        same(
            torch.outer(atom, found),
            rest,
            case=f"E is one atom times 9 codes, {name}",
            tolerance=1e-4,
            cause=cause,
        )


@PAIR.holds("no other pair leaves less")
def nothing_better(answer: Answer) -> None:
    plain, far = torch.randn(6, 9), torch.randn(6, 20) + 3 * _unit(6, 1)
    for case, rest in {
        "E random, 6 × 9": plain,
        "E random, 9 × 6": plain.T,
        "20 patches that are not centred": far,
        "E the 5 × 5 identity": torch.eye(5),
        "one strong patch against many that agree": torch.cat(
            [2 * _unit(6, 1), _unit(6, 1).expand(6, 15)], dim=1
        ),
    }.items():
        atom, codes = answer(rest)
        left = _left_over(rest, atom, codes)
        rivals = [*rest.T, rest.mean(dim=1), *torch.randn(50, len(rest))]
        for scale in (0.01, 0.1, 0.5):
            rivals += [atom + scale * torch.randn_like(atom) for _ in range(30)]
        for rival in rivals:
            direction = rival / rival.norm().clamp_min(1e-12)
            best = _left_over(rest, direction, direction @ rest)
            ensure(
                left <= best * (1 + 1e-5) + 1e-6,
                case=case,
                expected=f"‖E − da‖² at most {best:.5g}, which another pair leaves",
                actual=f"{left:.5g}",
                cause="with the best row for each d: which number does the best d make largest?",
            )


@PAIR.holds("of an E of zeros, an atom of length 1 and codes of 0")
def nothing_to_explain(answer: Answer) -> None:
    with cause_of(FINITE, "what is 0 divided by here?"):
        atom, codes = answer(torch.zeros(4, 3))
    same(atom.norm(), 1.0, case="E = 0, 4 × 3", cause="which atom, if all are as good?")
    same(codes, 0.0, case="E = 0, 4 × 3")


@PAIR.holds("agrees with the library")
def same_product(answer: Answer) -> None:
    for rest in (
        torch.randn(6, 9),
        torch.randn(9, 4).T,
        torch.randn(16, 30).double(),
        1e-3 * torch.randn(5, 5),
    ):
        same(
            torch.outer(*answer(rest)),
            torch.outer(*answer.reference(rest)),
            case=f"the product of the two, E random, {rest.shape[0]} × {rest.shape[1]}",
            tolerance=1e-3,
            cause="if it iterates: are there enough iterations?",
        )


COHERENCE = Exercise("dictionary.coherence", dictionaries.coherence)


@COHERENCE.holds("an orthonormal basis has coherence 0", cause="is an atom compared with itself?")
def orthonormal(answer: Answer) -> None:
    same(answer(torch.eye(5)), 0.0, case="the 5 × 5 identity")
    same(answer(dct_dictionary(3, 9)), 0.0, case="the orthonormal DCT of 3 × 3 patches")


@COHERENCE.holds("two atoms at 60 degrees have coherence 1/2")
def sixty_degrees(answer: Answer) -> None:
    atoms = torch.zeros(3, 3)
    atoms[0, 0], atoms[0, 1], atoms[1, 1], atoms[2, 2] = 1.0, 0.5, 3**0.5 / 2, 1.0
    found = answer(atoms)
    slips = [
        (0.25, "the cosine, or its square?"),
        (1 / 9, "the largest cosine, or the mean of all?"),
        (1 / 6, "the largest cosine, or the mean of the pairs?"),
        (answer.reference(atoms.T), "an atom is a column: what does the product compare?"),
    ]
    same(
        found,
        0.5,
        case="the atoms (1, 0, 0), (1/2, √3/2, 0) and (0, 0, 1)",
        cause=likely_cause(found, slips),
    )


@COHERENCE.holds("an atom and its negative have coherence 1", cause="which cosine is −1?")
def opposite(answer: Answer) -> None:
    atom = _unit(5, 1)
    same(answer(torch.cat([atom, -atom], dim=1)), 1.0, case="an atom beside its negative")


@COHERENCE.holds("one close pair is enough", cause="the worst pair, or all of them?")
def worst_pair(answer: Answer) -> None:
    atoms = torch.cat([torch.eye(5), torch.eye(5)[:, :1]], dim=1)
    same(answer(atoms), 1.0, case="the 5 × 5 identity with its first column repeated")


@COHERENCE.holds("the lengths of the atoms do not matter", cause="a cosine, or an inner product?")
def lengths(answer: Answer) -> None:
    atoms = _unit(5, 4)
    scaled = atoms * torch.tensor([3.0, 0.1, 1.0, 7.0])
    same(answer(scaled), answer(atoms), case="4 atoms, and the same 4 made longer or shorter")


COHERENCE.agrees(lambda: [(_unit(6, 3),), (_unit(4, 9),), (dct_dictionary(3, 16),)])


PURSUIT = Exercise("dictionary.pursue", pursue)


@PURSUIT.holds("as many atoms as allowed, where all are needed")
def as_many_as_allowed(answer: Answer) -> None:
    patch = torch.tensor([4.0, 3.0, 2.0, 1.0, 0.5])
    for most in (1, 2, 4):
        used = int((answer(patch, torch.eye(5), 1e-3, most) != 0).sum())
        ensure(
            used == most,
            case=f"patch [4, 3, 2, 1, 0.5], the identity as dictionary, {most} allowed",
            expected=f"{most} in use",
            actual=f"{used} in use",
            cause="how many are in use when the loop looks whether one more may join?",
        )


@PURSUIT.holds("a patch shorter than the limit needs no atom", cause="when is the limit looked at?")
def short_patch(answer: Answer) -> None:
    patch = torch.tensor([0.3, -0.2, 0.1, 0.0])
    cause = "when is the limit looked at?"
    same(answer(patch, torch.eye(4), 0.5, 4), 0.0, case="a patch of length 0.37", cause=cause)
    same(answer(0 * patch, torch.eye(4), 0.0, 4), 0.0, case="a patch of zeros, limit 0")


@PURSUIT.holds("the first atom is the most correlated one")
def first_atom(answer: Answer) -> None:
    patch = torch.tensor([0.5, -3.0, 1.0, 2.0])
    found = answer(patch, torch.eye(4), 1e-3, 1)
    slips = [
        (torch.tensor([0.0, 0.0, 0.0, 2.0]), "can a good match be negative?"),
        (torch.tensor([0.5, 0.0, 0.0, 0.0]), "is it the largest correlation that wins?"),
        (torch.tensor([0.0, 3.0, 0.0, 0.0]), "what becomes of the sign?"),
    ]
    same(
        found,
        torch.tensor([0.0, -3.0, 0.0, 0.0]),
        case="patch [0.5, -3, 1, 2], the identity as dictionary, 1 atom allowed",
        cause=likely_cause(found, slips),
    )


@PURSUIT.holds(
    "the next atom is the one most correlated with what is left",
    cause="with what is left by then, not with the patch",
)
def next_atom(answer: Answer) -> None:
    atoms = torch.tensor([[1.0, 0.8, 0.0, 0.0], [0.0, 0.6, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
    same(
        answer(torch.tensor([3.0, 0.1, 1.0]), atoms, 1e-3, 2),
        torch.tensor([3.0, 0.0, 1.0, 0.0]),
        case="patch [3, 0.1, 1], atoms (1, 0, 0), (0.8, 0.6, 0), (0, 0, 1), (0, 1, 0), 2 allowed",
    )


@PURSUIT.holds("no more atoms than allowed")
def at_most(answer: Answer) -> None:
    patch, atoms = torch.randn(12), _unit(12, 20)
    for most in (1, 2, 5):
        used = int((answer(patch, atoms, 1e-3, most) != 0).sum())
        ensure(
            used <= most,
            case=f"a random patch, 20 atoms, {most} allowed",
            expected=f"at most {most} in use",
            actual=f"{used} in use",
        )


@PURSUIT.holds("what is left is orthogonal to the chosen atoms")
def orthogonal(answer: Answer) -> None:
    patch, atoms = torch.randn(12), _unit(12, 20)
    found = answer(patch, atoms, 1e-3, 5)
    left = patch - atoms @ found
    same(
        atoms[:, found != 0].T @ left,
        0.0,
        tolerance=1e-4,
        cause="what happens to earlier coefficients when an atom joins?",
        case="inner products of the residual with 5 chosen atoms",
    )


@PURSUIT.holds("it stops as soon as the residual is short enough", cause="length, or its square?")
def stops(answer: Answer) -> None:
    for limit in (0.5, 2.0):
        patch, atoms = 4 * _unit(12, 1)[:, 0], _unit(12, 20)
        found = answer(patch, atoms, limit, 12)
        used, left = int((found != 0).sum()), float((patch - atoms @ found).norm())
        case = f"a patch of length 4, limit {limit}"
        ensure(
            left <= limit + 1e-4,
            case=case,
            expected=f"a residual of length {limit} at most",
            actual=f"length {left:.4g} with {used} atoms",
        )
        one_less = answer.reference(patch, atoms, limit, used - 1) if used > 1 else 0 * found
        before = float((patch - atoms @ one_less).norm())
        ensure(
            before > limit,
            case=case,
            expected=f"no atom once the length is below {limit}",
            actual=f"{used} atoms, and {used - 1} already reach {before:.4g}",
        )


PURSUIT.agrees(
    lambda: [
        (torch.randn(12), _unit(12, 20), 0.8, 6),
        (torch.randn(16), dct_dictionary(4, 25), 1.0, 8),
        (torch.randn(9), _unit(9, 5), 1e-3, 3),
    ],
    tolerance=1e-4,
    cause="one atom at a time, and all chosen ones fitted again",
)


CODE = Exercise("dictionary.code_noisy", code_noisy)


@CODE.holds(
    "most patches of nothing but noise come out empty",
    cause="a patch has m pixels: how long is a vector of m numbers, each of size σ?",
)
def pure_noise(answer: Answer) -> None:
    for size in (4, 8):
        found = answer(0.1 * torch.randn(size**2, 20), dct_dictionary(size, size**2), 0.1, 1.2)
        busy = int((found != 0).any(dim=0).sum())
        ensure(
            busy <= 8,
            case=f"20 patches of {size} × {size} pixels of noise, σ = 0.1, c = 1.2",
            expected="8 of them with an atom, at most",
            actual=f"{busy} of them",
        )


@CODE.holds("an atom much stronger than the noise survives", cause="is the limit far too long?")
def strong_atom(answer: Answer) -> None:
    basis = dct_dictionary(6, 36)
    found = answer(3 * basis[:, 7:8] + 0.1 * torch.randn(36, 1), basis, 0.1, 1.1)
    ensure(
        float(found[7, 0]) > 2.5,
        case="atom 7 with coefficient 3 in noise, σ = 0.1, c = 1.1",
        expected="a coefficient near 3",
        actual=f"{float(found[7, 0]):.4g}",
    )


@CODE.holds("what is left is no longer than cσ√m", cause="m counts the pixels of a patch")
def residual(answer: Answer) -> None:
    patches, basis = torch.randn(16, 10), dct_dictionary(4, 36)
    left = (patches - basis @ answer(patches, basis, 0.5, 1.1)).norm(dim=0)
    ensure(
        float(left.max()) <= 2.2 + 1e-4,
        case="10 patches of 16 pixels, σ = 0.5, c = 1.1",
        expected="residuals of length 2.2 at most",
        actual=f"one of {float(left.max()):.4g}",
    )


@CODE.holds("an atom joins only while the residual is longer than cσ√m")
def no_atom_too_many(answer: Answer) -> None:
    patches, basis = torch.randn(16, 10), dct_dictionary(4, 16)
    found = answer(patches, basis, 0.6, 1.1)
    smallest = found.abs().where(found != 0, torch.inf).amin(dim=0)
    without = ((patches - basis @ found).square().sum(dim=0) + smallest.square()).sqrt()
    ensure(
        float(without.min()) > 1.1 * 0.6 * 4,
        case="10 patches of 16 pixels, orthonormal atoms, σ = 0.6, c = 1.1",
        expected="more than 2.64 without the last atom",
        actual=f"a patch of which {float(without.min()):.4g} is left without it",
        cause="does the pursuit stop at the first residual that is short enough?",
    )


@CODE.holds("a picture and a noise twice as large have codes twice as large")
def scale(answer: Answer) -> None:
    patches, basis = torch.randn(16, 10), dct_dictionary(4, 36)
    same(
        answer(2 * patches, basis, 0.5, 1.1),
        2 * answer(patches, basis, 0.25, 1.1),
        case="patches and σ both doubled",
        cause="is the limit a length, or its square?",
    )


CODE.agrees(
    lambda: [
        (torch.randn(16, 12), dct_dictionary(4, 16), 0.6, 1.1),
        (torch.randn(9, 12), _basis(9), 0.7, 1.0),
    ],
    tolerance=1e-4,
    cause="codes fit the patches by least squares, with the largest correlations first",
)


DENOISE = Exercise("dictionary.denoise", denoise)


@DENOISE.holds("a constant picture stays as it is")
def constant(answer: Answer) -> None:
    result = answer(torch.full((1, 1, 9, 12), 0.6), dct_dictionary(4, 25), 4, 0.1, 1.1)
    same(
        result[..., 3:-3, 3:-3],
        0.6,
        case="9 × 12 pixels of 0.6, inside",
        cause="where does a patch's mean go?",
    )
    same(
        result,
        0.6,
        case="9 × 12 pixels of 0.6, up to the border",
        cause="how many estimates has a pixel at the border?",
    )


@DENOISE.holds("without noise, a ramp comes back", cause="from codes back to pixels: what is D α?")
def ramp(answer: Answer) -> None:
    picture = (torch.arange(9.0)[:, None] + 2 * torch.arange(12.0))[None, None] / 40
    same(
        answer(picture, dct_dictionary(4, 16), 4, 1e-4, 1.1),
        picture,
        tolerance=1e-3,
        case="a ramp of 9 × 12 pixels, σ = 0.0001",
    )


@DENOISE.holds("drowned in noise, only the patches' means are left")
def drowned(answer: Answer) -> None:
    picture = torch.rand(1, 1, 9, 12)
    _, mean = centre(extract_patches(picture, 4))
    flat = overlap_average(mean.expand(-1, 16, -1), (9, 12), 4)
    result = answer(picture, dct_dictionary(4, 25), 4, 5.0, 1.1)
    slips = [
        (picture, "are the patches coded at all?"),
    ]
    cause = likely_cause(result, slips) or "is the mean taken off before the patches are coded?"
    same(result, flat, case="9 × 12 pixels, σ = 5", cause=cause)


@DENOISE.holds("a brighter picture gives a brighter result", cause="are the patches centred?")
def brighter(answer: Answer) -> None:
    picture, basis = torch.rand(1, 1, 9, 12), dct_dictionary(4, 16)
    same(
        answer(picture + 2, basis, 4, 0.2, 1.1),
        answer(picture, basis, 4, 0.2, 1.1) + 2,
        case="9 × 12 pixels, 2 added to each",
        tolerance=1e-4,
    )


DENOISE.agrees(
    lambda: [
        (torch.rand(1, 1, 9, 12), dct_dictionary(4, 16), 4, 0.18, 1.1),
        (torch.rand(1, 1, 11, 7), _basis(9), 3, 0.2, 1.0),
    ],
    tolerance=1e-4,
    cause="is code_noisy given the σ and the factor of the call?",
)
