"""Writes TIFF files page by page, of every type of sample, with all that a photograph says.

Source: TIFF 6.0, and the BigTIFF design for files of more than 4 GB.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from lessons_lib.images import exif, tiff_tags
from lessons_lib.images.directories import Directory, Entry, fractions, long, short
from lessons_lib.images.packing import packed
from lessons_lib.images.photo import FULL_RANGE, Mosaic, Photo
from lessons_lib.images.samples import to_samples

_DEFLATE, _PLAIN, _DIFFERENCES = 8, 1, 2
_STRIP_BYTES = 2**18
_DESCRIPTION = exif.DESCRIPTION
# The longest header there is, so that its kind can wait until the size is known.
_HEADER = 16


class TiffFile:
    """A TIFF file that is being written.

    All pixels come first, one page behind the other, as ImageJ wants them; all directories stand
    at the end.

    Args:
        file: empty, open for writing.
        order: byte order, "<" or ">".
        stack: what the first page tells programs about all pages.
        count: the number of pages that this is true of.
    """

    def __init__(
        self, file: BinaryIO, order: str = "<", stack: Directory | None = None, count: int = 0
    ) -> None:
        self._file = file
        self._order = order
        self._stack = stack or Directory()
        self._count = count
        self._pages: list[Directory] = []
        self._as_before = True
        file.write(bytes(_HEADER))

    def add(self, photo: Photo) -> None:
        """Write the pixels of one more page."""
        kind = photo.sample_type
        # Colours that have been made of a sensor's have nothing to do with its black and white.
        mosaic = photo.mosaic if photo.pixels.shape[1] == 1 else None
        samples = to_samples(photo, kind, photo.range, mosaic)
        page = _described(photo, samples, mosaic)
        text = self._stack.entries.get(_DESCRIPTION, page.entries.get(_DESCRIPTION))
        # ImageJ skips directories: it takes one page to begin where the one before ends.
        plain = text is not None and text.data.startswith(b"ImageJ=")
        self._as_before &= photo.tiff is not None and photo.tiff.shape == (*samples.shape, kind)
        page.entries |= self._pixels(samples, plain)
        self._pages.append(page)

    def close(self) -> None:
        """Write the directories, and the header last of all."""
        if len(self._pages) > 1:
            for page in self._pages:
                text = page.entries.get(_DESCRIPTION)
                if text and tiff_tags.is_for_programs(text.text()):
                    # Each of them believed to be alone.
                    del page.entries[_DESCRIPTION]
        if self._as_before and len(self._pages) == self._count:
            self._pages[0].entries |= self._stack.entries
        start = self._file.tell()
        start += self._file.write(bytes(start % 2))
        # A directory takes much less than what was left until here.
        wide = start > 2**32 - 2**28
        if wide:
            mark = struct.pack(self._order + "HHHQ", 43, 8, 0, start)
        else:
            mark = struct.pack(self._order + "HI", 42, start)
        for number, page in enumerate(self._pages, 1):
            data = packed(page, start, self._order, wide, more=number < len(self._pages))
            start += self._file.write(data)
        self._file.seek(0)
        self._file.write((b"II" if self._order == "<" else b"MM") + mark)

    def _pixels(self, samples: np.ndarray, plain: bool) -> dict[int, Entry]:
        height, width, count = samples.shape
        rows = max(1, _STRIP_BYTES // (width * count * samples.itemsize))
        # Differences of neighbours pack better, of integers; of floats they would not be exact.
        differences = samples.dtype.kind != "f" and not plain
        offsets, counts = [], []
        for strip in _strips(samples, rows):
            if differences:
                steps = strip.copy()
                steps[:, 1:] -= strip[:, :-1]
                strip = steps
            data = strip.astype(f"{self._order}{strip.dtype.str[1:]}").tobytes()
            data = data if plain else zlib.compress(data, 6)
            offsets.append(self._file.tell())
            counts.append(self._file.write(data))
        kinds = {"u": 1, "i": 2, "f": 3}
        entries = {
            256: long(width),
            257: long(height),
            258: short(*[samples.itemsize * 8] * count),
            259: short(_PLAIN if plain else _DEFLATE),
            273: long(*offsets),
            277: short(count),
            278: long(min(rows, height)),
            279: long(*counts),
            284: short(1),
            339: short(*[kinds[samples.dtype.kind]] * count),
        }
        return entries | ({317: short(_DIFFERENCES)} if differences else {})


def _strips(samples: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    for top in range(0, len(samples), rows):
        yield samples[top : top + rows]


def _described(photo: Photo, samples: np.ndarray, mosaic: Mosaic | None) -> Directory:
    """The tags of a page that say what its pixels mean."""
    camera = exif.without_maker_note(exif.parse(photo.exif).tags)
    page = Directory(dict(camera.entries), camera.children)
    entries = page.entries
    if photo.tiff:
        kept = dict(photo.tiff.tags.entries)
        if photo.tiff.shape != (*samples.shape, samples.dtype.name):
            # It would speak of other pixels than these.
            kept.pop(_DESCRIPTION, None)
        entries |= kept
    if photo.dpi:
        entries |= exif.resolution(photo.dpi)
    if photo.xmp:
        entries[tiff_tags.XMP] = Entry(1, photo.xmp)
    profile = fitting_profile(photo)
    if profile:
        entries[tiff_tags.ICC_PROFILE] = Entry(7, profile)
    count = samples.shape[-1]
    entries[262] = short(1 if count <= 2 else 2)
    if count in (2, 4):
        entries[338] = short(2)
    if mosaic:
        entries[262] = short(32803)
        entries[tiff_tags.CFA_SIZE] = short(2, 2)
        entries[tiff_tags.CFA_PATTERN] = Entry(1, bytes("RGB".index(c) for c in mosaic.pattern))
        if (*set(mosaic.black), mosaic.white) != (0.0, FULL_RANGE[samples.dtype.name][1]):
            entries[tiff_tags.BLACK_SIZE] = short(2, 2)
            entries[tiff_tags.BLACK_LEVEL] = fractions(*mosaic.black)
            entries[tiff_tags.WHITE_LEVEL] = long(round(mosaic.white))
    return page


def fitting_profile(photo: Photo) -> bytes:
    """The colour profile, unless it is for another number of channels than there are now."""
    made_for = {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}.get(photo.icc_profile[16:20])
    return photo.icc_profile if made_for in (None, photo.pixels.shape[1]) else b""
