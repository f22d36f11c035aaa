"""The playground without a browser: what it computes, and what each of its controls does."""

import io
import re
import socket
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import lessons_lib
from lessons_lib import classical, data
from lessons_lib.cli import main
from lessons_lib.degradations import JPEG, BayerMosaic, BicubicDown, GaussianNoise
from lessons_lib.images import ImageError, Photo, read_image, write_image
from lessons_lib.metrics import psnr
from lessons_lib.viz import playground as module
from lessons_lib.viz.playground import Playground, draw, fit, opened, playground, window
from lessons_lib.viz.trials import PROBLEMS, attempt, fitting, spoil, suggest, watched_memory

NOISE, COMPRESSED, MOSAIC, SMALLER, NOTHING = PROBLEMS


def photo(channels: int = 3, size: int = 48) -> Tensor:
    return data.sample("astronaut", gray=channels == 1, size=size)


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


# --- what is computed -------------------------------------------------------------------------


def test_what_happens_is_what_the_degradations_do() -> None:
    clean = photo()
    noisy = spoil(clean, NOISE, 25)
    assert torch.equal(noisy.pixels, GaussianNoise(25 / 255)(clean, "playground"))
    assert torch.equal(spoil(clean, COMPRESSED, 10).pixels, JPEG(10)(clean))
    mosaic = spoil(clean, MOSAIC, "GRBG")
    assert mosaic.pixels.shape == (1, 1, 48, 48)
    assert torch.equal(mosaic.degraded, BayerMosaic("GRBG")(clean))
    small = spoil(photo(3, 49), SMALLER, 3)
    assert small.clean is not None
    assert small.clean.shape == small.degraded.shape == (1, 3, 48, 48)
    assert torch.equal(small.degraded[..., 1::3, 1::3], BicubicDown(3)(small.clean))
    own = spoil(clean, NOTHING, None)
    assert own.clean is None
    assert own.degraded is own.pixels is clean
    with pytest.raises(ImageError, match="needs colours"):
        spoil(photo(1), MOSAIC, "RGGB")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.task)
def test_what_is_offered_fits(problem, channels: int) -> None:
    if problem.in_colour and channels == 1:
        pytest.skip("happens to colours only")
    case = spoil(photo(channels), problem, problem.usual)
    names = fitting(case)
    begin = suggest(case)
    assert begin
    assert set(begin) <= set(names)
    assert len(begin) == len(set(begin))
    estimate = attempt(case, names[0]).estimate
    assert estimate.shape == case.degraded.shape or problem is MOSAIC


def test_weights_are_offered_where_they_are_for_the_setting() -> None:
    names = fitting(spoil(photo(), COMPRESSED, 10))
    assert {"noisy", "groupsc-jpeg-10", "groupsc-jpeg-20"} <= set(names)
    assert "groupsc-jpeg-40" not in names
    gray = fitting(spoil(photo(1), NOISE, 25))
    assert not [name for name in gray if "color" in name]
    trained = [name for name in gray if name not in classical.METHODS]
    first = [name for name in trained if re.search(r"gray-25(-plus|-minus)?$", name)]
    assert trained[: len(first)] == first
    colour = fitting(spoil(photo(), NOISE, 25))
    assert colour.index("groupsc-color-50") < colour.index("groupsc-gray-25")


def test_there_is_something_for_each_value() -> None:
    for problem in PROBLEMS:
        for value in problem.values:
            assert suggest(spoil(photo(), problem, value))


def test_a_trial_measures_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    case = spoil(photo(), NOISE, 25)
    shares: list[float] = []
    trial = attempt(case, "dct", shares.append)
    expected = classical.dct(case.pixels, 25 / 255)
    assert torch.equal(trial.estimate, expected)
    assert trial.psnr == pytest.approx(psnr(expected.clamp(0, 1), photo()).item())
    assert shares[-1] == 1
    assert trial.seconds > 0
    assert attempt(spoil(photo(), NOTHING, None), "dct").psnr is None

    def hungry(noisy: Tensor, sigma: float, progress: object = None) -> Tensor:
        blocks = [torch.ones(25_000) for _ in range(3000)]  # 300 MB
        return noisy + 0 * blocks[0].sum()

    monkeypatch.setitem(classical.METHODS, "dct", classical.Method(hungry, "takes memory"))
    for _ in range(2):  # what was used before is given back, and counts again
        megabytes = attempt(case, "dct").megabytes
        assert megabytes is not None
        assert 250 < megabytes < 700


def test_memory_is_not_known_without_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psutil", None)
    with watched_memory() as rise:
        assert rise() is None


