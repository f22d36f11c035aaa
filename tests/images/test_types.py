"""Samples of every type become pixels and come back; a range says what is black and white."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lessons_lib.images import ImageError, Photo, read_image, write_image
from lessons_lib.images.photo import FULL_RANGE
from lessons_lib.images.samples import to_photo, to_samples

EXACT = ["uint8", "int8", "uint16", "int16", "float16", "float32"]


def some(kind: str, shape: tuple[int, ...] = (19, 23)) -> np.ndarray:
    rng = np.random.default_rng(len(kind))
    if kind.startswith("float"):
        return rng.uniform(-0.2, 1.2, shape).astype(kind)
    bounds = np.iinfo(kind)
    return rng.integers(bounds.min, bounds.max, shape, dtype=kind, endpoint=True)


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tiff_keeps_type_and_every_sample(tmp_path: Path, kind: str, channels: int) -> None:
    samples = some(kind, (19, 23, channels))
    if channels in (2, 4):
        # Transparency has no values below none.
        samples[..., -1] = np.abs(samples[..., -1].astype(float)).clip(0, FULL_RANGE[kind][1])
    tifffile.imwrite(
        tmp_path / "in.tif",
        samples.squeeze(),
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
    )
    photo = read_image(tmp_path / "in.tif")
    assert photo.sample_type == kind
    assert photo.value_range == FULL_RANGE[kind]
    write_image(tmp_path / "out.tif", photo)
    written = tifffile.imread(tmp_path / "out.tif")
    assert written.dtype == kind
    assert np.array_equal(written, samples.squeeze())


@pytest.mark.parametrize("kind", ["uint32", "int32", "float64"])
def test_long_samples_keep_24_significant_bits(tmp_path: Path, kind: str) -> None:
    samples = some(kind)
    samples[0, :3] = [0, 1, 2]
    samples[1, 0] = 2**23 if kind != "float64" else 0.5
    tifffile.imwrite(tmp_path / "in.tif", samples)
    photo = read_image(tmp_path / "in.tif")
    assert photo.sample_type == kind
    write_image(tmp_path / "out.tif", photo)
    written = tifffile.imread(tmp_path / "out.tif")
    assert written.dtype == kind
    wide = samples.astype(float)
    assert (np.abs(written - wide) <= np.abs(wide) * 2.0**-24).all()
    short = np.abs(wide) < 2**23
    if kind != "float64":
        assert np.array_equal(written[short], samples[short])


def test_the_range_of_a_type(tmp_path: Path) -> None:
    for kind, (low, high) in FULL_RANGE.items():
        tifffile.imwrite(tmp_path / "in.tif", np.array([[low, high]] * 2).astype(kind))
        assert read_image(tmp_path / "in.tif").pixels[0, 0].tolist() == [[0, 1]] * 2


def test_twelve_bits_in_sixteen(tmp_path: Path) -> None:
    samples = np.array([[0, 4095], [1365, 5000]], np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", samples)
    photo = read_image(tmp_path / "in.tif", value_range=(0, 4095))
    assert photo.value_range == (0, 4095)
    expected = samples.astype(np.float32) / np.float32(4095)
    assert np.array_equal(photo.pixels[0, 0].numpy(), expected)
    for suffix in (".tif", ".png"):
        write_image(tmp_path / f"out{suffix}", photo)
        again = read_image(tmp_path / f"out{suffix}", value_range=(0, 4095))
        assert torch.equal(again.pixels, photo.pixels)
    write_image(tmp_path / "seen.bmp", photo)
    assert np.asarray(Image.open(tmp_path / "seen.bmp")).tolist() == [[0, 255], [85, 255]]


def test_twelve_bits_packed_without_gaps(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((2, 3), np.uint8), metadata=None)
    # Two rows of 0xfff, 0x800, 0x000, and four bits up to the next byte.
    row = bytes.fromhex("fff800000f")
    data = (tmp_path / "in.tif").read_bytes()
    (tmp_path / "in.tif").write_bytes(data + row + row)
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+") as tiff:
        for name, value in [
            ("BitsPerSample", 12),
            ("StripOffsets", len(data)),
            ("StripByteCounts", 10),
        ]:
            tiff.pages.first.tags[name].overwrite(value)
    photo = read_image(tmp_path / "in.tif")
    assert photo.pixels[0, 0, 1].tolist() == pytest.approx([1, 0x800 / 0xFFF, 0])
    assert photo.value_range == (0, 65535)


def test_floats_on_another_scale_come_back(tmp_path: Path) -> None:
    samples = np.linspace(-1000, 3000, 6, dtype=np.float32).reshape(2, 3)
    tifffile.imwrite(tmp_path / "ct.tif", samples)
    with pytest.raises(ImageError, match="-1000 to 3000"):
        read_image(tmp_path / "ct.tif")
    photo = read_image(tmp_path / "ct.tif", value_range=(-1000, 3000))
    assert photo.pixels[0, 0].flatten().tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    write_image(tmp_path / "out.tif", photo)
    assert tifffile.imread(tmp_path / "out.tif") == pytest.approx(samples, rel=1e-6)
    write_image(tmp_path / "out.png", photo)
    assert np.asarray(Image.open(tmp_path / "out.png")).flatten().tolist()[::5] == [0, 65535]


@pytest.mark.parametrize("bad", [(1.0, 1.0), (5.0, 3.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_ranges_that_are_none(tmp_path: Path, bad: tuple[float, float]) -> None:
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((4, 4), np.float32))
    with pytest.raises(ImageError, match="no range"):
        read_image(tmp_path / "in.tif", value_range=bad)


def test_white_is_zero(tmp_path: Path) -> None:
    for kind in ("uint8", "uint16", "int16", "float32"):
        samples = some(kind).clip(0)
        tifffile.imwrite(tmp_path / "in.tif", samples, photometric="miniswhite")
        photo = read_image(tmp_path / "in.tif")
        low, high = (-1, 0) if kind == "int16" else FULL_RANGE[kind]
        expected = (low + high - samples.astype(float)) / FULL_RANGE[kind][1]
        assert photo.pixels[0, 0].numpy() == pytest.approx(expected, abs=1e-6)
    tifffile.imwrite(
        tmp_path / "in.tif", np.array([[0, 1023]] * 2, np.uint16), photometric="miniswhite"
    )
    photo = read_image(tmp_path / "in.tif", value_range=(0, 1023))
    assert photo.pixels[0, 0, 0].tolist() == [1, 0]


def test_a_photograph_is_of_a_type_that_exists() -> None:
    pixels = torch.zeros(1, 1, 2, 2)
    assert Photo(pixels).sample_type == "uint8"
    assert Photo(pixels, bits=32).sample_type == "float32"
    assert Photo(pixels, bits=16, sample_type="int16").value_range == (0, 32767)
    for wrong in ({"bits": 12}, {"bits": 16, "sample_type": "int8"}, {"sample_type": "uint16"}):
        with pytest.raises(ValueError, match="bits"):
            Photo(pixels, **wrong)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["uint8", "int8", "uint16", "int16"]),
    low=st.integers(-40_000, 70_000),
    width=st.integers(1, 100_000),
    seed=st.integers(0, 100),
)
def test_any_range_gives_short_integers_back(kind: str, low: int, width: int, seed: int) -> None:
    bounds = np.iinfo(kind)
    rng = np.random.default_rng(seed)
    samples = rng.integers(bounds.min, bounds.max, (5, 7, 3), dtype=kind, endpoint=True)
    photo = to_photo("memory", samples, value_range=(low, low + width))
    assert np.array_equal(to_samples(photo, kind, photo.range), samples)
    # The same by hand, in double precision.
    expected = (samples.astype(float) - low) / width
    assert np.array_equal(photo.pixels[0].permute(1, 2, 0).numpy(), expected.astype(np.float32))


def test_what_is_brighter_than_white_is_kept_where_it_can_be(tmp_path: Path) -> None:
    photo = Photo(torch.tensor([-0.5, 0.5, 1.5]).reshape(1, 1, 1, 3), bits=16, value_range=(0, 999))
    write_image(tmp_path / "a.tif", photo)
    assert tifffile.imread(tmp_path / "a.tif").tolist() == [[0, 500, 1498]]
    write_image(tmp_path / "a.tif", replace(photo, sample_type="int16"))
    assert tifffile.imread(tmp_path / "a.tif").tolist() == [[-500, 500, 1498]]


def test_ten_bits_in_sixteen_are_doubted(tmp_path: Path) -> None:
    """Whoever forgets their range gets a word, and no photograph that fills its type does."""
    for brightest, likely in ((1023, 1023), (4000, 4095), (5000, None), (65535, None), (0, None)):
        samples = np.linspace(0, brightest, 64).reshape(8, 8).astype(np.uint16)
        tifffile.imwrite(tmp_path / "in.tif", samples)
        notes = read_image(tmp_path / "in.tif").notes
        assert len(notes) == (likely is not None)
        if likely is not None:
            assert f"brightest sample is {brightest}" in notes[0]
            assert f"--range 0 {likely}" in notes[0]
            assert not read_image(tmp_path / "in.tif", value_range=(0, likely)).notes
    write_image(tmp_path / "dark.png", Photo(torch.full((1, 1, 4, 4), 0.01)))
    assert not read_image(tmp_path / "dark.png").notes
