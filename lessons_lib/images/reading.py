"""Opens photographs, whatever kind of file they are in."""

import contextlib
import logging
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from lessons_lib.images.directories import Directory
from lessons_lib.images.photo import ImageError, Photo, check_range, first_line, too_large
from lessons_lib.images.raw import read_raw
from lessons_lib.images.still import read_still
from lessons_lib.images.tiff_reading import TIFF_MAGIC, TiffPictures

Range = tuple[float, float]

# What is kept silent is the whole process, so one thread decodes at a time.
_DECODING = threading.RLock()


class Pictures:
    """The pictures of an open file, in its order, decoded one at a time.

    Args:
        path: the file.
        count: how many there are.
        photos: decodes them, from the first one.
        stack: tags of the first page that tell programs how the pages belong together.
    """

    def __init__(
        self, path: Path, count: int, photos: Callable[[], Iterator[Photo]], stack: Directory
    ) -> None:
        self.path = path
        self.stack = stack
        self._count = count
        self._photos = photos

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Photo]:
        with _one_line(str(self.path)):
            photos = self._photos()
        for index in range(self._count):
            label = f"{self.path}: page {index + 1}" if self._count > 1 else str(self.path)
            with _one_line(label):
                photo = next(photos)
            yield photo


def read_image(path: str | os.PathLike[str], value_range: Range | None = None) -> Photo:
    """Read a photograph: PNG, JPEG, TIFF, WebP, BMP, and DNG where rawpy is installed.

    Palettes become RGB, 1-bit pixels gray, and CMYK sRGB by the file's own profile. The EXIF
    orientation is applied. Integers of up to 24 bits become pixels without loss; of longer ones,
    as of float64, 24 significant bits are kept.

    Args:
        path: the file.
        value_range: the samples that become 0 and 1, such as (0, 4095) for 12 bits in 16; left
            out, the mosaic's black and white, or the type's full range (signed integers from 0).

    Returns:
        The photograph.

    Raises:
        ImageError: the file is missing, empty, truncated, no such image, animated, a stack of
            several pages, in CMYK without a profile, larger than `MAX_PIXELS`, of several pages
            in a loop, or holds NaN or infinite pixels.
    """
    with open_images(path, value_range) as pictures:
        if len(pictures) != 1:
            raise ImageError(f"{path}: holds {len(pictures)} pictures; only one can be read")
        return next(iter(pictures))


@contextlib.contextmanager
def open_images(
    path: str | os.PathLike[str], value_range: Range | None = None
) -> Iterator[Pictures]:
    """Open a file of one or of many pictures: TIFF of many pages, stacks of ImageJ and OME.

    Args:
        path: the file.
        value_range: as `read_image`; one for all pictures.

    Returns:
        The pictures. They have a length, and are decoded one at a time while one iterates.

    Raises:
        ImageError: as `read_image`, also while one iterates.
    """
    path = Path(path)
    check_range(path, value_range)
    with contextlib.ExitStack() as until_closed:
        with _one_line(str(path)):
            pictures = _opened(path, value_range, until_closed)
        yield pictures


def _opened(path: Path, value_range: Range | None, until_closed: contextlib.ExitStack) -> Pictures:
    if _first_bytes(path) not in TIFF_MAGIC:
        return Pictures(path, 1, lambda: iter([read_still(path, value_range)]), Directory())
    tiff = until_closed.enter_context(contextlib.closing(TiffPictures(path, value_range)))
    if tiff.pages.raw:
        return Pictures(path, 1, lambda: iter([read_raw(path, value_range)]), Directory())
    return Pictures(path, len(tiff), lambda: iter(tiff), tiff.stack)


def _first_bytes(path: Path) -> bytes:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise ImageError(f"{path}: no such file") from None
    if stat.S_ISDIR(found.st_mode):
        raise ImageError(f"{path}: is a folder, not an image")
    if not stat.S_ISREG(found.st_mode):
        raise ImageError(f"{path}: is not a regular file")
    if found.st_size == 0:
        raise ImageError(f"{path}: the file is empty")
    with path.open("rb") as file:
        return file.read(4)


@contextlib.contextmanager
def _one_line(label: str) -> Iterator[None]:
    """Whatever goes wrong while decoding becomes an `ImageError`, and nothing else is printed."""
    try:
        # Pillow warns where it would raise at twice the size; MAX_PIXELS decides instead.
        with _DECODING, warnings.catch_warnings(), _silent():
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageError(f"{label}: not a PNG, JPEG, TIFF, WebP or BMP image") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{label}: {too_large()}") from None
    except Exception as error:
        # The decoders meet damaged bytes with nearly every kind of exception there is.
        raise ImageError(f"{label}: cannot be read: {first_line(error)}") from error


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep tifffile's log, libtiff and LibRaw, which write to stderr, from adding to our error."""
    logger = logging.getLogger("tifffile")
    disabled, logger.disabled = logger.disabled, True
    try:
        stderr = os.dup(2)
    except OSError:  # a program without a console
        stderr = None
    try:
        if stderr is not None:
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), 2)
        yield
    finally:
        logger.disabled = disabled
        if stderr is not None:
            os.dup2(stderr, 2)
            os.close(stderr)