def test_a_large_photograph_is_cut_or_made_smaller_and_it_is_said() -> None:
    large = torch.rand(1, 3, 60, 100)
    cut, note = fit(large, 40, cut=True)
    assert torch.equal(cut, large[..., 10:50, 30:70])
    assert "100 × 60 pixels" in note
    assert "40 × 40" in note
    small, note = fit(large, 40, cut=False)
    assert small.shape == (1, 3, 24, 40)
    assert "smaller, to 40 × 24" in note
    assert fit(large, 100, cut=True) == (large, "")


def test_a_window_stays_inside_and_reaches_the_corners() -> None:
    for zoom in module.ZOOMS:
        for share in (0.0, 0.3, 1.0):
            rows, columns = window((50, 81), zoom, share, 1 - share)
            assert 0 <= rows.start < rows.stop <= 50
            assert 0 <= columns.start < columns.stop <= 81
            assert rows.stop - rows.start == round(50 / zoom)
    assert window((50, 80), 4, 1.0, 0.0) == (slice(0, 12), slice(60, 80))
    assert window((50, 80), 1, 0.7, 0.2) == (slice(0, 50), slice(0, 80))


def test_a_pane_has_the_one_picture_on_the_left_and_the_other_on_the_right() -> None:
    image, left = torch.full((1, 1, 40, 40), 0.2), torch.full((1, 3, 40, 40), 0.8)
    part = window((40, 40), 2, 0.5, 0.5)
    pane = decoded(draw(image, left, part, 0.25))
    assert pane.shape == (480, 480, 3)
    assert (pane[:, :118] == 204).all()
    assert (pane[:, 122:] == 51).all()
    assert {0, 255} <= set(pane[:, 118:122].ravel().tolist()), "a line on any ground"
    assert (decoded(draw(image, left, part, 0.0)) == 51).all()
    assert (decoded(draw(image, left, part, 1.0)) == 204).all()


# --- the controls -----------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Playground:
    """A small photograph, ready to be restored."""
    monkeypatch.delenv("LESSONS_WIDGETS", raising=False)
    desk = Playground(tmp_path / "restored")
    desk.side.value = 128
    desk.photo.value = "astronaut"
    return desk


def said(desk: Playground) -> str:
    return "".join(output["text"] for output in desk.messages.outputs)


def titles(desk: Playground) -> list[str]:
    return [pane.children[0].value for pane in desk.panes.children]


def choose(desk: Playground, *names: str) -> None:
    for number, method in enumerate(desk.methods):
        method.value = names[number] if number < len(names) else module.NOTHING


def upload(desk: Playground, name: str, content: bytes) -> None:
    entry = {"name": name, "content": memoryview(content), "size": len(content), "type": ""}
    desk.upload.value = ({**entry, "last_modified": datetime.now(UTC)},)


def test_it_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LESSONS_WIDGETS", "0")
    assert playground() is None
    monkeypatch.delenv("LESSONS_WIDGETS")
    assert playground() is not None


def test_restoring_shows_a_pane_for_each_method(desk: Playground) -> None:
    assert len(desk.panes.children) == 2
    case = desk.case
    assert case is not None
    assert case.clean is not None
    assert f"{psnr(case.pixels.clamp(0, 1), case.clean).item():.2f} dB" in titles(desk)[0]
    assert desk.value.value == 25
    choose(desk, "dct", "noisy", "dct")
    desk.run.click()
    assert [title.partition("</b>")[0] for title in titles(desk)] == [
        f"<b>{name}" for name in ("degraded", "clean", "dct", "noisy")
    ]
    assert desk.trials[0].psnr is not None
    assert f"{desk.trials[0].psnr:.2f} dB" in titles(desk)[2]
    assert " MB" in titles(desk)[2]
    assert not desk.run.disabled
    assert desk.progress.layout.visibility == "hidden"


def test_the_line_and_the_zoom_are_shared(desk: Playground) -> None:
    choose(desk, "dct", "noisy")
    desk.run.click()
    desk.left.value = "clean"
    desk.split.value, desk.zoom.value, desk.across.value, desk.down.value = 25, 4, 100, 0
    part = window((128, 128), 4, 1.0, 0.0)
    clean, estimate = desk.pictures()["clean"][0], desk.trials[0].estimate
    expected = decoded(draw(estimate, clean, part, 0.25))
    panes = [decoded(pane.children[1].value) for pane in desk.panes.children]
    assert np.array_equal(panes[2], expected)
    assert np.array_equal(panes[1], decoded(draw(clean, clean, part, 0)))
    left = expected.shape[1] // 4 - 2
    assert np.array_equal(panes[2][:, :left], panes[1][:, :left])
    assert np.array_equal(panes[2][:, :left], panes[3][:, :left])
    assert not np.array_equal(panes[2], panes[3])
    same = desk.panes.children
    desk.residual.value = True
    assert desk.panes.children == same, "nothing jumps"
    grey = decoded(desk.panes.children[1].children[1].value)
    assert (np.abs(grey.astype(int) - 128) <= 1).all(), "the clean one has no error"


