"""What runs of each task learn from, and how one starts from another."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lessons_lib import data
from lessons_lib.models import build
from lessons_lib.tasks import GOALS, Goal
from lessons_lib.training import (
    ConfigError,
    DictionaryStart,
    Loss,
    Optimizer,
    Run,
    Stage,
    Watch,
    train,
)
from lessons_lib.training.crops import Crops
from lessons_lib.training.files import Files
from lessons_lib.training.log import Log
from lessons_lib.training.start import Learned, learned_by, translate
from lessons_lib.training.state import read_state

LEVELS = [5.0, 10.0, 25.0]
SIZES = {"patch": 5, "atoms": 24, "steps": 4}
COLOUR = SIZES | {"channels": 3}
STAGE = Stage(crop=20, batch=4, steps=30, optimizer=Optimizer(rate=1e-3), watch=Watch(every=15))
GRAY = Run("gray", "sc", 25.0, SIZES, dataset="samples", stages=(STAGE,),
           dictionary=DictionaryStart(patches=1000))  # fmt: skip
BLIND = replace(GRAY, name="blind", sigma_255=0.0, task="blind",
                options=SIZES | {"levels_255": LEVELS})  # fmt: skip
MOSAIC = replace(GRAY, name="mosaic", sigma_255=0.0, task="demosaic", options=COLOUR)
JPEG_RUN = replace(GRAY, name="jpeg", sigma_255=0.0, task="jpeg", quality=10)


def with_stage(run: Run, **changes: object) -> Run:
    """The run with its stage changed."""
    return replace(run, stages=(replace(STAGE, **changes),))


@pytest.fixture(scope="module")
def colours():
    """Parts of the samples that have colours."""
    return [
        data.sample(name, gray=False)[..., top : top + 60, 40:100]
        for name in ("astronaut", "chelsea", "coffee")
        for top in (20, 80, 140)
    ]


@pytest.fixture
def in_colour(monkeypatch, colours):
    """The samples, those of them that have colours."""

    class Some(list):
        sha256 = "0"

    some = Some((f"{number}.png", image) for number, image in enumerate(colours))
    monkeypatch.setattr("lessons_lib.training.crops.data.load", lambda name: some)
    monkeypatch.setattr("lessons_lib.training.crops.refuse_test_images", lambda some: None)


def test_noise_of_any_level_and_the_model_is_told_which():
    examples = Crops(BLIND, replace(STAGE, batch=64), 1).examples(3)
    sigma = examples.told["sigma"]
    assert sigma.shape == (64,)
    assert sigma.min() < 6 / 255 < 19 / 255 < sigma.max() <= 25 / 255
    found = (examples.degraded - examples.clean).flatten(1).std(dim=1)
    torch.testing.assert_close(found, sigma, rtol=0.2, atol=1e-4)


@pytest.mark.usefixtures("in_colour")
def test_mosaics_of_all_four_phases_with_their_masks():
    examples = Crops(MOSAIC, replace(STAGE, batch=40), 3).examples(0)
    mask = examples.told["mask"]
    assert torch.equal(examples.degraded, examples.clean * mask)
    assert torch.equal(mask.sum(dim=1), torch.ones(40, 20, 20))
    assert len({tuple(corner.flatten().tolist()) for corner in mask[..., :2, :2]}) == 4


def test_files_are_compressed_before_they_are_cut():
    """Most crops do not begin at a block's corner, so compressing them would be another image."""
    crops = Crops(JPEG_RUN, STAGE, 1)
    examples = crops.examples(0)
    assert examples.told == {}
    error = (examples.degraded - examples.clean).square().mean().sqrt() * 255
    assert 3 < error < 20
    # The same pixels, turned and mirrored in the same way.
    clean, degraded = (crop - crop.mean() for crop in (examples.clean, examples.degraded))
    assert (clean * degraded).sum() > 0.95 * clean.norm() * degraded.norm()


