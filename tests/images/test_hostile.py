"""Files made to cost much end in one line; a test that hangs has found one that does not.

What a small file can ask for: pages for ever, tags that overlap, data that unpack to gigabytes,
a JPEG that is decoded a thousand times over.
"""

import contextlib
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lessons_lib.images import (
    ImageError,
    Photo,
    open_images,
    read_image,
    tiff_pages,
    write_image,
)
from lessons_lib.images.jpeg import check_scans


def refuse(path: Path, reason: str) -> None:
    with (
        pytest.raises(ImageError, match=reason) as caught,
        open_images(path) as pictures,
    ):
        list(pictures)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def directory(entries: list[tuple[int, int, int, int]], following: int) -> bytes:
    """A directory of tags: number, type, count, and value or place."""
    fields = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + fields + struct.pack("<I", following)


def page(width: int = 2, height: int = 2, place: int = 8) -> list[tuple[int, int, int, int]]:
    """The tags of a small gray page."""
    return [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, place),
        (277, 3, 1, 1),
        (278, 4, 1, height),
        (279, 4, 1, width * height),
    ]


HEAD = b"II*\0" + struct.pack("<I", 12) + b"\1\2\3\4"


def test_pages_in_a_loop(tmp_path: Path) -> None:
    one = directory(page(), 12)
    (tmp_path / "self.tif").write_bytes(HEAD + one)
    refuse(tmp_path / "self.tif", "loop")
    two = directory(page(), 12 + len(one)) + directory(page(), 12)
    (tmp_path / "two.tif").write_bytes(HEAD + two)
    refuse(tmp_path / "two.tif", "loop")
    # A thousand pages, the last of which leads back to the middle.
    step = len(one)
    chain = [directory(page(), 12 + step * (index + 1)) for index in range(999)]
    chain.append(directory(page(), 12 + step * 500))
    (tmp_path / "far.tif").write_bytes(HEAD + b"".join(chain))
    refuse(tmp_path / "far.tif", "loop")


def test_camera_data_in_a_loop(tmp_path: Path) -> None:
    """The directory of exposure is the first directory itself."""
    (tmp_path / "in.tif").write_bytes(HEAD + directory([*page(), (34665, 4, 1, 12)], 0))
    assert read_image(tmp_path / "in.tif").pixels.shape == (1, 1, 2, 2)
    write_image(tmp_path / "out.png", read_image(tmp_path / "in.tif"))


def test_too_many_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_pages, "MAX_PAGES", 5)
    for count in (5, 6):
        tifffile.imwrite(
            tmp_path / "in.tif", np.zeros((count, 4, 4), np.uint8), photometric="minisblack"
        )
        if count == 5:
            with open_images(tmp_path / "in.tif") as pictures:
                assert len(list(pictures)) == 5
        else:
            refuse(tmp_path / "in.tif", "more than 5 pages")
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((6, 9, 9), np.uint8), imagej=True, truncate=True)
    refuse(tmp_path / "in.tif", "more than 5 pages")


@pytest.mark.parametrize("images", [b"99999999", b"-3", b"x", b"9" * 5000])
def test_a_description_that_promises_too_much(tmp_path: Path, images: bytes) -> None:
    path = tmp_path / "in.tif"
    text = b"ImageJ=1.53\nimages=" + images + b"\n\0"
    tifffile.imwrite(
        path, np.zeros((4, 4), np.uint8), metadata=None, extratags=[(270, 2, len(text), text, True)]
    )
    if images == b"99999999":
        refuse(path, "more than 100000 pages")
    else:
        with open_images(path) as pictures:
            assert len(pictures) == 1


def test_tags_that_overlap(tmp_path: Path) -> None:
    """Four thousand tags that each hold the whole file, of a few megabytes."""
    size = 4_000_000
    entries = [*page(), *((40_000 + index, 1, size - 100, 50) for index in range(4_000))]
    data = HEAD + directory(entries, 0)
    (tmp_path / "in.tif").write_bytes(data.ljust(size, b"\0"))
    refuse(tmp_path / "in.tif", "overlap")
    # A camera's block with as much; not in JPEG, where it has 64 KB.
    block = data[:-12].ljust(size, b"\0")
    chunk = struct.pack(">I", len(block)) + b"eXIf" + block
    Image.new("L", (5, 5)).save(tmp_path / "in.png")
    png = (tmp_path / "in.png").read_bytes()
    chunk += struct.pack(">I", zlib.crc32(chunk[4:]))
    (tmp_path / "in.png").write_bytes(png[:33] + chunk + png[33:])
    assert read_image(tmp_path / "in.png").notes


