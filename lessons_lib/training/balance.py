"""Images that count alike: a mean of PSNRs does not ask what a sum of squared errors asks.

A photograph of leaves keeps ten times the squared error of one with much sky, so that a sum over
crops of both is a sum over leaves. A table is a mean of PSNRs, logarithms of each image's error, in
which a tenth less counts the same everywhere. Its gradient is that of a sum in which every error is
divided by its image's. What a simple method leaves of an image stands for what a trained one will.
"""

import torch
from torch import Tensor

from lessons_lib.tasks import Goal, Task

# Side of the middle part that is looked at; and 60 dB, which no error is taken to be below.
PART = 192
LEAST_ERROR = 1e-6


def image_scales(task: Task, goal: Goal, images: list[Tensor]) -> Tensor:
    """What to multiply the differences in each image by, before they are squared.

    Args:
        task: says what happens to the images.
        goal: of the training.
        images: ``(C, H, W)`` of bytes, as `Task.training_image` makes them.

    Returns:
        ``(images, levels)``, where levels are those of `Task.levels`: ``√(mean error / error)``,
        the mean being that over all of them.
    """
    errors = torch.tensor(
        [
            [
                task.simple_error(_middle(image) / 255, goal, level, seed=index)
                for level in task.levels(goal)
            ]
            for index, image in enumerate(images)
        ]
    )
    errors = errors.clamp(min=LEAST_ERROR)
    return (errors.mean() / errors).sqrt()


def _middle(image: Tensor) -> Tensor:
    """At most ``PART`` pixels of each side, at an even place, as a batch of one."""
    height, width = image.shape[-2:]
    top, left = (max(0, side - PART) // 4 * 2 for side in (height, width))
    return image[None, :, top : top + PART, left : left + PART]
