"""The similarity matrix Σ of a search window, in the form that computes fast.

`lessons_lib.ops.similarity` writes Σ as one dense matrix. Most of a large step's time goes into it,
so here it is kept for speed: patches are taken in bands of a few rows of patch positions, and for
each band only the rows within the window are held, in the precision of the products. Numbering
patches row by row makes the neighbours of a band one contiguous range of columns, so that an
average over neighbours is still a plain matrix product, one per band.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

# Rows of patch positions in a band. Few: less is computed that lies outside the window, and a
# band's distances stay in a processor's cache. Many: fewer and larger products.
ROWS = 5


@dataclass(frozen=True)
class Band:
    """Patches whose neighbours are looked up together.

    Args:
        queries: their numbers.
        keys: numbers of all patches in the window's reach, above, among and below them.
        inside: ``(queries, keys)`` of 0 and 1, which of these pairs the window holds; None if all.
    """

    queries: slice
    keys: slice
    inside: Tensor | None


@lru_cache(maxsize=4)  # a photograph's tiles are all of one size
def lay_bands(
    grid: tuple[int, int], window: int, dtype: torch.dtype, device: torch.device
) -> tuple[Band, ...]:
    """The bands of a ``(rows, columns)`` grid of patches, see `window_mask` for the window."""
    rows, columns = grid
    reach = window // 2
    across = torch.arange(columns)
    near_columns = (across[:, None] - across).abs() <= reach
    bands = []
    for first in range(0, rows, ROWS):
        last = min(first + ROWS, rows)
        top, bottom = max(first - reach, 0), min(last + reach, rows)
        down = torch.arange(top, bottom)
        near_rows = (torch.arange(first, last)[:, None] - down).abs() <= reach
        # (query row, query column, key row, key column)
        inside = near_rows[:, None, :, None] & near_columns[None, :, None, :]
        inside = inside.reshape((last - first) * columns, (bottom - top) * columns)
        bands.append(
            Band(
                slice(first * columns, last * columns),
                slice(top * columns, bottom * columns),
                None if inside.all() else inside.to(device, dtype),
            )
        )
    return tuple(bands)


class BandedSimilarity:
    """Σ between the patches of one tile, and averages under it.

    Patches are rows here: what belongs to a patch lies together in memory, and so does a band.

    Args:
        points: ``(B, N, m)`` float32, patches times κ.
        grid: ``(rows, columns)`` of patch positions, ``N = rows * columns``.
        window: side of the search window, odd.
        dtype: of what is stored and multiplied. All terms of the sums are positive, so that half
            precision loses little.
        neighbours: how many patches are averaged for each patch, the most similar ones, itself
            included; all of the window where not given. A few carry most of the weight, and far
            fewer numbers are then multiplied, but they have to be found first.

    Attributes:
        sums: ``(B, N, 1)`` float32, the weights that are averaged for each patch, added up.

    Raises:
        ValueError: if there are no neighbours.

    Source: GroupSC eq. 12; `gaussian_similarity` is the plain form.
    """

    def __init__(
        self,
        points: Tensor,
        grid: tuple[int, int],
        window: int,
        dtype: torch.dtype,
        neighbours: int | None = None,
    ) -> None:
        if neighbours is not None and neighbours < 1:
            raise ValueError(f"a patch is averaged with 1 neighbour at least, not {neighbours}")
        self.bands = lay_bands(grid, window, dtype, points.device)
        self.dtype = dtype
        self.neighbours = neighbours
        shapes = [(len(points), *_shape(band)) for band in self.bands]
        rooms = (points.new_empty(shape, dtype=dtype) for shape in shapes)
        self.parts = list(self._compare(points, rooms))
        self._settle()

    def update(self, points: Tensor, nu: Tensor) -> None:
        """``Σ ← (1 − ν) Σ + ν Σ̂`` with Σ̂ between other points: Algorithm 1, line 7."""
        # One room for all bands: fresh memory takes longer than what is computed in it.
        room = points.new_empty(max(part.numel() for part in self.parts), dtype=self.dtype)
        rooms = (room[: part.numel()].view_as(part) for part in self.parts)
        for part, new in zip(self.parts, self._compare(points, rooms), strict=True):
            part.lerp_(new, nu.to(self.dtype))
        self._settle()

    def product(self, values: Tensor, out: Tensor) -> Tensor:
        """``Σ @ values`` for ``(B, N, K)``, written to ``out``; of the neighbours only, if few."""
        if self.neighbours is not None:
            sums = F.embedding_bag(
                self.nearest, values.flatten(0, 1), per_sample_weights=self.weights, mode="sum"
            )
            return out.copy_(sums.view_as(values))
        for band, part in zip(self.bands, self.parts, strict=True):
            torch.matmul(part, values[:, band.keys], out=out[:, band.queries])
        return out

    def _compare(self, points: Tensor, rooms: Iterable[Tensor]) -> Iterator[Tensor]:
        # One product makes −‖p_i − p_l‖² = 2⟨p_i, p_l⟩ − ‖p_i‖² − ‖p_l‖², of which hardly anything
        # may be left. Products add up in float32 whatever is multiplied, so that no more is lost in
        # half precision than the rounding of points costs: norms enter as sums of rounded terms.
        points = points.to(self.dtype)
        norms = _terms(-points.float().square().sum(dim=2, keepdim=True), self.dtype)
        ones = torch.ones_like(norms)
        queries = torch.cat([2 * points, norms, ones], dim=2)
        keys = torch.cat([points, ones, norms], dim=2).mT.contiguous()
        for band, part in zip(self.bands, rooms, strict=True):
            torch.matmul(queries[:, band.queries], keys[:, :, band.keys], out=part)
            part.clamp_max_(0).exp_()
            if band.inside is not None:
                part *= band.inside
            yield part

    def _settle(self) -> None:
        """Find what averages need of the present Σ: the sums of its rows, and the neighbours."""
        if self.neighbours is None:
            # Added up in float32 whatever the type. To ask for float32 would copy all of Σ first.
            sums = [part.sum(dim=2, keepdim=True).float() for part in self.parts]
            self.sums = torch.cat(sums, dim=1)
            return
        batch, count = len(self.parts[0]), self.bands[-1].queries.stop
        most = min(self.neighbours, max(part.shape[2] for part in self.parts))
        weights, nearest = [], []
        for band, part in zip(self.bands, self.parts, strict=True):
            chosen = min(most, part.shape[2])
            largest, place = part.topk(chosen, dim=2, sorted=False)
            # A band at the border may see fewer patches: then some weigh nothing.
            weights.append(F.pad(largest, (0, most - chosen)))
            nearest.append(F.pad(place + band.keys.start, (0, most - chosen)))
        # All images of the batch share one table of codes; each has its own part of it.
        first = torch.arange(batch, device=self.parts[0].device)[:, None, None] * count
        self.nearest = (torch.cat(nearest, dim=1) + first).flatten(0, 1)
        self.weights = torch.cat(weights, dim=1).flatten(0, 1)
        self.sums = self.weights.sum(dim=1, dtype=torch.float32).view(batch, count, 1)


def _shape(band: Band) -> tuple[int, int]:
    return band.queries.stop - band.queries.start, band.keys.stop - band.keys.start


def _terms(exact: Tensor, dtype: torch.dtype) -> Tensor:
    """Rounded numbers ``(B, N, terms)`` that add up to float32 ones ``(B, N, 1)``."""
    terms, left = [], exact
    for _ in range(1 if dtype == torch.float32 else 3):  # 3 × 8 bits make 24
        terms.append(left.to(dtype))
        left = left - terms[-1].float()
    return torch.cat(terms, dim=2)
