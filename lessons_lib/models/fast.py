"""The forward passes of SC, CSR and GroupSC once more, written for speed instead of for reading.

Each model's own ``forward`` is the reference: it says what is computed, and gradients flow through
it. Here the same numbers are computed for photographs, without gradients: with Σ in bands
(`lessons_lib.ops.bands`), all numbers of a patch together in memory, codes and products in half
precision where the machine is fast at it, and every element-wise step done in place, so that codes
stay in a processor's cache.
"""

import torch
from torch import Tensor

from lessons_lib.models.base import NonLocalModel, PatchModel, UnrolledModel
from lessons_lib.models.csr import CSR
from lessons_lib.models.groupsc import GroupSC
from lessons_lib.models.sc import PatchSC
from lessons_lib.ops.bands import BandedSimilarity
from lessons_lib.ops.prox import EPS


def has_fast_form(model: PatchModel) -> bool:
    """Whether `estimate` knows the model; a subclass may compute something else."""
    return type(model) in (PatchSC, CSR, GroupSC)


def fastest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it faster than float32, else float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        known = torch.cpu.get_capabilities()
        fast = bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    return torch.bfloat16 if fast else torch.float32


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
        model: one of which `has_fast_form` is true, in float32.
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
    near = None
    if isinstance(model, NonLocalModel):
        points = _rows(model.points(y, mean, known), torch.float32)
        near = BandedSimilarity(points, model.grid(noisy), model.config.window, dtype, neighbours)
    measured = None if known is None else _rows(known, dtype)
    z = goal.new_zeros(*goal.shape[:2], model.config.atoms)
    room, squares = torch.empty_like(z), torch.empty_like(z)
    for k, threshold in enumerate(model.schedule(sigma)):
        threshold = threshold.mT.to(dtype)
        if isinstance(model, NonLocalModel) and near is not None:
            if k in model.config.refreshes:
                seen = model.looked_at(_columns(z @ W.mT), mean, noisy)
                near.update(_rows(model.points(seen, mean), torch.float32), model.nu(k))
            if model.config.variance_reduction and k % 3 == 0 and k > 0:
                y = model.reduce_variance(y, _columns(z @ W.mT), mean, noisy)
                goal = _rows(y, dtype)
        if isinstance(model, CSR) and near is not None:
            beta = near.product(z, room).div_(near.sums.to(dtype))
        error = torch.baddbmm(goal, z, D.mT, alpha=-1)
        if measured is not None:
            error *= measured
        z.baddbmm_(error, C)
        if isinstance(model, CSR):
            _csr_threshold_(z, beta, threshold, model.gammas[k].to(dtype))
        elif near is not None:
            _relaxed_group_threshold_(z, near, threshold, squares, room)
        else:
            _soft_threshold_(z, threshold)
    return model.average(_columns(z @ W.mT) + mean, noisy)


def _rows(patches: Tensor, dtype: torch.dtype) -> Tensor:
    """``(B, m, N)`` as ``(B, N, m)``: what belongs to one patch lies together in memory."""
    return patches.mT.to(dtype).contiguous()


def _columns(patches: Tensor) -> Tensor:
    """`_rows` undone, in float32."""
    return patches.mT.float().contiguous()


def _soft_threshold_(z: Tensor, threshold: Tensor) -> None:
    """`soft_threshold` in place: take away what lies within the threshold."""
    z -= z.clamp(-threshold, threshold)


def _csr_threshold_(z: Tensor, beta: Tensor, lam: Tensor, gamma: Tensor) -> None:
    """`csr_threshold` in place; β is used up."""
    shift = beta.add_(lam * beta.sign())
    z -= shift
    _soft_threshold_(z, lam * gamma)
    z += shift
    _soft_threshold_(z, lam)


def _relaxed_group_threshold_(
    z: Tensor, near: BandedSimilarity, threshold: Tensor, squares: Tensor, room: Tensor
) -> None:
    """`relaxed_group_threshold` in place; the last two are as large as the codes."""
    energy = near.product(torch.square(z, out=squares), room)
    # Where all codes are 0 this becomes infinity, and then 1, unless the threshold is 0 as well.
    shrinkage = energy.rsqrt_().mul_(near.sums.sqrt().to(z.dtype))
    z.addcmul_(z, shrinkage.mul_(threshold.clamp_min(EPS)).clamp_max_(1), value=-1)
