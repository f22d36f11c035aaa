"""A model, its moving average, and its optimisers: what changes with each step."""

from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from lessons_lib.models import Restorer
from lessons_lib.training.optimizers import OPTIMIZERS
from lessons_lib.training.stage import Stage


class Learner:
    """A model in training.

    Args:
        model: to train.
        stage: gives the optimisers, the average's decay, and whether statistics are kept.
    """

    def __init__(self, model: Restorer, stage: Stage) -> None:
        self.model = model.train()
        if stage.keep_statistics:
            for module in normalisations(model):
                module.eval()
        self.average = deepcopy(model).requires_grad_(False).eval()
        self.optimizers = OPTIMIZERS[stage.optimizer.kind](model, stage.optimizer)
        self.ema = stage.ema

    def set_rate(self, rate: float) -> None:
        """Learning rate of the next step; each weight takes it at its own pace."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["pace"]

    def update_average(self, step: int) -> None:
        """Draw the average towards the weights; quickly at first, when it has seen few.

        The statistics of a batch normalisation are drawn along at the same pace: those of the
        weights as they are now do not fit an average of what they have been. What is no number
        with a fraction is copied.
        """
        decay = min(self.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
            for average, parameter in pairs:
                average.lerp_(parameter, 1 - decay)
            for kept, buffer in zip(self.average.buffers(), self.model.buffers(), strict=True):
                if kept.is_floating_point():
                    kept.lerp_(buffer, 1 - decay)
                else:
                    kept.copy_(buffer)

    def capture(self) -> dict[str, Any]:
        """A copy of all of it, on the CPU."""
        return _copy(
            {
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            }
        )

    def harvest(self) -> dict[str, Any]:
        """A copy of what is kept of a finished stage: the average, and nothing to go on with."""
        return _copy({"average": self.average.state_dict()})

    def restore(self, captured: dict[str, Any]) -> None:
        """Go back to what `capture` returned. Settings of the optimisers stay those of the stage.

        Raises:
            RuntimeError: if it is another model's.
            ValueError: if it is of other optimisers.
        """
        self.model.load_state_dict(captured["model"])
        self.average.load_state_dict(captured["average"])
        for optimizer, state in zip(self.optimizers, captured["optimizers"], strict=True):
            settings = [
                {key: value for key, value in group.items() if key != "params"}
                for group in optimizer.param_groups
            ]
            # An optimiser keeps the very dictionary it is given, and changes it from then on.
            optimizer.load_state_dict(deepcopy(state))
            for group, setting in zip(optimizer.param_groups, settings, strict=True):
                group.update(setting)


def normalisations(model: nn.Module) -> list[nn.Module]:
    """The parts of a model that gather statistics of what runs through them."""
    return [
        module
        for module in model.modules()
        if "running_var" in dict(module.named_buffers(recurse=False))
    ]


def _copy(parts: dict[str, Any]) -> dict[str, Any]:
    copied = tree_map_only(torch.Tensor, lambda tensor: tensor.detach().cpu().clone(), parts)
    assert isinstance(copied, dict)
    return copied
