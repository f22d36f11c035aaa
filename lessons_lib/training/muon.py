"""Muon: steps that move all directions of a matrix alike, for matrices and for kernels."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lessons_lib.models.fast import fastest_dtype

# Of a polynomial, five rounds of which bring singular values from 0.01 to 1 near 1.
LINEAR, CUBIC, QUINTIC = 3.4445, -4.7750, 2.0315
ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Gradient steps with momentum, made orthogonal, as large as Adam's would be.

    Of a gradient's singular value decomposition ``U S Vᵀ`` it takes ``U Vᵀ``: directions in which
    gradients are small are learned as fast as those in which they are large. Kernels
    ``(outputs, inputs, s, s)`` are matrices from all that a pixel's estimate is made of to the
    outputs; so are several ``(k, outputs, inputs, s, s)``, each by itself.

    PyTorch has the same for matrices alone, which tests compare with.

    Args:
        weights: as optimisers take them.
        lr: an entry's step is ``0.2 lr`` in size, on average.
        momentum: what is kept of earlier gradients; Nesterov's.

    Source: Jordan and others, *Muon: an optimizer for hidden layers in neural networks*, 2024; the
    size: Liu and others, *Muon is scalable for LLM training*, 2025, eq. 4.
    """

    def __init__(self, weights: Any, lr: float, momentum: float = 0.95) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move each weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(weight.grad)
                average = state["momentum_buffer"]
                average.lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(average, group["momentum"])
                matrices = ahead.flatten(-3) if ahead.dim() > 3 else ahead
                size = 0.2 * math.sqrt(max(matrices.shape[-2:]))
                move = orthogonal(matrices).to(weight.dtype).view_as(weight)
                weight.add_(move, alpha=-group["lr"] * size)


def orthogonal(matrices: Tensor) -> Tensor:
    """``U Vᵀ`` of matrices ``(m, n)`` or ``(k, m, n)``, roughly: singular values are 0.5 to 1.5.

    In half precision where that is faster: it is enough for a direction.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    wide = (matrices.mT if tall else matrices).to(fastest_dtype(matrices.device))
    found = wide if wide.dim() == 3 else wide[None]
    found = found / torch.linalg.matrix_norm(found, keepdim=True).clamp(min=1e-7)
    for _ in range(ROUNDS):
        gram = found @ found.mT
        gram = torch.baddbmm(gram, gram, gram, beta=CUBIC, alpha=QUINTIC)
        found = torch.baddbmm(found, gram, found, beta=LINEAR)
    found = found.view_as(wide)
    return found.mT if tall else found
