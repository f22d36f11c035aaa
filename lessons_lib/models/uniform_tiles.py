"""Uniform tiles: how networks that see a whole tile at once are applied to a photograph."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from lessons_lib.models.restorer import Restorer, Settings
from lessons_lib.models.workers import in_parallel, share_out
from lessons_lib.ops.patches import spaced

# What a core works on at once.
PER_CORE = 2e8


@dataclass(frozen=True)
class UniformTiles:
    """Tiles of one size at equal steps, the last flush with the border; pixels are plain means.

    What such a network makes of a pixel depends on all of its tile, so tiles are as large as those
    it learned from, whatever the image's size. Only an image that is smaller is one tile itself.

    Args:
        tile: their side.

    Source: the released code of NLRN.
    """

    tile: int

    @property
    def options(self) -> frozenset[str]:
        """See `Application`. The overlap is half a tile if not chosen; the paper's is 36 of 43."""
        return frozenset({"tile", "overlap"})

    def __call__(
        self, model: Restorer, image: Tensor, told: dict[str, Tensor], settings: Settings
    ) -> Tensor:
        """See `Application`.

        Raises:
            ValueError: if the overlap leaves no step from tile to tile.
        """
        tile = self.tile if settings.tile is None else settings.tile
        overlap = tile // 2 + 1 if settings.overlap is None else settings.overlap
        if not 0 <= overlap < tile:
            raise ValueError(f"overlap {overlap} must lie between 0 and the tile's {tile} less one")
        height, width = (min(tile, length) for length in image.shape[-2:])
        lasts = (max(0, length - tile) for length in image.shape[-2:])
        places = list(product(*(spaced(last, tile - overlap).tolist() for last in lasts)))
        workers, together = share_out(
            settings.memory,
            len(image) * model.bytes_for((height, width), settings.precision),
            image.device,
            settings.precision,
            PER_CORE,
        )
        groups = [places[start : start + together] for start in range(0, len(places), together)]

        def cut(whole: Tensor, some: list[tuple[int, int]]) -> Tensor:
            return torch.cat([whole[..., y : y + height, x : x + width] for y, x in some])

        def tiles() -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
            for some in groups:
                parts = {
                    name: cut(value.expand(len(image), -1, -1, -1), some)
                    if value.dim() == 4
                    else value.repeat(len(some))
                    for name, value in told.items()
                }
                yield cut(image, some), parts

        def estimate(job: tuple[Tensor, dict[str, Tensor]]) -> Tensor:
            degraded, parts = job
            # Another thread does not know that no gradients are wanted here.
            with torch.no_grad():
                return model.estimate(degraded, settings.precision, None, **parts)

        scale, done = model.scale, 0
        large = scale * image.shape[-2], scale * image.shape[-1]
        total, count = image.new_zeros(*image.shape[:2], *large), image.new_zeros(large)
        with closing(in_parallel(estimate, tiles(), workers)) as estimates:
            for some, found in zip(groups, estimates, strict=True):
                for (y, x), part in zip(some, found.split(len(image)), strict=True):
                    lines = slice(scale * y, scale * (y + height))
                    pixels = slice(scale * x, scale * (x + width))
                    total[..., lines, pixels] += part
                    count[lines, pixels] += 1
                done += len(some)
                if settings.progress is not None:
                    settings.progress(done / len(places))
        return total.div_(count)
