"""What GroupSC and CSR share: the similarities Σ between patches, and when they are renewed.

Lecouat, Ponce, Mairal, *Fully trainable and interpretable non-local sparse models for image
restoration*, 2020, §3.3. For the letters see `lessons_lib.models.patch_model`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lessons_lib.models.restorer import Precision
from lessons_lib.models.tiles import BlendedTiles
from lessons_lib.models.unrolled import PatchConfig, UnrolledModel
from lessons_lib.ops.patches import extract_patches
from lessons_lib.ops.similarity import gaussian_similarity, window_mask


@dataclass(frozen=True)
class NonLocalConfig(PatchConfig):
    """Sizes, and how patches are compared.

    Args:
        window: side, in patches and odd, of the neighbourhood in which patches are compared. The
            released code takes 48 for gray, reaching one patch further to one side than to the
            other; 49 is the symmetric window nearest to it.
        refresh: steps between updates of Σ on the current estimate (the paper's 1/f); 0 compares
            the noisy patches only. With 24 steps and period 6 there are three updates, as in the
            released code; the paper speaks of four, its Algorithm 1 of one per step.
        middle_averaging: whether an update looks at the averaged image (released code), or at each
            patch's own estimate, which scores 0.05 dB lower after a short training.
        compare: "centred" compares patches without their means (released code), "raw" with them
            (eq. 12; 0.015 dB lower).
        kappa: first value of the weights κ of the patch entries, 1 in the released code.
        learn_kappa: whether κ is learned, or stays as it is.
        averaging: one ν for all updates of Σ ("shared", released code) or one each
            ("per-refresh", the paper's ν_k; no difference).
        variance_reduction: whether, every third step, the patches are drawn a little, by a learned
            amount, to what their neighbours say (released code only; no difference).

    Raises:
        ValueError: for an unknown name, an even window, or a negative period or κ.
    """

    window: int = 49
    refresh: int = 6
    middle_averaging: bool = True
    compare: Literal["centred", "raw"] = "centred"
    kappa: float = 1.0
    learn_kappa: bool = True
    averaging: Literal["shared", "per-refresh"] = "shared"
    variance_reduction: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 1 or self.window % 2 == 0 or min(self.refresh, self.kappa) < 0:
            raise ValueError(f"the window must be odd, the period and κ not negative: {self}")
        if self.compare not in ("centred", "raw"):
            raise ValueError(f"compare is 'centred' or 'raw', not {self.compare!r}")
        if self.averaging not in ("shared", "per-refresh"):
            raise ValueError(f"averaging is 'shared' or 'per-refresh', not {self.averaging!r}")

    @property
    def refreshes(self) -> tuple[int, ...]:
        """Steps before which Σ is updated, counted after the first step as the released code does.

        >>> NonLocalConfig().refreshes
        (7, 13, 19)
        """
        return tuple(range(self.refresh + 1, self.steps, self.refresh)) if self.refresh else ()


class NonLocalModel(UnrolledModel):
    """The weights of a model that compares patches: those of SC, κ and ν.

    Source: GroupSC §3.3.
    """

    config: NonLocalConfig
    application = BlendedTiles(compares=True)
    compares = True

    def __init__(self, config: NonLocalConfig, dictionary: Tensor | None = None) -> None:
        super().__init__(config, dictionary)
        start = torch.full((config.entries,), float(config.kappa))
        self.kappa = nn.Parameter(start, requires_grad=config.learn_kappa)
        updates = 1 if config.averaging == "shared" else len(config.refreshes)
        # ν = sigmoid(logit) lies between 0 and 1; a logit of 1 starts it at 0.73.
        self.nu_logit = nn.Parameter(torch.ones(updates), requires_grad=bool(config.refreshes))
        if config.variance_reduction:
            self.agreement = nn.Parameter(torch.tensor([0.01]))

    def points(self, patches: Tensor, mean: Tensor, known: Tensor | None = None) -> Tensor:
        """What Σ compares, ``(B, m, N)``: κ ⊙ patches, with their means where the config says so.

        Args:
            patches: ``(B, m, N)`` centred.
            mean: ``(B, 1, N)``.
            known: of a mosaic, ``(1 or B, m, N)``. Where each pixel has one colour, the colours are
                then added up, whichever it is: ``(B, m / C, N)``, as in the released code.
        """
        if self.config.compare == "raw":
            patches = patches + mean
        points = self.kappa[:, None] * patches
        return points if known is None else points.unflatten(1, (self.config.channels, -1)).sum(1)

    def bytes_for(self, shape: tuple[int, int], precision: Precision) -> int:
        """Those of `PatchModel`, and Σ."""
        pairs = self.patches_in(shape) ** 2 * (5 if precision == "reference" else 2)
        return super().bytes_for(shape, precision) + pairs * (2 if precision == "bf16" else 4)

    def grid(self, image: Tensor) -> tuple[int, int]:
        """Rows and columns of an image's patches."""
        edge = self.config.patch - 1
        return image.shape[-2] - edge, image.shape[-1] - edge

    def similarities(
        self, patches: Tensor, mean: Tensor, like: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """Σ between patches, eq. 12: ``exp(−‖κ ⊙ (x_i − x_l)‖²)``, 0 outside the window.

        Args:
            patches: ``(B, m, N)`` centred.
            mean: ``(B, 1, N)``.
            like: the image they come from.
            known: see `points`.
        """
        grid, window = self.grid(like), self.config.window
        everybody = max(grid) <= window // 2 + 1
        mask = None if everybody else window_mask(grid, window, like.device)
        # A distance is a small difference of large products: not one to take in half precision.
        with torch.autocast(like.device.type, enabled=False):
            return gaussian_similarity(self.points(patches, mean, known), mask=mask)

    def refresh(self, old: Tensor, estimate: Tensor, mean: Tensor, like: Tensor, k: int) -> Tensor:
        """``(1 − ν) Σ + ν Σ̂`` with Σ̂ between the current estimates ``Wz`` of the patches.

        Source: GroupSC Algorithm 1, lines 6 and 7.
        Differs from the paper: with middle averaging, what is taken away from the patches of the
        averaged image is the mean of the *noisy* patch, as in the released code.
        """
        nu = self.nu(k)
        new = self.similarities(self.looked_at(estimate, mean, like), mean, like)
        return (1 - nu) * old + nu * new

    def looked_at(self, estimate: Tensor, mean: Tensor, like: Tensor) -> Tensor:
        """The patches ``(B, m, N)`` that an update compares, from the estimates ``Wz``."""
        return self.agree(estimate, mean, like) if self.config.middle_averaging else estimate

    def nu(self, k: int) -> Tensor:
        """ν of the update before step ``k``, between 0 and 1."""
        update = 0 if self.config.averaging == "shared" else self.config.refreshes.index(k)
        return self.nu_logit[update].sigmoid()

    def agree(self, estimate: Tensor, mean: Tensor, like: Tensor) -> Tensor:
        """Patches of the averaged image, each less its old mean: what neighbours say of a patch."""
        return extract_patches(self.average(estimate + mean, like), self.config.patch) - mean

    def reduce_variance(self, y: Tensor, estimate: Tensor, mean: Tensor, like: Tensor) -> Tensor:
        """Draw the patches a little towards what their neighbours say of them."""
        return (1 - self.agreement) * y + self.agreement * self.agree(estimate, mean, like)
