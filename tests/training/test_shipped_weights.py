"""Trained weights reach, on the held-out crops of their training, what their cards say."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from lessons_lib.checkpoints import cards, load_model
from lessons_lib.models.fast import fastest_dtype
from lessons_lib.training import Run, Stage
from lessons_lib.training.crops import Crops
from lessons_lib.training.watch import crop_psnr

REAL = Path(os.environ.get("LESSONS_DATA", ""))
TRAINING_SETS = ("BSD400", "CBSD400")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all((REAL / name).is_dir() for name in TRAINING_SETS),
        reason="LESSONS_DATA lacks a training set",
    ),
]


@pytest.fixture(scope="module")
def loaded() -> dict[tuple[object, ...], Crops]:
    """Training sets, by what was made of them: reading one takes seconds."""
    return {}


# One of each kind; the others take minutes, and are for those who train.
FEW = {
    "lista-gray-25",
    "sc-gray-25",
    "csr-gray-25",
    "groupsc-gray-25",
    "sc-jpeg-10",
    "sc-demosaic",
    "sc-color-blind",
    "ffdnet-gray",
}
NAMES = [pytest.param(name, marks=() if name in FEW else pytest.mark.long) for name in cards()]


@pytest.mark.parametrize("name", NAMES)
def test_weights_score_what_their_card_says(name, loaded):
    card = cards()[name]
    settings = {key: card.run[key] for key in ("sigma_255", "options", "dataset")}
    made_for = {"task": card.task, "quality": card.quality, "scale": card.scale}
    run = Run(name, card.model, **made_for, **settings)
    stage = Stage(**{key: card.run[key] for key in ("crop", "batch", "precision")})
    channels = card.options["channels"]
    key = (run.dataset, run.task, run.quality, run.scale, channels)
    if key not in loaded:
        loaded[key] = Crops(run, stage, channels)
    crops = loaded[key]
    crops.run, crops.stage = run, stage  # its own noise, and crops of its own size
    half = stage.precision == "bf16" and fastest_dtype(torch.device("cpu")) == torch.bfloat16
    fabric = Fabric(accelerator="cpu", precision="bf16-mixed" if half else None)
    model = load_model(name)
    if name in ("sc-color-blind", "groupsc-color-blind"):
        # Their training took the nearest level's thresholds; interpolated ones are 0.1 dB better.
        model.config = replace(model.config, interpolate=False)
    reached = crop_psnr(fabric, model, crops.fixed("held out"), stage.batch)
    assert reached == pytest.approx(card.held_out_psnr, abs=0.02)
