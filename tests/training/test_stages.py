"""Stages of a run, what each begins from, and how far a run is."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lessons_lib import checkpoints
from lessons_lib.models import build
from lessons_lib.training import ConfigError, Optimizer, Run, Watch, export, read_run, train
from lessons_lib.training.files import Files
from lessons_lib.training.log import Log
from lessons_lib.training.standing import read_standing
from lessons_lib.training.start import Learned, translate
from lessons_lib.training.state import Effort, State, read_state

TINY = """
model = "sc"
sigma_255 = 25
dataset = "samples"
options = {patch = 5, atoms = 24, steps = 2}
dictionary = {patches = 1000}
[[stage]]
crop = 16
batch = 2
steps = 4
watch = {every = 2}
[[stage]]
crop = 16
batch = 2
steps = 2
"""
# Steps so small that weights end where they began.
STILL = Optimizer(rate=1e-12)


@pytest.fixture
def tiny(tmp_path) -> Run:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return read_run(path)


@pytest.fixture
def weights(tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder of exported weights in the place of the library's."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(checkpoints, "shipped", lambda name: folder)
    checkpoints.cards.cache_clear()
    yield folder
    checkpoints.cards.cache_clear()


def first_stage(run: Run, **changes: Any) -> Run:
    return replace(run, stages=(replace(run.stages[0], **changes),))


def trained(run: Run, folder: Path, **how: Any) -> State:
    """Where a run's state is after a sitting."""
    train(run, folder, device="cpu", **how)
    state = read_state(Files(folder, run.name).state)
    assert state is not None
    return state


def test_a_stage_goes_on_where_the_one_before_ended(tiny, tmp_path):
    first = trained(first_stage(tiny), tmp_path)
    assert (first.stage, first.finished) == (1, True)
    still = replace(tiny, stages=(tiny.stages[0], replace(tiny.stages[1], optimizer=STILL)))
    assert not read_standing(still, tmp_path).finished
    second = trained(still, tmp_path)
    assert (second.stage, second.step, second.finished) == (2, 2, True)
    for name, weight in first.weights["average"].items():
        torch.testing.assert_close(second.weights["average"][name], weight)
    assert second.pixels_before == first.pixels == 4 * 2 * 16**2
    assert second.hours_before == pytest.approx(first.seconds / 3600)
    log = Log(Files(tmp_path, "tiny").log)
    assert [(row["stage"], row["step"]) for row in log.rows] == [
        (1, 0), (1, 2), (1, 4), (2, 0), (2, 2)
    ]  # fmt: skip
    assert log.rows[-1]["hours_before"] == pytest.approx(second.hours_before, abs=1e-4)


def test_exported_weights_take_the_place_of_a_state(tiny, tmp_path, weights):
    """A run whose weights are exported goes on from them, if they are those that it ended with."""
    one = first_stage(tiny)
    first = trained(one, tmp_path)
    card = export(one, tmp_path, weights)
    assert not Files(tmp_path, "tiny").state.exists()
    assert read_standing(one, tmp_path).finished
    still = replace(tiny, stages=(tiny.stages[0], replace(tiny.stages[1], optimizer=STILL)))
    standing = read_standing(still, tmp_path)
    assert (standing.stage, standing.step, standing.share) == (2, 0, pytest.approx(4 / 6))
    second = trained(still, tmp_path)
    for name, weight in first.weights["average"].items():
        torch.testing.assert_close(second.weights["average"][name], weight)
    assert second.hours_before == pytest.approx(card.hours_in_all)
    assert second.pixels_before == card.pixels_in_all

    # Weights of another end, under the same name.
    Files(tmp_path, "tiny").state.unlink()
    log = Log(Files(tmp_path, "tiny").log)
    log.cut(1, 4)
    log.rows[-1]["held_out_psnr"] += 0.1
    log.write()
    with pytest.raises(ConfigError, match="not those of the end of its stage 1"):
        train(still, tmp_path, device="cpu")


