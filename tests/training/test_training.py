"""Training: what it learns, that nothing stops it for good, and that it sees no test image."""

import itertools
import math
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from tensorboardX.proto import event_pb2

from lessons_lib.metrics import psnr
from lessons_lib.models import BiasFree, DnCNN, PatchSC, Restorer, build
from lessons_lib.models.bias_free import BiasFreeConfig
from lessons_lib.models.dncnn import DnCNNConfig
from lessons_lib.tasks import Examples
from lessons_lib.training import (
    ConfigError,
    Run,
    Stage,
    read_run,
    train,
    train_queue,
    trained_model,
)
from lessons_lib.training.crops import Crops
from lessons_lib.training.files import Files
from lessons_lib.training.learner import Learner
from lessons_lib.training.log import Log, Row
from lessons_lib.training.losses import LOSSES, squared
from lessons_lib.training.sitting import Sitting
from lessons_lib.training.standing import read_standing
from lessons_lib.training.state import State, read_state
from lessons_lib.training.watch import crop_psnr

ROOT = Path(__file__).parents[2]
TINY = """
model = "sc"
sigma_255 = 25
dataset = "samples"
options = {patch = 5, atoms = 24, steps = 4}
dictionary = {patches = 2000}
[[stage]]
crop = 20
batch = 4
steps = 60
optimizer = {rate = 1e-3, schedule = "cosine"}
watch = {every = 7}
"""

# Paces at which a training's first step shows where it began.
STILL = {"C": 1e-9, "D": 1e-9, "W": 1e-9, "raw_thresholds": 1e-9}


@pytest.fixture
def tiny(tmp_path) -> Run:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return read_run(path)


def but(run: Run, name: str = "tiny", **changes: Any) -> Run:
    """A run whose one stage is another: of a stage's parts, what changes in them."""
    (stage,) = run.stages
    for part, inner in changes.items():
        if isinstance(inner, dict):
            changes[part] = replace(getattr(stage, part), **inner)
    return replace(run, name=name, stages=(replace(stage, **changes),))


def trained(run: Run, folder: Path, **how: Any) -> State:
    """Where a run's state is after a sitting."""
    train(run, folder, device="cpu", **how)
    state = read_state(Files(folder, run.name).state)
    assert state is not None
    return state


def rows(run: Run, folder: Path) -> list[Row]:
    return Log(Files(folder, run.name).log).rows


# The loop ------------------------------------------------------------------------------------


def test_training_denoises_better(tiny, tmp_path):
    standing = train(tiny, tmp_path, device="cpu")
    assert standing.finished
    scores = [row["held_out_psnr"] for row in rows(tiny, tmp_path)]
    assert scores[-1] > scores[0] + 1
    assert standing.held_out_psnr == scores[-1]
    crops = Crops(tiny, tiny.stages[0], 1).fixed("held out")
    clean, noisy = crops.clean, crops.degraded
    model = trained_model(tiny, tmp_path)
    with torch.no_grad():
        gain = psnr(model(noisy), clean) - psnr(noisy, clean)
    assert gain.mean() > 5
    assert len((tmp_path / "tiny.csv").read_text().splitlines()) == 1 + len(scores) == 1 + 10
    # What is kept of a finished run is what it has learned, and nothing to go on with.
    state = read_state(Files(tmp_path, "tiny").state)
    assert state is not None
    assert (set(state.weights), state.snapshot) == ({"average"}, {})


def test_a_crop_that_comes_back_exact_does_not_hide_the_others():
    """Black, in a mosaic: without a ceiling every later mean would look like a divergence."""
    clean = torch.cat([torch.zeros(1, 1, 16, 16), torch.full((1, 1, 16, 16), 0.5)])
    degraded = clean.clone()
    degraded[1, :, ::2] += 0.01
    model = build("sc", {"patch": 5, "atoms": 24, "steps": 4})
    alone = psnr(model(degraded[1:])[..., 4:-4, 4:-4], clean[1:, :, 4:-4, 4:-4]).item()
    fabric = Fabric(accelerator="cpu", devices=1)
    found = crop_psnr(fabric, model, Examples(clean, degraded, {}, torch.ones(len(clean))), batch=1)
    assert found == pytest.approx((60 + alone) / 2, abs=1e-3)


