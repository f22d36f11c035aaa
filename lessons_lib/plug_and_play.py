"""Denoisers as priors of other inverse problems: the library's door for plug-and-play methods.

>>> prior = Denoiser("sc-gray-25")
>>> prior(torch.rand(2, 3, 24, 32), sigma=torch.tensor([0.05, 0.2])).shape
torch.Size([2, 3, 24, 32])

Where deepinv is installed, these are denoisers of its own kind, and its algorithms take them:
``deepinv.optim.DPIR(sigma=2 / 255, denoiser=prior)``. Without it they are modules as any other.

Source: Venkatakrishnan, Bouman, Wohlberg, *Plug-and-play priors for model based reconstruction*,
2013; docs/plug_and_play.md.
"""

import importlib.util
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from lessons_lib import models
from lessons_lib.checkpoints import find_card, load_model
from lessons_lib.degradations import GaussianNoise
from lessons_lib.evaluation.methods import MethodError, find_method, restore
from lessons_lib.evaluation.own import is_own
from lessons_lib.models.restore import brightness
from lessons_lib.models.restorer import evaluating
from lessons_lib.models.tiles import mirrored

if TYPE_CHECKING or importlib.util.find_spec("deepinv") is None:
    from torch.nn import Module as Base
else:
    from deepinv.models import Denoiser as Base


class Denoiser(Base):
    """Trained weights, a classical method or one's own, called as ``denoiser(x, sigma)``.

    Weights for one level of noise serve all: an image is multiplied so that its noise is what they
    were trained for. That holds best near their level, so several can be given, and each image gets
    those that are nearest.

    Trained weights are a part of the module: ``to(device)`` moves them, and they are fixed until
    ``requires_grad_(True)``. All else works on the processor.

    Args:
        names: one name of `lessons_lib.evaluation.methods.find_method`; or several of trained
            weights for one level each, with the same channels.

    Raises:
        MethodError: see there; or names that do not go together.
        CheckpointError: see `lessons_lib.checkpoints.load_model`.
    """

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names
        for name in names:
            find_method(name)  # refuses what is unknown, or removes no noise
        trained = [name for name in names if not is_own(name) and find_card(name) is not None]
        self.models = nn.ModuleList(load_model(name) for name in trained)
        if len(names) != 1:
            kinds = {(model.config.channels, model.sigma is None) for model in self._trained()}
            if len(trained) != len(names) or len(kinds) != 1 or kinds.pop()[1]:
                raise MethodError(
                    "give one name, or several of weights for one level of noise each, all of them "
                    "gray or all in colour"
                )

    def forward(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Estimate the clean images.

        Where gradients are wanted, of the images, of σ or of the weights, a model works on the
        whole image at once and not on its tiles, which takes memory for all of it.

        Args:
            x: ``(B, C, H, W)`` about [0, 1]; of weights for gray images each channel is one.
            sigma: standard deviation of the noise on that scale: a number, or one for each image,
                in a tensor of B elements. An image without noise stays as it is.

        Returns:
            ``(B, C, H, W)``, not clipped, on the device and in the type of ``x``.

        Raises:
            ValueError: another shape, an impossible σ, gray images for weights in colour, or
                gradients of a method that has none.
            MethodError: see `lessons_lib.evaluation.methods.restore`.
        """
        if x.dim() != 4:
            raise ValueError(f"expected images (B, C, H, W), got {tuple(x.shape)}")
        noise = torch.as_tensor(sigma).to(x)
        if noise.numel() not in (1, len(x)):
            raise ValueError(
                f"sigma is one number, or one for each of {len(x)} images, not {noise.numel()}"
            )
        if not (torch.isfinite(noise) & (noise >= 0)).all():
            raise ValueError("sigma is a finite number, and not negative")
        noise = noise.reshape(-1).expand(len(x))
        return self._by_models(x, noise) if len(self.models) else self._by_method(x, noise)

    def _by_method(self, x: Tensor, noise: Tensor) -> Tensor:
        name = self.names[0]
        if torch.is_grad_enabled() and (x.requires_grad or noise.requires_grad):
            raise ValueError(f"'{name}' has no gradient: call it under torch.no_grad()")
        estimate = x.clone()
        for number, level in enumerate(noise.tolist()):
            if level > 0:
                image = x[number : number + 1].float().cpu()
                estimate[number] = restore(name, image, GaussianNoise(level))[0].to(x)
        return estimate

    def _by_models(self, x: Tensor, noise: Tensor) -> Tensor:
        channels = self._trained()[0].config.channels
        if x.shape[1] % channels:
            raise ValueError(f"'{self.names[0]}' restores colour images only")
        planes = x.reshape(-1, channels, *x.shape[-2:])
        noise = noise.repeat_interleave(x.shape[1] // channels)
        nearest = self._nearest(noise)
        estimate = planes.clone()
        for number, model in enumerate(self._trained()):
            its = (nearest == number) & (noise > 0)
            if its.any():
                estimate[its] = _estimate(model, planes[its], noise[its])
        return estimate.reshape(x.shape)

    def _nearest(self, noise: Tensor) -> Tensor:
        """Which of the models is for noise ``(B,)``: that which the image is scaled least for."""
        if len(self.models) == 1:
            return torch.zeros_like(noise)
        levels = noise.new_tensor([model.sigma for model in self._trained()])
        return (noise.detach()[:, None] / levels).log().abs().argmin(dim=1)

    def _trained(self) -> list[models.Restorer]:
        return [cast(models.Restorer, model) for model in self.models]


def _estimate(model: models.Restorer, planes: Tensor, noise: Tensor) -> Tensor:
    weights = list(model.parameters())
    image, level = planes.to(weights[0]), noise.to(weights[0])
    given = [image, level, *weights]
    if not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)):
        return models.restore(model, image, level).to(planes)
    factor, told = brightness(model, image, level)
    edge, (height, width) = model.border, image.shape[-2:]
    lines, pixels = (mirrored(length, edge, image.device) for length in (height, width))
    seen = (factor * image)[..., lines, :][..., pixels]
    # It denoises, whatever it is part of is trained for.
    with evaluating(model):
        found = model(seen) if told is None else model(seen, sigma=told)
    inside = found[..., edge : edge + height, edge : edge + width]
    return (inside / factor).to(planes)
