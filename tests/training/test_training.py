"""Training: what it learns, that nothing stops it for good, and that it sees no test image."""

import itertools
import math
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image
from tensorboardX.proto import event_pb2

from lessons_lib import data
from lessons_lib.evaluation import leaks
from lessons_lib.metrics import psnr
from lessons_lib.models import build
from lessons_lib.tasks import Examples
from lessons_lib.training import ConfigError, Run, read_run, train, train_queue, trained_model
from lessons_lib.training.crops import Crops
from lessons_lib.training.loop import crop_psnr, restoration_loss
from lessons_lib.training.state import read_state

ROOT = Path(__file__).parents[2]
TINY = """
model = "sc"
sigma_255 = 25
dataset = "samples"
crop = 20
batch = 4
steps = 60
learning_rate = 1e-3
schedule = "cosine"
monitor_every = 7
dictionary_patches = 2000
options = {patch = 5, atoms = 24, steps = 4}
"""


# Paces at which a training's first step shows where it began.
STILL = {"C": 1e-9, "D": 1e-9, "W": 1e-9, "raw_thresholds": 1e-9}


@pytest.fixture
def tiny(tmp_path) -> Run:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return read_run(path)


@pytest.fixture(scope="module")
def crops() -> Crops:
    return Crops(
        Run("x", "sc", 25.0, dataset="samples", crop=20, batch=6, dictionary_patches=3000), 1
    )


# The loop ------------------------------------------------------------------------------------


def test_training_denoises_better(tiny, tmp_path):
    state = train(tiny, tmp_path, device="cpu")
    assert state.finished
    scores = [row["held_out_psnr"] for row in state.log]
    assert scores[-1] > scores[0] + 1
    crops = Crops(tiny, 1).fixed("held out")
    clean, noisy = crops.clean, crops.degraded
    model = trained_model(tiny, tmp_path / "tiny")
    with torch.no_grad():
        gain = psnr(model(noisy), clean) - psnr(noisy, clean)
    assert gain.mean() > 5
    rows = (tmp_path / "tiny" / "log.csv").read_text().splitlines()
    assert len(rows) == 1 + len(state.log) == 1 + 10
    # What is kept of a finished run is its weights, and nothing to go on with.
    assert (set(state.weights), state.snapshot) == ({"model", "average"}, {})


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
    state = train(tiny, tmp_path, device="cpu")
    seen = {}
    for file in (tmp_path / "tiny" / "tensorboard").iterdir():
        content = file.read_bytes()
        while content:  # length, its checksum, an event, its checksum
            (length,) = struct.unpack("<Q", content[:8])
            event = event_pb2.Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            seen |= {(v.tag, event.step): v.simple_value for v in event.summary.value}
    for row in state.log:
        for name in row.keys() - {"step"}:
            if math.isfinite(row[name]):  # before the first step there is no loss
                assert seen[name, row["step"]] == pytest.approx(row[name], rel=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_sittings_add_up(tiny, tmp_path, optimizer):
    """Cut at a look, off a look, and before the first: always the weights of one sitting."""
    tiny = replace(tiny, optimizer=optimizer)
    whole = train(tiny, tmp_path / "whole", device="cpu")

    class Enough(Exception):
        pass

    for last in (3, 14, 30):

        def stop(progress, last=last):
            if progress.step == last:
                raise Enough

        with pytest.raises(Enough):
            train(tiny, tmp_path / "cut", device="cpu", save_every=0, report=stop)
    cut = train(tiny, tmp_path / "cut", device="cpu")
    assert same(whole, cut)


def same(one, other) -> bool:
    """Whether two states are equal to the last bit, but for the time they took."""
    for attribute in ("weights", "snapshot"):
        a, b = (flat(getattr(state, attribute)) for state in (one, other))
        if a.keys() != b.keys() or not all(torch.equal(a[key], b[key]) for key in a):
            return False
    logs = [repr([row | {"seconds": 0} for row in state.log]) for state in (one, other)]
    return logs[0] == logs[1] and (one.step, one.slowdown) == (other.step, other.slowdown)


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
    assert same(*(read_state(folder / "tiny") for folder in folders))


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
    two, one = (flat(read_state(tmp_path / root / "short").weights) for root in ("two", "one"))
    assert all(torch.isfinite(value).all() for value in two.values())
    # The same gradients but for the order of a sum; Adam has seen all three of them.
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-4, atol=1e-7)


def test_the_time_is_kept(tiny, tmp_path):
    long = replace(tiny, steps=10**6)
    train(replace(tiny, steps=1), tmp_path / "warm", device="cpu")
    state = train(long, tmp_path, minutes=0.1, device="cpu")
    assert 0 < state.step < long.steps
    # Six seconds were granted; a busy machine may make the last step longer than any before.
    assert state.seconds < 12
    assert read_state(tmp_path / "tiny").step == state.step


