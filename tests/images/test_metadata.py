"""What a file says of its picture is kept; what only held for the old pixels is not."""

import io
import re
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from lessons_lib.images import Photo, exif, left_out, open_images, read_image, write_image
from lessons_lib.images.directories import Directory, Entry, long, short

MAKER, SOFTWARE, DATE, ARTIST, COPYRIGHT = 271, 305, 306, 315, 33432
EXPOSURE, NOTE, PIXEL_WIDTH, PIXEL_HEIGHT = 33434, 37500, 40962, 40963
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description dc:rights="(c) Jane"'
    b' tiff:Orientation="6" tiff:ImageWidth="640"/>'
    b"<exif:PixelXDimension>640</exif:PixelXDimension><tiff:Orientation>8</tiff:Orientation>"
    b"<xmp:Thumbnails>old pixels</xmp:Thumbnails></x:xmpmeta>"
)
KEPT_XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description dc:rights="(c) Jane"'
    b' tiff:Orientation="1"/><tiff:Orientation>1</tiff:Orientation></x:xmpmeta>'
)


def camera(orientation: int = 1) -> bytes:
    """An EXIF block as cameras write it."""
    tags = Image.Exif()
    tags[MAKER], tags[ARTIST], tags[COPYRIGHT], tags[274] = "ACME", "Jane", "(c) Jane", orientation
    tags[282], tags[283], tags[296] = 240.0, 240.0, 2
    below = tags.get_ifd(0x8769)
    below[EXPOSURE], below[PIXEL_WIDTH], below[PIXEL_HEIGHT] = 0.01, 31, 23
    below[0xA005] = {1: "R98"}
    tags.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 30.0)})
    return tags.tobytes()


def image(shape: tuple[int, ...] = (23, 31, 3)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8))


def told(path: Path) -> dict[str, Any]:
    """What Pillow reads of camera, exposure and place."""
    with Image.open(path) as picture:
        tags = picture.getexif()
        below, place = tags.get_ifd(0x8769), tags.get_ifd(0x8825)
        return {
            "maker": tags.get(MAKER),
            "artist": tags.get(ARTIST),
            "copyright": tags.get(COPYRIGHT),
            "exposure": below.get(EXPOSURE),
            "size": (below.get(PIXEL_WIDTH), below.get(PIXEL_HEIGHT)),
            "interoperability": tags.get_ifd(0xA005).get(1) or below.get(0xA005, {}).get(1),
            "place": (place.get(1), place.get(2)),
            "orientation": tags.get(274, 1),
        }


