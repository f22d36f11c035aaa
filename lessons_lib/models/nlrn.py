"""NLRN: one state of features, renewed again and again by looking at all that is like it.

Liu, Wen, Fan, Loy, Huang, *Non-local recurrent network for image restoration*, 2018.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from lessons_lib.models.convolutional import ConvolutionalModel, convolution
from lessons_lib.models.restorer import Application, Precision
from lessons_lib.models.uniform_tiles import UniformTiles
from lessons_lib.ops.attention import DISTANCES, circular_window_mask, weights_of


@dataclass(frozen=True)
class NLRNConfig:
    """Sizes and variants of an NLRN.

    Args:
        channels: 1 for gray, 3 for colour.
        states: how often the state is renewed, T.
        width: channels of the state, m.
        embedding: channels that pixels are compared in, l.
        tile: side of the pieces that a photograph is restored in, and of crops in training. A pixel
            sees all of its tile, if it has no smaller neighbourhood.
        neighbourhood: side q of the square around a pixel that it sees, odd; 0 for the whole tile.
        distance: a name of `lessons_lib.ops.attention.DISTANCES`.
        every: the non-local module works in each state of so many, the first included; 0 for none.
        propagate: whether correlations of earlier states are added to those of a state.
        tied: whether all states have the same weights.
        tied_norms: whether they have the same batch normalisation, too.

    Raises:
        ValueError: if a size is not positive, the neighbourhood even, or the distance unknown.
    """

    channels: int = 1
    states: int = 12
    width: int = 128
    embedding: int = 64
    tile: int = 43
    neighbourhood: int = 0
    distance: str = "embedded gaussian"
    every: int = 1
    propagate: bool = True
    tied: bool = True
    tied_norms: bool = False

    def __post_init__(self) -> None:
        sizes = (self.channels, self.states, self.width, self.embedding, self.tile)
        odd = self.neighbourhood == 0 or (self.neighbourhood > 0 and self.neighbourhood % 2)
        alone = self.tied or not self.tied_norms
        if min(sizes) < 1 or self.every < 0 or not odd or not alone:
            raise ValueError(f"no such NLRN: {self}")
        if self.distance not in DISTANCES:
            known = ", ".join(DISTANCES)
            raise ValueError(f"no such NLRN: distance {self.distance!r} is none of {known}")


class NonLocalModule(nn.Module):
    """``x_i + Σ_j w_ij W_g x_j`` with weights ``w`` by how alike ``W_θ x_i`` and ``W_ψ x_j`` are.

    ``W_g`` and its bias start at 0, so that the module does nothing at first, wherever it is put.

    Args:
        width: channels of the features, m.
        embedding: channels that they are compared in, l.
        distance: a name of `DISTANCES`.

    Source: NLRN eq. 4 to 6 and Figure 1. In eq. 6, ``X_i W_g`` is a misprint of ``X_j W_g``.
    """

    def __init__(self, width: int, embedding: int, distance: str = "embedded gaussian") -> None:
        super().__init__()
        self.distance = DISTANCES[distance]
        maps = {"none": 0, "one": 1, "two": 2}[self.distance.embedding]
        self.embeddings = nn.ModuleList(nn.Conv2d(width, embedding, 1) for _ in range(maps))
        self.transform = nn.Conv2d(width, width, 1)
        self.start()

    def start(self) -> None:
        """Hand over nothing."""
        nn.init.zeros_(self.transform.weight)
        nn.init.zeros_(cast(Tensor, self.transform.bias))

    def forward(
        self, features: Tensor, carried: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Features that have looked around, and the logits that they did it by.

        In single precision at least, whatever is around it: carried logits become thousands, of
        which half precision keeps no more than a step of 16.

        Args:
            features: ``(B, m, H, W)``.
            carried: ``(B, N, N)``, ``N = H·W``, logits of earlier states that are added.
            mask: ``(N, N)``, see `circular_window_mask`.

        Returns:
            ``(B, m, H, W)`` and ``(B, N, N)``.
        """
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(self.transform.weight.dtype)
            seen = [embed(features) for embed in self.embeddings] or [features]
            queries, keys = (by_pixel(each) for each in (seen[0], seen[-1]))
            logits = self.distance.logits(queries, keys)
            if carried is not None:
                logits += carried
            weights = weights_of(logits, self.distance.exponential, mask)
            values = by_pixel(self.transform(features))  # (B, N, m)
            found = (weights @ values).transpose(-2, -1).reshape(features.shape)
            return features + found, logits