def test_divergence_is_caught(tiny, tmp_path):
    wild = replace(tiny, learning_rate=3.0, backtrack=0.2)
    state = train(wild, tmp_path, device="cpu")
    assert state.slowdown < 1
    assert state.finished
    assert all(torch.isfinite(value).all() for value in flat(state.weights).values())
    assert state.snapshot_psnr > 15


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_one_wild_batch_does_no_lasting_harm_to_shortened_gradients(
    tiny, tmp_path, monkeypatch, optimizer
):
    def reached(name: str, wild: bool, **changes: float) -> float:
        steps = itertools.count()

        def loss(*arguments):
            return restoration_loss(*arguments) * (1e6 if wild and next(steps) == 3 else 1)

        monkeypatch.setattr("lessons_lib.training.loop.restoration_loss", loss)
        run = replace(tiny, name=name, optimizer=optimizer, eps=1e-8, tolerated_drop=99, **changes)
        return train(run, tmp_path, device="cpu").log[-1]["held_out_psnr"]

    undisturbed = reached("calm", False)
    assert reached("kept", True) < undisturbed - 0.1
    assert reached("shortened", True, max_gradient=1.0) > undisturbed - 0.1


def test_hopeless_divergence_ends(tiny, tmp_path):
    wild = replace(tiny, learning_rate=1e30, backtrack=0.01)
    with pytest.raises(ConfigError, match="diverges"):
        train(wild, tmp_path, device="cpu")


def test_a_finished_run_starts_another(tiny, tmp_path):
    first = train(replace(tiny, steps=4), tmp_path, device="cpu")
    other = replace(
        tiny,
        name="next",
        start="tiny",
        model="groupsc",
        learning_rate=1e-12,
        steps=1,
        options=tiny.options | {"window": 5},
    )
    second = train(other, tmp_path, device="cpu")
    for name, weight in first.weights["average"].items():
        torch.testing.assert_close(second.weights["model"][name], weight)
    with pytest.raises(ConfigError, match="not finished"):
        train(replace(other, name="third", start="nobody"), tmp_path, device="cpu")


def test_a_weight_learns_at_its_own_pace(tiny, tmp_path):
    """Ten times the pace is ten times the first step, and the others' steps are as they were."""
    start, plain, paced = (
        train(replace(tiny, name=name, steps=steps, paces=paces), tmp_path, device="cpu")
        for name, steps, paces in (
            ("start", 1, STILL),
            ("plain", 1, {}),
            ("paced", 1, {"raw_thresholds": 10}),
        )
    )
    for name, first in start.weights["model"].items():
        step, faster = (state.weights["model"][name] - first for state in (plain, paced))
        assert step.abs().max() > 0
        factor = 10 if name == "raw_thresholds" else 1
        torch.testing.assert_close(faster, factor * step, rtol=1e-3, atol=1e-7)


def test_an_orthogonal_step_moves_all_directions_alike(tiny, tmp_path):
    def moved(name, steps, **how):
        state = train(replace(tiny, name=name, steps=steps, **how), tmp_path, device="cpu")
        return state.weights["model"]

    start = moved("start", 1, paces=STILL)
    adam, muon = moved("adam", 1), moved("muon", 1, optimizer="muon")
    for name in ("C", "D", "W"):
        one, other = (torch.linalg.svdvals(new[name] - start[name]) for new in (adam, muon))
        # Sixteen, for Newton's iteration leaves the directions with next to no gradient behind.
        assert other[15] > 0.5 * other[0]
        assert one[15] < 0.3 * one[0]
    torch.testing.assert_close(adam["raw_thresholds"], muon["raw_thresholds"], rtol=0, atol=1e-7)
    assert 0.1 < (muon["C"] - start["C"]).norm() / (adam["C"] - start["C"]).norm() < 1


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


def test_a_start_from_another_noise_level_is_scaled(tiny, tmp_path):
    """The weights taken over are those of the same network for louder images."""
    options = tiny.options | {"window": 5}
    quiet = replace(tiny, model="groupsc", steps=4, options=options)
    first = train(quiet, tmp_path, device="cpu")
    loud = replace(
        quiet, name="loud", start="tiny", sigma_255=2 * tiny.sigma_255, learning_rate=1e-12, steps=1
    )
    second = train(loud, tmp_path, device="cpu")
    models = [build("groupsc", options) for _ in range(2)]
    ends = (first.weights["average"], second.weights["model"])
    for model, weights in zip(models, ends, strict=True):
        model.load_state_dict(weights)
    noisy = torch.rand(1, 1, 20, 20)
    with torch.no_grad():
        torch.testing.assert_close(models[1](2 * noisy), 2 * models[0](noisy))


