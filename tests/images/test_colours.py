"""Colours that are not gray or RGB yet: inks, a sensor's mosaic, and formats of their own."""

import io
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from lessons_lib.images import ImageError, Mosaic, Photo, read_image, write_image

PATTERNS = {"RGGB": (0, 1, 1, 2), "BGGR": (2, 1, 1, 0), "GRBG": (1, 0, 2, 1), "GBRG": (1, 2, 0, 1)}


def ink_profile() -> bytes:
    """A colour profile of four inks, by a table of the sixteen ways to mix them (ICC.1 §10.10)."""
    white = np.array([100.0, 0.0, 0.0])
    inks = np.array([[-38, -37, -50], [-52, 74, -3], [-11, -5, 93], [-84, 0, 0]], float)
    mixtures = np.array(list(np.ndindex(2, 2, 2, 2)))
    lab = white + mixtures @ inks
    codes = np.stack([lab[:, 0].clip(0, 100) * 2.55, *(lab[:, 1:].clip(-128, 127) + 128).T], 1)
    straight = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    table += struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    table += straight * 4 + np.rint(codes).astype(np.uint8).tobytes() + straight * 3
    point = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    words = b"desc" + bytes(4) + struct.pack(">I", 5) + b"inks\0" + bytes(78)
    rights = b"text" + bytes(4) + b"none\0"
    bodies = {b"desc": words, b"cprt": rights, b"wtpt": point, b"A2B0": table}
    place, index, data = 128 + 4 + 12 * len(bodies), b"", b""
    for name, body in bodies.items():
        index += name + struct.pack(">II", place + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    head = struct.pack(">I", place + len(data)) + bytes(4) + b"\2\x10\0\0prtrCMYKLab "
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(bodies)) + index + data


def printed() -> Image.Image:
    """White, each of the inks, and one over another, in blocks that JPEG keeps apart."""
    colours = np.zeros((2, 4, 4), np.uint8)
    for index in range(4):
        colours[0, index, index] = 255
    colours[1, 1:, :2] = [[255, 0], [128, 0], [255, 255]]
    blocks = np.kron(colours, np.ones((16, 16, 1), np.uint8))
    return Image.frombytes("CMYK", (64, 32), blocks.tobytes())


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_become_colours_by_their_profile(tmp_path: Path, kind: str) -> None:
    profile = ink_profile()
    printed().save(tmp_path / "in", kind, icc_profile=profile)
    photo = read_image(tmp_path / "in")
    assert photo.pixels.shape == (1, 3, 32, 64)
    white, cyan = photo.pixels[0, :, 24, 8], photo.pixels[0, :, 8, 8]
    black, magenta = photo.pixels[0, :, 8, 56], photo.pixels[0, :, 8, 24]
    assert (white > 0.98).all()
    assert cyan[0] < 0.2 < 0.5 < cyan[2]
    assert magenta[0] > 0.6 > 0.3 > magenta[1]
    assert (black < 0.35).all()
    # What the file's numbers alone would say: full cyan is no (0, 1, 1).
    with Image.open(tmp_path / "in") as image:
        plain = np.asarray(image.convert("RGB")) / 255
    assert np.abs(photo.pixels[0].permute(1, 2, 0).numpy() - plain).max() > 0.2
    # The profile is now that of the new colours, and the same each time.
    profile_now = ImageCms.ImageCmsProfile(io.BytesIO(photo.icc_profile))
    assert "sRGB" in ImageCms.getProfileDescription(profile_now)
    assert read_image(tmp_path / "in").icc_profile == photo.icc_profile
    write_image(tmp_path / "out.jpg", photo)
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.mode == "RGB"


@pytest.mark.parametrize("profile", [b"", bytes(16) + b"RGB " + bytes(200), ink_profile()[:400]])
def test_inks_that_nobody_knows(tmp_path: Path, profile: bytes) -> None:
    printed().save(tmp_path / "in.jpg", icc_profile=profile)
    with pytest.raises(ImageError, match="CMYK") as caught:
        read_image(tmp_path / "in.jpg")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("channels", [3, 4])
def test_webp(tmp_path: Path, channels: int) -> None:
    samples = np.random.default_rng(0).integers(0, 255, (23, 31, channels), dtype=np.uint8)
    Image.fromarray(samples).save(tmp_path / "in.webp", lossless=True, exact=True)
    photo = read_image(tmp_path / "in.webp")
    assert (photo.alpha is not None) == (channels == 4)
    write_image(tmp_path / "out.webp", photo)
    with Image.open(tmp_path / "out.webp") as image:
        assert image.format == "WEBP"
        # Also the colours of pixels that cannot be seen.
        assert np.array_equal(np.asarray(image), samples)


