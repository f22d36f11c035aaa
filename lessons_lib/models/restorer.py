"""What every trainable model is to the rest of the library: a `Restorer`.

What it computes is its ``forward``; what it is told besides the image, how it is applied to a
photograph of any size and what its training needs to know stand beside that, as attributes. Nobody
outside has to ask which model it is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, cast, get_args

import torch
from torch import Tensor, nn

Precision = Literal["auto", "reference", "fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class Settings:
    """How a photograph is worked on, as far as the caller chooses; see `restore`.

    None stands for what the model's `Application` takes by itself.
    """

    precision: Precision = "reference"
    memory: float | None = None
    tile: int | None = None
    overlap: int | None = None
    neighbours: int | None = None
    progress: Callable[[float], None] | None = None


class Application(Protocol):
    """How a model that was trained on small crops is applied to a whole photograph.

    Attributes:
        options: which of the `Settings` "tile", "overlap" and "neighbours" mean something to it.
    """

    @property
    def options(self) -> frozenset[str]: ...

    def __call__(
        self, model: "Restorer", image: Tensor, told: dict[str, Tensor], settings: Settings
    ) -> Tensor:
        """Estimate ``(B, C, scale·H, scale·W)`` from an image ``(B, C, H, W)`` of any size.

        Args:
            model: whose application it is.
            image: degraded.
            told: what the model is told besides: tensors ``(B,)``, one number for each image, or
                maps ``(1 or B, _, H, W)``, which are cut up as the image is.
            settings: its precision is never "auto".
        """


class Restorer(nn.Module):
    """A model that maps degraded images ``(B, C, H, W)`` to estimates of the clean ones.

    ``forward(degraded, **told)`` computes an estimate ``(B, C, scale·H, scale·W)``.

    Attributes:
        config: a frozen dataclass of sizes and options, among them ``channels``.
        application: how it is applied to a photograph.
        told: names of what ``forward`` takes besides the image: "mask" ``(1 or B, C, H, W)``, 1
            where a value was measured; "sigma" ``(B,)``, the noise on the [0, 1] scale, and of a
            model that `takes_maps` also ``(B, 1, H, W)``.
        takes_maps: whether the noise may differ from pixel to pixel.
        sigma: noise that the weights were trained for, on the [0, 1] scale; None if there is no one
            level, or it is not known.
        scale: how many times larger than the image its estimate is.
        matrices: names of those weights that are matrices and multiply vectors, or kernels that
            lead from many channels to many, for optimisers that treat them as such.
        starts_from_dictionary: whether it is built from a dictionary of ``config.atoms`` patches of
            side ``config.patch``, as `lessons_lib.training` learns it.
        finds_noise: whether it has a method ``estimate_noise`` that says how strong the noise is at
            each pixel of an image, ``(B, C, H, W)``, in the unit of the maps that it learned from.
            Then ``forward`` returns it beside the estimate if it is called ``with_noise=True``.
        layout: how the crops that it is trained with lie in memory: ``torch.channels_last`` where
            that makes its steps shorter.
        repeats: whether it repeats one step with weights ``C`` and ``D``, so that steps that are
            too long blow up, see `lessons_lib.training.stability`.
        noise_powers: an image s times as bright, noise and all, should give an estimate s times as
            bright. It does if each of these weights is multiplied by this power of s. So a model
            for one noise level starts where another one's training ended. Empty where no such
            powers are known: networks with biases have none.
    """

    config: Any
    application: Application
    told: ClassVar[tuple[str, ...]] = ()
    takes_maps: ClassVar[bool] = False
    sigma: float | None = None
    scale: int = 1
    matrices: tuple[str, ...] = ()
    starts_from_dictionary: ClassVar[bool] = False
    finds_noise: ClassVar[bool] = False
    layout: torch.memory_format = torch.contiguous_format
    repeats: ClassVar[bool] = False
    noise_powers: ClassVar[dict[str, int]] = {}

    @property
    def loudest(self) -> float | None:
        """The most noise that a model of many levels is for, on the [0, 1] scale, or None."""
        return None

    @property
    def border(self) -> int:
        """Pixels along the edge of a crop that are estimated worse than those inside."""
        return 0

    @property
    def has_fast_form(self) -> bool:
        """Whether `estimate` knows other precisions than "reference"."""
        return False

    @property
    def half_precision_is_enough(self) -> bool:
        """Whether its "bf16" is as good as its "fp32", to a hundredth of a decibel."""
        return False

    def confidence(self, shape: tuple[int, int]) -> Tensor:
        """How far each pixel of an ``(H, W)`` crop's estimate can be trusted, ``(1, 1, H, W)``."""
        return torch.ones(1, 1, *shape)

    def bytes_for(self, shape: tuple[int, int], precision: Precision) -> int:
        """Memory that `estimate` needs for one image ``(H, W)``."""
        raise NotImplementedError

    def for_inference(self) -> "Restorer":
        """What computes the same in fewer operations, without training: itself, if nothing does."""
        return self

    def estimate(
        self, degraded: Tensor, precision: Precision, neighbours: int | None, **told: Tensor
    ) -> Tensor:
        """``forward`` for photographs, without gradients; "reference" is ``forward`` itself.

        Args:
            degraded: ``(B, C, H, W)``.
            precision: never "auto"; others than "reference" for models that `has_fast_form`.
            neighbours: see `restore`.
            told: see `Restorer`.
        """
        return cast(Tensor, self(degraded, **told))

    def start_from(self, weights: dict[str, Tensor]) -> list[str]:
        """Take over another model's weights where name and shape agree; return their names."""
        own = self.state_dict()
        given = {
            name: weight
            for name, weight in weights.items()
            if name in own and own[name].shape == weight.shape
        }
        self.load_state_dict(given, strict=False)
        return list(given)

    def check_channels(self, image: Tensor, smallest: int = 1) -> None:
        """Refuse an image that the model is not for.

        Raises:
            ValueError: if it is no ``(B, C, H, W)`` with the model's channels, or is too small.
        """
        channels = self.config.channels
        if image.dim() != 4 or image.shape[1] != channels or min(image.shape[-2:]) < smallest:
            raise ValueError(
                f"expected (B, {channels}, H, W) with sides of {smallest} pixels at least, "
                f"got {tuple(image.shape)}"
            )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Have a model in evaluation mode for a while, and each of its layers as it was afterwards.

    In training mode a normalisation would count what it sees among its statistics.
    """
    modes = [(layer, layer.training) for layer in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode
