"""Runs as TOML files: what they say, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from lessons_lib.checkpoints import cards
from lessons_lib.training import ConfigError, Optimizer, Run, Stage, read_run, train_queue
from lessons_lib.training.files import Files
from lessons_lib.training.log import Log
from lessons_lib.training.standing import read_standing

ROOT = Path(__file__).parents[2]
RUNS = sorted((ROOT / "runs").rglob("*.toml"))
TINY = """
model = "sc"
sigma_255 = 25
options = {patch = 5, atoms = 24}
dictionary = {patches = 2000}
[[stage]]
steps = 60
batch = 4
optimizer = {rate = 1e-3, schedule = "cosine", paces = {W = 2}}
loss = {stability = 0.1}
watch = {every = 7}
[[stage]]
name = "more"
start = "sc-gray-25"
optimizer = {kind = "muon"}
"""


def test_a_file_is_read_into_stages(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    run = read_run(tmp_path / "tiny.toml")
    assert (run.name, run.dictionary.patches, len(run.stages)) == ("tiny", 2000, 2)
    first, second = run.stages
    assert (first.optimizer.rate, first.optimizer.paces, first.watch.every) == (1e-3, {"W": 2}, 7)
    assert second == Stage(name="more", start="sc-gray-25", optimizer=Optimizer(kind="muon"))


@pytest.mark.parametrize("path", RUNS, ids=lambda path: str(path.relative_to(ROOT / "runs")))
def test_runs_can_go_on_where_they_are(path):
    run = read_run(path)
    standing = read_standing(run, path.parent)
    if standing.finished or (standing.stage == 1 and not run.stages[0].start):
        return
    start = run.stages[standing.stage - 1].start
    if start:
        assert start in cards()
    elif not Files(path.parent, run.name).state.exists():
        end = Log(Files(path.parent, run.name).log).of_stage(standing.stage - 1)[-1]
        assert cards()[run.name].held_out_psnr == pytest.approx(end["held_out_psnr"], abs=1e-3)
        assert cards()[run.name].hours_in_all == pytest.approx(
            end["hours_before"] + end["seconds"] / 3600, abs=2e-3
        )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("batch = 4", "batchsize = 3", "stage 1: unknown key 'batchsize'; did you mean 'batch'"),
        ("batch = 4", "batch = 3.5", "stage 1: batch = 3.5 should be of type int"),
        ("steps = 60", "steps = 0", "stage 1: steps must be positive"),
        ("steps = 60", "seed = 2147483648", "stage 1: a seed is less than 2147483648"),
        ('"sc"', '"scs"', "unknown model 'scs'; did you mean 'sc'"),
        ("patch = 5", "patches = 3", "patches"),
        ("patch = 5", 'patch = "nine"', "patch"),
        ("{patches = 2000}", "{lambda = 2000}", "dictionary: unknown key 'lambda'"),
        ("{patches = 2000}", "{patches = 0}", "dictionary: patches must be positive"),
        ("{patches = 2000}", "7", "dictionary = 7 should be of type table"),
        ('"cosine"', '"cosin"', "stage 1: optimizer: .*did you mean 'cosine'"),
        ("rate = 1e-3", "rate = nan", "stage 1: optimizer: rate must be positive"),
        ("rate = 1e-3", "learning_rate = 1e-3", "optimizer: unknown key 'learning_rate'"),
        ("rate = 1e-3", "max_gradient = -1", "optimizer: max_gradient must not be negative"),
        ("{W = 2}", "{kapa = 2}", "stage 1: unknown weight 'kapa'"),
        ("{W = 2}", "{W = 0}", "pace of W must be positive"),
        ('"muon"', '"mun"', "stage 2: optimizer: unknown optimizer 'mun'; did you mean 'muon'"),
        ("batch = 4", 'precision = "fp8"', "unknown precision 'fp8'"),
        ("batch = 4", "ema = 1.0", "ema"),
        ("stability = 0.1", 'kind = "l7"', "stage 1: loss: unknown loss 'l7'"),
        ("stability = 0.1", "stability = -1", "loss: stability must not be negative"),
        ("every = 7", "evry = 7", "watch: unknown key 'evry'; did you mean 'every'"),
        ("every = 7", "tolerated_drop = -1", "watch: tolerated_drop must not be negative"),
        ("[[stage]]", "[[stages]]", "unknown key 'stages'; did you mean 'stage'"),
        ("batch = 4", "batch = ", "Invalid value"),
        ("batch = 4", "batch = " + 5000 * "[", "too deep to be read"),
    ],
)
def test_bad_configs_are_refused(tmp_path, old, new, says):
    path = tmp_path / "bad.toml"
    assert old in TINY
    path.write_text(TINY.replace(old, new))
    with pytest.raises(ConfigError, match=rf"^{path}: .*{says}|^{path}: {says}"):
        read_run(path)


def test_missing_keys_and_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_run(tmp_path / "none.toml")
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(ConfigError, match="model and sigma_255"):
        read_run(tmp_path / "empty.toml")
    (tmp_path / "empty.toml").write_text('model = "sc"\nsigma_255 = 25\nstage = 3')
    with pytest.raises(ConfigError, match=r"\[\[stage\]\]"):
        read_run(tmp_path / "empty.toml")
    with pytest.raises(ConfigError, match="a stage at least"):
        Run("x", "sc", 25.0, stages=())
    with pytest.raises(ConfigError, match="no run"):
        train_queue(tmp_path / "nowhere", minutes=1)


def test_models_without_what_a_stage_moves_are_refused():
    for stage in (
        Stage(optimizer=Optimizer(kind="muon")),
        replace(Stage(), loss=replace(Stage().loss, stability=0.1)),
    ):
        Run("x", "sc", 25.0, stages=(stage,))
        with pytest.raises(ConfigError, match="'lista'"):
            Run("x", "lista", 25.0, stages=(stage,))
    kept = Stage(keep_statistics=True)
    Run("x", "dncnn", 25.0, stages=(kept,))
    with pytest.raises(ConfigError, match="'nsr' has no normalisations"):
        Run("x", "nsr", 25.0, stages=(kept,))


def test_schedules():
    stage = Stage()
    assert stage.rate(0) == 6e-4
    assert stage.rate(31_999) == 6e-4
    assert stage.rate(32_000) == pytest.approx(6e-4 * 0.35)
    assert stage.rate(119_999) == pytest.approx(6e-4 * 0.35**3)
    cosine = Stage(optimizer=Optimizer(schedule="cosine"))
    assert cosine.rate(0) == 6e-4
    assert cosine.rate(60_000) == pytest.approx(3e-4)
    assert cosine.rate(119_999) < 1e-9
