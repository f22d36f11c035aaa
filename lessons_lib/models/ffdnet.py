"""FFDNet: one network for all levels of noise, told how strong it is at each pixel.

Zhang, Zuo, Zhang, *FFDNet: toward a fast and flexible solution for CNN-based image denoising*,
2018.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, pixel_shuffle, pixel_unshuffle, relu

from lessons_lib.models.convolutional import ConvolutionalModel, convolution, start_convolutions
from lessons_lib.models.restorer import Application
from lessons_lib.models.windows import HaloWindows


@dataclass(frozen=True)
class FFDNetConfig:
    """Sizes of an FFDNet: 15 layers of 64 for gray, 12 of 96 for colour.

    Args:
        channels: 1 for gray, 3 for colour.
        layers: convolutions.
        width: channels between them.
        loudest_255: the most noise that it is trained for, white being 255.

    Raises:
        ValueError: if there are fewer than three layers, or a size is not positive.
    """

    channels: int = 1
    layers: int = 15
    width: int = 64
    loudest_255: float = 75.0

    def __post_init__(self) -> None:
        if min(self.channels, self.width) < 1 or self.layers < 3 or self.loudest_255 <= 0:
            raise ValueError(f"no such FFDNet: {self}")


class FFDNet(ConvolutionalModel):
    """The flexible denoiser: 485,316 parameters for gray, 852,108 for colour.

    Each 2 × 2 square of pixels becomes one of four channels per colour; beside them stands the
    noise. Convolutions on that grid of half the size see twice as far for a quarter of the work.
    They estimate the image itself, not its noise.

    Source: FFDNet §III.

    >>> sum(parameter.numel() for parameter in FFDNet(FFDNetConfig()).parameters())
    485316
    """

    config: FFDNetConfig
    told = ("sigma",)
    takes_maps = True

    def __init__(self, config: FFDNetConfig) -> None:
        super().__init__()
        self.config = config
        phases, width = 4 * config.channels, config.width
        self.width = max(1, width // 4)  # of a grid that has a quarter of the pixels
        self.first = convolution(phases + 1, width)
        self.middle = nn.ModuleList(convolution(width, width) for _ in range(config.layers - 2))
        self.last = convolution(width, phases)
        start_as_copy(self)

    @property
    def application(self) -> Application:  # type: ignore[override]
        """Windows that equal the whole image, and begin where a square of pixels does."""
        return HaloWindows(halo=2 * self.config.layers, step=2)

    @property
    def loudest(self) -> float | None:
        """See `Restorer.loudest`."""
        return self.config.loudest_255 / 255

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Estimate ``(B, C, H, W)`` images of any size.

        Args:
            noisy: ``(B, C, H, W)``; a side that is odd is continued by its last line.
            sigma: noise on the [0, 1] scale, ``(B,)`` or, varying from pixel to pixel,
                ``(B, 1, H, W)``, of which the mean of each 2 × 2 square counts.
        """
        self.check_channels(noisy)
        height, width = noisy.shape[-2:]
        odd = (0, width % 2, 0, height % 2)
        phases = pixel_unshuffle(pad(noisy, odd, mode="replicate"), 2)  # (B, 4C, H/2, W/2)
        if sigma.dim() == 4:
            level = pixel_unshuffle(pad(sigma, odd, mode="replicate"), 2).mean(dim=1, keepdim=True)
        else:
            level = sigma[:, None, None, None].expand(-1, 1, *phases.shape[-2:])
        features = relu(self.first(torch.cat([phases, level.to(phases)], dim=1)))
        for layer in self.middle:
            features = relu(layer(features))
        return pixel_shuffle(self.last(features), 2)[..., :height, :width]


def start_as_copy(model: FFDNet) -> None:
    """Let the phases of the picture run through unchanged, beside features that start smaller.

    The network gives the picture itself, not its noise. Where it starts with random kernels alone
    it spends most of a short training on learning to copy, and keeps the largest error where there
    is the least noise: at sigma below 10 it had 26.7 dB after 220 steps from this start, and 21.4
    from the other.

    Random kernels start at 0.3 of their size, and those that add to the copy smaller again.
    """
    start_convolutions(model)
    layers = [model.first, *model.middle, model.last]
    copied = min(layer.out_channels for layer in layers)  # the phases, or the width if that is less
    with torch.no_grad():
        for layer in layers:
            layer.weight.mul_(0.3)
            layer.weight[:copied].mul_(0.01 if layer is model.last else 0.1)
            for channel in range(copied):
                layer.weight[channel, channel, 1, 1] += 1
