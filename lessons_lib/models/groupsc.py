"""GroupSC: sparse coding in which similar patches share their atoms, relaxed so that it trains.

Lecouat, Ponce, Mairal, *Fully trainable and interpretable non-local sparse models for image
restoration*, 2020, §3.2-3.3 and Algorithm 1.
"""

from torch import Tensor

from lessons_lib.models import fast
from lessons_lib.models.non_local import NonLocalModel
from lessons_lib.models.unrolled import residual
from lessons_lib.ops.prox import relaxed_group_threshold


class GroupSC(NonLocalModel):
    """Trainable group-sparse coding: 68,434 parameters gray 9 × 9, 119,188 colour 7 × 7.

    ``B = z + Cᵀ(y − Dz)``, ``z_ji ← B_ji · max(1 − Λ_j √‖Σ_i‖₁ / ‖(B diag(Σ_i)^½)^j‖₂, 0)``

    With Σ the identity it is `PatchSC`.

    Source: GroupSC Algorithm 1, eq. 11 and 12.
    Differs from the paper: see `NonLocalConfig` for each choice, and `PatchSC`.
    """

    def forward(
        self, noisy: Tensor, mask: Tensor | None = None, sigma: Tensor | None = None
    ) -> Tensor:
        """Estimate ``(B, C, H, W)`` images; stores ``N²`` similarities of ``N`` patches."""
        y, mean, known = self.look(noisy, mask)  # (B, m, N), (B, 1, N), (1 or B, m, N)
        C, D, W = self.dictionaries(len(y))  # (B, m, K)
        similarity = self.similarities(y, mean, noisy, known)  # (B, N, N)
        z = self.first_codes(y)  # (B, K, N)
        for k, threshold in enumerate(self.schedule(sigma)):
            if k in self.config.refreshes:
                similarity = self.refresh(similarity, W @ z, mean, noisy, k)
            if self.config.variance_reduction and k % 3 == 0 and k > 0:
                y = self.reduce_variance(y, W @ z, mean, noisy)
            z = relaxed_group_threshold(z + C.mT @ residual(y, D @ z, known), similarity, threshold)
        return self.average(W @ z + mean, noisy)

    def step_fast(self, at: fast.Moment) -> None:
        """The loop's last line, in place."""
        fast.group_step(at)
