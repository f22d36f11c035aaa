"""Keeps what a model repeats from blowing up.

Without thresholds the residual of a patch obeys ``r ← r − M D Cᵀ r``, with M what was measured of
it. Thresholds nearly always hold it down. So a training may arrive at steps that are much too long
and not notice, and then a rare patch of a rare photograph grows a thousandfold (docs/training.md).
"""

import torch
from torch import Tensor

from lessons_lib.models import Restorer

DOUBLINGS = 4  # 16 steps


def growth(model: Restorer, measured: Tensor) -> Tensor:
    """How much random residuals grow in 16 steps without thresholds, a scalar.

    The mean of ``‖r₁₆‖² / ‖r₀‖²``, as a natural logarithm where it is above 1, added up over the
    ways in which a patch may be measured. Zero for an ISTA that converges.

    Args:
        model: one that `repeats`, with weights C and D.
        measured: ``(P, m)`` on the model's device, see `lessons_lib.tasks.Task.measured`.
    """
    weights = dict(model.named_parameters())
    back_and_forth = weights["D"] @ weights["C"].mT
    step = torch.diag_embed(measured) - measured[:, :, None] * back_and_forth * measured[:, None]
    for _ in range(DOUBLINGS):
        step = step @ step
    mean = step.square().sum((1, 2)) / measured.sum(1)
    return mean.log().relu().sum()
