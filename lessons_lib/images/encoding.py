"""Encodes one photograph as PNG, JPEG, WebP or BMP, and says what these cannot hold."""

import io
from typing import Any

import numpy as np
from PIL import Image

from lessons_lib.images import exif, png
from lessons_lib.images.photo import FULL_RANGE, Photo
from lessons_lib.images.samples import to_samples
from lessons_lib.images.tiff_writing import fitting_profile

# The longest side of a picture, by format.
LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "PNG": 2**31 - 1, "BMP": 2**31 - 1}
# What fits into one segment of a JPEG file beside its name.
_SEGMENT = {"exif": 65_533, "xmp": 65_533 - 29, "comment": 65_533}


def metadata(kind: str, photo: Photo) -> dict[str, Any]:
    """What a format keeps of the metadata: exif, icc_profile, xmp, comment, dpi, chunks."""
    if kind == "BMP":
        return {"dpi": photo.dpi} if photo.dpi else {}
    camera = exif.parse(photo.exif)
    if photo.dpi and (kind == "WEBP" or camera.tags):
        camera.tags.entries |= exif.resolution(photo.dpi)
    found: dict[str, Any] = {
        "exif": exif.block(camera.tags, camera.order),
        "icc_profile": fitting_profile(photo),
        "xmp": photo.xmp,
    }
    if kind != "WEBP":
        found["dpi"] = photo.dpi
    if kind == "JPEG":
        found["comment"] = photo.comment
        for name, longest in _SEGMENT.items():
            if len(found[name]) > longest:
                del found[name]
    if kind == "PNG":
        found["chunks"] = photo.chunks
    return {name: value for name, value in found.items() if value}


def encoded(kind: str, photo: Photo) -> bytes:
    """The bytes of a file: PNG, JPEG (quality 95, full colour resolution), WebP (lossless), BMP.

    PNG keeps integers of 8 and 16 bits as they were in the file read. All other types are spread
    over the whole range, of 16 bits in PNG, of 8 bits elsewhere.
    """
    if kind == "PNG" and photo.sample_type in ("uint8", "uint16"):
        sample_type, value_range = photo.sample_type, photo.range
    else:
        sample_type = "uint16" if kind == "PNG" and photo.bits > 8 else "uint8"
        value_range = FULL_RANGE[sample_type]
    samples = to_samples(photo, sample_type, value_range)
    known = metadata(kind, photo)
    if kind == "PNG":
        data = png.encoded16(samples) if sample_type == "uint16" else _saved(samples, "PNG")
        return png.with_chunks(data, _chunks(known))
    if kind == "JPEG":
        return _saved(samples, kind, quality=95, subsampling=0, **known)
    if kind == "WEBP":
        # exact: also where nothing is seen of them, colours are kept.
        return _saved(samples, kind, lossless=True, exact=True, **known)
    return _saved(samples, kind, **known)


def _chunks(known: dict[str, Any]) -> png.Chunks:
    chunks = list(known.get("chunks", ()))
    if "icc_profile" in known:
        chunks.append(png.profile_chunk(known["icc_profile"]))
    if "dpi" in known:
        chunks.append(png.resolution_chunk(known["dpi"]))
    if "exif" in known:
        chunks.append((b"eXIf", known["exif"].removeprefix(b"Exif\0\0")))
    if "xmp" in known:
        chunks.append(png.xmp_chunk(known["xmp"]))
    return tuple(chunks)


def _saved(samples: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(samples[..., 0] if samples.shape[-1] == 1 else samples)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def left_out(kind: str, photo: Photo) -> tuple[str, ...]:
    """What a photograph says that a file of a format will not, in words."""
    kept = metadata(kind, photo)
    words = {
        "exif": "camera data (EXIF)",
        "icc_profile": "the colour profile",
        "xmp": "XMP",
        "comment": "the comment",
        "chunks": "gamma, colour space or texts of PNG",
    }
    missing = [text for name, text in words.items() if getattr(photo, name) and name not in kept]
    most = {"TIFF": 64, "PNG": 16}.get(kind, 8)
    if photo.bits > most:
        missing.insert(0, f"{photo.bits} bits a sample ({most} are kept)")
    if kind != "TIFF" and photo.tiff and photo.tiff.tell_more:
        missing.append("tags of TIFF (pixel size, places, descriptions for programs)")
    return tuple(missing)
