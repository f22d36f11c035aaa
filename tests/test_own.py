"""One's own photographs, weights and methods at the real command line, by the course's protocol."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lessons_lib import data, denoise
from lessons_lib.checkpoints import load_model, save_model
from lessons_lib.cli import main
from lessons_lib.degradations import BayerMosaic, BicubicDown, GaussianNoise
from lessons_lib.images import Photo, read_image, write_image
from lessons_lib.metrics import psnr
from lessons_lib.models import build
from lessons_lib.ops.colour import rgb_to_luma
from lessons_lib.ops.resize import imresize

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "docs" / "own_method.py"
SHIPPED = ROOT / "data" / "weights"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two colour photographs, something else, and a folder with another photograph."""
    folder = tmp_path / "my photos"
    (folder / "more").mkdir(parents=True)
    for name, sample in (("b.png", "coffee"), ("a.tif", "astronaut"), ("more/c.png", "chelsea")):
        write_image(folder / name, Photo(data.sample(sample, gray=False, size=48)))
    (folder / "notes.txt").write_text("Holidays.\n")
    return folder


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command line; what it says, on stdout if it succeeds, else on stderr."""

    def run(*arguments: object, expect: int = 0) -> str:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert end.value.code == expect, captured.err
        if expect:
            assert captured.out == ""
            assert captured.err.count("\n") == 1
        return captured.err if expect else captured.out

    return run


@pytest.fixture
def scores(photos: Path, say: Callable[..., str]) -> Callable[..., list[float]]:
    """PSNR of the two photographs, by `lessons evaluate`."""

    def run(*arguments: object) -> list[float]:
        given = arguments if "--task" in arguments else ("--sigma", 25, *arguments)
        command = "evaluate", "--dataset", photos, "--json", "--device", "cpu"
        found = json.loads(say(*command, *given))
        return [row["psnr"] for row in found["per_image"]]

    return run


def expected(
    photos: Path, method: Callable[[Tensor], Tensor], degrade: Callable[[Tensor, str], Tensor]
) -> list[float]:
    """The same by hand: estimates clipped, rounded to 8 bits, all channels together."""
    found = []
    for name in ("a.tif", "b.png"):
        clean = read_image(photos / name).pixels
        estimate = (method(degrade(clean, name)).clamp(0, 1) * 255).round() / 255
        found.append(psnr(estimate, clean).item())
    return found


def noise(clean: Tensor, name: str) -> Tensor:
    return GaussianNoise(25 / 255)(clean, name)


def module(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    path.write_text(f"import torch\n{text}\n", encoding="utf-8")
    return path


def test_a_folder_is_scored_as_a_data_set(
    photos: Path, scores: Callable[..., list[float]], say: Callable[..., str]
) -> None:
    assert scores("--method", "noisy") == pytest.approx(expected(photos, lambda y: y, noise))
    table = say("evaluate", "--dataset", photos, "--method", "noisy", "--sigma", 25, "--limit", 1)
    assert "scored on rgb" in table
    assert "a.tif" in table
    assert "b.png" not in table


def test_one_gray_photograph_makes_the_folder_gray(photos: Path, say: Callable[..., str]) -> None:
    write_image(photos / "z.png", Photo(data.sample("camera", size=48)))
    table = say("evaluate", "--dataset", photos, "--method", "noisy", "--sigma", 25)
    assert "scored on gray" in table
    assert "no mosaic" in say("evaluate", "--dataset", photos, "--task", "demosaic", expect=2)


def test_what_is_no_folder_of_photographs(
    tmp_path: Path, photos: Path, say: Callable[..., str]
) -> None:
    def refused(dataset: object) -> str:
        return say("evaluate", "--dataset", dataset, "--method", "dct", "--sigma", 25, expect=2)

    assert "no such folder" in refused(tmp_path / "absent")
    assert "unknown data set ''" in refused("")
    (tmp_path / "empty").mkdir()
    assert "no photographs" in refused(tmp_path / "empty")
    (photos / "broken.png").write_text("no picture")
    assert "broken.png: not a PNG" in refused(photos)


def test_the_file_of_scores(tmp_path: Path, photos: Path, say: Callable[..., str]) -> None:
    given = ["evaluate", "--dataset", photos, "--method", "dct", "--sigma", 25]
    told = json.loads(say(*given, "--json", "--csv", tmp_path / "scores.csv"))
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["a.tif", "b.png"]
    for row, image in zip(rows, told["per_image"], strict=True):
        assert (row["method"], row["dataset"], row["setting"]) == ("dct", str(photos), "sigma=25")
        assert {key: float(row[key]) for key in ("psnr", "ssim", "seconds")} == {
            key: image[key] for key in ("psnr", "ssim", "seconds")
        }
    assert "--csv" in say(*given, "--csv", tmp_path, expect=2)
    assert "--csv" in say(*given, "--csv", tmp_path / "scores.csv" / "scores.csv", expect=2)
    # A folder that is missing is made, as it is for the table of a class's points.
    say(*given, "--csv", tmp_path / "absent" / "scores.csv")
    with (tmp_path / "absent" / "scores.csv").open(encoding="utf-8", newline="") as file:
        assert [row["psnr"] for row in csv.DictReader(file)] == [row["psnr"] for row in rows]
    # Found out before anything is measured, for root too, who may write everywhere else.
    assert "cannot be written" in say(*given, "--csv", "/proc/scores.csv", expect=2)


def test_a_file_of_weights_scores_as_the_same_weights_by_name(
    tmp_path: Path, photos: Path, scores: Callable[..., list[float]], say: Callable[..., str]
) -> None:
    for suffix in (".json", ".safetensors"):
        shutil.copy(SHIPPED / f"sc-gray-25{suffix}", tmp_path / f"mine@home{suffix}")
    mine = tmp_path / "mine@home.safetensors"
    assert scores("--model", mine) == scores("--model", "sc-gray-25")
    one = ["--dataset", photos, "--sigma", 25, "--limit", 1, "--json"]
    told = json.loads(say("evaluate", *one, "--model", mine))
    assert told["weights_sha256"] == json.loads(mine.with_suffix(".json").read_text())["sha256"]
    write_image(tmp_path / "in.png", Photo(data.sample("camera", size=48)))
    say("denoise", tmp_path / "in.png", tmp_path / "out.png", "--sigma", 25, "--model", mine)
    wrong = "evaluate", "--task", "jpeg", "--quality", 10, "--model", mine
    assert "is for sigma=25" in say(*wrong, expect=2)


def test_weights_that_are_not_what_their_card_says(tmp_path: Path, say: Callable[..., str]) -> None:
    def refused(path: Path) -> str:
        return say("evaluate", "--sigma", 25, "--limit", 1, "--model", path, expect=2)

    mine = tmp_path / "mine.safetensors"
    assert "no such file" in refused(mine)
    shutil.copy(SHIPPED / "sc-gray-15.safetensors", mine)
    assert "no card beside it, mine.json" in refused(mine)
    shutil.copy(SHIPPED / "sc-gray-25.json", mine.with_suffix(".json"))
    assert "not those that its card describes" in refused(mine)
    mine.with_suffix(".json").write_text("{}")
    assert "no card of weights" in refused(mine)


@pytest.mark.parametrize("name", ["blur", "Network"])
def test_the_template_works_as_it_is(
    name: str, photos: Path, scores: Callable[..., list[float]]
) -> None:
    found = scores("--model", f"{TEMPLATE}:{name}")
    better = expected(photos, lambda y: y, noise)
    assert all(mine > noisy + 3 for mine, noisy in zip(found, better, strict=True))


def test_a_function_is_told_the_noise_on_the_same_scale(
    tmp_path: Path, photos: Path, scores: Callable[..., list[float]]
) -> None:
    path = module(tmp_path, "def darker(noisy, sigma): return noisy - sigma")
    found = scores("--model", f"{path}:darker")
    assert found == pytest.approx(expected(photos, lambda y: y - 25 / 255, noise))


def test_a_network_is_loaded_once_and_does_not_train(
    tmp_path: Path, scores: Callable[..., list[float]]
) -> None:
    text = """
