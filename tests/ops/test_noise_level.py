"""The noise level of an image that nobody told us about."""

import numpy as np
import pytest
import torch

from lessons_lib import data
from lessons_lib.degradations import GaussianNoise, PoissonGaussianNoise
from lessons_lib.ops.noise_level import _noise_texture, _spectrum, estimate_noise, estimate_sigma


def correlated(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """With noise of this root mean square that neighbours share: white noise, blurred."""
    line = torch.tensor([0.25, 0.5, 0.25])
    kernel = (line[:, None] * line).expand(image.shape[1], 1, 3, 3)
    white = GaussianNoise(1.0)(torch.zeros_like(image))
    noise = torch.nn.functional.conv2d(white, kernel, padding=1, groups=image.shape[1])
    return image + sigma / kernel[0].norm() * noise


@pytest.mark.parametrize("sigma_255", [0.5, 5, 25, 100])
def test_pure_noise_is_measured(sigma_255):
    noise = GaussianNoise(sigma_255 / 255)(torch.zeros(2, 1, 150, 200))
    assert estimate_sigma(noise).tolist() == pytest.approx([sigma_255 / 255] * 2, rel=0.05)


@pytest.mark.parametrize("sigma_255", [5, 10, 15, 25, 50])
def test_photographs_are_measured(sigma_255):
    """Within one gray level, or 3 % of strong noise, on every sample."""
    errors = []
    for name, image in data.load("samples"):
        noisy = GaussianNoise(sigma_255 / 255)(image, key=name)
        errors.append(estimate_sigma(noisy).item() * 255 - sigma_255)
    assert max(map(abs, errors)) < max(1.0, 0.03 * sigma_255)
    assert abs(np.mean(errors)) < max(0.3, 0.02 * sigma_255)


@pytest.mark.parametrize("name", ["camera.png", "rocket.jpg"])
def test_noise_that_a_file_cuts_off_is_not_underrated(name):
    """Both photographs are dark: in an 8-bit file half of the noise in their shadows is lost."""
    noisy = GaussianNoise(18 / 255)(dict(data.load("samples"))[name])
    filed = (noisy.clamp(0, 1) * 255).round() / 255
    assert estimate_sigma(filed).item() * 255 == pytest.approx(18, abs=1.0)


def test_brightness_does_not_matter_and_scale_does():
    image = dict(data.load("samples"))["camera.png"]
    noisy = GaussianNoise(15 / 255)(image)
    first = estimate_sigma(noisy)
    torch.testing.assert_close(estimate_sigma(3 * noisy + 0.7), 3 * first, rtol=1e-4, atol=0)


def test_channels_share_one_level_and_images_do_not():
    clean = torch.full((2, 3, 200, 200), 0.5)
    noisy = clean + torch.tensor([0.02, 0.1])[:, None, None, None] * GaussianNoise(1.0)(clean * 0)
    assert estimate_sigma(noisy).tolist() == pytest.approx([0.02, 0.1], rel=0.06)


def test_a_large_photograph_is_looked_at_here_and_there():
    noise = 0.1 * torch.randn(1, 1, 1800, 1500, generator=torch.Generator().manual_seed(0))
    assert estimate_sigma(noise).item() == pytest.approx(0.1, rel=0.02)


def test_a_flat_image_has_no_noise_and_a_small_one_cannot_be_judged():
    assert estimate_sigma(torch.full((1, 1, 40, 40), 0.3)).item() < 1e-6
    with pytest.raises(ValueError, match="too small"):
        estimate_sigma(torch.zeros(1, 1, 15, 40))


def test_light_dependent_noise_gives_a_level_between_the_darkest_and_the_brightest():
    image = dict(data.load("samples"))["camera.png"]
    noisy = PoissonGaussianNoise(photons=500, sigma=0.02)(image)
    assert 0.02 < estimate_sigma(noisy).item() < (1 / 500 + 0.02**2) ** 0.5


def test_noise_is_hardly_ever_taken_for_texture():
    """Energies of the gradients of noise, drawn, against the bound of the gamma distribution."""
    noise = torch.randn(200_000, 7, 7, generator=torch.Generator().manual_seed(1)).double()
    across, down = (noise[..., 2:] - noise[..., :-2]) / 2, (noise[:, 2:] - noise[:, :-2]) / 2
    energy = across.square().sum((1, 2)) + down.square().sum((1, 2))
    assert (energy > _noise_texture()).double().mean() < 1e-3
    assert energy.max() > 0.6 * _noise_texture()  # the bound is not idle


@pytest.mark.parametrize("sigma_255", [6, 20])
@pytest.mark.parametrize("name", ["camera.png", "rocket.jpg", "coins.png"])
def test_correlated_noise_is_told_from_white_and_measured(name, sigma_255):
    image = dict(data.load("samples"))[name][..., :300, :384]
    noise = estimate_noise(correlated(image, sigma_255 / 255))
    assert not noise.white
    assert noise.sigma * 255 == pytest.approx(sigma_255, rel=0.2)
    assert noise.finest < noise.sigma / 3


@pytest.mark.parametrize("sigma_255", [2, 25])
def test_white_noise_is_called_white(sigma_255):
    """On every sample, those that are nothing but texture among them."""
    for name, image in data.load("samples"):
        noisy = GaussianNoise(sigma_255 / 255)(image[:, :1, :256, :256], key=name)
        noise = estimate_noise(noisy)
        assert noise.white, name
        assert noise.sigma == noise.finest == estimate_sigma(noisy).item()


@pytest.mark.parametrize("name", ["grass.png", "gravel.png"])
def test_texture_is_not_taken_for_noise(name):
    """Its waves are as those of correlated noise, but stronger the more of it is looked at."""
    image = dict(data.load("samples"))[name]
    assert estimate_noise(image).white


def test_patches_are_chosen_without_making_their_noise_weaker():
    """Of pure noise the smoothest hundredth is measured as strong as the rest."""
    generator = torch.Generator().manual_seed(0)
    strength = torch.linspace(0.5, 3, 64, dtype=torch.float64)
    waves = strength[:, None] * torch.randn(1, 64, 20_000, generator=generator).double()
    found = _spectrum(waves.square(), 0.01)[:, 1:]
    torch.testing.assert_close(found, strength[None, 1:].square(), rtol=0.4, atol=0)
    assert (found / strength[1:].square()).mean().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_unit_of_the_image_is_that_of_the_estimate(factor):
    image = dict(data.load("samples"))["camera.png"][..., :200, :200]
    for noisy in (GaussianNoise(0.05)(image), correlated(image, 0.05)):
        one, other = estimate_noise(noisy), estimate_noise(factor * noisy)
        assert one.white == other.white
        assert other.sigma == pytest.approx(factor * one.sigma, rel=1e-4)
        assert other.finest == pytest.approx(factor * one.finest, rel=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_has_no_noise(value):
    image = torch.rand(1, 3, 40, 40)
    image[0, 1, 3, 5] = value
    for estimate in (estimate_sigma, estimate_noise):
        with pytest.raises(ValueError, match="no finite numbers"):
            estimate(image)


def test_one_image_is_judged_at_a_time_and_a_small_one_by_the_finest_waves_alone():
    with pytest.raises(ValueError, match="one image is judged"):
        estimate_noise(torch.rand(2, 1, 40, 40))
    assert estimate_noise(correlated(torch.zeros(1, 1, 40, 40), 0.1)).white
    assert estimate_noise(torch.full((1, 3, 80, 80), 0.3)).white


@pytest.mark.parametrize("shape", [(1000, 1000), (16, 60_000), (2400, 1800)])
def test_photographs_of_megapixels_are_sampled_with_gaps(shape):
    """Once more than one place in eight is skipped between two that are looked at."""
    generator = torch.Generator().manual_seed(0)
    flat = 0.5 + 0.1 * torch.randn(1, 1, *shape, generator=generator)
    found = estimate_noise(flat)
    assert found.white
    assert found.sigma == pytest.approx(0.1, rel=0.05)
    if min(shape) > 100:
        found = estimate_noise(correlated(torch.full((1, 3, *shape), 0.5), 0.1))
        assert not found.white
        assert found.sigma > 3 * found.finest
