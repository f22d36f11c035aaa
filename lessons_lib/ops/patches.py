"""Cutting an image into overlapping patches, and putting an image together from them.

`extract_patches` and `overlap_add` are exact adjoints of each other, for every size and stride.
Averaging divides what `overlap_add` gives by `patch_counts`, the number of estimates per pixel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def patch_positions(
    length: int, size: int, stride: int = 1, device: torch.device | None = None
) -> Tensor:
    """First pixels of the patches along one axis.

    They lie ``stride`` apart; where the last regular patch ends before the border, one more is set
    flush with it, so that every pixel belongs to a patch.

    Args:
        length: pixels along the axis.
        size: side of a patch, at most ``length``.
        stride: distance between neighbouring patches, between 1 and ``size``.
        device: where the positions are to be.

    Returns:
        Increasing positions, an integer tensor.

    Raises:
        ValueError: if a patch does not fit, or if the stride would leave gaps.

    >>> patch_positions(10, 4, 3).tolist()
    [0, 3, 6]
    >>> patch_positions(11, 4, 3).tolist()
    [0, 3, 6, 7]
    """
    if not 1 <= size <= length:
        raise ValueError(f"a patch of {size} pixels does not fit into {length} pixels")
    if not 1 <= stride <= size:
        raise ValueError(f"stride {stride} must lie between 1 and the patch size {size}")
    return spaced(length - size, stride, device)


def spaced(last: int, stride: int, device: torch.device | None = None) -> Tensor:
    """``0, stride, 2·stride, …`` as far as they go, and ``last``; with gaps, if the stride is long.

    >>> spaced(7, 3).tolist()
    [0, 3, 6, 7]
    """
    positions = torch.arange(0, last + 1, stride, device=device)
    # Asked of plain numbers: torch.compile would cut a model in two at a question to a tensor, and
    # a GPU would have to be waited for.
    if last % stride:
        positions = torch.cat([positions, torch.full((1,), last, device=device)])
    return positions


def extract_patches(image: Tensor, size: int, stride: int = 1) -> Tensor:
    """All overlapping patches, each flattened into a column.

    Args:
        image: ``(B, C, H, W)``.
        size: side of the square patches, at most ``min(H, W)``.
        stride: distance between patches, see `patch_positions`.

    Returns:
        ``(B, m, N)`` with ``m = C * size**2`` (channel, row, column) and the ``N`` patches in
        row-major order of their positions.

    Raises:
        ValueError: if the image is smaller than a patch.

    Source: GroupSC §2, the patches y_1, …, y_n.

    >>> extract_patches(torch.rand(1, 3, 20, 30), size=8).shape
    torch.Size([1, 192, 299])
    """
    batch, channels, height, width = image.shape
    rows = patch_positions(height, size, stride, image.device)
    columns = patch_positions(width, size, stride, image.device)
    if stride == 1:
        return F.unfold(image, size)
    windows = image.unfold(2, size, 1).unfold(3, size, 1)  # (B, C, rows, columns, size, size)
    chosen = windows[:, :, rows][:, :, :, columns]
    count = len(rows) * len(columns)
    return chosen.permute(0, 1, 4, 5, 2, 3).reshape(batch, channels * size * size, count)


def overlap_add(patches: Tensor, shape: tuple[int, int], size: int, stride: int = 1) -> Tensor:
    """Add every patch back to where it was cut: the adjoint of `extract_patches`.

    Args:
        patches: ``(B, m, N)``.
        shape: ``(H, W)`` of the image.
        size: side of the patches.
        stride: distance between patches.

    Returns:
        ``(B, C, H, W)`` with ``C = m / size**2``: at each pixel the sum of its estimates.

    Raises:
        ValueError: if ``m`` or ``N`` does not fit the given sizes.

    Source: GroupSC eq. 2, the sum of R_i D α_i without its average.
    """
    batch, entries, count = patches.shape
    rows = patch_positions(shape[0], size, stride, patches.device)
    columns = patch_positions(shape[1], size, stride, patches.device)
    if count != len(rows) * len(columns):
        raise ValueError(f"{shape} holds {len(rows) * len(columns)} patches, not {count}")
    if entries % size**2:
        raise ValueError(f"{entries} entries are no whole number of {size}x{size} channels")
    if stride == 1:
        return F.fold(patches, shape, size)
    tall = patches.reshape(batch, -1, size, size, len(rows), len(columns))
    image = patches.new_zeros(batch, entries // size**2, *shape)
    for dy in range(size):
        for dx in range(size):
            # For one offset all positions differ, so plain indexing adds each estimate once.
            image[:, :, (rows + dy)[:, None], columns + dx] += tall[:, :, dy, dx]
    return image


def patch_counts(
    shape: tuple[int, int], size: int, stride: int = 1, device: torch.device | None = None
) -> Tensor:
    """How many patches cover each pixel.

    Returns:
        ``(1, 1, H, W)``, at least 1 everywhere; ``size**2`` in the interior for stride 1, fewer
        near the border.

    Source: GroupSC §3.6, "pixels close to the image border belong to fewer patches".
    """
    down, across = (_axis_counts(length, size, stride, device) for length in shape)
    return (down[:, None] * across)[None, None]


def _axis_counts(length: int, size: int, stride: int, device: torch.device | None) -> Tensor:
    first = patch_positions(length, size, stride, device)
    covered = (first[:, None] + torch.arange(size, device=device)).flatten()
    # Not bincount, whose length torch.compile cannot know: it would compile no model as a whole.
    once = torch.ones(len(covered), device=device)
    return torch.zeros(length, device=device).index_add(0, covered, once)


def overlap_average(
    patches: Tensor,
    shape: tuple[int, int],
    size: int,
    stride: int = 1,
    weights: Tensor | None = None,
) -> Tensor:
    """Average the estimates that overlapping patches give of each pixel.

    ``x = Σ_i w_i R_i p_i / Σ_i w_i R_i 1``

    Args:
        patches: ``(B, m, N)``.
        shape: ``(H, W)`` of the image.
        size: side of the patches.
        stride: distance between patches.
        weights: ``(B, N)``, positive confidence in each patch; equal where not given.

    Returns:
        ``(B, C, H, W)``.

    Source: GroupSC eq. 2 and 6.
    Differs from the paper: divides by the number of estimates of each pixel instead of a constant,
    which is the same away from the border and right at it.

    >>> image = torch.rand(1, 1, 12, 9)
    >>> same = overlap_average(extract_patches(image, 4), (12, 9), 4)
    >>> torch.allclose(same, image)
    True
    """
    if weights is None:
        counts = patch_counts(shape, size, stride, patches.device).to(patches.dtype)
        return overlap_add(patches, shape, size, stride) / counts
    spread = weights[:, None].expand(-1, size**2, -1)
    total = overlap_add(patches * weights[:, None], shape, size, stride)
    return total / overlap_add(spread, shape, size, stride)


def group_average(
    estimates: Tensor,
    indices: Tensor,
    shape: tuple[int, int],
    size: int,
    weights: Tensor | None = None,
) -> Tensor:
    """Average what groups of patches say of each pixel; a patch may be in many groups.

    Args:
        estimates: ``(B, m, n, R)``: of ``n`` patches in each of ``R`` groups.
        indices: ``(B, n, R)``, their numbers among all patches of stride 1, as
            `lessons_lib.ops.similarity.block_matching` gives them.
        shape: ``(H, W)`` of the image.
        size: side of the patches.
        weights: ``(B, R)``, positive confidence in each group; equal where not given.

    Returns:
        ``(B, C, H, W)``.

    Raises:
        ValueError: if a pixel belongs to no patch of any group.

    Source: Dabov et al., *Image denoising by sparse 3-D transform-domain collaborative filtering*,
    2007, §III, aggregation.

    >>> image = torch.rand(1, 1, 5, 4)
    >>> everybody = torch.arange(12)[None, None]
    >>> patches = extract_patches(image, 2)[:, :, None]
    >>> torch.allclose(group_average(patches, everybody, (5, 4), 2), image)
    True
    """
    batch, entries, members, groups = estimates.shape
    count = (shape[0] - size + 1) * (shape[1] - size + 1)
    if weights is None:
        weights = estimates.new_ones(batch, groups)
    spread = weights[:, None, None].expand(-1, 1, members, -1).flatten(2)
    where = indices.flatten(1)[:, None]
    total = estimates.new_zeros(batch, entries, count)
    total.scatter_add_(
        2, where.expand(-1, entries, -1), (estimates * weights[:, None, None]).flatten(2)
    )
    trust = estimates.new_zeros(batch, 1, count).scatter_add_(2, where, spread)
    trust = overlap_add(trust.expand(-1, size**2, -1), shape, size)
    if not (trust > 0).all():
        raise ValueError("a pixel belongs to no patch of any group")
    return overlap_add(total, shape, size) / trust


def centre(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Take each patch's mean away, and keep it.

    Args:
        patches: ``(..., m, N)``. A colour patch has one mean over all its channels.

    Returns:
        The centred patches ``(..., m, N)`` and their means ``(..., 1, N)``.

    Source: GroupSC eq. 5.
    """
    mean = patches.mean(dim=-2, keepdim=True)
    return patches - mean, mean


def measured_mean(patches: Tensor, known: Tensor, channels: int) -> Tensor:
    """Means of patches of which only some entries were measured.

    The measured entries of each channel are averaged, then the channels: a mosaic measures green
    twice as often as red, which does not make the patch greener.

    Args:
        patches: ``(B, m, N)``.
        known: ``(1 or B, m, N)``, 1 where an entry was measured, else 0.
        channels: that the ``m`` entries consist of, one after the other.

    Returns:
        ``(B, 1, N)``; channels of which a patch has no entry do not count.

    >>> patches, known = torch.tensor([[[3.0], [9.0], [5.0], [7.0]]]), torch.tensor([1, 0, 1, 1.0])
    >>> measured_mean(patches, known.view(1, 4, 1), channels=2).item()
    4.5
    """
    apart = known.unflatten(-2, (channels, -1))
    counts = apart.sum(dim=-2)
    sums = (patches.unflatten(-2, (channels, -1)) * apart).sum(dim=-2)
    seen = (counts > 0).to(patches)
    means = sums / counts.clamp_min(1)
    return (means * seen).sum(-2, keepdim=True) / seen.sum(-2, keepdim=True).clamp_min(1)
