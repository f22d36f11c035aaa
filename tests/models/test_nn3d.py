"""NN3D: its transform, what its filter keeps, and in which order it asks the denoiser."""

import math

import pytest
import torch

from lessons_lib.models.nn3d import NonLocalFilter, haar_matrix, nn3d

FILTER = NonLocalFilter(size=4, count=8, window=9, stride=3)


def draw(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def test_haar_is_the_wavelet_transform():
    def transform(numbers):
        if len(numbers) == 1:
            return numbers
        means = (numbers[::2] + numbers[1::2]) / math.sqrt(2)
        details = (numbers[::2] - numbers[1::2]) / math.sqrt(2)
        return torch.cat([transform(means), details])

    numbers = draw(16)
    torch.testing.assert_close(haar_matrix(16) @ numbers, transform(numbers))
    torch.testing.assert_close(haar_matrix(8) @ haar_matrix(8).T, torch.eye(8).double())


def test_nothing_is_shrunk_at_threshold_zero_and_all_but_means_at_infinity():
    image = draw(1, 3, 17, 14)
    groups = FILTER.groups(image)
    torch.testing.assert_close(FILTER(image, groups, 0.0), image)
    flat = FILTER(image, groups, 1e9)
    assert flat.std() < 0.6 * image.std()
    assert flat.mean() == pytest.approx(image.mean().item(), abs=0.05)


def test_a_pattern_that_repeats_gains_from_its_copies():
    clean = (torch.arange(32) // 2 % 2).double().expand(1, 1, 32, 32)
    noisy = clean + 0.1 * (draw(1, 1, 32, 32) - 0.5)
    filtered = FILTER(noisy, FILTER.groups(noisy), 0.1)
    assert (filtered - clean).square().mean() < 0.5 * (noisy - clean).square().mean()


def test_noise_falls_and_the_noisy_image_comes_back_in():
    noisy, asked = draw(1, 1, 12, 13), []

    def half(image, sigma):
        asked.append((image, sigma))
        return image / 2

    estimate = nn3d(noisy, 0.2, half, nonlocal_filter=FILTER)
    groups = FILTER.groups(noisy / 2)
    first = FILTER(noisy / 2, groups, 0.05)
    assert [sigma for _, sigma in asked] == [0.2, 0.1]
    torch.testing.assert_close(asked[1][0], (noisy + first) / 2)
    torch.testing.assert_close(estimate, FILTER((noisy + first) / 4, groups, 0.025))


def test_small_images_have_smaller_groups_and_too_small_ones_are_refused():
    assert NonLocalFilter().groups(draw(1, 1, 12, 11)).shape[1] == 4
    with pytest.raises(ValueError, match="smaller than a patch"):
        nn3d(draw(1, 1, 9, 30), 0.1, lambda image, sigma: image)
    with pytest.raises(ValueError, match="no such filter"):
        NonLocalFilter(count=12)
    with pytest.raises(ValueError, match="one image"):
        nn3d(draw(2, 1, 12, 12), 0.1, lambda image, sigma: image)