class Net(torch.nn.Module):
    loads = 0
    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.zeros(1))
        self.drop = torch.nn.Dropout(0.5)
    def load(self):
        Net.loads += 1
        assert Net.loads == 1, "loaded twice"
        self.gain.data.fill_(1.0)
    def forward(self, noisy, sigma):
        assert not torch.is_grad_enabled()
        return self.drop(self.gain * noisy)
"""
    assert scores("--model", f"{module(tmp_path, text)}:Net") == scores("--method", "noisy")


def test_other_tasks_tell_what_models_are_told(
    tmp_path: Path, photos: Path, scores: Callable[..., list[float]]
) -> None:
    text = """
def filled(mosaic, mask):
    assert mask.shape == (1, 3, 48, 48)
    return mosaic + 0.5 * (1 - mask)
def bicubic(enlarged): return enlarged
class Doubled(torch.nn.Module):
    scale = 2
    def forward(self, small): return torch.nn.functional.interpolate(small, scale_factor=2)
"""
    path = module(tmp_path, text)
    mosaic = BayerMosaic("RGGB")
    by_hand = expected(
        photos,
        lambda y: y + 0.5 * (1 - mosaic.mask((48, 48))),
        lambda clean, name: mosaic(clean),
    )
    task = ["--task", "demosaic", "--pattern", "RGGB"]
    assert scores(*task, "--model", f"{path}:filled") == pytest.approx(by_hand)
    twice = ["--task", "sr", "--scale", 2]
    assert scores(*twice, "--model", f"{path}:bicubic") == scores(*twice, "--method", "bicubic")
    clean = (rgb_to_luma(read_image(photos / "a.tif").pixels) * 255).round() / 255
    small = BicubicDown(2)(clean)
    large = small.repeat_interleave(2, -1).repeat_interleave(2, -2)
    large = (large.clamp(0, 1) * 255).round() / 255
    inside = (..., slice(2, -2), slice(2, -2))
    first = scores(*twice, "--model", f"{path}:Doubled")[0]
    assert first == pytest.approx(psnr(large[inside], clean[inside]).item())
    assert imresize(small, 2).shape == clean.shape


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        (
            "def f(y, s):\n    return y / missing",
            "f",
            "mine.py:f (line 3): NameError:",
        ),
        ("def f(y): return y", "f", "TypeError"),
        ("def f(y, s): return y[..., 1:]", "f", "returned (1, 3, 48, 47) instead of"),
        ("def f(y, s): return y.numpy()", "f", "instead of a tensor (1, 3, 48, 48)"),
        ("def f(y, s): return y * float('nan')", "f", "gave no finite result"),
        ("def denoiser(y, s): return y", "denoizer", "did you mean 'denoiser'"),
        ("f = 3", "f", "neither a function nor a torch.nn.Module"),
        ("class f: pass", "f", "neither a function nor a torch.nn.Module"),
        ("import no_such_package", "f", "(line 2): ModuleNotFoundError"),
        ("def f(:", "f", "SyntaxError"),
        ("class f(torch.nn.Module):\n    def load(self): open('no.pt')", "f", "No such file"),
    ],
)
def test_errors_of_ones_own_are_one_line_with_the_place(
    tmp_path: Path, photos: Path, say: Callable[..., str], text: str, name: str, reason: str
) -> None:
    path = module(tmp_path, text)
    given = ["evaluate", "--dataset", photos, "--sigma", 25, "--device", "cpu"]
    assert reason in say(*given, "--model", f"{path}:{name}", expect=2)


def test_a_file_that_is_not_there(say: Callable[..., str]) -> None:
    assert "absent.py: no such file" in say(
        "evaluate", "--sigma", 25, "--model", "absent.py:f", expect=2
    )
    assert "ModuleNotFoundError" in say(
        "evaluate", "--sigma", 25, "--model", "no.such.module:f", expect=2
    )


def test_tables_keep_nothing_of_ones_own(
    tmp_path: Path, photos: Path, say: Callable[..., str]
) -> None:
    kept = ["--sigma", 25, "--store", tmp_path / "kept"]
    for own in (["--dataset", photos, "--method", "dct"], ["--model", f"{TEMPLATE}:blur"]):
        assert "--store" in say("evaluate", *kept, *own, expect=2)
    assert not (tmp_path / "kept").exists()


def test_what_is_ones_own_restores_photographs_too(
    tmp_path: Path, photos: Path, say: Callable[..., str]
) -> None:
    source = photos / "b.png"
    model = f"{TEMPLATE}:blur"
    say("denoise", source, tmp_path / "out.png", "--sigma", 25, "--model", model)
    from_array = denoise(np.asarray(Image.open(source)), 25, model)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png")), from_array)
    assert not np.array_equal(from_array, np.asarray(Image.open(source)))


@pytest.mark.slow
def test_the_real_command_from_another_folder_with_what_lies_beside_the_file(
    tmp_path: Path, photos: Path
) -> None:
    (tmp_path / "beside.py").write_text("GAIN = 1.0\n")
    module(tmp_path, "from beside import GAIN\ndef f(noisy, sigma): return GAIN * noisy")
    for name in (f"{tmp_path.name}/mine.py:f", f"{tmp_path.name}.mine:f"):
        arguments = ["--dataset", str(photos), "--sigma", "25", "--model", name]
        done = subprocess.run(
            [sys.executable, "-m", "lessons_lib", "evaluate", *arguments, "--csv", "scores.csv"],
            cwd=tmp_path.parent,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert f"{name} on {photos}, sigma 25" in done.stdout
    assert (tmp_path.parent / "scores.csv").read_text().count("\n") == 3


def test_weights_that_were_just_saved_can_be_scored(
    tmp_path: Path, scores: Callable[..., list[float]]
) -> None:
    """As `lessons models export --folder` leaves them."""
    model = build("dncnn", {"channels": 3, "layers": 3, "width": 4})
    facts = json.loads((SHIPPED / "dncnn-gray-25.json").read_text())
    for known in ("model", "options", "parameters", "sha256"):
        del facts[known]
    save_model(model, tmp_path, **{**facts, "name": "tiny"})
    path = tmp_path / "tiny.safetensors"
    assert load_model(str(path)).sigma == pytest.approx(25 / 255)
    state = model.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in load_model(str(path)).state_dict().items())
    assert all(value > 15 for value in scores("--model", path))