def test_webp_of_what_it_has_no_room_for(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="WEBP has no room"):
        write_image(tmp_path / "wide.webp", Photo(torch.zeros(1, 1, 1, 16_384)))
    with pytest.raises(ImageError, match="JPEG has no room"):
        write_image(tmp_path / "wide.jpg", Photo(torch.zeros(1, 1, 1, 65_501)))
    frames = [Image.new("RGB", (20, 20), (level, 0, 0)) for level in (0, 99)]
    frames[0].save(tmp_path / "film.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="animated"):
        read_image(tmp_path / "film.webp")
    assert [path.name for path in tmp_path.iterdir()] == ["film.webp"]


def sensor(path: Path, pattern: str, **tags: Any) -> np.ndarray:
    """A colour filter array in a TIFF; returns its samples."""
    samples = np.random.default_rng(5).integers(300, 4000, (7, 10), dtype=np.uint16)
    extra = [(33421, 3, 2, (2, 2), True), (33422, 1, 4, bytes(PATTERNS[pattern]), True)]
    if "black" in tags:
        black = tags["black"]
        extra += [(50713, 3, 2, (2, 2), True)] if len(black) == 4 else []
        extra += [(50714, 3, len(black), black if len(black) > 1 else black[0], True)]
    if "white" in tags:
        extra += [(50717, 3, 1, tags["white"], True)]
    if "orientation" in tags:
        extra += [(274, 3, 1, tags["orientation"], True)]
    tifffile.imwrite(path, samples, photometric=32803, metadata=None, extratags=extra)
    return samples


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("black", [(), (256,), (256, 260, 264, 268)])
def test_a_mosaic_with_its_levels(tmp_path: Path, pattern: str, black: tuple[int, ...]) -> None:
    levels: dict[str, Any] = {"black": black, "white": 4095} if black else {}
    samples = sensor(tmp_path / "in.tif", pattern, **levels)
    photo = read_image(tmp_path / "in.tif")
    low = np.resize(black or 0, 4).reshape(2, 2)[np.arange(7)[:, None] % 2, np.arange(10) % 2]
    high = 4095 if black else 65535
    expected = ((samples.astype(float) - low) / (high - low)).astype(np.float32)
    assert np.array_equal(photo.pixels[0, 0].numpy(), expected)
    assert photo.mosaic is not None
    assert photo.mosaic.pattern == pattern
    # Restored as it is, it is the same kind of file again.
    write_image(tmp_path / "out.tif", photo)
    assert np.array_equal(tifffile.imread(tmp_path / "out.tif"), samples)
    again = read_image(tmp_path / "out.tif")
    assert again.mosaic == photo.mosaic
    assert torch.equal(again.pixels, photo.pixels)
    # Of a mosaic in colour nothing is left of the sensor, and 1 is white.
    coloured = replace(photo, pixels=torch.ones(1, 3, 7, 10))
    assert replace(coloured, mosaic=None).value_range == (0, 65535)
    for suffix in (".tif", ".png"):
        write_image(tmp_path / f"rgb{suffix}", coloured)
        found = read_image(tmp_path / f"rgb{suffix}")
        assert (found.mosaic, found.bits) == (None, 16)
        assert torch.equal(found.pixels, coloured.pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_filters_turn_with_their_picture(tmp_path: Path, orientation: int) -> None:
    """Each pixel keeps its colour and its black level, by way of Pillow's own turning."""
    levels = (256, 260, 264, 268)
    samples = sensor(tmp_path / "in.tif", "RGGB", black=levels, white=4095, orientation=orientation)
    photo = read_image(tmp_path / "in.tif")
    assert photo.mosaic is not None
    rows, columns = np.indices(samples.shape) % 2
    place = rows * 2 + columns
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    stood = Image.fromarray(place.astype(np.uint8))
    upright = np.asarray(stood.transpose(turn[orientation]) if orientation > 1 else stood)
    colours = "".join("RGGB"[index] for index in upright[:2, :2].ravel())
    assert photo.mosaic.pattern == colours
    assert photo.mosaic.black == tuple(levels[index] for index in upright[:2, :2].ravel())
    assert photo.pixels.shape[-2:] == upright.shape
    write_image(tmp_path / "out.tif", photo)
    assert torch.equal(read_image(tmp_path / "out.tif").pixels, photo.pixels)


def test_a_range_of_ones_own_for_a_mosaic(tmp_path: Path) -> None:
    samples = sensor(tmp_path / "in.tif", "RGGB", black=(256,), white=4095)
    photo = read_image(tmp_path / "in.tif", value_range=(0, 4095))
    assert np.array_equal(photo.pixels[0, 0].numpy(), (samples / 4095).astype(np.float32))
    assert photo.mosaic == Mosaic("RGGB", (0, 0, 0, 0), 4095)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ([(33421, 3, 2, (6, 6), True), (33422, 1, 36, bytes(36), True)], "no Bayer pattern"),
        ([(33421, 3, 2, (2, 2), True), (33422, 1, 4, bytes([0, 1, 2, 1]), True)], "no Bayer"),
        ([(33421, 3, 2, (2, 2), True), (33422, 1, 4, bytes([3, 4, 5, 6]), True)], "no Bayer"),
        ([], "no Bayer pattern"),
    ],
)
def test_mosaics_of_another_kind(tmp_path: Path, tags: list[Any], reason: str) -> None:
    tifffile.imwrite(
        tmp_path / "in.tif", np.zeros((8, 8), np.uint16), photometric=32803, extratags=tags
    )
    with pytest.raises(ImageError, match=reason):
        read_image(tmp_path / "in.tif")


