"""What trainings learn from: crops that depend on their step alone, and never a test image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lessons_lib import data
from lessons_lib.evaluation import leaks
from lessons_lib.training import ConfigError, DictionaryStart, Run, Stage
from lessons_lib.training.crops import Crops

RUN = Run("x", "sc", 25.0, dataset="samples", dictionary=DictionaryStart(patches=3000))


@pytest.fixture(scope="module")
def crops() -> Crops:
    return Crops(RUN, Stage(crop=20, batch=6), 1)


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
    only.run, only.stage, only.training = RUN, Stage(crop=20, batch=40), [image]
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


def test_crops_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="smaller than a crop"):
        Crops(RUN, Stage(crop=1000), 1)
    with pytest.raises(ConfigError, match="is gray"):
        Crops(RUN, Stage(crop=20), 3)


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