def test_another_models_state_is_refused(tiny, tmp_path):
    train(tiny, tmp_path, minutes=0, device="cpu")
    with pytest.raises(ConfigError, match="another model"):
        train(replace(tiny, options={"patch": 3}), tmp_path, device="cpu")
    (tmp_path / "tiny" / "state.pt").write_bytes(b"not a state")
    with pytest.raises(ConfigError, match="no training state"):
        train(tiny, tmp_path, device="cpu")


def test_queue_takes_the_urgent_first_and_continues(tmp_path):
    for name, priority in (("b-late", 2), ("c-first", 1), ("a-late", 2)):
        text = TINY.replace("steps = 60", "steps = 2")
        (tmp_path / f"{name}.toml").write_text(text + f"priority = {priority}\n")
    order: list[str] = []

    def note(run, progress):
        order.append(run.name)

    states = train_queue(tmp_path, tmp_path, minutes=5, device="cpu", report=note)
    assert order == ["c-first"] * 2 + ["a-late"] * 2 + ["b-late"] * 2
    assert all(state.finished for state in states.values())
    assert train_queue(tmp_path, tmp_path, minutes=5, device="cpu", report=note)
    assert len(order) == 6, "finished runs are left alone"


def test_bf16_trains(tiny, tmp_path):
    state = train(replace(tiny, precision="bf16", steps=7), tmp_path, device="cpu")
    assert state.weights["model"]["C"].dtype == torch.float32
    assert math.isfinite(state.log[-1]["training_psnr"])


def test_loss_weighs_pixels_by_their_estimates():
    counts = build("sc", {"patch": 3}).estimate_counts((7, 7))
    clean = torch.zeros(2, 1, 7, 7)
    for row, column, weight in ((0, 0, 1 / 9), (0, 3, 3 / 9), (3, 3, 1.0)):
        wrong = clean.clone()
        wrong[0, 0, row, column] = 0.5
        loss = restoration_loss(wrong, clean, counts)
        assert loss.item() == pytest.approx((0.5 * weight) ** 2 / 2)


# Data ----------------------------------------------------------------------------------------


def test_a_batch_depends_on_its_step_alone(crops):
    clean, noisy = crops.batch(5)
    crops.batch(17)
    again = crops.batch(5)
    assert torch.equal(clean, again[0])
    assert torch.equal(noisy, again[1])
    assert not torch.equal(clean, crops.batch(6)[0])
    assert clean.shape == noisy.shape == (6, 1, 20, 20)


def test_noise_has_its_level_and_is_not_clipped(crops):
    noise = torch.cat([noisy - clean for clean, noisy in map(crops.batch, range(40))])
    assert noise.std().item() == pytest.approx(25 / 255, rel=0.02)
    assert abs(noise.mean().item()) < 0.002
    noisy = torch.cat([crops.batch(step)[1] for step in range(20)])
    assert noisy.min() < 0


def test_crops_are_turned_and_mirrored(crops):
    """Cut from one image whose pixels are all different, a crop shows how it was turned."""
    image = torch.arange(24 * 24).remainder(251).reshape(1, 24, 24).byte()
    only = Crops.__new__(Crops)
    only.run, only.training = replace(crops.run, batch=40), [image]
    clean, _ = only.batch(0)
    values = (clean * 255).round().long()[:, 0]
    steps = {(int(v[1, 0] - v[0, 0]) % 251, int(v[0, 1] - v[0, 0]) % 251) for v in values}
    assert steps == {(a, b) for s in (1, -1) for t in (24, -24) for a, b in
                     ((s % 251, t % 251), (t % 251, s % 251))}  # fmt: skip


def test_held_out_images_are_not_trained_on(crops):
    assert len(crops.held_out) == 2
    assert len(crops.training) == 7
    for image in crops.held_out:
        assert not any(
            image.shape == other.shape and torch.equal(image, other) for other in crops.training
        )


def test_dictionary_has_unit_centred_atoms(crops):
    atoms = crops.dictionary(5, 30)
    torch.testing.assert_close(atoms.norm(dim=0), torch.ones(30))
    assert atoms.mean(dim=0).abs().max() < 1e-6


# The leak guard ------------------------------------------------------------------------------


def as_dataset(folder: Path, name: str, pixels: np.ndarray, **how) -> data.Dataset:
    Image.fromarray(pixels).save(folder / name, **how)
    digest = data._sha256(folder / name)
    file = data.File(name, (folder / name).stat().st_size, digest, ())
    entry = data.Entry("mine", "", "mixed", "train", "", "", "", (file,))
    return data.Dataset(entry, folder, (file,))


