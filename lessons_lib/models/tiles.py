"""Blended tiles: how models of patches are applied to a photograph."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor

from lessons_lib.models.restorer import Restorer, Settings
from lessons_lib.models.workers import in_parallel, share_out
from lessons_lib.ops.tiling import Blend, lay_tiles

# The paper's block: 48 patches of 9 pixels along each side, as in training. A model that codes each
# patch by itself could take any tile; small ones stay in a processor's cache and are much faster.
TILE = 56
# What a core works on at once: little, so that it stays in its cache.
PER_CORE = 5e7

# What a model gets: degraded images, and what it is told besides.
Tiles = tuple[Tensor, dict[str, Tensor]]


@dataclass(frozen=True)
class BlendedTiles:
    """Tiles that overlap, blended by the model's own confidence in each pixel of a tile.

    The image is mirrored at its border first, so that border pixels get as many estimates as all
    others.

    Args:
        compares: whether patches are compared with a number of neighbours, which can be chosen.

    Source: GroupSC §3.6 and Table 14.
    """

    compares: bool = False

    @property
    def options(self) -> frozenset[str]:
        """See `Application`."""
        return frozenset({"tile", "overlap"} | ({"neighbours"} if self.compares else set()))

    def __call__(
        self, model: Restorer, image: Tensor, told: dict[str, Tensor], settings: Settings
    ) -> Tensor:
        """See `Application`; the estimate is as large as the image.

        Raises:
            ValueError: if the overlap leaves no step from tile to tile.
        """
        edge, precision = model.border, settings.precision
        tile = TILE if settings.tile is None else settings.tile
        overlap = edge if settings.overlap is None else settings.overlap
        lines, pixels = (mirrored(length, edge, image.device) for length in image.shape[-2:])
        (height, width), rows, columns = lay_tiles(
            (len(lines), len(pixels)), max(tile, edge + 1), overlap
        )
        weight = model.confidence((height, width)).to(image)
        one = len(image) * model.bytes_for((height, width), precision)
        workers, together = share_out(settings.memory, one, image.device, precision, PER_CORE)
        groups = [columns[start : start + together] for start in range(0, len(columns), together)]

        def cut() -> Iterator[Tiles]:
            for row in rows:
                in_row = lines[row : row + height]
                strip = image[..., in_row, :][..., pixels]
                maps = {
                    name: value[..., in_row, :][..., pixels].expand(len(image), -1, -1, -1)
                    for name, value in told.items()
                    if value.dim() == 4
                }
                for some in groups:
                    yield (
                        _side_by_side(strip, some, width),
                        {
                            name: _side_by_side(maps[name], some, width)
                            if name in maps
                            else value.repeat(len(some))
                            for name, value in told.items()
                        },
                    )

        def estimate(tiles: Tiles) -> Tensor:
            degraded, told = tiles
            # Another thread does not know that no gradients are wanted here.
            with torch.no_grad():
                return model.estimate(degraded, precision, settings.neighbours, **told)

        blend = Blend((*image.shape[:2], height, len(pixels)), image)
        restored, done = torch.empty_like(image), 0
        with closing(in_parallel(estimate, cut(), workers)) as estimates:
            for row, below in zip(rows, [*rows[1:], len(lines)], strict=True):
                for some in groups:
                    for column, part in zip(some, next(estimates).split(len(image)), strict=True):
                        blend.add(part, column, weight)
                    done += len(some)
                    if settings.progress is not None:
                        settings.progress(done / len(rows) / len(columns))
                strip = blend.finish(below - row)[..., edge : len(pixels) - edge]
                # Of these lines, those that belong to the image and not to its mirrored border.
                top, bottom = max(row, edge), min(below, len(lines) - edge)
                if top < bottom:
                    restored[..., top - edge : bottom - edge, :] = strip[
                        ..., top - row : bottom - row, :
                    ]
        return restored


def _side_by_side(strip: Tensor, columns: list[int], width: int) -> Tensor:
    return torch.cat([strip[..., column : column + width] for column in columns])


def mirrored(length: int, edge: int, device: torch.device) -> Tensor:
    """Which line to take for each line of an image with mirrored borders.

    Where the image is too small to be mirrored, its first and last lines are repeated.
    """
    index = torch.arange(-edge, length + edge, device=device)
    if length > edge:
        index = (length - 1) - ((length - 1) - index.abs()).abs()
    return index.clamp(0, length - 1)
