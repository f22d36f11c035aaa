"""Bad input: one line on stderr, exit code 2, nothing written."""

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from lessons_lib.cli import main
from lessons_lib.images import Photo, write_image


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command line, see it refuse, and return its one line."""

    def check(*arguments: object) -> str:
        before = tree(tmp_path)
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert caught.value.code == 2
        assert captured.out == ""
        assert captured.err.startswith("lessons: ")
        assert captured.err.endswith("\n")
        assert captured.err.count("\n") == 1
        assert tree(tmp_path) == before
        return captured.err

    return check


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens on the discard port, so no request leaves this machine."""
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    write_image(path, Photo(torch.rand(1, 3, 40, 40, generator=torch.manual_seed(0))))
    return path


def empty(path: Path) -> None:
    path.touch()


def truncated(path: Path) -> None:
    write_image(path, Photo(torch.rand(1, 3, 64, 64)))
    path.write_bytes(path.read_bytes()[:5000])


def text(path: Path) -> None:
    path.write_text("not an image\n")


def folder(path: Path) -> None:
    path.mkdir()


def missing(path: Path) -> None:
    pass


def tiny(path: Path) -> None:
    write_image(path, Photo(torch.rand(1, 1, 50, 5)))


def cmyk(path: Path) -> None:
    Image.new("CMYK", (40, 40)).save(path, "JPEG")


def animated(path: Path) -> None:
    frames = [Image.new("L", (40, 40), level) for level in (0, 99)]
    frames[0].save(path, "PNG", save_all=True, append_images=frames[1:])


def nan(path: Path) -> None:
    values = np.full((40, 40), 0.5, np.float32)
    values[3, 3] = np.nan
    tifffile.imwrite(path, values)


