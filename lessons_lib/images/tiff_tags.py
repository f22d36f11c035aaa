"""What the tags of a TIFF page say of the picture, its colours, its sensor, its resolution."""

import json
import re
from typing import Any

import numpy as np

from lessons_lib.images import exif
from lessons_lib.images.directories import Directory, Entry, TagFile
from lessons_lib.images.photo import FULL_RANGE, ImageError, Mosaic, TiffTags

ICC_PROFILE, XMP = 34675, 700
CFA_SIZE, CFA_PATTERN = 33421, 33422
LINEARIZATION, BLACK_SIZE, BLACK_LEVEL, WHITE_LEVEL = 50712, 50713, 50714, 50717

# What ImageJ notes beside the description.
_IMAGEJ = {50838, 50839}
# Places on a map and what was measured there (GeoTIFF, GDAL), for pictures that were not turned.
_MAP = {33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113}
# Position and number of the page, and the texts of news agencies (IPTC).
_PAGE = {286, 287, 297, 33723}
# Whether colours follow each other pixel by pixel (1) or plane by plane (2).
PLANES = 284
_WANTED = _IMAGEJ | _MAP | _PAGE | {*exif.RESOLUTION, ICC_PROFILE, XMP, PLANES}
_SENSOR = {CFA_SIZE, CFA_PATTERN, LINEARIZATION, BLACK_SIZE, BLACK_LEVEL, WHITE_LEVEL}


def is_for_programs(description: str) -> bool:
    """Whether a description tells programs how the pages belong together: ImageJ, OME, tifffile."""
    text = description.strip()
    return text.startswith("ImageJ=") or text.endswith("OME>") or _tells_shape(text)


def _tells_shape(text: str) -> bool:
    """Whether it is what tifffile writes."""
    return text.startswith("{") and '"shape": [' in text and len(text) < 10_000


def _tells_planes(text: str, tags: Directory) -> bool:
    """Whether it tells the shape of colours that follow each other plane by plane."""
    return _tells_shape(text) and tags.number(PLANES, 1) == 2


def images_behind_one_page(description: str, height: int, width: int) -> int:
    """How many images follow each other behind the only directory of a file, by its description.

    ImageJ and tifffile write large stacks so.
    """
    try:
        if description.startswith("ImageJ="):
            lines = dict(line.split("=", 1) for line in description.splitlines() if "=" in line)
            return max(1, int(lines.get("images", 1)))
        if _tells_shape(description):
            told = json.loads(description)
            if told.get("truncated"):
                shape = [int(side) for side in told["shape"]]
                frames = shape[: -3 if shape[-1] in (3, 4) and shape[-2] == width else -2]
                if shape[len(frames) : len(frames) + 2] == [height, width] and min(shape) > 0:
                    return int(np.prod(frames, dtype=object)) if frames else 1
    except (ValueError, TypeError, KeyError, IndexError):
        pass
    return 1


