"""Proximal operators against brute force, Moreau's identity, and their limits."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lessons_lib.ops.prox import (
    csr_penalty,
    csr_threshold,
    group_penalty,
    group_threshold,
    hard_threshold,
    l0_penalty,
    l1_penalty,
    relaxed_group_threshold,
    soft_threshold,
)

CASES = 1000


def minimise(objective: Callable[[Tensor], Tensor], starts: Tensor, radius: float) -> Tensor:
    """Smallest value of a function of one number per case, by a grid refined around each start.

    Args:
        objective: maps candidates ``(cases, n)`` to values of the same shape.
        starts: ``(cases, s)`` points to search around; they are candidates themselves.
        radius: half the width of the first grid.

    Returns:
        ``(cases,)`` smallest values.
    """
    best = torch.full(starts.shape[:1], torch.inf, dtype=starts.dtype)
    for start in starts.T:
        centre, width = start, radius
        for _ in range(7):
            offsets = torch.linspace(-width, width, 201, dtype=starts.dtype)
            candidates = torch.cat([centre[:, None] + offsets, starts], dim=1)
            values, at = objective(candidates).min(dim=1)
            centre = candidates.gather(1, at[:, None])[:, 0]
            best = torch.minimum(best, values)
            width /= 50
    return best


def random_cases(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = 3 * torch.randn(CASES, generator=generator, dtype=torch.float64)
    lam = 2 * torch.rand(CASES, generator=generator, dtype=torch.float64)
    return z, lam


def test_soft_threshold_is_the_minimiser():
    z, lam = random_cases(0)

    def objective(u):
        return (u - z[:, None]).square() / 2 + lam[:, None] * u.abs()

    found = objective(soft_threshold(z, lam)[:, None])[:, 0]
    best = minimise(objective, torch.stack([torch.zeros_like(z), z], dim=1), 5.0)
    assert (found <= best + 1e-9).all()


def test_hard_threshold_is_the_minimiser():
    z, threshold = random_cases(1)

    def objective(u):
        return (u - z[:, None]).square() / 2 + threshold[:, None] ** 2 / 2 * (u != 0)

    found = objective(hard_threshold(z, threshold)[:, None])[:, 0]
    best = minimise(objective, torch.stack([torch.zeros_like(z), z], dim=1), 5.0)
    assert (found <= best + 1e-9).all()


@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.9, 1.0, 1.1, 2.0, 5.0])
@pytest.mark.parametrize("sign", [-1.0, 0.0, 1.0])
def test_csr_threshold_is_the_minimiser(gamma: float, sign: float):
    z, lam = random_cases(2)
    beta = sign * random_cases(3)[0].abs()

    def objective(u):
        sparsity = lam[:, None] * u.abs()
        closeness = lam[:, None] * gamma * (u - beta[:, None]).abs()
        return (u - z[:, None]).square() / 2 + sparsity + closeness

    answer = csr_threshold(z, beta, lam, gamma)
    found = objective(answer[:, None])[:, 0]
    best = minimise(objective, torch.stack([torch.zeros_like(z), z, beta], dim=1), 5.0)
    assert (found <= best + 1e-9).all()

    # A second, independent form: the solution is the median of its five candidates.
    s = beta.sign()
    candidates = [
        torch.zeros_like(z),
        beta,
        z - lam * (1 + gamma),
        z - s * lam * (1 - gamma),
        z + lam * (1 + gamma),
    ]
    assert torch.allclose(answer, torch.stack(candidates).median(dim=0).values, atol=1e-12)


def test_csr_threshold_without_beta_shrinks_by_both_weights():
    z, lam = random_cases(4)
    both = soft_threshold(z, lam * 1.7)
    assert torch.allclose(csr_threshold(z, torch.zeros_like(z), lam, 0.7), both, atol=1e-12)


def test_group_threshold_is_the_minimiser():
    """In each group the solution lies on the ray through z: search its length, then turn away."""
    generator = torch.Generator().manual_seed(5)
    z = torch.randn(CASES, 4, generator=generator, dtype=torch.float64)
    lam = 3 * torch.rand(CASES, 1, generator=generator, dtype=torch.float64)

    def objective(u):
        return (u - z).square().sum(dim=1) / 2 + lam[:, 0] * u.norm(dim=1)

    answer = group_threshold(z, lam)
    best = objective(torch.zeros_like(z))
    for length in torch.linspace(0, 1, 2001, dtype=torch.float64):
        best = torch.minimum(best, objective(length * z))
    assert (objective(answer) <= best + 1e-9).all()
    for scale in (1e-1, 1e-2, 1e-3):
        nudge = scale * torch.randn(z.shape, generator=generator, dtype=torch.float64)
        assert (objective(answer) <= objective(answer + nudge) + 1e-12).all()


def penalties() -> list:
    beta = torch.tensor([0.0, -0.5, 2.0, 1.0])
    return [
        (l1_penalty, soft_threshold),
        (l0_penalty, lambda z, lam: hard_threshold(z, (2 * lam) ** 0.5)),
        (group_penalty, group_threshold),
        (
            lambda z, lam: csr_penalty(z, beta, lam, 0.6),
            lambda z, lam: csr_threshold(z, beta, lam, 0.6),
        ),
    ]


@pytest.mark.parametrize("case", range(4))
@given(
    z=st.lists(st.floats(-5, 5, width=32), min_size=4, max_size=4),
    other=st.lists(st.floats(-5, 5, width=32), min_size=4, max_size=4),
    lam=st.floats(0, 3),
)
def test_each_prox_belongs_to_the_penalty_beside_it(case: int, z: list, other: list, lam: float):
    penalty, prox = penalties()[case]
    point, rival = torch.tensor(z, dtype=torch.float64), torch.tensor(other, dtype=torch.float64)

    def objective(u):
        return float((u - point).square().sum() / 2 + penalty(u, lam))

    answer = objective(prox(point, lam))
    for candidate in (rival, point, torch.zeros_like(point)):
        assert answer <= objective(candidate) + 1e-9


def project_on_box(z: Tensor, lam: float) -> Tensor:
    return z.clamp(-lam, lam)


def project_on_balls(z: Tensor, lam: float) -> Tensor:
    return z * (lam / z.norm(dim=-1, keepdim=True).clamp_min(lam))


@pytest.mark.parametrize(
    ("prox", "project_on_dual_ball"),
    [(soft_threshold, project_on_box), (group_threshold, project_on_balls)],
)
@given(lam=st.floats(0.01, 3), seed=st.integers(0, 1000))
def test_moreau_identity(prox, project_on_dual_ball, lam: float, seed: int):
    """z = prox_λΨ(z) + projection onto the dual norm's ball of radius λ."""
    z = torch.from_numpy(np.random.RandomState(seed).randn(5, 7))
    assert torch.allclose(prox(z, lam) + project_on_dual_ball(z, lam), z, atol=1e-12)