def test_a_test_image_is_refused_under_any_name_and_format(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    known = dict.fromkeys(leaks.pixel_hashes(image), "Secret/01.png")
    monkeypatch.setattr(leaks, "test_pixels", lambda: known)
    gray = (data.to_gray(image)[0, 0] * 255).round().byte().numpy()
    for disguise, name in ((pixels, "holiday.png"), (pixels, "x.bmp"), (gray, "gray.tif")):
        with pytest.raises(leaks.LeakError, match=r"Secret/01\.png"):
            leaks.refuse_test_images(as_dataset(tmp_path, name, disguise))
    pixels[3, 4, 1] ^= 1
    leaks.refuse_test_images(as_dataset(tmp_path, "other.png", pixels))


def test_a_test_file_is_refused_by_its_hash(tmp_path, monkeypatch):
    mine = as_dataset(tmp_path, "a.png", np.zeros((9, 9), dtype=np.uint8))
    secret = replace(mine.entry, name="Secret", role="test")
    monkeypatch.setattr(leaks, "test_pixels", dict)
    monkeypatch.setattr(data, "registry", lambda: {"Secret": secret})
    with pytest.raises(leaks.LeakError, match=r"Secret/a\.png"):
        leaks.refuse_test_images(mine)


def test_the_table_of_test_pixels_is_true():
    """Every row of a test set on this machine is what its image hashes to; skipped if none is."""
    shipped = leaks.test_pixels()
    sets = {place.split("/")[0] for place in shipped.values()}
    assert {"BSD68", "Set12", "CBSD68", "Classic5", "LIVE1", "Set5"} <= sets
    for name in ("Set12", "Set5"):
        if data.locate(name) is None:
            pytest.skip(f"{name} is not on this machine")
        for _, image in data.load(name):
            assert all(digest in shipped for digest in leaks.pixel_hashes(image))


# Configs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "runs").rglob("*.toml")), ids=lambda p: p.stem)
def test_runs_in_the_queue_are_valid(path):
    run = read_run(path)
    assert run.name == path.stem
    if run.start:
        start = path.parent / f"{run.start}.toml"
        before = read_run(start).priority < run.priority
        assert before or start.parent != path.parent, "what a run starts from must come before it"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("batchsize = 3", "did you mean 'batch'"),
        ("batch = 3.5", "batch = 3.5"),
        ("steps = 0", "steps must be positive"),
        ('model = "resnet"', "unknown model"),
        ("options = {patches = 3}", "patches"),
        ('options = {patch = "nine"}', "patch"),
        ('schedule = "linear"', "schedule"),
        ('precision = "fp8"', "precision"),
        ("ema = 1.0", "ema"),
        ("max_gradient = -1", "max_gradient"),
        ("learning_rate = nan", "learning_rate"),
        ("paces = {kapa = 2}", "unknown weight 'kapa'"),
        ("paces = {W = 0}", "pace of W must be positive"),
        ("optimizer = 'sgd'", "'adam' or 'muon'"),
        ("crop = ", "Invalid value"),
    ],
)
def test_bad_configs_are_refused(tmp_path, line, says):
    path = tmp_path / "bad.toml"
    key = line.split(" ")[0]
    kept = [other for other in TINY.splitlines() if other.split(" ")[0] != key]
    path.write_text("\n".join([*kept, line]))
    with pytest.raises(ConfigError, match=says):
        read_run(path)


def test_missing_keys_and_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_run(tmp_path / "none.toml")
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(ConfigError, match="model and sigma_255"):
        read_run(tmp_path / "empty.toml")
    with pytest.raises(ConfigError, match="no run"):
        train_queue(tmp_path / "nowhere", tmp_path, minutes=1)


def test_crops_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="smaller than a crop"):
        Crops(Run("x", "sc", 25.0, dataset="samples", crop=1000), 1)
    with pytest.raises(ConfigError, match="is gray"):
        Crops(Run("x", "sc", 25.0, dataset="samples", crop=20), 3)


def test_schedules():
    run = Run("x", "sc", 25.0)
    assert run.rate(0) == 6e-4
    assert run.rate(31_999) == 6e-4
    assert run.rate(32_000) == pytest.approx(6e-4 * 0.35)
    assert run.rate(119_999) == pytest.approx(6e-4 * 0.35**3)
    cosine = replace(run, schedule="cosine")
    assert cosine.rate(0) == 6e-4
    assert cosine.rate(60_000) == pytest.approx(3e-4)
    assert cosine.rate(119_999) < 1e-9
