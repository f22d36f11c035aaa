"""Camera data: EXIF and XMP, without what only held for the pixels of the old file."""

import io
import re
from dataclasses import dataclass
from typing import Any

from lessons_lib.images.directories import (
    Directory,
    DirectoryError,
    Entry,
    TagFile,
    fractions,
    long,
    short,
)
from lessons_lib.images.packing import packed

ORIENTATION, EXIF, GPS, DESCRIPTION = 274, 34665, 34853, 270
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = RESOLUTION = (282, 283, 296)
_INTEROPERABILITY, _MAKER_NOTE = 40965, 37500
_WIDTH, _HEIGHT, _SUBJECT_AREA, _SUBJECT_PLACE, _COMPRESSED_BITS = 40962, 40963, 37396, 41492, 37122

# Of the first directory: what a picture shows, who made it, when and with what. All else there
# says how the pixels lie in the old file, points to a small copy of them, or repeats a profile.
DESCRIBING = frozenset(
    # Titles, maker, model, program, date, artist, host, and two ratings.
    {269, DESCRIPTION, 271, 272, 285, 305, 306, 315, 316, 18246, 18249}
    # Copyright, Windows' five texts, and of DNG the model, the camera's number and the lens.
    | {33432, 40091, 40092, 40093, 40094, 40095, 50708, 50735, 50736}
)

DAMAGED = "damaged camera data (EXIF) are left out"

# A block longer than any camera writes is not looked at.
_LONGEST = 2**24