def page_fields(
    file: TagFile, offset: int, shape: tuple[int, int, int, str], upright: bool, alone: bool
) -> tuple[int, dict[str, Any]]:
    """Fields of a `Photo` that stand in the tags of one page.

    Args:
        file: its tags.
        offset: where the directory stands.
        shape: (H, W, samples) of the pixels as stored, and their type.
        upright: whether they have been turned already.
        alone: whether it is the only page, so that a description for programs is its own.

    Returns:
        The orientation that is still to be applied, and the fields.
    """
    file.damaged = False
    camera, orientation = exif.describing(file, offset)
    tags = file.read(offset, _WANTED).entries
    if orientation != 1:
        for code in _MAP:
            tags.pop(code, None)
    kept = {code: tags[code] for code in _IMAGEJ | _MAP | _PAGE if code in tags}
    description = camera.entries.get(exif.DESCRIPTION)
    if description and is_for_programs(description.text()):
        del camera.entries[exif.DESCRIPTION]
        # Most of them name height and width, and some an order of colours that is not kept.
        if alone and orientation < 5 and not _tells_planes(description.text(), Directory(tags)):
            kept[exif.DESCRIPTION] = description
    if not alone or exif.DESCRIPTION not in kept:
        kept = {code: entry for code, entry in kept.items() if code not in _IMAGEJ}
    if Directory(tags).number(exif.RESOLUTION_UNIT, 2) not in (2, 3):
        # Pixels of a size that is said elsewhere (ImageJ), or of a shape and no size.
        kept |= {code: tags[code] for code in exif.RESOLUTION if code in tags}
    height, width, samples, kind = shape
    turned = orientation >= 5 and not upright
    size = (width, height) if turned else (height, width)
    whole = exif.adapted(exif.Camera(camera, file.order, orientation), size[1], size[0])
    return (1 if upright else orientation), {
        "exif": whole,
        "icc_profile": tags[ICC_PROFILE].data if ICC_PROFILE in tags else b"",
        "xmp": exif.clean_xmp(tags[XMP].data) if XMP in tags else b"",
        "dpi": exif.dots_per_inch(Directory(tags)),
        "tiff": TiffTags(Directory(kept), (*size, samples, kind), file.order),
        "notes": (exif.DAMAGED,) if file.damaged else (),
    }


def stack_tags(file: TagFile, offset: int) -> Directory:
    """What the first page tells programs about all pages; nothing, if it speaks to people."""
    tags = file.read(offset, _IMAGEJ | {exif.DESCRIPTION, PLANES})
    description = tags.entries.get(exif.DESCRIPTION)
    if not description or not is_for_programs(description.text()):
        return Directory()
    if _tells_planes(description.text(), tags):
        return Directory()
    tags.entries.pop(PLANES, None)
    # tifffile's word for pages without directories of their own. Written again, they have them.
    text = re.sub(rb', "truncated": true|"truncated": true, ', b"", description.data)
    tags.entries[exif.DESCRIPTION] = Entry(description.kind, text)
    return tags


def mosaic_of(label: str, file: TagFile, offset: int, kind: str) -> Mosaic:
    """The colour filters of a page whose photometric interpretation is CFA.

    Source: TIFF/EP §5.2 and DNG 1.7, *BlackLevel* and *WhiteLevel*.

    Raises:
        ImageError: filters other than red, green and blue in a square of two by two, or levels
            that are none.
    """
    tags = file.read(offset, _SENSOR)
    if LINEARIZATION in tags.entries:
        raise ImageError(f"{label}: has a mosaic with a tone curve; convert it to linear pixels")
    numbers = {code: entry.numbers() for code, entry in tags.entries.items()}
    colours = [int(value) for value in numbers.get(CFA_PATTERN, [])]
    pattern = "".join("RGB"[value] if 0 <= value < 3 else "?" for value in colours)
    if numbers.get(CFA_SIZE) != [2, 2] or pattern not in ("RGGB", "BGGR", "GRBG", "GBRG"):
        size = " x ".join(str(value) for value in numbers.get(CFA_SIZE, ["?"]))
        raise ImageError(f"{label}: has a mosaic that is no Bayer pattern ({size}, '{pattern}')")
    rows, columns = numbers.get(BLACK_SIZE, [1, 1])[:2]
    levels = numbers.get(BLACK_LEVEL, [0.0])
    white = float(numbers.get(WHITE_LEVEL, [FULL_RANGE[kind][1]])[0])
    if rows not in (1, 2) or columns not in (1, 2) or len(levels) != rows * columns:
        raise ImageError(f"{label}: has black levels that do not repeat with its mosaic")
    first, second, third, fourth = (
        float(levels[row % rows * columns + column % columns])
        for row in (0, 1)
        for column in (0, 1)
    )
    black = (first, second, third, fourth)
    if not max(black) < white:
        raise ImageError(f"{label}: has a black level ({max(black):g}) above white ({white:g})")
    return Mosaic(pattern, black, white)