def test_a_stage_without_its_state_begins_again(tiny, tmp_path):
    one = first_stage(tiny)
    files = Files(tmp_path, "tiny")
    whole = trained(one, tmp_path)
    rows = Log(files.log).rows
    files.state.unlink()
    log = Log(files.log)
    log.cut(1, 2)
    log.write()
    assert (read_standing(one, tmp_path).step, read_standing(one, tmp_path).begun) == (0, False)
    again = trained(one, tmp_path)
    for name, weight in whole.weights["average"].items():
        assert torch.equal(again.weights["average"][name], weight)
    assert len(Log(files.log).rows) == len(rows)


def test_a_run_that_lost_a_stage_is_refused(tiny, tmp_path):
    train(tiny, tmp_path, device="cpu")
    with pytest.raises(ConfigError, match="was in stage 2, and has 1 now"):
        read_standing(first_stage(tiny), tmp_path)
    (tmp_path / "tiny.csv").write_text("stage,step\none,2\n")
    with pytest.raises(ConfigError, match="no log"):
        read_standing(tiny, tmp_path)


def test_time_that_is_over_begins_no_further_stage(tiny, tmp_path):
    seen = []
    standing = train(tiny, tmp_path, minutes=0, device="cpu", report=seen.append)
    assert (standing.stage, standing.step, standing.begun, seen) == (1, 0, True, [])
    watch = Watch(every=2, tolerated_drop=0)
    never = replace(tiny, stages=tuple(replace(stage, watch=watch) for stage in tiny.stages))
    train(never, tmp_path / "other", minutes=0, device="cpu")
    state = read_state(Files(tmp_path / "other", "tiny").state)
    assert (state.step, state.snapshot) == (0, {})
    assert set(state.weights) == {"model", "average", "optimizers"}


# From other weights -----------------------------------------------------------------------------


@pytest.fixture
def follower(tiny) -> Run:
    """A run of another model that starts from `tiny` and stays there."""
    run = first_stage(tiny, start="tiny", optimizer=STILL, steps=1)
    options = tiny.options | {"window": 5}
    return replace(run, name="follower", model="groupsc", options=options, priority=1)


def test_a_run_starts_from_a_finished_one_or_from_its_weights(tiny, follower, tmp_path, weights):
    first = trained(first_stage(tiny), tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY[: TINY.rindex("[[stage]]")])
    second = trained(follower, tmp_path)
    card = export(first_stage(tiny), tmp_path, weights)
    third = trained(replace(follower, name="later"), tmp_path)
    for state in (second, third):
        for name, weight in first.weights["average"].items():
            torch.testing.assert_close(state.weights["average"][name], weight)
        assert state.hours_before == pytest.approx(card.hours_in_all, abs=1e-3)
        assert state.pixels_before == card.pixels_in_all
    lost = first_stage(follower, start="tina")
    with pytest.raises(checkpoints.CheckpointError, match="did you mean 'tiny'"):
        train(replace(lost, name="lost"), tmp_path, device="cpu")


def test_a_run_waits_for_one_that_the_queue_puts_before_it(tiny, follower, tmp_path, weights):
    export_from = tmp_path / "elsewhere"
    trained(first_stage(tiny), export_from)
    export(first_stage(tiny), export_from, weights)
    with pytest.raises(ConfigError, match="follower starts from tiny, which is not finished"):
        train(follower, tmp_path, device="cpu")
    # One that comes later has weights already, and will have better ones.
    assert train(replace(follower, priority=-1), tmp_path, device="cpu").finished


def test_a_run_that_became_longer_is_waited_for(tiny, follower, tmp_path, weights):
    """Its state is that of an end, and its file says that there is more to come."""
    trained(first_stage(tiny), tmp_path)
    with pytest.raises(ConfigError, match="follower starts from tiny, which is not finished"):
        train(follower, tmp_path, device="cpu")