@pytest.mark.parametrize("source", ["jpg", "png", "webp"])
@pytest.mark.parametrize("target", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("bits", [8, 16])
def test_what_a_camera_says(tmp_path: Path, source: str, target: str, bits: int) -> None:
    image().save(tmp_path / f"in.{source}", exif=camera(6))
    photo = read_image(tmp_path / f"in.{source}")
    assert photo.notes == ()
    if bits == 16:
        photo = replace(photo, bits=16, sample_type="", value_range=None)
    write_image(tmp_path / f"out.{target}", photo)
    expected = told(tmp_path / f"in.{source}")
    assert expected["exposure"] == pytest.approx(0.01)
    assert expected["place"] == ("N", (48, 8, 30))
    # The picture stands upright now, and says its new size.
    expected |= {"orientation": 1, "size": (23, 31)}
    assert told(tmp_path / f"out.{target}") == expected
    again = read_image(tmp_path / f"out.{target}")
    assert again.dpi == pytest.approx((240, 240), rel=1e-3)
    lost = ("16 bits a sample (8 are kept)",) if bits == 16 and target in ("jpg", "webp") else ()
    assert left_out(tmp_path / f"out.{target}", photo) == lost
    # From a TIFF to the others, too.
    write_image(tmp_path / "last.jpg", again)
    assert told(tmp_path / "last.jpg") == expected


def test_a_thumbnail_of_the_old_pixels_is_left_out(tmp_path: Path) -> None:
    small = io.BytesIO()
    image((8, 8)).save(small, "JPEG")
    tags = Image.Exif()
    tags[MAKER] = "ACME"
    block = bytearray(tags.tobytes())
    # A second directory behind the first: where the small picture stands, and how long it is.
    start = len(block) - 6
    link = 6 + 8 + 2 + 12
    block[link : link + 4] = struct.pack(">I" if block[6:8] == b"MM" else "<I", start)
    order = ">" if block[6:8] == b"MM" else "<"
    pixels = start + 2 + 24 + 4
    block += struct.pack(f"{order}H", 2)
    block += struct.pack(f"{order}HHII", 513, 4, 1, pixels)
    block += struct.pack(f"{order}HHII", 514, 4, 1, len(small.getvalue()))
    block += bytes(4) + small.getvalue()
    image().save(tmp_path / "in.jpg", exif=bytes(block))
    with Image.open(tmp_path / "in.jpg") as picture:
        assert picture.getexif().get_ifd(ExifTags.IFD.IFD1)[514] == len(small.getvalue())
    write_image(tmp_path / "out.jpg", read_image(tmp_path / "in.jpg"))
    with Image.open(tmp_path / "out.jpg") as picture:
        assert picture.getexif()[MAKER] == "ACME"
        assert not picture.getexif().get_ifd(ExifTags.IFD.IFD1)
    assert small.getvalue() not in (tmp_path / "out.jpg").read_bytes()


@pytest.mark.parametrize("order", ["<", ">"])
def test_what_the_maker_noted_stays_where_it_was(order: str) -> None:
    """Its own tags point to places in the block, which nobody but the maker knows."""
    note = Entry(7, bytes(range(200)), place=600)
    below = Directory({EXPOSURE: Entry(5, struct.pack("<II", 1, 100)), NOTE: note})
    below.entries[37510] = Entry(7, b"comment" * 100)
    tags = Directory({MAKER: Entry(2, b"ACME Cameras\0")}, {exif.EXIF: below})
    block = exif.block(tags, order)
    assert block[6 + 600 : 6 + 800] == note.data
    again = exif.parse(block)
    assert again.order == order
    assert again.tags == tags
    assert again.tags.children[exif.EXIF].entries[NOTE].place == 600
    # In a TIFF it cannot stay.
    assert NOTE not in exif.without_maker_note(tags).children[exif.EXIF].entries
    far = Directory({}, {exif.EXIF: Directory({NOTE: Entry(7, note.data, place=10**6)})})
    assert exif.block(far) == b""


def test_broken_camera_data_are_left_out_and_said(tmp_path: Path) -> None:
    good = camera()
    image().save(tmp_path / "in.png", exif=good)
    data = (tmp_path / "in.png").read_bytes()
    for broken in (good[:60], b"Exif\0\0nonsense", good[:10] + b"\xff\xff" + good[12:], b"II*\0"):
        block = broken.removeprefix(b"Exif\0\0")
        chunk = struct.pack(">I", len(block)) + b"eXIf" + block
        chunk += struct.pack(">I", zlib.crc32(b"eXIf" + block))
        start = data.index(b"eXIf") - 4
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        (tmp_path / "in.png").write_bytes(data[:start] + chunk + data[end:])
        photo = read_image(tmp_path / "in.png")
        assert photo.notes == ("damaged camera data (EXIF) are left out",)
        for suffix in (".png", ".jpg", ".tif", ".webp"):
            write_image(tmp_path / f"out{suffix}", photo)
            assert read_image(tmp_path / f"out{suffix}").notes == ()
    # Given by a program, not by a file.
    write_image(tmp_path / "out.png", Photo(photo.pixels, exif=b"nonsense"))
    assert left_out(tmp_path / "out.png", Photo(photo.pixels, exif=b"nonsense"))
    with Image.open(tmp_path / "out.png") as picture:
        assert "exif" not in picture.info


BLOCK = camera(3)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(6, len(BLOCK) - 1), st.integers(0, 255)), max_size=6))
def test_any_block_becomes_one_that_can_be_read(changes: list[tuple[int, int]]) -> None:
    block = bytearray(BLOCK)
    for place, value in changes:
        block[place] = value
    first = exif.parse(bytes(block))
    again = exif.parse(exif.block(first.tags, first.order))
    assert again.tags == first.tags or not first.tags
    assert not again.damaged
    assert exif.block(again.tags, again.order) == exif.block(first.tags, first.order)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_xmp_without_what_is_no_longer_so(tmp_path: Path, suffix: str) -> None:
    if suffix == ".tif":
        tifffile.imwrite(
            tmp_path / "in.tif", np.asarray(image()), extratags=[(700, 1, len(XMP), XMP, True)]
        )
    elif suffix == ".png":
        write_image(tmp_path / "in.png", Photo(torch.rand(1, 3, 9, 9), xmp=XMP))
    else:
        image().save(tmp_path / f"in{suffix}", xmp=XMP)
    photo = read_image(tmp_path / f"in{suffix}")
    assert photo.xmp == KEPT_XMP
    for target in (".jpg", ".png", ".tif", ".webp"):
        write_image(tmp_path / f"out{target}", photo)
        with Image.open(tmp_path / f"out{target}") as picture:
            found = picture.info.get("xmp")
        assert found == KEPT_XMP


