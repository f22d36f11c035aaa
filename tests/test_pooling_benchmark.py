"""The patch that NSR pools over: what is measured, and the page that holds the table."""

import json

import pytest
import torch

from lessons_lib import data
from lessons_lib.checkpoints import load_model
from lessons_lib.evaluation.protocols import denoising
from lessons_lib.evaluation.report import fill


@pytest.fixture(scope="module")
def benchmark(script):
    return script("pooling")


@pytest.fixture(scope="module")
def found(benchmark):
    """Scores on one photograph, which the last two sides of the tiles hold."""
    with pytest.MonkeyPatch.context() as patch:
        picture = [("camera.png", data.sample("camera", size=96))]
        patch.setattr(benchmark.data, "load", lambda name: picture)
        return {
            name: benchmark.score(load_model(weights))
            for name, weights in benchmark.NETWORKS.items()
        }


def test_a_tile_that_holds_the_photograph_is_the_network_itself(benchmark, found):
    clean, protocol = data.sample("camera", size=96), denoising("Set12", 25)
    noisy = protocol.degradation(clean, "camera.png")
    for name, weights in benchmark.NETWORKS.items():
        with torch.no_grad():
            whole = protocol.score(load_model(weights).eval()(noisy), clean)[0]
        assert found[name]["512"] == found[name]["96"]
        assert found[name]["512"] == pytest.approx([whole], abs=1e-3)


def test_the_page_holds_what_was_measured(benchmark):
    kept = json.loads(benchmark.RESULTS.read_text(encoding="utf-8"))
    text = benchmark.PAGE.read_text(encoding="utf-8")
    assert fill(text, {"pooling": benchmark.table(kept)}) == text
    assert set(kept) == set(benchmark.NETWORKS)
    for by_tile in kept.values():
        assert [len(found) for found in by_tile.values()] == [12] * len(benchmark.TILES)
    assert benchmark.table({}) == "Not measured."
