"""Forward models: statistics, adjoints, and the same result on every machine."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons_lib.camera import CameraNoise
from lessons_lib.degradations import (
    JPEG,
    BayerMosaic,
    BicubicDown,
    GaussianNoise,
    PoissonGaussianNoise,
    VaryingNoise,
    redrawn,
)

PATTERNS = ["RGGB", "BGGR", "GRBG", "GBRG"]


def test_gaussian_noise_is_white_unclipped_and_of_the_right_strength():
    image = torch.full((1, 1, 300, 400), 0.02)
    noise = GaussianNoise(0.1, seed=1)(image) - image
    assert float(noise.mean()) == pytest.approx(0, abs=4 * 0.1 / 120_000**0.5)
    assert float(noise.std()) == pytest.approx(0.1, rel=4 / (2 * 120_000) ** 0.5)
    assert (image + noise).min() < 0
    for shifted in (noise.roll(1, 2), noise.roll(1, 3)):
        correlation = float((noise * shifted).mean()) / 0.01
        assert correlation == pytest.approx(0, abs=4 / 120_000**0.5)


def test_noise_depends_on_seed_and_key_and_on_nothing_else():
    image = torch.zeros(1, 1, 4, 4)
    first = GaussianNoise(0.1, seed=0)(image, "a.png")
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002  the global state must not matter
    assert torch.equal(first, GaussianNoise(0.1, seed=0)(image, "a.png"))
    assert not torch.equal(first, GaussianNoise(0.1, seed=1)(image, "a.png"))
    assert not torch.equal(first, GaussianNoise(0.1, seed=0)(image, "b.png"))


def test_noise_of_the_benchmarks_never_changes():
    """Stored scores rest on these very numbers; a change of the stream must not go unnoticed."""
    noise = GaussianNoise(1.0, seed=0)(torch.zeros(1, 1, 1, 4, dtype=torch.float64), "img_001.png")
    expected = torch.tensor(
        [-0.10096862427576409, -1.0680007621838525, -0.8342888735758927, -0.32673030433279965],
        dtype=torch.float64,
    )
    assert torch.allclose(noise.flatten(), expected, atol=1e-12)


def test_poisson_gaussian_noise_has_signal_dependent_variance():
    degrade = PoissonGaussianNoise(photons=50, sigma=0.02, seed=3)
    for level in (0.0, 0.2, 0.9):
        noisy = degrade(torch.full((1, 1, 250, 400), level, dtype=torch.float64))
        variance = level / 50 + 0.02**2
        assert float(noisy.mean()) == pytest.approx(level, abs=4 * (variance / 1e5) ** 0.5)
        assert float(noisy.var()) == pytest.approx(variance, rel=0.03)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_mosaic_keeps_one_colour_per_pixel_where_its_name_says(pattern: str):
    image = 0.1 + torch.rand(2, 3, 5, 7)
    mosaic = BayerMosaic(pattern)(image)
    assert torch.equal((mosaic != 0).sum(dim=1), torch.ones(2, 5, 7, dtype=torch.long))
    for index, colour in enumerate(pattern):
        row, column, channel = index // 2, index % 2, "RGB".index(colour)
        seen = mosaic[:, channel, row::2, column::2]
        assert torch.equal(seen, image[:, channel, row::2, column::2])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_mosaic_is_its_own_adjoint(pattern: str):
    degrade = BayerMosaic(pattern)
    x, y = torch.randn(2, 1, 3, 6, 9, dtype=torch.float64)
    assert torch.allclose((degrade(x) * y).sum(), (x * degrade.adjoint(y)).sum())


@given(scale=st.integers(2, 4), height=st.integers(1, 9), width=st.integers(1, 9))
@settings(deadline=None)
def test_bicubic_adjoint(scale: int, height: int, width: int):
    degrade = BicubicDown(scale)
    x = torch.randn(1, 2, height * scale, width * scale, dtype=torch.float64)
    y = torch.randn(1, 2, height, width, dtype=torch.float64)
    assert torch.allclose((degrade(x) * y).sum(), (x * degrade.adjoint(y)).sum(), rtol=1e-9)


def test_jpeg_loses_more_at_lower_quality_and_is_eight_bit():
    image = torch.rand(2, 3, 24, 33)
    errors = []
    for quality in (100, 90, 40, 10):
        decoded = JPEG(quality)(image)
        assert decoded.shape == image.shape
        assert torch.equal((decoded * 255).round() / 255, decoded)
        errors.append(float((decoded - image).square().mean()))
    assert errors == sorted(errors)
    assert torch.equal(JPEG(40)(image)[1:], JPEG(40)(image[1:]))


def test_degradations_leave_their_input_alone():
    image = torch.rand(1, 3, 8, 8)
    before = image.clone()
    for degrade in (
        GaussianNoise(0.1),
        PoissonGaussianNoise(10, 0.1),
        BayerMosaic("GRBG"),
        JPEG(20),
        BicubicDown(2),
    ):
        degrade(image)
        assert torch.equal(image, before)


@pytest.mark.parametrize(
    "make",
    [
        lambda: GaussianNoise(0),
        lambda: GaussianNoise(float("nan")),
        lambda: GaussianNoise(float("inf")),
        lambda: PoissonGaussianNoise(0, 0.1),
        lambda: BayerMosaic("RGBG"),
        lambda: JPEG(0),
        lambda: BicubicDown(1),
        lambda: BicubicDown(2.5),  # type: ignore[arg-type]
        lambda: BicubicDown(3)(torch.zeros(1, 1, 9, 10)),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(ValueError, match=r"must|lies between|is RGGB|no multiple"):
        make()


def test_all_that_draw_can_draw_again():
    clean = torch.full((1, 3, 16, 16), 0.5)
    drawing = (
        GaussianNoise(0.1),
        VaryingNoise(torch.full((1, 1, 16, 16), 0.1)),
        PoissonGaussianNoise(10, 0.1),
        CameraNoise(0.1, 0.05),
    )
    for degradation in drawing:
        other = redrawn(degradation, 1)
        assert other is not None
        assert not torch.equal(other(clean), degradation(clean))
    for degradation in (BayerMosaic("GRBG"), JPEG(20), BicubicDown(2)):
        assert redrawn(degradation, 1) is None
