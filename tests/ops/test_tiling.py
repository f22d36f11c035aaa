"""Tiling: the exact inverse on the identity, and equal to the whole where the field allows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons_lib.ops.patches import centre, extract_patches, overlap_average, patch_counts
from lessons_lib.ops.prox import soft_threshold
from lessons_lib.ops.tiling import apply_tiled, blend_tiles, cut_tiles, tile_corners


@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    tile=st.integers(1, 30),
    data=st.data(),
)
@settings(deadline=None)
def test_blending_untouched_tiles_gives_the_image_back(height, width, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    image = torch.rand(1, 3, height, width)
    corners = tile_corners((height, width), tile, overlap)
    tiles = cut_tiles(image, tile, corners)
    assert all(max(piece.shape[-2:]) <= tile for piece in tiles)
    weights = [0.5 + torch.rand(1, 1, *piece.shape[-2:]) for piece in tiles]
    assert torch.allclose(blend_tiles(tiles, corners, (height, width)), image, atol=1e-6)
    assert torch.allclose(blend_tiles(tiles, corners, (height, width), weights), image, atol=1e-6)


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
    tiled = apply_tiled(shrink_patches, image, 12, 3, lambda shape: patch_counts(shape, 4))
    assert torch.allclose(tiled, shrink_patches(image), atol=1e-6)
    # Equal trust in all pixels of a tile is not good enough: few patches reach its border.
    assert not torch.allclose(apply_tiled(shrink_patches, image, 12, 3), tiled, atol=1e-4)


def test_a_tile_larger_than_the_image_is_the_image():
    image = torch.rand(1, 3, 9, 14)
    seen = []
    tiled = apply_tiled(lambda piece: 2 * piece, image, 50, 10, progress=seen.append)
    assert torch.allclose(tiled, 2 * image)
    assert seen == [1.0]


@pytest.mark.parametrize("overlap", [-1, 8, 9])
def test_tiles_that_do_not_step_are_refused(overlap: int):
    with pytest.raises(ValueError, match="overlap"):
        tile_corners((20, 20), 8, overlap)
