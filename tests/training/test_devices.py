"""All that a training step and a restoration make lies where the model does, be it a GPU or not.

PyTorch's device "meta" stands in for the GPU: it computes shapes and no numbers, and like a GPU it
refuses to mix its tensors with a processor's.
"""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lessons_lib import data
from lessons_lib.models import MODELS, build, restore
from lessons_lib.tasks import GOALS, Examples
from lessons_lib.training import Run, read_run
from lessons_lib.training.learner import Learner
from lessons_lib.training.losses import LOSSES
from lessons_lib.training.objective import Objective

ELSEWHERE = torch.device("meta")
RUNS = [read_run(path) for path in sorted((Path(__file__).parents[2] / "runs").glob("*.toml"))]
# One of each kind: runs for other levels of noise or quality make the same tensors.
KINDS = {
    (run.model, run.task, run.channels, run.stages[-1].optimizer.kind, run.stages[-1].loss): run
    for run in RUNS
}


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which the device that stands in does not know."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())


def crops_for(run: Run) -> Examples:
    """Two of a photograph, on the processor, where they are always made."""
    task = GOALS[run.task]
    image = data.sample("chelsea", gray=False)[..., :200, :200]
    kept = task.training_image(image, run.channels, run.goal)
    some = torch.cat([kept[..., :64, :64], kept[..., 80:144, 80:144]])
    return task.examples(some, run.goal, np.random.default_rng(0))


def test_every_model_is_among_the_runs() -> None:
    assert {run.model for run in KINDS.values()} == set(MODELS)


@pytest.mark.parametrize("run", KINDS.values(), ids=lambda run: run.name)
def test_a_step_and_a_restoration(run: Run) -> None:
    model = build(run.model, run.options).to(ELSEWHERE)
    learner = Learner(model, run.stages[-1])
    made = crops_for(run)
    some = made.part(slice(None), ELSEWHERE)
    stage = replace(run.stages[-1], crop=some.clean.shape[-1])

    objective = Objective(run, stage, model, ELSEWHERE)
    loss = objective(model(some.degraded, **some.told_to(model.told), **objective.asks), some)
    loss.backward()
    assert loss.device == ELSEWHERE
    for optimizer in learner.optimizers:
        optimizer.step()
    learner.update_average(0)

    told = {} if model.loudest is None else {"sigma": 0.1}
    if "mask" in made.told:
        told["mask"] = made.told["mask"]  # on the processor, where `BayerMosaic.mask` makes it
    for precision in ("reference", "fp32"):
        if precision == "reference" or model.has_fast_form:
            found = restore(model, some.degraded, precision=precision, **told)
            assert (found.device, found.shape) == (ELSEWHERE, some.clean.shape)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss(name: str) -> None:
    estimate = torch.rand(2, 3, 31, 31, device=ELSEWHERE, requires_grad=True)
    confidence = torch.ones(1, 1, 31, 31, device=ELSEWHERE)
    LOSSES[name](estimate, torch.rand_like(estimate), confidence).backward()
    assert estimate.grad is not None
    assert estimate.grad.device == ELSEWHERE
