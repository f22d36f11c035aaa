"""Writes photographs, whole or not at all, and says beforehand what cannot be written."""

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from lessons_lib.images import encoding
from lessons_lib.images.photo import ImageError, Photo, first_line
from lessons_lib.images.reading import Pictures
from lessons_lib.images.tiff_writing import TiffFile

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".bmp": "BMP",
}


def check_writable(
    path: str | os.PathLike[str], photo: Photo | None = None, count: int = 1
) -> None:
    """Check, before any long computation, that writing can be expected to succeed.

    Args:
        path: the file to be written.
        photo: what will be written, if it is known already.
        count: how many pictures.

    Raises:
        ImageError: unknown suffix, no such folder, no permission, a file that is read-only, no
            file at all (a folder, a device, links in a loop), several pictures for what holds
            one, or a photograph whose transparency or size the format does not hold.
    """
    path = Path(path)
    if path.is_dir():
        raise ImageError(f"{path}: is a folder; name a file in it")
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        known = " ".join(FORMATS)
        raise ImageError(f"{path}: unknown image suffix '{path.suffix}' (known: {known})")
    if count > 1 and kind != "TIFF":
        raise ImageError(f"{path}: {kind} holds one picture, not {count}; write TIFF")
    if photo is not None:
        _check_fits(path, kind, photo)
    try:
        _check_place(path)
    except OSError as error:
        reason = "its links are a loop" if error.errno == errno.ELOOP else error.strerror
        raise ImageError(f"{path}: cannot be written: {reason}") from error


def left_out(path: str | os.PathLike[str], photo: Photo) -> tuple[str, ...]:
    """What of a photograph's metadata a file of this suffix will not hold, in words."""
    return encoding.left_out(FORMATS[Path(path).suffix.lower()], photo)


def write_image(path: str | os.PathLike[str], photo: Photo) -> None:
    """Write a photograph, whole or not at all; the suffix chooses the format.

    TIFF keeps every type of sample, PNG and WebP the transparency, PNG 16 bits. Samples of 8 and
    16 bits come back as they were where the format holds them. JPEG is written at quality 95 with
    full colour resolution, always with 8 bits, as are WebP (lossless) and BMP.

    Args:
        path: the file; an existing one is replaced.
        photo: the photograph; what its type of sample cannot hold is clipped.

    Raises:
        ImageError: as `check_writable`, or the disk is full.
    """
    path = Path(path)
    check_writable(path, photo)
    kind = FORMATS[path.suffix.lower()]
    with _whole(path) as file, _one_line(path):
        if kind == "TIFF":
            tiff = TiffFile(file, photo.tiff.order if photo.tiff else "<")
            tiff.add(photo)
            tiff.close()
        else:
            file.write(encoding.encoded(kind, photo))


def write_images(
    path: str | os.PathLike[str], photos: Iterable[Photo], like: Pictures | None = None
) -> None:
    """Write the pages of a TIFF file in their order, whole or not at all, one at a time.

    Args:
        path: the file; an existing one is replaced. If it is no TIFF, there may be one picture.
        photos: the pages; each may still have to be computed.
        like: the file that they come from, still open. What its first page says for programs
            (ImageJ, OME) is written again if number, sizes and types of the pages are the same.

    Raises:
        ImageError: as `check_writable`, no picture at all, or the disk is full. Errors of
            `photos` pass through.
    """
    path = Path(path)
    check_writable(path, count=len(like) if like else 1)
    several = iter(photos)
    photo = next(several, None)
    if photo is None:
        raise ImageError(f"{path}: there is no picture to write")
    if FORMATS[path.suffix.lower()] != "TIFF":
        if next(several, None) is not None:
            check_writable(path, count=2)
        write_image(path, photo)
        return
    with _whole(path) as file:
        order = photo.tiff.order if photo.tiff else "<"
        tiff = TiffFile(file, order, like.stack if like else None, len(like) if like else 0)
        while photo is not None:
            _check_fits(path, "TIFF", photo)
            with _one_line(path):
                tiff.add(photo)
            photo = next(several, None)
        with _one_line(path):
            tiff.close()


def _check_fits(path: Path, kind: str, photo: Photo) -> None:
    if photo.alpha is not None and kind in ("JPEG", "BMP"):
        raise ImageError(f"{path}: {kind} would lose the transparency; write PNG or TIFF")
    longest = encoding.LONGEST_SIDE.get(kind, 2**32 - 1)
    if max(photo.pixels.shape[-2:]) > longest:
        raise ImageError(f"{path}: {kind} has no room for more than {longest} pixels in a row")


def _check_place(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        pass
    else:
        if not stat.S_ISREG(mode):
            raise ImageError(f"{path}: is not a regular file")
        # Replacing a file asks for rights in the folder only, and an administrator has all of
        # them: neither would keep what somebody has marked as not to be changed.
        if not mode & 0o222 or not os.access(path, os.W_OK):
            raise ImageError(f"{path}: is read-only")
    folder = path.resolve().parent
    if not folder.is_dir():
        raise ImageError(f"{path}: there is no folder '{path.parent}'")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ImageError(f"{path}: no permission to write in '{path.parent}'")


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name, and the place of an older one, only once it is complete."""
    # Through a link to the file behind it, as every other tool writes.
    target = path.resolve()
    part = target.with_name(f".lessons-{secrets.token_hex(8)}.part")
    try:
        with _one_line(path):
            file = part.open("xb")
        try:
            yield file
            with _one_line(path):
                file.flush()
                os.fsync(file.fileno())
        finally:
            # What could not be written is tried once more on closing, and has been said by now.
            with contextlib.suppress(OSError):
                file.close()
        with _one_line(path):
            if target.exists():
                shutil.copymode(target, part)
            os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Whatever goes wrong while writing becomes an `ImageError`."""
    try:
        yield
    except OSError as error:
        raise ImageError(f"{path}: cannot be written: {error.strerror or error}") from error
    except Exception as error:
        raise ImageError(f"{path}: cannot be written: {first_line(error)}") from error
