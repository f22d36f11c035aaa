"""DnCNN: a plain stack of convolutions that estimates the noise, which is then taken away.

Zhang, Zuo, Chen, Meng, Zhang, *Beyond a Gaussian denoiser: residual learning of deep CNN for image
denoising*, 2017.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from lessons_lib.models.convolutional import ConvolutionalModel, convolution, start_convolutions
from lessons_lib.models.restorer import Application
from lessons_lib.models.windows import HaloWindows


@dataclass(frozen=True)
class DnCNNConfig:
    """Sizes of a DnCNN.

    Args:
        channels: 1 for gray, 3 for colour.
        layers: convolutions; 17 for one level of gray noise, 20 in colour and for many levels.
        width: channels between them.
        batch_norm: whether batch normalisation follows the middle convolutions, as in training. A
            network without it has biases instead; `DnCNN.fold` makes one of a trained network.
        loudest_255: for weights that serve all levels of noise, the loudest, white being 255; 0
            for those of one level. The network is not told the level.

    Raises:
        ValueError: if there are fewer than three layers, or a size is not positive.
    """

    channels: int = 1
    layers: int = 17
    width: int = 64
    batch_norm: bool = True
    loudest_255: float = 0.0

    def __post_init__(self) -> None:
        if min(self.channels, self.width) < 1 or self.layers < 3 or self.loudest_255 < 0:
            raise ValueError(f"no such DnCNN: {self}")


class DnCNN(ConvolutionalModel):
    """The residual denoiser: 556,096 parameters for gray with 17 layers, 554,112 in its kernels.

    ``x̂ = y − conv(relu(norm(conv( … relu(conv(y))))))``

    A pixel's estimate depends on the ``layers`` pixels around it.

    Source: DnCNN §III.
    Differs from the paper: batch normalisation has the constants of the authors' PyTorch code, ε =
    1e-4 and a momentum of 0.05 for the new batch (which they write, counting the other way round,
    0.95); their paper does not print them.

    >>> sum(parameter.numel() for parameter in DnCNN(DnCNNConfig()).parameters())
    556096
    >>> DnCNN(DnCNNConfig(layers=4, width=8))(torch.rand(1, 1, 9, 12)).shape
    torch.Size([1, 1, 9, 12])
    """

    config: DnCNNConfig
    layout = torch.channels_last

    def __init__(self, config: DnCNNConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        width, biases = config.width, not config.batch_norm
        middle = range(config.layers - 2)
        self.first = convolution(config.channels, width)
        self.middle = nn.ModuleList(convolution(width, width, bias=biases) for _ in middle)
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(width, eps=1e-4, momentum=0.05) if config.batch_norm else nn.Identity()
            for _ in middle
        )
        self.last = convolution(width, config.channels, bias=biases)
        start_convolutions(self, correction=self.last)

    @property
    def application(self) -> Application:  # type: ignore[override]
        """Windows that equal the whole image."""
        return HaloWindows(halo=self.config.layers)

    @property
    def loudest(self) -> float | None:
        """See `Restorer.loudest`."""
        return self.config.loudest_255 / 255 or None

    def forward(self, noisy: Tensor) -> Tensor:
        """Estimate ``(B, C, H, W)`` images of any size."""
        self.check_channels(noisy)
        features = relu(self.first(noisy))  # (B, width, H, W)
        for layer, norm in zip(self.middle, self.norms, strict=True):
            features = relu(norm(layer(features)))
        return noisy - self.last(features)

    def for_inference(self) -> "DnCNN":
        """See `fold`."""
        return self.fold() if self.config.batch_norm and not self.training else self

    @torch.no_grad()
    def fold(self) -> "DnCNN":
        """The same network with batch normalisation folded into the convolutions, for inference.

        In evaluation, ``norm(Kx) = γ (Kx − μ) / s + β`` with ``s = √(σ² + ε)`` is a convolution
        with kernel ``γK/s`` and bias ``β − γμ/s``.
        """
        folded = DnCNN(replace(self.config, batch_norm=False)).to(self.first.weight)
        folded.sigma = self.sigma
        folded.train(self.training)
        own = self.state_dict().items()
        kernels = {name: weight for name, weight in own if not name.startswith("norms")}
        folded.load_state_dict(kernels, strict=False)  # biases that were not there are still 0
        if not self.config.batch_norm:
            return folded
        for layer, norm in zip(folded.middle, self.norms, strict=True):
            assert isinstance(layer, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            assert layer.bias is not None
            assert norm.running_mean is not None
            assert norm.running_var is not None
            gain = norm.weight / (norm.running_var + norm.eps).sqrt()
            layer.weight.mul_(gain[:, None, None, None])
            layer.bias.copy_(norm.bias - gain * norm.running_mean)
        return folded
