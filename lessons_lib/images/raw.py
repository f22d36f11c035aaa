"""Reads DNG files, a camera's own, with rawpy where it is installed: MIT, LibRaw inside it LGPL."""

import contextlib
from pathlib import Path

import numpy as np

from lessons_lib.images import exif
from lessons_lib.images.directories import Directory, DirectoryError, TagFile
from lessons_lib.images.photo import ImageError, Mosaic, Photo, check_size
from lessons_lib.images.samples import to_photo

# What LibRaw says of the turn that makes a picture upright, in EXIF's numbers.
_ORIENTATIONS = {0: 1, 3: 3, 5: 8, 6: 6}


def read_raw(path: Path, value_range: tuple[float, float] | None = None) -> Photo:
    """Read the mosaic of a sensor, linear, each pixel of one colour.

    Raises:
        ImageError: rawpy is not installed, or the sensor has no Bayer pattern.
    """
    try:
        import rawpy
    except ImportError:
        raise ImageError(
            f"{path}: is a camera's raw file; to read it, pip install 'lessons-lib[raw]'"
        ) from None
    try:
        with rawpy.imread(str(path)) as raw:
            sizes = raw.sizes
            check_size(path, sizes.raw_width, sizes.raw_height)
            if raw.raw_type != rawpy.RawType.Flat or raw.raw_pattern is None:
                raise ImageError(f"{path}: has no mosaic, but colours at each pixel")
            if raw.raw_pattern.shape != (2, 2):
                raise ImageError(f"{path}: has a mosaic that is no Bayer pattern")
            samples = raw.raw_image_visible.copy()
            places = raw.raw_colors_visible[:2, :2].ravel().tolist()
            colours = raw.color_desc.decode()
            black = [float(raw.black_level_per_channel[place]) for place in places]
            white = float(raw.white_level)
            orientation = _ORIENTATIONS.get(sizes.flip, 1)
    except rawpy.LibRawError as error:
        reason = error.args[0] if error.args else type(error).__name__
        reason = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise ImageError(f"{path}: cannot be read: {reason}") from None
    pattern = "".join(colours[place] for place in places)
    if sorted(pattern) != list("BGGR") or pattern[0] == pattern[1] or not max(black) < white:
        raise ImageError(f"{path}: has a mosaic that is no Bayer pattern ('{pattern}')")
    first, second, third, fourth = black
    mosaic = Mosaic(pattern, (first, second, third, fourth), white)
    if samples.dtype != np.uint16:
        raise ImageError(f"{path}: has pixels of an unsupported kind ({samples.dtype})")
    tags, order = Directory(), "<"
    with contextlib.suppress(DirectoryError), path.open("rb") as file:
        block = TagFile(file)
        tags, order = exif.without_maker_note(exif.describing(block, block.first)[0]), block.order
    height, width = samples.shape if orientation < 5 else samples.shape[::-1]
    camera = exif.Camera(tags, order, orientation)
    return to_photo(
        path,
        samples[..., None],
        orientation,
        value_range,
        mosaic,
        exif=exif.adapted(camera, width, height),
    )
