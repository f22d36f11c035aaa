"""What the convolutional networks share: how their convolutions start and how they run fast."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from lessons_lib.models.restorer import Precision, Restorer


class ConvolutionalModel(Restorer):
    """A network of 3 × 3 convolutions that keep the size of what they see.

    Its fast form is its own ``forward``, with the channels of a pixel together in memory, as
    processors and GPUs like them, and in half precision where that is asked for.

    Attributes:
        width: channels of the widest layer for each pixel of the image: of one that works on a
            grid of half the size, a quarter of them.
    """

    width: int

    @property
    def has_fast_form(self) -> bool:
        """Always."""
        return True

    @property
    def matrices(self) -> tuple[str, ...]:  # type: ignore[override]
        """Kernels that lead from more channels to more than what an image has.

        An image is also one whose pixels have become the channels of a smaller one, and that has a
        map of its noise beside it.
        """
        seen = 4 * self.config.channels + 1
        kernels = {name: weight for name, weight in self.named_parameters() if weight.dim() > 3}
        return tuple(name for name, kernel in kernels.items() if min(kernel.shape[-4:-2]) > seen)

    def bytes_for(self, shape: tuple[int, int], precision: Precision) -> int:
        """A layer's input and output, and a copy in another order."""
        return 3 * self.width * shape[0] * shape[1] * (2 if precision == "bf16" else 4)

    def estimate(
        self, degraded: Tensor, precision: Precision, neighbours: int | None, **told: Tensor
    ) -> Tensor:
        """See `Restorer.estimate`."""
        if precision == "reference":
            return super().estimate(degraded, precision, neighbours, **told)
        half = precision == "bf16"
        with torch.autocast(degraded.device.type, torch.bfloat16, enabled=half):
            seen = degraded.to(memory_format=torch.channels_last)
            return cast(Tensor, self(seen, **told)).float()


def convolution(inputs: int, outputs: int, bias: bool = True) -> nn.Conv2d:
    """3 × 3, padded with zeros, so that the size stays."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)


def start_convolutions(
    model: nn.Module, seed: int = 0, correction: nn.Conv2d | None = None
) -> None:
    """Draw the kernels so that ReLUs keep the size of what runs through them; no bias.

    Normal with variance ``2 / (9 · inputs)``, from a generator of its own: the same model starts
    with the same weights, whatever was drawn before.

    Args:
        model: whose convolutions start.
        seed: of the generator.
        correction: the layer whose output is added to the noisy image, where there is one. It
            starts a hundred times smaller: features are as large as an image, noise is not, and a
            network that begins by adding something louder than the noise takes thousands of steps
            to take that back.

    Source: He, Zhang, Ren, Sun, *Delving deep into rectifiers*, 2015, eq. 10.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            spread = math.sqrt(2 / (layer.in_channels * math.prod(layer.kernel_size)))
            with torch.no_grad():
                layer.weight.normal_(0, spread, generator=generator)
                if layer.bias is not None:
                    layer.bias.zero_()
    if correction is not None:
        with torch.no_grad():
            correction.weight.mul_(0.01)
