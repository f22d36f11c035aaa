"""SC and GroupSC exactly as their authors' released code computes them, to run released weights.

Our own models differ from that code where it helps, see `PatchSC` and `NonLocalConfig`. Weights
that were trained with one set of formulas need the same ones: here they are, differences included.
"""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lessons_lib.models.non_local import NonLocalConfig
from lessons_lib.models.patch_model import PatchModel
from lessons_lib.models.restorer import Precision
from lessons_lib.ops.patches import extract_patches
from lessons_lib.ops.similarity import squared_distances


class PublishedModel(PatchModel):
    """SC, or with κ and ν GroupSC, of the released code.

    - Thresholds may have any sign; a negative one amplifies.
    - A patch looks one patch further up and left than down and right: 24 against 23 in gray.
    - Two small numbers keep the square roots of the group prox away from zero.
    - Variance reduction averages patches without their means, and by an amount of any sign.

    Args:
        config: sizes; of the options only ``refresh`` counts.
        C: ``(m, K)``; the released code holds its transpose.
        D: ``(m, K)``.
        W: ``(m, K)``.
        thresholds: ``(steps, K, 1)``.
        kappa: ``(m, 1)``, or None for SC.
        nu_logit: one number, or None for SC.
        agreement: one number, how far every third step draws the noisy patches to what their
            neighbours say of them, or None if no step does.
        reach: how many patches further up and left a patch still sees; down and right it is one
            less.
    """

    config: NonLocalConfig

    def __init__(
        self,
        config: NonLocalConfig,
        C: Tensor,
        D: Tensor,
        W: Tensor,
        thresholds: Tensor,
        kappa: Tensor | None = None,
        nu_logit: Tensor | None = None,
        agreement: Tensor | None = None,
        reach: int = 24,
    ) -> None:
        super().__init__()
        self.config = config
        self.reach = reach
        self.C, self.D, self.W = nn.Parameter(C), nn.Parameter(D), nn.Parameter(W)
        self.thresholds = nn.Parameter(thresholds)
        self.kappa = None if kappa is None else nn.Parameter(kappa)
        self.nu_logit = None if nu_logit is None else nn.Parameter(nu_logit)
        self.agreement = None if agreement is None else nn.Parameter(agreement)

    def bytes_for(self, shape: tuple[int, int], precision: Precision) -> int:
        """Those of `PatchModel`, and Σ."""
        pairs = 0 if self.kappa is None else 5 * self.patches_in(shape) ** 2
        return super().bytes_for(shape, precision) + 4 * pairs

    def forward(self, noisy: Tensor) -> Tensor:
        """Estimate ``(B, C, H, W)`` images."""
        y, mean = self.cut(noisy)  # (B, m, N), (B, 1, N)
        C, D, W = (weight.expand(len(y), -1, -1) for weight in (self.C, self.D, self.W))
        similarity = None if self.kappa is None else self.similarities(y, noisy)
        z = y.new_zeros(len(y), self.config.atoms, y.shape[-1])
        for k, threshold in enumerate(self.thresholds):
            if similarity is not None and self.nu_logit is not None and k in self.config.refreshes:
                middle = self.average(W @ z + mean, noisy)
                nu = self.nu_logit.sigmoid()
                new = self.similarities(self.cut_again(middle, mean), noisy)
                similarity = (1 - nu) * similarity + nu * new
            z = self.shrink(z + C.mT @ (y - D @ z), similarity, threshold)
            if self.agreement is not None and k % 3 == 1:
                agreed = extract_patches(self.average(W @ z, noisy), self.config.patch)
                y = (1 - self.agreement) * y + self.agreement * agreed
        return self.average(W @ z + mean, noisy)

    def shrink(self, z: Tensor, similarity: Tensor | None, threshold: Tensor) -> Tensor:
        """Soft or group threshold, for thresholds of any sign."""
        if similarity is None:
            return (z - threshold).relu() - (-z - threshold).relu()
        group = (z.square() @ similarity + 1e-8).sqrt()
        size = (similarity.sum(dim=-2, keepdim=True) + 1e-12).sqrt()
        return (1 - threshold * size / group).relu() * z

    def similarities(self, patches: Tensor, like: Tensor) -> Tensor:
        """``(B, N, N)``; column ``i`` holds how similar the others are to patch ``i``."""
        assert self.kappa is not None
        scaled = self.kappa * patches
        rows, columns = (side - self.config.patch + 1 for side in like.shape[-2:])
        row = torch.arange(rows, device=like.device).repeat_interleave(columns)
        column = torch.arange(columns, device=like.device).repeat(rows)
        near = torch.ones(rows * columns, rows * columns, dtype=torch.bool, device=like.device)
        for place in (row, column):
            offset = place[:, None] - place
            near &= (offset >= -self.reach) & (offset < self.reach)
        return torch.exp(-squared_distances(scaled, scaled)) * near

    def cut_again(self, image: Tensor, mean: Tensor) -> Tensor:
        """Patches of an image less the means of the noisy patches."""
        patches, own_mean = self.cut(image)
        return patches + own_mean - mean


