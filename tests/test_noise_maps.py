"""Noise that differs from pixel to pixel: as a degradation, and told by a picture of it."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lessons_lib import data
from lessons_lib.cli import main
from lessons_lib.degradations import GaussianNoise, VaryingNoise
from lessons_lib.evaluation.methods import MethodError, restore
from lessons_lib.images import Photo, read_image, write_image
from lessons_lib.metrics import psnr
from lessons_lib.published import published_weights

FILES = Path(os.environ.get("LESSONS_PUBLISHED", ""))
here = pytest.mark.skipif(
    not (FILES / published_weights()["ffdnet-gray@cszn"].place).is_file(),
    reason="LESSONS_PUBLISHED lacks FFDNet",
)


def ramp(height: int, width: int, loudest: float) -> torch.Tensor:
    return torch.linspace(0, loudest / 255, width).expand(1, 1, height, width)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def test_noise_is_as_strong_as_the_map_says() -> None:
    image = torch.rand(2, 3, 64, 200)
    error = VaryingNoise(ramp(64, 200, 50), seed=3)(image, "a") - image
    assert error[..., 0].abs().max() == 0
    for start in (40, 100, 160):
        spread = error[..., start : start + 40].std().item() * 255
        assert spread == pytest.approx(50 * (start + 20) / 200, rel=0.1)
    flat = torch.full((1, 1, 64, 200), 0.1)
    assert torch.equal(VaryingNoise(flat, 3)(image, "a"), GaussianNoise(0.1, 3)(image, "a"))


@pytest.mark.parametrize(
    "sigma",
    [torch.zeros(1, 1, 4, 4), -torch.ones(1, 1, 4, 4), torch.ones(1, 3, 4, 4), torch.ones(4, 4)],
)
def test_impossible_maps_are_refused(sigma: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="a map of the noise"):
        VaryingNoise(sigma)


@here
@pytest.mark.parametrize("colour", [False, True])
def test_a_map_is_worth_decibels(tmp_path: Path, colour: bool) -> None:
    clean = data.sample("astronaut", gray=not colour, size=128)
    sigma = ramp(128, 128, 75)
    write_image(tmp_path / "noisy.tif", Photo(VaryingNoise(sigma)(clean), bits=32))
    levels = (sigma[0, 0] * 255).round().byte().numpy()
    Image.fromarray(levels).save(tmp_path / "map.png")
    name = f"ffdnet-{'color' if colour else 'gray'}@cszn"
    scores = []
    for options in (["--sigma-map", tmp_path / "map.png"], ["--sigma", 37], ["--sigma", 75]):
        target = tmp_path / "out.tif"
        assert run("denoise", tmp_path / "noisy.tif", target, "--model", name, *options) == 0
        scores.append(psnr(read_image(target).pixels, clean).item())
    assert scores[0] > max(scores[1:]) + 1


@here
def test_what_takes_no_map_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MethodError, match="FFDNet does"):
        restore("dct", torch.rand(1, 1, 32, 32), VaryingNoise(ramp(32, 32, 20)))
    Image.new("L", (32, 32), 99).save(tmp_path / "a.png")
    Image.new("L", (32, 30), 9).save(tmp_path / "other.png")
    Image.new("L", (32, 32), 9).save(tmp_path / "map.png")
    Image.new("L", (32, 32), 0).save(tmp_path / "black.png")
    Image.fromarray(np.full((32, 32, 3), (9, 8, 7), np.uint8)).save(tmp_path / "colours.png")
    ffdnet = ["--model", "ffdnet-gray@cszn"]
    for chart, more, says in (
        ("map", [], "goes with --model"),
        ("map", [*ffdnet, "--sigma", 5], "goes with --model"),
        ("map", [*ffdnet, "--task", "jpeg"], "goes with --model"),
        ("map", ["--model", "sc-gray-25"], "FFDNet does"),
        ("other", ffdnet, "32 x 32 pixels, and the map of its noise 32 x 30"),
        ("black", ffdnet, "not black everywhere"),
        ("colours", ffdnet, "is gray"),
        ("missing", ffdnet, "missing.png"),
    ):
        given = [tmp_path / "a.png", tmp_path / "b.png", "--sigma-map", tmp_path / f"{chart}.png"]
        assert run("restore", *given, *more) == 2, chart
        said = capsys.readouterr().err
        assert says in said, said
        assert not (tmp_path / "b.png").exists()
