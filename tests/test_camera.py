"""A camera's noise: its strength, that it is not white, and a network that learns to find it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lessons_lib import data
from lessons_lib.camera import CameraNoise, from_light, to_light
from lessons_lib.cli import main
from lessons_lib.degradations import BayerMosaic, GaussianNoise
from lessons_lib.demosaicking import bilinear
from lessons_lib.evaluation import evaluate
from lessons_lib.evaluation.methods import restore
from lessons_lib.evaluation.protocols import protocol
from lessons_lib.images import Photo, write_image
from lessons_lib.metrics import psnr
from lessons_lib.models import CBDNet, Restorer, build
from lessons_lib.models import restore as apply
from lessons_lib.ops.noise_level import estimate_noise
from lessons_lib.tasks import TASKS, Goal
from lessons_lib.training import ConfigError, Optimizer, Run, Stage, train
from lessons_lib.training.losses import Loss, asymmetric, total_variation


def flat(value: float) -> torch.Tensor:
    return torch.full((1, 3, 200, 200), value)


def test_light_doubles_by_the_curve_of_srgb() -> None:
    assert to_light(torch.tensor(0.5)).item() == pytest.approx(0.2140, abs=1e-4)
    assert from_light(torch.tensor(0.18)).item() == pytest.approx(0.4614, abs=1e-4)


@pytest.mark.parametrize("value", [0.2, 0.5, 0.8])
def test_noise_is_that_of_the_light(value: float) -> None:
    """Of measured pixels, in light; others are means of two or four neighbours."""
    camera = CameraNoise(shot=0.08, read=0.01)
    light = to_light(torch.tensor(value)).item()
    wanted = (0.08**2 * light + 0.01**2) ** 0.5
    torch.testing.assert_close(camera.spread(flat(value)), torch.full((1, 3, 200, 200), wanted))
    noise = to_light(camera(flat(value), "a")) - light
    measured = BayerMosaic("RGGB").mask((200, 200)) > 0
    assert noise[measured].std().item() == pytest.approx(wanted, rel=0.05)
    assert noise[:, 0][~measured[:, 0]].std() < 0.75 * wanted


def test_neighbours_have_noise_alike_and_names_draw_it() -> None:
    camera = CameraNoise(shot=0.05, read=0.02)
    noise = camera(flat(0.5), "a") - 0.5
    rolled = noise.roll(1, dims=-1)
    assert (noise * rolled).mean() / noise.square().mean() > 0.3
    assert torch.equal(camera(flat(0.5), "a"), camera(flat(0.5), "a"))
    assert not torch.equal(camera(flat(0.5), "a"), camera(flat(0.5), "b"))


def test_without_noise_demosaicking_is_left() -> None:
    clean = data.sample("astronaut", gray=False, size=64)
    mosaic = BayerMosaic("GRBG")
    expected = from_light(bilinear(mosaic(to_light(clean)), mosaic).clamp(0, 1))
    found = CameraNoise(shot=1e-7, read=0.0, pattern="GRBG")(clean)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    compressed = CameraNoise(shot=1e-7, read=0.0, pattern="GRBG", quality=20)(clean)
    assert 20 < psnr(compressed, expected) < 40


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shot": 0.0, "read": 0.0}, "not both 0"),
        ({"shot": -0.1, "read": 0.1}, "from 0 on"),
        ({"shot": float("nan"), "read": 0.1}, "from 0 on"),
        ({"shot": 0.1, "read": 0.1, "pattern": "RGB"}, "RGGB"),
        ({"shot": 0.1, "read": 0.1, "quality": 101}, "quality"),
    ],
)
def test_impossible_cameras_are_refused(options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CameraNoise(**options)


# The task ------------------------------------------------------------------------------------


def test_scores_fall_with_the_level_and_methods_help() -> None:
    scores = [evaluate("noisy", protocol("camera", "CUnlike12", level), 2) for level in (0.2, 1.0)]
    assert scores[0].psnr > scores[1].psnr + 5
    assert scores[0].as_dict()["setting"] == "level=0.2"
    assert TASKS["camera"].value("level=0.2") == 0.2
    assert evaluate("dct", protocol("camera", "CUnlike12", 1.0), 2).psnr > scores[1].psnr


@pytest.mark.parametrize("level", [0.0, 1.1, -1.0])
def test_levels_lie_between_0_and_1(level: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        TASKS["camera"].degradation(level)


def test_a_photograph_is_denoised_as_a_cameras_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = data.sample("astronaut", gray=False, size=96)
    write_image(tmp_path / "a.png", Photo(CameraNoise(0.08, 0.03)(clean)))
    write_image(tmp_path / "gray.png", Photo(clean[:, :1]))
    for source, code, says in (
        ("a.png", 0, "as a camera's file"),
        ("gray.png", 2, "for a camera's colours"),
    ):
        options = ["--task", "camera", "--method", "dct"]
        with pytest.raises(SystemExit) as end:
            main(["restore", str(tmp_path / source), str(tmp_path / "b.png"), *options])
        assert int(end.value.code or 0) == code
        assert says in capsys.readouterr().err


def test_networks_for_white_noise_are_told_what_is_found() -> None:
    noisy = CameraNoise(0.08, 0.03)(data.sample("astronaut", gray=False, size=96))
    found = GaussianNoise(estimate_noise(noisy).sigma)
    for name in ("ffdnet-color", "dct"):
        taken_for_white = restore(name, noisy, CameraNoise(0.08, 0.03), "camera")
        torch.testing.assert_close(taken_for_white, restore(name, noisy, found))


def test_what_finds_the_noise_is_not_told() -> None:
    model = build("cbdnet", {"width": 4, "estimator": 8})
    noisy = torch.rand(1, 3, 24, 24)
    assert torch.equal(apply(model, noisy, 0.1), apply(model, noisy))


# Training ------------------------------------------------------------------------------------


def test_noise_taken_for_less_counts_more() -> None:
    noise = torch.full((2, 1, 2, 2), 0.5)
    assert asymmetric(noise - 0.1, noise).item() == pytest.approx(4 * 0.7 * 0.01)
    assert asymmetric(noise + 0.1, noise).item() == pytest.approx(4 * 0.3 * 0.01)
    steps = torch.tensor([[[[0.0, 1.0], [3.0, 3.0]]]])
    assert total_variation(steps).item() == pytest.approx(9 + 4 + 1 + 0)
    found = torch.rand(1, 1, 3, 3, dtype=torch.float64).requires_grad_()
    target = torch.rand(1, 1, 3, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: asymmetric(x, target), found)
    assert torch.autograd.gradcheck(total_variation, found)


def camera_run(**more) -> Run:
    loss = Loss("l2", noise=0.5, smooth=0.05)
    stage = Stage(crop=16, batch=4, steps=60, loss=loss, optimizer=Optimizer(rate=2e-3, eps=1e-8))
    given = {"model": "cbdnet", "task": "camera", "dataset": "CUnlike12"} | more
    given["stages"] = (stage,)
    return Run(name="toy", **{"options": {"width": 4, "estimator": 8}} | given)


def test_an_estimator_learns_how_strong_noise_is(tmp_path: Path) -> None:
    from lessons_lib.training import trained_model
    from lessons_lib.training.crops import Crops

    run = camera_run()
    train(run, tmp_path, device="cpu")
    examples = Crops(run, run.stages[0], 3).fixed("held out")

    def error(model: Restorer) -> float:
        assert isinstance(model, CBDNet)
        with torch.no_grad():
            found = model.estimate_noise(examples.degraded)
        return asymmetric(found, examples.told["noise"]).item()

    assert error(trained_model(run, tmp_path)) < 0.5 * error(build("cbdnet", run.options))


def test_examples_tell_the_noise_of_each_crop() -> None:
    crops = data.sample("astronaut", gray=False, size=32).expand(12, -1, -1, -1)
    seen = TASKS["camera"].examples(crops, Goal(), np.random.default_rng(0))
    assert seen.told["noise"].shape == seen.degraded.shape == crops.shape
    errors = (seen.degraded - crops).square().mean(dim=(1, 2, 3)).sqrt()
    told = seen.told["noise"].mean(dim=(1, 2, 3))
    assert torch.corrcoef(torch.stack([errors, told]))[0, 1] > 0.6
    assert not seen.told_to(("sigma",))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"model": "dncnn", "options": {"channels": 3}}, "finds no noise"),
        ({"task": "denoise", "sigma_255": 5.0}, "tells no map"),
        ({"options": {"channels": 1}}, "not for 1 channels"),
        ({"sigma_255": 5.0}, "has no sigma_255"),
    ],
)
def test_impossible_runs_are_refused(more: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        camera_run(**more)


def test_its_weights_are_for_nothing_else() -> None:
    assert build("cbdnet", {}).finds_noise
    assert TASKS["camera"].also == ()
