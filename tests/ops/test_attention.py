"""The non-local operation against sums written out, and against PyTorch's attention."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from lessons_lib.ops.attention import DISTANCES, circular_window_mask, weights_of


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def phi(name: str, x: list[float], y: list[float]) -> float:
    """Table 1 of the paper; queries and keys are embedded already."""
    product = sum(a * b for a, b in zip(x, y, strict=True))
    if name == "euclidean":
        return math.exp(-sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / len(x))
    return product if name in ("dot", "embedded dot") else math.exp(product)


@pytest.mark.parametrize("name", DISTANCES)
def test_weights_are_those_of_equation_1(name):
    queries, keys = draw(1, 4, 3), draw(1, 5, 3, seed=1)
    distance = DISTANCES[name]
    weights = weights_of(distance.logits(queries, keys), distance.exponential)
    for i, x in enumerate(queries[0].tolist()):
        row = [phi(name, x, y) for y in keys[0].tolist()]
        delta = sum(row) if distance.exponential else len(row)
        for j, value in enumerate(row):
            assert weights[0, i, j].item() == pytest.approx(value / delta, abs=1e-12)


def test_embedded_gaussian_is_attention():
    queries, keys, values = (draw(2, 30, 8, seed=k) for k in range(3))
    distance = DISTANCES["embedded gaussian"]
    ours = weights_of(distance.logits(queries, keys)) @ values
    theirs = scaled_dot_product_attention(queries, keys, values, scale=1.0)
    torch.testing.assert_close(ours, theirs)
    mask = circular_window_mask((5, 6), 3)
    ours = weights_of(distance.logits(queries, keys), mask=mask) @ values
    theirs = scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=1.0)
    torch.testing.assert_close(ours, theirs)


def test_carried_logits_are_attention_over_longer_embeddings():
    """Adding up logits of states is to lay their queries and their keys side by side."""
    queries, keys = ([draw(1, 12, 4, seed=10 * k + t) for t in range(3)] for k in (1, 2))
    values = draw(1, 12, 5, seed=3)
    logits = DISTANCES["embedded gaussian"].logits
    carried = sum(logits(q, k) for q, k in zip(queries, keys, strict=True))
    together = torch.cat(queries, -1), torch.cat(keys, -1)
    theirs = scaled_dot_product_attention(*together, values, scale=1.0)
    torch.testing.assert_close(weights_of(carried) @ values, theirs)


def test_attention_over_identical_features_is_the_mean():
    same = draw(1, 1, 4).expand(1, 9, 4)
    values = draw(1, 9, 2, seed=1)
    for name in ("euclidean", "gaussian"):
        logits = DISTANCES[name].logits(same, same)
        mean = values.mean(dim=1, keepdim=True).expand(1, 9, 2)
        torch.testing.assert_close(weights_of(logits) @ values, mean)


@pytest.mark.parametrize("grid", [(5, 7), (3, 8), (1, 4), (6, 6)])
@pytest.mark.parametrize("window", [1, 3, 5, 9])
def test_a_window_runs_over_the_edge_to_the_other_side(grid, window):
    """Every pixel sees the pixels at offsets up to q/2, counted round the grid, and no others."""
    mask = circular_window_mask(grid, window)
    height, width = grid
    reach = range(-(window // 2), window // 2 + 1)
    for y in range(height):
        for x in range(width):
            seen = {((y + dy) % height) * width + (x + dx) % width for dy in reach for dx in reach}
            assert set(mask[y * width + x].nonzero()[:, 0].tolist()) == seen


def test_a_neighbourhood_of_dot_products_counts_its_own_keys():
    logits, mask = draw(1, 12, 12), circular_window_mask((3, 4), 3)
    weights = weights_of(logits, exponential=False, mask=mask)
    for i in range(12):
        keys = mask[i].nonzero()[:, 0]
        assert len(keys) == 9
        torch.testing.assert_close(weights[0, i, keys], logits[0, i, keys] / 9)
        assert weights[0, i].count_nonzero() == 9


@pytest.mark.parametrize("window", [0, 4, -3])
def test_a_window_has_an_odd_side(window):
    with pytest.raises(ValueError, match="odd side"):
        circular_window_mask((5, 5), window)