def test_pictures_behind_the_first_one(tmp_path: Path) -> None:
    """A phone adds others to its JPEG files: of both eyes, or how bright a screen may show it."""
    image().save(tmp_path / "in.jpg", "MPO", save_all=True, append_images=[image((9, 9, 3))])
    photo = read_image(tmp_path / "in.jpg")
    assert photo.pixels.shape == (1, 3, 23, 31)
    assert photo.notes == ("further pictures in the same file are left out",)


def test_a_comment(tmp_path: Path) -> None:
    image().save(tmp_path / "in.jpg", comment=b"at noon")
    photo = read_image(tmp_path / "in.jpg")
    write_image(tmp_path / "out.jpg", photo)
    with Image.open(tmp_path / "out.jpg") as picture:
        assert picture.info["comment"] == b"at noon"
    assert left_out(tmp_path / "out.png", photo) == ("the comment",)


@pytest.mark.parametrize("bits", [8, 16])
def test_what_the_colours_of_a_png_mean(tmp_path: Path, bits: int) -> None:
    chunks = (
        (b"gAMA", struct.pack(">I", 100_000)),
        (b"cHRM", struct.pack(">8I", *range(8))),
        (b"cICP", bytes([9, 16, 0, 1])),
        (b"tEXt", b"Title\0Lake"),
        (b"iTXt", b"Author\0\0\0\0\0" + "Jäne".encode()),
        (b"zTXt", b"Source\0\0" + zlib.compress(b"a camera")),
    )
    written = Photo(torch.rand(1, 3, 9, 9), bits=bits, chunks=chunks, icc_profile=bytes(300))
    write_image(tmp_path / "in.png", replace(written, dpi=(300.0, 300.0)))
    data = (tmp_path / "in.png").read_bytes()
    # Bits that count, a time and a place for the background are no longer so.
    extra = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in [(b"sBIT", b"\5\5\5"), (b"tIME", bytes(7))]
    )
    (tmp_path / "in.png").write_bytes(data[:33] + extra + data[33:])
    photo = read_image(tmp_path / "in.png")
    assert photo.chunks == chunks
    write_image(tmp_path / "out.png", photo)
    with Image.open(tmp_path / "out.png") as picture:
        picture.load()
        assert picture.info["gamma"] == 1
        assert picture.info["Title"] == "Lake"
        assert picture.info["Author"] == "Jäne"
        assert picture.info["Source"] == "a camera"
        assert picture.info["icc_profile"] == bytes(300)
        assert picture.info["dpi"] == pytest.approx((300, 300), rel=1e-3)
    names = re.findall(rb"gAMA|cHRM|cICP|sBIT|tIME|IDAT", (tmp_path / "out.png").read_bytes())
    assert names == [b"gAMA", b"cHRM", b"cICP", b"IDAT"]
    depth = ("16 bits a sample (8 are kept)",) if bits == 16 else ()
    lost = (*depth, "gamma, colour space or texts of PNG")
    assert left_out(tmp_path / "out.jpg", photo) == lost


def test_a_shape_of_pixels_is_kept(tmp_path: Path) -> None:
    shape = ((b"pHYs", struct.pack(">IIB", 2, 1, 0)),)
    write_image(tmp_path / "in.png", Photo(torch.rand(1, 1, 9, 9), chunks=shape))
    photo = read_image(tmp_path / "in.png")
    assert (photo.chunks, photo.dpi) == (shape, None)


def test_what_a_tiff_says(tmp_path: Path) -> None:
    words = {
        270: "A lake",
        MAKER: "ACME",
        272: "One",
        SOFTWARE: "Studio",
        DATE: "2024:01:01 10:00:00",
        ARTIST: "Jane",
        COPYRIGHT: "(c) Jane",
    }
    places = (0.0, 0.0, 0.0, 10.0, 20.0, 0.0)
    tifffile.imwrite(
        tmp_path / "in.tif",
        np.random.default_rng(0).integers(0, 65535, (9, 9, 3), dtype=np.uint16),
        photometric="rgb",
        metadata=None,
        software=False,
        resolution=(100, 50),
        resolutionunit="centimeter",
        extratags=[(code, 2, 0, text, True) for code, text in words.items()]
        + [(33922, 12, 6, places, True), (34377, 1, 4, b"8BIM", True)],
    )
    photo = read_image(tmp_path / "in.tif")
    assert photo.dpi == pytest.approx((254, 127))
    write_image(tmp_path / "out.tif", photo)
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        tags = tiff.pages.first.tags
        assert {code: tags[code].value for code in words} == words
        assert tags[33922].value == places
        assert tiff.pages.first.get_resolution("inch") == pytest.approx((254, 127))
        assert 34377 not in tags
    for suffix in (".png", ".jpg", ".webp"):
        write_image(tmp_path / f"out{suffix}", photo)
        with Image.open(tmp_path / f"out{suffix}") as picture:
            found = picture.getexif()
        assert {code: found[code] for code in words} == words
    assert left_out(tmp_path / "out.png", photo)[0].startswith("tags of TIFF")


