"""NSR: residual networks whose convolutions choose, image by image, among groups of kernels.

Fan, Yu, Mei, Zhang, Fu, Liu, Huang, *Neural sparse representation for image restoration*, 2020.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, relu

from lessons_lib.models.convolutional import ConvolutionalModel
from lessons_lib.models.restorer import Application
from lessons_lib.models.sparse_conv import SparseConv2d
from lessons_lib.models.uniform_tiles import UniformTiles
from lessons_lib.models.windows import HaloWindows
from lessons_lib.ops.resize import resize_matrix


@dataclass(frozen=True)
class NSRConfig:
    """Sizes and variants; the defaults are the denoising tables' baseline, without groups.

    Args:
        channels: 1 for gray, 3 for colour.
        blocks: residual blocks B.
        width: channels between them.
        expansion: how many times as many there are within a block.
        groups: sparsity groups k; 1 for none.
        cardinality: cardinal groups d.
        gate: see `lessons_lib.models.sparse_conv.Gate`.
        temperature: see there.
        depth: see there.
        shared_gates: whether a block's second convolution has the gates of its first.
        scale: how many times larger the estimate is than the image.
        tile: side of the pieces in which a photograph is restored, for pooling, and of crops in
            training. Without groups nothing is pooled, and there are no tiles.

    Raises:
        ValueError: if a size is not positive; see `SparseConv2d`.
    """

    channels: int = 1
    blocks: int = 16
    width: int = 32
    expansion: int = 2
    groups: int = 1
    cardinality: int = 1
    gate: str = "softmax"
    temperature: float = 1.0
    depth: int = 1
    shared_gates: bool = False
    scale: int = 1
    tile: int = 48

    def __post_init__(self) -> None:
        sizes = (self.channels, self.blocks, self.width, self.expansion, self.scale, self.tile)
        if min(*sizes, self.groups, self.cardinality) < 1:
            raise ValueError(f"no such NSR: {self}")


class Block(nn.Module):
    """``x + conv(relu(conv(x)))``."""

    def __init__(self, config: NSRConfig) -> None:
        super().__init__()
        inside = config.expansion * config.width
        self.first = _sparse(config, config.width, inside, length=2.0)
        self.second = _sparse(config, inside, config.width, length=1 / math.sqrt(config.blocks))
        self.shared = config.shared_gates
        if self.shared:
            self.second.gate = None

    def forward(self, features: Tensor) -> Tensor:
        """Features ``(B, width, H, W)``."""
        gates = self.first.gate(features) if self.first.gate is not None else None
        hidden = relu(self.first(features, gates))
        return features + self.second(hidden, gates if self.shared else None)


class NSR(ConvolutionalModel):
    """The residual network, with groups of kernels or without.

    ``x̂ = skip(y) + tail(blocks(head(y)))``, where the skip is the image itself or, if the estimate
    is larger, a convolution of its own. All kernels are directions with a length.

    Source: NSR §4 and the released code.

    >>> count = lambda **sizes: sum(p.numel() for p in NSR(NSRConfig(**sizes)).parameters())
    >>> count()  # baseline
    593538
    >>> count(expansion=1, groups=2, cardinality=16)  # sparse -
    628354
    >>> count(groups=2, cardinality=16)  # sparse +
    1236610
    """

    config: NSRConfig

    def __init__(self, config: NSRConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.width * config.expansion
        self.scale = config.scale
        channels, shuffled = config.channels, config.channels * config.scale**2
        self.head = SparseConv2d(channels, config.width, weight_norm=True)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.tail = SparseConv2d(config.width, shuffled, weight_norm=True, length=0.1)
        self.skip: SparseConv2d | None = None
        if config.scale > 1:
            self.skip = SparseConv2d(channels, shuffled, 5, weight_norm=True)
        _start(self)

    @property
    def application(self) -> Application:  # type: ignore[override]
        """Tiles as in training where features are pooled, else windows that equal the whole.

        Differs from the released code, which cuts tiles only where both sides have 192 pixels or
        more, 32 apart and each with 4 mirrored pixels around it, and pools smaller images whole.
        """
        if self.config.groups == 1 and self.config.gate != "sigmoid":
            return HaloWindows(halo=2 + 2 * self.config.blocks)
        return UniformTiles(self.config.tile)

    @property
    def layout(self) -> torch.memory_format:  # type: ignore[override]
        """The kernels of an image's own are mixed for channels that lie one after the other."""
        return torch.channels_last if self.config.groups == 1 else torch.contiguous_format

    def forward(self, degraded: Tensor) -> Tensor:
        """Estimate ``(B, C, scale·H, scale·W)`` from ``(B, C, H, W)`` images of any size.

        Features are pooled over the whole image. `lessons_lib.models.restore` cuts photographs into
        tiles, so that kernels can differ from place to place.
        """
        self.check_channels(degraded)
        centred = degraded - 0.5
        features = self.head(centred)
        for block in self.blocks:
            features = block(features)
        found = self.tail(features) + (centred if self.skip is None else self.skip(centred))
        return pixel_shuffle(found, self.scale) + 0.5


def _sparse(config: NSRConfig, inputs: int, outputs: int, length: float) -> SparseConv2d:
    return SparseConv2d(
        inputs,
        outputs,
        groups=config.groups,
        cardinality=config.cardinality,
        gate=config.gate,
        temperature=config.temperature,
        depth=config.depth,
        weight_norm=True,
        length=length,
    )


def _start(model: NSR, seed: int = 0) -> None:
    """Draw directions and gates from a generator of its own: always the same start.

    Differs from the released code, whose tail is ten times as long, louder than the noise, and
    whose skip is drawn as well. The skip starts as bicubic interpolation.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, SparseConv2d):
                layer.weight.normal_(generator=generator)
            elif isinstance(layer, nn.Linear):
                reach = 1 / math.sqrt(layer.in_features)
                layer.weight.uniform_(-reach, reach, generator=generator)
                layer.bias.uniform_(-reach, reach, generator=generator)
        if model.skip is not None:
            kernels = _bicubic(model.config.channels, model.scale)
            assert model.skip.length is not None
            model.skip.weight.copy_(kernels)
            model.skip.length.copy_(torch.linalg.vector_norm(kernels, dim=(1, 2, 3)))


def _bicubic(channels: int, scale: int) -> Tensor:
    """Kernels ``(channels · scale², channels, 5, 5)`` that interpolate, before a pixel shuffle."""
    middle = resize_matrix(11, float(scale))[5 * scale : 6 * scale, 3:8]  # of the pixel at 5
    phases = torch.einsum("ai,bj->abij", middle, middle).reshape(scale**2, 5, 5)
    return torch.einsum("cd,pij->cpdij", torch.eye(channels).to(phases), phases).flatten(0, 1)
