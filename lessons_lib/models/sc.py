"""SC: sparse coding of patches as a network, trained end to end, without self-similarities.

Lecouat, Ponce, Mairal, *Fully trainable and interpretable non-local sparse models for image
restoration*, 2020, §3.1. It follows CSCNet (Simon and Elad, 2019), adding the centring of patches
and thresholds that vary from step to step.
"""

from torch import Tensor

from lessons_lib.models import fast
from lessons_lib.models.unrolled import UnrolledModel, residual
from lessons_lib.ops.prox import soft_threshold


class PatchSC(UnrolledModel):
    """Trainable sparse coding: 68,352 parameters gray 9 × 9, 119,040 colour 7 × 7.

    ``z ← S_{Λ_k}(z + Cᵀ(y − Dz))``, then ``x̂ = average of W z + μ``

    Source: GroupSC §3.1, eq. 3, 5 and 6.
    Differs from the paper: the average counts the estimates of each pixel, see `overlap_average`;
    thresholds cannot turn negative.

    >>> import torch
    >>> from lessons_lib.models.unrolled import PatchConfig
    >>> PatchSC(PatchConfig(patch=3, atoms=16, steps=2))(torch.rand(1, 1, 8, 11)).shape
    torch.Size([1, 1, 8, 11])
    """

    def forward(
        self, noisy: Tensor, mask: Tensor | None = None, sigma: Tensor | None = None
    ) -> Tensor:
        """Estimate ``(B, C, H, W)`` images, each side at least as long as a patch."""
        y, mean, known = self.look(noisy, mask)  # (B, m, N), (B, 1, N), (1 or B, m, N)
        C, D, W = self.dictionaries(len(y))  # (B, m, K)
        z = self.first_codes(y)  # (B, K, N)
        for threshold in self.schedule(sigma):
            z = soft_threshold(z + C.mT @ residual(y, D @ z, known), threshold)
        return self.average(W @ z + mean, noisy)

    def step_fast(self, at: fast.Moment) -> None:
        """The loop's last line, in place."""
        fast.soft_step(at)
