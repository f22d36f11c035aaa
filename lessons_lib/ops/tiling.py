"""Restoring a large image tile by tile, so that memory does not grow with the image.

Tiles overlap and are blended. A pixel's weight within a tile says how far the tile's estimate of it
can be trusted; for patch methods that is the number of patches of the tile that cover it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lessons_lib.ops.patches import patch_positions

Corner = tuple[int, int]


def tile_corners(shape: tuple[int, int], tile: int, overlap: int) -> list[Corner]:
    """Top left corners of the tiles of an image, row by row.

    The last tile of each row and column lies flush with the border; an image smaller than a tile
    has one tile along that axis.

    Args:
        shape: ``(H, W)``.
        tile: side of a tile.
        overlap: pixels that neighbouring tiles share at least, from 0 to ``tile - 1``.

    Raises:
        ValueError: if the overlap leaves no step from tile to tile.
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap {overlap} must lie between 0 and the tile size {tile} less one")
    axes = [patch_positions(n, min(tile, n), min(tile - overlap, n)).tolist() for n in shape]
    return [(row, column) for row in axes[0] for column in axes[1]]


def cut_tiles(image: Tensor, tile: int, corners: list[Corner]) -> list[Tensor]:
    """The tiles of ``(B, C, H, W)`` at the given corners, each at most ``tile × tile``; views."""
    return [image[..., row : row + tile, column : column + tile] for row, column in corners]


def blend_tiles(
    tiles: list[Tensor],
    corners: list[Corner],
    shape: tuple[int, int],
    weights: list[Tensor] | None = None,
) -> Tensor:
    """Average overlapping tiles into one image; the inverse of `cut_tiles`.

    Args:
        tiles: ``(B, C, h, w)`` each.
        corners: where each tile belongs, from `tile_corners`.
        shape: ``(H, W)`` of the image.
        weights: positive trust in each pixel of each tile, ``(1, 1, h, w)`` each; equal where not
            given.

    Returns:
        ``(B, C, H, W)``.

    >>> image = torch.rand(1, 1, 30, 41)
    >>> corners = tile_corners((30, 41), tile=16, overlap=4)
    >>> torch.allclose(blend_tiles(cut_tiles(image, 16, corners), corners, (30, 41)), image)
    True
    """
    total = tiles[0].new_zeros(*tiles[0].shape[:2], *shape)
    weight_sum = tiles[0].new_zeros(1, 1, *shape)
    for index, (row, column) in enumerate(corners):
        tile = tiles[index]
        weight = tile.new_ones(1, 1, *tile.shape[-2:]) if weights is None else weights[index]
        area = (..., slice(row, row + tile.shape[-2]), slice(column, column + tile.shape[-1]))
        total[area] += weight * tile
        weight_sum[area] += weight
    return total / weight_sum


def apply_tiled(
    restore: Callable[[Tensor], Tensor],
    image: Tensor,
    tile: int,
    overlap: int,
    weight: Callable[[tuple[int, int]], Tensor] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Apply an image-to-image function tile by tile and blend what it returns.

    Args:
        restore: maps ``(B, C, h, w)`` to the same shape.
        image: ``(B, C, H, W)``.
        tile: side of the tiles.
        overlap: pixels shared by neighbours.
        weight: maps a tile's ``(h, w)`` to its ``(1, 1, h, w)`` weights, e.g. `patch_counts`.
        progress: called with the share of tiles done, from 0 to 1.

    Returns:
        ``(B, C, H, W)``.
    """
    corners = tile_corners((image.shape[-2], image.shape[-1]), tile, overlap)
    restored, weights = [], []
    for index, piece in enumerate(cut_tiles(image, tile, corners)):
        restored.append(restore(piece))
        shape = (piece.shape[-2], piece.shape[-1])
        weights.append(torch.ones(1, 1, *shape).to(piece) if weight is None else weight(shape))
        if progress is not None:
            progress((index + 1) / len(corners))
    return blend_tiles(restored, corners, (image.shape[-2], image.shape[-1]), weights)
