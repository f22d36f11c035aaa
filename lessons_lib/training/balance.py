"""Images that count alike: a mean of PSNRs does not ask what a sum of squared errors asks.

A photograph of leaves keeps ten times the squared error of one with much sky, so that a sum over
crops of both is a sum over leaves. A table is a mean of PSNRs, logarithms of each image's error, in
which a tenth less counts the same everywhere. Its gradient is that of a sum in which every error is
divided by its image's. What a simple method leaves of an image stands for what a trained one will.
"""

import numpy as np
import torch
from torch import Tensor

from lessons_lib.classical import dct
from lessons_lib.degradations import BayerMosaic
from lessons_lib.demosaicking import bilinear
from lessons_lib.training.config import Run

# Side of the middle part that is looked at; and 60 dB, which no error is taken to be below.
PART = 192
LEAST_ERROR = 1e-6


def noise_levels(run: Run) -> tuple[float, ...]:
    """Standard deviations of a run's noise that are weighed apart, images lying in [0, 1]."""
    return tuple(level / 255 for level in run.options.get("levels_255", (run.sigma_255,)))


def image_scales(run: Run, images: list[Tensor]) -> Tensor:
    """What to multiply the differences in each image by, before they are squared.

    Args:
        run: says what happens to the images.
        images: ``(C, H, W)`` of bytes; in the task "jpeg" ``(2, H, W)``, clean and compressed.

    Returns:
        ``(images, levels)``, where levels are those of `noise_levels`: ``√(mean error / error)``,
        the mean being that over all of them.
    """
    errors = torch.tensor(
        [
            [_simple_error(run, _middle(image) / 255, sigma, index) for sigma in noise_levels(run)]
            for index, image in enumerate(images)
        ]
    )
    errors = errors.clamp(min=LEAST_ERROR)
    return (errors.mean() / errors).sqrt()


def _simple_error(run: Run, image: Tensor, sigma: float, index: int) -> float:
    """Mean squared error that a method without training leaves in an image ``(1, C, h, w)``."""
    if run.task == "jpeg":
        clean, estimate = image[:, :1], image[:, 1:]
    elif run.task == "demosaic":
        mosaic = BayerMosaic("RGGB")
        clean, estimate = image, bilinear(mosaic(image), mosaic)
    else:
        drawn = np.random.default_rng(index).standard_normal(tuple(image.shape), dtype=np.float32)
        clean, estimate = image, dct(image + sigma * torch.from_numpy(drawn), sigma)
    return (estimate - clean).square().mean().item()


def _middle(image: Tensor) -> Tensor:
    """At most ``PART`` pixels of each side, at an even place, as a batch of one."""
    height, width = image.shape[-2:]
    top, left = (max(0, side - PART) // 4 * 2 for side in (height, width))
    return image[None, :, top : top + PART, left : left + PART]
