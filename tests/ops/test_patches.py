"""Patches: adjointness, coverage, and agreement with slicing by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons_lib.ops.patches import (
    centre,
    extract_patches,
    group_average,
    overlap_add,
    overlap_average,
    patch_counts,
    patch_positions,
)


@st.composite
def layouts(draw):
    size = draw(st.integers(1, 9))
    height, width = draw(st.integers(size, 24)), draw(st.integers(size, 24))
    return (height, width), size, draw(st.integers(1, size))


@given(layout=layouts(), channels=st.sampled_from([1, 3]), seed=st.integers(0, 99))
@settings(max_examples=200, deadline=None)
def test_overlap_add_is_the_adjoint_of_extraction(layout, channels: int, seed: int):
    shape, size, stride = layout
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(2, channels, *shape, generator=generator, dtype=torch.float64)
    patches = extract_patches(image, size, stride)
    other = torch.randn(patches.shape, generator=generator, dtype=torch.float64)
    left = (patches * other).sum()
    right = (image * overlap_add(other, shape, size, stride)).sum()
    assert torch.allclose(left, right, rtol=1e-10)


@given(layout=layouts(), seed=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_averaging_untouched_patches_gives_the_image_back(layout, seed: int):
    shape, size, stride = layout
    image = torch.rand(1, 2, *shape, generator=torch.Generator().manual_seed(seed))
    patches = extract_patches(image, size, stride)
    assert torch.allclose(overlap_average(patches, shape, size, stride), image, atol=1e-5)
    weights = 0.1 + torch.rand(1, patches.shape[-1])
    assert torch.allclose(overlap_average(patches, shape, size, stride, weights), image, atol=1e-5)


@given(layout=layouts())
@settings(deadline=None)
def test_counts_are_what_overlap_add_makes_of_ones(layout):
    shape, size, stride = layout
    ones = torch.ones_like(extract_patches(torch.zeros(1, 1, *shape), size, stride))
    counts = patch_counts(shape, size, stride)
    assert torch.equal(counts, overlap_add(ones, shape, size, stride))
    assert counts.min() >= 1


@given(layout=layouts())
@settings(deadline=None)
def test_patches_are_slices_in_row_major_order(layout):
    shape, size, stride = layout
    image = torch.rand(1, 3, *shape)
    patches = extract_patches(image, size, stride)
    corners = [
        (row, column)
        for row in patch_positions(shape[0], size, stride).tolist()
        for column in patch_positions(shape[1], size, stride).tolist()
    ]
    assert patches.shape == (1, 3 * size**2, len(corners))
    for index, (row, column) in enumerate(corners):
        window = image[0, :, row : row + size, column : column + size]
        assert torch.equal(patches[0, :, index], window.flatten())


def test_strided_path_equals_the_unstrided_one():
    """Stride 1 goes through PyTorch's unfold, other strides through indexing."""
    image = torch.rand(2, 3, 15, 18, dtype=torch.float64)
    whole = extract_patches(image, 4).reshape(2, 48, 12, 15)
    rows, columns = [0, 3, 6, 9, 11], [0, 3, 6, 9, 12, 14]
    chosen = whole[:, :, rows][:, :, :, columns].flatten(2)
    assert torch.equal(extract_patches(image, 4, 3), chosen)


@pytest.mark.parametrize(("length", "size", "stride"), [(5, 6, 1), (5, 0, 1), (5, 3, 0), (9, 3, 4)])
def test_impossible_layouts_are_refused(length: int, size: int, stride: int):
    with pytest.raises(ValueError, match=r"patch"):
        patch_positions(length, size, stride)


def test_wrong_patch_counts_are_refused():
    with pytest.raises(ValueError, match="holds 4 patches, not 5"):
        overlap_add(torch.zeros(1, 9, 5), (4, 4), 3)
    with pytest.raises(ValueError, match="no whole number"):
        overlap_add(torch.zeros(1, 10, 4), (4, 4), 3)


def test_centring_takes_one_mean_from_all_channels():
    image = torch.stack([torch.full((4, 4), value) for value in (0.0, 0.3, 0.9)])[None]
    centred, mean = centre(extract_patches(image, 3))
    assert torch.allclose(mean, torch.full_like(mean, 0.4))
    assert torch.allclose(centred.mean(dim=1), torch.zeros(1, 4), atol=1e-6)
    assert torch.allclose(centred + mean, extract_patches(image, 3))


def test_gradient_flows_through_averaging():
    image = torch.rand(1, 1, 10, 11, dtype=torch.float64, requires_grad=True)

    def blur(x):
        return overlap_average(extract_patches(x, 3, 2).tanh(), (10, 11), 3, 2)

    assert torch.autograd.gradcheck(blur, (image,))


def test_groups_average_like_a_loop():
    generator = torch.Generator().manual_seed(0)
    indices = torch.randint(12, (1, 3, 9), generator=generator)
    indices[0, 0] = torch.tensor([0, 2, 5, 6, 8, 9, 11, 3, 3])  # every pixel of 5 x 4 in some patch
    estimates = torch.randn(1, 8, 3, 9, generator=generator)
    weights = 0.1 + torch.rand(1, 9, generator=generator)
    total, trust = torch.zeros(2, 5, 4), torch.zeros(5, 4)
    for group in range(9):
        for member in range(3):
            row, column = divmod(int(indices[0, member, group]), 3)
            here = (slice(row, row + 2), slice(column, column + 2))
            patch = estimates[0, :, member, group].view(2, 2, 2)
            total[:, here[0], here[1]] += weights[0, group] * patch
            trust[here] += weights[0, group]
    found = group_average(estimates, indices, (5, 4), 2, weights)
    assert torch.allclose(found[0], total / trust, atol=1e-5)
    equal = group_average(estimates, indices, (5, 4), 2, torch.full((1, 9), 0.7))
    assert torch.allclose(group_average(estimates, indices, (5, 4), 2), equal, atol=1e-5)


def test_groups_that_miss_a_pixel_are_refused():
    with pytest.raises(ValueError, match="no patch of any group"):
        group_average(torch.rand(1, 4, 1, 2), torch.tensor([[[0, 1]]]), (4, 4), 2)
