"""Windows with a halo: how convolutional networks are applied to a photograph."""

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor

from lessons_lib.models.restorer import Restorer, Settings
from lessons_lib.models.workers import in_parallel, share_out

# Rows or columns of a window below which its halo would be most of the work.
LEAST = 64
# What a core works on at once: in smaller windows much of the work is done for the halo.
PER_CORE = 2e8


@dataclass(frozen=True)
class HaloWindows:
    """Windows side by side, each seen with as much of its surroundings as its pixels depend on.

    What comes out equals what the network makes of the whole image, up to rounding: a convolution
    pads with zeros at the border of the image only, and nothing is blended. Memory does not grow
    with the image. Windows are strips of whole lines as far as memory goes, and else cut into
    columns as well.

    Args:
        halo: pixels around a pixel, or around its cell of the coarser grid, that its estimate
            depends on.
        step: windows begin at multiples of it, as a network that works on a coarser grid needs.

    Raises:
        ValueError: if the halo is negative or the step not positive.
    """

    halo: int
    step: int = 1

    def __post_init__(self) -> None:
        if self.halo < 0 or self.step < 1:
            raise ValueError(f"no such windows: {self}")

    @property
    def options(self) -> frozenset[str]:
        """See `Application`: neither tiles nor neighbours."""
        return frozenset()

    def __call__(
        self, model: Restorer, image: Tensor, told: dict[str, Tensor], settings: Settings
    ) -> Tensor:
        """See `Application`."""
        height, width = image.shape[-2:]
        halo = math.ceil(self.halo / self.step) * self.step
        least = min(height, LEAST + 2 * halo), min(width, LEAST + 2 * halo)
        smallest = len(image) * model.bytes_for(least, settings.precision)
        workers, together = share_out(
            settings.memory, smallest, image.device, settings.precision, PER_CORE
        )
        area = together * least[0] * least[1]  # pixels of a window that fit, halo and all
        across = self._side(width, width, halo, area // least[0])
        # Each core has strips of its own, where there are several.
        share = math.ceil(height / workers)
        down = self._side(share, height, halo, area // min(width, across + 2 * halo))
        places = [
            (row, column) for row in range(0, height, down) for column in range(0, width, across)
        ]
        restored = image.new_empty(*image.shape[:2], model.scale * height, model.scale * width)

        def seen() -> Iterator[tuple[slice, slice]]:
            for row, column in places:
                yield (
                    slice(max(0, row - halo), min(height, row + down + halo)),
                    slice(max(0, column - halo), min(width, column + across + halo)),
                )

        def estimate(window: tuple[slice, slice]) -> Tensor:
            part = {
                name: value[..., window[0], window[1]] if value.dim() == 4 else value
                for name, value in told.items()
            }
            # Another thread does not know that no gradients are wanted here.
            with torch.no_grad():
                return model.estimate(
                    image[..., window[0], window[1]], settings.precision, None, **part
                )

        with closing(in_parallel(estimate, seen(), workers)) as estimates:
            for done, ((row, column), part) in enumerate(zip(places, estimates, strict=True), 1):
                top, left = row - max(0, row - halo), column - max(0, column - halo)
                below, right = min(height, row + down), min(width, column + across)
                lines = _scaled(top, top + below - row, model.scale)
                pixels = _scaled(left, left + right - column, model.scale)
                place = (..., _scaled(row, below, model.scale), _scaled(column, right, model.scale))
                restored[place] = part[..., lines, pixels]
                if settings.progress is not None:
                    settings.progress(done / len(places))
        return restored

    def _side(self, wanted: int, length: int, halo: int, fits: int) -> int:
        """Of a window without its halo: as wanted, or what fits; a multiple of the step."""
        if wanted < length or length > fits:
            wanted = min(wanted, max(LEAST, fits - 2 * halo))
        return math.ceil(wanted / self.step) * self.step


def _scaled(first: int, last: int, scale: int) -> slice:
    return slice(scale * first, scale * last)