def from_published(weights: Mapping[str, Tensor]) -> PublishedModel:
    """A model from tensors named as in the released checkpoints.

    Args:
        weights: ``apply_A.weight`` (K, m, 1, 1), ``apply_D.weight`` and ``apply_W.weight``
            (m, K, 1, 1), ``lmbda.0`` ... (1, K, 1, 1) or one ``lmbda`` for all of 24 steps;
            GroupSC also ``std.0`` (1, m, 1, 1) or (1, 1, 1, 1), ``nu.0`` (1,) and, if it was
            trained with variance reduction, ``nu_var`` (1,). Names may begin with ``module.``.
            Buffers are ignored, and so is ``std_g.0``, with a warning: the released code never uses
            it.

    Raises:
        ValueError: if a tensor is missing, misshapen, or of a variant that the paper's tables do
            not use.
    """
    given = {name.removeprefix("module."): tensor.float() for name, tensor in weights.items()}
    C, D, W = (given.pop(f"apply_{letter}.weight", None) for letter in "ADW")
    if C is None or D is None or W is None:
        raise ValueError("no weights of SC or GroupSC: apply_A, apply_D, apply_W are missing")
    C, D, W = C.flatten(1).T, D.flatten(1), W.flatten(1)
    m, K = D.shape
    channels, patch = _geometry(m)
    thresholds = _in_order(given, "lmbda")
    kappas, nus = _in_order(given, "std"), _in_order(given, "nu")
    agreement = given.pop("nu_var", None)
    if "std_g.0" in given:
        warnings.warn("std_g is ignored: the released code never uses it", stacklevel=2)
    unused = [name for name in given if not name.startswith(("simLayer.", "std_g."))]
    if unused:
        raise ValueError(f"weights of a variant that is not supported: {', '.join(unused)}")
    if not thresholds or len(kappas) != len(nus) or len(kappas) > 1:
        raise ValueError(
            f"{len(thresholds)} thresholds, {len(kappas)} kappas and {len(nus)} nus: "
            "expected some, and one or none of the others"
        )
    if len(thresholds) == 1:
        thresholds *= 24
    if any(tensor.shape != (m, K) for tensor in (C, W)) or any(x.numel() != K for x in thresholds):
        raise ValueError("the shapes of the weights do not fit together")
    config = NonLocalConfig(channels, patch, K, len(thresholds))
    stacked = torch.stack(thresholds).reshape(-1, K, 1)
    if not kappas:
        if agreement is not None:
            raise ValueError("variance reduction without similarities is not supported")
        return PublishedModel(config, C, D, W, stacked)
    single = [nus[0]] if agreement is None else [nus[0], agreement]
    if kappas[0].numel() not in (1, m) or any(tensor.numel() != 1 for tensor in single):
        raise ValueError("the shapes of kappa and nu do not fit the patches")
    kappa, reach = kappas[0].reshape(-1, 1), 24 if channels == 1 else 25
    return PublishedModel(config, C, D, W, stacked, kappa, nus[0], agreement, reach)


def _in_order(weights: dict[str, Tensor], name: str) -> list[Tensor]:
    """Take the tensors ``name``, or ``name.0``, ``name.1``, ..., out of the weights."""
    if name in weights:
        return [weights.pop(name)]
    found: list[Tensor] = []
    while f"{name}.{len(found)}" in weights:
        found.append(weights.pop(f"{name}.{len(found)}"))
    return found


def _geometry(entries: int) -> tuple[int, int]:
    """Channels and side of patches with so many entries."""
    for channels in (1, 3):
        side = round((entries / channels) ** 0.5)
        if channels * side**2 == entries:
            return channels, side
    raise ValueError(f"patches of {entries} entries are neither gray nor RGB squares")