def test_data_that_unpack_to_much_more(tmp_path: Path) -> None:
    packed = zlib.compress(bytes(200_000_000), 9)
    data = HEAD + packed + bytes(len(packed) % 2)
    entries = page(200, 200, 12)
    entries[3] = (259, 3, 1, 8)
    entries[8] = (279, 4, 1, len(packed))
    place = len(data)
    data = data[:4] + struct.pack("<I", place) + data[8:]
    (tmp_path / "in.tif").write_bytes(data + directory(entries, 0))
    refuse(tmp_path / "in.tif", "unpacks to more")


def test_tiles_larger_than_their_picture(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((40, 40), np.uint8), tile=(48, 48))
    assert read_image(tmp_path / "in.tif").pixels.shape[-1] == 40
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+") as tiff:
        for name in ("TileWidth", "TileLength"):
            tiff.pages.first.tags[name].overwrite(60_000)
    refuse(tmp_path / "in.tif", "tiles are larger")


def test_channels_without_number(tmp_path: Path) -> None:
    entries: list[Any] = page(10_000, 10_000)
    entries[6] = (277, 3, 1, 65_535)
    (tmp_path / "in.tif").write_bytes(HEAD + directory(entries, 0))
    refuse(tmp_path / "in.tif", "65535 channels")


def test_a_jpeg_that_is_decoded_over_and_over(tmp_path: Path) -> None:
    path = tmp_path / "in.jpg"
    Image.new("L", (4000, 4000), 99).save(path, progressive=True)
    check_scans(path, 16_000_000)
    data = path.read_bytes()
    # The last scan says next to nothing; it is sent a thousand times.
    last = data.rindex(b"\xff\xda")
    path.write_bytes(data[:-2] + data[last:-2] * 1000 + data[-2:])
    refuse(path, "times over")
    # What looks like a scan within a comment is none.
    Image.new("L", (40, 40)).save(path, comment=b"\xff\xda\0\2" * 2000)
    assert read_image(path).pixels.shape[-1] == 40


SEEDS: dict[str, bytes] = {}


def seeds(folder: Path) -> dict[str, bytes]:
    """One small file of each kind."""
    if not SEEDS:
        rng = np.random.default_rng(0)
        wide = rng.integers(0, 65535, (3, 12, 10), dtype=np.uint16)
        path = folder / "seed"
        for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF"):
            Image.fromarray((wide.transpose(1, 2, 0) >> 8).astype(np.uint8)).save(path, kind)
            SEEDS[kind] = path.read_bytes()
        for name, options in {
            "deflated": {"compression": "zlib", "photometric": "rgb", "planarconfig": "separate"},
            "stack": {"photometric": "minisblack"},
            "imagej": {"imagej": True},
            "ome": {"ome": True, "photometric": "minisblack"},
            "big": {"bigtiff": True, "photometric": "minisblack", "tile": (16, 16)},
            "cfa": {"photometric": 32803, "extratags": [(33421, 3, 2, (2, 2), True)]},
        }.items():
            tifffile.imwrite(path, wide[0] if name == "cfa" else wide, **options)
            SEEDS[name] = path.read_bytes()
        path.unlink()
    return SEEDS


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_is_one_line_or_a_picture(tmp_path: Path, data: st.DataObject) -> None:
    name, content = data.draw(st.sampled_from(sorted(seeds(tmp_path).items())))
    damaged = bytearray(content)
    # Most of what can go wrong is said in the first bytes.
    place = st.one_of(st.integers(0, min(len(content), 300) - 1), st.integers(0, len(content) - 1))
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(place)] = data.draw(st.sampled_from([0, 1, 2, 4, 127, 128, 255, 42]))
    cut = data.draw(st.one_of(st.just(len(content)), st.integers(1, len(content))))
    path = tmp_path / f"{name}.bin"
    path.write_bytes(damaged[:cut])
    with contextlib.suppress(ImageError), open_images(path) as pictures:
        for photo in pictures:
            assert np.isfinite(photo.pixels.numpy()).all()
            write_image(tmp_path / "out.tif", photo)
            again = read_image(tmp_path / "out.tif")
            assert np.array_equal(again.pixels.numpy(), photo.pixels.numpy())


def test_threads_that_read_at_once_leave_the_process_as_it_was(tmp_path):
    for number in range(4):
        write_image(tmp_path / f"{number}.png", Photo(torch.rand(1, 3, 400, 400)))
    code = (
        "import os, sys, warnings\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from lessons_lib.images import read_image\n"
        "before = os.fstat(2).st_ino, list(warnings.filters)\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    list(pool.map(read_image, 20 * sys.argv[1:]))\n"
        "assert (os.fstat(2).st_ino, list(warnings.filters)) == before\n"
    )
    files = sorted(map(str, tmp_path.iterdir()))
    subprocess.run([sys.executable, "-c", code, *files], check=True)
