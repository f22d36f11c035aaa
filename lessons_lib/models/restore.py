"""Restoring a photograph of any size with a model that was trained on small crops."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Literal, cast, get_args

import torch
from torch import Tensor

from lessons_lib.models import fast
from lessons_lib.models.base import NonLocalConfig, PatchModel, UnrolledModel
from lessons_lib.models.workers import in_parallel
from lessons_lib.ops.noise_level import estimate_sigma
from lessons_lib.ops.tiling import Blend, lay_tiles

Precision = Literal["auto", "reference", "fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

# What a model gets: noisy images, and what it is told besides.
Tiles = tuple[Tensor, dict[str, Tensor]]

# The paper's block: 48 patches of 9 pixels along each side, as in training. A model that codes each
# patch by itself could take any tile; small ones stay in a processor's cache and are much faster.
TILE = 56
# What is worked on at once: little for a core of a processor, for the same reason; enough to fill a
# GPU.
MEMORY = {"cpu": 5e7, "cuda": 4e9}


@torch.no_grad()
def restore(
    model: PatchModel,
    noisy: Tensor,
    sigma: float | None = None,
    *,
    tile: int = TILE,
    overlap: int | None = None,
    memory: float | None = None,
    precision: Precision = "auto",
    neighbours: int | None = None,
    mask: Tensor | None = None,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Estimate an image tile by tile.

    The image is mirrored at its border first, so that border pixels get as many estimates as all
    others. Tiles are blended by the number of estimates of each pixel.

    Args:
        model: for the image's channels.
        noisy: ``(B, C, H, W)``, any size, on the model's device.
        sigma: noise of the image on the [0, 1] scale, where it is not what the model was trained
            for. The image is then multiplied so that its noise is, and the estimate divided again.
            A model of several levels is told it, and if it is not given, what `estimate_sigma`
            finds in each image.
        tile: side of the tiles at most; they are spread evenly, see `lay_tiles`.
        overlap: pixels that neighbouring tiles share at least. ``patch − 1``, where not given,
            codes nearly every patch once; the paper's finest, 44 pixels of 56, gains 0.04 dB and
            takes 13 times as long.
        memory: bytes to be used besides the image itself, by default `MEMORY` for each core or for
            the GPU; one tile is the least. Each core of a processor has tiles of its own as far as
            memory goes.
        precision: "reference" is the model's own forward pass. "fp32" and "bf16" are the fast form
            of `lessons_lib.models.fast` in the precision of their name, where the model has one;
            "auto" takes the faster of the two, see `resolve_precision`.
        neighbours: patches that each patch is compared with, see `BandedSimilarity`; all of the
            window where not given. For the fast form of a model that compares patches.
        mask: ``(1 or B, C, H, W)``, 1 where a value was measured, as `BayerMosaic.mask` makes it.
        progress: called with the share done, from 0 to 1.

    Returns:
        ``(B, C, H, W)``, not clipped.

    Raises:
        ValueError: if the channels differ, the overlap leaves no step, sigma is given and not known
            of the model, or neighbours are given where they mean nothing.

    Source: GroupSC §3.6 and Table 14.
    """
    scale, level = _brightness(model, noisy, sigma)
    precision = resolve_precision(model, precision)
    if neighbours is not None and (
        precision == "reference" or not isinstance(model.config, NonLocalConfig)
    ):
        raise ValueError("neighbours are chosen in the fast form of a non-local model only")
    edge = model.config.patch - 1
    lines, pixels = (_mirrored(length, edge, noisy.device) for length in noisy.shape[-2:])
    (height, width), rows, columns = lay_tiles(
        (len(lines), len(pixels)), max(tile, edge + 1), edge if overlap is None else overlap
    )
    weight = model.estimate_counts((height, width)).to(noisy)
    workers, together = _share_out(
        memory, len(noisy) * _bytes(model, (height, width), precision), noisy.device, precision
    )
    groups = [columns[start : start + together] for start in range(0, len(columns), together)]

    def cut() -> Iterator[Tiles]:
        for row in rows:
            in_row = lines[row : row + height]
            strip = scale * noisy[..., in_row, :][..., pixels]
            masks = None if mask is None else mask[..., in_row, :][..., pixels].expand_as(strip)
            for some in groups:
                told = {}
                if masks is not None:
                    told["mask"] = _cut(masks, some, width)
                if level is not None:
                    told["sigma"] = level.repeat(len(some))
                yield _cut(strip, some, width), told

    def estimate(tiles: Tiles) -> Tensor:
        return _estimate(model, tiles, precision, neighbours)

    blend = Blend((*noisy.shape[:2], height, len(pixels)), noisy)
    restored, done = torch.empty_like(noisy), 0
    with closing(in_parallel(estimate, cut(), workers)) as estimates:
        for row, below in zip(rows, [*rows[1:], len(lines)], strict=True):
            for some in groups:
                for column, part in zip(some, next(estimates).split(len(noisy)), strict=True):
                    blend.add(part, column, weight)
                done += len(some)
                if progress is not None:
                    progress(done / len(rows) / len(columns))
            strip = blend.finish(below - row)[..., edge : len(pixels) - edge]
            # Of these lines, those that belong to the image and not to its mirrored border.
            top, bottom = max(row, edge), min(below, len(lines) - edge)
            if top < bottom:
                restored[..., top - edge : bottom - edge, :] = strip[
                    ..., top - row : bottom - row, :
                ]
    return restored.div_(scale)


