"""Wrong answers to the exercises of lesson 03, each with the property that it breaks."""

import math

import torch

from lessons_lib.exercises.answer import FINITE, SHAPE, UNCHANGED
from lessons_lib.ops.dictionary import normalize_atoms
from lessons_lib.ops.patches import centre, extract_patches, overlap_add, overlap_average
from lessons_lib.solvers import omp

AGREES = "agrees with the library"
LENGTH = "every atom has length 1"
COMMON = "a single atom turns to what its patches have in common"
ROW = "codes are the best for their atom"
SIXTY = "two atoms at 60 degrees have coherence 1/2"


def in_turn(patches, dictionary, codes, finish, step=1.0, skip=True, fresh=True):
    """An atom update with one thing wrong."""
    updated = dictionary.clone()
    for j in range(codes.shape[0]):
        energy = codes[j].square().sum()
        if skip and energy == 0:
            continue
        now = updated if fresh else dictionary
        residual = patches - now @ codes
        updated[:, j] = finish(now[:, j] + step * residual @ codes[j] / energy)
    return updated


def length_one(atom):
    return atom / atom.norm()


def least_squares(patches, dictionary, codes):
    used = codes.norm(dim=1) > 0
    updated = dictionary.clone()
    updated[:, used] = normalize_atoms(patches @ torch.linalg.pinv(codes[used]))
    return updated


def overwrites(patches, dictionary, codes):
    for j in range(codes.shape[0]):
        residual = patches - dictionary @ codes
        step = residual @ codes[j] / codes[j].square().sum()
        dictionary[:, j] = length_one(dictionary[:, j] + step)
    return dictionary


def pair_of(atom, rest, scale=1.0):
    """An atom with the codes that are best for it, times ``scale``."""
    return atom, scale * (atom @ rest)


def singular(rest, which=0, value=lambda s: s):
    u, s, v = torch.linalg.svd(rest, full_matrices=False)
    return u[:, which], value(s[which]) * v[which]


def scaled_atom(rest):
    atom, codes = singular(rest)
    return codes.norm() * atom, codes / codes.norm().clamp_min(1e-12)


def centred_first(rest):
    atom, _ = singular(rest - rest.mean(dim=1, keepdim=True))
    return pair_of(atom, rest)


def hurried(rest):
    atom = torch.ones(rest.shape[0], dtype=rest.dtype)
    for _ in range(2):
        atom = rest @ (rest.T @ atom) + 1e-20
        atom = atom / atom.norm()
    return pair_of(atom, rest)


def patiently(rest):
    """Power iteration without a guard."""
    atom = torch.randn(rest.shape[0], dtype=rest.dtype)
    for _ in range(2000):
        atom = rest @ (rest.T @ atom)
        atom = atom / atom.norm()
    return pair_of(atom, rest)


def cosines(dictionary):
    atoms = normalize_atoms(dictionary)
    return atoms.T @ atoms - torch.eye(atoms.shape[1])


def matching(
    patch,
    dictionary,
    limit,
    most,
    refit=True,
    size=torch.abs,
    length=torch.norm,
    first=False,
    spare=0,
):
    """A pursuit with one thing wrong."""
    code, chosen, residual = torch.zeros(dictionary.shape[1]), [], patch
    while ((first and not chosen) or length(residual) > limit) and len(chosen) < most + spare:
        best = int(size(dictionary.T @ residual).argmax())
        chosen.append(best)
        if refit:
            code[chosen] = torch.linalg.lstsq(dictionary[:, chosen], patch[:, None]).solution[:, 0]
        else:
            code[best] = code[best] + dictionary[:, best] @ residual
        residual = patch - dictionary @ code
    return code


def in_order(patch, dictionary, limit, most):
    """Ranks the atoms once, by their correlation with the patch."""
    code, chosen = torch.zeros(dictionary.shape[1]), []
    ranked = (dictionary.T @ patch).abs().argsort(descending=True).tolist()
    while (patch - dictionary @ code).norm() > limit and len(chosen) < most:
        chosen.append(ranked[len(chosen)])
        code[chosen] = torch.linalg.lstsq(dictionary[:, chosen], patch[:, None]).solution[:, 0]
    return code