def bomb(path: Path) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    body = b"IDAT" + zlib.compress(bytes(100))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
            for chunk in (header, body, b"IEND")
        )
    )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (missing, "no such file"),
        (empty, "empty"),
        (truncated, "cannot be read"),
        (text, "not a PNG, JPEG, TIFF, WebP or BMP image"),
        (folder, "is a folder"),
        (tiny, "5 x 50 pixels"),
        (cmyk, "CMYK"),
        (animated, "animated"),
        (nan, "NaN"),
        (bomb, "million pixels"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_inputs(
    tmp_path: Path, refused: Callable[..., str], make: Callable[[Path], None], reason: str
) -> None:
    make(tmp_path / "in.png")
    message = refused("denoise", tmp_path / "in.png", tmp_path / "out.png", "--sigma", 25, "--fast")
    assert reason in message


@pytest.mark.parametrize("sigma", ["0", "-25", "nan", "inf", "-inf", "twenty", "", "2,5"])
def test_sigmas(photo: Path, refused: Callable[..., str], sigma: str) -> None:
    output = photo.with_name("out.png")
    assert "sigma" in refused("denoise", photo, output, "--sigma", sigma)
    assert "sigma" in refused("evaluate", "--sigma", sigma)


def test_tiles_that_share_all_of_themselves(photo: Path, refused: Callable[..., str]) -> None:
    arguments = ("--sigma", 25, "--model", "nlrn-small-gray-25", "--overlap", 50)
    assert "overlap 50" in refused("denoise", photo, photo.with_name("out.png"), *arguments)


def test_tiles_of_what_has_none(photo: Path, refused: Callable[..., str]) -> None:
    output = photo.with_name("out.png")
    for arguments in (["--method", "dct"], ["--model", "dncnn-gray-25@cszn"]):
        message = refused("denoise", photo, output, "--sigma", 25, "--overlap", 9, *arguments)
        assert "--overlap" in message


def test_outputs(photo: Path, refused: Callable[..., str]) -> None:
    (photo.parent / "folder.png").mkdir()
    for name, reason in {
        "out.gif": "suffix '.gif'",
        "out": "suffix ''",
        "absent/out.png": "no folder",
        "folder.png": "is a folder",
        "photo.png/out.png": "no folder",
        "x" * 300 + ".png": "",
    }.items():
        assert reason in refused("denoise", photo, photo.parent / name, "--sigma", 25)


def test_transparency_that_would_be_lost(tmp_path: Path, refused: Callable[..., str]) -> None:
    source = tmp_path / "in.png"
    write_image(source, Photo(torch.rand(1, 3, 40, 40), torch.rand(1, 1, 40, 40)))
    message = refused("denoise", source, tmp_path / "out.jpg", "--sigma", 25)
    assert "transparency" in message


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_output_that_is_the_input(photo: Path, refused: Callable[..., str]) -> None:
    soft, hard = photo.with_name("soft.png"), photo.with_name("hard.png")
    soft.symlink_to(photo)
    os.link(photo, hard)
    roundabout = photo.parent / ".." / photo.parent.name / photo.name
    for output in (photo, soft, hard, roundabout):
        assert "the input itself" in refused("denoise", photo, output, "--sigma", 25)
    assert "the input itself" in refused("denoise", soft, photo, "--sigma", 25)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_folder_without_permission(photo: Path, refused: Callable[..., str]) -> None:
    locked = photo.parent / "locked"
    locked.mkdir(mode=0o500)
    if os.access(locked, os.W_OK):
        pytest.skip("this user may write everywhere")
    assert "permission" in refused("denoise", photo, locked / "out.png", "--sigma", 25)


def test_names(photo: Path, refused: Callable[..., str]) -> None:
    output = photo.with_name("out.png")
    arguments = ["denoise", photo, output, "--sigma", 25, "--method"]
    assert "did you mean 'dictionary'" in refused(*arguments, "dictionnary")
    assert "known: noisy, dct" in refused(*arguments, "zzzz")
    assert "did you mean 'Set12'" in refused("evaluate", "--sigma", 25, "--dataset", "set12")
    assert "did you mean 'nlm'" in refused("evaluate", "--sigma", 25, "--method", "nml")
    for command in ("list", "fetch", "verify"):
        assert "did you mean 'BSD68'" in refused("data", command, "BSD86")
    assert "no clean references" in refused("evaluate", "--sigma", 25, "--dataset", "RNI15")


def test_usage(photo: Path, refused: Callable[..., str]) -> None:
    assert "OUT" in refused("denoise", photo, "--sigma", 25)
    assert "--sigma" in refused("denoise", photo, photo.with_name("out.png"))
    assert "--sigmo" in refused("denoise", photo, photo, "--sigmo", 25)
    assert "denoize" in refused("denoize")
    assert "limit" in refused("evaluate", "--sigma", 25, "--limit", 0)
    assert "NAME" in refused("data", "fetch")


def test_what_is_to_be_written_is_clear(photo: Path, refused: Callable[..., str]) -> None:
    other = photo.with_name("other.png")
    assert "--out" in refused("denoise", photo, photo, other, "--sigma", 25)
    (photo.parent / "sub").mkdir()
    twin = photo.parent / "sub" / photo.name.upper()
    twin.write_bytes(photo.read_bytes())
    message = refused("denoise", photo, twin, "--out", photo.parent / "new", "--sigma", 25)
    assert "two photographs would become" in message
    same = refused("denoise", photo, "--out", photo.parent, "--sigma", 25)
    assert "the input itself" in same
    assert "no such file" in refused("denoise", "absent.png", "-", "--sigma", 25)


def test_options_that_contradict(photo: Path, refused: Callable[..., str]) -> None:
    output = photo.with_name("out.png")
    given = ["denoise", photo, output, "--sigma", 25]
    assert "--fast" in refused(*given, "--fast", "--method", "dct")
    assert "--model" in refused(*given, "--model", "sc-gray-25", "--method", "dct")
    assert "--range" in refused(*given, "--range", 5, 5)
    assert "--range" in refused(*given, "--range", 0, "nan")
    assert "quick" in refused("restore", photo, output, "--task", "jpeg", "--fast")
    assert "--pattern" in refused("restore", photo, output, "--task", "demosaic")
    far = refused("restore", photo, output, "--task", "jpeg", "--quality", 95)
    assert "no weights are for quality 95" in far
    assert "Invalid value" not in far


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(photo: Path, refused: Callable[..., str]) -> None:
    for method in ("--fast", "--model=sc-gray-25"):
        given = ["denoise", photo, photo.with_name("out.png"), "--sigma", 25, method]
        assert "CUDA" in refused(*given, "--device", "cuda")
    assert "CUDA" in refused("evaluate", "--sigma", 25, "--device", "cuda")


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_that_lead_in_a_circle(photo: Path, refused: Callable[..., str]) -> None:
    one, other = photo.with_name("one.png"), photo.with_name("other.png")
    one.symlink_to(other)
    other.symlink_to(one)
    refused("denoise", photo, one, "--sigma", 25, "--method", "dct")
    refused("denoise", one, photo.with_name("out.png"), "--sigma", 25, "--method", "dct")


def test_a_folder_for_scores_that_cannot_be(photo: Path, refused: Callable[..., str]) -> None:
    arguments = ["evaluate", "--sigma", 25, "--method", "noisy", "--store", photo / "scores"]
    assert str(photo / "scores") in refused(*arguments)


@pytest.mark.usefixtures("offline")
def test_a_folder_of_data_that_is_none(
    tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LESSONS_DATA", "/nowhere")
    monkeypatch.setenv("LESSONS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    message = refused("evaluate", "--sigma", 25, "--dataset", "Set12", "--fast")
    assert "LESSONS_DATA=/nowhere is no folder" in message
    assert "not on this machine" in refused("data", "verify", "Set12")


@pytest.mark.usefixtures("offline")
def test_a_set_that_is_not_here_without_network(
    tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LESSONS_DATA", raising=False)
    monkeypatch.setenv("LESSONS_CACHE", str(tmp_path))
    (tmp_path / "Set12").mkdir()
    message = refused("evaluate", "--sigma", 25, "--dataset", "Set12", "--json")
    for part in ("Set12/01.png", "raw.githubusercontent.com: no connection", "LESSONS_DATA"):
        assert part in message
    assert "lessons data fetch Set5" in refused("data", "verify", "Set5")


@pytest.mark.skipif(os.name == "nt", reason="POSIX limits")
def test_a_full_disk(photo: Path) -> None:
    """The kernel refuses to let files grow beyond a few bytes, as a full disk does."""
    before = tree(photo.parent)
    code = (
        "import resource, sys\n"
        "from lessons_lib.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "main(sys.argv[1:])"
    )
    arguments = ["denoise", str(photo), str(photo.with_name("out.png")), "--sigma", "25"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--method", "dct"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "cannot be written" in done.stderr
    assert tree(photo.parent) == before


def test_the_real_command_on_a_missing_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lessons_lib", "denoise", "no.png", "out.png", "--sigma", "25"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "lessons: no.png: no such file\n"
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_belongs_and_the_other_way_round(refused, photo, tmp_path):
    (tmp_path / "folder").mkdir()
    given = ["denoise", photo, "--sigma", 25, "--method", "noisy"]
    assert "photo.png is a file, not a folder" in refused(*given, "--out", photo)
    assert "folder: is a folder; name a file" in refused(*given, tmp_path / "folder")
    assert "--csv" in refused("grade", tmp_path / "folder", "--csv", tmp_path / "folder")


def test_noise_is_refused_in_the_unit_in_which_it_was_given(refused, photo, tmp_path):
    assert "not -5" in refused("denoise", photo, tmp_path / "out.png", "--sigma", -5)


def test_a_photograph_too_small_for_a_score_is_named(refused, tmp_path):
    (tmp_path / "tiny").mkdir()
    write_image(tmp_path / "tiny" / "dot.png", Photo(torch.rand(1, 3, 3, 3)))
    line = refused("evaluate", "--dataset", tmp_path / "tiny", "--sigma", 25, "--method", "noisy")
    assert "dot.png: too small to score" in line


def test_of_several_photographs_the_refused_one_is_named(photo, tmp_path, capsys):
    write_image(tmp_path / "tiny.png", Photo(torch.rand(1, 3, 3, 3)))
    given = ["denoise", photo, tmp_path / "tiny.png", "--out", tmp_path / "out"]
    with pytest.raises(SystemExit, match="2"):
        main([str(each) for each in (*given, "--sigma", 25, "--method", "dct")])
    assert f"lessons: {tmp_path / 'tiny.png'}: the image has 3 x 3" in capsys.readouterr().err


def test_what_standard_input_brought_is_called_so(tmp_path):
    given = ["-m", "lessons_lib", "denoise", "-", str(tmp_path / "out.png"), "--sigma", "25"]
    done = subprocess.run(
        [sys.executable, *given], input="no picture", capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("lessons: standard input: not a PNG")
