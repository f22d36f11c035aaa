"""Solvers against scikit-learn's Lasso, their own optimality conditions, and each other."""

import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso

from lessons_lib.ops.dictionary import normalize_atoms, random_dictionary
from lessons_lib.ops.prox import group_penalty, group_threshold, soft_threshold
from lessons_lib.solvers import fista, group_ista, ista, omp

needs_spams = pytest.mark.skipif(
    importlib.util.find_spec("spams") is None, reason="SPAMS is not installed"
)
BACKENDS = ["pytorch", pytest.param("spams", marks=needs_spams)]


def problem(count: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    dictionary = normalize_atoms(random_dictionary(16, 40, generator).double())
    return torch.randn(16, count, generator=generator, dtype=torch.float64), dictionary


@pytest.mark.parametrize("solver", [ista, fista])
def test_objective_equals_an_independent_solvers(solver):
    patches, dictionary = problem()
    lam = 0.3
    _, history = solver(patches, dictionary, lam, tolerance=1e-9, max_iterations=20_000)
    # scikit-learn divides the squared error by the number of samples, here the patch entries.
    oracle = Lasso(alpha=lam / 16, fit_intercept=False, tol=1e-12, max_iter=100_000)
    expected = 0.0
    for y in patches.T.numpy():
        alpha = oracle.fit(dictionary.numpy(), y).coef_
        expected += ((y - dictionary.numpy() @ alpha) ** 2).sum() / 2 + lam * abs(alpha).sum()
    assert history.objective[-1] == pytest.approx(expected, rel=1e-6)
    assert history.residual[-1] <= 1e-9


def test_solution_satisfies_the_kkt_conditions():
    """Dᵀ(y − Dα) equals λ sign α where α is not zero, and lies in [−λ, λ] elsewhere."""
    patches, dictionary = problem(seed=1)
    codes, _ = fista(patches, dictionary, 0.4, tolerance=1e-12, max_iterations=20_000)
    correlation = dictionary.T @ (patches - dictionary @ codes)
    active = codes.abs() > 1e-6
    assert active.any()
    assert torch.allclose(correlation[active], 0.4 * codes[active].sign(), atol=1e-4)
    assert correlation.abs().max() <= 0.4 + 1e-4


def test_ista_descends_and_its_limit_is_a_fixed_point():
    patches, dictionary = problem(seed=2)
    codes, history = ista(patches, dictionary, 0.3, tolerance=1e-10, max_iterations=20_000)
    objective = np.array(history.objective)
    assert (np.diff(objective) <= 1e-10 * objective[0]).all()
    assert (np.diff(history.seconds) >= 0).all()
    step = 1 / torch.linalg.matrix_norm(dictionary, ord=2) ** 2
    moved = soft_threshold(codes + step * dictionary.T @ (patches - dictionary @ codes), 0.3 * step)
    assert torch.allclose(moved, codes, atol=1e-4)


def test_the_gap_bounds_the_distance_to_the_minimum():
    patches, dictionary = problem(count=4, seed=3)
    minimum = fista(patches, dictionary, 0.2, tolerance=1e-9, max_iterations=20_000)[1]
    _, history = ista(patches, dictionary, 0.2, tolerance=1e-12, max_iterations=100)
    for objective, residual in zip(history.objective, history.residual, strict=True):
        assert objective - minimum.objective[-1] <= residual * objective + 1e-9


def test_fista_needs_far_fewer_iterations():
    patches, dictionary = problem(count=50, seed=4)
    slow = ista(patches, dictionary, 0.2, tolerance=1e-4, max_iterations=3000)[1]
    fast = fista(patches, dictionary, 0.2, tolerance=1e-4, max_iterations=3000)[1]
    assert len(fast.objective) < len(slow.objective) / 2


@given(lam=st.floats(0.05, 2), batch=st.integers(1, 3), count=st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_a_batch_is_solved_as_one_by_one(lam: float, batch: int, count: int):
    patches, dictionary = problem(batch * count, seed=5)
    stacked = patches.T.reshape(batch, count, 16).transpose(1, 2)
    whole, _ = fista(stacked, dictionary, lam, tolerance=0, max_iterations=30)
    for index in range(batch):
        alone, _ = fista(stacked[index], dictionary, lam, tolerance=0, max_iterations=30)
        assert torch.allclose(whole[index], alone, atol=1e-10)


def test_a_large_lambda_gives_zero_at_once():
    patches, dictionary = problem()
    lam = float((dictionary.T @ patches).abs().max()) * 1.001
    codes, history = ista(patches, dictionary, lam)
    assert torch.equal(codes, torch.zeros_like(codes))
    assert len(history.objective) == 1


def test_starting_at_the_solution_stops_at_once():
    patches, dictionary = problem()
    solution, _ = fista(patches, dictionary, 0.3, tolerance=1e-9, max_iterations=20_000)
    before = solution.clone()
    _, history = ista(patches, dictionary, 0.3, tolerance=1e-6, initial=solution)
    assert len(history.objective) == 1
    assert torch.equal(solution, before)


def test_groups_of_one_are_the_lasso():
    patches, dictionary = problem()
    alone = group_ista(patches, dictionary, 0.3, torch.arange(12), max_iterations=300)[0]
    assert torch.allclose(alone, ista(patches, dictionary, 0.3, max_iterations=300)[0], atol=1e-6)


def test_group_solution_is_optimal_and_shares_its_atoms():
    patches, dictionary = problem(seed=6)
    groups = torch.tensor([4, 4, 4, 4, 9, 9, 9, 0, 0, 0, 0, 0])
    codes, history = group_ista(
        patches, dictionary, 0.5, groups, tolerance=1e-10, max_iterations=20_000
    )
    assert history.residual[-1] <= 1e-10
    assert (np.diff(history.objective) <= 1e-9).all()
    value = float((patches - dictionary @ codes).square().sum()) / 2
    step = 1 / float(torch.linalg.matrix_norm(dictionary, ord=2)) ** 2
    moved = codes + step * dictionary.T @ (patches - dictionary @ codes)
    for number in (4, 9, 0):
        members = groups == number
        weight = 0.5 / float(members.sum()) ** 0.5
        value += float(group_penalty(codes[:, members], weight))
        fixed = group_threshold(moved[:, members], weight * step)
        assert torch.allclose(fixed, codes[:, members], atol=1e-4)
        rows = (codes[:, members] != 0).sum(dim=1)
        assert set(rows.tolist()) <= {0, int(members.sum())}
    assert history.objective[-1] == pytest.approx(value)


def greedy(y: np.ndarray, dictionary: np.ndarray, sparsity: int, by_refit: bool) -> np.ndarray:
    """The pursuit written out: try every atom, keep the best, fit again."""
    chosen: list[int] = []
    residual = y
    for _ in range(sparsity):
        scores = -abs(dictionary.T @ residual)
        if by_refit:
            fits = [dictionary[:, [*chosen, j]] for j in range(dictionary.shape[1])]
            scores = [np.linalg.norm(y - fit @ np.linalg.pinv(fit) @ y) for fit in fits]
        chosen.append(int(np.argmin(scores)))
        fit = dictionary[:, chosen]
        residual = y - fit @ np.linalg.pinv(fit) @ y
    codes = np.zeros(dictionary.shape[1])
    codes[chosen] = np.linalg.pinv(fit) @ y
    return codes


@pytest.mark.parametrize("backend", BACKENDS)
def test_omp_equals_the_pursuit_written_out(backend):
    patches, dictionary = problem(seed=7)
    codes, _ = omp(patches, dictionary, sparsity=5, backend=backend)
    for y, found in zip(patches.T.numpy(), codes.T, strict=True):
        expected = greedy(y, dictionary.numpy(), 5, by_refit=backend == "spams")
        assert np.allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize("backend", BACKENDS)
def test_omp_stops_at_the_residual_and_stays_orthogonal(backend):
    patches, dictionary = problem(count=30, seed=8)
    codes, history = omp(patches, dictionary, residual_norm=1.5, sparsity=16, backend=backend)
    residual = patches - dictionary @ codes
    assert (residual.norm(dim=0) <= 1.5 + 1e-9).all()
    assert history.objective == [pytest.approx(float(residual.square().sum()) / 2)]
    for index in range(30):
        chosen = codes[:, index] != 0
        assert (dictionary[:, chosen].T @ residual[:, index]).abs().max() < 1e-8
        if int(chosen.sum()) > 1:
            # One atom fewer would not have been enough.
            shorter, _ = omp(
                patches[:, index : index + 1],
                dictionary,
                sparsity=int(chosen.sum()) - 1,
                backend=backend,
            )
            missing = patches[:, index] - dictionary @ shorter[:, 0]
            assert missing.norm() > 1.5


@pytest.mark.parametrize("backend", BACKENDS)
def test_omp_obeys_both_limits_on_batches_and_leaves_quiet_patches_empty(backend):
    patches, dictionary = problem(count=8, seed=9)
    patches[:, 3] *= 1e-3
    stacked = patches.T.reshape(2, 4, 16).transpose(1, 2)
    codes, _ = omp(stacked, dictionary, residual_norm=0.5, sparsity=3, backend=backend)
    counts = (codes != 0).sum(dim=1)
    assert codes.shape == (2, 40, 4)
    assert counts.max() == 3
    assert counts[0, 3] == 0


def test_wrong_inputs_are_refused():
    patches, dictionary = problem()
    with pytest.raises(ValueError, match="must be positive"):
        ista(patches, dictionary, 0.0)
    with pytest.raises(ValueError, match="do not fit"):
        fista(patches[:-1], dictionary, 0.1)
    with pytest.raises(ValueError, match="one group number each"):
        group_ista(patches, dictionary, 0.1, torch.arange(3))
    with pytest.raises(ValueError, match="residual_norm, sparsity"):
        omp(patches, dictionary)
    with pytest.raises(ValueError, match="one atom at least"):
        omp(patches, dictionary, sparsity=0)