def stop_at(limit):
    """Coding that stops at another length."""

    def code(patches, dictionary, sigma, factor):
        return omp(patches, dictionary, residual_norm=limit(patches, dictionary, sigma, factor))[0]

    return code


def one_atom_more(patches, dictionary, sigma, factor):
    limit = factor * sigma * math.sqrt(patches.shape[0])
    codes = omp(patches, dictionary, residual_norm=limit)[0]
    for n in range(patches.shape[1]):
        used = int((codes[:, n] != 0).sum())
        if used:
            column = patches[:, n : n + 1]
            codes[:, n : n + 1] = omp(column, dictionary, sparsity=used + 1)[0]
    return codes


def pieces(noisy, dictionary, size, sigma, factor):
    centred, mean = centre(extract_patches(noisy, size))
    limit = factor * sigma * size
    return centred, mean, dictionary @ omp(centred, dictionary, residual_norm=limit)[0], limit


def forgets_the_mean(noisy, dictionary, size, sigma, factor):
    _, _, estimate, _ = pieces(noisy, dictionary, size, sigma, factor)
    return overlap_average(estimate, noisy.shape[-2:], size)


def does_not_centre(noisy, dictionary, size, sigma, factor):
    patches = extract_patches(noisy, size)
    codes, _ = omp(patches, dictionary, residual_norm=factor * sigma * size)
    return overlap_average(dictionary @ codes, noisy.shape[-2:], size)


def divides_by_m(noisy, dictionary, size, sigma, factor):
    _, mean, estimate, _ = pieces(noisy, dictionary, size, sigma, factor)
    return overlap_add(estimate + mean, noisy.shape[-2:], size) / size**2


def keeps_the_noise(noisy, dictionary, size, sigma, factor):
    centred, mean = centre(extract_patches(noisy, size))
    return overlap_average(centred + mean, noisy.shape[-2:], size)


def lazy(noisy, dictionary, size, sigma, factor):
    centred, mean = centre(extract_patches(noisy, size))
    codes, _ = omp(centred, dictionary, residual_norm=factor * sigma * size**2)
    return overlap_average(dictionary @ codes + mean, noisy.shape[-2:], size)


