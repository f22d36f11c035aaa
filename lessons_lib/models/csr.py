"""CSR: centralised sparse representation, in which each code is drawn to those of similar patches.

Lecouat, Ponce, Mairal, *Fully trainable and interpretable non-local sparse models for image
restoration*, 2020, §A, after Dong, Zhang, Shi, 2011. The paper trains it and publishes neither code
nor how γ is chosen; here γ is learned, one number for each step.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lessons_lib.models import fast
from lessons_lib.models.non_local import NonLocalConfig, NonLocalModel
from lessons_lib.models.unrolled import residual
from lessons_lib.ops.prox import csr_threshold


@dataclass(frozen=True)
class CSRConfig(NonLocalConfig):
    """`NonLocalConfig`, and the first value of γ.

    Args:
        gamma: of each step after the first update of Σ, not negative; of all steps if there is no
            update. Before it γ starts near 0: patches are compared in the noise, where they have
            few relatives, and a β that is little but the patch's own code would only hold it back.
    """

    gamma: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gamma < 0:
            raise ValueError(f"gamma must not be negative: {self}")


class CSR(NonLocalModel):
    """Trainable CSR: GroupSC's parameters and one γ for each step.

    ``β_i = Σ_l Σ_il z_l / Σ_l Σ_il``, ``z ← prox of Λ_k(‖z‖₁ + γ_k‖z − β‖₁) at z + Cᵀ(y − Dz)``

    With all γ = 0 it is `PatchSC`.

    Source: GroupSC eq. 15 and 16, Proposition 1.
    Differs from the paper: Σ is updated as rarely as in `GroupSC`, β at every step.
    """

    config: CSRConfig

    def __init__(self, config: CSRConfig, dictionary: Tensor | None = None) -> None:
        super().__init__(config, dictionary)
        gammas = torch.full((config.steps,), float(config.gamma))
        if config.refreshes:
            gammas[: config.refreshes[0]] = min(config.gamma, 0.01)  # at 0 nothing would be learned
        self.raw_gammas = nn.Parameter(gammas)

    @property
    def gammas(self) -> Tensor:
        """γ of each step, ``(steps,)``, never negative: see `UnrolledModel.thresholds`."""
        return self.raw_gammas.abs()

    def start_from(self, weights: dict[str, Tensor]) -> list[str]:
        """As `PatchModel.start_from`; thresholds of a model without γ are shared between two pulls.

        Where β = 0, CSR shrinks by Λ(1 + γ) what SC shrinks by Λ.
        """
        taken = super().start_from(weights)
        if "raw_thresholds" in taken and "raw_gammas" not in taken:
            gammas = self.gammas[:, None]
            if self.config.levels_255:  # one Λ for each level then, the same at all steps
                gammas = gammas.mean()
            with torch.no_grad():
                self.raw_thresholds.div_(1 + gammas)
        return taken

    def forward(
        self, noisy: Tensor, mask: Tensor | None = None, sigma: Tensor | None = None
    ) -> Tensor:
        """Estimate ``(B, C, H, W)`` images; stores ``N²`` similarities of ``N`` patches."""
        y, mean, known = self.look(noisy, mask)  # (B, m, N), (B, 1, N), (1 or B, m, N)
        C, D, W = self.dictionaries(len(y))  # (B, m, K)
        similarity = self.similarities(y, mean, noisy, known)  # (B, N, N)
        z = self.first_codes(y)  # (B, K, N)
        for k, (threshold, gamma) in enumerate(zip(self.schedule(sigma), self.gammas, strict=True)):
            if k in self.config.refreshes:
                similarity = self.refresh(similarity, W @ z, mean, noisy, k)
            if self.config.variance_reduction and k % 3 == 0 and k > 0:
                y = self.reduce_variance(y, W @ z, mean, noisy)
            beta = (z @ similarity) / similarity.sum(dim=-2, keepdim=True)  # (B, K, N)
            z = csr_threshold(z + C.mT @ residual(y, D @ z, known), beta, threshold, gamma)
        return self.average(W @ z + mean, noisy)

    def step_fast(self, at: fast.Moment) -> None:
        """The loop's last line, in place."""
        fast.csr_step(at, self.gammas[at.k])
