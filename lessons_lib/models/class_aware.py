"""A network whose every layer says what it takes for noise, for one class of images or for all.

Remez, Litany, Giryes, Bronstein, *Class-aware fully convolutional Gaussian and Poisson denoising*,
2018.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from lessons_lib.models.convolutional import ConvolutionalModel, convolution
from lessons_lib.models.restorer import Application, Precision
from lessons_lib.models.windows import HaloWindows


@dataclass(frozen=True)
class ClassAwareConfig:
    """Sizes of a class-aware network.

    Args:
        channels: 1 for gray, 3 for colour.
        layers: convolutions.
        width: channels that a layer makes, its estimate of the noise among them.

    Raises:
        ValueError: if there are fewer than two layers, or a layer would pass nothing on.
    """

    channels: int = 1
    layers: int = 20
    width: int = 64

    def __post_init__(self) -> None:
        if self.channels < 1 or self.layers < 2 or self.width <= self.channels:
            raise ValueError(f"no such class-aware network: {self}")


class ClassAware(ConvolutionalModel):
    """The gradual denoiser: 655,544 parameters for gray with 20 layers.

    ``x̂ = y + (n₁ + n₂ + … + n₂₀) / 10``: of what each layer makes, the first channel is an estimate
    ``n`` of the noise's opposite; the others go on to the next layer. Nothing in the network knows
    of classes: it becomes aware of one by being trained on it alone.

    Source: Remez et al. §III; the factor 10, ReLUs after all but the last two layers, and the first
    weights (Xavier's, all biases 0.01) are their code's.
    Differs from the paper: a layer of a network for colours says its noise in as many channels.

    >>> sum(parameter.numel() for parameter in ClassAware(ClassAwareConfig()).parameters())
    655544
    """

    config: ClassAwareConfig

    def __init__(self, config: ClassAwareConfig) -> None:
        super().__init__()
        self.config = config
        colours, width = config.channels, config.width
        self.width = width
        inputs = [colours] + [width - colours] * (config.layers - 1)
        outputs = [width] * (config.layers - 1) + [colours]
        self.layers = nn.ModuleList(map(convolution, inputs, outputs))
        generator = torch.Generator().manual_seed(0)
        for layer in self.layers:
            assert isinstance(layer, nn.Conv2d)
            assert layer.bias is not None
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.constant_(layer.bias, 0.01)

    def bytes_for(self, shape: tuple[int, int], precision: Precision) -> int:
        """That of the image continued on all sides."""
        around = 2 * self.config.layers
        return super().bytes_for((shape[0] + around, shape[1] + around), precision)

    @property
    def application(self) -> Application:  # type: ignore[override]
        """Windows that equal the whole image."""
        return HaloWindows(halo=self.config.layers)

    def forward(self, noisy: Tensor) -> Tensor:
        """Estimate ``(B, C, H, W)`` images of any size."""
        return noisy + torch.stack(self.noise_estimates(noisy)).sum(dim=0) / 10

    def noise_estimates(self, noisy: Tensor) -> list[Tensor]:
        """What each layer says, ``(B, C, H, W)``; a tenth of it is added to the image.

        The image is mirrored at its border, as far as the layers see, its last lines repeated.
        """
        self.check_channels(noisy)
        colours, around = self.config.channels, self.config.layers
        height, width = noisy.shape[-2:]
        rows, columns = (_symmetric(n, around, noisy.device) for n in (height, width))
        features = noisy[..., rows[:, None], columns] - 0.5
        estimates = []
        for number, layer in enumerate(self.layers, start=1):
            made = layer(features)  # (B, width, H + 2·layers, W + 2·layers)
            said, features = made[:, :colours], made[:, colours:]
            estimates.append(said[..., around : around + height, around : around + width])
            if number < len(self.layers) - 1:
                features = relu(features)
        return estimates

    def gradual(self, noisy: Tensor) -> list[Tensor]:
        """The image after each layer's share, ``(B, C, H, W)``; the last is the estimate.

        >>> model, noisy = ClassAware(ClassAwareConfig(layers=4, width=8)), torch.rand(1, 1, 9, 7)
        >>> images = model.gradual(noisy)
        >>> len(images), torch.allclose(images[-1], model(noisy))
        (4, True)
        """
        shares = torch.stack(self.noise_estimates(noisy)) / 10
        return list(noisy + shares.cumsum(dim=0))


def _symmetric(length: int, around: int, device: torch.device) -> Tensor:
    """Indices of a line that runs on beyond both ends: … 1 0 | 0 1 … n−1 | n−1 n−2 …"""
    place = torch.arange(-around, length + around, device=device) % (2 * length)
    return torch.minimum(place, 2 * length - 1 - place)
