"""What the unrolled models share: their first weights, and the similarity of patches.

Every model maps noisy images ``(B, C, H, W)`` to estimates of the same shape and holds its frozen
``config``. Letters are the paper's: ``y`` centred patches ``(B, m, N)``, ``z`` codes ``(B, K, N)``,
``C``, ``D``, ``W`` dictionaries ``(m, K)``, ``Λ`` thresholds, ``Σ`` similarities ``(B, N, N)``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lessons_lib.ops.dictionary import random_dictionary, spectral_norm
from lessons_lib.ops.patches import (
    centre,
    extract_patches,
    measured_mean,
    overlap_average,
    patch_counts,
)
from lessons_lib.ops.similarity import gaussian_similarity, window_mask

# An image s times as bright, noise and all, should give an estimate s times as bright. It does if
# each of these weights is multiplied by this power of s; all others stay as they are. So a model
# for one noise level starts where another one's training ended.
NOISE_POWERS = {"raw_thresholds": 1, "kappa": -1}


@dataclass(frozen=True)
class PatchSizes:
    """Sizes of a model that codes the overlapping patches of an image.

    Args:
        channels: 1 for gray, 3 for colour.
        patch: side of a patch; the paper takes 9 for gray and 7 for colour.
        atoms: columns of each dictionary.
        steps: proximal steps, the paper's K.
        threshold: first value of every threshold in Λ.

    Raises:
        ValueError: if a size is not positive or the threshold is negative.
    """

    channels: int = 1
    patch: int = 9
    atoms: int = 256
    steps: int = 24
    threshold: float = 0.02

    def __post_init__(self) -> None:
        if min(self.channels, self.patch, self.atoms, self.steps) < 1 or self.threshold < 0:
            raise ValueError(f"sizes must be positive, and the threshold not negative: {self}")

    @property
    def entries(self) -> int:
        """Numbers in one patch, the paper's m."""
        return self.channels * self.patch**2


class PatchModel(nn.Module):
    """Anything that estimates an image from its overlapping patches.

    Attributes:
        config: sizes and options.
        sigma: noise that the weights were trained for, on the [0, 1] scale; None if not known.
        matrices: names of those weights that are matrices and multiply vectors, for optimisers that
            treat them as such.
    """

    config: PatchSizes
    sigma: float | None = None
    matrices: ClassVar[tuple[str, ...]] = ()

    def start_from(self, weights: dict[str, Tensor]) -> list[str]:
        """Take over another model's weights where name and shape agree; return their names."""
        own = self.state_dict()
        given = {
            name: weight
            for name, weight in weights.items()
            if name in own and own[name].shape == weight.shape
        }
        self.load_state_dict(given, strict=False)
        return list(given)

    def cut(self, noisy: Tensor) -> tuple[Tensor, Tensor]:
        """Centred patches ``(B, m, N)`` of an image and their means ``(B, 1, N)``: eq. 5.

        Raises:
            ValueError: if the image has other channels than the model, or is too small.
        """
        size, channels = self.config.patch, self.config.channels
        if noisy.dim() != 4 or noisy.shape[1] != channels or min(noisy.shape[-2:]) < size:
            raise ValueError(
                f"expected (B, {channels}, H, W) with sides of {size} pixels at least, "
                f"got {tuple(noisy.shape)}"
            )
        return centre(extract_patches(noisy, size))

    def average(self, patches: Tensor, like: Tensor) -> Tensor:
        """The image that estimated patches ``(B, m, N)`` make together: eq. 6."""
        return overlap_average(patches, (like.shape[-2], like.shape[-1]), self.config.patch)

    def estimate_counts(self, shape: tuple[int, int]) -> Tensor:
        """Estimates that each pixel of an ``(H, W)`` image gets, ``(1, 1, H, W)``.

        Few near the border, where an estimate is therefore worse: training and the blending of
        tiles weigh pixels by it.
        """
        return patch_counts(shape, self.config.patch)


@dataclass(frozen=True)
class PatchConfig(PatchSizes):
    """Sizes, and what a model is told besides the image.

    Args:
        levels_255: noise levels, white being 255 and the largest last, that share ``C``, ``D`` and
            ``W``: each has one Λ for all steps, and the image's level chooses. None: a model of one
            level, with a Λ of its own for each step.
        interpolate: whether Λ is interpolated between two levels, or the nearest level's taken
            (paper). Weights trained with the nearest level's gain 0.1 to 1.2 dB between levels, the
            more the weaker the noise (docs/training.md).
        masked_mean: mean of a patch of which only some entries were measured: that of the
            "measured" entries, see `measured_mean`, or the plain mean of the "zero-filled" patch
            (released code), about a third of the true one in a mosaic.

    Raises:
        ValueError: if levels are not positive or do not increase, or for an unknown name.
    """

    levels_255: tuple[float, ...] = ()
    interpolate: bool = True
    masked_mean: Literal["measured", "zero-filled"] = "measured"

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = self.levels_255
        if len(levels) == 1 or any(low >= high for low, high in pairwise((0.0, *levels))):
            raise ValueError(f"levels must be positive, increase, and be two at least: {levels}")
        if self.masked_mean not in ("measured", "zero-filled"):
            raise ValueError(f"masked_mean: 'measured' or 'zero-filled', not {self.masked_mean!r}")


