"""Photographs from files to tensors and back, keeping what each file is.

Pillow decodes almost everything. Two kinds of file it cannot hold are handled here: more than
8 bits in each of several channels (PNG, TIFF) and pixels that are floating-point numbers (TIFF).
"""

import contextlib
import functools
import io
import logging
import math
import os
import secrets
import shutil
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFile
from torch import Tensor

# The largest camera sensors have about 150 million pixels. A file that claims more is taken for
# a decompression bomb and refused before anything is decoded.
MAX_PIXELS = 160_000_000

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION, _ICC_PROFILE, _X_RESOLUTION = 274, 34675, 282

# What brings the stored pixels (rows, columns, samples) upright, for each value of the EXIF tag.
_UPRIGHT = {
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
class Photo:
    """A photograph in memory, with what is needed to write the same kind of file again.

    Args:
        pixels: (1, C, H, W) float32 in [0, 1], upright; C is 1 (gray) or 3 (RGB).
        alpha: (1, 1, H, W) float32 in [0, 1], or None where the file has no transparency.
        bits: per sample: 8, 16, or 32 for floating-point TIFF.
        exif: camera data as one EXIF block, without the orientation (the pixels are upright).
        icc_profile: colour profile.
        dpi: dots per inch, across and down.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    bits: int = 8
    exif: bytes = b""
    icc_profile: bytes = b""
    dpi: tuple[float, float] | None = None


def read_image(path: str | os.PathLike[str]) -> Photo:
    """Read a PNG, JPEG, TIFF or BMP photograph.

    Palettes become RGB and 1-bit pixels become gray. The EXIF orientation is applied.

    Args:
        path: the file.

    Returns:
        The photograph.

    Raises:
        ImageError: the file is missing, empty, truncated, no such image, animated, in print
            colours (CMYK), larger than `MAX_PIXELS`, or holds NaN or infinite pixels.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise ImageError(f"{path}: is a folder, not an image")
        if not path.exists():
            raise ImageError(f"{path}: no such file")
        if not path.is_file():
            raise ImageError(f"{path}: is not a regular file")
        if path.stat().st_size == 0:
            raise ImageError(f"{path}: the file is empty")
        with path.open("rb") as file:
            magic = file.read(4)
        # Pillow warns where it would raise at twice the size; MAX_PIXELS decides instead.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if magic not in _TIFF_MAGIC:
                return _read_pillow(path)
            with _silent_tiff():
                return _read_tiff(path)
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageError(f"{path}: not a PNG, JPEG, TIFF or BMP image") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{path}: {_too_large()}") from None
    except Exception as error:
        # The decoders meet damaged bytes with nearly every kind of exception there is.
        raise ImageError(f"{path}: cannot be read: {_first_line(error)}") from error


def jpeg_quality(path: str | os.PathLike[str]) -> int | None:
    """The quality that a JPEG file was compressed with, on libjpeg's scale from 1 to 100.

    It is the one whose quantisation table for luma is nearest to the file's. Cameras have tables of
    their own; then it is the quality that loses about as much.

    Returns:
        None for what is no JPEG file.

    Raises:
        ImageError: if the file cannot be read.
    """
    try:
        with Image.open(path) as file:
            table = getattr(file, "quantization", {}).get(0)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {_first_line(error)}") from error
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


def check_writable(path: str | os.PathLike[str], photo: Photo | None = None) -> None:
    """Check, before any long computation, that `write_image` can be expected to succeed.

    Args:
        path: the file to be written.
        photo: what will be written, if it is known already.

    Raises:
        ImageError: unknown suffix, no such folder, no permission, not a regular file, or a
            format that would lose the photograph's transparency.
    """
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        known = " ".join(FORMATS)
        raise ImageError(f"{path}: unknown image suffix '{path.suffix}' (known: {known})")
    if photo is not None and photo.alpha is not None and kind in ("JPEG", "BMP"):
        raise ImageError(f"{path}: {kind} would lose the transparency; write PNG or TIFF")
    try:
        if path.is_dir():
            raise ImageError(f"{path}: is a folder")
        if path.exists() and not path.is_file():
            raise ImageError(f"{path}: is not a regular file")
        folder = path.resolve().parent
        if not folder.is_dir():
            raise ImageError(f"{path}: there is no folder '{path.parent}'")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ImageError(f"{path}: no permission to write in '{path.parent}'")
    except OSError as error:
        raise ImageError(f"{path}: cannot be written: {error.strerror}") from error


def write_image(path: str | os.PathLike[str], photo: Photo) -> None:
    """Write a photograph, whole or not at all; the suffix chooses the format.

    PNG and TIFF keep transparency and 16 bits, TIFF alone keeps floating point. JPEG is written
    at quality 95 with full colour resolution, always with 8 bits, as is BMP. EXIF data go into
    JPEG, PNG and 8-bit TIFF.

    Args:
        path: the file; an existing one is replaced.
        photo: the photograph; pixels beyond [0, 1] are clipped, except in floating point.

    Raises:
        ImageError: as `check_writable`, or the disk is full.
    """
    path = Path(path)
    check_writable(path, photo)
    try:
        data = _encode(FORMATS[path.suffix.lower()], photo)
    except Exception as error:
        raise ImageError(f"{path}: cannot be written: {_first_line(error)}") from error
    # Through a link to the file behind it, as every other tool writes.
    target = path.resolve()
    part = target.with_name(f".lessons-{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, part)
        os.replace(part, target)
    except OSError as error:
        raise ImageError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _read_pillow(path: Path) -> Photo:
    with Image.open(path, formats=["PNG", "JPEG", "BMP", "TIFF"]) as image:
        _check_size(path, image.width, image.height)
        # A phone's JPEG may carry further pictures (MPO): the first is the photograph.
        if image.format in ("PNG", "BMP") and getattr(image, "n_frames", 1) > 1:
            raise ImageError(f"{path}: is animated; only still pictures can be read")
        if image.format == "PNG":
            # The only check that sees a damaged or missing chunk after the last pixel.
            with Image.open(path, formats=["PNG"]) as again:
                again.verify()
        samples = _pillow_samples(path, image)
        info, exif = image.info, image.getexif()
        orientation = exif.pop(_ORIENTATION, 1)
        # A TIFF's EXIF is its own directory; its layout tags do not fit another file.
        raw = b"" if image.format == "TIFF" else info.get("exif", b"")
        if orientation != 1 and raw:
            raw = exif.tobytes()
        return _photo(
            path,
            samples,
            orientation,
            exif=raw,
            icc_profile=info.get("icc_profile") or b"",
            dpi=_plausible_dpi(info.get("dpi")),
        )


def _pillow_samples(path: Path, image: ImageFile.ImageFile) -> np.ndarray:
    """Decode an opened image to (H, W, samples) uint8 or uint16."""
    rawmode = _rawmode(image) if image.format in ("PNG", "TIFF") else ""
    key = image.info.get("transparency")
    if image.mode in ("CMYK", "LAB", "HSV"):
        raise ImageError(f"{path}: has {image.mode} colours; convert it to RGB first")
    if rawmode == "LA;16B":
        # Both bytes of both samples, when the four bytes are taken for four 8-bit samples.
        pairs = _decode_as(path, "RGBA").astype(np.uint16)
        return pairs[..., 0::2] << 8 | pairs[..., 1::2]
    if image.mode in ("RGB", "RGBA") and ";16" in rawmode:
        samples = _sixteen_bits(path, rawmode)
    elif image.mode.startswith("I;16"):
        samples = np.asarray(image).astype(np.uint16)[..., None]
    else:
        if rawmode in ("L;2", "L;4") and key is not None:
            # Pillow stretches the pixels to 8 bits, but not the transparent one.
            image.info["transparency"] = key * {"L;2": 85, "L;4": 17}[rawmode]
        target = {"1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}.get(
            image.mode, "RGB" if image.mode in ("YCbCr", "RGBX") else image.mode
        )
        if key is not None:
            target = {"L": "LA", "RGB": "RGBA"}.get(target, target)
        if target not in ("L", "LA", "RGB", "RGBA"):
            raise ImageError(f"{path}: has pixels of an unsupported kind ({image.mode})")
        samples = np.asarray(image if image.mode == target else image.convert(target))
        return samples[..., None] if samples.ndim == 2 else samples
    if key is not None and samples.shape[-1] in (1, 3):
        opaque = (samples != np.asarray(key, dtype=np.uint16)).any(-1, keepdims=True)
        samples = np.concatenate([samples, opaque * np.uint16(65535)], axis=-1)
    return samples


def _rawmode(image: ImageFile.ImageFile) -> str:
    arguments: Any = image.tile[0].args
    return arguments if isinstance(arguments, str) else arguments[0]


def _decode_as(path: Path, rawmode: str) -> np.ndarray:
    """Decode a file with another layout of its bytes than Pillow would choose."""
    with Image.open(path) as image:
        tiles = []
        for tile in image.tile:
            rest: Any = tile.args
            changed = rawmode if isinstance(rest, str) else (rawmode, *rest[1:])
            tiles.append(tile._replace(args=changed))
        image.tile = tiles
        return np.asarray(image)


def _sixteen_bits(path: Path, rawmode: str) -> np.ndarray:
    """Decode 16 bits per channel in two passes, as Pillow keeps only the upper eight.

    The pass with the byte order reversed returns the lower eight.
    """
    kind, order = rawmode.split(";16")
    if order == "N":
        order = "L" if sys.byteorder == "little" else "B"
    reverse = {"L": "B", "B": "L"}[order]
    upper = _decode_as(path, f"{kind};16{order}").astype(np.uint16)
    lower = _decode_as(path, f"{kind};16{reverse}")
    return upper << 8 | lower


@contextlib.contextmanager
def _silent_tiff() -> Iterator[None]:
    """Keep tifffile's log and libtiff, which writes to stderr itself, from adding to our error."""
    logger = logging.getLogger("tifffile")
    disabled, logger.disabled = logger.disabled, True
    try:
        stderr = os.dup(2)
    except OSError:  # a program without a console
        stderr = None
    try:
        if stderr is not None:
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), 2)
        yield
    finally:
        logger.disabled = disabled
        if stderr is not None:
            os.dup2(stderr, 2)
            os.close(stderr)


