"""The runs that come with the project can be run: a step of each network's, with small batches."""

from dataclasses import replace
from pathlib import Path

import pytest

from lessons_lib.models import MODELS
from lessons_lib.models.convolutional import ConvolutionalModel
from lessons_lib.training import Run, crops, read_run, train

RUNS = [read_run(path) for path in sorted((Path(__file__).parents[2] / "runs").glob("*.toml"))]
NETWORKS = [run for run in RUNS if issubclass(MODELS[run.model].model, ConvolutionalModel)]


def test_there_are_networks_among_them() -> None:
    assert {run.model for run in NETWORKS} >= {"dncnn", "ffdnet", "bias-free", "class-aware", "nsr"}


@pytest.mark.slow
@pytest.mark.parametrize("run", NETWORKS, ids=lambda run: run.name)
def test_a_step_is_made(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Most of the time would go into looks at how far it is.
    monkeypatch.setattr(crops, "HELD_OUT", 1)
    first = replace(run.stages[0], steps=1, batch=2)
    # Not all of the samples have colours.
    dataset = "CUnlike12" if run.channels == 3 else "samples"
    standing = train(replace(run, dataset=dataset, stages=(first,)), tmp_path, device="cpu")
    assert standing.finished