@given(gamma=st.floats(0, 5), seed=st.integers(0, 1000))
def test_csr_threshold_does_not_expand(gamma: float, seed: int):
    """A proximal operator of a convex function is firmly non-expansive."""
    state = np.random.RandomState(seed)
    a, b, beta = torch.from_numpy(state.randn(3, 50) * 2)
    pa, pb = (csr_threshold(z, beta, 0.8, gamma) for z in (a, b))
    assert ((pa - pb).square() <= (pa - pb) * (a - b) + 1e-12).all()


def test_relaxed_group_with_identity_is_soft_thresholding():
    z = torch.from_numpy(np.random.RandomState(0).randn(2, 6, 10))
    threshold = torch.rand(6, 1, dtype=torch.float64)
    alone = relaxed_group_threshold(z, torch.eye(10, dtype=torch.float64)[None], threshold)
    assert torch.allclose(alone, soft_threshold(z, threshold), atol=1e-12)


def test_relaxed_group_with_hard_groups_is_the_group_lasso():
    z = torch.from_numpy(np.random.RandomState(1).randn(1, 6, 10))
    groups = torch.tensor([0, 0, 1, 2, 1, 1, 0, 2, 2, 2])
    similarity = (groups[:, None] == groups).double()[None]
    relaxed = relaxed_group_threshold(z, similarity, 0.6)
    for number in range(3):
        members = groups == number
        lam = 0.6 * float(members.sum()) ** 0.5
        expected = group_threshold(z[:, :, members], lam)
        assert torch.allclose(relaxed[:, :, members], expected, atol=1e-12)


def test_relaxed_group_follows_equation_11_entry_by_entry():
    state = np.random.RandomState(2)
    z, sigma, lam = state.randn(3, 5), state.rand(5, 5), state.rand(3)
    expected = np.zeros((3, 5))
    for i in range(5):
        for j in range(3):
            group_norm = sum(sigma[k, i] * z[j, k] ** 2 for k in range(5)) ** 0.5
            factor = max(0.0, 1 - lam[j] * sum(sigma[:, i]) ** 0.5 / group_norm)
            expected[j, i] = factor * z[j, i]
    found = relaxed_group_threshold(
        torch.from_numpy(z)[None], torch.from_numpy(sigma)[None], torch.from_numpy(lam)[:, None]
    )
    assert np.allclose(found[0], expected, atol=1e-12)


def test_relaxed_group_commutes_with_reordering_the_patches():
    state = np.random.RandomState(3)
    z, similarity = torch.from_numpy(state.randn(1, 4, 9)), torch.from_numpy(state.rand(1, 9, 9))
    order = torch.from_numpy(state.permutation(9))
    shuffled = relaxed_group_threshold(z[:, :, order], similarity[:, order][:, :, order], 0.5)
    assert torch.allclose(shuffled, relaxed_group_threshold(z, similarity, 0.5)[:, :, order])


@pytest.mark.parametrize(
    "prox",
    [
        lambda z: soft_threshold(z, 0.5),
        lambda z: group_threshold(z, 0.5),
        lambda z: relaxed_group_threshold(z, torch.ones(1, 4, 4), 0.5),
        lambda z: csr_threshold(z, torch.zeros_like(z), 0.5, 0.5),
    ],
)
def test_gradients_stay_finite_at_zero_codes(prox):
    """The first iteration of a flat patch is zero everywhere; training must survive it."""
    z = torch.zeros(1, 3, 4, requires_grad=True)
    prox(z).sum().backward()
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()