def _read_tiff(path: Path) -> Photo:
    # tifffile costs a third of a second to import, and most photographs are no TIFF files.
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        # Smaller copies of the picture may follow it; they can be made again.
        count = sum(not getattr(page, "is_reduced", False) for page in tiff.pages)
        if count > 1:
            raise ImageError(f"{path}: holds {count} pictures; only one can be read")
        page = tiff.pages.first
        _check_size(path, page.imagewidth, page.imagelength)
        if page.bitspersample in (1, 2, 4, 8):
            return _read_pillow(path)
        if page.dtype is None or page.dtype.kind not in "uf" or page.dtype == np.uint32:
            kind = f"{page.bitspersample}-bit {page.sampleformat!s}"
            raise ImageError(f"{path}: has pixels of an unsupported kind ({kind})")
        photometric = page.photometric
        if photometric not in (0, 1, 2):
            name = getattr(photometric, "name", photometric)
            raise ImageError(f"{path}: has {name} colours; convert it to RGB first")
        if any(extra == 1 for extra in page.extrasamples):
            raise ImageError(f"{path}: has premultiplied transparency, which is not supported")
        orientation = page.tags.valueof(_ORIENTATION, 1)
        if len(page.dataoffsets) != math.prod(page.chunked) or 0 in page.databytecounts:
            raise ImageError(f"{path}: cannot be read: parts of the picture are missing")
        try:
            samples = page.asarray()
        except (KeyError, ValueError) as error:
            if "imagecodecs" not in str(error) or page.dtype != np.uint16:
                raise
            # LZW, most often. Pillow's libtiff knows it, and turns the picture upright.
            with Image.open(path, formats=["TIFF"]) as image:
                samples = _pillow_samples(path, image)
            orientation = 1
        else:
            if page.axes == "YX":
                samples = samples[..., None]
            elif page.axes == "SYX":
                samples = np.moveaxis(samples, 0, -1)
            elif page.axes != "YXS":
                raise ImageError(f"{path}: is a volume ({page.axes}), not a photograph")
        if photometric == 0:
            samples = (1 if samples.dtype.kind == "f" else 65535) - samples
        tags = page.tags
        return _photo(
            path,
            samples,
            orientation,
            icc_profile=tags.valueof(_ICC_PROFILE) or b"",
            dpi=_plausible_dpi(page.get_resolution(2) if _X_RESOLUTION in tags else None),
        )