def test_looks_can_be_watched_in_tensorboard(tiny, tmp_path):
    train(tiny, tmp_path, device="cpu")
    seen = {}
    for file in (tmp_path / "tensorboard" / "tiny").iterdir():
        content = file.read_bytes()
        while content:  # length, its checksum, an event, its checksum
            (length,) = struct.unpack("<Q", content[:8])
            event = event_pb2.Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            seen |= {(v.tag, event.step): v.simple_value for v in event.summary.value}
    for row in rows(tiny, tmp_path):
        for name in row.keys() - {"step", "stage"}:
            if math.isfinite(row[name]):  # before the first step there is no loss
                assert seen[name, row["step"]] == pytest.approx(row[name], rel=1e-6)


@pytest.mark.parametrize("kind", ["adam", "muon"])
def test_sittings_add_up(tiny, tmp_path, kind):
    """Cut at a look, off a look, and before the first: always the weights of one sitting."""
    first = but(tiny, steps=30, optimizer={"kind": kind}).stages
    second = but(
        tiny, steps=12, seed=1, optimizer={"kind": kind}, watch={"tolerated_drop": 0}
    ).stages
    tiny = replace(tiny, stages=first + second)
    whole = trained(tiny, tmp_path / "whole")

    class Enough(Exception):
        pass

    for place in ((1, 3), (1, 14), (2, 2), (2, 9)):

        def stop(progress, place=place):
            if (progress.stage, progress.step) == place:
                raise Enough

        with pytest.raises(Enough):
            train(tiny, tmp_path / "cut", device="cpu", save_every=0, report=stop)
    state = read_state(Files(tmp_path / "cut", "tiny").state)
    assert state.snapshot == {}, "what never goes back keeps nothing to go back to"
    cut = trained(tiny, tmp_path / "cut")
    assert same(whole, cut)
    logs = [
        repr([row | {"seconds": 0, "hours_before": 0} for row in rows(tiny, tmp_path / folder)])
        for folder in ("whole", "cut")
    ]
    assert logs[0] == logs[1]


def same(one: State, other: State) -> bool:
    """Whether two states are equal to the last bit, but for the time they took."""
    for attribute in ("weights", "snapshot"):
        a, b = (flat(getattr(state, attribute)) for state in (one, other))
        if a.keys() != b.keys() or not all(torch.equal(a[key], b[key]) for key in a):
            return False
    places = [(state.stage, state.step, state.pixels, state.slowdown) for state in (one, other)]
    return places[0] == places[1]


