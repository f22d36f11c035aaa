"""The state of a training run: all that a killed process needs to go on as if nothing had been.

It is written beside the old one and then put in its place in one atomic move, so that whatever
happens there is always a whole one.
"""

import csv
import io
import os
from copy import deepcopy
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

from lessons_lib.models import Restorer, build
from lessons_lib.training.config import ConfigError, Run


@dataclass
class State:
    """Where a run is.

    Attributes:
        step: steps done.
        steps: of the whole training.
        sigma_255: noise that the weights are for, white being 255; 0 if there is no one level.
        spent: seconds spent on them, over all sittings, by device.
        slowdown: what backtracking has multiplied the learning rate by.
        weights: of the model, their exponential moving average, and the optimisers', see
            `Learner.capture`; those only until the training is finished.
        snapshot: the same at the last look, to go back to; empty once it is finished.
        snapshot_psnr: training PSNR of that look.
        log: a row for each look.
        options: of the model that differ from the defaults.
    """

    step: int
    steps: int
    sigma_255: float
    spent: dict[str, float]
    slowdown: float
    weights: dict[str, Any]
    snapshot: dict[str, Any]
    snapshot_psnr: float
    log: list[dict[str, float]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Time spent, over all devices."""
        return sum(self.spent.values())

    @property
    def finished(self) -> bool:
        """Whether no step is left."""
        return self.step >= self.steps


class Learner:
    """A model, its moving average, and its optimisers: what changes with each step.

    Args:
        model: to train.
        run: gives the optimisers' numbers.
    """

    def __init__(self, model: Restorer, run: Run) -> None:
        self.model = model
        self.average = deepcopy(model).requires_grad_(False)
        turned = model.matrices if run.optimizer == "muon" else ()
        matrices: list[dict[str, Any]] = []
        rest: list[dict[str, Any]] = []
        for name, weight in model.named_parameters():
            group = {"params": [weight], "pace": run.paces.get(name, 1.0)}
            (matrices if name in turned else rest).append(group)
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Adam(rest, lr=run.learning_rate, eps=run.eps)
        ]
        if matrices:
            muon = torch.optim.Muon(
                matrices,
                lr=run.learning_rate,
                weight_decay=0.0,
                # An entry's step has the size that Adam would give it.
                adjust_lr_fn="match_rms_adamw",
            )
            self.optimizers.append(muon)
        self.ema = run.ema

    def set_rate(self, rate: float) -> None:
        """Learning rate of the next step; each weight takes it at its own pace."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["pace"]

    def update_average(self, step: int) -> None:
        """Draw the average towards the weights; quickly at first, when it has seen few."""
        decay = min(self.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
            for average, parameter in pairs:
                average.lerp_(parameter, 1 - decay)

    def capture(self) -> dict[str, Any]:
        """A copy of all of it, on the CPU."""
        parts = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        return tree_map_only(torch.Tensor, lambda tensor: tensor.detach().cpu().clone(), parts)

    def restore(self, captured: dict[str, Any]) -> None:
        """Go back to what `capture` returned.

        Raises:
            RuntimeError: if it is another model's.
        """
        self.model.load_state_dict(captured["model"])
        self.average.load_state_dict(captured["average"])
        for optimizer, state in zip(self.optimizers, captured["optimizers"], strict=True):
            # An optimiser keeps the very dictionary it is given, and changes it from then on.
            optimizer.load_state_dict(deepcopy(state))


def write_state(state: State, folder: Path) -> None:
    """Put the state and its log, as CSV, into the run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save({item.name: getattr(state, item.name) for item in fields(state)}, buffer)
    _replace(folder / "state.pt", buffer.getvalue())
    if state.log:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(state.log[0]))
        writer.writeheader()
        writer.writerows(state.log)
        _replace(folder / "log.csv", text.getvalue().encode())


def read_state(folder: Path) -> State | None:
    """The state in a run's folder, or None.

    Raises:
        ConfigError: if there is one that cannot be read.
    """
    path = folder / "state.pt"
    if not path.exists():
        return None
    try:
        return State(**torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise ConfigError(f"{path} holds no training state: {error}") from error


def trained_model(run: Run, folder: Path) -> Restorer:
    """The averaged weights of a run, in its model.

    Args:
        run: the config.
        folder: that of the run's state.

    Raises:
        ConfigError: if the run has not begun, or began with another model.
    """
    state = read_state(folder)
    if state is None:
        raise ConfigError(f"{folder} holds no training state: the run has not begun")
    model = build(run.model, run.options)
    try:
        model.load_state_dict(state.weights["average"])
    except RuntimeError as error:
        raise ConfigError(f"{folder} belongs to another model: {error}") from error
    return model.eval()


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
