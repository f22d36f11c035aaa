"""Tiling: the exact inverse on the identity, and equal to the whole where the field allows."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons_lib.ops.patches import centre, extract_patches, overlap_average, patch_counts
from lessons_lib.ops.prox import soft_threshold
from lessons_lib.ops.tiling import Blend, lay_tiles

sizes = st.integers(1, 60)


def apply(change, image, tile, overlap, trust):
    """Change an image tile by tile."""
    height, width = image.shape[-2:]
    (tall, wide), rows, columns = lay_tiles((height, width), tile, overlap)
    blend, lines = Blend((*image.shape[:2], tall, width), image), []
    for row, below in zip(rows, [*rows[1:], height], strict=True):
        for column in columns:
            piece = image[..., row : row + tall, column : column + wide]
            blend.add(change(piece), column, trust((tall, wide)))
        lines.append(blend.finish(below - row))
    return torch.cat(lines, dim=2)


@given(height=sizes, width=sizes, tile=st.integers(1, 30), data=st.data())
@settings(deadline=None)
def test_blending_untouched_tiles_gives_the_image_back(height, width, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    image = torch.rand(1, 3, height, width)
    (tall, wide), _, _ = lay_tiles((height, width), tile, overlap)
    assert max(tall, wide) <= tile

    def untouched(piece):
        assert piece.shape[-2:] == (tall, wide)
        return piece

    blended = apply(untouched, image, tile, overlap, lambda shape: 0.5 + torch.rand(1, 1, *shape))
    assert torch.allclose(blended, image, atol=1e-6)


@given(length=st.integers(1, 500), tile=st.integers(1, 80), data=st.data())
def test_tiles_share_what_was_asked_for_and_are_as_few_and_small_as_can_be(length, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    (side, _), rows, columns = lay_tiles((length, 1), tile, overlap)
    assert columns == [0]
    assert rows[0] == 0
    assert rows[-1] + side == length
    shared = [one + side - other for one, other in itertools.pairwise(rows)]
    assert min(shared, default=overlap) >= overlap

    def reach(side: int) -> int:
        return side + (len(rows) - 1) * (side - overlap)

    assert reach(side) >= length  # the number of tiles is enough
    assert reach(side - 1) < length  # smaller ones would not do
    assert len(rows) == 1 or reach(tile) - (tile - overlap) < length  # nor would fewer


def shrink_patches(image: torch.Tensor) -> torch.Tensor:
    """A patch method: what it does at a pixel depends on the 7 pixels around it only."""
    patches, mean = centre(extract_patches(image, 4))
    shape = (image.shape[-2], image.shape[-1])
    return overlap_average(soft_threshold(patches, 0.1) + mean, shape, 4)


def test_tiles_blended_by_counts_equal_the_whole_image():
    """With an overlap of a patch less one, each patch lies in one tile, and nothing is lost.

    39 and 48 pixels hold 36 and 45 patches of 4 pixels, and a tile of 12 pixels holds 9.
    """
    image = torch.rand(1, 1, 39, 48, dtype=torch.float64)
    by_counts = apply(shrink_patches, image, 12, 3, lambda shape: patch_counts(shape, 4))
    assert torch.allclose(by_counts, shrink_patches(image), atol=1e-6)
    # Equal trust in all pixels of a tile is not good enough: few patches reach its border.
    equal = apply(shrink_patches, image, 12, 3, lambda shape: torch.ones(1, 1, *shape))
    assert not torch.allclose(equal, by_counts, atol=1e-4)


@pytest.mark.parametrize("overlap", [-1, 8, 9])
def test_tiles_that_do_not_step_are_refused(overlap: int):
    with pytest.raises(ValueError, match="overlap"):
        lay_tiles((20, 20), 8, overlap)
