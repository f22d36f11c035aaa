"""What the task of unknown noise makes of a photograph in a file."""

import pytest
import torch

from lessons_lib import data
from lessons_lib.degradations import GaussianNoise
from lessons_lib.tasks import TASKS

BLIND = TASKS["blind"]


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return data.sample("camera", size=200)


def test_correlated_noise_is_said_and_gets_a_method_that_can_remove_it(photo):
    noise = torch.nn.functional.avg_pool2d(GaussianNoise(0.12)(torch.zeros(1, 1, 202, 202)), 3, 1)
    posed = BLIND.pose(photo + noise, None, "photo.jpg")
    assert posed.degradation.sigma == pytest.approx(0.04, rel=0.2)
    assert posed.method == "dictionary"
    (note,) = posed.notes
    assert "correlated" in note
    assert f"about {posed.degradation.sigma * 255:.1f} in all" in note


def test_white_noise_is_nothing_to_talk_about(photo):
    posed = BLIND.pose(GaussianNoise(0.04)(photo), None, "photo.jpg")
    assert posed.degradation.sigma == pytest.approx(0.04, rel=0.05)
    assert (posed.notes, posed.method) == ((), "")
    told = BLIND.pose(photo, 10, "photo.jpg")
    assert told.degradation.sigma == pytest.approx(10 / 255)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_least_noise_is_in_proportion_to_the_image(factor):
    """A flat image has none, and a method has to be told of some."""
    flat = torch.full((1, 1, 20, 20), 0.5)
    least = BLIND.pose(flat, None, "flat.tif").degradation.sigma
    assert 0 < least < 0.1 / 255
    found = BLIND.pose(factor * flat, None, "flat.tif").degradation.sigma
    assert found == pytest.approx(factor * least, rel=1e-6)
    assert BLIND.perceived(factor * flat, None).sigma == found
    assert BLIND.pose(0 * flat, None, "black.tif").degradation.sigma > 0
