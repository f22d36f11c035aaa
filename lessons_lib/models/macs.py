"""What a model costs: products of two numbers, each with a sum, for each pixel."""

import math

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lessons_lib.models.restorer import Restorer, evaluating


def macs_per_pixel(model: Restorer, size: int = 48) -> float:
    """Multiply-accumulates of a forward pass for each pixel of the image.

    Those of convolutions and products of matrices; norms, activations and sums are not counted.
    Papers often call them FLOPs.

    Args:
        model: any of ours, which is not changed.
        size: side of the crop that it is counted on. What a model compares within its crop grows
            with the crop.

    >>> from lessons_lib.models import build
    >>> round(macs_per_pixel(build("dncnn", {})))
    554112
    """
    image = next(model.parameters()).new_zeros(1, model.config.channels, size, size)
    given: dict[str, Tensor] = {"mask": torch.ones_like(image), "sigma": image.new_full((1,), 0.1)}
    told = {name: given[name] for name in model.told}
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), evaluating(model), counter:
        model(image, **told)
    return counter.get_total_flops() / 2 / math.prod(image.shape[-2:])
