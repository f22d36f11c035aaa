"""Proximal operators, each beside the penalty that it belongs to.

The proximal operator of a penalty Ψ moves a point ``z`` towards smaller Ψ without going far:

    prox_Ψ(z) = argmin_u  ½‖u − z‖² + Ψ(u)

Classical solvers, trainable networks and exercises all call the functions of this file. Every
threshold is non-negative; a negative one would turn shrinkage into amplification.
"""

import torch
from torch import Tensor

# Keeps divisions by a norm, and its gradient, finite where the norm is zero.
EPS = 1e-12


def l1_penalty(z: Tensor, lam: Tensor | float) -> Tensor:
    """``λ‖z‖₁``, summed over all entries."""
    return (lam * z.abs()).sum()


def soft_threshold(z: Tensor, threshold: Tensor | float) -> Tensor:
    """Proximal operator of the ℓ1 norm: ``sign(z) · max(|z| − threshold, 0)``.

    Args:
        z: any shape.
        threshold: non-negative, broadcast against ``z``; ``(K, 1)`` gives each atom its own.

    Returns:
        Same shape as ``z``.

    Source: GroupSC §2, the operator S_η.

    >>> soft_threshold(torch.tensor([-3.0, 0.5, 2.0]), 1.0).tolist()
    [-2.0, 0.0, 1.0]
    """
    return z.sign() * (z.abs() - threshold).clamp_min(0)


def l0_penalty(z: Tensor, lam: Tensor | float) -> Tensor:
    """``λ‖z‖₀``: λ times the number of entries that are not zero."""
    return (lam * (z != 0)).sum()


def hard_threshold(z: Tensor, threshold: Tensor | float) -> Tensor:
    """Proximal operator of ``½ threshold² ‖·‖₀``: keep an entry if ``|z| > threshold``.

    The penalty ``λ‖·‖₀`` therefore needs the threshold ``√(2λ)``, not λ.

    Args:
        z: any shape.
        threshold: non-negative, broadcast against ``z``.

    Returns:
        Same shape as ``z``. The penalty is not convex; at ``|z| = threshold`` both ``z`` and 0 are
        minimisers, and 0 is returned.

    >>> hard_threshold(torch.tensor([-3.0, 0.5, 2.0]), 1.0).tolist()
    [-3.0, 0.0, 2.0]
    """
    return torch.where(z.abs() > threshold, z, torch.zeros_like(z))


def group_penalty(z: Tensor, lam: Tensor | float, dim: int = -1) -> Tensor:
    """``λ Σ_j ‖z^j‖₂``: the ℓ1,2 norm whose groups run along ``dim``.

    Source: GroupSC eq. 4.
    """
    return (lam * z.norm(dim=dim, keepdim=True)).sum()


def group_threshold(z: Tensor, threshold: Tensor | float, dim: int = -1) -> Tensor:
    """Proximal operator of the group lasso: shrink the length of each group.

    ``z^j · max(1 − threshold / ‖z^j‖₂, 0)``

    Args:
        z: any shape; a group is what differs only along ``dim``. For codes ``(..., K, N)`` of one
            set of similar patches, ``dim=-1`` makes each atom's row a group.
        threshold: non-negative, broadcast against ``z``.
        dim: axis along which a group lies.

    Returns:
        Same shape as ``z``.

    Source: GroupSC eq. 10 (Lemma 1).

    >>> group_threshold(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), 1.0).tolist()
    [[2.4000000953674316, 3.200000047683716], [0.0, 0.0]]
    """
    norm = z.norm(dim=dim, keepdim=True)
    return z * (1 - threshold / norm.clamp_min(EPS)).clamp_min(0)


def relaxed_group_threshold(z: Tensor, similarity: Tensor, threshold: Tensor | float) -> Tensor:
    """Group thresholding where the groups are soft: GroupSC's update.

    ``z_ji · max(1 − Λ_j √‖Σ_i‖₁ / ‖(z diag(Σ_i)^½)^j‖₂, 0)``

    Patch ``i`` shrinks its atom ``j`` by how strong that atom is among the patches similar to it.
    With a 0/1 similarity of disjoint groups this is `group_threshold` on each group with threshold
    ``Λ √|S_i|``; with the identity it is `soft_threshold`.

    Args:
        z: codes ``(B, K, N)``.
        similarity: ``(B, N, N)``, non-negative; column ``i`` weighs the patches in the group of
            patch ``i``, and none may be all zero.
        threshold: non-negative, broadcast against ``z``: a number or ``(K, 1)``.

    Returns:
        ``(B, K, N)``.

    Source: GroupSC eq. 11.
    """
    energy = z.square() @ similarity  # (B, K, N): Σ_l Σ_li z_jl²
    size = similarity.sum(dim=-2, keepdim=True)  # (B, 1, N): ‖Σ_i‖₁
    strength = (energy / size).clamp_min(EPS**2).sqrt()  # root of the weighted mean of squares
    return z * (1 - threshold / strength).clamp_min(0)


def csr_penalty(u: Tensor, beta: Tensor, lam: Tensor | float, gamma: Tensor | float) -> Tensor:
    """``λ‖u‖₁ + λγ‖u − β‖₁``: sparse, and close to the average code β of similar patches.

    Source: GroupSC eq. 15.
    """
    return (lam * u.abs() + lam * gamma * (u - beta).abs()).sum()


def csr_threshold(z: Tensor, beta: Tensor, lam: Tensor | float, gamma: Tensor | float) -> Tensor:
    """Proximal operator of the CSR penalty: pulled towards 0 and towards β.

    ``S_λ( S_λγ(z − β − λ sign β) + β + λ sign β )``

    Args:
        z: any shape.
        beta: average codes of similar patches, broadcast against ``z``.
        lam: non-negative weight λ of sparsity, broadcast against ``z``.
        gamma: non-negative weight γ of closeness to β, relative to λ.

    Returns:
        Same shape as ``z``. With β = 0 the two magnets are one, and the result is
        ``S_{λ(1+γ)}(z)``.

    Source: GroupSC Proposition 1.
    """
    shift = beta + lam * beta.sign()
    return soft_threshold(soft_threshold(z - shift, lam * gamma) + shift, lam)
