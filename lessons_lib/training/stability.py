"""Keeps what a model repeats from blowing up.

Without thresholds the residual of a patch obeys ``r ← r − M D Cᵀ r``, with M what was measured of
it. Thresholds nearly always hold it down. So a training may arrive at steps that are much too long
and not notice, and then a rare patch of a rare photograph grows a thousandfold (docs/training.md).
"""

import torch
from torch import Tensor

from lessons_lib.degradations import PATTERNS, BayerMosaic
from lessons_lib.models.base import PatchModel, UnrolledModel
from lessons_lib.ops.patches import extract_patches
from lessons_lib.training.config import Run

DOUBLINGS = 4  # 16 steps


def measured_entries(run: Run, model: PatchModel) -> Tensor:
    """What a patch may show of itself in a run's task: ``(P, m)``, 0 or 1, a row for each way."""
    if run.task != "demosaic":
        return torch.ones(1, model.config.entries)
    size = model.config.patch
    masks = torch.cat([BayerMosaic(pattern).mask((size, size)) for pattern in PATTERNS])
    return extract_patches(masks, size)[..., 0]


def growth(model: UnrolledModel, measured: Tensor) -> Tensor:
    """How much random residuals grow in 16 steps without thresholds, a scalar.

    The mean of ``‖r₁₆‖² / ‖r₀‖²``, as a natural logarithm where it is above 1, added up over the
    ways in which a patch may be measured. Zero for an ISTA that converges.

    Args:
        model: with weights C and D.
        measured: ``(P, m)`` on the model's device, see `measured_entries`.
    """
    back_and_forth = model.D @ model.C.mT
    step = torch.diag_embed(measured) - measured[:, :, None] * back_and_forth * measured[:, None]
    for _ in range(DOUBLINGS):
        step = step @ step
    mean = step.square().sum((1, 2)) / measured.sum(1)
    return mean.log().relu().sum()
