"""What models are told besides the image: which values were measured, and how noisy they are."""

import pytest
import torch

from lessons_lib import data
from lessons_lib.degradations import BayerMosaic, GaussianNoise
from lessons_lib.models import build, fast, restore
from lessons_lib.ops.patches import extract_patches, overlap_average

COLOUR = {"channels": 3, "patch": 4, "atoms": 30, "steps": 5, "threshold": 0.03}
NON_LOCAL = COLOUR | {"refresh": 2, "window": 7}
KINDS = [("sc", COLOUR), ("groupsc", NON_LOCAL), ("csr", NON_LOCAL)]
LEVELS = [5.0, 10.0, 25.0]


def shaken(name, options):
    model = build(name, options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.03 * torch.randn(weight.shape, generator=generator)
    return model.requires_grad_(False)


def colours(height=15, width=13, batch=2):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


# Masks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), KINDS[:1])
@pytest.mark.parametrize("masked_mean", ["measured", "zero-filled"])
def test_where_all_is_measured_a_mask_changes_nothing(name, options, masked_mean):
    model = shaken(name, options | {"masked_mean": masked_mean})
    image = colours()
    torch.testing.assert_close(model(image, torch.ones_like(image)), model(image))


@pytest.mark.parametrize(("name", "options"), KINDS)
@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_what_was_not_measured_does_not_matter(name, options, pattern):
    model, mosaic = shaken(name, options), BayerMosaic(pattern)
    image = colours()
    mask = mosaic.mask((15, 13))
    nonsense = torch.where(mask > 0, image, 7.0)
    torch.testing.assert_close(model(nonsense, mask), model(mosaic(image), mask))


def test_masked_steps_are_those_of_each_patch_with_its_own_mask():
    """``α_i ← S(α_i + Cᵀ M_i (y_i − D α_i))``, eq. 13, one patch after the other."""
    model = shaken("sc", COLOUR).double()
    image, mosaic = colours(8, 7, batch=1).double(), BayerMosaic("GBRG")
    seen, mask = mosaic(image), mosaic.mask((8, 7)).double()
    patches, masks = extract_patches(seen, 4)[0].T, extract_patches(mask, 4)[0].T
    estimates = []
    for patch, known in zip(patches, masks, strict=True):
        by_channel = [
            values[there > 0].mean()
            for values, there in zip(patch.view(3, 16), known.view(3, 16), strict=True)
        ]
        mean = sum(by_channel) / 3
        code = torch.zeros(30, dtype=torch.float64)
        for threshold in model.raw_thresholds.abs():
            error = torch.diag(known) @ (patch - mean - model.D @ code)
            moved = code + model.C.T @ error
            code = moved.sign() * (moved.abs() - threshold).clamp_min(0)
        estimates.append(model.W @ code + mean)
    wanted = overlap_average(torch.stack(estimates, dim=1)[None], (8, 7), 4)
    torch.testing.assert_close(model(seen, mask), wanted, rtol=0, atol=1e-12)


def test_the_mean_is_that_of_the_picture_or_a_third_of_it():
    """In a flat picture of one gray all is right at once, or nothing is."""
    picture, mosaic = torch.full((1, 3, 12, 12), 0.6), BayerMosaic()
    mask = mosaic.mask((12, 12))
    right, papers = (
        shaken("sc", COLOUR | {"masked_mean": name}) for name in ("measured", "zero-filled")
    )
    y, mean, _ = right.look(mosaic(picture), mask)
    assert y.abs().max() < 1e-6
    torch.testing.assert_close(mean, torch.full_like(mean, 0.6))
    _, mean, _ = papers.look(mosaic(picture), mask)
    torch.testing.assert_close(mean, torch.full_like(mean, 0.2))


def test_mosaics_are_compared_colour_by_colour_added_up():
    """The first Σ sees one number for each pixel; those that follow see all three colours."""
    model, mosaic = shaken("groupsc", NON_LOCAL), BayerMosaic()
    mask = mosaic.mask((15, 13))
    y, mean, known = model.look(mosaic(colours()), mask)
    plain = model.points(y, mean)
    torch.testing.assert_close(
        model.points(y, mean, known), plain.view(2, 3, 16, -1).sum(dim=1), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_tiles_of_a_mosaic_are_tiles_of_its_mask(name, options):
    """Inside one tile the result is the model's; tiles at odd places have other phases."""
    model, mosaic = shaken(name, options), BayerMosaic("GRBG")
    image = colours(31, 31, batch=1)  # mirrored, 37 pixels: two tiles of 20 that share 3
    mask = mosaic.mask((31, 31))
    whole = restore(model, mosaic(image), mask=mask, precision="reference", tile=200)
    inside = (..., slice(8, -8), slice(8, -8))
    if name == "sc":
        torch.testing.assert_close(whole[inside], model(mosaic(image), mask)[inside])
        tiled = restore(model, mosaic(image), mask=mask, precision="fp32", tile=20)
        torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)
    shifted = mosaic(image)[..., 1:, :], mask[..., 1:, :]
    assert torch.equal(shifted[1][..., :2, :2], BayerMosaic("BGGR").mask((2, 2)))
    below = restore(model, shifted[0], mask=shifted[1], precision="reference", tile=200)
    if name == "sc":
        torch.testing.assert_close(below[inside], whole[..., 1:, :][inside])


# Levels --------------------------------------------------------------------------------------


def blind(name, options, **more):
    return shaken(name, options | {"levels_255": LEVELS} | more)


def at_level(model, name, options, index):
    """The model of one level alone."""
    single = build(name, options)
    weights = model.state_dict()
    weights["raw_thresholds"] = weights["raw_thresholds"][index].repeat(single.config.steps, 1)
    single.load_state_dict(weights)
    return single.requires_grad_(False)


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_the_nearest_level_may_be_taken(name, options):
    model, image = blind(name, options, interpolate=False), colours()
    for sigma_255, index in ((1, 0), (5, 0), (7, 0), (8, 1), (17, 1), (18, 2), (90, 2)):
        wanted = at_level(model, name, options, index)(image)
        found = model(image, sigma=torch.full((2,), sigma_255 / 255))
        torch.testing.assert_close(found, wanted)


def test_between_levels_thresholds_are_interpolated():
    model, image = blind("sc", COLOUR), colours()
    single = at_level(model, "sc", COLOUR, 0)
    first, second, third = model.raw_thresholds.abs()
    for sigma_255, wanted in (
        (6, 0.8 * first + 0.2 * second),
        (17.5, (second + third) / 2),
        (2, first),
        (40, third),
    ):
        single.raw_thresholds.copy_(wanted)
        found = model(image, sigma=torch.full((2,), sigma_255 / 255))
        torch.testing.assert_close(found, single(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_each_image_has_its_own_level(name, options):
    model, image = blind(name, options), colours()
    sigma = torch.tensor([6.0, 23.0]) / 255
    together = model(image, sigma=sigma)
    for index in range(2):
        alone = model(image[index : index + 1], sigma=sigma[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, rtol=0, atol=1e-5)


def test_first_thresholds_follow_the_noise():
    model = build("sc", COLOUR | {"levels_255": LEVELS})
    assert model.raw_thresholds[:, 0].tolist() == pytest.approx([0.006, 0.012, 0.03])
    assert model.raw_thresholds.shape == (3, 30)


def test_levels_that_make_no_sense_are_refused():
    for levels in ([5.0], [5.0, 5.0], [10.0, 5.0], [0.0, 5.0], [-1.0, 5.0]):
        with pytest.raises(ValueError, match="levels"):
            build("sc", COLOUR | {"levels_255": levels})
    with pytest.raises(ValueError, match="list of numbers"):
        build("sc", COLOUR | {"levels_255": ["5", "10"]})
    with pytest.raises(ValueError, match="masked_mean"):
        build("sc", COLOUR | {"masked_mean": "median"})
    with pytest.raises(ValueError, match="needs to know sigma"):
        blind("sc", COLOUR)(colours())


def test_blind_restoration_finds_the_level_itself():
    """Told nothing, the level is estimated; louder noise than any level is scaled down to it."""
    model = blind("sc", COLOUR, interpolate=False)
    clean = data.sample("astronaut", gray=False)[..., 60:160, 60:180]
    noisy = GaussianNoise(10 / 255)(clean, "astronaut")
    found = restore(model, noisy)
    torch.testing.assert_close(found, restore(model, noisy, 10 / 255), rtol=0, atol=1e-6)
    loud = GaussianNoise(50 / 255)(clean, "astronaut")
    half = restore(model, loud / 2, 25 / 255)
    torch.testing.assert_close(restore(model, loud, 50 / 255), 2 * half, rtol=0, atol=1e-5)


# The fast form -------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), KINDS)
@pytest.mark.parametrize("more", [{}, {"masked_mean": "zero-filled"}, {"levels_255": LEVELS}])
def test_the_fast_form_is_told_as_much(name, options, more):
    model = shaken(name, options | more)
    image, mosaic = colours(), BayerMosaic("GRBG")
    sigma = torch.tensor([4.0, 21.0]) / 255
    mask = mosaic.mask((15, 13))
    wanted = model(mosaic(image), mask, sigma)
    found = fast.estimate(model, mosaic(image), torch.float32, mask=mask, sigma=sigma)
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-5)