def test_saving_writes_what_was_restored(desk: Playground) -> None:
    desk.save.click()
    assert "press Restore first" in said(desk)
    assert not desk.folder.exists()
    choose(desk, "dct")
    desk.run.click()
    desk.save.click()
    (path,) = desk.folder.iterdir()
    assert path.name == "astronaut-dct.png"
    assert str(desk.folder.resolve()) in said(desk)
    saved, estimate = read_image(path).pixels, desk.trials[0].estimate.clamp(0, 1)
    assert torch.allclose(saved, estimate, atol=0.5 / 255 + 1e-6)


def test_a_photograph_of_ones_own(desk: Playground, tmp_path: Path) -> None:
    write_image(tmp_path / "in.tif", Photo(photo(3, 160), bits=16))
    upload(desk, "C:\\holidays\\sea.tif", (tmp_path / "in.tif").read_bytes())
    assert desk.photo.value == "sea.tif"
    assert "160 × 160 pixels: the 128 × 128 pixels in its middle" in said(desk)
    assert said(desk).count("\n") == 1
    desk.problem.value = NOTHING
    assert desk.value.disabled
    assert [title.partition("</b>")[0] for title in titles(desk)] == ["<b>degraded"]
    assert "estimated sigma" in titles(desk)[0]
    desk.shrink.value, desk.gray.value = module.SHRINK, True
    assert desk.case is not None
    assert desk.case.pixels.shape == (1, 1, 128, 128)
    desk.photo.value = "coins"
    assert "sea.tif" in desk.photo.options


def test_a_photograph_by_its_path(desk: Playground, tmp_path: Path) -> None:
    write_image(tmp_path / "sea.png", Photo(photo(1, 64)))
    desk.path.value = f" {tmp_path / 'sea.png'} "
    assert desk.photo.value == "sea.png"
    assert desk.case is not None
    assert desk.case.pixels.shape == (1, 1, 64, 64)
    desk.path.value = str(tmp_path / "absent.png")
    assert said(desk) == f"{tmp_path / 'absent.png'}: no such file\n"
    assert desk.photo.value == "sea.png"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "broken.png: the file is empty"),
        (b"no picture", "broken.png: not a PNG, JPEG, TIFF, WebP or BMP image"),
    ],
)
def test_a_file_that_is_no_photograph_is_said_in_one_line(
    desk: Playground, content: bytes, reason: str
) -> None:
    before = desk.photo.value
    upload(desk, "broken.png", content)
    assert said(desk) == f"{reason}\n"
    assert desk.photo.value == before
    assert desk.panes.children


def test_what_cannot_be_is_said_in_one_line_and_does_not_last(desk: Playground) -> None:
    desk.photo.value = "camera"
    desk.problem.value = MOSAIC
    assert said(desk) == "the photograph is gray: a sensor's mosaic needs colours\n"
    assert desk.run.disabled
    assert not desk.panes.children
    desk.run.click()
    desk.photo.value = "coffee"
    assert "gray" not in said(desk)
    assert not desk.run.disabled
    assert desk.value.options == ("RGGB", "BGGR", "GRBG", "GBRG")


def test_a_method_that_fails_does_not_stop_the_others(
    desk: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(noisy: Tensor, sigma: float, progress: object = None) -> Tensor:
        raise RuntimeError("out of\nluck")

    monkeypatch.setitem(classical.METHODS, "nlm", classical.Method(fails, "fails"))
    choose(desk, "nlm", "dct")
    desk.run.click()
    assert [trial.method for trial in desk.trials] == ["dct"]
    assert said(desk).splitlines()[-1] == "out of luck"


def test_methods_that_still_fit_stay_chosen(desk: Playground) -> None:
    choose(desk, "dct", "noisy", "ffdnet-gray")
    desk.value.value = 50
    assert [method.value for method in desk.methods[:3]] == ["dct", "noisy", "ffdnet-gray"]
    assert desk.trials == []
    desk.problem.value = SMALLER
    assert desk.methods[0].value == "bicubic"
    assert desk.value.description == "times"


def test_opened_takes_no_folders_along() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), (255, 0, 0)).save(buffer, "PNG")
    name, pixels = opened({"name": "../../etc/x.png", "content": buffer.getvalue()})
    assert name == "x.png"
    assert pixels[0, :, 0, 0].tolist() == [1, 0, 0]


# --- lessons play, as far as it goes without JupyterLab -----------------------------------------


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["play", *arguments])
    captured = capsys.readouterr()
    assert end.value.code == 2
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert "--port" in refused(capsys, "--port", str(server.getsockname()[1]))


def test_a_library_without_the_course(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lessons_lib, "__file__", str(tmp_path / "lessons_lib" / "__init__.py"))
    assert "notebooks/playground.ipynb" in refused(capsys)
