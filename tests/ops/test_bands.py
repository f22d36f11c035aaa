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
    first, later = 0.3 * torch.randn(2, 2, n, 5, generator=generator)
    values = torch.rand(2, n, 7, generator=generator)
    mask = window_mask(grid, window)
    dense = gaussian_similarity(first.mT, mask=mask)
    near = BandedSimilarity(first, grid, window, dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for nu in (None, torch.tensor(0.3), torch.tensor(0.9)):
        if nu is not None:
            near.update(later, nu)
            dense = (1 - nu) * dense + nu * gaussian_similarity(later.mT, mask=mask)
        out = torch.empty_like(values, dtype=dtype)
        found = near.product(values.to(dtype), out)
        assert found is out
        wanted = dense @ values
        assert (found.float() - wanted).abs().max() <= tolerance * wanted.abs().max()
        sums = dense.sum(dim=2, keepdim=True)
        assert (near.sums - sums).abs().max() <= tolerance * sums.max()


def test_few_neighbours_are_the_most_similar_ones():
    generator = torch.Generator().manual_seed(0)
    grid, window, n = (13, 9), 7, 117
    points, later = torch.randn(2, 2, n, 5, generator=generator)
    values = torch.rand(2, n, 7, generator=generator)
    dense = gaussian_similarity(points.mT, mask=window_mask(grid, window))
    dense = 0.4 * dense + 0.6 * gaussian_similarity(later.mT, mask=window_mask(grid, window))
    for count in (1, 6, 1000):
        near = BandedSimilarity(points, grid, window, torch.float32, count)
        near.update(later, torch.tensor(0.6))
        last = dense.topk(min(count, n), dim=2).values[..., -1:]
        wanted = torch.where(dense >= last, dense, 0)
        found = near.product(values, torch.empty_like(values))
        torch.testing.assert_close(found, wanted @ values)
        torch.testing.assert_close(near.sums, wanted.sum(dim=2, keepdim=True))
    with pytest.raises(ValueError, match="1 neighbour at least"):
        BandedSimilarity(points, grid, window, torch.float32, 0)