def _photo(path: Path, samples: np.ndarray, orientation: int, **kept: Any) -> Photo:
    """Make a `Photo` of decoded samples (H, W, 1-4)."""
    if samples.ndim != 3 or samples.shape[-1] not in (1, 2, 3, 4) or 0 in samples.shape:
        raise ImageError(f"{path}: has {samples.shape[-1]} channels; 1 to 4 can be read")
    samples = _UPRIGHT.get(orientation, lambda a: a)(samples)
    if samples.dtype.kind == "f":
        bits = 32
        values = samples.astype(np.float32)
        if not np.isfinite(values).all():
            raise ImageError(f"{path}: has NaN or infinite pixels")
        low, high = float(values.min()), float(values.max())
        if low < -1 or high > 2:
            # Unclipped noise reaches a little beyond [0, 1]; this is another scale.
            raise ImageError(
                f"{path}: has floating-point pixels from {low:g} to {high:g}; scale them to [0, 1]"
            )
    else:
        bits = 16 if samples.dtype.itemsize == 2 else 8
        values = samples.astype(np.float32) / np.float32(2**bits - 1)
    planes = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1))).unsqueeze(0)
    channels = 1 if samples.shape[-1] <= 2 else 3
    alpha = planes[:, channels:].contiguous() if samples.shape[-1] in (2, 4) else None
    return Photo(planes[:, :channels].contiguous(), alpha, bits, **kept)


