"""Dictionaries: fixed ones, learned ones, and the numbers that describe them.

A dictionary is an ``(m, K)`` matrix whose ``K`` columns, the atoms, have unit length.
"""

import importlib
import importlib.util
import threading
from types import ModuleType
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lessons_lib.ops.prox import soft_threshold

Backend = Literal["auto", "spams", "pytorch"]

# Patches that are learned from at a time.
BATCH = 512
# SPAMS draws from one generator, whatever thread asks.
_SPAMS = threading.Lock()


def load_spams() -> ModuleType | None:
    """The SPAMS toolbox if it is installed, else None. It is GPL, and never required."""
    if importlib.util.find_spec("spams") is None:
        return None
    return importlib.import_module("spams")


def choose_backend(backend: Backend) -> ModuleType | None:
    """The SPAMS module if it is to be used, None for our own code in PyTorch.

    Raises:
        ValueError: for an unknown name.
        ModuleNotFoundError: if SPAMS is asked for by name and not installed.
    """
    if backend not in ("auto", "spams", "pytorch"):
        raise ValueError(f"backend is 'auto', 'spams' or 'pytorch', not {backend!r}")
    if backend == "pytorch":
        return None
    spams = load_spams()
    if spams is None and backend == "spams":
        raise ModuleNotFoundError("SPAMS is not installed: pip install spams-bin")
    return spams


def normalize_atoms(dictionary: Tensor) -> Tensor:
    """Scale every atom to unit length; an atom of zeros stays as it is."""
    norms = dictionary.norm(dim=0, keepdim=True)
    return dictionary / torch.where(norms > 0, norms, torch.ones_like(norms))


def dct_dictionary(size: int, atoms: int, channels: int = 1) -> Tensor:
    """Cosines of a square patch, more of them than pixels if asked for.

    Along one axis, atom ``k`` of ``n`` is ``cos(π (i + ½) k / n)`` at pixel ``i``, without its mean
    for ``k > 0``; products of two axes make the patch. ``n = size`` is the orthonormal DCT-II. With
    several channels, each atom comes with the orthonormal DCT-II across channels as well.

    Args:
        size: side of the patch.
        atoms: ``n²`` atoms for one channel, a perfect square of at least ``size²``.
        channels: 1 for gray, 3 for colour.

    Returns:
        ``(channels * size², channels * atoms)``, unit columns. The first is constant.

    Raises:
        ValueError: if ``atoms`` is no perfect square or fewer than ``size²``.

    >>> basis = dct_dictionary(8, 64)
    >>> torch.allclose(basis.T @ basis, torch.eye(64), atol=1e-5)
    True
    """
    frequencies = round(atoms**0.5)
    if frequencies**2 != atoms or frequencies < size:
        raise ValueError(f"atoms must be a perfect square of at least {size**2}, not {atoms}")
    axis = _cosines(size, frequencies)
    plane = torch.kron(axis, axis)
    return normalize_atoms(torch.kron(_cosines(channels, channels), plane)).float()


def cosine_basis(length: int) -> Tensor:
    """The orthonormal DCT-II of a line of numbers, ``(length, length)``; the first column is flat.

    >>> cosine_basis(2)
    tensor([[ 0.7071,  0.7071],
            [ 0.7071, -0.7071]])
    """
    return _cosines(length, length).float()


def _cosines(length: int, frequencies: int) -> Tensor:
    pixels = torch.arange(length, dtype=torch.float64) + 0.5
    waves = torch.cos(torch.pi * pixels[:, None] * torch.arange(frequencies) / frequencies)
    waves[:, 1:] -= waves[:, 1:].mean(dim=0)
    return normalize_atoms(waves)


def random_dictionary(dim: int, atoms: int, generator: torch.Generator) -> Tensor:
    """Gaussian atoms of unit length, ``(dim, atoms)``."""
    return normalize_atoms(torch.randn(dim, atoms, generator=generator))


def spectral_norm(dictionary: Tensor) -> float:
    """Largest singular value; its square is the Lipschitz constant of the gradient in ISTA."""
    return float(torch.linalg.matrix_norm(dictionary, ord=2))


def coherence(dictionary: Tensor) -> float:
    """Largest absolute cosine between two different atoms: 0 if orthonormal, 1 if one is repeated.

    Raises:
        ValueError: with fewer than two atoms.
    """
    if dictionary.shape[1] < 2:
        raise ValueError("coherence compares two atoms at least")
    atoms = normalize_atoms(dictionary)
    cosines = (atoms.T @ atoms).abs()
    return float(cosines.fill_diagonal_(0).max())


