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


@given(height=sizes, width=sizes, tile=st.integers(1, 30), data=st.data())
@settings(deadline=None)
def test_blending_untouched_tiles_gives_the_image_back(height, width, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    image = torch.rand(1, 3, height, width)
    (tall, wide), corners = lay_tiles((height, width), tile, overlap)
    assert max(tall, wide) <= tile
    blend = Blend(image.shape, image)
    for row, column in corners:
        piece = image[..., row : row + tall, column : column + wide]
        assert piece.shape[-2:] == (tall, wide)
        blend.add(piece, (row, column), 0.5 + torch.rand(1, 1, tall, wide))
    assert torch.allclose(blend.image(), image, atol=1e-6)


@given(length=st.integers(1, 500), tile=st.integers(1, 80), data=st.data())
def test_tiles_share_what_was_asked_for_and_are_as_few_and_small_as_can_be(length, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    (side, _), corners = lay_tiles((length, 1), tile, overlap)
    rows = [row for row, _ in corners]
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
    (tall, wide), corners = lay_tiles((39, 48), 12, 3)
    by_counts, equal = Blend(image.shape, image), Blend(image.shape, image)
    for row, column in corners:
        estimate = shrink_patches(image[..., row : row + tall, column : column + wide])
        by_counts.add(estimate, (row, column), patch_counts((tall, wide), 4))
        equal.add(estimate, (row, column), torch.ones(1, 1, tall, wide))
    assert torch.allclose(by_counts.image(), shrink_patches(image), atol=1e-6)
    # Equal trust in all pixels of a tile is not good enough: few patches reach its border.
    assert not torch.allclose(equal.image(), by_counts.image(), atol=1e-4)


@pytest.mark.parametrize("overlap", [-1, 8, 9])
def test_tiles_that_do_not_step_are_refused(overlap: int):
    with pytest.raises(ValueError, match="overlap"):
        lay_tiles((20, 20), 8, overlap)
