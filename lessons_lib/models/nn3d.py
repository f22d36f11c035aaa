"""NN3D: lets any denoiser profit from patches that look alike, however far apart they are.

Cruz, Foi, Katkovnik, Egiazarian, *Nonlocality-reinforced convolutional neural networks for image
denoising*, 2018.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lessons_lib.ops.patches import extract_patches, group_average, patch_positions
from lessons_lib.ops.similarity import block_matching

# ``denoise(noisy, sigma)``, of images (1, C, H, W) and σ on the [0, 1] scale.
Denoiser = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class NonLocalFilter:
    """Groups of similar patches, each pulled towards what they have in common.

    Args:
        size: side of the patches.
        count: patches in a group, a power of two.
        window: side of the search window in patches, odd.
        stride: distance between the patches that groups are gathered around.

    Raises:
        ValueError: if the count is no power of two, or a size is not positive.
    """

    size: int = 10
    count: int = 32
    window: int = 39
    stride: int = 5

    def __post_init__(self) -> None:
        if min(self.size, self.count, self.stride) < 1 or self.count & (self.count - 1):
            raise ValueError(f"no such filter: {self}")

    def groups(self, image: Tensor) -> Tensor:
        """Which patches of ``(B, C, H, W)`` are alike, ``(B, count, R)``; see `block_matching`.

        A window of a small image holds fewer patches: then the groups are smaller, by halves.
        """
        reach = self.window // 2 + 1
        height, width = (min(reach, side - self.size + 1) for side in image.shape[-2:])
        if min(height, width) < 1:
            raise ValueError(f"the image is smaller than a patch of {self.size} pixels")
        count = min(self.count, 2 ** int(math.log2(height * width)))
        return block_matching(image, self.size, self.window, count, self.stride)[0]

    def __call__(self, image: Tensor, groups: Tensor, tau: float) -> Tensor:
        """Filter ``(1, C, H, W)``: `shrink` each group, and average a pixel's several estimates."""
        patches = extract_patches(image, self.size)[0]  # (m, N)
        height, width = image.shape[-2:]
        places = [len(patch_positions(side, self.size, self.stride)) for side in (height, width)]
        assert groups.shape[-1] == places[0] * places[1]
        filtered = shrink(patches[:, groups[0]], tau)  # (m, count, R)
        return group_average(filtered[None], groups, (height, width), self.size)


def shrink(stacked: Tensor, tau: float) -> Tensor:
    """Pull the patches of each group towards what they have in common.

    ``q ↦ q³ / (q² + τ²)`` of Haar coefficients across each group, but for the first, its mean

    Args:
        stacked: R groups of n patches of m pixels, ``(m, n, R)``, n a power of two.
        tau: τ.

    Returns:
        Same shape.

    Source: as of `nn3d`.
    """
    haar = haar_matrix(stacked.shape[1]).to(stacked)
    codes = torch.einsum("ij,mjr->mir", haar, stacked)
    shrunk = codes**3 / (codes**2 + tau**2 + torch.finfo(codes.dtype).tiny)
    shrunk[:, 0] = codes[:, 0]
    return torch.einsum("ij,mir->mjr", haar, shrunk)


def haar_matrix(count: int) -> Tensor:
    """The orthonormal Haar transform of ``count`` numbers, a power of two, in float64.

    Row 0 is their sum over ``√count``; the others are differences of neighbouring halves.

    >>> haar_matrix(2)
    tensor([[ 0.7071,  0.7071],
            [ 0.7071, -0.7071]], dtype=torch.float64)
    """
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < count:
        sums = torch.kron(matrix, matrix.new_tensor([[1.0, 1.0]]))
        details = torch.kron(torch.eye(len(matrix)).to(matrix), matrix.new_tensor([[1.0, -1.0]]))
        matrix = torch.cat([sums, details]) / math.sqrt(2)
    return matrix


@torch.no_grad()
def nn3d(
    noisy: Tensor,
    sigma: float,
    denoise: Denoiser,
    alternations: int = 2,
    nonlocal_filter: NonLocalFilter | None = None,
) -> Tensor:
    """Alternate a denoiser with a filter of groups of similar patches, at falling noise levels.

    ``z_k = λ_k y + (1 − λ_k) x̂_{k−1}``, ``x̂_k = filter(denoise(z_k, λ_k σ), τ_k)``, where
    ``λ_k = 1/k`` and ``τ_k = λ_k σ / 4``. Patches are matched once, in the first ``denoise(y, σ)``.

    Args:
        noisy: ``(1, C, H, W)`` with sides of a patch at least.
        sigma: of its noise, on the [0, 1] scale.
        denoise: any denoiser, such as ``lambda y, s: restore(model, y, s)``. It is asked for noise
            of λ_k σ as well: a network for one level brightens the image until the noise fits, and
            does badly on an image far brighter than those it has seen.
        alternations: K.
        nonlocal_filter: as in the paper, 32 patches of 10 × 10, where not given.

    Returns:
        ``(1, C, H, W)``, not clipped.

    Raises:
        ValueError: if there is more than one image, one smaller than a patch, or nothing to do.

    Source: Cruz et al. §II. The choice of λ, τ, the shrinkage and the size of groups is that of a
    public reimplementation, which names them as the paper's; stride and window are ours.
    """
    if len(noisy) != 1 or alternations < 1:
        raise ValueError(
            f"one image, one alternation at least: not {len(noisy)} and {alternations}"
        )
    nonlocal_filter = nonlocal_filter or NonLocalFilter()
    estimate, groups = noisy, None
    for k in range(1, alternations + 1):
        share = 1 / k
        estimate = denoise(share * noisy + (1 - share) * estimate, share * sigma)
        if groups is None:
            groups = nonlocal_filter.groups(estimate)
        estimate = nonlocal_filter(estimate, groups, share * sigma / 4)
    return estimate
