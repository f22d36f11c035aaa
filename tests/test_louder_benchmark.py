"""Noise louder than in training: what is measured, and the page that holds the table."""

import json

import pytest

from lessons_lib import data
from lessons_lib.checkpoints import load_model
from lessons_lib.degradations import GaussianNoise
from lessons_lib.evaluation.report import fill
from lessons_lib.metrics import psnr


@pytest.fixture(scope="module")
def benchmark(script):
    return script("louder")


@pytest.fixture(scope="module")
def found(benchmark):
    """Scores of our two networks and of the noisy image, on one photograph."""
    with pytest.MonkeyPatch.context() as patch:
        picture = [("camera.png", data.sample("camera", size=96))]
        patch.setattr(benchmark.data, "load", lambda name: picture)
        names = {benchmark.NOISY: None, **benchmark.NETWORKS}
        return {
            name: benchmark.score(weights and load_model(weights))
            for name, weights in names.items()
            if "authors" not in name
        }


def test_biases_fail_beyond_the_training_and_not_within(benchmark, found):
    noisy, one, other = (found[name] for name in (benchmark.NOISY, "with biases", "without biases"))
    assert min(one["10"][0], other["10"][0]) > noisy["10"][0] + 4
    assert abs(one["10"][0] - other["10"][0]) < 1
    assert one["50"][0] < noisy["50"][0] + 2
    assert other["50"][0] > noisy["50"][0] + 8


def test_the_network_is_not_told_the_noise(benchmark, found):
    """Told, it sees an image made as faint as those of its training, and does well."""
    clean = data.sample("camera", size=96)
    noisy = GaussianNoise(50 / 255)(clean, "camera.png")
    told = benchmark.restore(load_model("with-biases-10"), noisy, 50 / 255)
    assert psnr(told.clamp(0, 1), clean) > found["with biases"]["50"][0] + 5


def test_the_page_holds_what_was_measured(benchmark):
    kept = json.loads(benchmark.RESULTS.read_text(encoding="utf-8"))
    text = benchmark.PAGE.read_text(encoding="utf-8")
    assert fill(text, {"louder": benchmark.table(kept)}) == text
    assert set(kept) == {benchmark.NOISY, *benchmark.NETWORKS}
    for by_sigma in kept.values():
        assert [len(found) for found in by_sigma.values()] == [12] * len(benchmark.SIGMAS)
    assert benchmark.table({}) == "Not measured."
