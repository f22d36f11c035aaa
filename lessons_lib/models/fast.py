"""The forward passes of SC, CSR and GroupSC once more, written for speed instead of for reading.

Each model's own ``forward`` is the reference: it says what is computed, and gradients flow through
it. Here the same numbers are computed for photographs, without gradients: with Σ in bands
(`lessons_lib.ops.bands`), all numbers of a patch together in memory, codes and products in half
precision where the machine is fast at it, and every element-wise step done in place, so that codes
stay in a processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from lessons_lib.ops.bands import BandedSimilarity
from lessons_lib.ops.prox import EPS

if TYPE_CHECKING:
    from lessons_lib.models.non_local import NonLocalModel
    from lessons_lib.models.unrolled import UnrolledModel


def fastest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it faster than float32, else float32.

    A processor without instructions for it still computes it, far slower: a training step of DnCNN
    takes twelve times as long.
    """
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        known = torch.cpu.get_capabilities()
        fast = bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    return torch.bfloat16 if fast else torch.float32


@dataclass(frozen=True)
class Moment:
    """What a model's own step works on: codes are changed in place.

    Attributes:
        k: number of the step.
        z: codes ``(B, N, K)``.
        threshold: Λ of the step, ``(1, K)``, or ``(B, 1, K)`` of a model of several levels.
        descend: ``z ← z + Cᵀ(y − Dz)``, in place.
        near: similarities, of models that compare patches.
        room: as large as the codes, for whatever comes.
        squares: the same once more.
    """

    k: int
    z: Tensor
    threshold: Tensor
    descend: Callable[[], None]
    near: BandedSimilarity | None
    room: Tensor
    squares: Tensor


@torch.no_grad()
def estimate(
    model: UnrolledModel,
    noisy: Tensor,
    dtype: torch.dtype,
    neighbours: int | None = None,
    mask: Tensor | None = None,
    sigma: Tensor | None = None,
) -> Tensor:
    """What ``model(noisy)`` estimates, up to rounding.

    Patches are rows here and columns in the model: patches ``(B, N, m)``, codes ``(B, N, K)``.

    Args:
        model: one that `has_fast_form`, in float32.
        noisy: ``(B, C, H, W)`` float32.
        dtype: of codes, similarities and products. Distances, means and the image are float32.
        neighbours: see `BandedSimilarity`.
        mask: see `UnrolledModel`.
        sigma: see `UnrolledModel`.

    Returns:
        ``(B, C, H, W)`` float32.
    """
    y, mean, known = model.look(noisy, mask)
    C, D, W = (weight.to(dtype).expand(len(y), -1, -1) for weight in (model.C, model.D, model.W))
    goal = _rows(y, dtype)
    near, others = None, cast("NonLocalModel", model)
    if model.compares:
        points = _rows(others.points(y, mean, known), torch.float32)
        near = BandedSimilarity(points, others.grid(noisy), others.config.window, dtype, neighbours)
    measured = None if known is None else _rows(known, dtype)
    z = goal.new_zeros(*goal.shape[:2], model.config.atoms)
    room, squares = torch.empty_like(z), torch.empty_like(z)
    for k, threshold in enumerate(model.schedule(sigma)):
        threshold = threshold.mT.to(dtype)
        if near is not None:
            if k in others.config.refreshes:
                seen = others.looked_at(_columns(z @ W.mT), mean, noisy)
                near.update(_rows(others.points(seen, mean), torch.float32), others.nu(k))
            if others.config.variance_reduction and k % 3 == 0 and k > 0:
                y = others.reduce_variance(y, _columns(z @ W.mT), mean, noisy)
                goal = _rows(y, dtype)

        def descend(goal: Tensor = goal) -> None:
            error = torch.baddbmm(goal, z, D.mT, alpha=-1)
            if measured is not None:
                error *= measured
            z.baddbmm_(error, C)

        model.step_fast(Moment(k, z, threshold, descend, near, room, squares))
    return model.average(_columns(z @ W.mT) + mean, noisy)


def _rows(patches: Tensor, dtype: torch.dtype) -> Tensor:
    """``(B, m, N)`` as ``(B, N, m)``: what belongs to one patch lies together in memory."""
    return patches.mT.to(dtype).contiguous()


def _columns(patches: Tensor) -> Tensor:
    """`_rows` undone, in float32."""
    return patches.mT.float().contiguous()


def soft_step(at: Moment) -> None:
    """SC's step."""
    at.descend()
    _soft_threshold_(at.z, at.threshold)


def group_step(at: Moment) -> None:
    """GroupSC's step: `relaxed_group_threshold` in place."""
    assert at.near is not None
    at.descend()
    energy = at.near.product(torch.square(at.z, out=at.squares), at.room)
    # Where all codes are 0 this becomes infinity, and then 1, unless the threshold is 0 as well.
    shrinkage = energy.rsqrt_().mul_(at.near.sums.sqrt().to(at.z.dtype))
    at.z.addcmul_(at.z, shrinkage.mul_(at.threshold.clamp_min(EPS)).clamp_max_(1), value=-1)


def csr_step(at: Moment, gamma: Tensor) -> None:
    """CSR's step: `csr_threshold` in place."""
    assert at.near is not None
    z, lam, gamma = at.z, at.threshold, gamma.to(at.z.dtype)
    beta = at.near.product(z, at.room).div_(at.near.sums.to(z.dtype))
    at.descend()
    shift = beta.add_(lam * beta.sign())
    z -= shift
    _soft_threshold_(z, lam * gamma)
    z += shift
    _soft_threshold_(z, lam)


def _soft_threshold_(z: Tensor, threshold: Tensor) -> None:
    """`soft_threshold` in place: take away what lies within the threshold."""
    z -= z.clamp(-threshold, threshold)