def test_levels_that_differ_are_interpolated():
    theirs = build("sc", {"patch": 5, "atoms": 24, "steps": 2, "levels_255": [5.0, 15.0, 25.0]})
    found = torch.tensor([0.1, 0.3, 0.5])[:, None].expand(3, 24)
    learned = Learned({"raw_thresholds": found}, 0.0, (5.0, 15.0, 25.0), Effort())
    options = {"patch": 5, "atoms": 24, "steps": 2, "levels_255": (10.0, 50.0)}
    run = Run("other", "sc", 0.0, task="blind", options=options)
    moved = translate(learned, run)["raw_thresholds"]
    assert theirs.raw_thresholds.shape == found.shape
    torch.testing.assert_close(moved, torch.tensor([0.2, 1.0])[:, None].expand(2, 24))


def test_a_network_finds_nothing_to_start_from_in_a_dictionary():
    found = torch.full((3, 24), 0.1)
    learned = Learned({"raw_thresholds": found}, 0.0, (5.0, 15.0, 25.0), Effort())
    run = Run("other", "dncnn", 25.0, options={"layers": 3, "width": 4})
    assert build("dncnn", run.options).start_from(translate(learned, run)) == []


def test_a_start_from_another_noise_level_is_scaled(tiny, tmp_path):
    """The weights taken over are those of the same network for louder images."""
    options = tiny.options | {"window": 5}
    quiet = replace(first_stage(tiny), model="groupsc", options=options)
    first = trained(quiet, tmp_path)
    (tmp_path / "tiny.toml").unlink()
    loud = first_stage(quiet, start="tiny", optimizer=STILL, steps=1)
    second = trained(replace(loud, name="loud", sigma_255=2 * tiny.sigma_255), tmp_path)
    models = [build("groupsc", options) for _ in range(2)]
    for model, state in zip(models, (first, second), strict=True):
        model.load_state_dict(state.weights["average"])
    noisy = torch.rand(1, 1, 20, 20)
    with torch.no_grad():
        torch.testing.assert_close(models[1](2 * noisy), 2 * models[0](noisy))


def test_csr_shares_the_thresholds_of_sc_between_its_two_pulls():
    """Codes with β = 0 are then shrunk as before; another CSR is taken as it is."""
    sizes = {"patch": 5, "atoms": 24, "steps": 8, "refresh": 2}
    sc = build("sc", {key: sizes[key] for key in ("patch", "atoms", "steps")})
    first, second = build("csr", sizes | {"gamma": 0.6}), build("csr", sizes)
    assert "raw_thresholds" in first.start_from(sc.state_dict())
    both_pulls = first.thresholds * (1 + first.gammas[:, None, None])
    torch.testing.assert_close(both_pulls, sc.thresholds)
    second.start_from(first.state_dict())
    torch.testing.assert_close(second.thresholds, first.thresholds)
    torch.testing.assert_close(second.gammas, first.gammas)


def test_csr_of_several_levels_takes_theirs():
    """One Λ for each level serves all steps, so it is shared by the mean γ."""
    sizes = {"patch": 5, "atoms": 24, "steps": 4, "levels_255": [5.0, 10.0, 20.0]}
    sc, csr = build("sc", sizes), build("csr", sizes | {"refresh": 2})
    assert "raw_thresholds" in csr.start_from(sc.state_dict())
    pulls = csr.thresholds * (1 + csr.gammas.mean())
    torch.testing.assert_close(pulls, sc.thresholds)


@pytest.mark.parametrize("variant", ["untied", "coupled", "alista"])
def test_lista_for_louder_noise_is_lista_for_louder_images(variant):
    model = build("lista", {"patch": 4, "atoms": 20, "steps": 3, "variant": variant})
    louder = build("lista", {"patch": 4, "atoms": 20, "steps": 3, "variant": variant})
    powers = type(model).noise_powers
    weights = model.state_dict().items()
    louder.load_state_dict({name: value * 3 ** powers.get(name, 0) for name, value in weights})
    noisy = torch.rand(1, 1, 12, 12)
    torch.testing.assert_close(louder(3 * noisy), 3 * model(noisy))
