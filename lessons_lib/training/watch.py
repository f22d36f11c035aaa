"""Looks at a training, and going back where it has diverged."""

import math

import torch
from lightning_fabric import Fabric

from lessons_lib import metrics
from lessons_lib.models import Restorer
from lessons_lib.models.restorer import evaluating
from lessons_lib.tasks import Examples
from lessons_lib.training.config import Run
from lessons_lib.training.crops import Crops
from lessons_lib.training.learner import Learner
from lessons_lib.training.log import Row
from lessons_lib.training.state import State
from lessons_lib.training.tables import ConfigError

# dB; what rounding to 8 bits costs by itself is 59.
PSNR_CEILING = 60.0


class Watcher:
    """Measures PSNRs on crops that stay the same.

    Args:
        run: whose stage is looked at.
        number: of the stage, counted from 1.
        crops: of the stage.
        learner: what is looked at.
        fabric: where it computes.
    """

    def __init__(
        self, run: Run, number: int, crops: Crops, learner: Learner, fabric: Fabric
    ) -> None:
        self.name, self.stage = run.name, run.stages[number - 1]
        self.learner, self.fabric = learner, fabric
        self.training, self.held_out = crops.fixed("training"), crops.fixed("held out")

    def look(self, state: State, loss: float) -> Row:
        """Measure; go back to the last look's weights if the training has diverged since.

        Args:
            state: its snapshot is renewed, or returned to at a lower learning rate.
            loss: of the last step.

        Returns:
            The row for the log.

        Raises:
            ConfigError: if it diverges at every learning rate, or has come to numbers that are none
                and is not told to go back.

        Source: GroupSC §B, backtracking; the threshold in dB is its released code's.
        """
        # Statistics of a normalisation differ between processes, which must all go back or none.
        psnr = self.fabric.broadcast(self._psnr(self.learner.model, self.training))
        if self.stage.watch.tolerated_drop:
            self._keep_or_go_back(state, psnr)
        elif math.isnan(psnr):
            raise ConfigError(
                f"run {self.name} has diverged; set watch.tolerated_drop, or a lower rate"
            )
        return {
            "stage": state.stage,
            "step": state.step,
            "seconds": round(state.seconds, 1),
            "hours_before": round(state.hours_before, 4),
            "crops": state.step * self.stage.batch,
            "learning_rate": self.stage.rate(state.step) * state.slowdown,
            "loss": loss,
            "training_psnr": psnr,
            "held_out_psnr": self._psnr(self.learner.average, self.held_out),
        }

    def _keep_or_go_back(self, state: State, psnr: float) -> None:
        watch = self.stage.watch
        if psnr >= state.snapshot_psnr - watch.tolerated_drop:
            state.snapshot, state.snapshot_psnr = self.learner.capture(), psnr
            return
        # NaN comes here as well.
        state.slowdown *= watch.backtrack
        if state.slowdown < 1e-3:
            raise ConfigError(f"run {self.name} diverges at every learning rate")
        self.learner.restore(state.snapshot)

    def _psnr(self, model: Restorer, examples: Examples) -> float:
        return crop_psnr(self.fabric, model, examples, self.stage.batch)


def crop_psnr(fabric: Fabric, model: Restorer, examples: Examples, batch: int) -> float:
    """Mean PSNR in dB over crops, of the pixels that get as many estimates as in a large image.

    The model is looked at as it will be used, in evaluation mode, and left in its own. No crop
    counts for more than `PSNR_CEILING`: a flat one, black in a mosaic, may come back exact, and its
    infinity would hide all others.
    """
    edge = model.border
    height, width = examples.clean.shape[-2:]
    inside = (..., slice(edge, height - edge), slice(edge, width - edge))
    scores = []
    with torch.no_grad(), evaluating(model), fabric.autocast():
        for first in range(0, len(examples.clean), batch):
            some = examples.part(slice(first, first + batch), fabric.device)
            estimate = model(some.degraded, **some.told_to(model.told)).clamp(0, 1)
            psnr = metrics.psnr(estimate[inside], some.clean[inside])
            scores.append(psnr.clamp(max=PSNR_CEILING).cpu())
    return torch.cat(scores).mean().item()
