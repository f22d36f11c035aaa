"""Files of many pictures: each page, in its order, and what tells programs how they are one."""

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from lessons_lib.images import (
    ImageError,
    Photo,
    open_images,
    read_image,
    write_image,
    write_images,
)
from lessons_lib.images.tiff_writing import TiffFile

STACK = np.random.default_rng(0).integers(0, 65535, (6, 20, 24), dtype=np.uint16)


def copy(source: Path, target: Path) -> None:
    with open_images(source) as pictures:
        write_images(target, iter(pictures), like=pictures)


KINDS: dict[str, dict[str, Any]] = {
    "plain": {"photometric": "minisblack", "metadata": None},
    "tifffile": {"photometric": "minisblack"},
    "deflated": {"photometric": "minisblack", "compression": "zlib", "predictor": True},
    "tiles": {"photometric": "minisblack", "tile": (16, 16)},
    "big": {"photometric": "minisblack", "bigtiff": True},
    "motorola": {"photometric": "minisblack", "byteorder": ">"},
    "imagej": {
        "imagej": True,
        "resolution": (4.5, 4.5),
        "metadata": {
            "unit": "um",
            "axes": "TZYX",
            "Info": "seen at noon",
            "Labels": list("abcdef"),
        },
    },
    "ome": {"ome": True, "metadata": {"axes": "ZCYX", "PhysicalSizeX": 0.2}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_comes_back(tmp_path: Path, kind: str) -> None:
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    shaped = STACK.reshape(3, 2, 20, 24) if kind in ("imagej", "ome") else STACK
    tifffile.imwrite(source, shaped, **KINDS[kind])
    with open_images(source) as pictures:
        assert len(pictures) == 6
        pixels = [photo.pixels for photo in pictures]
        assert len(list(pictures)) == 6, "a second time"
    for page, expected in zip(pixels, STACK, strict=True):
        assert torch.equal(page[0, 0], torch.from_numpy(expected / np.float32(65535)))
    copy(source, target)
    with tifffile.TiffFile(source) as before, tifffile.TiffFile(target) as after:
        assert len(after.pages) == 6
        for old, new in zip(before.pages, after.pages, strict=True):
            for name in ("ImageDescription", "XResolution", "Software", "DateTime"):
                assert new.tags.valueof(name) == old.tags.valueof(name)
        assert np.array_equal(after.asarray(), before.asarray())
        assert after.series[0].axes == before.series[0].axes
        assert after.imagej_metadata == before.imagej_metadata
        assert after.ome_metadata == before.ome_metadata


def test_imagej_finds_pages_where_it_looks_for_them(tmp_path: Path) -> None:
    """It reads the first directory only: the pages must follow each other, not compressed."""
    tifffile.imwrite(tmp_path / "in.tif", STACK, imagej=True)
    copy(tmp_path / "in.tif", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        first = tiff.pages.first
        assert first.compression == 1
        offset, order = first.dataoffsets[0], tiff.byteorder
    data = (tmp_path / "out.tif").read_bytes()
    found = np.frombuffer(data, f"{order}u2", STACK.size, offset).reshape(STACK.shape)
    assert np.array_equal(found, STACK)


@pytest.mark.parametrize("options", [{"imagej": True}, {"photometric": "minisblack"}])
def test_pages_without_directories_of_their_own(tmp_path: Path, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "all.tif", STACK, truncate=True, **options)
    with tifffile.TiffFile(tmp_path / "all.tif") as tiff:
        assert len(tiff.pages) == 1
    with open_images(tmp_path / "all.tif") as pictures:
        found = [np.rint(photo.pixels[0, 0].numpy() * 65535) for photo in pictures]
    assert np.array_equal(np.stack(found), STACK)
    copy(tmp_path / "all.tif", tmp_path / "out.tif")
    assert np.array_equal(tifffile.imread(tmp_path / "out.tif"), STACK)
    data = (tmp_path / "all.tif").read_bytes()
    turned = data.replace(
        b'{"shape": [6, 20, 24], "truncated": true}', b'{"truncated": true, "shape": [6, 20, 24]}'
    )
    (tmp_path / "older.tif").write_bytes(turned)
    copy(tmp_path / "older.tif", tmp_path / "out.tif")
    assert np.array_equal(tifffile.imread(tmp_path / "out.tif"), STACK)
    (tmp_path / "cut.tif").write_bytes(data[:-500])
    with (
        pytest.raises(ImageError, match="page 6: cannot be read"),
        open_images(tmp_path / "cut.tif") as pictures,
    ):
        list(pictures)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "I;16", "CMYK"])
def test_pages_that_pillow_decodes(tmp_path: Path, mode: str) -> None:
    rng = np.random.default_rng(3)
    pages = []
    for _ in range(4):
        samples = rng.integers(0, 255, (17, 14, 3), dtype=np.uint8)
        page = Image.fromarray(samples)
        wide = rng.integers(0, 65535, (17, 14), dtype=np.uint16)
        pages.append(Image.fromarray(wide) if mode == "I;16" else page.convert(mode))
    first, *others = pages
    compression = "group4" if mode == "1" else "tiff_lzw"
    first.save(tmp_path / "in.tif", save_all=True, append_images=others, compression=compression)
    with open_images(tmp_path / "in.tif") as pictures:
        assert len(pictures) == 4
        if mode == "CMYK":
            with pytest.raises(ImageError, match="page 1: has CMYK colours"):
                list(pictures)
            return
        for photo, page in zip(pictures, pages, strict=True):
            shown = page if mode in ("RGB", "L", "I;16") else page.convert(photo_mode(photo))
            samples = np.asarray(shown)
            values = photo.pixels[0].permute(1, 2, 0).squeeze(-1) * (2**photo.bits - 1)
            assert np.array_equal(np.rint(values.numpy()), samples)
        # Not only from the first one to the last.
        assert torch.equal(next(iter(pictures)).pixels, next(iter(pictures)).pixels)


def photo_mode(photo: Photo) -> str:
    """Pillow's name for gray or RGB."""
    return "L" if photo.pixels.shape[1] == 1 else "RGB"


def test_sixteen_bits_in_colour_that_pillow_decodes(tmp_path: Path) -> None:
    """Packed in runs (PackBits): each page is read twice, for its upper and for its lower bytes."""
    stack = np.random.default_rng(4).integers(0, 65535, (3, 8, 9, 3), dtype=np.uint16)
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        for page in stack:
            packed = b"".join(
                b"\x7f" + page.tobytes()[start : start + 128]
                for start in range(0, page.nbytes, 128)
            )
            last = page.nbytes % 128
            if last:
                packed = packed[: -last - 1] + bytes([last - 1]) + packed[-last:]
            writer.write(
                iter([packed]),
                shape=page.shape,
                dtype=page.dtype,
                photometric="rgb",
                # tifffile would want a codec for PackBits, though the strip is packed already.
                compression="zlib",
                rowsperstrip=8,
                metadata=None,
            )
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+") as tiff:
        for index in range(3):
            tiff.pages[index].tags["Compression"].overwrite(32773)
    with open_images(tmp_path / "in.tif") as pictures:
        found = [np.rint(p.pixels[0].permute(1, 2, 0).numpy() * 65535) for p in pictures]
    assert np.array_equal(np.stack(found), stack)


def test_a_stack_of_metamorph(tmp_path: Path) -> None:
    """Its planes stand behind a directory that speaks of one."""
    extra = [(33629, 5, 2, (1, 1) * 2, True)]
    tifffile.imwrite(tmp_path / "in.stk", STACK[0], extratags=extra, metadata=None)
    with pytest.raises(ImageError, match="MetaMorph"):
        read_image(tmp_path / "in.stk")


def test_pages_of_all_kinds_in_one_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pages = [
        rng.integers(0, 255, (9, 7, 3), dtype=np.uint8),
        rng.integers(0, 65535, (5, 6), dtype=np.uint16),
        rng.random((8, 8), dtype=np.float32),
        rng.integers(-99, 99, (4, 9), dtype=np.int16),
    ]
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        for index, page in enumerate(pages):
            writer.write(
                page,
                photometric="rgb" if page.ndim == 3 else "minisblack",
                description=f"page {index}",
                metadata=None,
                resolution=(100 + index, 200),
                resolutionunit="inch",
            )
    copy(tmp_path / "in.tif", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert len(tiff.pages) == 4
        for index, (found, expected) in enumerate(zip(tiff.pages, pages, strict=True)):
            assert np.array_equal(found.asarray(), expected)
            assert found.tags["ImageDescription"].value == f"page {index}"
            assert found.tags["XResolution"].value == (100 + index, 1)


def test_smaller_copies_and_masks_are_no_pictures(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        writer.write(STACK[0, ::2, ::2], subfiletype=1, metadata=None)
        writer.write(STACK[0], subifds=1, metadata=None)
        writer.write(STACK[0, ::2, ::2], subfiletype=1, metadata=None)
        writer.write(STACK[0], subfiletype=2, metadata=None)
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+") as tiff:
        tiff.pages[2].tags["NewSubfileType"].overwrite(4)
    photo = read_image(tmp_path / "in.tif")
    assert np.array_equal(np.rint(photo.pixels[0, 0].numpy() * 65535), STACK[0])


def test_one_picture_is_asked_for(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", STACK, photometric="minisblack")
    with pytest.raises(ImageError, match="holds 6 pictures"):
        read_image(tmp_path / "in.tif")
    write_image(tmp_path / "one.png", Photo(torch.rand(1, 1, 5, 5)))
    with open_images(tmp_path / "one.png") as pictures:
        assert len(pictures) == 1
        write_images(tmp_path / "two.png", pictures, like=pictures)
    assert (tmp_path / "two.png").read_bytes() == (tmp_path / "one.png").read_bytes()


def test_a_description_is_left_out_where_it_is_no_longer_true(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", STACK, imagej=True)
    target = tmp_path / "out.tif"

    def described() -> bool:
        with tifffile.TiffFile(target) as tiff:
            return any("ImageDescription" in page.tags for page in tiff.pages)

    with open_images(tmp_path / "in.tif") as pictures:
        write_images(target, pictures, like=pictures)
        assert described()
        write_images(target, list(pictures)[:5], like=pictures)
        assert not described()
        in_colour = (replace(p, pixels=p.pixels.expand(-1, 3, -1, -1)) for p in pictures)
        write_images(target, in_colour, like=pictures)
        assert not described()
        write_images(target, pictures)
        assert not described()
        write_image(target, next(iter(pictures)))
        assert not described()
    # Two files that each said that they hold one.
    tifffile.imwrite(tmp_path / "single.tif", STACK[0], imagej=True)
    single = read_image(tmp_path / "single.tif")
    write_image(target, single)
    assert described()
    write_images(target, [single, single])
    assert not described()


def test_one_page_at_a_time(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", STACK, photometric="minisblack")
    alive: list[weakref.ref[torch.Tensor]] = []

    def watched(pictures: Any) -> Iterator[Photo]:
        for photo in pictures:
            gc.collect()
            assert sum(pixels() is not None for pixels in alive) <= 1
            alive.append(weakref.ref(photo.pixels))
            yield photo

    with open_images(tmp_path / "in.tif") as pictures:
        write_images(tmp_path / "out.tif", watched(pictures), like=pictures)
    assert len(alive) == 6


def test_a_page_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def pages() -> Iterator[Photo]:
        yield Photo(torch.rand(1, 1, 5, 5))
        raise KeyError("in the middle")

    (tmp_path / "out.tif").write_bytes(b"old")
    with pytest.raises(KeyError):
        write_images(tmp_path / "out.tif", pages())
    assert (tmp_path / "out.tif").read_bytes() == b"old"
    with pytest.raises(ImageError, match="no picture"):
        write_images(tmp_path / "out.tif", [])
    assert [path.name for path in tmp_path.iterdir()] == ["out.tif"]


def test_several_pictures_for_a_file_of_one(tmp_path: Path) -> None:
    photo = Photo(torch.rand(1, 1, 5, 5))
    with pytest.raises(ImageError, match="PNG holds one picture"):
        write_images(tmp_path / "out.png", [photo, photo])
    assert not list(tmp_path.iterdir())
    write_images(tmp_path / "out.png", [photo])
    assert read_image(tmp_path / "out.png").bits == 8


@pytest.mark.parametrize("order", ["<", ">"])
def test_more_than_four_gigabytes(tmp_path: Path, order: Literal["<", ">"]) -> None:
    """The header is chosen at the end, by the size. The file is sparse: it takes no space."""
    path = tmp_path / "huge.tif"
    photo = Photo(torch.rand(1, 1, 4, 4), bits=16)
    with path.open("wb") as file:
        tiff = TiffFile(file, order)
        tiff.add(photo)
        file.seek(2**32 + 1000)
        tiff.add(photo)
        tiff.close()
    with tifffile.TiffFile(path) as found:
        assert found.is_bigtiff
        assert found.byteorder == order
        assert np.array_equal(found.pages[0].asarray(), found.pages[1].asarray())
    with open_images(path) as pictures:
        assert [p.pixels.shape for p in pictures] == [(1, 1, 4, 4)] * 2


@pytest.mark.parametrize("pages", [1, 3])
def test_planes_that_are_woven_lose_the_word_of_their_shape(tmp_path: Path, pages: int) -> None:
    """Colours stand plane by plane in the file that is read, pixel by pixel in the other."""
    planes = np.arange(pages * 3 * 10 * 12, dtype=np.uint16).reshape(pages, 3, 10, 12) * 50
    given = planes[0] if pages == 1 else planes
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    tifffile.imwrite(source, given, photometric="rgb", planarconfig="separate")
    with open_images(source) as pictures:
        write_images(target, pictures, like=pictures)
    with tifffile.TiffFile(target) as file:
        assert "shape" not in str(file.pages[0].tags.get(270, ""))
        found = file.asarray()
    np.testing.assert_array_equal(found, np.moveaxis(given, -3, -1))
