"""Finds the pages of a TIFF file, with bounds on what a hostile file can ask for."""

from dataclasses import dataclass
from pathlib import Path

from lessons_lib.images.directories import Directory, TagFile
from lessons_lib.images.exif import DESCRIPTION
from lessons_lib.images.photo import ImageError
from lessons_lib.images.tiff_tags import images_behind_one_page

MAX_PAGES = 100_000

_WIDTH, _HEIGHT, _SUBFILE, _SUB_DIRECTORIES, _DNG_VERSION = 256, 257, 254, 330, 50706
_REDUCED, _MASK = 1, 4
# Its planes stand behind one directory, and what says so is not the description.
_METAMORPH = 33629


@dataclass(frozen=True)
class Pages:
    """Where the pictures of a file stand.

    Args:
        places: number in the chain of directories and offset, for each picture.
        images: how many follow each other behind a single directory; 1 where each has its own.
        raw: whether the file is a camera's own, whose pixels stand elsewhere.
        description: of the first page.
    """

    places: list[tuple[int, int]]
    images: int
    raw: bool
    description: str


def find_pages(path: Path, file: TagFile) -> Pages:
    """Follow the chain of directories, without reading pixels.

    Smaller copies of a picture and masks are no pictures; in an OME file every page counts.

    Raises:
        ImageError: the chain is a loop, or has more than `MAX_PAGES` directories.
        DirectoryError: it is cut off, or its tags cost too much to read.
    """
    offset, seen, first = file.first, set[int](), Directory()
    every: list[tuple[int, int]] = []
    full: list[tuple[int, int]] = []
    while offset:
        if offset in seen:
            raise ImageError(f"{path}: cannot be read: its pages are a loop")
        if len(seen) == MAX_PAGES:
            raise ImageError(f"{path}: has more than {MAX_PAGES} pages")
        tags = file.read(offset, {_SUBFILE} if seen else None)
        first = first if seen else tags
        place = (len(seen), offset)
        every.append(place)
        if not tags.number(_SUBFILE, 0) & (_REDUCED | _MASK):
            full.append(place)
        seen.add(offset)
        offset = file.following(offset)
    if not every:
        raise ImageError(f"{path}: cannot be read: it has no page")
    entry = first.entries.get(DESCRIPTION)
    description = entry.text() if entry else ""
    if description.strip().endswith("OME>"):
        full = every
    images = 1
    if len(every) == 1:
        height, width = first.number(_HEIGHT, 0), first.number(_WIDTH, 0)
        images = images_behind_one_page(description, height, width)
        if images > MAX_PAGES:
            raise ImageError(f"{path}: has more than {MAX_PAGES} pages")
    if _METAMORPH in first.entries and first.entries[_METAMORPH].count > 1:
        raise ImageError(f"{path}: is a stack of MetaMorph, which is not supported")
    preview_only = not full and _SUB_DIRECTORIES in first.entries
    return Pages(
        full or every[:1], images, _DNG_VERSION in first.entries or preview_only, description
    )
