"""What one stage's steps make small: its loss, and what keeps its model from blowing up."""

from typing import Any, cast

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
    """

    def __init__(self, run: Run, stage: Stage, model: Restorer, device: torch.device) -> None:
        self.loss = LOSSES[stage.loss.kind]
        self.stability = stage.loss.stability
        self.noise, self.smooth = stage.loss.noise, stage.loss.smooth
        self.model = model
        self.confidence = model.confidence((stage.crop, stage.crop)).to(device)
        if self.stability:
            sizes = model.config.patch, model.config.channels
            self.measured = GOALS[run.task].measured(*sizes).to(device)

    def __call__(self, estimate: Tensor, some: Examples) -> Tensor:
        """The number, for estimates ``(B, C, h, w)`` of some examples."""
        scale = some.scale[:, None, None, None]
        loss = self.loss(scale * estimate, scale * some.clean, self.confidence)
        if self.noise or self.smooth:
            found = cast(Any, self.model).estimate_noise(some.degraded)
            loss = loss + self.noise * asymmetric(found, some.told["noise"])
            loss = loss + self.smooth * total_variation(found)
        if self.stability:
            loss = loss + self.stability * growth(self.model, self.measured)
        return loss
