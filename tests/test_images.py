"""Files come back as they were: kind, depth, transparency, colours. Odd files end in one line."""

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps

from lessons_lib import images
from lessons_lib.images import ImageError, Photo, read_image, write_image

SUFFIXES = {
    (1, False, 8): (".png", ".jpg", ".tif", ".bmp"),
    (3, False, 8): (".png", ".jpeg", ".tiff", ".bmp"),
    (1, True, 8): (".png", ".tif"),
    (3, True, 8): (".png", ".tif"),
    (1, False, 16): (".png", ".tif"),
    (3, False, 16): (".png", ".tif"),
    (1, True, 16): (".png", ".tif"),
    (3, True, 16): (".png", ".tif"),
    (1, False, 32): (".tif",),
    (3, True, 32): (".tif",),
}
CASES = [(*key, suffix) for key, suffixes in SUFFIXES.items() for suffix in suffixes]
Order = Literal["<", ">"]
PROFILE = bytes(range(256)) * 3


def random_samples(channels: int, bits: int, shape: tuple[int, int] = (23, 31)) -> np.ndarray:
    rng = np.random.default_rng(channels * bits)
    if bits == 32:
        return rng.random((*shape, channels), dtype=np.float32)
    return rng.integers(0, 2**bits, (*shape, channels), dtype=np.uint8 if bits == 8 else np.uint16)


def to_photo(samples: np.ndarray, bits: int) -> Photo:
    top = 1 if bits == 32 else 2**bits - 1
    planes = torch.from_numpy((samples / top).astype(np.float32)).permute(2, 0, 1)[None]
    channels = 1 if planes.shape[1] <= 2 else 3
    alpha = planes[:, channels:] if planes.shape[1] in (2, 4) else None
    return Photo(planes[:, :channels], alpha, bits)


def to_samples(photo: Photo) -> np.ndarray:
    planes = photo.pixels if photo.alpha is None else torch.cat([photo.pixels, photo.alpha], 1)
    values = planes[0].permute(1, 2, 0).numpy()
    if photo.bits == 32:
        return values
    return np.rint(values * (2**photo.bits - 1)).astype(np.uint16 if photo.bits == 16 else np.uint8)


@pytest.mark.parametrize(("channels", "alpha", "bits", "suffix"), CASES)
def test_round_trip_keeps_every_sample(
    tmp_path: Path, channels: int, alpha: bool, bits: int, suffix: str
) -> None:
    samples = random_samples(channels + alpha, bits)
    path = tmp_path / f"photo{suffix}"
    write_image(path, to_photo(samples, bits))
    photo = read_image(path)
    assert photo.bits == bits
    assert (photo.alpha is not None) == alpha
    assert photo.pixels.shape == (1, channels, 23, 31)
    assert photo.pixels.dtype == torch.float32
    if suffix.startswith(".jp"):
        # Noise is the worst case for JPEG; quality 95 keeps it within about one part in ten.
        assert (photo.pixels - to_photo(samples, bits).pixels).abs().mean() < 0.03
    else:
        assert np.array_equal(to_samples(photo), samples)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_files_written_by_pillow(tmp_path: Path, mode: str, suffix: str) -> None:
    original = Image.fromarray(random_samples(4, 8)).convert("RGBA")
    if mode == "I;16":
        image = Image.fromarray(random_samples(1, 16)[..., 0])
    else:
        image = original.convert(mode)
    path = tmp_path / f"photo{suffix}"
    image.save(path)
    expected = np.asarray(image.convert("L") if mode == "1" else image)
    photo = read_image(path)
    assert photo.bits == (16 if mode == "I;16" else 8)
    assert np.array_equal(to_samples(photo).squeeze(), expected)


def test_palette_becomes_rgb_and_keeps_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(random_samples(1, 8)[..., 0] // 16, "P")
    palette = np.random.default_rng(0).integers(0, 256, (16, 3), dtype=np.uint8)
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "plain.png")
    assert np.array_equal(
        to_samples(read_image(tmp_path / "plain.png")), palette[np.asarray(image)]
    )
    image.save(tmp_path / "clear.png", transparency=5)
    photo = read_image(tmp_path / "clear.png")
    assert np.array_equal(to_samples(photo)[..., 3] == 0, np.asarray(image) == 5)
    write_image(tmp_path / "again.png", photo)
    with Image.open(tmp_path / "again.png") as again:
        assert again.mode == "RGBA"


