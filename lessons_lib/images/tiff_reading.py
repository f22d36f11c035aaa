"""Reads TIFF files page by page: tifffile decodes what is plain or deflated, Pillow the rest."""

import math
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from lessons_lib.images.colours import srgb_profile
from lessons_lib.images.decoding import decoded
from lessons_lib.images.directories import Directory, TagFile
from lessons_lib.images.photo import FULL_RANGE, ImageError, Photo, check_size
from lessons_lib.images.samples import to_photo
from lessons_lib.images.tiff_pages import find_pages
from lessons_lib.images.tiff_tags import mosaic_of, page_fields, stack_tags

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_PLAIN, _DEFLATED = 1, (8, 32946)
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CFA = 0, 1, 2, 32803
# Palette, mask, inks, and the colours of JPEG: Pillow makes gray or RGB of their 8 bits.
_INKS = 5
_OF_PILLOW = (3, 4, _INKS, 6)


class TiffPictures:
    """The pictures of a TIFF file, decoded one at a time, each time that they are asked for.

    Args:
        path: the file.
        value_range: as `lessons_lib.images.open_images`.

    Raises:
        ImageError: no page, too many, or a chain of pages that is a loop.
    """

    def __init__(self, path: Path, value_range: tuple[float, float] | None) -> None:
        self.path = path
        self._range = value_range
        self._pillow: Any = None
        self._file: BinaryIO = path.open("rb")
        try:
            tags = TagFile(self._file)
            self.pages = find_pages(path, tags)
            self.stack = stack_tags(tags, tags.first) if len(self) > 1 else Directory()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
        if self._pillow is not None:
            self._pillow.close()

    def __len__(self) -> int:
        return len(self.pages.places) * self.pages.images

    def __iter__(self) -> Iterator[Photo]:
        # tifffile costs a third of a second to import, and most photographs are no TIFF files.
        import tifffile

        names = ("ome", "lsm", "ndpi", "scanimage", "imagej", "shaped", "mmstack")
        flags: dict[str, Any] = {f"is_{name}": False for name in names}
        tags = TagFile(self._file)
        with tifffile.TiffFile(self.path, _multifile=False, **flags) as tiff:
            for number, offset in self.pages.places:
                tiff.filehandle.seek(offset)
                page = tifffile.TiffPage(tiff, number)
                for image in range(self.pages.images):
                    yield self._photo(page, tags, number, offset, image)

    def label(self, index: int) -> str:
        """How an error names a picture."""
        return f"{self.path}: page {index + 1}" if len(self) > 1 else str(self.path)

    def _photo(self, page: Any, tags: TagFile, number: int, offset: int, image: int) -> Photo:
        label = self.label(number + image)
        check_size(label, page.imagewidth, page.imagelength)
        if page.samplesperpixel > 4:
            raise ImageError(f"{label}: has {page.samplesperpixel} channels; 1 to 4 can be read")
        photometric = page.photometric
        mosaic = None
        if photometric == _CFA:
            mosaic = mosaic_of(label, tags, offset, _kind(label, page))
        elif photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) and (
            photometric not in _OF_PILLOW or page.bitspersample > 8
        ):
            name = getattr(photometric, "name", photometric)
            raise ImageError(f"{label}: has {name} colours; convert it to RGB first")
        if any(extra == 1 for extra in page.extrasamples):
            raise ImageError(f"{label}: has premultiplied transparency, which is not supported")
        samples, upright = self._decoded(label, page, number, image)
        if photometric == _WHITE_IS_ZERO and not (upright and page.bitspersample <= 8):
            samples = _inverted(samples, self._range)
        shape = (*samples.shape, samples.dtype.name)
        orientation, fields = page_fields(tags, offset, shape, upright, len(self) == 1)
        if photometric == _INKS:
            fields["icc_profile"] = srgb_profile()
        if self._range is None and 8 < page.bitspersample < 16:
            # Packed without gaps. Nobody packs them again: they become the upper ones of 16.
            packed = (0.0, 2.0**page.bitspersample - 1)
            photo = to_photo(label, samples, orientation, packed, mosaic, **fields)
            return replace(photo, value_range=FULL_RANGE["uint16"])
        return to_photo(label, samples, orientation, self._range, mosaic, **fields)

    def _decoded(self, label: str, page: Any, number: int, image: int) -> tuple[np.ndarray, bool]:
        """Samples (H, W, 1-4) of an image, and whether they are upright already."""
        simple = page.compression == _PLAIN or page.compression in _DEFLATED
        whole = page.bitspersample in (8, 16, 32, 64) and page.photometric not in _OF_PILLOW
        if self.pages.images > 1:
            return self._behind(label, page, image), False
        if simple and whole:
            _kind(label, page)
            return self._by_tifffile(label, page), False
        if page.bitspersample <= 16:

            def again() -> Any:
                picture = Image.open(self.path, formats=["TIFF"])
                picture.seek(number)
                return picture

            # Pillow turns the picture upright.
            return decoded(label, self._by_pillow(number), again), True
        _kind(label, page)
        return self._by_tifffile(label, page), False

    def _by_pillow(self, number: int) -> Any:
        """Pillow's picture, which finds the next page without beginning at the first again."""
        if self._pillow is None or self._pillow.tell() >= number:
            if self._pillow is not None:
                self._pillow.close()
            self._pillow = Image.open(self.path, formats=["TIFF"])
        self._pillow.seek(number)
        return self._pillow

    def _by_tifffile(self, label: str, page: Any) -> np.ndarray:
        chunk = math.prod(page.chunks) * page.dtype.itemsize
        if len(page.dataoffsets) != math.prod(page.chunked) or 0 in page.databytecounts:
            raise ImageError(f"{label}: cannot be read: parts of the picture are missing")
        if chunk > max(4 * math.prod(page.shape) * page.dtype.itemsize, 2**24):
            raise ImageError(f"{label}: cannot be read: its tiles are larger than the picture")
        if page.compression in _DEFLATED:
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                self._check_inflation(label, offset, count, chunk)
        samples = page.asarray()
        if page.axes == "YX":
            return samples[..., None]
        if page.axes == "SYX":
            return np.moveaxis(samples, 0, -1)
        if page.axes != "YXS":
            raise ImageError(f"{label}: is a volume ({page.axes}), not a photograph")
        return samples

    def _check_inflation(self, label: str, offset: int, count: int, expected: int) -> None:
        """A thousand bytes can be packed into one: see, a little at a time, how many there are."""
        self._file.seek(offset)
        packed, unpacked, size = self._file.read(count), zlib.decompressobj(), 0
        while packed and not unpacked.eof:
            size += len(unpacked.decompress(packed, 2**20))
            packed = unpacked.unconsumed_tail
            if size > 2 * expected + 2**16:
                raise ImageError(f"{label}: cannot be read: it unpacks to more than its pixels")

    def _behind(self, label: str, page: Any, image: int) -> np.ndarray:
        """One of the images that stand one behind the other, without directories of their own."""
        _kind(label, page)
        count = math.prod(page.shape)
        if page.compression != _PLAIN or not page.is_contiguous or page.axes not in ("YX", "YXS"):
            raise ImageError(f"{label}: cannot be read: its images do not follow each other")
        kind = page.dtype.newbyteorder(page.parent.byteorder)
        self._file.seek(page.dataoffsets[0] + image * count * kind.itemsize)
        data = self._file.read(count * kind.itemsize)
        if len(data) < count * kind.itemsize:
            raise ImageError(f"{label}: cannot be read: the file ends before it")
        samples = np.frombuffer(data, kind).reshape(page.shape).astype(page.dtype)
        return samples[..., None] if samples.ndim == 2 else samples


def _kind(label: str, page: Any) -> str:
    """The type of a page's samples."""
    if page.dtype is None or page.dtype.name not in FULL_RANGE:
        kind = f"{page.bitspersample}-bit {page.sampleformat!s}"
        raise ImageError(f"{label}: has pixels of an unsupported kind ({kind})")
    return page.dtype.name


def _inverted(samples: np.ndarray, value_range: tuple[float, float] | None) -> np.ndarray:
    """Where 0 is white. Without a range, the whole range of the type is turned round."""
    if value_range is None and samples.dtype.kind != "f":
        return ~samples
    low, high = value_range or (0.0, 1.0)
    turned = low + high - samples.astype(np.float64)
    if samples.dtype.kind != "f":
        bounds = np.iinfo(samples.dtype)
        turned = np.rint(turned).clip(bounds.min, bounds.max)
    return turned.astype(samples.dtype)
