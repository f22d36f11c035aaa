"""The non-local operation: each pixel becomes a weighted mean of all that its neighbours hold.

``Z = diag(δ)⁻¹ Φ G`` with correlations ``Φ_ij = φ(x_i, x_j)`` and ``δ_i = Σ_j Φ_ij``. With
``φ = exp(q_i · k_j)`` that is attention: a softmax over the keys. Whatever φ is, its *logits* are
computed first and made into weights afterwards, so that logits of an earlier state can be added.

Liu, Wen, Fan, Loy, Huang, *Non-local recurrent network for image restoration*, 2018.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lessons_lib.ops.similarity import squared_distances


def inner_products(queries: Tensor, keys: Tensor) -> Tensor:
    """``⟨q_i, k_j⟩`` of ``(B, N, l)`` and ``(B, M, l)``: ``(B, N, M)``."""
    return queries @ keys.transpose(-2, -1)


def negative_distances(queries: Tensor, keys: Tensor) -> Tensor:
    """``−‖q_i − k_j‖² / l`` of ``(B, N, l)`` and ``(B, M, l)``: ``(B, N, M)``, at most 0.

    Divided by the number of channels: the paper's ``h²`` is a constant that it does not name.
    """
    distances = squared_distances(queries.transpose(-2, -1), keys.transpose(-2, -1))
    return -distances / queries.shape[-1]


@dataclass(frozen=True)
class Distance:
    """A way to tell how alike the features of two pixels are.

    Attributes:
        logits: of queries ``(B, N, l)`` and keys ``(B, M, l)``.
        exponential: whether φ is the exponential of the logits, or the logits themselves.
        embedding: what queries and keys are: the features themselves, or what linear maps make of
            them: one map for both, or two.
    """

    logits: Callable[[Tensor, Tensor], Tensor]
    exponential: bool
    embedding: Literal["none", "one", "two"]


# Table 1 of the paper, in its order.
DISTANCES = {
    "euclidean": Distance(negative_distances, exponential=True, embedding="none"),
    "dot": Distance(inner_products, exponential=False, embedding="none"),
    "embedded dot": Distance(inner_products, exponential=False, embedding="two"),
    "gaussian": Distance(inner_products, exponential=True, embedding="none"),
    "symmetric embedded gaussian": Distance(inner_products, exponential=True, embedding="one"),
    "embedded gaussian": Distance(inner_products, exponential=True, embedding="two"),
}


def weights_of(logits: Tensor, exponential: bool = True, mask: Tensor | None = None) -> Tensor:
    """The rows of ``diag(δ)⁻¹ Φ``: how much of each key a query takes.

    Args:
        logits: ``(B, N, M)``.
        exponential: see `Distance`.
        mask: ``(N, M)`` boolean, true where a key is in a query's neighbourhood; all if not given.
            Every query needs a key.

    Returns:
        ``(B, N, M)``, 0 outside the neighbourhood. Rows of exponential weights sum to 1.

    Source: NLRN eq. 1, 6.
    Differs from the paper: where φ is an inner product, which has either sign, its sum can be 0; δ
    is the number of keys then, as in Wang, Girshick, Gupta, He, *Non-local neural networks*, 2018.

    >>> weights_of(torch.zeros(1, 1, 4))
    tensor([[[0.2500, 0.2500, 0.2500, 0.2500]]])
    """
    if exponential:
        if mask is not None:
            logits = logits.masked_fill(~mask, -torch.inf)
        return torch.softmax(logits, dim=-1)
    if mask is None:
        return logits / logits.shape[-1]
    return logits * mask / mask.sum(dim=-1, keepdim=True)


def circular_window_mask(
    grid: tuple[int, int], window: int, device: torch.device | None = None
) -> Tensor:
    """Which pixels lie in each other's neighbourhood on a grid whose opposite edges meet.

    Args:
        grid: ``(H, W)``, ``N = H·W``.
        window: side ``q`` of the neighbourhood, odd. An axis that is no longer than it is seen
            whole: every pixel once, as it is where the grid is as large as the window.
        device: where to make it.

    Returns:
        ``(N, N)`` boolean, symmetric, with as many true in each row.

    Raises:
        ValueError: if the window is even or less than 1.

    Source: NLRN §3.2 and §5, "circular padding for the neighborhood outside input patches".
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"a window centred on a pixel has an odd side, not {window}")
    height, width = grid
    rows = torch.arange(height, device=device).repeat_interleave(width)
    columns = torch.arange(width, device=device).repeat(height)
    near = []
    for places, length in ((rows, height), (columns, width)):
        apart = (places[:, None] - places).abs()
        near.append(torch.minimum(apart, length - apart) <= window // 2)
    return near[0] & near[1]
