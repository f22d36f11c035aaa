"""Restoring a photograph of any size with a model that was trained on small crops."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lessons_lib.models.base import NonLocalConfig, PatchModel
from lessons_lib.ops.tiling import blend_tiles, cut_tiles, tile_corners

# The paper's block: 48 patches of 9 pixels along each side, as in training. A model that codes each
# patch by itself could take any tile; small ones stay in a processor's cache and are much faster.
TILE = 56
# What is worked on at once: little for a processor, for the same reason; enough to fill a GPU.
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
        tile: side of the tiles.
        overlap: pixels that neighbouring tiles share at least. ``patch − 1``, where not given,
            codes nearly every patch once; the paper's finest, 44 pixels of 56, gains 0.04 dB and
            takes 13 times as long.
        memory: bytes to be used besides the image itself, see `MEMORY`; one tile is the least.
        progress: called with the share done, from 0 to 1.

    Returns:
        ``(B, C, H, W)``, not clipped.

    Raises:
        ValueError: if the channels differ, the overlap leaves no step, or sigma is given and not
            known of the model.

    Source: GroupSC §3.6 and Table 14.
    """
    scale = 1.0
    if sigma is not None:
        if model.sigma is None:
            raise ValueError("the noise that the model was trained for is not known: set its sigma")
        scale = model.sigma / sigma
    size = model.config.patch
    padded = _mirror(scale * noisy, size - 1)
    height, width = padded.shape[-2:]
    if memory is None:
        memory = MEMORY.get(noisy.device.type, MEMORY["cuda"])
    tile = max(tile, size)
    corners = tile_corners((height, width), tile, size - 1 if overlap is None else overlap)
    tiles = cut_tiles(padded, tile, corners)
    shape = (tiles[0].shape[-2], tiles[0].shape[-1])
    together = max(1, int(memory / (len(noisy) * _bytes(model, shape))))
    restored: list[Tensor] = []
    for start in range(0, len(tiles), together):
        some = tiles[start : start + together]
        restored += model(torch.cat(some)).split(len(noisy))
        if progress is not None:
            progress(len(restored) / len(tiles))
    weights = [model.estimate_counts(shape).to(noisy)] * len(tiles)
    whole = blend_tiles(restored, corners, (height, width), weights) / scale
    return whole[..., size - 1 : height - size + 1, size - 1 : width - size + 1]


def _mirror(image: Tensor, width: int) -> Tensor:
    """The image with a mirrored border; where it is too small for that, its edge repeated."""
    mode = "reflect" if min(image.shape[-2:]) > width else "replicate"
    return F.pad(image, (width, width, width, width), mode=mode) if width else image


def _bytes(model: PatchModel, shape: tuple[int, int]) -> int:
    """Memory for one tile: five copies of codes, and of similarities if there are any."""
    size = model.config.patch
    patches = (shape[0] - size + 1) * (shape[1] - size + 1)
    numbers = patches * (model.config.atoms + 2 * model.config.entries)
    if isinstance(model.config, NonLocalConfig):
        numbers += patches**2
    return 5 * 4 * numbers
