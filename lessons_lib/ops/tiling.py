"""Restoring a large image tile by tile, so that memory does not grow with the image.

Tiles overlap and are blended. A pixel's weight within a tile says how far the tile's estimate of it
can be trusted; for patch methods that is the number of patches of the tile that cover it.
"""

import math

import torch
from torch import Tensor

Corner = tuple[int, int]


def lay_tiles(
    shape: tuple[int, int], tile: int, overlap: int
) -> tuple[tuple[int, int], list[Corner]]:
    """Cover an image with as few tiles as can be, all of one size, spread evenly.

    The first and last tiles lie flush with the border. Tiles are made as small as their number
    allows: a tile's cost may grow with the square of its area, and a last tile that overlaps its
    neighbour more than was asked for would be work for nothing.

    Args:
        shape: ``(H, W)``.
        tile: side of a tile at most; an axis of the image that is shorter has one tile.
        overlap: pixels that neighbouring tiles share at least, from 0 to ``tile - 1``.

    Returns:
        ``(h, w)`` of the tiles, and their top left corners row by row.

    Raises:
        ValueError: if the overlap leaves no step from tile to tile.

    >>> lay_tiles((10, 25), tile=10, overlap=2)
    ((10, 10), [(0, 0), (0, 7), (0, 15)])
    >>> lay_tiles((10, 24), tile=10, overlap=2)
    ((10, 10), [(0, 0), (0, 7), (0, 14)])
    >>> lay_tiles((10, 20), tile=10, overlap=2)
    ((10, 8), [(0, 0), (0, 6), (0, 12)])
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap {overlap} must lie between 0 and the tile size {tile} less one")
    (height, rows), (width, columns) = (_lay(length, tile, overlap) for length in shape)
    return (height, width), [(row, column) for row in rows for column in columns]


def _lay(length: int, tile: int, overlap: int) -> tuple[int, list[int]]:
    if length <= tile:
        return length, [0]
    count = math.ceil((length - overlap) / (tile - overlap))
    side = math.ceil((length + (count - 1) * overlap) / count)
    return side, [index * (length - side) // (count - 1) for index in range(count)]


class Blend:
    """Averages overlapping tiles into one image, as they come.

    Args:
        shape: ``(B, C, H, W)`` of the image.
        like: device and type of its tiles.

    >>> image = torch.rand(1, 1, 30, 41)
    >>> (height, width), corners = lay_tiles((30, 41), tile=16, overlap=4)
    >>> blend = Blend(image.shape, image)
    >>> for row, column in corners:
    ...     piece = image[..., row : row + height, column : column + width]
    ...     blend.add(piece, (row, column), torch.rand(1, 1, height, width) + 0.1)
    >>> torch.allclose(blend.image(), image)
    True
    """

    def __init__(self, shape: torch.Size | tuple[int, ...], like: Tensor) -> None:
        self.total = like.new_zeros(shape)
        self.weight = like.new_zeros(1, 1, *shape[-2:])

    def add(self, tile: Tensor, corner: Corner, weight: Tensor) -> None:
        """Take in a tile ``(B, C, h, w)`` with positive trust ``(1, 1, h, w)`` in its pixels."""
        row, column = corner
        area = (..., slice(row, row + tile.shape[-2]), slice(column, column + tile.shape[-1]))
        self.total[area] += weight * tile
        self.weight[area] += weight

    def image(self) -> Tensor:
        """The average ``(B, C, H, W)``; not a number where no tile lay."""
        return self.total / self.weight
