"""Directories of tags: the structure that TIFF files and EXIF blocks share.

Source: TIFF 6.0 §2 and the BigTIFF design; EXIF keeps a small TIFF file without pixels.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np

# Bytes of one value, and of the words in it that the byte order turns round, by type number.
SIZES = {
    1: (1, 1),  # BYTE
    2: (1, 1),  # ASCII
    3: (2, 2),  # SHORT
    4: (4, 4),  # LONG
    5: (8, 4),  # RATIONAL
    6: (1, 1),  # SBYTE
    7: (1, 1),  # UNDEFINED
    8: (2, 2),  # SSHORT
    9: (4, 4),  # SLONG
    10: (8, 4),  # SRATIONAL
    11: (4, 4),  # FLOAT
    12: (8, 8),  # DOUBLE
    13: (4, 4),  # IFD
    16: (8, 8),  # LONG8
    17: (8, 8),  # SLONG8
    18: (8, 8),  # IFD8
}
_NUMBERS = {
    **dict.fromkeys((1, 7), "u1"),
    **dict.fromkeys((4, 5, 13), "u4"),
    **dict.fromkeys((9, 10), "i4"),
    **dict.fromkeys((16, 18), "u8"),
    **dict(zip((3, 6, 8, 11, 12, 17), ("u2", "i1", "i2", "f4", "f8", "i8"), strict=True)),
}
ASCII, SHORT, LONG, RATIONAL, LONG8 = 2, 3, 4, 5, 16


class DirectoryError(ValueError):
    """A directory that cannot be read."""


@dataclass(frozen=True)
class Entry:
    """One tag's values.

    Args:
        kind: TIFF's number of their type.
        data: their bytes, little-endian.
        place: where in its file they stood; 0 in the tag itself, or where that is not known.
    """

    kind: int
    data: bytes
    place: int = field(default=0, compare=False)

    @property
    def count(self) -> int:
        """How many values there are."""
        return len(self.data) // SIZES[self.kind][0]

    def numbers(self) -> list[Any]:
        """The values as numbers; fractions are divided out, and 0/0 and 1/0 are left out."""
        if self.kind == ASCII:
            return []
        values = np.frombuffer(self.data, dtype="<" + _NUMBERS[self.kind]).tolist()
        if self.kind not in (5, 10):
            return values
        pairs = zip(values[::2], values[1::2], strict=True)
        return [above / below for above, below in pairs if below]

    def text(self) -> str:
        """The values as text, up to the first zero."""
        return self.data.split(b"\0")[0].decode("utf-8", "replace")


@dataclass
class Directory:
    """Tags by number, and the directories that some of them point to."""

    entries: dict[int, Entry] = field(default_factory=dict)
    children: dict[int, "Directory"] = field(default_factory=dict)

    def number(self, code: int, default: int) -> int:
        """The first value of a tag as a whole number."""
        values = self.entries[code].numbers() if code in self.entries else []
        return int(values[0]) if values else default

    def __bool__(self) -> bool:
        return bool(self.entries or self.children)


def short(*values: int) -> Entry:
    """An entry of 16-bit numbers."""
    return Entry(SHORT, struct.pack(f"<{len(values)}H", *values))


def long(*values: int) -> Entry:
    """An entry of 32-bit numbers, or of 64-bit ones where one of them needs it."""
    wide = max(values) >= 2**32
    return Entry(LONG8 if wide else LONG, np.array(values, "<u8" if wide else "<u4").tobytes())


def fractions(*values: float) -> Entry:
    """An entry of fractions of 32-bit numbers."""
    parts = [Fraction(value).limit_denominator(10_000) for value in values]
    data = b"".join(struct.pack("<II", part.numerator, part.denominator) for part in parts)
    return Entry(RATIONAL, data)


class TagFile:
    """Reads the directories of a file.

    A file can claim that its tags overlap, so that a small file costs hours. All that its tags
    hold counts against a few times the file's own size, whether it is wanted or not: other
    readers will read it all.

    Args:
        file: open for reading, positioned anywhere.

    Raises:
        DirectoryError: no header of a TIFF.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, 2)
        self._left = 16 * self.size + 2**24
        header = self._read(0, 16)
        if header[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            raise DirectoryError("no TIFF header")
        self.order = "<" if header[:2] == b"II" else ">"
        self.wide = header[2:4] in (b"+\0", b"\0+")
        if len(header) < 8 + 8 * self.wide:
            raise DirectoryError("the header is cut off")
        where = header[8:16] if self.wide else header[4:8]
        (self.first,) = struct.unpack(self.order + ("Q" if self.wide else "I"), where)
        self.damaged = False

    def _spend(self, size: int) -> None:
        self._left -= min(size, self.size)
        if self._left < 0:
            raise DirectoryError("its tags overlap")

    def _read(self, offset: int, size: int) -> bytes:
        self._spend(size)
        self._file.seek(offset)
        return self._file.read(size)

    def following(self, offset: int) -> int:
        """Where the directory after this one stands; 0 after the last.

        Raises:
            DirectoryError: the file ends before this one does.
        """
        count, head, slot, link = self._shape(offset)
        data = self._read(offset + head + slot * count, link)
        # Some writers forget the link of the last directory at the very end of a file.
        return int.from_bytes(data, "little" if self.order == "<" else "big")

    def read(self, offset: int, codes: Iterable[int] | None = None) -> Directory:
        """The tags of one directory; those that cannot be read are left out (`damaged`).

        Args:
            offset: where it stands.
            codes: the tags that are wanted; all, if left out.

        Raises:
            DirectoryError: the file ends before it does, or all tags together cost too much.
        """
        count, head, slot, _ = self._shape(offset)
        data = self._read(offset + head, slot * count)
        layout = self.order + ("HHQ8s" if self.wide else "HHI4s")
        found = Directory()
        for code, kind, values, inline in struct.iter_unpack(layout, data):
            wanted = codes is None or code in codes
            size, word = SIZES.get(kind, (0, 0))
            size *= values
            if not wanted or not size or code in found.entries:
                self._spend(size)
                self.damaged |= wanted and not size
                continue
            where = 0
            if size <= len(inline):
                content = inline[:size]
            else:
                where = int.from_bytes(inline, "little" if self.order == "<" else "big")
                if where + size > self.size:
                    self.damaged = True
                    continue
                content = self._read(where, size)
            found.entries[code] = Entry(kind, turned(content, word, self.order), where)
        return found

    def _shape(self, offset: int) -> tuple[int, int, int, int]:
        """Number of tags, bytes before the first, of each, of the link after the last."""
        head, slot, link = (8, 20, 8) if self.wide else (2, 12, 4)
        data = self._read(offset, head)
        count = int.from_bytes(data, "little" if self.order == "<" else "big")
        if len(data) < head or offset < 8 or offset + head + slot * count > self.size:
            raise DirectoryError("a directory of tags is cut off")
        return count, head, slot, link


def turned(data: bytes, word: int, order: str) -> bytes:
    """Bytes from little-endian to an order, or from it."""
    if order == "<" or word == 1:
        return data
    return np.frombuffer(data, dtype=f">u{word}").astype(f"<u{word}").tobytes()


def integer(value: int, size: int, order: str) -> bytes:
    """A whole number as bytes."""
    return value.to_bytes(size, "little" if order == "<" else "big")
