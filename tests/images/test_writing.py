"""What cannot be written is said before the work, in one line; the rest is written whole."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lessons_lib.images import (
    ImageError,
    Photo,
    check_writable,
    read_image,
    write_image,
    write_images,
)

PHOTO = Photo(torch.rand(1, 3, 9, 9, generator=torch.manual_seed(0)))


def refused(path: Path, reason: str, **what: object) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        check_writable(path, **what)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_a_file_that_is_read_only(tmp_path: Path) -> None:
    """Also for an administrator, who may write everywhere."""
    path = tmp_path / "kept.png"
    write_image(path, PHOTO)
    before = path.read_bytes()
    path.chmod(0o444)
    refused(path, "is read-only")
    for write in (write_image, lambda path, photo: write_images(path, [photo])):
        with pytest.raises(ImageError, match="is read-only"):
            write(path, PHOTO)
    assert path.read_bytes() == before
    path.chmod(0o644)
    check_writable(path)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links(tmp_path: Path) -> None:
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    one.symlink_to(two)
    two.symlink_to(one)
    refused(one, "its links are a loop")
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(one)
    folder = tmp_path / "folder"
    folder.symlink_to(folder)
    refused(folder / "out.png", "loop")
    # To nothing yet, in a folder that is there: it will be made behind the link.
    nowhere = tmp_path / "nowhere.png"
    nowhere.symlink_to(tmp_path / "new.png")
    write_image(nowhere, PHOTO)
    assert nowhere.is_symlink()
    assert (tmp_path / "new.png").is_file()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "not a regular file")
    with pytest.raises(ImageError, match="not a regular file"):
        read_image(tmp_path / "pipe.png")


def test_numbers_of_pictures(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".webp", ".bmp"):
        refused(tmp_path / f"out{suffix}", "holds one picture, not 3", count=3)
        check_writable(tmp_path / f"out{suffix}", count=1)
    check_writable(tmp_path / "out.tif", count=3)


def test_what_a_format_does_not_hold(tmp_path: Path) -> None:
    clear = Photo(PHOTO.pixels, torch.rand(1, 1, 9, 9))
    for suffix in (".jpg", ".bmp"):
        refused(tmp_path / f"out{suffix}", "lose the transparency", photo=clear)
    for suffix in (".png", ".tif", ".webp"):
        check_writable(tmp_path / f"out{suffix}", clear)
    refused(
        tmp_path / "out.webp",
        "more than 16383",
        photo=Photo(torch.empty(1, 1, 2, 1).expand(-1, -1, -1, 20_000)),
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".bmp"])
@pytest.mark.parametrize("bits", [8, 16])
def test_what_others_read(tmp_path: Path, suffix: str, bits: int) -> None:
    """Pillow's own reading, where it holds the samples."""
    for channels in (1, 3):
        samples = np.random.default_rng(1).integers(0, 2**bits, (11, 13, channels))
        pixels = torch.from_numpy((samples / (2**bits - 1)).astype(np.float32))
        photo = Photo(pixels.permute(2, 0, 1)[None], bits=bits)
        write_image(tmp_path / f"out{suffix}", photo)
        if suffix == ".tif" and bits == 16 and channels == 3:
            continue  # Pillow has no such mode
        with Image.open(tmp_path / f"out{suffix}") as image:
            found = np.asarray(image).astype(int)
        if suffix == ".webp" and channels == 1:
            found = found[..., :1]
        wide = bits == 16 and suffix in (".png", ".tif")
        expected = samples if wide else np.rint(samples / (2**bits - 1) * 255)
        if wide and suffix == ".png" and channels == 3:
            expected = samples >> 8  # as Pillow does
        if suffix != ".jpg":
            assert np.array_equal(found.reshape(expected.shape), expected)
        else:
            assert np.abs(found.reshape(expected.shape) - expected).mean() < 8
