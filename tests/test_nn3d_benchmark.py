"""What NN3D gains: on images of its own, and the page that holds the table."""

import json
import sys

import pytest
import torch

from lessons_lib import data
from lessons_lib.classical import dct
from lessons_lib.evaluation.report import fill


@pytest.fixture(scope="module")
def benchmark(script):
    return script("nn3d")


def test_a_wall_gains_from_itself(benchmark, monkeypatch):
    wall = [("wall.png", data.sample("brick", size=80))]
    monkeypatch.setattr(benchmark.data, "load", lambda name: wall)
    found = benchmark.score(dct, "any")
    assert found["NN3D"][0] > found["alone"][0] + 0.3
    assert found["NN3D"][0] > found["twice"][0]


def test_one_level_serves_for_those_near_it(benchmark):
    noisy = data.sample("camera", size=48) + 0.2 * torch.randn(1, 1, 48, 48)
    denoise = benchmark.denoiser("SC")
    torch.testing.assert_close(denoise(noisy, 38 / 255), denoise(noisy, 60 / 255))
    assert not torch.allclose(denoise(noisy, 37 / 255), denoise(noisy, 38 / 255))
    told = benchmark.denoiser("FFDNet")
    assert not torch.allclose(told(noisy, 0.1), told(noisy, 0.11))


def test_what_the_paper_gained(benchmark):
    assert benchmark.in_print("DnCNN", "Set12") == "+0.13"
    assert benchmark.in_print("DnCNN, its authors' weights", "BSD68") == "+0.04"
    assert benchmark.in_print("FFDNet", "BSD68") == "-0.01"
    assert benchmark.in_print("SC", "Set12") == ""


def test_the_page_holds_what_was_measured(benchmark):
    kept = json.loads(benchmark.RESULTS.read_text(encoding="utf-8"))
    text = benchmark.PAGE.read_text(encoding="utf-8")
    assert fill(text, {"nn3d": benchmark.table(kept)}) == text
    for by_dataset in kept.values():
        for ways in by_dataset.values():
            assert len({len(ways[way]) for way in benchmark.WAYS}) == 1


def test_a_gain_and_who_has_it(benchmark):
    results = {"SC": {"Set12": {"alone": [25.0, 27], "twice": [24.0, 27], "NN3D": [26.0, 26.5]}}}
    row = benchmark.table(results).splitlines()[-1]
    assert row == "| SC | Set12 | 26.00 | 25.50 | 26.25 | +0.25 |  | 1 of 2 |"
    assert benchmark.table({}) == "Not measured."


@pytest.mark.parametrize("unknown", ["Set21", "some-gray-50"])
def test_unknown_names_are_refused_before_anything_is_measured(
    benchmark, monkeypatch, capsys, unknown
):
    monkeypatch.setattr(benchmark, "score", lambda *_: pytest.fail("measured"))
    if unknown == "Set21":
        monkeypatch.setattr(sys, "argv", ["nn3d.py", "--datasets", "Set12", unknown])
    else:
        monkeypatch.setitem(benchmark.DENOISERS, "FFDNet", (unknown,))
        monkeypatch.setattr(sys, "argv", ["nn3d.py"])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert f"'{unknown}'" in capsys.readouterr().err.splitlines()[-1]
