"""The NumPy door: what goes in comes out, restored, and as the command line would restore it."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lessons_lib
from lessons_lib import data, denoise, restore
from lessons_lib.cli import main
from lessons_lib.degradations import JPEG, BayerMosaic, BicubicDown, GaussianNoise

ROOT = Path(__file__).parents[1]
# Beside uint8: how many of its units are one grey level.
UNITS = {
    "uint8": 1.0,
    "uint16": 257.0,
    ">u2": 257.0,
    "int16": 32767 / 255,
    "uint32": (2**32 - 1) / 255,
    "float16": 1 / 255,
    "float32": 1 / 255,
    "float64": 1 / 255,
}


def pixels(channels: int = 3, size: int = 64) -> np.ndarray:
    """A photograph, ``(H, W, C)`` in [0, 1]."""
    return data.sample("astronaut", gray=channels == 1, size=size)[0].permute(1, 2, 0).numpy()


def noisy(channels: int = 3, size: int = 64, sigma: float = 25) -> np.ndarray:
    """The same with noise, as a file of 8 bits has it."""
    clean = torch.from_numpy(pixels(channels, size)).permute(2, 0, 1)[None]
    degraded = GaussianNoise(sigma / 255)(clean).clamp(0, 1)
    return (degraded[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def decibels(estimate: np.ndarray, clean: np.ndarray) -> float:
    error = estimate.astype(float) - clean.astype(float)
    return float(-10 * np.log10(np.square(error).mean()))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", UNITS)
def test_type_and_shape_stay_and_sigma_is_in_their_units(dtype: str, channels: int) -> None:
    given = noisy(channels)
    expected = denoise(given, 25, "dct").astype(float)
    unit = UNITS[dtype]
    image = (given * unit).astype(dtype) if unit < 1 else np.rint(given * unit).astype(dtype)
    before = image.copy()
    result = denoise(image, 25 * unit, "dct")
    assert result.dtype == image.dtype
    assert result.shape == image.shape
    assert result.flags.writeable
    assert np.array_equal(image, before)
    # One of 256 levels, by rounding; a coefficient may fall below its threshold by it.
    difference = np.abs(np.clip(result.astype(float) / unit, 0, 255) - expected)
    assert difference.mean() < 0.6
    assert difference.max() < 3


def test_gray_may_have_an_axis_of_channels_or_none() -> None:
    image = noisy(1)
    flat = denoise(image[..., 0], 25, "dct")
    assert flat.shape == (64, 64)
    assert np.array_equal(denoise(image, 25, "dct")[..., 0], flat)


def test_views_lists_and_read_only_arrays_are_fine() -> None:
    image = noisy()
    turned = denoise(image[::-1, ::2].swapaxes(0, 1), 25, "dct")
    assert np.array_equal(turned, denoise(image[::-1, ::2].swapaxes(0, 1).copy(), 25, "dct"))
    image.flags.writeable = False
    expected = denoise(image, 25, "dct")
    assert denoise(np.asarray(Image.fromarray(image)), 25, "dct").tolist() == expected.tolist()
    floats = (image[:16, :16, 0] / 255).tolist()
    assert denoise(floats, 25 / 255, "dct").shape == (16, 16)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({"sigma": 25}, ["--sigma", "25"]),
        ({"sigma": 25, "model": "sc-gray-25"}, ["--sigma", "25", "--model", "sc-gray-25"]),
        ({}, ["--task", "blind"]),
    ],
)
def test_what_the_command_line_makes_of_the_same_file(
    tmp_path: Path, options: dict[str, object], arguments: list[str]
) -> None:
    image = noisy()
    Image.fromarray(image).save(tmp_path / "in.png")
    command = ["restore", str(tmp_path / "in.png"), str(tmp_path / "out.png"), "--device", "cpu"]
    with pytest.raises(SystemExit) as end:
        main([*command, *arguments])
    assert end.value.code == 0
    assert np.array_equal(denoise(image, **options), np.asarray(Image.open(tmp_path / "out.png")))


@pytest.mark.parametrize("sigma", [15, None])
def test_it_denoises_whether_or_not_the_noise_is_told(sigma: float | None) -> None:
    image, clean = noisy(1, 128, 15)[..., 0], pixels(1, 128)[..., 0]
    gain = decibels(denoise(image, sigma, "dct") / 255, clean) - decibels(image / 255, clean)
    assert gain > 3


def test_floats_are_not_clipped() -> None:
    """What the noise put beyond black and white may end a little beyond them."""
    clean = torch.zeros(1, 1, 32, 32)
    image = GaussianNoise(0.1)(clean)[0, 0].numpy()
    assert denoise(image, 0.1, "noisy").min() == image.min() < 0


def test_another_range_of_black_to_white() -> None:
    image = noisy(1)[..., 0]
    expected = denoise(image, 25, "dct")
    as_floats = denoise(image.astype(np.float32), 25, "dct", value_range=(0, 255))
    assert np.abs(as_floats.clip(0, 255) - expected).max() <= 0.501
    ten_bits = denoise((4 * image.astype(np.uint16)), 100, "dct", value_range=(0, 1020))
    assert np.abs(ten_bits.clip(0, 1020) / 4 - expected).max() <= 0.63


def test_a_mosaic_becomes_colours() -> None:
    clean = pixels()
    as_tensor = torch.from_numpy(clean).permute(2, 0, 1)[None]
    mosaic = BayerMosaic("GRBG")(as_tensor).sum(1)[0].numpy()
    result = restore(mosaic, "demosaic", "GRBG", "bilinear")
    assert result.shape == clean.shape
    measured = BayerMosaic("GRBG").mask((64, 64))[0].permute(1, 2, 0).numpy() > 0
    assert np.allclose(result[measured], clean[measured])
    assert decibels(result, clean) > 25


def test_a_file_of_jpeg_gets_better_and_a_small_picture_larger() -> None:
    clean = data.sample("camera", size=128)
    array = clean[0, 0].numpy()
    blocks = JPEG(10)(clean)[0, 0].numpy()
    restored = restore(blocks, "jpeg", 10)
    assert decibels(restored, array) > decibels(blocks, array) + 0.5
    np.testing.assert_array_equal(restore(blocks, "jpeg", 10.0), restored)
    small = (BicubicDown(2)(clean)[0, 0].clamp(0, 1) * 255).round().byte().numpy()
    large = restore(small, "sr", 2, "bicubic")
    assert large.shape == (128, 128)
    assert large.dtype == np.uint8
    assert decibels(large / 255, array) > 25


def test_noise_that_is_not_white_is_said() -> None:
    white = torch.from_numpy(pixels(1, 256)).permute(2, 0, 1)[None] * 0.2 + 0.4
    noise = torch.randn(1, 1, 256, 256, generator=torch.manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(noise, 3, 1, 1) * 0.15
    with pytest.warns(UserWarning, match="correlated"):
        denoise((white + smooth)[0, 0].numpy())


def test_weights_for_louder_noise_are_doubted() -> None:
    with pytest.warns(UserWarning, match="sc-gray-25: was trained for sigma=25, and may do harm"):
        denoise(pixels(1, 48), 2 / 255, "sc-gray-25")


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((32, 32, 4), np.uint8), "transparency"),
        (np.zeros((32, 32, 2), np.uint8), "transparency"),
        (np.zeros((1, 3, 32, 32), np.float32), "not \\(1, 3, 32, 32\\)"),
        (np.zeros((3, 32, 32), np.float32), "not \\(3, 32, 32\\)"),
        (np.zeros((32, 32), bool), "bool"),
        (np.zeros((32, 32), np.int64), "int64"),
        (np.zeros((32, 32), complex), "complex"),
        (np.full((32, 32), np.nan), "NaN"),
        (np.full((32, 32), 128.0), "range"),
        (np.zeros((0, 32), np.uint8), "no pixels"),
        (3, "not \\(\\)"),
        (None, "not \\(\\)"),
    ],
    ids=repr,
)
def test_what_is_no_picture_is_refused_in_words(image: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        denoise(image, 25, "dct")


def test_what_cannot_be_done_is_refused_in_words() -> None:
    image = noisy()
    for sigma in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="sigma must be positive"):
            denoise(image, sigma)
    with pytest.raises(ValueError, match="did you mean 'sc-gray-25'"):
        denoise(image, 25, "sc-grey-25")
    with pytest.raises(ValueError, match="did you mean 'demosaic'"):
        restore(image, "demosaik")
    with pytest.raises(ValueError, match="needs a value: sigma"):
        restore(image, "denoise")
    with pytest.raises(ValueError, match="needs a value: quality"):
        restore(image, "jpeg")
    with pytest.raises(ValueError, match="needs a value: pattern"):
        restore(image[..., 0], "demosaic")
    with pytest.raises(ValueError, match="three colours"):
        restore(image, "demosaic", "RGGB")
    with pytest.raises(ValueError, match="quality lies between"):
        restore(image, "jpeg", 0)
    with pytest.raises(ValueError, match="quality lies between"):
        restore(image, "jpeg", 10.5)
    for task, value in (("sr", "2"), ("denoise", "25"), ("denoise", [25])):
        with pytest.raises(ValueError, match=r"cannot be '2'|positive and finite"):
            restore(image, task, value)
    for black_and_white in ((0, np.inf), (1023, 0), (0, 0), (0, np.nan), (5,)):
        with pytest.raises(ValueError, match="range"):
            restore(image, "blind", None, "dct", value_range=black_and_white)
    with pytest.raises(ValueError, match="sigma must be positive and finite, not -1"):
        denoise(image, -1)
    with pytest.raises(ValueError, match="no pixels"):
        denoise(image[:0], 25)
    with pytest.raises(ValueError, match="too small"):
        denoise(image[:8, :8])


def test_weights_in_a_file_are_read_again_where_the_file_is_another(tmp_path: Path) -> None:
    image, file = noisy(channels=1)[..., 0], tmp_path / "mine.safetensors"
    estimates = []
    for name in ("sc-gray-25", "lista-gray-25"):
        for suffix in (".safetensors", ".json"):
            shutil.copy(ROOT / "data" / "weights" / f"{name}{suffix}", file.with_suffix(suffix))
        estimates.append(denoise(image, 25, str(file)))
        np.testing.assert_array_equal(estimates[-1], denoise(image, 25, name))
    assert (estimates[0] != estimates[1]).any()


@pytest.mark.skipif(find_spec("spams") is None, reason="PyTorch's own dictionaries are repeatable")
def test_in_several_threads_the_same_comes_out() -> None:
    image = noisy(channels=1)[..., 0]
    alone = denoise(image, 25, "dictionary")
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda image: denoise(image, 25, "dictionary"), [image] * 4):
            np.testing.assert_array_equal(found, alone)


def test_doubts_are_told_of_the_line_that_gives_cause() -> None:
    with pytest.warns(UserWarning, match="trained for") as told:
        restore(noisy(channels=1, size=32)[..., 0], "jpeg", 40, "sc-jpeg-10")
    assert {Path(each.filename).name for each in told} == {Path(__file__).name}


def test_whole_numbers_may_be_floats() -> None:
    image = noisy(size=32)
    np.testing.assert_array_equal(
        restore(image, "sr", 2.0, "bicubic"), restore(image, "sr", 2, "bicubic")
    )


def test_the_door_is_there_and_opens_on_demand() -> None:
    assert set(lessons_lib.__all__) == {"denoise", "load_model", "restore"}
    with pytest.raises(AttributeError, match="sharpen"):
        _ = lessons_lib.sharpen
    code = (
        "import sys, lessons_lib; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
