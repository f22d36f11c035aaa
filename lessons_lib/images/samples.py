"""How the samples of a file become the pixels of a photograph, and come back."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lessons_lib.images.photo import FULL_RANGE, UPRIGHT, ImageError, Mosaic, Photo


def to_photo(
    path: Path | str,
    samples: np.ndarray,
    orientation: int = 1,
    value_range: tuple[float, float] | None = None,
    mosaic: Mosaic | None = None,
    **kept: Any,
) -> Photo:
    """Make a `Photo` of decoded samples.

    Integers of up to 24 bits become pixels without loss. Of longer ones, as of float64, float32
    keeps 24 significant bits, counted from the lower end of the range.

    Args:
        path: of the file, for errors.
        samples: (H, W, 1-4), as stored; the last of 2 and of 4 is transparency.
        orientation: EXIF's number, from 1 to 8.
        value_range: the samples that become 0 and 1, if not the type's own or the mosaic's.
        mosaic: colour filters as stored; they are turned along.
        kept: further fields of the photograph.

    Raises:
        ImageError: other numbers of channels, pixels that are NaN or infinite, floating-point
            pixels far outside [0, 1] whose range nobody gave.
    """
    if 0 in samples.shape:
        raise ImageError(f"{path}: has no pixels")
    if samples.ndim != 3 or samples.shape[-1] not in (1, 2, 3, 4):
        raise ImageError(f"{path}: has {samples.shape[-1]} channels; 1 to 4 can be read")
    kind = samples.dtype.name
    if kind not in FULL_RANGE:
        raise ImageError(f"{path}: has pixels of an unsupported kind ({kind})")
    if mosaic is not None:
        mosaic = mosaic.turned(orientation, *samples.shape[:2])
        if value_range is not None:
            low, high = value_range
            mosaic = Mosaic(mosaic.pattern, (low, low, low, low), high)
            # Once it is in colour, black and white are those of the type.
            value_range = None
    samples = UPRIGHT.get(orientation, lambda a: a)(samples)
    if value_range is None and mosaic is None:
        kept["notes"] = (*kept.get("notes", ()), *_doubts(samples))
    if samples.dtype.kind == "f":
        _check_floats(path, samples, told=value_range is not None or mosaic is not None)
    channels = 1 if samples.shape[-1] <= 2 else 3
    low, high = value_range or FULL_RANGE[kind]
    pixels = _scaled(samples[..., :channels], low, high, mosaic)
    if not np.isfinite(pixels).all():
        raise ImageError(f"{path}: has pixels too large for float32")
    alpha = None
    if samples.shape[-1] in (2, 4):
        alpha = torch.from_numpy(_scaled(samples[..., channels:], *FULL_RANGE[kind])).clamp(0, 1)
    return Photo(
        torch.from_numpy(pixels),
        alpha,
        samples.dtype.itemsize * 8,
        sample_type=kind,
        value_range=(low, high),
        mosaic=mosaic,
        **kept,
    )


def to_samples(
    photo: Photo, sample_type: str, value_range: tuple[float, float], mosaic: Mosaic | None = None
) -> np.ndarray:
    """The photograph as (H, W, 1-4) samples of a type; what it cannot hold is clipped.

    Args:
        photo: the photograph.
        sample_type: a name of NumPy's.
        value_range: the samples that 0 and 1 become.
        mosaic: where its black and white take their place.
    """
    samples = _unscaled(photo.pixels, sample_type, *value_range, mosaic)
    if photo.alpha is None:
        return samples
    alpha = _unscaled(photo.alpha, sample_type, *FULL_RANGE[sample_type])
    return np.concatenate([samples, alpha], axis=-1)


def _check_floats(path: Path | str, samples: np.ndarray, told: bool) -> None:
    low, high = float(samples.min()), float(samples.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ImageError(f"{path}: has NaN or infinite pixels")
    # Unclipped noise reaches a little beyond [0, 1]; this is another scale.
    if not told and (low < -1 or high > 2):
        raise ImageError(
            f"{path}: has floating-point pixels from {low:g} to {high:g}; scale them to [0, 1], "
            "or say which range is black to white"
        )


def _doubts(samples: np.ndarray) -> list[str]:
    """Whether samples look like those of another scale: 10 or 12 bits, stored as 16."""
    if samples.dtype.kind == "f" or samples.itemsize == 1:
        return []
    brightest, white = int(samples.max()), FULL_RANGE[samples.dtype.name][1]
    if not 0 < brightest < white / 15:
        return []
    likely = 2 ** brightest.bit_length() - 1
    return [
        f"its brightest sample is {brightest}, and white {white:.0f}; if white is another number, "
        f"say it, as in --range 0 {likely}"
    ]


def _levels(
    mosaic: Mosaic | None, low: float, high: float, rows: slice, width: int
) -> tuple[Any, float]:
    """Black and white of some rows: black is one number, or (rows, W, 1) for a mosaic."""
    if mosaic is None:
        return low, high
    black = np.asarray(mosaic.black, dtype=float).reshape(2, 2)
    places = np.arange(rows.start, rows.stop)[:, None] % 2, np.arange(width) % 2
    return black[places][..., None], mosaic.white


def _blocks(height: int) -> list[slice]:
    """Some rows at a time: the arithmetic is in double precision, the image need not be."""
    return [slice(top, min(top + 128, height)) for top in range(0, height, 128)]


def _scaled(samples: np.ndarray, low: float, high: float, mosaic: Mosaic | None = None) -> Any:
    height, width, channels = samples.shape
    planes = np.empty((1, channels, height, width), dtype=np.float32)
    with np.errstate(over="ignore"):
        for rows in _blocks(height):
            black, white = _levels(mosaic, low, high, rows, width)
            values = (samples[rows].astype(np.float64) - black) / (white - black)
            planes[0, :, rows] = values.transpose(2, 0, 1)
    return planes


def _unscaled(
    planes: Tensor, sample_type: str, low: float, high: float, mosaic: Mosaic | None = None
) -> np.ndarray:
    values = planes[0].detach().cpu().numpy()
    channels, height, width = values.shape
    samples = np.empty((height, width, channels), dtype=sample_type)
    for rows in _blocks(height):
        black, white = _levels(mosaic, low, high, rows, width)
        block = values[:, rows].transpose(1, 2, 0).astype(np.float64) * (white - black) + black
        if samples.dtype.kind != "f":
            bounds = np.iinfo(samples.dtype)
            block = np.rint(block).clip(bounds.min, bounds.max)
        samples[rows] = block
    return samples