def test_levels_are_spread_over_each_batch():
    """Each crop's level is alike likely to be any; all batches are about as loud."""
    generator, ones = np.random.default_rng(3), torch.ones(8, 1, 4, 4)
    goal = Goal(levels=(25 / 255, 55 / 255))
    drawn = torch.stack(
        [
            GOALS["blind"].examples(ones, goal, generator).told["sigma"] * 255 / 55
            for _ in range(2000)
        ]
    )
    assert torch.equal((8 * drawn.sort(dim=1).values).int(), torch.arange(8).int().expand(2000, 8))
    for crop in drawn.T:
        assert torch.histc(crop, bins=4, min=0, max=1).sub(500).abs().max() < 100
    apart = torch.rand(2000, 8, generator=torch.Generator().manual_seed(0))
    loudness, before = (levels.square().mean(dim=1).std() for levels in (drawn, apart))
    assert loudness < before / 5


def test_crops_that_are_watched_keep_the_levels_that_they_had():
    generator, pixels = np.random.default_rng(1), torch.zeros(108, 1, 2, 2)
    watched = GOALS["blind"].watched(pixels, Goal(levels=(1.0,)), generator)
    again = np.random.default_rng(1)
    noise = again.standard_normal((108, 1, 2, 2), dtype=np.float32)
    levels = again.uniform(0, 1, size=108).astype(np.float32)
    assert torch.equal(watched.told["sigma"], torch.from_numpy(levels))
    expected = torch.from_numpy(levels[:, None, None, None] * noise)
    torch.testing.assert_close(watched.degraded, expected)


def test_kinds_are_spread_over_each_batch():
    crops = Crops(MIXED, replace(STAGE, batch=8, crop=48), 1)
    for step in range(20):
        examples = crops.examples(step)
        levels = examples.told["sigma"][examples.told["sigma"] > 0]
        assert len(levels) in (2, 3)
        # One below and one above the middle.
        assert levels.min() < 55 / 510 < levels.max()


MIXED = Run("mixed", "dncnn", options={"layers": 4, "width": 8, "loudest_255": 55.0}, task="mixed",
            dataset="samples", stages=(STAGE,))  # fmt: skip


def test_one_network_sees_noise_files_and_enlarged_images():
    examples = Crops(MIXED, replace(STAGE, batch=240, crop=48), 1).examples(0)
    error = examples.degraded - examples.clean
    noisy = examples.told["sigma"] > 0
    found = error.flatten(1).std(dim=1)
    torch.testing.assert_close(found[noisy], examples.told["sigma"][noisy], rtol=0.2, atol=1e-4)
    assert noisy.sum() == 80
    # Files and blurred images are made of bytes, and hardly any pixel of a noisy image is.
    steps = (255 * examples.degraded[~noisy] - (255 * examples.degraded[~noisy]).round()).abs()
    assert steps.max() < 1e-3
    # What has been made smaller and larger again has lost its finest details, a file has blocks:
    # JPEG of high quality differs in a fraction of a grey level, enlargement never so little.
    rough = (examples.clean[~noisy] - examples.degraded[~noisy]).flatten(1).std(dim=1) * 255
    assert rough.min() < 1.5 < 3 < rough.max()


def test_blocks_lie_anywhere_in_a_crop():
    """Steps between neighbouring columns of a flat ramp are largest where blocks meet."""
    ramp = torch.linspace(0.2, 0.6, 48)[None, None, None].expand(60, 4, 48, 48).contiguous()
    goal = MIXED.goal
    examples = GOALS["mixed"].examples(ramp, goal, np.random.default_rng(0))
    noisy = examples.told["sigma"] > 0
    changed = (examples.degraded != examples.clean).flatten(1).any(dim=1)
    steps = examples.degraded[changed & ~noisy].diff(dim=-1).abs().mean(dim=(1, 2))
    assert len(set((steps.argmax(dim=1) % 8).tolist())) >= 4


