"""Models whose steps are too long are told apart from those that converge, and mended."""

from dataclasses import replace

import pytest
import torch

from lessons_lib.degradations import PATTERNS, BayerMosaic
from lessons_lib.models import build
from lessons_lib.tasks import TASKS
from lessons_lib.training import (
    Loss,
    Optimizer,
    Run,
    Stage,
    Watch,
    train,
    trained_model,
)
from lessons_lib.training.stability import growth
from lessons_lib.training.state import Effort

MOSAIC = {"channels": 3, "patch": 3, "atoms": 40, "steps": 16}
# Of few steps: a training that blows up would not show what the penalty does.
GRAY = {"patch": 5, "atoms": 40, "steps": 2}


def with_steps(length: float, options: dict[str, int]):
    """A model whose steps are so many times as long as those that converge."""
    model = build("sc", options)
    with torch.no_grad():
        model.C *= length
    return model


def test_each_phase_of_a_mosaic_is_a_way_to_be_measured():
    measured = TASKS["demosaic"].measured(3, 3)
    assert measured.shape == (4, 27)
    assert (measured.sum(1) == 9).all()
    for row, pattern in zip(measured, PATTERNS, strict=True):
        assert torch.equal(row.reshape(3, 3, 3), BayerMosaic(pattern).mask((3, 3))[0])
    assert torch.equal(TASKS["denoise"].measured(5, 1), torch.ones(1, 25))


@pytest.mark.parametrize("length", [1.0, 8.0])
def test_growth_is_that_of_residuals_in_the_models_own_steps(length):
    model = with_steps(length, MOSAIC)
    measured = TASKS["demosaic"].measured(3, 3)
    expected = 0.0
    for known in measured:
        # All residuals of one measured entry at a time, in which the mean of random ones lies.
        y = torch.diag(known)[known.bool()].mT
        z = torch.zeros(40, y.shape[1])
        for _ in range(16):
            z = z + model.C.mT @ (known[:, None] * (y - model.D @ z))
        residual = known[:, None] * (y - model.D @ z)
        mean = residual.square().sum() / y.shape[1]
        expected += max(0.0, mean.log().item())
    assert growth(model, measured).item() == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert (expected > 0) == (length == 8.0)


def test_training_with_the_penalty_shortens_steps_that_are_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "lessons_lib.training.sitting.first_model",
        lambda *arguments: (with_steps(2.5, GRAY), Effort()),
    )
    stage = Stage(
        steps=30,
        crop=20,
        batch=2,
        ema=0.0,
        optimizer=Optimizer(kind="muon", rate=3e-3, schedule="cosine", eps=1e-8, max_gradient=1.0),
        watch=Watch(tolerated_drop=0),
    )
    reached = {}
    for name, stability in (("usual", 0.0), ("held", 0.3)):
        this = replace(stage, loss=Loss(stability=stability))
        run = Run(name, "sc", 25.0, GRAY, dataset="samples", stages=(this,))
        train(run, tmp_path, device="cpu")
        model = trained_model(run, tmp_path)
        reached[name] = growth(model, torch.ones(1, 25)).item()
    assert reached["held"] < reached["usual"] - 1