def test_the_size_of_a_pixel_in_imagej(tmp_path: Path) -> None:
    samples = np.arange(80, dtype=np.uint16).reshape(8, 10)
    options: dict[str, Any] = {"resolution": (10, 10), "metadata": {"unit": "um"}}
    tifffile.imwrite(tmp_path / "in.tif", samples, imagej=True, **options)
    photo = read_image(tmp_path / "in.tif")
    assert photo.dpi is None, "ten pixels a micrometre are no dots per inch"
    write_image(tmp_path / "out.tif", photo)
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert tiff.imagej_metadata is not None
        assert tiff.imagej_metadata["unit"] == "um"
        assert tiff.pages.first.tags["XResolution"].value == (10, 1)
        assert tiff.pages.first.compression == 1
    # A description of gray pixels is not one of coloured ones.
    write_image(tmp_path / "out.tif", replace(photo, pixels=photo.pixels.expand(-1, 3, -1, -1)))
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert not tiff.is_imagej
    assert "ImageJ" not in str(read_image(tmp_path / "out.tif").exif)


def test_turned_tiffs_keep_no_place_on_a_map(tmp_path: Path) -> None:
    extra = [(274, 3, 1, 6, True), (33922, 12, 6, (0.0,) * 6, True)]
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((5, 7), np.uint16), extratags=extra)
    write_image(tmp_path / "out.tif", read_image(tmp_path / "in.tif"))
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert tiff.asarray().shape == (7, 5)
        assert not {274, 33922, 270} & set(tiff.pages.first.tags.keys())


def test_a_profile_for_other_channels_is_left_out(tmp_path: Path) -> None:
    gray = bytes(16) + b"GRAY" + bytes(100)
    photo = Photo(torch.rand(1, 1, 9, 9), icc_profile=gray)
    for suffix in (".png", ".tif", ".jpg"):
        write_image(tmp_path / f"gray{suffix}", photo)
        assert read_image(tmp_path / f"gray{suffix}").icc_profile == gray
        coloured = replace(photo, pixels=torch.rand(1, 3, 9, 9))
        write_image(tmp_path / f"rgb{suffix}", coloured)
        assert read_image(tmp_path / f"rgb{suffix}").icc_profile == b""
        assert left_out(f"rgb{suffix}", coloured) == ("the colour profile",)


def test_what_is_too_long_for_a_jpeg(tmp_path: Path) -> None:
    tags = Directory({DATE: Entry(2, b"2024:01:01 10:00:00\0")})
    tags.children[exif.EXIF] = Directory({37510: Entry(7, bytes(70_000)), PIXEL_WIDTH: long(9)})
    photo = Photo(torch.rand(1, 1, 9, 9), exif=exif.block(tags), xmp=b"<x>" + bytes(70_000))
    write_image(tmp_path / "out.jpg", photo)
    assert left_out("out.jpg", photo) == ("camera data (EXIF)", "XMP")
    write_image(tmp_path / "out.png", photo)
    assert left_out("out.png", photo) == ()
    assert exif.parse(read_image(tmp_path / "out.png").exif).tags == tags


def test_directories_come_back(tmp_path: Path) -> None:
    """Every type of value, in both orders, inside the tag and outside of it."""
    tags = Directory({271: Entry(2, b"abc\0"), 305: Entry(2, b"abcdefgh\0"), 269: short(7)})
    below = {1: short(1), 2: short(1, 2, 3), 3: long(70_000), 4: long(1, 2), 5: Entry(1, b"12345")}
    below |= {6: Entry(12, struct.pack("<d", 0.5)), 7: Entry(10, struct.pack("<ii", -1, 3))}
    tags.children[exif.EXIF] = Directory({code: below[code] for code in below})
    for order in ("<", ">"):
        found = exif.parse(exif.block(tags, order))
        assert (found.tags, found.damaged, found.order) == (tags, False, order)
    numbers = found.tags.children[exif.EXIF].entries
    assert numbers[2].numbers() == [1, 2, 3]
    assert numbers[7].numbers() == pytest.approx([-1 / 3])
    assert numbers[6].numbers() == [0.5]


def test_pages_have_words_of_their_own(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        for index in range(3):
            writer.write(
                np.zeros((5, 5), np.uint8),
                metadata=None,
                software=False,
                extratags=[(ARTIST, 2, 0, f"artist {index}", True)],
            )
    with open_images(tmp_path / "in.tif") as pictures:
        found = [exif.parse(photo.exif).tags.entries[ARTIST].text() for photo in pictures]
    assert found == ["artist 0", "artist 1", "artist 2"]