class UnrolledModel(PatchModel):
    """The weights of eq. 3: ``C``, ``D``, ``W`` and Λ.

    All models take, besides the noisy image, a ``mask`` that is 1 where a value was measured and 0
    where none was, ``(1 or B, C, H, W)``, and the ``sigma`` of the noise, ``(B,)`` on the [0, 1]
    scale, of which models of several levels need to know.

    Args:
        config: sizes.
        dictionary: ``(m, K)`` to start from, as `learn_dictionary` finds it; Gaussian atoms where
            not given. ``C = D = W = D₀ / ‖D₀‖₂`` makes the first model an ISTA that converges.

    Source: GroupSC §3.6 and §B; of levels and masks, §3.4 and §3.5.
    """

    config: PatchConfig
    matrices = ("C", "D", "W")

    def __init__(self, config: PatchConfig, dictionary: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        start = first_dictionary(config, dictionary)
        start = start / spectral_norm(start)
        self.C = nn.Parameter(start.clone())
        self.D = nn.Parameter(start.clone())
        self.W = nn.Parameter(start.clone())
        first = torch.full((config.steps, 1), float(config.threshold))
        if config.levels_255:
            # Thresholds belong to the noise: the first value is that of the loudest level.
            levels = torch.tensor(config.levels_255)
            first = config.threshold * levels[:, None] / levels[-1]
        self.raw_thresholds = nn.Parameter(first.repeat(1, config.atoms))

    @property
    def thresholds(self) -> Tensor:
        """Λ as ``(steps, K, 1)``, or ``(levels, K, 1)`` if there are several; never negative.

        The absolute value of free parameters. Unlike a clamp it does not stop learning at zero, and
        unlike an exponential or softplus it leaves the learning rate in units of the threshold.
        """
        return self.raw_thresholds.abs()[:, :, None]

    def look(
        self, noisy: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Centred patches ``(B, m, N)``, their means ``(B, 1, N)``, and what is known of them.

        Returns:
            ``y``, ``μ``, and None or ``(1 or B, m, N)``, 1 where an entry of a patch was measured.

        Raises:
            ValueError: see `cut`.

        Source: GroupSC §3.5.
        """
        y, mean = self.cut(noisy)
        if mask is None:
            return y, mean, None
        known = extract_patches(mask, self.config.patch)
        if self.config.masked_mean == "measured":
            patches = y + mean
            mean = measured_mean(patches, known, self.config.channels)
            y = known * (patches - mean)
        return y, mean, known

    def schedule(self, sigma: Tensor | None) -> Iterable[Tensor]:
        """Λ of each step, ``(K, 1)``; or ``(B, K, 1)``, where the noise ``(B,)`` chooses a level.

        Raises:
            ValueError: if there are levels to choose from and the noise is not given.

        Source: GroupSC §3.4.
        """
        if not self.config.levels_255:
            return self.thresholds
        if sigma is None:
            raise ValueError("a model of several noise levels needs to know sigma")
        levels = self.thresholds.new_tensor(self.config.levels_255) / 255
        above = torch.bucketize(sigma, levels).clamp(1, len(levels) - 1)
        low, high = levels[above - 1], levels[above]
        part = ((sigma - low) / (high - low)).clamp(0, 1)
        if not self.config.interpolate:
            part = part.round()
        lower, upper = self.thresholds[above - 1], self.thresholds[above]  # (B, K, 1)
        return [lower.lerp(upper, part[:, None, None])] * self.config.steps

    def first_codes(self, y: Tensor) -> Tensor:
        """Zeros ``(B, K, N)`` for patches ``(B, m, N)``."""
        return y.new_zeros(len(y), self.config.atoms, y.shape[-1])

    def dictionaries(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """``C``, ``D``, ``W`` as ``(B, m, K)`` views: one batched product each, and no copies."""
        C, D, W = (weight.expand(batch, -1, -1) for weight in (self.C, self.D, self.W))
        return C, D, W


def residual(y: Tensor, estimate: Tensor, known: Tensor | None) -> Tensor:
    """``M ⊙ (y − Dz)`` of patches ``(B, m, N)``: what was not measured cannot be wrong.

    Source: GroupSC eq. 13.
    """
    return y - estimate if known is None else known * (y - estimate)


def first_dictionary(config: PatchSizes, dictionary: Tensor | None) -> Tensor:
    """The given dictionary, checked; or Gaussian atoms.

    Raises:
        ValueError: if its shape does not fit the config.
    """
    shape = (config.entries, config.atoms)
    if dictionary is None:
        return random_dictionary(*shape, torch.Generator().manual_seed(0))
    if tuple(dictionary.shape) != shape:
        raise ValueError(f"the model needs a dictionary {shape}, not {tuple(dictionary.shape)}")
    return dictionary.detach()


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
