"""Σ in bands is the dense Σ."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons_lib.ops.bands import BandedSimilarity
from lessons_lib.ops.similarity import gaussian_similarity, window_mask


@given(
    rows=st.integers(1, 20),
    columns=st.integers(1, 20),
    reach=st.integers(0, 12),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
@settings(deadline=None, max_examples=40)
def test_bands_hold_the_dense_matrix(rows, columns, reach, dtype):
    generator = torch.Generator().manual_seed(rows * 20 + columns)
    grid, window, n = (rows, columns), 2 * reach + 1, rows * columns
    first, later = 0.3 * torch.randn(2, 2, 5, n, generator=generator)
    values = torch.rand(2, 7, n, generator=generator)
    mask = window_mask(grid, window)
    dense = gaussian_similarity(first, mask=mask)
    near = BandedSimilarity(first, grid, window, dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for nu in (None, torch.tensor(0.3), torch.tensor(0.9)):
        if nu is not None:
            near.update(later, nu)
            dense = (1 - nu) * dense + nu * gaussian_similarity(later, mask=mask)
        out = torch.empty_like(values, dtype=dtype)
        found = near.product(values.to(dtype), out)
        assert found is out
        wanted = values @ dense
        assert (found.float() - wanted).abs().max() <= tolerance * wanted.abs().max()
        sums = dense.sum(dim=1, keepdim=True)
        assert (near.sums - sums).abs().max() <= tolerance * sums.max()


def test_few_neighbours_are_the_most_similar_ones():
    generator = torch.Generator().manual_seed(0)
    grid, window, n = (13, 9), 7, 117
    points, later = torch.randn(2, 2, 5, n, generator=generator)
    values = torch.rand(2, 7, n, generator=generator)
    dense = gaussian_similarity(points, mask=window_mask(grid, window))
    dense = 0.4 * dense + 0.6 * gaussian_similarity(later, mask=window_mask(grid, window))
    for count in (1, 6, 1000):
        near = BandedSimilarity(points, grid, window, torch.float32, count)
        near.update(later, torch.tensor(0.6))
        last = dense.topk(min(count, n), dim=1).values[:, -1:]
        wanted = torch.where(dense >= last, dense, 0)
        found = near.product(values, torch.empty_like(values))
        torch.testing.assert_close(found, values @ wanted)
        torch.testing.assert_close(near.sums, wanted.sum(dim=1, keepdim=True))
    with pytest.raises(ValueError, match="1 neighbour at least"):
        BandedSimilarity(points, grid, window, torch.float32, 0)