def learn_dictionary(
    patches: Tensor,
    atoms: int,
    lam: float,
    *,
    iterations: int = 500,
    seed: int = 0,
    initial: Tensor | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Learn a dictionary in which the given patches are sparse, by online dictionary learning.

    ``min over D, α of  Σ_i ½‖y_i − D α_i‖² + λ‖α_i‖₁``  with ``‖d_j‖ ≤ 1``

    Args:
        patches: ``(m, N)``, centred.
        atoms: number ``K`` of atoms.
        lam: λ, on the scale of the patches.
        iterations: batches of 512 patches to learn from, by SPAMS; without it half as many.
        seed: draws the initial atoms and the order of the patches.
        initial: ``(m, K)`` atoms to start from; patches drawn at random where not given.
        backend: SPAMS, the same algorithm in PyTorch (``"pytorch"``), or SPAMS if it is installed
            (``"auto"``).

    Returns:
        ``(m, K)``, unit columns.

    Raises:
        ValueError: if there are fewer patches than atoms and no initial dictionary, or the initial
            one has another number of atoms; or if λ is not positive.
        ModuleNotFoundError: if ``backend="spams"`` and SPAMS is not installed.

    Source: Mairal, Bach, Ponce, Sapiro, *Online learning for matrix factorization and sparse
    coding*, JMLR 2010; GroupSC §3.6 starts all its models from it.
    """
    if not lam > 0:
        raise ValueError(f"the weight of the l1 norm must be positive, not {lam}")
    if initial is not None and initial.shape[1] != atoms:
        raise ValueError(f"{initial.shape[1]} atoms cannot start a dictionary of {atoms}")
    spams = choose_backend(backend)
    samples = patches.detach().cpu().double().numpy()
    order = np.random.RandomState(seed).permutation(samples.shape[1])
    if initial is None:
        varied = order[samples[:, order].std(axis=0) > 0]
        if len(varied) < atoms:
            raise ValueError(f"{len(varied)} patches that are not flat cannot start {atoms} atoms")
        initial = torch.from_numpy(samples[:, varied[:atoms]])
    start = normalize_atoms(initial.double()).numpy()
    # SPAMS walks through the patches in the order given; a random order makes each batch varied.
    samples = samples[:, order]
    if spams is not None:
        with _SPAMS:
            threads = torch.get_num_threads()
            learned = spams.trainDL(
                np.asfortranarray(samples),
                D=np.asfortranarray(start),
                lambda1=lam,
                iter=iterations,
                batchsize=BATCH,
                # One thread: sums over threads come in any order, and the result depends on it.
                numThreads=1,
                verbose=False,
            )
            # SPAMS and PyTorch share one OpenMP, which would keep to one thread from now on.
            torch.set_num_threads(threads)
    else:
        learned = _learn_without_spams(samples, start, lam, iterations)
    return normalize_atoms(torch.from_numpy(np.ascontiguousarray(learned))).to(patches)


def _learn_without_spams(
    samples: np.ndarray, start: np.ndarray, lam: float, iterations: int
) -> np.ndarray:
    """The same algorithm in matrix products.

    Half the batches, with 40 steps of FISTA each, find a dictionary that denoises as well as that
    of SPAMS. scikit-learn walks along a path of solutions for each patch, which takes forty times
    longer.

    Source: Mairal et al. 2010, algorithms 1 and 2; old batches count as §3.4.2 says.
    """
    # Single precision is enough for atoms that stop long before they have converged.
    patches, atoms = torch.from_numpy(samples / lam).float(), torch.from_numpy(start).float()
    count, size = atoms.shape[1], min(BATCH, patches.shape[1])
    moments, targets = atoms.new_zeros(count, count), torch.zeros_like(atoms)
    for turn in range(1, max(1, round(iterations / 2)) + 1):
        where = torch.arange((turn - 1) * size, turn * size) % patches.shape[1]
        batch = patches[:, where]
        codes = _lasso(batch, atoms)
        seen = turn * size if turn < size else size**2 + turn - size
        kept = (seen + 1 - size) / (seen + 1)
        moments = kept * moments + codes @ codes.T
        targets = kept * targets + batch @ codes.T
        for atom in moments.diagonal().nonzero()[:, 0]:
            missing = targets[:, atom] - atoms @ moments[:, atom]
            moved = atoms[:, atom] + missing / moments[atom, atom]
            atoms[:, atom] = moved / moved.norm().clamp_min(1)
    return atoms.double().numpy()


def _lasso(patches: Tensor, atoms: Tensor, steps: int = 40) -> Tensor:
    """Codes ``(K, N)`` that minimize ``½‖y − Dα‖² + ‖α‖₁``, nearly; `solvers.fista` in short."""
    found = patches.new_zeros(atoms.shape[1], patches.shape[1])
    correlations = atoms.T @ patches
    # Where no atom is worth its price, the code is zero.
    busy = (correlations.abs().amax(dim=0) > 1).nonzero()[:, 0]
    gram, target = atoms.T @ atoms, correlations[:, busy]
    step = 1 / spectral_norm(atoms) ** 2
    codes = ahead = torch.zeros_like(target)
    weight = 1.0
    for _ in range(steps):
        moved = soft_threshold(ahead + step * (target - gram @ ahead), step)
        following = (1 + (1 + 4 * weight**2) ** 0.5) / 2
        ahead = moved + (weight - 1) / following * (moved - codes)
        codes, weight = moved, following
    found[:, busy] = codes
    return found
