"""Similarities against loops, and the shape of the search window."""

import numpy as np
import pytest
import torch

from lessons_lib.ops.patches import extract_patches, patch_positions
from lessons_lib.ops.similarity import (
    block_matching,
    gaussian_similarity,
    squared_distances,
    window_mask,
)


def test_squared_distances_against_a_loop():
    state = np.random.RandomState(0)
    x, y = state.randn(2, 5, 4), state.randn(2, 5, 6)
    found = squared_distances(torch.from_numpy(x), torch.from_numpy(y))
    for b in range(2):
        for i in range(4):
            for j in range(6):
                assert found[b, i, j] == pytest.approx(sum((x[b, :, i] - y[b, :, j]) ** 2))


def test_equal_patches_are_never_at_a_negative_distance():
    x = torch.full((1, 81, 50), 1e3 / 3)
    assert squared_distances(x, x).min() >= 0


def test_gaussian_similarity_follows_equation_12():
    state = np.random.RandomState(1)
    patches, kappa = torch.from_numpy(state.randn(1, 9, 12)), torch.from_numpy(state.rand(9))
    found = gaussian_similarity(patches, kappa)
    i, j = 3, 7
    difference = kappa * (patches[0, :, i] - patches[0, :, j])
    assert found[0, i, j] == pytest.approx(float(torch.exp(-(difference**2).sum())))
    assert torch.allclose(found, found.transpose(1, 2))
    assert torch.allclose(found.diagonal(dim1=1, dim2=2), torch.ones(1, 12).double())


def test_window_keeps_a_square_around_each_patch():
    rows, columns, window = 6, 8, 5
    mask = window_mask((rows, columns), window)
    assert torch.equal(mask, mask.T)
    for here in range(rows * columns):
        for there in range(rows * columns):
            down = abs(here // columns - there // columns)
            across = abs(here % columns - there % columns)
            assert mask[here, there] == (down <= 2 and across <= 2)
    similarity = gaussian_similarity(torch.rand(1, 4, 48), mask=mask)
    assert torch.equal(similarity[0] > 0, mask)


@pytest.mark.parametrize("window", [0, 2, -1])
def test_a_window_without_a_centre_is_refused(window: int):
    with pytest.raises(ValueError, match="odd side"):
        window_mask((4, 4), window)


@pytest.mark.parametrize(("stride", "window", "count"), [(1, 5, 7), (3, 9, 4), (2, 1, 1)])
def test_block_matching_finds_the_nearest_patches_of_the_window(
    stride: int, window: int, count: int
):
    image = torch.rand(2, 3, 13, 12, generator=torch.Generator().manual_seed(0))
    indices, distances = block_matching(image, 4, window, count, stride)
    patches = extract_patches(image, 4)
    dense = squared_distances(patches, patches)
    dense = dense.masked_fill(~window_mask((10, 9), window), torch.inf)
    rows, columns = (patch_positions(length, 4, stride).tolist() for length in (13, 12))
    references = [9 * row + column for row in rows for column in columns]
    expected, order = dense[:, references].topk(count, largest=False)
    assert torch.equal(indices.mT, order)
    assert torch.allclose(distances.mT, expected, atol=1e-5)
    assert torch.equal(indices[:, 0], torch.tensor(references).expand(2, -1))


def test_in_a_flat_picture_a_patch_is_its_own_first_match():
    indices, distances = block_matching(torch.full((1, 1, 8, 8), 0.3), 3, 5, 4)
    assert torch.equal(indices[0, 0], torch.arange(36))
    assert not distances.any()


def test_impossible_groups_are_refused():
    image = torch.rand(1, 1, 10, 10)
    with pytest.raises(ValueError, match="odd side"):
        block_matching(image, 4, 4, 2)
    with pytest.raises(ValueError, match="holds 9 in a corner"):
        block_matching(image, 4, 5, 10)
    with pytest.raises(ValueError, match="0 patches"):
        block_matching(image, 4, 5, 0)