def flat(tree, prefix="") -> dict[str, torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        return {prefix: tree}
    if not isinstance(tree, dict):
        return {}
    return {k: v for key in tree for k, v in flat(tree[key], f"{prefix}/{key}").items()}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_killed_ten_times_it_ends_with_the_same_weights(tiny, tmp_path):
    script = Path(__file__).with_name("killed.py")
    folders = [tmp_path / "whole", tmp_path / "broken"]
    done = subprocess.run(
        [sys.executable, script, tmp_path / "tiny.toml", *folders],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = [int(line.split()[-1]) for line in done.stdout.splitlines()]
    assert len(steps) == 10
    assert len(set(steps)) >= 5, "the kills should fall on different steps"
    assert same(*(read_state(Files(folder, "tiny").state) for folder in folders))


@pytest.mark.slow
def test_two_processes_train_like_one(tiny, tmp_path):
    short = TINY.replace("steps = 60", "steps = 3")
    (tmp_path / "short.toml").write_text(short)
    script = tmp_path / "go.py"
    script.write_text(
        "import sys; from pathlib import Path\n"
        "from lessons_lib.training import read_run, train\n"
        "train(read_run(Path(sys.argv[1])), Path(sys.argv[2]), device='cpu')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for command, root in ((launch, "two"), ([sys.executable], "one")):
        done = subprocess.run(
            [*command, script, tmp_path / "short.toml", tmp_path / root],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    two, one = (
        flat(read_state(Files(tmp_path / root, "short").state).weights) for root in ("two", "one")
    )
    assert all(torch.isfinite(value).all() for value in two.values())
    # The same gradients but for the order of a sum; Adam has seen all three of them.
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-4, atol=1e-7)


def test_the_time_is_kept(tiny, tmp_path, monkeypatch):
    seconds = itertools.count(step=0.1)
    clock = SimpleNamespace(monotonic=lambda: next(seconds))
    for module in ("loop", "clock"):
        monkeypatch.setattr(f"lessons_lib.training.{module}.time", clock)
    state = trained(but(tiny, steps=10**6), tmp_path, minutes=0.1)
    assert 10 < state.step < 60
    assert 4 < state.seconds < 6


def test_the_queue_begins_nothing_that_it_has_no_time_for(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(TINY.replace("steps = 60", "steps = 1_000_000"))
    seconds = itertools.count(step=0.1)
    clock = SimpleNamespace(monotonic=lambda: next(seconds))
    for module in ("loop", "clock"):
        monkeypatch.setattr(f"lessons_lib.training.{module}.time", clock)
    first, second = train_queue(tmp_path, minutes=0.1, device="cpu")
    assert first.step > 10
    assert not second.begun


@pytest.mark.parametrize(
    ("old", "new"),
    [("[[stage]]", '[[stage]]\nstart = "no-such-weights"'), ('"samples"', '"no-such-images"')],
)
def test_a_run_that_cannot_go_on_does_not_keep_the_queue_from_others(tmp_path, old, new):
    short = TINY.replace("steps = 60", "steps = 2")
    (tmp_path / "a.toml").write_text(short.replace(old, new))
    (tmp_path / "b.toml").write_text(short)
    with pytest.raises(ConfigError, match=r"a: .*no-such-"):
        train_queue(tmp_path, minutes=5, device="cpu")
    assert read_standing(read_run(tmp_path / "b.toml"), tmp_path).finished


def test_a_file_that_breaks_while_others_are_trained_does_not_either(tmp_path):
    short = TINY.replace("steps = 60", "steps = 2")
    for name in "abc":
        (tmp_path / f"{name}.toml").write_text(short)
    broken = tmp_path / "b.toml"
    with pytest.raises(ConfigError, match=r"b: .*Invalid value"):
        train_queue(
            tmp_path,
            minutes=5,
            device="cpu",
            report=lambda run, progress: broken.write_text(short + "batch = "),
        )
    assert read_standing(read_run(tmp_path / "c.toml"), tmp_path).finished


def test_numbers_that_are_none_end_a_run_that_does_not_go_back(tiny, tmp_path):
    wild = but(tiny, optimizer={"rate": 1e30}, watch={"tolerated_drop": 0.0})
    with pytest.raises(ConfigError, match="run tiny has diverged"):
        train(wild, tmp_path, device="cpu")


def test_what_a_model_draws_itself_is_drawn_again(tmp_path):
    text = TINY.replace('"sc"', '"nsr"').replace("steps = 60", "steps = 4")
    options = 'options = {blocks = 1, width = 4, groups = 2, gate = "gumbel"}'
    ends = []
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "drawn.toml"
        path.write_text(text.replace("options = {patch = 5, atoms = 24, steps = 4}", options))
        torch.manual_seed(len(ends))
        if folder == "other":
            with pytest.raises(Interrupted):
                train(read_run(path), path.parent, device="cpu", save_every=0, report=interrupt)
        ends.append(flat(trained(read_run(path), path.parent).weights))
    assert all(torch.equal(ends[1][name], value) for name, value in ends[0].items())


class Interrupted(Exception):
    pass


def interrupt(progress) -> None:
    if progress.step == 2:
        raise Interrupted


def test_divergence_is_caught(tiny, tmp_path):
    wild = but(tiny, optimizer={"rate": 3.0}, watch={"backtrack": 0.2})
    state = trained(wild, tmp_path)
    assert state.slowdown < 1
    assert state.finished
    assert all(torch.isfinite(value).all() for value in flat(state.weights).values())
    assert state.snapshot_psnr > 15


@pytest.mark.parametrize("kind", ["adam", "muon"])
def test_one_wild_batch_does_no_lasting_harm_to_shortened_gradients(
    tiny, tmp_path, monkeypatch, kind
):
    def reached(name: str, wild: bool, max_gradient: float = 0.0) -> float:
        steps = iter(range(10**6))

        def loss(*arguments):
            return squared(*arguments) * (1e6 if wild and next(steps) == 3 else 1)

        monkeypatch.setitem(LOSSES, "l2", loss)
        how = {"kind": kind, "eps": 1e-8, "max_gradient": max_gradient}
        run = but(tiny, name, optimizer=how, watch={"tolerated_drop": 0})
        return train(run, tmp_path, device="cpu").held_out_psnr

    undisturbed = reached("calm", False)
    assert reached("kept", True) < undisturbed - 0.1
    assert reached("shortened", True, max_gradient=1.0) > undisturbed - 0.1


def test_hopeless_divergence_ends(tiny, tmp_path):
    wild = but(tiny, optimizer={"rate": 1e30}, watch={"backtrack": 0.01})
    with pytest.raises(ConfigError, match="diverges"):
        train(wild, tmp_path, device="cpu")


def test_another_loss_learns_as_well(tiny, tmp_path):
    run = but(tiny, loss={"kind": "l1"})
    train(run, tmp_path, device="cpu")
    first, *_, last = rows(run, tmp_path)
    assert last["held_out_psnr"] > first["held_out_psnr"] + 0.5


def moved(run: Run, folder: Path, name: str, steps: int, **how: Any) -> dict[str, torch.Tensor]:
    """Weights after some steps; without an average's past they are their own average."""
    return trained(but(run, name, steps=steps, ema=0.0, optimizer=how), folder).weights["average"]


def test_a_weight_learns_at_its_own_pace(tiny, tmp_path):
    """Ten times the pace is ten times the first step, and the others' steps are as they were."""
    start = moved(tiny, tmp_path, "start", 1, paces=STILL)
    plain = moved(tiny, tmp_path, "plain", 1)
    paced = moved(tiny, tmp_path, "paced", 1, paces={"raw_thresholds": 10})
    for name, first in start.items():
        step, faster = plain[name] - first, paced[name] - first
        assert step.abs().max() > 0
        factor = 10 if name == "raw_thresholds" else 1
        torch.testing.assert_close(faster, factor * step, rtol=1e-3, atol=1e-7)


def test_a_file_decides_how_fast_weights_learn_from_now_on(tiny, tmp_path):
    """Not the state, which was saved before the file was changed."""
    slow = but(tiny, optimizer={"kind": "adam", "paces": {"C": 2.0}, "eps": 1e-3})
    fast = but(tiny, optimizer={"kind": "adam", "paces": {"C": 5.0}, "eps": 1e-8})
    train(slow, tmp_path, minutes=0, device="cpu")
    state = read_state(Files(tmp_path, "tiny").state)
    assert state is not None
    learner = Learner(build(fast.model, fast.options), fast.stages[0])
    learner.restore(state.weights)
    (adam,) = learner.optimizers
    assert {group["pace"] for group in adam.param_groups} == {1.0, 5.0}
    assert {group["eps"] for group in adam.param_groups} == {1e-8}
    with pytest.raises(ConfigError, match="state of tiny is of other paces"):
        train(but(tiny), tmp_path, device="cpu")


def test_crops_lie_in_memory_as_a_model_likes_them(tiny, tmp_path):
    network = replace(tiny, name="network", model="dncnn", options={"layers": 3, "width": 4})
    for run, layout in ((tiny, torch.contiguous_format), (network, torch.channels_last)):
        sitting = Sitting(run, 1, tmp_path, "cpu", until=math.inf, save_every=60.0)
        crops = sitting.examples().degraded
        sitting.end()
        # Of one channel both are contiguous: only their strides tell them apart.
        assert crops.stride() == torch.empty(crops.shape, memory_format=layout).stride()


def test_an_orthogonal_step_moves_all_directions_alike(tiny, tmp_path):
    start = moved(tiny, tmp_path, "start", 1, paces=STILL)
    adam, muon = (moved(tiny, tmp_path, kind, 1, kind=kind) for kind in ("adam", "muon"))
    for name in ("C", "D", "W"):
        one, other = (torch.linalg.svdvals(new[name] - start[name]) for new in (adam, muon))
        # Sixteen, for Newton's iteration leaves the directions with next to no gradient behind.
        assert other[15] > 0.5 * other[0]
        assert one[15] < 0.3 * one[0]
    torch.testing.assert_close(adam["raw_thresholds"], muon["raw_thresholds"], rtol=0, atol=1e-7)
    assert 0.1 < (muon["C"] - start["C"]).norm() / (adam["C"] - start["C"]).norm() < 1


# Models that keep statistics --------------------------------------------------------------------


def normalised() -> DnCNN:
    """A small network with batch normalisations."""
    return DnCNN(DnCNNConfig(layers=4, width=3))


def test_statistics_are_averaged_as_weights_are():
    """Statistics of the latest weights do not fit an average of many."""
    learner = Learner(normalised(), Stage(ema=0.5))
    expected = {name: value.clone() for name, value in learner.model.named_buffers()}
    for step in range(3):
        learner.model(torch.randn(4, 1, 8, 8))
        learner.update_average(step)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, value in learner.model.named_buffers():
            mean = decay * expected[name] + (1 - decay) * value
            expected[name] = value.clone() if "batches" in name else mean
    for name, value in learner.average.named_buffers():
        torch.testing.assert_close(value, expected[name])
    assert expected["norms.1.running_mean"].abs().max() > 0
    assert learner.average.norms[0].num_batches_tracked == 3


def two_steps(model: Restorer, stage: Stage) -> Learner:
    """A model after two steps on loud random images, each different."""
    learner = Learner(model, stage)
    for step in range(2):
        clean = torch.rand(4, 1, 8, 8)
        noisy = clean + torch.randn(clean.shape)
        (learner.model(noisy) - clean).square().mean().backward()
        for optimizer in learner.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        learner.update_average(step)
    return learner


@pytest.mark.parametrize(
    "model",
    [normalised(), BiasFree(BiasFreeConfig(layers=4, width=3))],
    ids=["batch normalisation", "scale alone"],
)
def test_statistics_may_be_kept(model):
    """Then an image's estimate has nothing to do with the images beside it; weights learn on."""
    two_steps(model, Stage())  # finds statistics
    found = {name: value.clone() for name, value in model.named_buffers()}
    weights = {name: value.detach().clone() for name, value in model.named_parameters()}
    learner = two_steps(model, Stage(keep_statistics=True))
    for kept in (learner.model, learner.average):
        for name, value in kept.named_buffers():
            torch.testing.assert_close(value, found[name], rtol=0, atol=0)
    for name, value in learner.model.named_parameters():
        assert not torch.equal(value, weights[name]), name
    images = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(learner.model(images)[:1], learner.model(images[:1]))
    again = two_steps(model, Stage()).model
    assert not torch.allclose(again(images)[:1], again(images[:1]))


def test_a_look_uses_statistics_and_does_not_change_them():
    fabric, model = Fabric(accelerator="cpu", devices=1), normalised().train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    clean = torch.rand(4, 1, 8, 8)
    examples = Examples(clean, clean, {}, torch.ones(4))
    together, apart = (crop_psnr(fabric, model, examples, batch) for batch in (4, 1))
    assert together == pytest.approx(apart, abs=1e-4)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.named_buffers())


def test_another_models_state_is_refused(tiny, tmp_path):
    train(tiny, tmp_path, minutes=0, device="cpu")
    with pytest.raises(ConfigError, match="another model"):
        train(replace(tiny, options={"patch": 3}), tmp_path, device="cpu")
    Files(tmp_path, "tiny").state.write_bytes(b"not a state")
    with pytest.raises(ConfigError, match="no training state"):
        train(tiny, tmp_path, device="cpu")


def test_queue_takes_the_urgent_first_and_continues(tmp_path):
    for name, priority in (("b-late", 2), ("c-first", 1), ("a-late", 2)):
        text = TINY.replace("steps = 60", "steps = 2")
        (tmp_path / f"{name}.toml").write_text(f"priority = {priority}\n" + text)
    order: list[str] = []

    def note(run, progress):
        order.append(run.name)

    standings = train_queue(tmp_path, minutes=5, device="cpu", report=note)
    assert order == ["c-first"] * 2 + ["a-late"] * 2 + ["b-late"] * 2
    assert [standing.run.name for standing in standings] == ["c-first", "a-late", "b-late"]
    assert all(standing.finished for standing in standings)
    assert train_queue(tmp_path, minutes=5, device="cpu", report=note)
    assert len(order) == 6, "finished runs are left alone"


@pytest.mark.parametrize("there", [False, True])
def test_bf16_trains(tiny, tmp_path, monkeypatch, there):
    """Half precision is used where there are instructions for it, and nowhere else."""
    images, products = set(), set()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": there})

    def look(self, noisy, *told):
        if torch.is_grad_enabled():
            images.add(noisy.dtype)
            products.add((self.D @ torch.ones(self.D.shape[1], 1)).dtype)
        return forward(self, noisy, *told)

    forward = PatchSC.forward
    monkeypatch.setattr(PatchSC, "forward", look)
    state = trained(but(tiny, precision="bf16", steps=7), tmp_path)
    assert state.weights["average"]["C"].dtype == torch.float32
    assert math.isfinite(rows(tiny, tmp_path)[-1]["training_psnr"])
    assert images == {torch.float32}
    assert products == {torch.bfloat16 if there else torch.float32}
