"""Restoring a photograph of any size with a model that was trained on small crops."""

from collections.abc import Callable

import torch
from torch import Tensor

from lessons_lib.models import fast
from lessons_lib.models.restorer import PRECISIONS, Precision, Restorer, Settings, evaluating
from lessons_lib.ops.noise_level import estimate_sigma

# Quarter turns, and whether the image is mirrored before them.
VIEWS = [(turns, mirrored) for mirrored in (False, True) for turns in range(4)]


@torch.no_grad()
def restore(
    model: Restorer,
    degraded: Tensor,
    sigma: float | Tensor | None = None,
    *,
    tile: int | None = None,
    overlap: int | None = None,
    memory: float | None = None,
    precision: Precision = "auto",
    neighbours: int | None = None,
    mask: Tensor | None = None,
    multi_view: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Estimate an image of any size, the way the model wants to be applied.

    Args:
        model: for the image's channels. It is applied in evaluation mode, and left in its own.
        degraded: ``(B, C, H, W)``, any size, on the model's device.
        sigma: noise of the image on the [0, 1] scale, where it is not what the model was trained
            for; of several images also ``(B,)``. The image is then multiplied so that its noise is,
            and the estimate divided again. A model of several levels is told it, and if it is not
            given, what `estimate_sigma` finds in each image; one that takes maps also a ``(1 or B,
            1, H, W)`` of it. One that finds the noise itself, as CBDNet does, does not need it.
        tile: side of the tiles, of models that work in tiles. Those of patches are spread evenly
            and may be smaller, see `lay_tiles`; others are of this side, see `UniformTiles`.
        overlap: pixels that neighbouring tiles share at least. Where not given, models of patches
            take ``patch − 1``, which codes nearly every patch once; the paper's finest, 44 pixels
            of 56, gains 0.04 dB and takes 13 times as long. For others see `UniformTiles`.
        memory: bytes to be used besides the image itself; by default 4 GB of a GPU's, or what is
            fastest for each core of a processor. One tile or window is the least. Each core has
            some of its own as far as memory goes.
        precision: "reference" is the model's own forward pass. "fp32" and "bf16" are its fast form
            in the precision of their name, where it has one; "auto" takes the faster of the two
            that is good enough, see `resolve_precision`. The fast form of a network is folded
            first, see `Restorer.for_inference`. On an NVIDIA GPU PyTorch computes convolutions of
            float32 in TF32, with 10 bits, unless `torch.backends.cudnn.conv.fp32_precision` says
            otherwise.
        neighbours: patches that each patch is compared with, see `BandedSimilarity`; all of the
            window where not given. For the fast form of a model that compares patches.
        mask: ``(1 or B, C, H, W)``, 1 where a value was measured, as `BayerMosaic.mask` makes it.
        multi_view: whether the image is restored in all of its eight views, turned and mirrored,
            and the mean taken (geometric self-ensemble): some hundredths of a decibel better, eight
            times the work. Timofte,
            Rothe, Van Gool, *Seven ways to improve example-based single image super resolution*,
            2016.
        progress: called with the share done, from 0 to 1.

    Returns:
        ``(B, C, scale·H, scale·W)``, not clipped.

    Raises:
        ValueError: if the channels differ, the overlap leaves no step, sigma is given and not known
            of the model, sigma or the mask has another shape than such an image's or values that no
            noise has, or something is given where it means nothing to the model.
    """
    model.check_channels(degraded)
    factor, level = brightness(model, degraded, sigma)
    precision = resolve_precision(model, precision)
    if neighbours is not None and (
        precision == "reference" or "neighbours" not in model.application.options
    ):
        raise ValueError("neighbours are chosen in the fast form of a non-local model only")
    for name, value in (("tile", tile), ("overlap", overlap)):
        if value is not None and name not in model.application.options:
            raise ValueError(f"{type(model).__name__} has no tiles, and no {name}")
    told = {}
    if mask is not None:
        if "mask" not in model.told:
            raise ValueError(f"{type(model).__name__} knows of no mask")
        if mask.shape[1:] != degraded.shape[1:] or len(mask) not in (1, len(degraded)):
            raise ValueError(
                f"a mask of {tuple(mask.shape)} is not one of {tuple(degraded.shape)} images"
            )
        told["mask"] = mask.to(degraded)
    if level is not None:
        told["sigma"] = level
    if not len(degraded):
        sides = (model.scale * side for side in degraded.shape[-2:])
        return degraded.new_zeros(*degraded.shape[:2], *sides)
    views = VIEWS if multi_view else VIEWS[:1]
    restored: Tensor | None = None
    with evaluating(model):
        worker = model if precision == "reference" else model.for_inference()
        for number, view in enumerate(views):

            def tell(share: float, number: int = number) -> None:
                if progress is not None:
                    progress((number + share) / len(views))

            settings = Settings(precision, memory, tile, overlap, neighbours, tell)
            seen = {name: _turned(value, view) for name, value in told.items()}
            found = worker.application(worker, _turned(factor * degraded, view), seen, settings)
            found = _turned_back(found, view)
            restored = found if restored is None else restored.add_(found)
    assert restored is not None
    return restored.div_(len(views) * factor)


def _turned(values: Tensor, view: tuple[int, bool]) -> Tensor:
    """A view of images or maps ``(B, C, H, W)``; numbers ``(B,)`` look the same from all sides."""
    if values.dim() < 4:
        return values
    return torch.rot90(values.flip(-1) if view[1] else values, view[0], (-2, -1))


def _turned_back(values: Tensor, view: tuple[int, bool]) -> Tensor:
    turned = torch.rot90(values, -view[0], (-2, -1))
    return turned.flip(-1) if view[1] else turned


def resolve_precision(model: Restorer, precision: Precision) -> Precision:
    """What `restore` makes of a precision, for this model where it is: never "auto".

    Raises:
        ValueError: for an unknown name.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is auto, reference, fp32 or bf16, not {precision!r}")
    weight = next(model.parameters())
    if not model.has_fast_form or weight.dtype != torch.float32:
        return "reference"
    if precision == "auto":
        half = fast.fastest_dtype(weight.device) == torch.bfloat16
        return "bf16" if half and model.half_precision_is_enough else "fp32"
    return precision


def brightness(
    model: Restorer, degraded: Tensor, sigma: float | Tensor | None
) -> tuple[float | Tensor, Tensor | None]:
    """What to multiply images by so that their noise is one that the model was trained for.

    Args:
        model: see `restore`.
        degraded: ``(B, C, H, W)``.
        sigma: see `restore`.

    Returns:
        The factor, a number or ``(B, 1, 1, 1)``, and what the model is then told of the noise:
        ``(B,)``, a map ``(B, 1, H, W)``, or None for nothing.

    Raises:
        ValueError: see `restore`.
    """
    if sigma is not None:
        sigma = _checked(sigma, model, degraded)
    if model.loudest is None:
        if sigma is None or model.finds_noise:
            return 1.0, None
        if model.sigma is None:
            raise ValueError("the noise that the model was trained for is not known: set its sigma")
        if isinstance(sigma, Tensor):
            return (model.sigma / sigma)[:, None, None, None], None
        return model.sigma / sigma, None
    if sigma is None and "sigma" not in model.told:
        return 1.0, None  # nobody says how much noise there is, and nobody asks
    if isinstance(sigma, Tensor) and sigma.dim() != 1:
        noise = sigma.expand(len(degraded), 1, *degraded.shape[-2:])
        loudest = noise.amax((1, 2, 3))
    else:
        if sigma is None:
            found = estimate_sigma(degraded)
        else:
            found = torch.as_tensor(sigma, dtype=degraded.dtype, device=degraded.device)
        noise = loudest = found.expand(len(degraded))
    # Images louder than the loudest level are made darker.
    factor = (model.loudest / loudest).clamp_max(1)
    wide = factor[:, None, None, None]
    if "sigma" not in model.told:
        return wide, None
    return wide, noise * factor.reshape(-1, *[1] * (noise.dim() - 1))


def _checked(sigma: float | Tensor, model: Restorer, degraded: Tensor) -> float | Tensor:
    """Noise as a number, or as a tensor with the images.

    Raises:
        ValueError: if its shape does not fit the images or the model, or it is not finite, is
            negative, or is 0 where the image would be divided by it.
    """
    if not isinstance(sigma, Tensor) or sigma.dim() == 0:
        sigma, values = float(sigma), torch.tensor(float(sigma))
    else:
        sigma = values = sigma.to(degraded)
        if sigma.dim() > 1 and not model.takes_maps:
            raise ValueError(f"{type(model).__name__} takes one number for the noise, not a map")
        rest = () if sigma.dim() == 1 else (1, *degraded.shape[-2:])
        if len(sigma) not in (1, len(degraded)) or sigma.shape[1:] != rest:
            raise ValueError(
                f"noise of shape {tuple(sigma.shape)} is not that of {tuple(degraded.shape)} images"
            )
    least = values.min().item()
    if not values.isfinite().all() or least < 0 or (least == 0 and model.loudest is None):
        raise ValueError(f"noise is positive and finite, not {least:g}")
    return sigma