def test_levels_that_are_none(tmp_path: Path) -> None:
    sensor(tmp_path / "in.tif", "RGGB", black=(4095,), white=4095)
    with pytest.raises(ImageError, match="above white"):
        read_image(tmp_path / "in.tif")
    sensor(tmp_path / "in.tif", "RGGB", black=(1, 2, 3), white=4095)
    with pytest.raises(ImageError, match="do not repeat"):
        read_image(tmp_path / "in.tif")


def negative(path: Path, orientation: int = 1) -> np.ndarray:
    """A small DNG; returns its samples."""
    samples = np.random.default_rng(6).integers(500, 4000, (64, 96), dtype=np.uint16)
    matrix = (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1)
    tags: list[Any] = [
        (50706, 1, 4, bytes([1, 4, 0, 0]), True),
        (50707, 1, 4, bytes([1, 1, 0, 0]), True),
        (50708, 2, 0, "ACME One", True),
        (271, 2, 0, "ACME", True),
        (272, 2, 0, "One", True),
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, bytes(PATTERNS["RGGB"]), True),
        (50710, 1, 3, bytes([0, 1, 2]), True),
        (50711, 3, 1, 1, True),
        (50714, 3, 1, 512, True),
        (50717, 3, 1, 4095, True),
        (50721, 10, 9, matrix, True),
        (50728, 5, 3, (1, 1, 1, 1, 1, 1), True),
        (50778, 3, 1, 21, True),
        (274, 3, 1, orientation, True),
    ]
    tifffile.imwrite(path, samples, photometric=32803, metadata=None, extratags=tags)
    return samples


def test_a_raw_file_without_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    negative(tmp_path / "in.dng")
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(ImageError, match=r"pip install 'lessons-lib\[raw\]'") as caught:
        read_image(tmp_path / "in.dng")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("orientation", "pattern"), [(1, "RGGB"), (3, "BGGR"), (6, "GRBG"), (8, "GBRG")]
)
def test_a_raw_file(tmp_path: Path, orientation: int, pattern: str) -> None:
    pytest.importorskip("rawpy")
    samples = negative(tmp_path / "in.dng", orientation)
    photo = read_image(tmp_path / "in.dng")
    upright = np.rot90(samples, {1: 0, 3: 2, 6: -1, 8: 1}[orientation])
    expected = ((upright.astype(float) - 512) / (4095 - 512)).astype(np.float32)
    assert np.array_equal(photo.pixels[0, 0].numpy(), expected)
    assert photo.mosaic == Mosaic(pattern, (512, 512, 512, 512), 4095)
    assert b"ACME" in photo.exif
    write_image(tmp_path / "out.tif", photo)
    assert read_image(tmp_path / "out.tif").mosaic == photo.mosaic
    data = (tmp_path / "in.dng").read_bytes()
    (tmp_path / "cut.dng").write_bytes(data[:4000])
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path / "cut.dng")
