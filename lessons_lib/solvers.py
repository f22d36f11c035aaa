"""Classical sparse coding: ISTA, FISTA, ISTA on groups, and orthogonal matching pursuit.

All solve for every patch at once, and return the codes with a history of how they got there. The
proximal steps are those of `lessons_lib.ops.prox`; the trainable networks unroll the same loops.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from lessons_lib.ops.dictionary import Backend, choose_backend, spectral_norm
from lessons_lib.ops.prox import EPS, group_penalty, group_threshold, l1_penalty, soft_threshold

# Keeps atoms of unit length apart that depend on each other, in doubles.
RIDGE = 1e-12


@dataclass
class History:
    """What a solver did, one entry per iteration.

    Attributes:
        objective: value of the minimised function, summed over patches.
        residual: what the solver stops on: the duality gap relative to the objective, or for a
            pursuit the part of the patches' length left unexplained.
        seconds: since the start.
    """

    objective: list[float] = field(default_factory=list)
    residual: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    _start: float = field(default_factory=time.perf_counter, repr=False)

    def record(self, objective: float, residual: float) -> None:
        """Append one iteration."""
        self.objective.append(objective)
        self.residual.append(residual)
        self.seconds.append(time.perf_counter() - self._start)


def ista(
    patches: Tensor,
    dictionary: Tensor,
    lam: float,
    *,
    max_iterations: int = 1000,
    tolerance: float = 1e-5,
    initial: Tensor | None = None,
) -> tuple[Tensor, History]:
    """Iterative soft thresholding for ``min_α ½‖y − Dα‖² + λ‖α‖₁``.

    ``α ← S_{λ/L}(α + Dᵀ(y − Dα)/L)`` with ``L = ‖D‖²``

    Args:
        patches: ``(m, N)`` or ``(B, m, N)``.
        dictionary: ``(m, K)``.
        lam: positive λ, on the scale of the patches.
        max_iterations: upper limit.
        tolerance: stop when the duality gap falls to this part of the objective.
        initial: codes to start from; zero where not given.

    Returns:
        Codes ``(K, N)`` or ``(B, K, N)`` and the history; its objective never increases.

    Raises:
        ValueError: if λ is not positive or the shapes do not fit.

    Source: GroupSC §2, eq. 3 with C = D/L and Λ = λ/L.
    """
    problem = _Lasso(patches, dictionary, lam)
    return _proximal_gradient(problem, max_iterations, tolerance, initial, momentum=False)


def fista(
    patches: Tensor,
    dictionary: Tensor,
    lam: float,
    *,
    max_iterations: int = 1000,
    tolerance: float = 1e-5,
    initial: Tensor | None = None,
) -> tuple[Tensor, History]:
    """ISTA with Nesterov's momentum: error falling as 1/k² instead of 1/k.

    Arguments, result and errors are those of `ista`; the objective may rise for a few iterations.

    Source: Beck and Teboulle, *A fast iterative shrinkage-thresholding algorithm*, 2009.
    """
    problem = _Lasso(patches, dictionary, lam)
    return _proximal_gradient(problem, max_iterations, tolerance, initial, momentum=True)


def group_ista(
    patches: Tensor,
    dictionary: Tensor,
    lam: float,
    groups: Tensor,
    *,
    max_iterations: int = 1000,
    tolerance: float = 1e-5,
    initial: Tensor | None = None,
) -> tuple[Tensor, History]:
    """ISTA on groups of patches that share their atoms.

    ``min_A ½‖Y − DA‖² + λ Σ_g √(1/|g|) Σ_j ‖A_g^j‖₂``

    Args:
        patches: ``(m, N)``.
        dictionary: ``(m, K)``.
        lam: positive λ.
        groups: ``(N,)`` integers; patches with the same number form one group.
        max_iterations: upper limit.
        tolerance: stop when the duality gap falls to this part of the objective.
        initial: codes to start from; zero where not given.

    Returns:
        Codes ``(K, N)`` and the history; its objective never increases.

    Raises:
        ValueError: if λ is not positive or the shapes do not fit.

    Source: GroupSC eq. 9 and 10.
    """
    problem = _GroupLasso(patches, dictionary, lam, groups)
    return _proximal_gradient(problem, max_iterations, tolerance, initial, momentum=False)


def omp(
    patches: Tensor,
    dictionary: Tensor,
    *,
    residual_norm: float | None = None,
    sparsity: int | None = None,
    backend: Backend = "auto",
) -> tuple[Tensor, History]:
    """Orthogonal matching pursuit: add the best atom, fit again, until close enough.

    Stops for each patch when ``‖y − Dα‖₂ ≤ residual_norm`` or ``‖α‖₀ = sparsity``, whichever
    comes first. The two backends differ in what is best: SPAMS takes the atom whose refit
    leaves the shortest residual, ours, as scikit-learn's, the one most correlated with it.

    Args:
        patches: ``(m, N)`` or ``(B, m, N)``.
        dictionary: ``(m, K)`` with unit columns.
        residual_norm: length of the residual to stop at.
        sparsity: most atoms per patch; half the patch entries where not given.
        backend: SPAMS, ours (``"pytorch"``), or SPAMS if it is installed (``"auto"``).

    Returns:
        Codes ``(K, N)`` or ``(B, K, N)``, and a history with one entry: half the squared residual,
        and its share of the patches' energy.

    Raises:
        ValueError: if neither limit is given, the residual is to be shorter than 0, the sparsity is
            below 1, or the shapes do not fit.
        ModuleNotFoundError: if ``backend="spams"`` and SPAMS is not installed.

    Source: Elad and Aharon, *Image denoising via sparse and redundant representations*, 2006.
    """
    if residual_norm is None and sparsity is None:
        raise ValueError("give residual_norm, sparsity, or both: one of them must end the pursuit")
    if residual_norm is not None and not residual_norm >= 0:
        raise ValueError(f"a residual is at least 0 long, not {residual_norm}")
    if sparsity is not None and sparsity < 1:
        raise ValueError(f"a pursuit takes one atom at least, not {sparsity}")
    _require_fitting_shapes(patches, dictionary)
    history = History()
    entries, atoms = dictionary.shape
    columns = patches.movedim(-2, 0).reshape(entries, -1)
    limit = min(max(entries // 2, 1) if sparsity is None else sparsity, atoms, entries)
    signals, matrix = columns.detach().cpu().double(), dictionary.detach().cpu().double()
    spams = choose_backend(backend)
    if spams is not None:
        sparse = spams.omp(
            np.asfortranarray(signals.numpy()),
            np.asfortranarray(matrix.numpy()),
            L=limit,
            eps=0.0 if residual_norm is None else residual_norm * residual_norm,
            numThreads=torch.get_num_threads(),
        )
        found = torch.from_numpy(sparse.toarray())
    else:
        found = _omp_without_spams(signals, matrix, residual_norm or 0.0, limit)
    codes = found.to(patches)
    residual = (columns - dictionary @ codes).square().sum()
    history.record(float(residual) / 2, float(residual / columns.square().sum().clamp_min(EPS)))
    return codes.reshape(atoms, *patches.shape[:-2], -1).movedim(0, -2), history


def _omp_without_spams(signals: Tensor, matrix: Tensor, residual_norm: float, limit: int) -> Tensor:
    """All patches ``(m, N)`` at once, one atom each in a round, until each is close enough."""
    gram, correlations, energies = matrix.T @ matrix, matrix.T @ signals, signals.square().sum(0)
    codes = torch.zeros_like(correlations)
    open_ = (energies > residual_norm**2).nonzero()[:, 0]
    chosen = open_.new_zeros(len(open_), 0)
    left = correlations[:, open_].T
    for _ in range(limit):
        if not len(open_):
            break
        best = left.abs().scatter(1, chosen, -1.0).argmax(dim=1, keepdim=True)
        chosen = torch.cat([chosen, best], dim=1)
        wanted = correlations[:, open_].T
        target = wanted.gather(1, chosen)
        among = gram[chosen[:, :, None], chosen[:, None]]
        factor = torch.linalg.cholesky(among + RIDGE * torch.eye(among.shape[-1]).to(among))
        fit = torch.cholesky_solve(target[..., None], factor)[..., 0]
        codes[:, open_] = torch.zeros_like(wanted).scatter(1, chosen, fit).T
        rest = energies[open_] - (fit * target).sum(dim=1)
        left = wanted - codes[:, open_].T @ gram
        far = rest > residual_norm**2
        open_, chosen, left = open_[far], chosen[far], left[far]
    return codes


class _Lasso:
    """``½‖y − Dα‖² + λ‖α‖₁`` with its proximal step and its duality gap."""

    def __init__(self, patches: Tensor, dictionary: Tensor, lam: float) -> None:
        _require_fitting_shapes(patches, dictionary)
        if not lam > 0:
            raise ValueError(f"lam must be positive, not {lam}")
        self.patches, self.dictionary, self.lam = patches, dictionary, lam
        self.lipschitz = spectral_norm(dictionary) ** 2

    def prox(self, codes: Tensor) -> Tensor:
        return soft_threshold(codes, self.lam / self.lipschitz)

    def penalty(self, codes: Tensor) -> Tensor:
        return l1_penalty(codes, self.lam)

    def dual_norm(self, correlation: Tensor) -> Tensor:
        """How far ``Dᵀr`` of each patch leaves the dual constraint ``‖Dᵀθ‖∞ ≤ λ``, as a factor."""
        return correlation.abs().amax(dim=-2, keepdim=True) / self.lam

    def objective_and_gap(self, codes: Tensor) -> tuple[float, float]:
        """Objective, and its distance to the dual objective at the scaled residual."""
        residual = self.patches - self.dictionary @ codes
        primal = residual.square().sum() / 2 + self.penalty(codes)
        scale = 1 / self.dual_norm(self.dictionary.T @ residual).clamp_min(1)
        point = residual * scale
        # The dual, ½‖y‖² − ½‖y − θ‖², with the squares multiplied out so that nothing cancels.
        dual = (point * (self.patches - point / 2)).sum()
        return float(primal), float(primal - dual)


class _GroupLasso(_Lasso):
    """``½‖Y − DA‖² + Σ_g λ/√|g| Σ_j ‖A_g^j‖₂``."""

    def __init__(self, patches: Tensor, dictionary: Tensor, lam: float, groups: Tensor) -> None:
        super().__init__(patches, dictionary, lam)
        if patches.dim() != 2 or groups.shape != patches.shape[1:]:
            raise ValueError(
                f"patches {tuple(patches.shape)} need one group number each, "
                f"got {tuple(groups.shape)}"
            )
        numbers, _, sizes = groups.unique(return_inverse=True, return_counts=True)
        self.members = [(groups == number).nonzero()[:, 0] for number in numbers]
        self.weights = (lam / sizes.to(patches).sqrt()).tolist()

    def _per_group(self, function: Callable[[Tensor, float], Tensor], codes: Tensor) -> Tensor:
        result = torch.empty_like(codes)
        for members, weight in zip(self.members, self.weights, strict=True):
            result[:, members] = function(codes[:, members], weight)
        return result

    def prox(self, codes: Tensor) -> Tensor:
        step = 1 / self.lipschitz
        return self._per_group(lambda z, weight: group_threshold(z, weight * step), codes)

    def penalty(self, codes: Tensor) -> Tensor:
        pairs = zip(self.members, self.weights, strict=True)
        return torch.stack([group_penalty(codes[:, m], w) for m, w in pairs]).sum()

    def dual_norm(self, correlation: Tensor) -> Tensor:
        worst = self._per_group(
            lambda z, weight: (z.norm(dim=1).amax() / weight).expand_as(z), correlation
        )
        return worst[:1]


def _proximal_gradient(
    problem: _Lasso,
    max_iterations: int,
    tolerance: float,
    initial: Tensor | None,
    momentum: bool,
) -> tuple[Tensor, History]:
    patches, dictionary = problem.patches, problem.dictionary
    shape = (*patches.shape[:-2], dictionary.shape[1], patches.shape[-1])
    codes = patches.new_zeros(shape) if initial is None else initial
    history = History()
    ahead, weight = codes, 1.0
    for _ in range(max_iterations):
        previous = codes
        gradient_step = dictionary.T @ (patches - dictionary @ ahead) / problem.lipschitz
        codes = problem.prox(ahead + gradient_step)
        if momentum:
            next_weight = (1 + (1 + 4 * weight**2) ** 0.5) / 2
            ahead = codes + (weight - 1) / next_weight * (codes - previous)
            weight = next_weight
        else:
            ahead = codes
        objective, gap = problem.objective_and_gap(codes)
        history.record(objective, gap / max(objective, EPS))
        if gap <= tolerance * objective:
            break
    return codes, history


def _require_fitting_shapes(patches: Tensor, dictionary: Tensor) -> None:
    if patches.dim() not in (2, 3) or patches.shape[-2] != dictionary.shape[0]:
        raise ValueError(
            f"patches {tuple(patches.shape)} and dictionary {tuple(dictionary.shape)} do not fit: "
            "expected (m, N) or (B, m, N), and (m, K)"
        )
