"""How alike the patches of an image are: the plain, dense form of the similarity matrix Σ.

For ``N`` patches these functions store ``N × N`` numbers, which is fine for a crop of a photograph
and easy to read. `block_matching` alone works on whole photographs: it keeps the nearest few.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lessons_lib.ops.patches import patch_positions


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distances between two sets of columns.

    ``‖x_i − y_l‖² = ‖x_i‖² + ‖y_l‖² − 2⟨x_i, y_l⟩``, kept non-negative against rounding.

    Args:
        x: ``(B, m, N)``.
        y: ``(B, m, M)``.

    Returns:
        ``(B, N, M)``, non-negative.
    """
    x_norms = x.square().sum(dim=-2)[..., :, None]
    y_norms = y.square().sum(dim=-2)[..., None, :]
    return (x_norms + y_norms - 2 * x.transpose(-2, -1) @ y).clamp_min(0)


def gaussian_similarity(
    patches: Tensor, kappa: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """Similarity matrix ``Σ_li = exp(−‖κ ⊙ (y_l − y_i)‖²)``.

    Args:
        patches: ``(B, m, N)``.
        kappa: ``(m,)`` weights of the patch entries, all 1 where not given.
        mask: ``(N, N)`` boolean; similarities outside it are 0. See `window_mask`.

    Returns:
        ``(B, N, N)`` in ``[0, 1]``, 1 on the diagonal (up to rounding).

    Source: GroupSC eq. 12 and §3.3.
    """
    if kappa is not None:
        patches = kappa[:, None] * patches
    similarity = torch.exp(-squared_distances(patches, patches))
    return similarity if mask is None else similarity * mask


def window_mask(grid: tuple[int, int], window: int, device: torch.device | None = None) -> Tensor:
    """Which pairs of patches lie within one search window.

    Args:
        grid: ``(rows, columns)`` of patch positions, ``N = rows * columns``.
        window: side ``w`` of the window in patches, odd: two patches see each other if they are at
            most ``(w − 1) / 2`` apart along both axes.
        device: where to make it.

    Returns:
        ``(N, N)`` boolean, symmetric, true on the diagonal.

    Raises:
        ValueError: if ``window`` is even or less than 1.

    Source: GroupSC §3.3, semi-local grouping.
    Differs from the paper: the window is symmetric about the patch.
    """
    reach = _reach(window)
    rows = torch.arange(grid[0], device=device).repeat_interleave(grid[1])
    columns = torch.arange(grid[1], device=device).repeat(grid[0])
    near_rows = (rows[:, None] - rows).abs() <= reach
    near_columns = (columns[:, None] - columns).abs() <= reach
    return near_rows & near_columns


def block_matching(
    image: Tensor, size: int, window: int, count: int, stride: int = 1
) -> tuple[Tensor, Tensor]:
    """For each reference patch, the patches of its search window that are most like it.

    Args:
        image: ``(B, C, H, W)``.
        size: side of the patches.
        window: side of the search window in patches, odd, see `window_mask`.
        count: patches per group, the reference patch included.
        stride: distance between neighbouring reference patches; their companions lie anywhere.

    Returns:
        ``(B, count, R)`` twice, for the ``R`` reference patches of ``extract_patches(image, size,
        stride)``: the numbers of the chosen patches among all of ``extract_patches(image, size)``,
        the reference patch first and the others from near to far; and their squared distances to
        the reference patch. Stores ``window² · R`` distances per image.

    Raises:
        ValueError: if the window is even, or holds fewer than ``count`` patches somewhere.

    Source: GroupSC §3.2, the sets S_i, by number instead of by distance; Dabov et al., *Image
    denoising by sparse 3-D transform-domain collaborative filtering*, 2007, §III.

    >>> indices, distances = block_matching(torch.rand(1, 1, 12, 9), 4, window=5, count=3)
    >>> indices.shape, indices[0, 0, :5].tolist()
    (torch.Size([1, 3, 54]), [0, 1, 2, 3, 4])
    """
    height, width = image.shape[-2:]
    rows = patch_positions(height, size, stride, image.device)
    columns = patch_positions(width, size, stride, image.device)
    across = width - size + 1
    reach = _reach(window)
    fewest = min(reach + 1, height - size + 1) * min(reach + 1, across)
    if not 1 <= count <= fewest:
        raise ValueError(f"{count} patches asked for, and a window holds {fewest} in a corner")
    padded = F.pad(image, (reach, reach, reach, reach), value=torch.inf)
    maps = []
    for dy in range(window):
        for dx in range(window):
            shifted = padded[..., dy : dy + height, dx : dx + width]
            errors = (image - shifted).square().sum(dim=1)
            strips = errors.unfold(1, size, 1)[:, rows].sum(dim=-1)
            maps.append(strips.unfold(2, size, 1)[:, :, columns].sum(dim=-1).flatten(1))
    distances = torch.stack(maps, dim=1)  # (B, window², R), infinite outside the image
    # Where patches are equal, as in a flat picture, the reference patch must still come first.
    distances[:, (window**2) // 2] = -1
    nearest, shift = distances.topk(count, dim=1, largest=False)
    down = rows.repeat_interleave(len(columns)) + shift // window - reach
    right = columns.repeat(len(rows)) + shift % window - reach
    return down * across + right, nearest.clamp_min(0)


def _reach(window: int) -> int:
    """How far a window with an odd side reaches from the patch at its centre."""
    if window < 1 or window % 2 == 0:
        raise ValueError(f"a window centred on a patch has an odd side, not {window}")
    return window // 2
