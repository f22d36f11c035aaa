"""JPEG files: the quality they were compressed with, and whether decoding them takes for ever."""

import functools
import io
import mmap
import os
import re
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from lessons_lib.images.photo import ImageError, first_line

# A progressive file sends its coefficients in about ten scans. Each costs the time of the whole
# picture, even if it says nothing, so that a small file could ask for hours.
_SCANNED_PIXELS, _SCANS = 2_500_000_000, 20

# In the coded pixels 0xFF is followed by 0 or the number of a restart; all else ends them.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


def jpeg_quality(path: str | os.PathLike[str]) -> int | None:
    """The quality that a JPEG file was compressed with, on libjpeg's scale from 1 to 100.

    It is the one whose quantisation table for luma is nearest to the file's. Cameras have tables of
    their own; then it is the quality that loses about as much.

    Returns:
        None for what is no JPEG file.

    Raises:
        ImageError: if the file cannot be read.
    """
    path = Path(path)
    try:
        # A file of another kind need not be read for this: some of them take long to open.
        with path.open("rb") as start:
            if start.read(2) != b"\xff\xd8":
                return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=["JPEG"]) as file:
                table = getattr(file, "quantization", {}).get(0)
    except Exception as error:
        reason = first_line(error)
        raise ImageError(f"{path}: cannot be read: {reason}") from error
    if table is None:
        return None
    # In order of size: tables are stored in zigzag, and versions of Pillow do not agree on that.
    steps = np.sort(np.asarray(table, dtype=float))
    return min(range(1, 101), key=lambda quality: np.abs(np.log(steps / _steps(quality))).sum())


@functools.cache
def _steps(quality: int) -> np.ndarray:
    """libjpeg's quantisation steps for luma, in order of size: what it writes into a file."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "JPEG", quality=quality)
    return np.sort(np.asarray(Image.open(buffer).quantization[0], dtype=float))  # type: ignore


def check_scans(path: Path, pixels: int) -> None:
    """Refuse, with an ImageError, a JPEG file that asks to be decoded too many times over."""
    limit = max(_SCANS, min(1000, _SCANNED_PIXELS // max(1, pixels)))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        scans, place = 0, 2
        while place + 4 <= len(data) and data[place] == 0xFF:
            marker = data[place + 1]
            if marker == 0xFF:  # padding
                place += 1
                continue
            if marker == 0xD9:
                return
            place += 2
            if marker != 0x01 and not 0xD0 <= marker <= 0xD8:
                place += max(2, int.from_bytes(data[place : place + 2], "big"))
            if marker == 0xDA:
                scans += 1
                if scans > limit:
                    raise ImageError(f"{path}: asks to be decoded more than {limit} times over")
                found = _END_OF_SCAN.search(data, place)
                if found is None:
                    return
                place = found.start()