class Transition(nn.Module):
    """The weights of a state's renewal: a non-local module, if it has one, and two convolutions."""

    def __init__(self, config: NLRNConfig, looks: bool) -> None:
        super().__init__()
        width = config.width
        self.look: NonLocalModule | None = None
        if looks:
            self.look = NonLocalModule(width, config.embedding, config.distance)
        self.first, self.second = convolution(width, width), convolution(width, width)


class Norms(nn.Module):
    """The normalisations of a state: before its look, between that and its convolutions, after."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.between, self.after = (normalisation(width) for _ in range(3))


class NLRN(ConvolutionalModel):
    """The non-local recurrent network: 340,099 parameters, 330,625 without normalisation.

    ``s⁰ = conv(norm(y))``, then T times ``a = look(relu(norm(s)))`` and
    ``s = s⁰ + conv(relu(norm(conv(norm(a)))))``, and ``x̂ = y + conv(relu(norm(s)))``.
    The correlations by which a state looks around are added to those of all earlier states before
    they are made weights.

    Source: NLRN §4.
    Differs from the paper, as its released code does: normalisation is not shared by the states
    (statistics differ from state to state), there is no ReLU before the first convolution of a
    state and of the image, and a pixel sees its whole tile.

    >>> count = lambda model: sum(parameter.numel() for parameter in model.parameters())
    >>> count(NLRN(NLRNConfig())), count(NLRN(NLRNConfig(tied_norms=True)))
    (340099, 331651)
    """

    config: NLRNConfig

    def __init__(self, config: NLRNConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.norm = normalisation(config.channels)
        self.first = convolution(config.channels, config.width)
        copies = 1 if config.tied else config.states
        looking = range(0, copies, config.every) if config.every else ()
        self.transitions = nn.ModuleList(
            Transition(config, looks=number in looking) for number in range(copies)
        )
        copies = 1 if config.tied_norms else config.states
        self.norms = nn.ModuleList(Norms(config.width) for _ in range(copies))
        self.last_norm = normalisation(config.width)
        self.last = convolution(config.width, config.channels)
        start(self)

    @property
    def application(self) -> Application:  # type: ignore[override]
        """Tiles of the side that it is trained on, averaged."""
        return UniformTiles(self.config.tile)

    def bytes_for(self, shape: tuple[int, int], precision: Precision) -> int:
        """Logits, those carried along and their weights; and the features."""
        pixels = shape[0] * shape[1]
        return 4 * pixels * (3 * pixels * bool(self.config.every) + 6 * self.config.width)

    def unroll(self, noisy: Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The states ``(B, m, H, W)`` one by one, each with the logits ``(B, N, N)`` of its look.

        Logits are those that its weights are made of, earlier ones included where they propagate;
        None in states that do not look around.
        """
        grid, window = (noisy.shape[-2], noisy.shape[-1]), self.config.neighbourhood
        mask = circular_window_mask(grid, window, noisy.device) if 0 < window < max(grid) else None
        beginning = state = self.first(self.norm(noisy))
        carried: Tensor | None = None
        for number in range(self.config.states):
            transition = cast(Transition, self.transitions[number % len(self.transitions)])
            norms = cast(Norms, self.norms[number % len(self.norms)])
            features, logits = relu(norms.before(state)), None
            if transition.look is not None and number % self.config.every == 0:
                features, logits = transition.look(features, carried, mask)
                carried = logits if self.config.propagate else None
            features = transition.first(norms.between(features))
            state = beginning + transition.second(relu(norms.after(features)))
            yield state, logits

    def forward(self, noisy: Tensor) -> Tensor:
        """Estimate ``(B, C, H, W)`` images of any size; memory grows with the square of their area.

        `lessons_lib.models.restore` cuts photographs into tiles.
        """
        self.check_channels(noisy)
        *_, (state, _) = self.unroll(noisy)
        return noisy + self.last(relu(self.last_norm(state)))


def by_pixel(maps: Tensor) -> Tensor:
    """``(B, C, H, W)`` to ``(B, H·W, C)``."""
    return maps.flatten(2).transpose(-2, -1)


def normalisation(channels: int) -> nn.BatchNorm2d:
    """With TensorFlow's constants, as in the released code."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def start(model: NLRN, seed: int = 0) -> None:
    """Draw kernels uniformly, as large as keeps variances on the way there and back; no biases.

    The transform of every non-local module starts at 0. What is added to the image starts as in the
    released code, where white is 255: small beside the noise.

    Source: NLRN §5; Glorot, Bengio, *Understanding the difficulty of training deep feedforward
    neural networks*, 2010, eq. 16.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                assert layer.bias is not None
                layer.bias.zero_()
        for layer in model.modules():
            if isinstance(layer, NonLocalModule):
                layer.start()
        model.last.weight.div_(255)