WRONG = {
    "dictionary.update_atoms": [
        (lambda y, d, a: in_turn(y, d, a, lambda atom: atom), LENGTH, "what is u divided by"),
        (
            lambda y, d, a: torch.nn.functional.normalize(in_turn(y, d, a, lambda u: u), dim=1),
            LENGTH,
            "along which axis",
        ),
        (lambda y, d, a: in_turn(y, d, a, length_one, skip=False), FINITE, "a row of zeros"),
        (lambda y, d, a: in_turn(y, d, a, length_one, step=-1.0), COMMON, "in which direction"),
        (lambda y, d, a: in_turn(y, d, a, length_one, step=0.5), COMMON, "the whole step"),
        (
            lambda y, d, a: in_turn(y, d.flip(1), a.flip(0), length_one).flip(1),
            "no other unit atom does better in the last atom's place",
            "from the first atom to the last",
        ),
        (lambda y, d, a: in_turn(y, d, a, length_one, fresh=False), "the error never grows"),
        (least_squares, "no other unit atom does better in the last atom's place"),
        (overwrites, UNCHANGED),
    ],
    "dictionary.best_pair": [
        (lambda e: singular(e)[::-1], SHAPE, "which of the two"),
        (scaled_atom, "the atom has length 1", "the scale goes"),
        (lambda e: singular(e, value=lambda s: 1.0), ROW, "a length of their own"),
        (lambda e: singular(e, value=lambda s: s**0.5), ROW, "or its root"),
        (lambda e: singular(e, value=lambda s: -s), ROW, "signs belong together"),
        (
            lambda e: singular(e, which=-1),
            "nothing is left of multiples of one patch",
            "or the weakest",
        ),
        (
            lambda e: pair_of(length_one(e.mean(dim=1) + 1e-20), e),
            "nothing is left of multiples of one patch",
            "whatever their signs",
        ),
        (
            lambda e: pair_of(length_one(e[:, e.norm(dim=0).argmax()]), e),
            "no other pair leaves less",
            "with the best row",
        ),
        (centred_first, "no other pair leaves less"),
        (hurried, "no other pair leaves less"),
        (patiently, FINITE, "what is 0 divided by"),
    ],
    "dictionary.coherence": [
        (
            lambda d: (normalize_atoms(d).T @ normalize_atoms(d)).abs().max().item(),
            "an orthonormal basis has coherence 0",
        ),
        (lambda d: cosines(d).max().item(), "an atom and its negative have coherence 1"),
        (lambda d: cosines(d).abs().mean().item(), SIXTY, "the mean of all"),
        (lambda d: cosines(d.T).nan_to_num().abs().max().item(), SIXTY, "an atom is a column"),
        (
            lambda d: (d.T @ d).abs().fill_diagonal_(0).max().item(),
            "the lengths of the atoms do not matter",
        ),
        (lambda d: cosines(d).square().max().item(), SIXTY, "or its square"),
    ],
    "dictionary.pursue": [
        (
            lambda y, d, limit, most: matching(y, d, limit, most, first=True),
            "a patch shorter than the limit needs no atom",
        ),
        (
            lambda y, d, limit, most: matching(y, d, limit, most, size=lambda c: c),
            "the first atom is the most correlated one",
            "can a good match be negative",
        ),
        (
            lambda y, d, limit, most: matching(y, d, limit, most, spare=1),
            "as many atoms as allowed, where all are needed",
            "one more may join",
        ),
        (
            lambda y, d, limit, most: matching(y, d, limit, most, spare=-1),
            "as many atoms as allowed, where all are needed",
            "one more may join",
        ),
        (
            in_order,
            "the next atom is the one most correlated with what is left",
            "not with the patch",
        ),
        (
            lambda y, d, limit, most: matching(y, d, limit, most, refit=False),
            "what is left is orthogonal to the chosen atoms",
        ),
        (
            lambda y, d, limit, most: matching(
                y, d, limit, most, length=lambda r: r.square().sum()
            ),
            "it stops as soon as the residual is short enough",
        ),
        (lambda y, d, limit, most: matching(y, d, limit, most)[:, None], SHAPE),
    ],
    "dictionary.code_noisy": [
        (
            stop_at(lambda y, d, sigma, c: c * sigma),
            "most patches of nothing but noise come out empty",
        ),
        (
            stop_at(lambda y, d, sigma, c: c * sigma**2 * y.shape[0]),
            "most patches of nothing but noise come out empty",
        ),
        (
            stop_at(lambda y, d, sigma, c: c * sigma * y.shape[0]),
            "an atom much stronger than the noise survives",
        ),
        (
            stop_at(lambda y, d, sigma, c: c * sigma * math.sqrt(d.shape[1])),
            "what is left is no longer than cσ√m",
        ),
        (
            stop_at(lambda y, d, sigma, c: 0.8 * c * sigma * math.sqrt(y.shape[0])),
            "most patches of nothing but noise come out empty",
        ),
        (
            stop_at(lambda y, d, sigma, c: c * sigma * math.sqrt(y.shape[1])),
            "most patches of nothing but noise come out empty",
            "a patch has m pixels",
        ),
        (one_atom_more, "an atom joins only while the residual is longer than cσ√m"),
    ],
    "dictionary.denoise": [
        (forgets_the_mean, "a constant picture stays as it is", "a patch's mean"),
        (does_not_centre, "drowned in noise, only the patches' means are left", "taken off"),
        (divides_by_m, "a constant picture stays as it is", "at the border"),
        (keeps_the_noise, "drowned in noise, only the patches' means are left", "coded at all"),
        (lazy, AGREES),
    ],
}