def resolve_precision(model: PatchModel, precision: Precision) -> Precision:
    """What `restore` makes of a precision, for this model where it is: never "auto".

    Raises:
        ValueError: for an unknown name.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is auto, reference, fp32 or bf16, not {precision!r}")
    weight = next(model.parameters())
    if not fast.has_fast_form(model) or weight.dtype != torch.float32:
        return "reference"
    if precision == "auto":
        half = fast.fastest_dtype(weight.device) == torch.bfloat16
        return "bf16" if half else "fp32"
    return precision


def _brightness(
    model: PatchModel, noisy: Tensor, sigma: float | None
) -> tuple[float | Tensor, Tensor | None]:
    """What to multiply the images by, and the noise that a model of levels will then be told."""
    levels = model.config.levels_255 if isinstance(model, UnrolledModel) else ()
    if levels:
        noise = estimate_sigma(noisy) if sigma is None else noisy.new_full((len(noisy),), sigma)
        # Images louder than the loudest level are made darker.
        scale = (levels[-1] / 255 / noise).clamp_max(1)
        return scale[:, None, None, None], scale * noise
    if sigma is None:
        return 1.0, None
    if model.sigma is None:
        raise ValueError("the noise that the model was trained for is not known: set its sigma")
    return model.sigma / sigma, None


def _share_out(
    memory: float | None, one: int, device: torch.device, precision: Precision
) -> tuple[int, int]:
    """How many cores get tiles of their own, and how many tiles each works on together.

    Args:
        memory: in bytes.
        one: bytes that one tile takes.
        device: where.
        precision: the plain form, the yardstick, keeps to one tile at a time.
    """
    cores = 1
    if device.type == "cpu" and precision != "reference" and torch.backends.openmp.is_available():
        cores = torch.get_num_threads()
    if memory is None:
        memory = cores * MEMORY.get(device.type, MEMORY["cuda"])
    workers = max(1, min(cores, int(memory / one)))
    return workers, max(1, int(memory / workers / one))


def _cut(strip: Tensor, columns: list[int], width: int) -> Tensor:
    return torch.cat([strip[..., column : column + width] for column in columns])


def _estimate(
    model: PatchModel,
    tiles: Tiles,
    precision: Precision,
    neighbours: int | None,
) -> Tensor:
    noisy, told = tiles
    if precision == "reference":
        return cast(Tensor, model(noisy, **told))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return fast.estimate(cast(UnrolledModel, model), noisy, dtype, neighbours, **told)


def _mirrored(length: int, edge: int, device: torch.device) -> Tensor:
    """Which line to take for each line of an image with mirrored borders.

    Where the image is too small to be mirrored, its first and last lines are repeated.
    """
    index = torch.arange(-edge, length + edge, device=device)
    if length > edge:
        index = (length - 1) - ((length - 1) - index.abs()).abs()
    return index.clamp(0, length - 1)


def _bytes(model: PatchModel, shape: tuple[int, int], precision: Precision) -> int:
    """Memory for one tile: its patches, some copies of its codes, its similarities if any."""
    size = model.config.patch
    patches = (shape[0] - size + 1) * (shape[1] - size + 1)
    numbers = 5 * patches * (model.config.atoms + 2 * model.config.entries)
    if isinstance(model.config, NonLocalConfig):
        numbers += patches**2 * (5 if precision == "reference" else 2)
    return numbers * (2 if precision == "bf16" else 4)
