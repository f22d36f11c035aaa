"""CBDNet: finds the noise of a photograph at each pixel, then takes it away, told what it found.

Guo, Yan, Zhang, Zuo, Zhang, *Toward convolutional blind denoising of real photographs*, 2019.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad, relu

from lessons_lib.models.convolutional import ConvolutionalModel, convolution, start_convolutions
from lessons_lib.models.restorer import Application
from lessons_lib.models.windows import HaloWindows


@dataclass(frozen=True)
class CBDNetConfig:
    """Sizes of a CBDNet.

    Args:
        channels: 3 for colour, 1 for gray.
        width: channels of the U-Net at full size; twice and four times as many below it.
        estimator: channels between the layers that find the noise.

    Raises:
        ValueError: if a size is not positive.
    """

    channels: int = 3
    width: int = 64
    estimator: int = 32

    def __post_init__(self) -> None:
        if min(self.channels, self.width, self.estimator) < 1:
            raise ValueError(f"no such CBDNet: {self}")


class CBDNet(ConvolutionalModel):
    """The blind denoiser of photographs: 4,365,382 parameters, of which 29,507 find the noise.

    ``σ̂ = estimate_noise(y)`` and ``x̂ = y + unet(y, σ̂)``. The U-Net halves its grid twice by
    averaging, doubles it twice again, and adds what it had at each size on the way down.

    Source: Guo et al. §3.2.
    Differs from the paper: it prints neither the widths nor how many convolutions stand at each
    size; both are those of a PyTorch version by others (IDKiro). A side that is no multiple of 4 is
    continued by its last line.

    >>> model = CBDNet(CBDNetConfig())
    >>> def numbers(part): return sum(parameter.numel() for parameter in part.parameters())
    >>> numbers(model.estimator), numbers(model)
    (29507, 4365382)
    >>> 3 * 9 * 32 + 32 + 3 * (32 * 9 * 32 + 32) + 32 * 9 * 3 + 3  # the estimator, by hand
    29507
    """

    config: CBDNetConfig
    layout = torch.channels_last
    finds_noise = True

    def __init__(self, config: CBDNetConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        colours, width, small = config.channels, config.width, config.estimator
        self.estimator = _layers(colours, small, small, small, small, colours)
        self.full_down = _layers(2 * colours, width, width)
        self.half_down = _layers(width, *[2 * width] * 3)
        self.quarter = _layers(2 * width, *[4 * width] * 6)
        self.to_half = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.half_up = _layers(2 * width, *[2 * width] * 3)
        self.to_full = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.full_up = _layers(width, width, width)
        self.last = nn.Conv2d(width, colours, 1)
        start_convolutions(self, correction=self.last)
        generator = torch.Generator().manual_seed(0)
        for layer in (self.to_half, self.to_full):
            nn.init.normal_(layer.weight, 0, layer.in_channels**-0.5, generator=generator)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    @property
    def application(self) -> Application:  # type: ignore[override]
        """Windows that equal the whole image, and begin where a square of 4 × 4 pixels does."""
        # 5 pixels for the estimator, 2 · 2 for layers on the full grid, 6 · 2 on that of half the
        # size, 6 · 4 on the coarsest; and an average may look 3 pixels past the pixel it is for.
        return HaloWindows(halo=5 + 4 + 12 + 24 + 3, step=4)

    def estimate_noise(self, noisy: Tensor) -> Tensor:
        """The noise's standard deviation at each pixel of ``(B, C, H, W)``, same shape.

        It has learned it from `lessons_lib.camera.CameraNoise.spread`: in linear light, before the
        camera's mosaic and curve, not in the file.
        """
        self.check_channels(noisy)
        return _run(self.estimator, noisy)

    def forward(self, noisy: Tensor, with_noise: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Estimate ``(B, C, H, W)`` images of any size; where asked, the noise that was found, too.

        Args:
            noisy: ``(B, C, H, W)``.
            with_noise: whether to return a pair, the second being that of `estimate_noise`.
        """
        height, width = noisy.shape[-2:]
        noise = self.estimate_noise(noisy)
        seen = torch.cat([noisy, noise], dim=1)
        full = _run(self.full_down, pad(seen, (0, -width % 4, 0, -height % 4), mode="replicate"))
        half = _run(self.half_down, avg_pool2d(full, 2))  # (B, 2·width, H/2, W/2)
        quarter = _run(self.quarter, avg_pool2d(half, 2))  # (B, 4·width, H/4, W/4)
        half = _run(self.half_up, half + self.to_half(quarter))
        full = _run(self.full_up, full + self.to_full(half))
        estimate: Tensor = noisy + self.last(full)[..., :height, :width]
        return (estimate, noise) if with_noise else estimate


def _layers(*widths: int) -> nn.ModuleList:
    """Convolutions from each number of channels to the next."""
    return nn.ModuleList(convolution(inputs, outputs) for inputs, outputs in pairwise(widths))


def _run(layers: nn.ModuleList, features: Tensor) -> Tensor:
    for layer in layers:
        features = relu(layer(features))
    return features
