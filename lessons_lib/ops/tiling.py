"""Restoring a large image tile by tile, so that memory does not grow with the image.

Tiles overlap and are blended. A pixel's weight within a tile says how far the tile's estimate of it
can be trusted; for patch methods that is the number of patches of the tile that cover it.
"""

import math

from torch import Tensor


def lay_tiles(
    shape: tuple[int, int], tile: int, overlap: int
) -> tuple[tuple[int, int], list[int], list[int]]:
    """Cover an image with as few tiles as can be, all of one size, spread evenly.

    The first and last tiles lie flush with the border. Tiles are made as small as their number
    allows: a tile's cost may grow with the square of its area, and a last tile that overlaps its
    neighbour more than was asked for would be work for nothing.

    Args:
        shape: ``(H, W)``.
        tile: side of a tile at most; an axis of the image that is shorter has one tile.
        overlap: pixels that neighbouring tiles share at least, from 0 to ``tile - 1``.

    Returns:
        ``(h, w)`` of the tiles, the first lines of the rows of tiles, and the first pixels of their
        columns.

    Raises:
        ValueError: if the overlap leaves no step from tile to tile.

    >>> lay_tiles((10, 25), tile=10, overlap=2)
    ((10, 10), [0], [0, 7, 15])
    >>> lay_tiles((10, 20), tile=10, overlap=2)
    ((10, 8), [0], [0, 6, 12])
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap {overlap} must lie between 0 and the tile size {tile} less one")
    (height, rows), (width, columns) = (_lay(length, tile, overlap) for length in shape)
    return (height, width), rows, columns


def _lay(length: int, tile: int, overlap: int) -> tuple[int, list[int]]:
    if length <= tile:
        return length, [0]
    count = math.ceil((length - overlap) / (tile - overlap))
    side = math.ceil((length + (count - 1) * overlap) / count)
    return side, [index * (length - side) // (count - 1) for index in range(count)]


class Blend:
    """Averages overlapping tiles into one image, from the top downwards, as they come.

    It holds one row of tiles only. Once a row of tiles is complete, `finish` hands out the lines of
    the image that no later row will touch.

    Args:
        shape: ``(B, C, h, W)``: ``h`` is the height of a tile, all else that of the image.
        like: device and type of the tiles.

    >>> import torch
    >>> image = torch.rand(1, 1, 30, 41)
    >>> (height, width), rows, columns = lay_tiles((30, 41), tile=16, overlap=4)
    >>> blend, lines = Blend((1, 1, height, 41), image), []
    >>> for row, below in zip(rows, [*rows[1:], 30]):
    ...     for column in columns:
    ...         piece = image[..., row : row + height, column : column + width]
    ...         blend.add(piece, column, torch.rand(1, 1, height, width) + 0.1)
    ...     lines.append(blend.finish(below - row))
    >>> torch.allclose(torch.cat(lines, dim=2), image)
    True
    """

    def __init__(self, shape: tuple[int, int, int, int], like: Tensor) -> None:
        self.total = like.new_zeros(shape)
        self.weight = like.new_zeros(1, 1, *shape[-2:])

    def add(self, tile: Tensor, column: int, weight: Tensor) -> None:
        """Take in a tile ``(B, C, h, w)`` of the present row, with trust ``(1, 1, h, w)`` in it."""
        area = (..., slice(column, column + tile.shape[-1]))
        self.total[area] += weight * tile
        self.weight[area] += weight

    def finish(self, lines: int) -> Tensor:
        """The first lines ``(B, C, lines, W)``; the next row of tiles begins below them."""
        done = self.total[..., :lines, :] / self.weight[..., :lines, :]
        for held in (self.total, self.weight):
            left = held[..., lines:, :].clone()
            held.zero_()
            held[..., : left.shape[-2], :] = left
        return done