_XMP_LAYOUT = (
    rb"(?:tiff:(?:ImageWidth|ImageLength|BitsPerSample|Compression|PhotometricInterpretation"
    rb"|SamplesPerPixel|PlanarConfiguration)|exif:Pixel[XY]Dimension)"
)
_XMP_DROPPED = re.compile(
    rb"\s" + _XMP_LAYOUT + rb"=(?:\"[^\"<]{0,40}\"|'[^'<]{0,40}')"
    rb"|<(" + _XMP_LAYOUT + rb")>[^<]{0,40}</\1>"
)
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation\s?(?:=\s?[\"']|>))[2-8]")


@dataclass(frozen=True)
class Camera:
    """An EXIF block, taken apart.

    Args:
        tags: those that describe, with the directories for exposure and place below them.
        order: byte order, "<" or ">"; what the maker noted keeps to it.
        orientation: from 1 to 8.
        dpi: dots per inch, across and down.
        damaged: whether something in it could not be read.
    """

    tags: Directory
    order: str = "<"
    orientation: int = 1
    dpi: tuple[float, float] | None = None
    damaged: bool = False


def parse(block: bytes) -> Camera:
    """Take an EXIF block apart; what cannot be read is left out.

    Args:
        block: with or without ``Exif`` before it; may be empty.
    """
    block = block.removeprefix(b"Exif\0\0")
    if not block:
        return Camera(Directory())
    try:
        if len(block) > _LONGEST:
            raise DirectoryError("too long")
        file = TagFile(io.BytesIO(block))
        tags, orientation = describing(file, file.first)
        dpi = dots_per_inch(file.read(file.first, RESOLUTION))
    except DirectoryError:
        return Camera(Directory(), damaged=True)
    return Camera(tags, file.order, orientation, dpi, file.damaged)


def describing(file: TagFile, offset: int) -> tuple[Directory, int]:
    """What a directory says of the picture, with exposure and place below it; its orientation.

    Raises:
        DirectoryError: the first directory cannot be read. Those below it are left out then.
    """
    tags = file.read(offset, DESCRIBING | {ORIENTATION, EXIF, GPS})
    orientation = tags.number(ORIENTATION, 1)
    tags.entries.pop(ORIENTATION, None)
    for code in (EXIF, GPS):
        where = tags.number(code, 0)
        if tags.entries.pop(code, None) is None:
            continue
        try:
            below = file.read(where)
            inner = below.number(_INTEROPERABILITY, 0)
            if below.entries.pop(_INTEROPERABILITY, None) is not None and code == EXIF:
                below.children[_INTEROPERABILITY] = file.read(inner)
        except DirectoryError:
            file.damaged = True
            continue
        if below:
            tags.children[code] = below
    return tags, orientation if 1 <= orientation <= 8 else 1


def dots_per_inch(tags: Directory) -> tuple[float, float] | None:
    """Resolution across and down, by the tags for it; None where they name no unit of length."""
    inches = {2: 1.0, 3: 2.54}.get(tags.number(RESOLUTION_UNIT, 2))
    found = [
        tags.entries[code].numbers()
        for code in (X_RESOLUTION, Y_RESOLUTION)
        if code in tags.entries
    ]
    if inches is None or len(found) < 2 or not all(found):
        return None
    return plausible_dpi([values[0] * inches for values in found])


def plausible_dpi(dpi: Any) -> tuple[float, float] | None:
    """A resolution across and down, if it is one."""
    try:
        across, down = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 1 <= across <= 1e5 and 1 <= down <= 1e5 else None


def resolution(dpi: tuple[float, float]) -> dict[int, Entry]:
    """The tags for dots per inch, across and down."""
    across, down = (fractions(value) for value in dpi)
    return {X_RESOLUTION: across, Y_RESOLUTION: down, RESOLUTION_UNIT: short(2)}


def adapted(camera: Camera, width: int, height: int) -> bytes:
    """An EXIF block for the upright, restored picture of this size; empty if nothing is left."""
    tags = Directory(dict(camera.tags.entries), dict(camera.tags.children))
    if EXIF in tags.children:
        old = tags.children[EXIF]
        entries = {code: entry for code, entry in old.entries.items() if code != _COMPRESSED_BITS}
        for code, size in ((_WIDTH, width), (_HEIGHT, height)):
            if code in entries:
                entries[code] = long(size)
        if camera.orientation != 1:
            for code in (_SUBJECT_AREA, _SUBJECT_PLACE):
                entries.pop(code, None)
        tags.children[EXIF] = Directory(entries, old.children)
    return block(tags, camera.order)


def block(tags: Directory, order: str = "<") -> bytes:
    """Tags as one EXIF block, empty if there are none.

    What the maker noted points to places in the block, by a scheme of its own. It stays where it
    was, or is left out.
    """
    note = _maker_note(tags)
    # The first directory stands before everything else.
    begin = 8 + 2 + 12 * (len(tags.entries) + len(tags.children)) + 4
    if note and not (begin <= note.place <= 2**16):
        tags, note = without_maker_note(tags), None
    if not tags:
        return b""
    mark = b"II*\0\x08\0\0\0" if order == "<" else b"MM\0*\0\0\0\x08"
    return b"Exif\0\0" + mark + packed(tags, 8, order, pinned=note)


def without_maker_note(tags: Directory) -> Directory:
    """The tags without the maker's own, which mean nothing at another place."""
    if _maker_note(tags) is None:
        return tags
    below = tags.children[EXIF]
    entries = {code: entry for code, entry in below.entries.items() if code != _MAKER_NOTE}
    kept = Directory(entries, below.children)
    others = {code: child for code, child in tags.children.items() if code != EXIF}
    return Directory(tags.entries, others | ({EXIF: kept} if kept else {}))


def _maker_note(tags: Directory) -> Entry | None:
    return tags.children[EXIF].entries.get(_MAKER_NOTE) if EXIF in tags.children else None


def clean_xmp(packet: bytes) -> bytes:
    """An XMP packet without orientation, sizes and small copies of the old picture."""
    if len(packet) > _LONGEST:
        return b""
    packet = _XMP_DROPPED.sub(b"", packet)
    packet = _XMP_ORIENTATION.sub(rb"\g<1>1", packet)
    begin, end = b"<xmp:Thumbnails>", b"</xmp:Thumbnails>"
    first = packet.find(begin)
    last = packet.find(end, first)
    if 0 <= first < last:
        packet = packet[:first] + packet[last + len(end) :]
    return packet
