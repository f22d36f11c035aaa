"""How alike the patches of an image are: the plain, dense form of the similarity matrix Σ.

For ``N`` patches these functions store ``N × N`` numbers, which is fine for a crop of a photograph
and easy to read.
"""

import torch
from torch import Tensor


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
    if window < 1 or window % 2 == 0:
        raise ValueError(f"a window centred on a patch has an odd side, not {window}")
    reach = window // 2
    rows = torch.arange(grid[0], device=device).repeat_interleave(grid[1])
    columns = torch.arange(grid[1], device=device).repeat(grid[0])
    near_rows = (rows[:, None] - rows).abs() <= reach
    near_columns = (columns[:, None] - columns).abs() <= reach
    return near_rows & near_columns
