"""Every task from its degradation to its score, and from one file to another."""

import io
import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lessons_lib import checkpoints, data, demosaicking
from lessons_lib.checkpoints import cards, save_model
from lessons_lib.cli import main
from lessons_lib.degradations import JPEG, BayerMosaic, GaussianNoise
from lessons_lib.evaluation import evaluate
from lessons_lib.evaluation.methods import MethodError, find_method, known_methods, restore
from lessons_lib.evaluation.paper import published
from lessons_lib.evaluation.protocols import (
    blind_denoising,
    denoising,
    jpeg_restoration,
    standard,
)
from lessons_lib.evaluation.protocols import (
    demosaicking as mosaics,
)
from lessons_lib.evaluation.report import tables
from lessons_lib.evaluation.scores import store
from lessons_lib.images import ImageError, Photo, jpeg_quality, read_image, write_image
from lessons_lib.metrics import psnr
from lessons_lib.models import build
from lessons_lib.tasks import TASKS

PATTERNS = ["RGGB", "BGGR", "GRBG", "GBRG"]
real = Path(os.environ.get("LESSONS_DATA", ""))


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Untrained weights for each task in place of the shipped ones: ISTA with tiny dictionaries."""
    folder = tmp_path / "weights"
    run = {"batch": 1, "crop": 20, "steps": 1}
    facts = {"run": run, "steps": 1, "finished": True, "hours": {}, "curve": [[0, 0.0]],
             "revision": "1", "data": "x", "licence": "x", "data_licence": "x"}  # fmt: skip
    sizes = {"patch": 5, "atoms": 40, "steps": 12, "threshold": 0.002}
    shipped = checkpoints.shipped
    monkeypatch.setattr(
        checkpoints, "shipped", lambda name: folder if name == "weights" else shipped(name)
    )
    for name, task, options, more in (
        ("mosaic", "demosaic", {"channels": 3}, {}),
        ("jpeg-10", "jpeg", {}, {"quality": 10}),
        ("jpeg-40", "jpeg", {}, {"quality": 40}),
        ("levels", "blind", {"levels_255": [5.0, 25.0], "threshold": 0.05}, {}),
        ("one", "denoise", {"threshold": 0.02}, {"sigma_255": 25.0}),
    ):
        model = build("sc", sizes | options)
        save_model(model, folder, **facts | {"name": name, "task": task, "sigma_255": 0.0} | more)
    yield folder
    cards.cache_clear()
    from lessons_lib.evaluation import methods

    methods._loaded.cache_clear()


# Methods and what they are told --------------------------------------------------------------


@pytest.mark.usefixtures("weights")
def test_which_method_serves_which_task():
    def here(task: str) -> list[str]:
        return [name for name in known_methods(task) if "@" not in name]

    assert here("denoise")[-2:] == here("blind")[-2:] == ["levels", "one"]
    assert here("demosaic") == ["bilinear", "menon", "mosaic"]
    assert here("jpeg") == ["noisy", "jpeg-10", "jpeg-40"]
    assert here("sr") == ["bicubic"]
    # What others have published is known as well, and DnCNN-3 is for several tasks.
    several = {task for task in TASKS if "dncnn-3@cszn" in known_methods(task)}
    assert several == {"denoise", "blind", "camera", "jpeg", "sr"}
    for name, task in (("mosaic", "denoise"), ("one", "jpeg"), ("jpeg-10", "blind")):
        with pytest.raises(MethodError, match=f"'{name}' is for"):
            find_method(name, task)
    with pytest.raises(MethodError, match="unknown method 'dct'"):
        find_method("dct", "demosaic")


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize("name", ["dct", "levels", "one"])
def test_blind_methods_are_not_told_the_noise(name):
    """Whatever is said of the noise, the result is that of the level which is found."""
    clean = data.sample("camera", size=96)
    noisy = GaussianNoise(20 / 255)(clean)
    found, again = (restore(name, noisy, GaussianNoise(s), "blind") for s in (0.01, 0.5))
    assert torch.equal(found, again)
    told = restore(name, noisy, GaussianNoise(20 / 255))
    assert psnr(found, told) > 35
    with pytest.raises(MethodError, match="needs 16"):
        restore(name, torch.rand(1, 1, 30, 12), GaussianNoise(0.1), "blind")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_bilinear_keeps_what_was_measured_and_continues_ramps(pattern):
    rows, columns = torch.meshgrid(torch.arange(14.0), torch.arange(17.0), indexing="ij")
    ramp = torch.stack([0.01 * rows, 0.5 - 0.01 * columns, 0.02 * rows + 0.01 * columns])[None]
    mosaic = BayerMosaic(pattern)
    estimate = demosaicking.bilinear(mosaic(ramp), mosaic)
    inside = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(estimate[inside], ramp[inside], rtol=0, atol=1e-6)
    mask = mosaic.mask((14, 17)) > 0
    assert torch.equal(estimate[mask], ramp[mask])
    flat = demosaicking.bilinear(mosaic(torch.full((1, 3, 2, 2), 0.3)), mosaic)
    torch.testing.assert_close(flat, torch.full((1, 3, 2, 2), 0.3))


def test_directional_filtering_beats_bilinear():
    pytest.importorskip("colour_demosaicing")
    clean = data.sample("chelsea", gray=False)[..., 60:200, 100:260]
    for pattern in PATTERNS:
        mosaic = BayerMosaic(pattern)
        scores = [
            psnr(restore(name, mosaic(clean), mosaic, "demosaic"), clean)
            for name in ("bilinear", "menon")
        ]
        assert scores[1] > scores[0] + 2


# Protocols and scores ------------------------------------------------------------------------


@pytest.mark.skipif(not (real / "Classic5").is_dir(), reason="LESSONS_DATA has no Classic5")
@pytest.mark.parametrize(
    ("dataset", "qualities"),
    [
        ("Classic5", {10: 27.82, 20: 30.12, 30: 31.48, 40: 32.43}),
        ("LIVE1", {10: 27.77, 20: 30.07, 30: 31.41, 40: 32.35}),
    ],
)
def test_compressed_files_score_what_was_published(dataset, qualities):
    for quality, expected in qualities.items():
        score = evaluate("noisy", jpeg_restoration(dataset, quality))
        assert score.psnr == pytest.approx(expected, abs=0.006)
        assert score.paper.psnr == expected
        assert score.as_dict()["setting"] == f"q={quality}"


@pytest.mark.skipif(not (real / "CBSD68").is_dir(), reason="LESSONS_DATA has no CBSD68")
def test_the_phase_of_a_mosaic_hardly_matters():
    scores = [
        evaluate("bilinear", mosaics("CBSD68", pattern), limit=4).psnr for pattern in PATTERNS
    ]
    assert max(scores) - min(scores) < 0.3
    assert 25 < min(scores) < 35


def test_published_rows_of_each_task(weights):
    rows = [
        ("bm3d", blind_denoising("CBSD68", 15), 33.49),
        ("noisy", jpeg_restoration("LIVE1", 40), 32.35),
        ("mosaic", mosaics("Kodak24"), None),
        ("jpeg-10", jpeg_restoration("Classic5", 10), None),
        ("noisy", denoising("CBSD68", 25), None),
        ("bm3d", blind_denoising("BSD68", 25), None),
    ]
    for name, protocol, wanted in rows:
        found = published(name, protocol)
        if wanted is not None:
            assert found.psnr == wanted
    for task, dataset, setting in (
        ("jpeg", "LIVE1", "q=30"),
        ("blind", "CBSD68", "sigma=5"),
        ("denoise", "BSD68", "sigma=12.5"),
        ("demosaic", "CBSD68", "bayer no noise"),
    ):
        protocol = standard(task, dataset, setting)
        assert (protocol.task, protocol.dataset, protocol.setting) == (task, dataset, setting)


@pytest.mark.usefixtures("weights")
def test_tables_of_each_task(tmp_path):
    for name, protocol in (
        ("noisy", jpeg_restoration("samples", 10)),
        ("jpeg-10", jpeg_restoration("samples", 10)),
        ("jpeg-10", jpeg_restoration("samples", 40)),  # not what it was trained for
        ("levels", blind_denoising("samples", 25)),
        ("levels", denoising("samples", 25)),  # nor this
    ):
        store(evaluate(name, protocol, limit=1), tmp_path / "scores", "a processor")
    made = tables(tmp_path / "scores")
    jpeg = made["PSNR on samples, jpeg"].splitlines()
    assert jpeg[0] == "| method | q = 10 | q = 40 |"
    assert [line.split(" | ")[0] for line in jpeg[2:]] == ["| the file itself", "| SC (lesson 05)"]
    assert all(line.endswith("– |") for line in jpeg[2:])
    assert len(made["PSNR on samples, blind"].splitlines()) == 3
    assert len(made["PSNR on samples"].splitlines()) == 2


# Quality of files ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("quality", [1, 10, 23, 50, 75, 90, 100])
def test_the_quality_is_read_from_the_file(tmp_path, quality, mode):
    pixels = np.random.RandomState(0).randint(0, 255, (24, 24, 3)).astype(np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    picture.save(tmp_path / "a.jpg", quality=quality, subsampling=2)
    assert jpeg_quality(tmp_path / "a.jpg") == quality


def test_tables_of_a_camera_and_files_without_any(tmp_path):
    """Tables that libjpeg never makes, finer and coarser than its own at 90."""
    base = Image.new("RGB", (16, 16), (90, 20, 200))
    table = [max(1, step) for step in _tables(90)]
    for factor, low, high in ((0.8, 90, 96), (1.5, 80, 90)):
        mine = [max(1, round(factor * step)) for step in table]
        base.save(tmp_path / "camera.jpg", qtables=[mine, mine])
        assert low <= jpeg_quality(tmp_path / "camera.jpg") <= high
    base.save(tmp_path / "a.png")
    assert jpeg_quality(tmp_path / "a.png") is None
    with pytest.raises(ImageError, match="cannot be read"):
        jpeg_quality(tmp_path / "missing.jpg")


def _tables(quality):
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).quantization[0]


# The command line ----------------------------------------------------------------------------


def test_a_mosaic_from_a_file_is_restored(tmp_path, capsys):
    """A gray 16-bit TIFF, as raw converters write it, and what becomes of it with a wrong phase."""
    clean = data.sample("coffee", gray=False)[..., 100:180, 200:300]
    raw = BayerMosaic("GBRG")(clean).sum(dim=1, keepdim=True)
    write_image(tmp_path / "raw.tif", Photo(raw, bits=16))
    scores = {}
    for pattern in PATTERNS:
        assert run("restore", tmp_path / "raw.tif", tmp_path / "out.png",
                   "--task", "demosaic", "--pattern", pattern) == 0  # fmt: skip
        said = capsys.readouterr().err
        assert re.search(rf"100 x 80 RGB demosaicked with groupsc-demosaic from {pattern} in", said)
        scores[pattern] = psnr(read_image(tmp_path / "out.png").pixels, clean).item()
    assert max(scores, key=scores.get) == "GBRG"
    assert scores["GBRG"] > 28
    usual = psnr(demosaicking.bilinear(BayerMosaic("GBRG")(clean), BayerMosaic("GBRG")), clean)
    assert scores["GBRG"] > usual.item() + 4


def test_a_compressed_file_is_restored_with_the_weights_for_its_quality(tmp_path, capsys, weights):
    clean = data.sample("astronaut", gray=False)[..., 20:120, 100:220]
    pixels = (clean[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    for quality, name in ((8, "jpeg-10"), (36, "jpeg-40")):
        Image.fromarray(pixels).save(tmp_path / "in.jpg", quality=quality)
        assert run("restore", tmp_path / "in.jpg", tmp_path / "out.png", "--task", "jpeg") == 0
        said = capsys.readouterr().err
        assert f"120 x 100 RGB restored with {name} from JPEG quality {quality}" in said
        # Colours stay; only luma was worked on.
        before, after = (
            np.asarray(Image.open(tmp_path / file).convert("YCbCr"), dtype=float)
            for file in ("in.jpg", "out.png")
        )
        assert np.abs(before - after)[..., 1:].mean() < 1.5
        assert np.abs(before - after)[..., 0].mean() > 0
    Image.fromarray(pixels).save(tmp_path / "in.jpg", quality=95)
    assert run("restore", tmp_path / "in.jpg", tmp_path / "fine.png", "--task", "jpeg") == 2
    assert "no weights are for quality 95" in capsys.readouterr().err
    assert not (tmp_path / "fine.png").exists()
    assert run("restore", tmp_path / "in.jpg", tmp_path / "fine.png", "--task", "jpeg",
               "--model", "jpeg-40") == 0  # fmt: skip
    for file in weights.glob("jpeg-*"):
        file.unlink()
    cards.cache_clear()
    assert run("restore", tmp_path / "in.jpg", tmp_path / "fine.png", "--task", "jpeg") == 2
    assert "no weights for the task jpeg" in capsys.readouterr().err


def test_noise_of_unknown_strength_is_found_and_removed(tmp_path, capsys):
    clean = data.sample("camera", size=160)
    noisy = GaussianNoise(18 / 255)(clean)
    write_image(tmp_path / "in.png", Photo(noisy))
    assert run("restore", tmp_path / "in.png", tmp_path / "out.png", "--task", "blind",
               "--method", "dct") == 0  # fmt: skip
    said = capsys.readouterr().err
    found = float(re.search(r"denoised with dct at an estimated sigma of ([\d.]+) in", said)[1])
    assert found == pytest.approx(18, abs=1.5)
    restored = read_image(tmp_path / "out.png").pixels
    assert psnr(restored, clean) > psnr(noisy, clean) + 5


def test_restore_and_its_short_form_write_the_same_file(tmp_path):
    write_image(tmp_path / "in.png", Photo(GaussianNoise(0.1)(data.sample("coins", size=64))))
    for command, target in (("restore", "a.png"), ("denoise", "b.png")):
        given = ("--sigma", 25, "--method", "dct")
        assert run(command, tmp_path / "in.png", tmp_path / target, *given) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--task", "dehaze"], "is one of denoise, blind, camera, demosaic, jpeg, sr"),
        ([], "is needed for this task"),
        (["--task", "demosaic"], "--pattern"),
        (["--task", "demosaic", "--pattern", "RGBG"], "pattern is RGGB"),
        (["--task", "demosaic", "--pattern", "RGGB"], "a mosaic has one"),
        (["--task", "demosaic", "--pattern", "RGGB", "--sigma", "5"], "says nothing about"),
        (["--sigma", "5", "--quality", "5"], "says nothing about"),
        (["--task", "jpeg", "--pattern", "RGGB"], "says nothing about"),
        (["--task", "jpeg"], "is no JPEG file"),
        (["--task", "jpeg", "--quality", "101"], "less than or equal to 100"),
        (["--task", "demosaic", "--pattern", "RGGB", "--method", "dct"], "bilinear"),
        (["--task", "blind", "--method", "bilinear"], "unknown method"),
        (["--task", "blind", "--sigma", "-3"], "positive"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, capsys, arguments, says):
    write_image(tmp_path / "in.png", Photo(torch.rand(1, 3, 20, 20)))
    assert run("restore", tmp_path / "in.png", tmp_path / "out.png", *arguments) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out.png").exists()


def test_an_image_too_small_to_find_its_noise_in(tmp_path, capsys):
    write_image(tmp_path / "in.png", Photo(torch.rand(1, 1, 40, 9)))
    assert run("restore", tmp_path / "in.png", tmp_path / "out.png", "--task", "blind") == 2
    assert "too small to find its noise" in capsys.readouterr().err


def test_evaluate_scores_every_task(capsys):
    for arguments, says in (
        (["--task", "jpeg", "--quality", 10, "--method", "noisy"], "noisy on samples, jpeg, q 10"),
        (["--task", "blind", "--sigma", 25, "--method", "dct"], "dct on samples, blind, sigma 25"),
    ):
        assert run("evaluate", *arguments, "--limit", 1) == 0
        assert says in capsys.readouterr().out
    for arguments, says in (
        (["--task", "jpeg", "--method", "noisy"], "--quality"),
        (["--task", "blind", "--method", "dct"], "--sigma"),
        (["--task", "demosaic", "--dataset", "BSD68"], "makes no mosaic"),
        (["--method", "dct"], "--sigma"),
    ):
        assert run("evaluate", *arguments, "--limit", 1) == 2
        assert says in capsys.readouterr().err


def test_the_gap_of_a_task_without_noise(capsys):
    assert run("explain-gap", "--task", "jpeg", "--quality", 10, "--method", "noisy",
               "--limit", 1) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "border of 8 pixels left out" in said
    assert "noise" not in said.replace("noisy", "")
    assert not math.isnan(evaluate("noisy", jpeg_restoration("samples", 10), limit=1).psnr)


def test_degradations_of_protocols():
    assert jpeg_restoration("LIVE1", 10).degradation == JPEG(10)
    assert mosaics("CBSD68", "RGGB").degradation == BayerMosaic("RGGB")
    assert blind_denoising("CBSD68", 25).degradation == GaussianNoise(25 / 255)
    with pytest.raises(ValueError, match="quality"):
        jpeg_restoration("LIVE1", 0)
    with pytest.raises(ValueError, match="pattern"):
        mosaics("CBSD68", "XXXX")
