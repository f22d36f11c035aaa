"""LISTA: ISTA cut off after a few steps, its weights learned so that the few steps suffice.

Gregor and LeCun, *Learning fast approximations of sparse coding*, 2010; coupled weights: Chen, Liu,
Wang, Yin, *Theoretical linear convergence of unfolded ISTA and its practical weights and
thresholds*, 2018; analytic weights: Liu, Chen, Wang, Yin, *ALISTA: analytic weights are as good as
learned weights in LISTA*, 2019.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lessons_lib.models.patch_model import PatchModel, PatchSizes, first_dictionary
from lessons_lib.ops.dictionary import spectral_norm
from lessons_lib.ops.prox import soft_threshold


@dataclass(frozen=True)
class ListaConfig(PatchSizes):
    """Sizes, and what is learned besides the thresholds.

    Args:
        variant: "untied" learns ``W_k`` and ``S_k``, "coupled" one ``C_k``, "alista" one number.
        threshold: λ of the lasso that the untrained network takes the first steps of solving.

    Raises:
        ValueError: for an unknown variant.
    """

    steps: int = 8
    variant: Literal["untied", "coupled", "alista"] = "coupled"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant not in ("untied", "coupled", "alista"):
            raise ValueError(f"variant is 'untied', 'coupled' or 'alista', not {self.variant!r}")


class Lista(PatchModel):
    """Learned ISTA for a dictionary ``D`` that stays as it is.

    - untied: ``z ← S_{Λ_k}(W_k y + S_k z)``
    - coupled: ``z ← S_{Λ_k}(z + C_kᵀ(y − Dz))``
    - alista: ``z ← S_{θ_k}(z + γ_k Cᵀ(y − Dz))`` with ``C`` from `analytic_weights`

    Untrained, the first two are ISTA with λ = ``config.threshold``.

    Args:
        config: sizes and variant.
        dictionary: ``(m, K)``, unit columns; Gaussian atoms where not given.
    """

    config: ListaConfig
    noise_powers: ClassVar[dict[str, int]] = {"raw_thresholds": 1}

    def __init__(self, config: ListaConfig, dictionary: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        D = first_dictionary(config, dictionary)
        self.register_buffer("D", D.clone())
        self.D: Tensor
        steps = config.steps
        step_size = 1 / spectral_norm(D) ** 2
        if config.variant == "untied":
            S = torch.eye(config.atoms).to(D) - step_size * D.T @ D
            self.Wy = nn.Parameter((step_size * D.T).repeat(steps, 1, 1))  # (steps, K, m)
            self.S = nn.Parameter(S.repeat(steps, 1, 1))  # (steps, K, K)
        elif config.variant == "coupled":
            self.C = nn.Parameter((step_size * D).repeat(steps, 1, 1))  # (steps, m, K)
        else:
            analytic = analytic_weights(D)
            step_size = 1 / spectral_norm(analytic.T @ D)
            self.register_buffer("analytic", analytic)
            self.analytic: Tensor
            self.step_sizes = nn.Parameter(torch.full((steps,), step_size, dtype=D.dtype))
        per_step = 1 if config.variant == "alista" else config.atoms
        first = torch.full((steps, per_step), step_size * config.threshold, dtype=D.dtype)
        self.raw_thresholds = nn.Parameter(first)

    @property
    def thresholds(self) -> Tensor:
        """Λ as ``(steps, K or 1, 1)``, never negative: see `UnrolledModel.thresholds`."""
        return self.raw_thresholds.abs()[:, :, None]

    def encode(self, y: Tensor) -> list[Tensor]:
        """Codes ``(B, K, N)`` of patches ``(B, m, N)`` after every step."""
        z = y.new_zeros(len(y), self.config.atoms, y.shape[-1])
        codes = []
        for k, threshold in enumerate(self.thresholds):
            if self.config.variant == "untied":
                z = soft_threshold(self.Wy[k] @ y + self.S[k] @ z, threshold)
            elif self.config.variant == "coupled":
                z = soft_threshold(z + self.C[k].T @ (y - self.D @ z), threshold)
            else:
                step = self.step_sizes[k] * self.analytic.T @ (y - self.D @ z)
                z = soft_threshold(z + step, threshold)
            codes.append(z)
        return codes

    def forward(self, noisy: Tensor) -> Tensor:
        """Estimate ``(B, C, H, W)`` images by coding their patches: ``x̂ = average of Dz + μ``."""
        y, mean = self.cut(noisy)
        return self.average(self.D @ self.encode(y)[-1] + mean, noisy)


def analytic_weights(dictionary: Tensor) -> Tensor:
    """The matrix whose columns see their own atom fully and all others as little as can be.

    ``argmin over C of ‖CᵀD‖_F²`` subject to ``c_jᵀ d_j = 1``, which is
    ``c_j = (DDᵀ)⁺ d_j / (d_jᵀ (DDᵀ)⁺ d_j)``

    Args:
        dictionary: ``(m, K)``, no column zero.

    Returns:
        ``(m, K)``.

    Source: ALISTA, eq. 16; it is solved there by projected gradient descent.

    >>> analytic_weights(torch.eye(3)).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    D = dictionary.double()
    unscaled = torch.linalg.pinv(D @ D.T, hermitian=True, rtol=1e-10) @ D
    return (unscaled / (unscaled * D).sum(dim=0)).to(dictionary)