def _encode(kind: str, photo: Photo) -> bytes:
    channels = [photo.pixels] if photo.alpha is None else [photo.pixels, photo.alpha]
    planes = torch.cat(channels, dim=1)[0].detach().cpu().numpy()
    planes = np.ascontiguousarray(planes.transpose(1, 2, 0), dtype=np.float32)
    if photo.bits == 32 and kind == "TIFF":
        return _encode_wide_tiff(planes, photo)
    bits = 16 if photo.bits > 8 and kind in ("PNG", "TIFF") else 8
    top = 2**bits - 1
    samples = np.rint(planes.clip(0, 1) * top).astype(np.uint16 if bits == 16 else np.uint8)
    if bits == 16:
        return (_encode_png16 if kind == "PNG" else _encode_wide_tiff)(samples, photo)
    options: dict[str, Any] = {}
    if photo.exif and kind != "BMP":
        options["exif"] = photo.exif
    if photo.icc_profile and kind != "BMP":
        options["icc_profile"] = photo.icc_profile
    if photo.dpi:
        options["dpi"] = photo.dpi
    if kind == "JPEG":
        options |= {"quality": 95, "subsampling": 0}
    elif kind == "TIFF":
        options["compression"] = "tiff_adobe_deflate"
    buffer = io.BytesIO()
    image = Image.fromarray(samples[..., 0] if samples.shape[-1] == 1 else samples)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _encode_wide_tiff(samples: np.ndarray, photo: Photo) -> bytes:
    import tifffile

    count = samples.shape[-1]
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        samples[..., 0] if count == 1 else samples,
        photometric="minisblack" if count <= 2 else "rgb",
        planarconfig=None if count == 1 else "contig",
        extrasamples=["unassalpha"] if count in (2, 4) else None,
        compression="zlib",
        predictor=samples.dtype.kind == "u",
        resolution=photo.dpi,
        resolutionunit="inch" if photo.dpi else None,
        iccprofile=photo.icc_profile or None,
        metadata=None,
        software=False,
    )
    return buffer.getvalue()


def _encode_png16(samples: np.ndarray, photo: Photo) -> bytes:
    """Encode (H, W, 1-4) uint16 as PNG, which Pillow cannot."""
    height, width, count = samples.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[count]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))]
    if photo.icc_profile:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(photo.icc_profile)))
    if photo.dpi:
        across, down = (round(value / 0.0254) for value in photo.dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", across, down, 1)))
    if photo.exif:
        chunks.append((b"eXIf", photo.exif.removeprefix(b"Exif\0\0")))
    rows = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    # Filter 1: each byte minus the same byte of the pixel to its left, modulo 256.
    filtered = np.ones((height, rows.shape[1] + 1), dtype=np.uint8)
    filtered[:, 1:] = rows
    filtered[:, 1 + 2 * count :] -= rows[:, : -2 * count]
    chunks += [(b"IDAT", zlib.compress(filtered.data, 6)), (b"IEND", b"")]
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, body in chunks:
        checksum = zlib.crc32(name + body)
        parts += [struct.pack(">I", len(body)), name, body, struct.pack(">I", checksum)]
    return b"".join(parts)


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"{path}: {_too_large()}")


def _too_large() -> str:
    return f"claims more than {MAX_PIXELS // 1_000_000} million pixels; not decoded"


def _plausible_dpi(dpi: Any) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 1 <= across <= 1e5 and 1 <= down <= 1e5 else None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
