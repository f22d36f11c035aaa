"""A photograph in memory."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from lessons_lib.images.directories import Directory

# The largest camera sensors have about 150 million pixels. A file that claims more is taken for
# a decompression bomb and refused before anything is decoded.
MAX_PIXELS = 160_000_000

# What counts as black and as white, where neither the file nor the caller says otherwise. Signed
# integers begin at 0 too: what measures light has no negative half.
FULL_RANGE = {
    "uint8": (0.0, 255.0),
    "uint16": (0.0, 65535.0),
    "uint32": (0.0, 2.0**32 - 1),
    "int8": (0.0, 127.0),
    "int16": (0.0, 32767.0),
    "int32": (0.0, 2.0**31 - 1),
    "float16": (0.0, 1.0),
    "float32": (0.0, 1.0),
    "float64": (0.0, 1.0),
}

# What brings the stored pixels (rows, columns, samples) upright, for each value of the EXIF tag.
UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


class ImageError(ValueError):
    """A file that is no usable image, or an image that cannot be written as asked."""


@dataclass(frozen=True)
class Mosaic:
    """The colour filters in front of a sensor, and its levels in units of the file.

    Args:
        pattern: colours of the first two rows and columns: RGGB, BGGR, GRBG or GBRG.
        black: the sample of no light at these four places, in the same order.
        white: the sample of a pixel that is full.
    """

    pattern: str
    black: tuple[float, float, float, float]
    white: float

    def turned(self, orientation: int, height: int, width: int) -> "Mosaic":
        """The same filters once an image of this size (as stored) has been brought upright."""
        # Four places stand for the whole: an image of 2 or 3 rows and columns turns alike.
        rows, columns = 2 + height % 2, 2 + width % 2
        places = np.add.outer(np.arange(rows) % 2 * 2, np.arange(columns) % 2)
        order = UPRIGHT.get(orientation, lambda a: a)(places)[:2, :2].ravel().tolist()
        first, second, third, fourth = (self.black[place] for place in order)
        pattern = "".join(self.pattern[place] for place in order)
        return Mosaic(pattern, (first, second, third, fourth), self.white)


@dataclass(frozen=True)
class TiffTags:
    """What only a TIFF says of itself, to be written into a TIFF again.

    Args:
        tags: pixel size in no unit or another, places on a map, descriptions for programs.
        shape: (H, W, samples) and sample type that a description for programs speaks of: it is
            left out where the new page is another.
        order: byte order of the file, "<" or ">".
    """

    tags: Directory
    shape: tuple[int, int, int, str]
    order: str = "<"

    @property
    def tell_more(self) -> bool:
        """Whether they say more than that a pixel is one pixel wide, and that there are so many."""
        silent = {code for code, entry in self.tags.entries.items() if entry.numbers() == [1]}
        text = self.tags.entries.get(270)
        if text and text.data.startswith(b"{") and b'"shape": [' in text.data:
            silent.add(270)
        return bool(self.tags.entries.keys() - silent)


@dataclass(frozen=True)
class Photo:
    """A photograph in memory, with what is needed to write the same kind of file again.

    Args:
        pixels: (1, C, H, W) float32, upright; C is 1 (gray) or 3 (RGB). 0 is black, 1 is white;
            samples beyond `value_range` lie beyond [0, 1].
        alpha: (1, 1, H, W) float32 in [0, 1], or None where the file has no transparency.
        bits: per sample: 8, 16, 32 or 64.
        exif: camera data as one EXIF block, without what only held for the old pixels.
        icc_profile: colour profile.
        dpi: dots per inch, across and down.
        sample_type: of the file, a name of NumPy's ("int16"); left out, the usual one of `bits`:
            unsigned integers of 8 and 16, floating point of 32 and 64.
        value_range: the samples that became 0 and 1; left out, those of `FULL_RANGE`. Those of a
            mosaic stand in `mosaic`.
        xmp: an XMP packet.
        comment: of a JPEG file.
        chunks: name and content of a PNG's chunks that say what its colours (gamma, cICP) and
            its picture (texts) mean.
        tiff: what only a TIFF says.
        mosaic: the colour filters, where each pixel has measured one colour; then C is 1.
        notes: what was left out on reading, in whole sentences.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    bits: int = 8
    exif: bytes = b""
    icc_profile: bytes = b""
    dpi: tuple[float, float] | None = None
    sample_type: str = ""
    value_range: tuple[float, float] | None = None
    xmp: bytes = b""
    comment: bytes = b""
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    tiff: TiffTags | None = None
    mosaic: Mosaic | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.sample_type:
            usual = f"{'uint' if self.bits < 32 else 'float'}{self.bits}"
            object.__setattr__(self, "sample_type", usual)
        if self.sample_type not in FULL_RANGE or not self.sample_type.endswith(f"t{self.bits}"):
            raise ValueError(f"no photograph has {self.bits} bits of type '{self.sample_type}'")
        if self.value_range is None:
            object.__setattr__(self, "value_range", FULL_RANGE[self.sample_type])

    @property
    def range(self) -> tuple[float, float]:
        """`value_range`, which is never None once the photograph is made."""
        return self.value_range or FULL_RANGE[self.sample_type]


def check_size(path: Path | str, width: int, height: int) -> None:
    """Refuse, with an ImageError, what claims more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"{path}: {too_large()}")


def too_large() -> str:
    """The words for it."""
    return f"claims more than {MAX_PIXELS // 1_000_000} million pixels; not decoded"


def check_range(path: Path | str, value_range: tuple[float, float] | None) -> None:
    """Refuse, with an ImageError, a range that does not lead from a number to a larger one."""
    if value_range is not None:
        low, high = value_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ImageError(f"{path}: {low:g} to {high:g} is no range from black to white")


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