def png(width: int, height: int, depth: int, colour: int, raw: bytes, *extra: bytes) -> bytes:
    """A PNG put together chunk by chunk, with rows already filtered."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    middle = b"".join(chunk(body[:4], body[4:]) for body in extra)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + middle
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("depth", "colour", "row", "key", "opaque"),
    [
        (8, 0, bytes([1, 2, 3]), struct.pack(">H", 2), [1, 0, 1]),
        (4, 0, bytes([0x12, 0x30]), struct.pack(">H", 2), [1, 0, 1]),
        (2, 0, bytes([0b01101100]), struct.pack(">H", 2), [1, 0, 1]),
        (1, 0, bytes([0b10100000]), struct.pack(">H", 0), [1, 0, 1]),
        (16, 0, struct.pack(">3H", 1, 2, 257), struct.pack(">H", 2), [1, 0, 1]),
        (8, 2, bytes(range(9)), bytes([0, 3, 0, 4, 0, 5]), [1, 0, 1]),
        (16, 2, struct.pack(">9H", *range(9)), struct.pack(">3H", 3, 4, 5), [1, 0, 1]),
    ],
)
def test_one_transparent_colour_becomes_alpha(
    tmp_path: Path, depth: int, colour: int, row: bytes, key: bytes, opaque: list[int]
) -> None:
    path = tmp_path / "key.png"
    path.write_bytes(png(3, 1, depth, colour, b"\0" + row, b"tRNS" + key))
    photo = read_image(path)
    assert photo.alpha is not None
    assert photo.alpha.flatten().tolist() == opaque


def test_sixteen_bit_png_decoded_by_hand(tmp_path: Path) -> None:
    samples = random_samples(3, 16)
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    (tmp_path / "hand.png").write_bytes(png(31, 23, 16, 2, raw))
    assert np.array_equal(to_samples(read_image(tmp_path / "hand.png")), samples)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_sixteen_bit_tiff_of_every_layout(
    tmp_path: Path, order: Order, compression: str | None, planar: str
) -> None:
    samples = random_samples(3, 16)
    stored = samples if planar == "contig" else np.moveaxis(samples, -1, 0)
    path = tmp_path / "wide.tif"
    tifffile.imwrite(
        path,
        stored,
        byteorder=order,
        photometric="rgb",
        planarconfig=planar,
        compression=compression,
    )
    assert np.array_equal(to_samples(read_image(path)), samples)


def lzw(data: bytes) -> bytes:
    """The plainest LZW there is: every byte a literal, the table cleared before it grows."""
    codes = [256]
    for index, byte in enumerate(data):
        codes.append(byte)
        if index % 200 == 199:
            codes.append(256)
    codes.append(257)
    bits = "".join(f"{code:09b}" for code in codes)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("channels", "order"), [(1, "<"), (3, "<"), (3, ">"), (4, "<")])
def test_lzw_tiff(tmp_path: Path, channels: int, order: Order, orientation: int) -> None:
    samples = random_samples(channels, 16)
    stored = samples if channels > 1 else samples[..., 0]
    path = tmp_path / "lzw.tif"
    with tifffile.TiffWriter(path, byteorder=order) as writer:
        writer.write(
            iter([lzw(stored.astype(f"{order}u2").tobytes())]),
            shape=stored.shape,
            dtype=f"{order}u2",
            photometric="rgb" if channels > 1 else "minisblack",
            extrasamples=["unassalpha"] if channels == 4 else None,
            # tifffile would want a codec for LZW even though the strip is encoded already.
            compression="zlib",
            rowsperstrip=23,
            metadata=None,
            extratags=[(274, 3, 1, orientation, True)],
        )
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["Compression"].overwrite(5)
    upright = np.rot90(samples, -1) if orientation == 6 else samples
    assert np.array_equal(to_samples(read_image(path)), upright)


def test_inverted_gray_tiff(tmp_path: Path) -> None:
    samples = random_samples(1, 16)
    path = tmp_path / "white.tif"
    tifffile.imwrite(path, 65535 - samples[..., 0], photometric="miniswhite")
    assert np.array_equal(to_samples(read_image(path)), samples)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "jpg", "tif"])
def test_orientation_is_applied_and_not_kept(tmp_path: Path, orientation: int, kind: str) -> None:
    image = Image.fromarray(np.kron(random_samples(3, 8, (3, 4)), np.ones((16, 16, 1), np.uint8)))
    exif = Image.Exif()
    exif[274] = orientation
    exif[271] = "Maker"
    path = tmp_path / f"turned.{kind}"
    image.save(path, exif=exif)
    with Image.open(path) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored))
    photo = read_image(path)
    assert np.array_equal(to_samples(photo), expected)
    write_image(path, photo)
    with Image.open(path) as again:
        assert again.getexif().get(274, 1) == 1
        if kind != "tif":
            assert again.getexif()[271] == "Maker"
        assert again.size == expected.shape[1::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_wide_files(tmp_path: Path, orientation: int) -> None:
    narrow, samples = random_samples(3, 8), random_samples(3, 16)
    exif = Image.Exif()
    exif[274] = orientation
    # The turn is read off an 8-bit image whose pixels are their own positions.
    position = np.arange(23 * 31, dtype=np.int32).reshape(23, 31)
    image = Image.fromarray(position)
    image.getexif()[274] = orientation
    turned = np.asarray(ImageOps.exif_transpose(image))
    expected = samples.reshape(-1, 3)[turned]
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    (tmp_path / "wide.png").write_bytes(png(31, 23, 16, 2, raw, b"eXIf" + block))
    tifffile.imwrite(
        tmp_path / "wide.tif",
        samples,
        photometric="rgb",
        extratags=[(274, 3, 1, orientation, True)],
    )
    assert narrow.shape == samples.shape
    for name in ("wide.png", "wide.tif"):
        assert np.array_equal(to_samples(read_image(tmp_path / name)), expected)


@pytest.mark.parametrize(
    ("bits", "suffix"), [(8, s) for s in (".png", ".jpg", ".tif")] + [(16, ".png"), (16, ".tif")]
)
def test_profile_resolution_and_exif_survive(tmp_path: Path, bits: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[271] = "Maker"
    photo = to_photo(random_samples(3, bits), bits)
    photo = Photo(photo.pixels, None, bits, exif.tobytes(), PROFILE, (300.0, 150.0))
    path = tmp_path / f"photo{suffix}"
    write_image(path, photo)
    again = read_image(path)
    assert again.icc_profile == PROFILE
    assert again.dpi == pytest.approx((300, 150), rel=1e-3)
    if suffix != ".tif":
        with Image.open(path) as image:
            assert image.getexif()[271] == "Maker"


def test_wide_png_is_also_right_for_other_readers(tmp_path: Path) -> None:
    samples = random_samples(4, 16)
    write_image(tmp_path / "wide.png", to_photo(samples, 16))
    with Image.open(tmp_path / "wide.png") as image:
        image.verify()
    with Image.open(tmp_path / "wide.png") as image:
        assert np.array_equal(np.asarray(image), samples >> 8)


def test_out_of_range_pixels_are_clipped(tmp_path: Path) -> None:
    pixels = torch.tensor([-0.5, 0.5, 1.5]).reshape(1, 1, 1, 3)
    write_image(tmp_path / "clip.png", Photo(pixels))
    assert to_samples(read_image(tmp_path / "clip.png")).flatten().tolist() == [0, 128, 255]
    write_image(tmp_path / "keep.tif", Photo(pixels, bits=32))
    assert torch.equal(read_image(tmp_path / "keep.tif").pixels, pixels)


def encoded(kind: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    smooth = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    Image.fromarray(smooth).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def refuse(path: Path, reason: str | None = None) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.98])
def test_truncated_file(tmp_path: Path, kind: str, share: float) -> None:
    data = encoded(kind)
    path = tmp_path / "cut"
    path.write_bytes(data[: max(1, int(len(data) * share))])
    refuse(path)


def test_truncated_wide_files(tmp_path: Path) -> None:
    for suffix in (".png", ".tif"):
        path = tmp_path / f"wide{suffix}"
        write_image(path, to_photo(random_samples(3, 16), 16))
        path.write_bytes(path.read_bytes()[:-2000])
        refuse(path, "cannot be read")
    tifffile.imwrite(tmp_path / "plain.tif", random_samples(3, 16), photometric="rgb")
    data = (tmp_path / "plain.tif").read_bytes()
    (tmp_path / "plain.tif").write_bytes(data[:-500])
    refuse(tmp_path / "plain.tif", "cannot be read")


def test_files_that_are_no_images(tmp_path: Path) -> None:
    refuse(tmp_path / "absent.png", "no such file")
    refuse(tmp_path, "is a folder")
    (tmp_path / "empty.png").touch()
    refuse(tmp_path / "empty.png", "is empty")
    (tmp_path / "text.png").write_text("<html>404</html>")
    refuse(tmp_path / "text.png", "not a PNG, JPEG, TIFF, WebP or BMP")
    (tmp_path / "gif.png").write_bytes(encoded("GIF", "L"))
    refuse(tmp_path / "gif.png", "not a PNG, JPEG, TIFF, WebP or BMP")
    refuse(tmp_path / ("x" * 300 + ".png"))


def test_pictures_outside_the_scope(tmp_path: Path) -> None:
    path = tmp_path / "photo"
    for kind in ("JPEG", "TIFF"):
        path.write_bytes(encoded(kind, "CMYK"))
        refuse(path, "CMYK")
    first, second = Image.new("L", (20, 20)), Image.new("L", (20, 20), 9)
    first.save(path, "PNG", save_all=True, append_images=[second])
    refuse(path, "animated")
    first.save(path, "TIFF", save_all=True, append_images=[second])
    refuse(path, "2 pictures")
    for values in (np.zeros((9, 9), np.complex64), np.zeros((9, 9), np.uint64)):
        tifffile.imwrite(path, values)
        refuse(path, "unsupported kind")
    tifffile.imwrite(path, np.zeros((5, 9, 9), np.uint16), metadata=None, volumetric=True)
    refuse(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers(tmp_path: Path, bad: float) -> None:
    values = np.full((9, 9, 3), 0.5, np.float32)
    values[4, 4, 1] = bad
    tifffile.imwrite(tmp_path / "bad.tif", values, photometric="rgb")
    refuse(tmp_path / "bad.tif", "NaN or infinite")


def test_floats_on_another_scale(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "bytes.tif", np.full((9, 9), 200, np.float32))
    refuse(tmp_path / "bytes.tif", "scale them to")


def test_decompression_bombs(tmp_path: Path) -> None:
    side = 60_000
    row = zlib.compress(bytes(1000))
    (tmp_path / "bomb.png").write_bytes(png(side, side, 8, 0, row))
    refuse(tmp_path / "bomb.png", "million pixels")
    # A TIFF whose header claims the size, with next to no data behind it.
    tifffile.imwrite(tmp_path / "bomb.tif", np.zeros((8, 8), np.uint16), metadata=None)
    with tifffile.TiffFile(tmp_path / "bomb.tif", mode="r+") as tiff:
        for name in ("ImageWidth", "ImageLength"):
            tiff.pages.first.tags[name].overwrite(side)
    refuse(tmp_path / "bomb.tif", "million pixels")


def test_a_hundred_megapixels_pass_the_check(tmp_path: Path) -> None:
    # More than Pillow's own warning level, less than ours. Truncated, so that nothing is decoded.
    (tmp_path / "large.png").write_bytes(png(11_000, 9_000, 8, 0, bytes(1000)))
    refuse(tmp_path / "large.png", "cannot be read")
    assert images.MAX_PIXELS > 11_000 * 9_000


def test_tiff_libraries_add_nothing_to_the_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for bits in (8, 16):
        path = tmp_path / "damaged.tif"
        write_image(path, to_photo(random_samples(3, bits), bits))
        data = bytearray(path.read_bytes())
        middle = data.index(zlib.compress(b"")[:1], 8) + 500
        data[middle : middle + 40] = bytes(40)
        path.write_bytes(data)
        refuse(path, "cannot be read")
    assert capfd.readouterr().err == ""
    os.write(2, b"stderr is back")
    assert capfd.readouterr().err == "stderr is back"


def test_tiff_with_missing_strips(tmp_path: Path) -> None:
    path = tmp_path / "strips.tif"
    tifffile.imwrite(path, random_samples(3, 16), photometric="rgb", rowsperstrip=4)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        counts = tiff.pages.first.tags["StripByteCounts"]
        counts.overwrite((*counts.value[:-1], 0))
    refuse(path, "missing")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_damaged_bytes_never_escape_as_another_error(tmp_path: Path, kind: str) -> None:
    data = encoded(kind)
    rng = np.random.default_rng(3)
    path = tmp_path / "damaged"
    for _ in range(60):
        damaged = bytearray(data)
        for position in rng.integers(0, min(len(data), 200), 4):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(ImageError):
            assert torch.isfinite(read_image(path).pixels).all()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    photo = to_photo(random_samples(4, 8), 8)
    for name, reason in {
        "photo.gif": "suffix '.gif'",
        "photo": "suffix ''",
        "photo.jpg": "lose the transparency",
        "photo.bmp": "lose the transparency",
        "absent/photo.png": "no folder",
    }.items():
        with pytest.raises(ImageError, match=reason):
            write_image(tmp_path / name, photo)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match="is a folder"):
        write_image(tmp_path / "folder.png", photo)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_a_failed_write_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ImageError, match="No space left"):
        write_image(path, to_photo(random_samples(3, 8), 8))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_image(tmp_path / "photo.png", to_photo(random_samples(3, 8), 8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_written_through_a_link_and_with_the_old_permissions(tmp_path: Path) -> None:
    target = tmp_path / "target.png"
    write_image(target, to_photo(random_samples(1, 8), 8))
    target.chmod(0o640)
    link = tmp_path / "link.png"
    link.symlink_to(target)
    write_image(link, to_photo(random_samples(3, 8), 8))
    assert link.is_symlink()
    assert read_image(target).pixels.shape[1] == 3
    assert target.stat().st_mode & 0o777 == 0o640
