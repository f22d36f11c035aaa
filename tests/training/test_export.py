"""A run's weights go out with a card that counts all the training behind them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import typer.testing
from safetensors.torch import load_file

from lessons_lib import checkpoints
from lessons_lib.checkpoints import Card
from lessons_lib.cli import app
from lessons_lib.evaluation.explain_gap import explain_training
from lessons_lib.tasks import GOALS
from lessons_lib.training import ConfigError, export, read_run, train
from lessons_lib.training.files import Files
from lessons_lib.training.state import State, read_state, write_state

TINY = """
model = "sc"
sigma_255 = 25
dataset = "samples"
options = {patch = 5, atoms = 24, steps = 2}
dictionary = {patches = 2000}
"""
STAGE = """
[[stage]]
start = "%s"
crop = %d
batch = %d
steps = %d
watch = {every = 1}
"""
# What a stage starts from, its crops' side, their number in a step, and its steps.
FIRST, SECOND, THIRD = ("", 20, 4, 3), ("", 24, 2, 2), ("first", 20, 1, 1)
PIXELS = [batch * steps * crop**2 for _, crop, batch, steps in (FIRST, SECOND, THIRD)]


def train_stages(folder: Path, name: str, *stages: tuple[object, ...]) -> State:
    path = folder / f"{name}.toml"
    path.write_text(TINY + "".join(STAGE % stage for stage in stages))
    train(read_run(path), folder, device="cpu")
    state = read_state(Files(folder, name).state)
    assert state is not None
    return state


@pytest.fixture(scope="module")
def ends(tmp_path_factory) -> Iterator[list[tuple[State, Card]]]:
    """Of one stage, of that and a second, and of another run that starts from both."""
    runs = tmp_path_factory.mktemp("runs")
    weights = runs / "weights"
    weights.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "shipped", lambda name: weights)
        found = []
        for name, stages in (("first", [FIRST]), ("first", [FIRST, SECOND]), ("other", [THIRD])):
            state = train_stages(runs, name, *stages)
            found.append((state, export(read_run(runs / f"{name}.toml"), runs, weights)))
            assert not Files(runs, name).state.exists()
            kept = load_file(weights / f"{name}.safetensors")
            assert all(kept[key].equal(value) for key, value in state.weights["average"].items())
        yield found
    checkpoints.cards.cache_clear()


def test_the_card_counts_what_came_before(ends):
    cards = [card for _, card in ends]
    assert [card.pixels_before for card in cards] == [0, PIXELS[0], sum(PIXELS[:2])]
    assert [card.pixels_in_all for card in cards] == [PIXELS[0], sum(PIXELS[:2]), sum(PIXELS)]
    for before, (state, card) in zip([0.0, *(c.hours_in_all for c in cards)], ends, strict=False):
        assert card.hours_before == pytest.approx(before, abs=1e-3)
        assert sum(card.hours.values()) == pytest.approx(state.seconds / 3600, abs=1e-3)


def test_the_card_tells_of_the_stage_that_its_weights_come_from(ends):
    first, second, third = (card for _, card in ends)
    assert [len(card.curve) for card in (first, second, third)] == [4, 3, 2]
    assert (second.run["stage"], second.run["crop"], second.run["batch"]) == (2, 24, 2)
    assert second.run["watch"]["every"] == 1
    assert "training from a dictionary: 3 of 3 steps" in explain_training(first)
    assert "training from first: 2 of 2 steps" in explain_training(second)
    assert "training from first: 1 of 1 steps" in explain_training(third)


def test_the_command_says_what_it_wrote_and_keeps_what_is_unfinished(tmp_path):
    path = tmp_path / "half.toml"
    path.write_text(TINY + STAGE % FIRST)
    train(read_run(path), tmp_path, minutes=0, device="cpu")
    for finished in ("unfinished after 0", "finished after 3"):
        done = typer.testing.CliRunner().invoke(
            app, ["models", "export", str(path), "--folder", str(tmp_path / "weights")]
        )
        assert done.exit_code == 0
        assert f"half.safetensors: {finished} steps" in done.output
        assert Files(tmp_path, "half").state.exists() == (finished[0] == "u")
        if finished[0] == "u":
            train(read_run(path), tmp_path, device="cpu")


def test_a_stage_that_became_shorter_than_what_was_done_is_finished(tmp_path):
    path = tmp_path / "long.toml"
    path.write_text(TINY + STAGE % FIRST)
    train(read_run(path), tmp_path, device="cpu", minutes=0)
    files = Files(tmp_path, "long")
    state = read_state(files.state)
    assert state is not None
    state.step = 2
    write_state(state, files.state)
    path.write_text(TINY + STAGE % (*FIRST[:3], 1))
    (tmp_path / "weights").mkdir()
    assert export(read_run(path), tmp_path, tmp_path / "weights").finished
    assert not files.state.exists()


def test_what_has_no_state_is_refused(tmp_path):
    (tmp_path / "none.toml").write_text(TINY)
    with pytest.raises(ConfigError, match="none has not begun, or is exported"):
        export(read_run(tmp_path / "none.toml"), tmp_path, tmp_path)
    files = Files(tmp_path, "none")
    files.state.parent.mkdir()
    torch.save({"step": 3}, files.state)
    with pytest.raises(ConfigError, match="holds no training state"):
        export(read_run(tmp_path / "none.toml"), tmp_path, tmp_path)


def test_weights_of_several_tasks_serve_each_of_them(tmp_path):
    (tmp_path / "three.toml").write_text(
        'model = "dncnn"\ntask = "mixed"\ndataset = "samples"\n'
        "options = {layers = 3, width = 4, loudest_255 = 55}\n"
        "[[stage]]\ncrop = 24\nbatch = 2\nsteps = 1\n"
    )
    run = read_run(tmp_path / "three.toml")
    train(run, tmp_path, device="cpu")
    card = export(run, tmp_path, tmp_path)
    assert card.setting == "sigma<=55 jpeg x2 x3 x4"
    assert all(card.serves(task) for task in ("denoise", "blind", "jpeg", "sr"))
    assert not card.serves("demosaic")
    assert GOALS["jpeg"].fits(card, 30) == GOALS["sr"].fits(card, 4) == 0
