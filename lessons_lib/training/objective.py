"""What one stage's steps make small: its loss, and what keeps its model from blowing up."""

import torch
from torch import Tensor

from lessons_lib.models import Restorer
from lessons_lib.tasks import GOALS, Examples
from lessons_lib.training.config import Run
from lessons_lib.training.losses import LOSSES, asymmetric, total_variation
from lessons_lib.training.stability import growth
from lessons_lib.training.stage import Stage


class Objective:
    """A number for a batch of estimates, smaller being better.

    Args:
        run: says what happened to the crops.
        stage: gives loss and penalty.
        model: that is trained.
        device: where it is.

    Attributes:
        asks: what the model's ``forward`` is to be called with, besides what it is told.
    """

    def __init__(self, run: Run, stage: Stage, model: Restorer, device: torch.device) -> None:
        self.loss = LOSSES[stage.loss.kind]
        self.stability = stage.loss.stability
        self.noise, self.smooth = stage.loss.noise, stage.loss.smooth
        self.asks = {"with_noise": True} if self.noise or self.smooth else {}
        self.model = model
        self.confidence = model.confidence((stage.crop, stage.crop)).to(device)
        if self.stability:
            sizes = model.config.patch, model.config.channels
            self.measured = GOALS[run.task].measured(*sizes).to(device)

    def __call__(self, found: Tensor | tuple[Tensor, Tensor], some: Examples) -> Tensor:
        """The number, for what the model returns of some examples.

        Args:
            found: estimates ``(B, C, h, w)``, and the noise if that is what it `asks` for.
            some: the examples.
        """
        estimate, noise = found if isinstance(found, tuple) else (found, None)
        scale = some.scale[:, None, None, None]
        loss = self.loss(scale * estimate, scale * some.clean, self.confidence)
        if noise is not None:
            loss = loss + self.noise * asymmetric(noise, some.told["noise"])
            loss = loss + self.smooth * total_variation(noise)
        if self.stability:
            loss = loss + self.stability * growth(self.model, self.measured)
        return loss