def test_errors_of_three_kinds_are_not_balanced():
    with pytest.raises(ConfigError, match="no errors to balance"):
        replace(MIXED, stages=(replace(STAGE, loss=Loss(balanced=True)),))


@pytest.mark.usefixtures("in_colour")
@pytest.mark.parametrize("run", [BLIND, MOSAIC, JPEG_RUN, MIXED], ids=lambda run: run.name)
def test_each_task_is_learned(run, tmp_path, monkeypatch):
    if run is not MOSAIC:
        monkeypatch.undo()
    train(with_stage(run, steps=90, watch=Watch(every=30)), tmp_path, device="cpu")
    first, *_, last = Log(Files(tmp_path, run.name).log).rows
    assert last["held_out_psnr"] > first["held_out_psnr"] + 0.1
    assert read_state(Files(tmp_path, run.name).state).options == run.options


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task": "dehaze"}, "unknown task 'dehaze'"),
        ({"task": "jpeg", "sigma_255": 0.0}, "needs a positive quality"),
        ({"quality": 10}, "has no quality"),
        ({"task": "jpeg", "quality": 10}, "no sigma_255"),
        ({"task": "blind", "sigma_255": 0.0}, "levels_255"),
        ({"options": SIZES | {"levels_255": LEVELS}}, "levels_255"),
        ({"task": "demosaic", "sigma_255": 0.0}, "not for 1 channels"),
        ({"task": "jpeg", "quality": 5, "sigma_255": 0.0, "options": COLOUR}, "not for 3"),
        ({"sigma_255": 0.0}, "needs a positive sigma_255"),
    ],
)
def test_what_does_not_go_together_is_refused(change, says):
    with pytest.raises(ConfigError, match=says):
        replace(GRAY, **change)


# One run from another ------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path):
    def make(run: Run) -> Learned:
        train(with_stage(run, steps=1), tmp_path, device="cpu")
        return learned_by(run.name, run, tmp_path)

    return make


def test_from_several_levels_to_one(trained):
    other = trained(BLIND)
    shared = other.weights
    thresholds = shared["raw_thresholds"].abs()
    for sigma_255, wanted in (
        (10.0, thresholds[1]),
        (17.5, (thresholds[1] + thresholds[2]) / 2),
        (50.0, 2 * thresholds[2]),
        (2.5, thresholds[0] / 2),
    ):
        weights = translate(other, replace(GRAY, sigma_255=sigma_255))
        torch.testing.assert_close(weights["raw_thresholds"], wanted.repeat(4, 1))
        assert torch.equal(weights["C"], shared["C"])
    weights = translate(other, JPEG_RUN)
    torch.testing.assert_close(weights["raw_thresholds"], thresholds[0].repeat(4, 1))


def test_the_level_of_a_blind_model_is_the_model_that_starts_from_it(trained):
    other = trained(BLIND)
    blind, single = build("sc", BLIND.options), build("sc", SIZES)
    blind.load_state_dict(other.weights)
    single.start_from(translate(other, replace(GRAY, sigma_255=10.0)))
    image = torch.rand(1, 1, 12, 14)
    torch.testing.assert_close(blind(image, sigma=torch.tensor([10 / 255])), single(image))


def test_from_one_level_to_several(trained):
    other = trained(GRAY)
    weights = translate(other, BLIND)
    mean = other.weights["raw_thresholds"].abs().mean(dim=0)
    torch.testing.assert_close(weights["raw_thresholds"], torch.stack([mean / 5, mean / 2.5, mean]))


def test_a_run_of_one_task_starts_from_another(trained, tmp_path):
    other = trained(GRAY)
    quick = with_stage(JPEG_RUN, steps=1, start="gray", optimizer=Optimizer(rate=1e-12))
    train(quick, tmp_path, device="cpu")
    weights = read_state(Files(tmp_path, "jpeg").state).weights["average"]
    for name, weight in other.weights.items():
        torch.testing.assert_close(weights[name], weight)
