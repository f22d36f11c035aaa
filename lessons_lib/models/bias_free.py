"""A DnCNN without a single constant, so that louder noise than it was trained for is no trouble.

Mohan, Kadkhodaie, Simoncelli, Fernandez-Granda, *Robust and interpretable blind image denoising via
bias-free convolutional neural networks*, 2020.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from lessons_lib.models.convolutional import ConvolutionalModel, convolution, start_convolutions
from lessons_lib.models.restorer import Application
from lessons_lib.models.windows import HaloWindows


@dataclass(frozen=True)
class BiasFreeConfig:
    """Sizes of a bias-free network.

    Args:
        channels: 1 for gray, 3 for colour.
        layers: convolutions.
        width: channels between them.
        scale_norm: whether `ScaleNorm` follows the middle convolutions, as in training;
            `BiasFree.fold` makes a network without it of a trained one.
        loudest_255: for weights that serve all levels of noise, the loudest that they were trained
            for, white being 255; 0 for those of one level. The network is not told the level.

    Raises:
        ValueError: if there are fewer than three layers, or a size is not positive.
    """

    channels: int = 1
    layers: int = 20
    width: int = 64
    scale_norm: bool = True
    loudest_255: float = 0.0

    def __post_init__(self) -> None:
        if min(self.channels, self.width) < 1 or self.layers < 3 or self.loudest_255 < 0:
            raise ValueError(f"no such bias-free network: {self}")


class ScaleNorm(nn.Module):
    """Batch normalisation that takes no mean away and adds no shift: ``γ x / (σ + ε)``.

    In training σ is the batch's standard deviation in each channel, later a running mean's root.

    Source: the authors' code; ε and the momentum are PyTorch's for `torch.nn.BatchNorm2d`.
    """

    running_var: Tensor

    def __init__(self, width: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.gain = nn.Parameter(torch.ones(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, features: Tensor) -> Tensor:
        """Scale ``(B, width, H, W)``."""
        variance = self.running_var
        if self.training:
            variance = features.var(dim=(0, 2, 3))
            with torch.no_grad():
                self.running_var.lerp_(variance.to(self.running_var), self.momentum)
        return features * self.factor(variance).to(features.dtype)[:, None, None]

    def factor(self, variance: Tensor) -> Tensor:
        """What channels ``(width,)`` of some variance are multiplied by."""
        # A root has no slope at 0, where a channel that has died stands: far below ε, stop before.
        return self.gain / (variance.clamp_min(1e-20).sqrt() + self.eps)


class BiasFree(ConvolutionalModel):
    """The bias-free denoiser: 665,856 parameters for gray with 20 layers.

    ``x̂ = y − conv(relu(γ conv( … relu(conv(y))) / σ))``, without any constant. So
    ``f(ay) = a f(y)`` for a > 0: what removes faint noise from a faint image removes loud noise
    from a loud one. At each image it is a linear filter, ``f(y) = A(y) y``, that adapts to it.

    Source: Mohan et al. §4.
    Differs from the paper: kernels start as those of `DnCNN` do, theirs are orthogonal.

    >>> model = BiasFree(BiasFreeConfig(layers=4, width=8)).eval()
    >>> image = torch.rand(1, 1, 9, 12)
    >>> torch.allclose(model(4 * image), 4 * model(image), atol=1e-5)
    True
    """

    config: BiasFreeConfig
    layout = torch.channels_last

    def __init__(self, config: BiasFreeConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        width, middle = config.width, range(config.layers - 2)
        self.first = convolution(config.channels, width, bias=False)
        self.middle = nn.ModuleList(convolution(width, width, bias=False) for _ in middle)
        self.norms = nn.ModuleList(
            ScaleNorm(width) if config.scale_norm else nn.Identity() for _ in middle
        )
        self.last = convolution(width, config.channels, bias=False)
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

    def for_inference(self) -> "BiasFree":
        """See `fold`."""
        return self.fold() if self.config.scale_norm and not self.training else self

    @torch.no_grad()
    def fold(self) -> "BiasFree":
        """The same network with its normalisation folded into the convolutions, for inference.

        In evaluation, ``γ Kx / (σ + ε)`` is a convolution with the kernel ``γK/(σ + ε)``.
        """
        folded = BiasFree(replace(self.config, scale_norm=False)).to(self.first.weight)
        folded.sigma = self.sigma
        folded.train(self.training)
        own = self.state_dict().items()
        folded.load_state_dict({n: weight for n, weight in own if not n.startswith("norms")})
        for layer, norm in zip(folded.middle, self.norms, strict=True):
            if isinstance(norm, ScaleNorm):
                assert isinstance(layer, nn.Conv2d)
                layer.weight.mul_(norm.factor(norm.running_var)[:, None, None, None])
        return folded
