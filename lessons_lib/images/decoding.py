"""Decodes with Pillow, also what Pillow cannot hold: 16 bits in each of several channels."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lessons_lib.images.colours import to_srgb
from lessons_lib.images.photo import ImageError

Open = Callable[[], Any]


def decoded(path: Path | str, image: Any, again: Open) -> np.ndarray:
    """Decode an opened image to (H, W, samples) uint8 or uint16, float32 or int32.

    Args:
        path: for errors.
        image: as `PIL.Image.open` returns it.
        again: opens the same picture once more.

    Raises:
        ImageError: colours that are neither gray, RGB nor CMYK with a profile.
    """
    rawmode = _rawmode(image) if image.format in ("PNG", "TIFF") else ""
    key = image.info.get("transparency")
    if image.mode == "CMYK":
        image.load()
        return np.asarray(to_srgb(path, image, image.info.get("icc_profile") or b""))
    if image.mode in ("LAB", "HSV"):
        raise ImageError(f"{path}: has {image.mode} colours; convert it to RGB first")
    if rawmode == "LA;16B":
        # Both bytes of both samples, when the four bytes are taken for four 8-bit samples.
        pairs = _decode_as(again, "RGBA").astype(np.uint16)
        return pairs[..., 0::2] << 8 | pairs[..., 1::2]
    if image.mode in ("RGB", "RGBA") and ";16" in rawmode:
        samples = _sixteen_bits(again, rawmode)
    elif image.mode.startswith("I;16"):
        samples = np.asarray(image).astype(np.uint16)[..., None]
    else:
        return _eight_bits(path, image, rawmode, key)
    if key is not None and samples.shape[-1] in (1, 3):
        opaque = (samples != np.asarray(key, dtype=np.uint16)).any(-1, keepdims=True)
        samples = np.concatenate([samples, opaque * np.uint16(65535)], axis=-1)
    return samples


def _eight_bits(path: Path | str, image: Any, rawmode: str, key: Any) -> np.ndarray:
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


def _rawmode(image: Any) -> str:
    arguments: Any = image.tile[0].args
    return arguments if isinstance(arguments, str) else arguments[0]


def _decode_as(again: Open, rawmode: str) -> np.ndarray:
    """Decode a file with another layout of its bytes than Pillow would choose."""
    image: Image.Image
    with again() as image:
        tiles = []
        for tile in image.tile:  # type: ignore[attr-defined]
            rest: Any = tile.args
            changed = rawmode if isinstance(rest, str) else (rawmode, *rest[1:])
            tiles.append(tile._replace(args=changed))
        image.tile = tiles  # type: ignore[attr-defined]
        return np.asarray(image)


def _sixteen_bits(again: Open, rawmode: str) -> np.ndarray:
    """Decode 16 bits per channel in two passes, as Pillow keeps only the upper eight.

    The pass with the byte order reversed returns the lower eight.
    """
    kind, order = rawmode.split(";16")
    if order == "N":
        order = "L" if sys.byteorder == "little" else "B"
    reverse = {"L": "B", "B": "L"}[order]
    upper = _decode_as(again, f"{kind};16{order}").astype(np.uint16)
    lower = _decode_as(again, f"{kind};16{reverse}")
    return upper << 8 | lower
