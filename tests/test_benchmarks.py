"""The benchmark measures what it says, and the documentation holds what it measured."""

import json
from pathlib import Path

import pytest
import torch

from lessons_lib.evaluation.report import fill
from lessons_lib.models import build, restore

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def speed(script):
    return script("speed")


def test_the_papers_blocks_restore_the_same_image(speed):
    """SC codes each patch by itself, and each patch of 9 pixels lies in one block only."""
    model = build("sc", {"patch": 9, "atoms": 20, "steps": 3})
    noisy = torch.rand(1, 1, 70, 120, generator=torch.Generator().manual_seed(0))
    found = speed.authors_way(model, noisy)
    assert found.shape == noisy.shape
    whole = restore(model, noisy, tile=200, precision="fp32")
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)


def test_the_photograph_has_any_size(speed):
    assert speed.photograph().shape == (1, 1, 321, 481)
    large = speed.photograph(700, 1300)
    assert large.shape == (1, 1, 700, 1300)
    assert large[..., :512, :512].equal(large[..., :512, 512:1024].flip(-1))


def test_the_slope_is_the_exponent(speed):
    rows = [{"megapixels": x, "seconds": 3 * x**1.5} for x in (0.1, 1.0, 7.0)]
    assert abs(speed.slope(rows) - 1.5) < 1e-5


def test_the_documentation_holds_what_was_measured(speed):
    kept = json.loads((ROOT / "data" / "speed.json").read_text(encoding="utf-8"))
    text = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert fill(text, speed.tables(kept)) == text
