"""Shipped weights, and checkpoints of others: read without running anything in them."""

import json
import math
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lessons_lib import checkpoints, data
from lessons_lib.camera import CameraNoise
from lessons_lib.checkpoints import CheckpointError, cards, import_published, load_model, save_model
from lessons_lib.degradations import JPEG, BayerMosaic, BicubicDown, GaussianNoise
from lessons_lib.metrics import psnr
from lessons_lib.models import build, restore
from lessons_lib.ops.resize import imresize

SHIPPED = Path(__file__).parents[1] / "data" / "weights"
PAPER_PARAMETERS = {
    ("sc", 1): 68_352,
    ("groupsc", 1): 68_434,
    ("csr", 1): 68_434 + 24,
    ("sc", 3): 119_040,
    ("groupsc", 3): 119_188,
}
FACTS = {
    "sigma_255": 25.0,
    "run": {"steps": 10, "batch": 4, "crop": 30},
    "steps": 10,
    "finished": True,
    "hours": {"a processor": 0.1},
    "curve": [[0, 20.0], [6, 28.5], [10, 29.0]],
    "revision": "1",
    "data": "BSD400",
    "licence": "BSD-3-Clause",
    "data_licence": "research",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of weights in place of the shipped one."""
    (tmp_path / "weights").mkdir()
    monkeypatch.setattr(checkpoints, "shipped", lambda name: tmp_path / name)
    cards.cache_clear()
    yield tmp_path / "weights"
    cards.cache_clear()


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.json")))
def test_shipped_weights_restore_a_photograph(name):
    card, model = cards()[name], load_model(name)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    published = {} if card.task == "blind" else PAPER_PARAMETERS
    expected = published.get((card.model, model.config.channels), card.parameters)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected == card.parameters
    # Four bytes for each weight, and names and shapes, where that is more than files should have.
    most = max(3e6, 4 * card.parameters + 40_000)
    assert (SHIPPED / f"{name}.safetensors").stat().st_size < most
    clean = data.sample("camera", size=80)
    if model.config.channels == 3:
        clean = data.sample("astronaut", gray=False, size=80)
    degraded, told = degrade(card, clean)
    if card.task == "sr" and model.scale == 1:
        degraded = imresize(degraded, card.scale)  # a network that is given what is large already
    restored = restore(model, degraded, **told)
    # How many dB it must gain.
    if card.task == "demosaic":
        gain = 15
    elif card.task == "jpeg":
        gain = 0.4
    elif card.task == "camera":
        gain = 2
    elif card.task == "sr":
        degraded, gain = imresize(degraded, model.scale), 1
    else:
        gain = 4 if told["sigma"] > 10 / 255 else 2
    assert psnr(restored, clean) > psnr(degraded, clean) + gain


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.json")))
def test_shipped_weights_do_not_blow_up_on_stripes_and_chequers(name):
    """No photograph of the data sets is like these, but scanned text and screenshots are."""
    card, model = cards()[name], load_model(name)
    y, x = torch.meshgrid(torch.arange(48), torch.arange(48), indexing="ij")
    for drawn in (x // 2, x // 4 + y // 4, (x + y) // 3):
        clean = (drawn % 2).float().expand(1, model.config.channels, 48, 48)
        degraded, told = degrade(card, clean)
        restored = restore(model, degraded, **told)
        assert restored.min() > -1.5
        assert restored.max() < 2.5


def degrade(card, clean):
    """What weights are to restore, and what the model is told besides."""
    if card.task == "demosaic":
        mosaic = BayerMosaic("GRBG")
        return mosaic(clean), {"mask": mosaic.mask(clean.shape[-2:])}
    if card.task == "jpeg":
        return JPEG(card.quality)(clean), {}
    if card.task == "camera":
        return CameraNoise(shot=0.08, read=0.03)(clean), {}
    if card.task == "sr":
        return BicubicDown(card.scale)(clean), {}
    sigma = card.sigma or 15 / 255
    return GaussianNoise(sigma)(clean), {"sigma": sigma}


def test_every_file_of_weights_has_a_card():
    assert {path.stem for path in SHIPPED.glob("*.safetensors")} == set(cards())
    assert cards()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("sc", {"patch": 3, "atoms": 8, "steps": 2}),
        ("groupsc", {"patch": 3, "atoms": 8, "steps": 9, "variance_reduction": True}),
        ("csr", {"patch": 3, "atoms": 8, "steps": 3, "channels": 3}),
        ("lista", {"patch": 3, "atoms": 9, "steps": 2, "variant": "alista"}),
    ],
)
def test_what_is_saved_is_loaded(folder, kind, options):
    model = build(kind, options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01 * torch.rand_like(parameter)
    card = save_model(model, folder, name="mine", **FACTS)
    assert cards() == {"mine": card}
    loaded = load_model("mine")
    assert loaded.sigma == 25 / 255
    image = torch.rand(1, options.get("channels", 1), 9, 11)
    # Saved tensors lie in memory in rows, whatever they did before; sums may round differently.
    assert torch.allclose(loaded(image), model(image), atol=1e-6)


def test_a_card_says_how_far_its_training_came(folder):
    model = build("sc", {"patch": 3, "atoms": 8, "steps": 2})
    card = save_model(model, folder, name="mine", **FACTS)
    cards.cache_clear()
    assert cards()["mine"].late_gain == card.late_gain == 0.5
    assert card.held_out_psnr == 29.0
    assert card.pixels_in_all == 10 * 4 * 30 * 30
    assert card.hours_in_all == 0.1
    later = replace(card, hours_before=2.0, pixels_before=1000)
    assert (later.hours_in_all, later.pixels_in_all) == (2.1, 1000 + card.pixels_in_all)
    # The only look came after three quarters of the steps: nothing to compare it with.
    assert math.isnan(replace(card, curve=[[10, 29.0]]).late_gain)


def test_unknown_and_damaged_weights_are_refused(folder):
    save_model(build("sc", {"patch": 3, "atoms": 8, "steps": 2}), folder, name="sc-mine", **FACTS)
    with pytest.raises(CheckpointError, match="sc-mine"):
        load_model("sc-mien")
    path = folder / "sc-mine.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + b"\0\0\0\1")
    with pytest.raises(CheckpointError, match="not those that its card describes"):
        load_model("sc-mine")
    path.write_bytes(whole)
    card = json.loads((folder / "sc-mine.json").read_text())
    card["options"]["atoms"] = 9
    (folder / "sc-mine.json").write_text(json.dumps(card))
    cards.cache_clear()
    with pytest.raises(CheckpointError, match="do not fit its card"):
        load_model("sc-mine")


def published_weights() -> dict[str, torch.Tensor]:
    weights = {
        "apply_A.weight": torch.rand(8, 9, 1, 1),
        "apply_D.weight": torch.rand(9, 8, 1, 1),
        "apply_W.weight": torch.rand(9, 8, 1, 1),
    }
    return weights | {f"lmbda.{k}": torch.rand(1, 8, 1, 1) for k in range(3)}


def test_reads_a_training_checkpoint_and_a_bare_state_dict(tmp_path):
    weights = published_weights()
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))])
    whole = {"epoch": 300, "config": {"lr": 6e-4}, "psnr_validation": 29.2}
    whole |= {"state_dict": weights, "optimizer": optimizer.state_dict()}
    torch.save(whole, tmp_path / "ckpt")
    torch.save(weights, tmp_path / "bare")
    image = torch.rand(1, 1, 9, 9)
    first, second = (import_published(tmp_path / name) for name in ("ckpt", "bare"))
    assert torch.equal(first(image), second(image))
    assert first.config.patch == 3


class Malicious:
    """Runs a command when it is unpickled by a loader that trusts its input."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return shutil.copy, (__file__, str(self.target))


def test_nothing_in_a_file_is_executed(tmp_path):
    loot = tmp_path / "loot"
    torch.save({"state_dict": published_weights(), "config": Malicious(loot)}, tmp_path / "evil.pt")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Malicious(loot), protocol=2))
    for name in ("evil.pt", "evil.pkl"):
        with pytest.raises(CheckpointError, match="no checkpoint of plain tensors"):
            import_published(tmp_path / name)
    assert not loot.exists()


def test_files_that_are_no_checkpoint(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("not a checkpoint")
    torch.save([1, 2], tmp_path / "list")
    torch.save({"a": 1}, tmp_path / "numbers")
    torch.save({"a": torch.zeros(2)}, tmp_path / "other")
    for name, message in {
        "missing": "cannot be read",
        "empty": "no checkpoint",
        "text": "no checkpoint",
        "list": "no state dict",
        "numbers": "no state dict",
        "other": "apply_A",
    }.items():
        with pytest.raises(CheckpointError, match=message):
            import_published(tmp_path / name)
