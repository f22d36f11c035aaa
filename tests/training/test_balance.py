"""Weights under which a sum of squared errors asks what a mean of PSNRs asks."""

from dataclasses import replace

import pytest
import torch

from lessons_lib.classical import dct
from lessons_lib.degradations import JPEG
from lessons_lib.metrics import psnr
from lessons_lib.tasks import TASKS
from lessons_lib.training import DictionaryStart, Loss, Optimizer, Run, Stage, Watch, train
from lessons_lib.training.balance import image_scales
from lessons_lib.training.crops import Crops
from lessons_lib.training.files import Files
from lessons_lib.training.log import Log
from lessons_lib.training.losses import squared

SIZES = {"patch": 5, "atoms": 24, "steps": 4}
RUN = Run("gray", "sc", 25.0, SIZES, dataset="samples", dictionary=DictionaryStart(patches=1000))
STAGE = Stage(crop=20, batch=40)
BALANCED = replace(STAGE, loss=Loss(balanced=True))
LEVELS = SIZES | {"levels_255": [5.0, 10.0, 25.0]}
BLIND = replace(RUN, name="blind", sigma_255=0.0, task="blind", options=LEVELS)


def grating(contrast: float, channels: int = 1) -> torch.Tensor:
    """Noise of a contrast, as bytes: nothing that a simple method could keep."""
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randn(channels, 64, 64, generator=generator)
    return (128 + contrast * drawn).round().clamp(0, 255).byte()


def test_scales_are_those_of_a_method_without_training():
    """In the gradient of a mean of PSNRs, each image's squared errors are divided by their sum."""
    images = [grating(contrast) for contrast in (2, 8, 30)]
    scales = image_scales(TASKS[RUN.task], RUN.goal, images)
    assert scales.shape == (3, 1)
    generator = torch.Generator().manual_seed(1)
    errors = []
    for image in images:
        clean = image[None] / 255
        noisy = clean + RUN.sigma * torch.randn(clean.shape, generator=generator)
        errors.append((dct(noisy, RUN.sigma) - clean).square().mean())
    reference = torch.stack(errors)
    assert reference[2] > 4 * reference[0]
    weighed = scales[:, 0].square() * reference
    torch.testing.assert_close(weighed, weighed.mean().expand(3), rtol=0.1, atol=0)
    assert weighed.mean() == pytest.approx(reference.mean().item(), rel=0.1)


def test_the_gradient_is_that_of_a_mean_of_psnrs():
    """Where the simple method's errors are the model's own."""
    clean, counts = torch.rand(3, 1, 16, 16), torch.ones(1, 1, 16, 16)
    spread = torch.tensor([0.01, 0.03, 0.1]).reshape(3, 1, 1, 1)
    estimate = (clean + spread * torch.randn(clean.shape)).requires_grad_()
    errors = (estimate - clean).square().mean(dim=(1, 2, 3)).detach()
    scale = (errors.mean() / errors).sqrt().reshape(3, 1, 1, 1)
    (wanted,) = torch.autograd.grad(psnr(estimate, clean).mean(), estimate)
    (found,) = torch.autograd.grad(squared(scale * estimate, scale * clean, counts), estimate)
    alike = torch.nn.functional.cosine_similarity(found.flatten(), -wanted.flatten(), dim=0)
    assert alike == pytest.approx(1.0, abs=1e-5)


def test_images_without_an_error_count_no_more_than_60_db():
    run = replace(RUN, task="jpeg", sigma_255=0.0, quality=10)
    black = torch.zeros(1, 32, 32, dtype=torch.uint8)
    rough = grating(30)[:, :32, :32]
    file = (JPEG(10)(rough[None] / 255)[0] * 255).round().byte()
    images = [torch.cat([black, black]), torch.cat([rough, file])]
    scales = image_scales(TASKS[run.task], run.goal, images)
    wanted = (file / 255 - rough / 255).square().mean().div(1e-6).sqrt().item()
    assert (scales[0, 0] / scales[1, 0]).item() == pytest.approx(wanted, rel=1e-4)


def test_mosaics_are_weighed_by_what_interpolation_leaves():
    run = replace(
        RUN, task="demosaic", sigma_255=0.0, options=SIZES | {"channels": 3}, name="mosaic"
    )
    images = [grating(5, channels=3), grating(20, channels=3)]
    scales = image_scales(TASKS[run.task], run.goal, images)
    assert (scales[0] / scales[1]).item() == pytest.approx(4, rel=0.05)


def test_a_balanced_run_sees_the_same_crops_and_noise():
    plain, balanced = Crops(RUN, STAGE, 1), Crops(RUN, BALANCED, 1)
    ours, theirs = balanced.examples(4), plain.examples(4)
    assert torch.equal(ours.clean, theirs.clean)
    assert torch.equal(ours.degraded, theirs.degraded)
    assert torch.equal(theirs.scale, torch.ones(40))
    assert set(ours.scale.tolist()) <= set(balanced.scales.flatten().tolist())
    assert len(set(ours.scale.tolist())) > 3
    assert torch.equal(balanced.fixed("held out").scale, torch.ones(len(balanced.held_out) * 9))


def test_levels_of_noise_are_weighed_apart():
    """At 5 of 255 a photograph keeps a tenth of the error that it has at 25."""
    crops = Crops(BLIND, BALANCED, 1)
    assert crops.scales.shape == (len(crops.training), 3)
    assert (crops.scales[:, 0] > 1.5 * crops.scales[:, 2]).all()
    examples = crops.examples(0)
    for sigma, scale in zip(examples.told["sigma"] * 255, examples.scale, strict=True):
        level = 0 if sigma < 7.5 else 1 if sigma < 17.5 else 2
        assert scale in crops.scales[:, level]


def test_what_counts_more_is_learned_better(tmp_path):
    """A balanced run ends with a higher mean of PSNRs over the images it learns from."""
    how = Optimizer(rate=1e-3, schedule="cosine")
    stage = replace(STAGE, batch=8, steps=150, optimizer=how, watch=Watch(every=150))
    found = {}
    for balanced in (False, True):
        this = replace(stage, loss=Loss(balanced=balanced))
        run = replace(RUN, name=f"balanced-{balanced}", stages=(this,))
        train(run, tmp_path, device="cpu")
        found[balanced] = Log(Files(tmp_path, run.name).log).rows[-1]["training_psnr"]
    assert found[True] > found[False] + 0.02
