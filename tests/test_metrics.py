"""PSNR and SSIM against scikit-image and SciPy, and against published scores of JPEG files."""

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from skimage import data as photographs
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.transform import downscale_local_mean

from lessons_lib import data
from lessons_lib.degradations import JPEG
from lessons_lib.metrics import SCALES, ms_ssim, psnr, ssim
from lessons_lib.ops.colour import rgb_to_luma


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A colour photograph and a noisy copy, ``(H, W, 3)`` in [0, 1]."""
    clean = photographs.astronaut()[:131, 40:180] / 255
    return clean + 0.1 * np.random.RandomState(0).randn(*clean.shape), clean


def batch(*images: np.ndarray) -> torch.Tensor:
    return torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image in images])


def test_psnr_equals_scikit_image(pair):
    noisy, clean = pair
    expected = peak_signal_noise_ratio(clean, noisy, data_range=1.0)
    found = psnr(batch(noisy, 0.5 * clean), batch(clean, clean))
    assert float(found[0]) == pytest.approx(expected, abs=1e-6)
    assert float(found[1]) == pytest.approx(
        peak_signal_noise_ratio(clean, 0.5 * clean, data_range=1.0), abs=1e-6
    )


def test_psnr_does_not_depend_on_the_unit(pair):
    noisy, clean = batch(pair[0]), batch(pair[1])
    assert torch.allclose(psnr(noisy, clean), psnr(255 * noisy, 255 * clean, data_range=255))
    assert torch.isinf(psnr(clean, clean)).all()


def test_gaussian_ssim_equals_scikit_image_with_the_papers_arguments(pair):
    expected = structural_similarity(
        *pair,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=2,
    )
    assert float(ssim(batch(pair[0]), batch(pair[1]))) == pytest.approx(expected, abs=1e-4)


def test_multiscale_ssim_equals_scikit_image_scale_by_scale():
    """With a constant that drowns the first factor, what scikit-image computes is the second."""
    clean = photographs.astronaut()[:200, 40:236] / 255
    noisy = clean + 0.1 * np.random.RandomState(0).randn(*clean.shape)
    expected, x, y = np.ones(3), noisy, clean
    for number, weight in enumerate(SCALES):
        if number:
            x, y = (skimage_halved(one) for one in (x, y))
        last = number == len(SCALES) - 1
        for channel in range(3):
            factor = structural_similarity(
                x[..., channel],
                y[..., channel],
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=1.0,
                K1=0.01 if last else 1e6,
            )
            expected[channel] *= factor**weight
    found = float(ms_ssim(batch(noisy), batch(clean)))
    assert found == pytest.approx(expected.mean(), abs=1e-4)
    assert 0.5 < found < 0.99
    assert float(ms_ssim(batch(clean), batch(clean))) == pytest.approx(1)
    assert ms_ssim(batch(1 - clean), batch(clean)) < 0.1
    with pytest.raises(ValueError, match="11 pixels"):
        ms_ssim(batch(clean[:170]), batch(clean[:170]))


def skimage_halved(image: np.ndarray) -> np.ndarray:
    return downscale_local_mean(image[: len(image) // 2 * 2, : image.shape[1] // 2 * 2], (2, 2, 1))


def test_uniform7_ssim_equals_scikit_images_default(pair):
    expected = structural_similarity(*pair, data_range=1.0, channel_axis=2)
    found = ssim(batch(pair[0]), batch(pair[1]), "uniform7")
    assert float(found) == pytest.approx(expected, abs=1e-4)


def test_uniform8_ssim_equals_its_formula_in_scipy(pair):
    noisy, clean = (image[:, :, 0] for image in pair)

    def mean(image):
        # Origin 0 of an even window reaches 4 back and 3 ahead; keep what lies inside.
        return uniform_filter(image, 8)[4:-3, 4:-3]

    mx, my = mean(noisy), mean(clean)
    vx, vy, cov = mean(noisy**2) - mx**2, mean(clean**2) - my**2, mean(noisy * clean) - mx * my
    scores = (2 * mx * my + 1e-4) * (2 * cov + 9e-4)
    scores /= (mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)
    found = ssim(batch(noisy[:, :, None]), batch(clean[:, :, None]), "uniform8")
    assert float(found) == pytest.approx(scores.mean(), abs=1e-9)


@pytest.mark.parametrize("definition", ["gaussian", "uniform7", "uniform8"])
def test_ssim_is_one_for_equal_images_symmetric_and_falls_with_noise(pair, definition):
    noisy, clean = batch(pair[0]), batch(pair[1])
    assert float(ssim(clean, clean, definition)) == pytest.approx(1)
    assert torch.allclose(ssim(noisy, clean, definition), ssim(clean, noisy, definition))
    worse = clean + 2 * (noisy - clean)
    assert ssim(worse, clean, definition) < ssim(noisy, clean, definition) < 1


def test_wrong_inputs_are_refused():
    image = torch.rand(1, 1, 20, 20)
    with pytest.raises(ValueError, match="same shape"):
        psnr(image, image[..., 1:])
    with pytest.raises(ValueError, match="same shape"):
        ssim(image[0], image[0])
    with pytest.raises(ValueError, match="smaller"):
        ssim(image[..., :10], image[..., :10])
    with pytest.raises(ValueError, match="'gaussian', 'uniform7' or 'uniform8'"):
        ssim(image, image, "matlab")  # type: ignore[arg-type]


@pytest.mark.skipif(data.locate("Classic5") is None, reason="Classic5 is not on this machine")
@pytest.mark.parametrize(
    ("name", "quality", "published_psnr"),
    [
        ("Classic5", 10, 27.82),
        ("Classic5", 20, 30.12),
        ("Classic5", 30, 31.48),
        ("Classic5", 40, 32.43),
        ("LIVE1", 10, 27.77),
        ("LIVE1", 20, 30.07),
        ("LIVE1", 30, 31.41),
    ],
)
def test_jpeg_baselines_are_the_published_ones(name: str, quality: int, published_psnr: float):
    """PSNR on Y, taken before compression; SSIM at quality 10 and 20 through 8 x 8 windows."""
    psnrs, ssims = [], []
    for _, image in data.load(name):
        luma = rgb_to_luma(image) if image.shape[1] == 3 else image
        luma = (255 * luma).round() / 255
        decoded = JPEG(quality)(luma)
        psnrs.append(float(psnr(decoded, luma)))
        ssims.append(float(ssim(decoded, luma, "uniform8")))
    assert np.mean(psnrs) == pytest.approx(published_psnr, abs=0.005)
    published_ssim = {("Classic5", 10): 0.7800, ("Classic5", 20): 0.8541}.get((name, quality))
    if published_ssim is not None:
        assert np.mean(ssims) == pytest.approx(published_ssim, abs=5e-5)
