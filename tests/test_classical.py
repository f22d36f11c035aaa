"""Classical denoisers on a real photograph: each helps, in colour too, and none needs much room."""

import math

import pytest
import torch

from lessons_lib import classical, data
from lessons_lib.degradations import GaussianNoise
from lessons_lib.metrics import psnr
from lessons_lib.ops.patches import centre, extract_patches, overlap_average

SIGMA = 25 / 255
WITHOUT = "faster with SPAMS, which is not installed"


def score(name: str, clean: torch.Tensor) -> float:
    noisy = GaussianNoise(SIGMA)(clean, "photo")
    estimate = classical.METHODS[name].function(noisy, SIGMA)
    assert estimate.shape == clean.shape
    assert estimate.dtype == clean.dtype
    return float(psnr(estimate.clamp(0, 1), clean))


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return data.sample("camera", size=160)


AVAILABLE = [name for name, method in classical.METHODS.items() if method.missing() is None]


@pytest.mark.parametrize("name", [name for name in AVAILABLE if name != "noisy"])
def test_every_method_gains_six_decibels_on_a_photograph(name: str, photo: torch.Tensor):
    assert score(name, photo) > score("noisy", photo) + 6


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in AVAILABLE if name != "noisy"])
def test_colour_planes_help_each_other(name: str):
    """Restoring three channels together is at least as good as one by one."""
    clean = data.sample("astronaut", gray=False, size=64)
    apart = []
    noisy = GaussianNoise(SIGMA)(clean, "photo")
    for channel in range(3):
        plane = noisy[:, channel : channel + 1]
        apart.append(classical.METHODS[name].function(plane, SIGMA))
    separately = float(psnr(torch.cat(apart, dim=1).clamp(0, 1), clean))
    assert score(name, clean) > separately - 0.1


def test_the_learned_dictionary_beats_cosines(photo: torch.Tensor):
    assert score("dictionary", photo) > score("dct", photo) + 0.3


@pytest.mark.parametrize("name", ["dct", "dictionary", "nlm"])
def test_smallest_image_is_what_the_table_says(name: str):
    smallest = classical.METHODS[name].smallest
    noisy = torch.rand(1, 1, smallest, smallest + 3)
    assert torch.isfinite(classical.METHODS[name].function(noisy, SIGMA)).all()
    if name != "nlm":
        with pytest.raises(ValueError, match="does not fit"):
            classical.METHODS[name].function(noisy[..., 1:, :], SIGMA)


@pytest.mark.parametrize("name", ["dct", "dictionary", "nlm"])
def test_a_flat_image_comes_back_flat(name: str):
    flat = torch.full((1, 3, 24, 30), 0.25)
    assert torch.allclose(classical.METHODS[name].function(flat, SIGMA), flat, atol=1e-5)


@pytest.mark.parametrize("factor", [1e-3, 0.3, 1e3])
@pytest.mark.parametrize("name", AVAILABLE)
def test_brightness_is_a_matter_of_units(name: str, factor: float, photo: torch.Tensor):
    """An image of any white, noise and all, is restored as if white were 1."""
    noisy = GaussianNoise(SIGMA)(photo[..., 60:84, 60:90].double(), "photo")
    method = classical.METHODS[name].function
    expected = factor * method(noisy, SIGMA)
    difference = method(factor * noisy, factor * SIGMA) - expected
    assert difference.abs().max() < 1e-6 * factor


@pytest.mark.parametrize("sigma", [1e-9, 0.5 / 255])
def test_noise_far_below_the_contrast_is_learned_by_in_proportion(sigma, monkeypatch):
    """What the dictionary is learned with is never less than a share of the image's contrast."""
    learned = []

    def learn(image, size, lam):
        learned.append(lam / image.std().item())
        return torch.eye(81)

    monkeypatch.setattr(classical, "learn_from_image", learn)
    image = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    for factor in (1e-3, 1.0, 1e3):
        classical.dictionary(factor * image, factor * sigma)
    assert learned == pytest.approx([3 * classical.LEAST] * 3, rel=1e-4)


def test_the_dictionary_does_without_spams(monkeypatch, photo: torch.Tensor, recwarn):
    """As good as with it to a quarter of a decibel, and not a word from the solver."""
    clean = photo[..., 40:70, 50:80]
    usual = score("dictionary", clean)
    assert classical.METHODS["dictionary"].advice() in (None, WITHOUT)
    monkeypatch.setattr("lessons_lib.ops.dictionary.load_spams", lambda: None)
    assert score("dictionary", clean) > usual - 0.25
    assert not list(recwarn)
    monkeypatch.setattr(classical.importlib.util, "find_spec", lambda name: None)
    assert classical.METHODS["dictionary"].advice() == WITHOUT
    assert classical.METHODS["dct"].advice() is None


def test_bands_of_rows_give_the_same_as_the_whole(monkeypatch):
    image = torch.rand(1, 3, 31, 22)

    def halve(patches):
        return patches / 2, torch.ones(patches.shape[1])

    steps: list[float] = []
    monkeypatch.setattr(classical, "BATCH", 50)
    banded = classical.denoise_patches(image, 5, halve, steps.append)
    for channel in range(3):
        plane = image[:, channel : channel + 1]
        patches, mean = centre(extract_patches(plane, 5))
        whole = overlap_average(patches / 2 + mean, (31, 22), 5)
        assert torch.allclose(banded[:, channel : channel + 1], whole, atol=1e-6)
    assert len(steps) > 5
    assert steps == sorted(steps)
    assert steps[-1] == 1


def test_a_patch_counts_as_much_as_its_weight():
    image = torch.tensor([[[[0.2, 0.4, 0.9]]]]).expand(1, 1, 2, 3)

    def code(patches):
        return patches, torch.tensor([3.0, 1.0])

    # Two patches of 2 x 2, kept but for their details: only the middle column belongs to both.
    def flatten(patches):
        return 0 * patches, torch.tensor([3.0, 1.0])

    assert torch.allclose(classical.denoise_patches(image, 2, code), image)
    middle = (3 * 0.3 + 1 * 0.65) / 4
    expected = torch.tensor([0.3, middle, 0.65]).expand(1, 1, 2, 3)
    assert torch.allclose(classical.denoise_patches(image, 2, flatten), expected)


@pytest.mark.slow
@pytest.mark.skipif(data.locate("Set12") is None, reason="Set12 is not on this machine")
def test_the_dictionary_reaches_29_decibels_on_set12():
    """Elad and Aharon's K-SVD is the yardstick at σ = 25."""
    scores = []
    for name, clean in data.load("Set12"):
        noisy = GaussianNoise(SIGMA)(clean, name)
        estimate = classical.dictionary(noisy, SIGMA).clamp(0, 1)
        rounded = (255 * estimate).round() / 255
        scores.append(float(psnr(rounded, clean)))
    assert math.fsum(scores) / len(scores) >= 29.0


@pytest.mark.parametrize("name", [name for name in AVAILABLE if name != "noisy"])
def test_several_images_are_refused(name: str):
    with pytest.raises(ValueError, match="one image"):
        classical.METHODS[name].function(torch.rand(2, 1, 24, 24), 0.1)
