"""The page on noise levels holds what was measured."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from lessons_lib.evaluation.report import fill
from lessons_lib.ops.noise_level import estimate_sigma

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("noise", ROOT / "benchmarks" / "noise_level.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_errors_are_those_of_the_estimate(benchmark, monkeypatch):
    """An estimate that is always a gray level too high, of images that are flat."""
    flat = [("a.png", torch.full((1, 1, 64, 64), 0.5)), ("b.png", torch.full((1, 1, 64, 64), 0.2))]
    monkeypatch.setattr(benchmark.data, "load", lambda name: flat)
    monkeypatch.setattr(benchmark, "SIGMAS", (5, 10))
    found = benchmark.errors("any", lambda image: image.std()[None] + 1 / 255, filed=False)
    for sigma in (5, 10):
        assert found[str(sigma)]["mean"] == pytest.approx(1, abs=0.2 * sigma)
        assert found[str(sigma)]["rms"] <= found[str(sigma)]["largest"] + 1e-6
    assert benchmark.errors("any", estimate_sigma, filed=True)["10"]["largest"] < 3


def test_the_page_holds_what_was_measured(benchmark):
    kept = json.loads(benchmark.RESULTS.read_text(encoding="utf-8"))
    text = benchmark.PAGE.read_text(encoding="utf-8")
    assert fill(text, benchmark.tables(kept)) == text
    for by_method in kept.get("not clipped", {}).values():
        for by_sigma in by_method.values():
            assert set(by_sigma) == {str(sigma) for sigma in benchmark.SIGMAS}
