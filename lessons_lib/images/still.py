"""Reads files of one picture: PNG, JPEG, BMP and WebP."""

from pathlib import Path
from typing import Any

from PIL import Image

from lessons_lib.images import exif, png
from lessons_lib.images.colours import srgb_profile
from lessons_lib.images.decoding import decoded
from lessons_lib.images.jpeg import check_scans
from lessons_lib.images.photo import ImageError, Photo, check_size
from lessons_lib.images.samples import to_photo

FORMATS = ["PNG", "JPEG", "BMP", "WEBP"]


def read_still(path: Path, value_range: tuple[float, float] | None = None) -> Photo:
    """Read the only picture of a file.

    Raises:
        ImageError: too large, animated, or of colours that cannot be read.
        Exception: of nearly every kind, where the bytes are damaged.
    """
    with Image.open(path, formats=FORMATS) as image:
        check_size(path, image.width, image.height)
        # A phone's JPEG may carry further pictures (MPO): the first is the photograph.
        count = getattr(image, "n_frames", 1)
        if image.format not in ("JPEG", "MPO") and count > 1:
            raise ImageError(f"{path}: is animated; only still pictures can be read")
        if image.format == "PNG":
            # The only check that sees a damaged or missing chunk after the last pixel.
            with Image.open(path, formats=["PNG"]) as again:
                again.verify()
        if image.format in ("JPEG", "MPO"):
            check_scans(path, image.width * image.height)
        samples = decoded(path, image, lambda: Image.open(path, formats=FORMATS))
        info = image.info
        camera = exif.parse(_exif_block(info))
        height, width = samples.shape[:2]
        if camera.orientation >= 5:
            height, width = width, height
        profile = info.get("icc_profile") or b""
        notes = [exif.DAMAGED] if camera.damaged else []
        if count > 1:
            notes.append("further pictures in the same file are left out")
        return to_photo(
            path,
            samples,
            camera.orientation,
            value_range,
            exif=exif.adapted(camera, width, height),
            icc_profile=srgb_profile() if image.mode == "CMYK" else profile,
            dpi=_dpi(info) or camera.dpi,
            xmp=exif.clean_xmp(_bytes(info.get("xmp"))),
            comment=_bytes(info.get("comment")) if image.format != "PNG" else b"",
            chunks=png.kept_chunks(path) if image.format == "PNG" else (),
            notes=tuple(notes),
        )


def _dpi(info: dict[Any, Any]) -> tuple[float, float] | None:
    # Where a JPEG file names no unit, Pillow makes up 72.
    if "jfif_density" in info and info.get("jfif_unit") not in (1, 2):
        return None
    return exif.plausible_dpi(info.get("dpi"))


def _exif_block(info: dict[Any, Any]) -> bytes:
    if "exif" in info:
        return _bytes(info["exif"])
    # ImageMagick wrote it into a PNG's text, as lines of hexadecimal digits.
    lines = str(info.get("Raw profile type exif", "")).split("\n")
    try:
        return bytes.fromhex("".join(lines[3:]))
    except ValueError:
        return b""


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value or b"")
