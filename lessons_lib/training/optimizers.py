"""How weights move: the optimiser, its step size over time, and each weight's own pace."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from lessons_lib.data import unknown
from lessons_lib.models import Restorer
from lessons_lib.training.muon import Muon
from lessons_lib.training.tables import (
    ConfigError,
    check_not_negative,
    check_positive,
    check_types,
)


@dataclass(frozen=True)
class Optimizer:
    """How weights move.

    Args:
        kind: a name of `OPTIMIZERS`: "adam"; or "muon", for which the steps of C, D and W, and of
            kernels between inner layers, are made orthogonal matrices first, so that they move in
            all directions alike. Adam takes the steps of all other weights.
        rate: first step size.
        rest: with Muon, how many times as large the first step size of all other weights is.
        schedule: "step" multiplies it by `decay` every `decay_every` steps; "cosine" lets it fall
            to zero.
        decay: see schedule.
        decay_every: see schedule; the paper's 80 epochs are 32,000 steps.
        eps: Adam's. GroupSC's released code has 1e-3, which suits its few hundred atoms; networks,
            whose gradients are smaller, learn at a crawl with it.
        max_gradient: norm to which gradients are shortened, those of all weights that one optimizer
            moves together; 0, as in the released code, leaves them. It is about 1 in every task. A
            batch on which the steps of the model blow up has one of 1e5, which the optimizer's
            averages then do not forget for hundreds of steps.
        paces: weights that learn faster or slower than the rest, and how many times. κ and γ are
            few numbers of size 1 to 10 beside thousands of size 0.1: at the same step size they
            stay where they started.

    Raises:
        ConfigError: if a value is impossible.
    """

    kind: str = "adam"
    rate: float = 6e-4
    rest: float = 1.0
    schedule: Literal["step", "cosine"] = "step"
    decay: float = 0.35
    decay_every: int = 32_000
    eps: float = 1e-8
    max_gradient: float = 0.0
    paces: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self)
        if self.kind not in OPTIMIZERS:
            raise ConfigError(unknown("optimizer", self.kind, OPTIMIZERS))
        check_positive(self, "rate", "rest", "decay", "decay_every", "eps")
        check_not_negative(self, "max_gradient")
        for name, pace in self.paces.items():
            if not (isinstance(pace, int | float) and pace > 0 and math.isfinite(pace)):
                raise ConfigError(f"the pace of {name} must be positive, not {pace!r}")

    def rate_at(self, step: int, steps: int) -> float:
        """Step size of one of so many steps, before any backtracking.

        Source: GroupSC §B; that the paper's "80 training steps" are epochs of 400 steps is what its
        released code says.
        """
        if self.schedule == "cosine":
            return self.rate * (1 + math.cos(math.pi * step / steps)) / 2
        return self.rate * self.decay ** (step // self.decay_every)


def adam(model: Restorer, how: Optimizer) -> list[torch.optim.Optimizer]:
    """Adam for all weights."""
    return [_adam(dict(model.named_parameters()), how)]


def muon(model: Restorer, how: Optimizer) -> list[torch.optim.Optimizer]:
    """Muon for the weights that the model says are matrices, Adam for the rest."""
    weights = dict(model.named_parameters())
    matrices = {name: weights.pop(name) for name in list(weights) if name in model.matrices}
    return [_adam(weights, how, how.rest), Muon(_groups(matrices, how, 1.0), lr=how.rate)]


def _adam(
    weights: dict[str, nn.Parameter], how: Optimizer, pace: float = 1.0
) -> torch.optim.Optimizer:
    return torch.optim.Adam(_groups(weights, how, pace), lr=how.rate, eps=how.eps)


def _groups(weights: dict[str, nn.Parameter], how: Optimizer, pace: float) -> list[dict[str, Any]]:
    """Weights of the same pace together, which a GPU moves at once; usually that is all of them."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, weight in weights.items():
        groups.setdefault(pace * how.paces.get(name, 1.0), []).append(weight)
    return [{"params": params, "pace": own} for own, params in groups.items()]


# By the name that a config calls them.
OPTIMIZERS: dict[str, Callable[[Restorer, Optimizer], list[torch.optim.Optimizer]]] = {
    "adam": adam,
    "muon": muon,
}
