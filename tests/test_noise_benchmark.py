"""The page on noise levels holds what was measured."""

import json
import sys

import pytest
import torch

from lessons_lib.evaluation.report import fill
from lessons_lib.ops.noise_level import estimate_sigma


@pytest.fixture(scope="module")
def benchmark(script):
    return script("noise_level")


def test_errors_are_those_of_the_estimate(benchmark, monkeypatch):
    """An estimate that is always a gray level too high, of images that are flat."""
    flat = [("a.png", torch.full((1, 1, 64, 64), 0.5)), ("b.png", torch.full((1, 1, 64, 64), 0.2))]
    monkeypatch.setattr(benchmark.data, "load", lambda name: flat)
    monkeypatch.setattr(benchmark, "SIGMAS", (5, 10))
    found = benchmark.errors("any", lambda image: image.std()[None] + 1 / 255, filed=False)
    for sigma in (5, 10):
        error = found[str(sigma)]
        assert error["mean"] == pytest.approx(1, abs=0.2)
        assert abs(error["mean"]) <= error["rms"] <= error["largest"] + 1e-6
    assert benchmark.errors("any", estimate_sigma, filed=True)["10"]["largest"] < 3


def test_the_page_holds_what_was_measured(benchmark):
    kept = json.loads(benchmark.RESULTS.read_text(encoding="utf-8"))
    text = benchmark.PAGE.read_text(encoding="utf-8")
    assert fill(text, benchmark.tables(kept)) == text
    for by_method in kept.get("not clipped", {}).values():
        for by_sigma in by_method.values():
            assert set(by_sigma) == {str(sigma) for sigma in benchmark.SIGMAS}


@pytest.mark.parametrize("kind", ["plain", "denoised", "halved"])
def test_a_camera_without_noise_makes_nothing_but_a_file(benchmark, kind):
    photo = benchmark.data.sample("astronaut", gray=False, size=66)
    bright, _ = benchmark.camera(photo, kind, photons=1e9)
    _, clean = benchmark.camera(photo, kind, photons=300)
    side = 32 if kind == "halved" else 64
    assert bright.shape == clean.shape == (1, 3, side, side)
    assert (bright - clean).square().mean().sqrt() < 0.005
    dark, _ = benchmark.camera(photo[:, :1], kind, photons=50)
    assert dark.shape == (1, 1, side, side)
    assert (dark - clean[:, 1:2]).square().mean().sqrt() > 0.03


def test_neighbours_share_the_noise_of_a_camera(benchmark):
    gray = torch.full((1, 3, 128, 128), 0.5)
    shared = []
    for kind in benchmark.CAMERAS:
        file, clean = benchmark.camera(gray, kind, photons=300)
        noise = (file - clean)[0, 1]
        product = (noise[:, 1:] * noise[:, :-1]).mean()
        shared.append((product / noise.square().mean()).item())
    assert shared[1] > shared[0] > 0.2


def test_alarms_are_counted(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "photographs", lambda name: [("a.png", torch.zeros(1, 1, 9, 9))])
    monkeypatch.setattr(benchmark, "ALARMS", (0, 5))
    monkeypatch.setattr(benchmark, "correlated_rms", lambda image: 0.1 if image.any() else None)
    found = benchmark.false_alarms(["any"])
    assert found == {"any": {"images": 1, "alarms": {"0": [], "5": ["a.png"]}}}
    assert benchmark.alarm_table(found).splitlines()[-1] == "| any | 1 | 0 | 1 |"


def test_the_median_of_an_even_number_lies_between_two(benchmark):
    row = {"images": 6, "true": 3.0, "as white": 1.0, "ratios": [0.5, 0.9, 1.1, 2.0]}
    last = benchmark.camera_table({"plain 300": row, "halved 300": row | {"ratios": []}})
    assert last.splitlines()[-2:] == [
        "| plain | 300 | 3.0 | 1.0 | 4 of 6 | 1.00 (0.50 to 2.00) | 2 of 4 |",
        "| halved | 300 | 3.0 | 1.0 | 0 of 6 | – | 0 of 0 |",
    ]


def test_each_part_is_kept_when_it_is_done(benchmark, monkeypatch, tmp_path):
    """Also where nothing has been kept before."""
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path / "noise_level.json")
    monkeypatch.setattr(benchmark, "renew", lambda page, made: None)
    monkeypatch.setattr(benchmark, "need", lambda *_: None)
    monkeypatch.setattr(benchmark, "false_alarms", lambda datasets: {})

    def interrupted(datasets):
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark, "camera_errors", interrupted)
    monkeypatch.setattr(sys, "argv", ["noise_level.py", "--parts", "cameras", "--write"])
    with pytest.raises(KeyboardInterrupt):
        benchmark.main()
    assert benchmark.kept(benchmark.RESULTS) == {"false alarms": {}}


@pytest.mark.parametrize("arguments", [["--parts", "gray"], ["--datasets", "BSD86"]])
def test_unknown_names_are_refused(benchmark, monkeypatch, capsys, arguments):
    monkeypatch.setattr(sys, "argv", ["noise_level.py", *arguments])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert arguments[1] in capsys.readouterr().err.splitlines()[-1]
