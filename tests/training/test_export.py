"""A run's weights go out with a card that counts all the training behind them."""

from pathlib import Path

import pytest
import torch
import typer.testing
from safetensors.torch import load_file

from lessons_lib.cli import app
from lessons_lib.training import ConfigError, export, read_run, train
from lessons_lib.training.start import Effort, effort_to

TINY = """
model = "sc"
sigma_255 = 25
dataset = "samples"
crop = {crop}
batch = {batch}
steps = {steps}
monitor_every = 1
dictionary_patches = 2000
options = {{patch = 5, atoms = 24, steps = 2}}
start = "{start}"
"""
# Name of a run, what it starts from, its crops' side, their number in a step, and its steps.
RUNS = [
    ("first", "", 20, 4, 3),
    ("second", "first", 24, 2, 2),
    ("short/third", "../second", 20, 1, 1),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Three short runs, each from the one before."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "short").mkdir()
    for name, start, crop, batch, steps in RUNS:
        path = folder / f"{name}.toml"
        path.write_text(TINY.format(start=start, crop=crop, batch=batch, steps=steps))
        train(read_run(path), path.parent, device="cpu")
    return folder


def test_the_card_counts_what_came_before(runs, tmp_path):
    cards = {
        name: export(read_run(runs / f"{name}.toml"), folder, folder, tmp_path)
        for name in ("first", "second", "short/third")
        for folder in [(runs / name).parent]
    }
    pixels = [batch * steps * crop**2 for _, _, crop, batch, steps in RUNS]
    assert [card.pixels_before for card in cards.values()] == [0, pixels[0], sum(pixels[:2])]
    assert [card.pixels_in_all for card in cards.values()] == [
        pixels[0],
        sum(pixels[:2]),
        sum(pixels),
    ]
    first, second, third = cards.values()
    assert first.hours_before == 0
    own = sum(first.hours.values())
    assert second.hours_before == pytest.approx(own, abs=1e-3)
    assert third.hours_before == pytest.approx(second.hours_in_all, abs=2e-3)
    state = torch.load(runs / "second" / "state.pt", weights_only=True)
    weights = load_file(tmp_path / "second.safetensors")
    assert all(weights[name].equal(kept) for name, kept in state["weights"]["average"].items())


def test_effort_adds_up_hours_and_pixels_of_a_chain(runs):
    assert effort_to("", runs, runs) == Effort(0.0, 0)
    first, second = (effort_to(name, runs, runs) for name in ("first", "second"))
    spent = [
        sum(torch.load(runs / name / "state.pt", weights_only=True)["spent"].values())
        for name in ("first", "second")
    ]
    assert first.hours == pytest.approx(spent[0] / 3600)
    assert second.hours == pytest.approx(sum(spent) / 3600)


def test_states_may_lie_apart_from_the_runs(runs, tmp_path):
    config = tmp_path / "first.toml"
    config.write_text((runs / "first.toml").read_text())
    done = typer.testing.CliRunner().invoke(
        app, ["models", "export", str(config), "--state", str(runs), "--folder", str(tmp_path)]
    )
    assert done.exit_code == 0
    assert "first.safetensors: finished after 3 steps" in done.output


def test_a_run_that_cannot_be_counted_is_refused(runs, tmp_path):
    second = read_run(runs / "second.toml")
    with pytest.raises(ConfigError, match=r"first\.toml: cannot be read"):
        export(second, tmp_path, runs, tmp_path)
    (tmp_path / "first.toml").write_text((runs / "first.toml").read_text())
    with pytest.raises(ConfigError, match="first has not begun"):
        effort_to("first", tmp_path, tmp_path)
    with pytest.raises(ConfigError, match="has not begun"):
        export(read_run(tmp_path / "first.toml"), tmp_path, tmp_path, tmp_path)
