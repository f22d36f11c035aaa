"""The command line on good input: real photographs of every kind, in and out."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lessons_lib import __version__, checkpoints, classical, data, demosaicking
from lessons_lib.cli import main, progress
from lessons_lib.cli.options import METHODS_HELP
from lessons_lib.degradations import GaussianNoise
from lessons_lib.evaluation import scores
from lessons_lib.evaluation.best import best_for, best_weights
from lessons_lib.evaluation.methods import MethodError, restore
from lessons_lib.images import Photo, read_image, write_image, write_images
from lessons_lib.metrics import psnr
from lessons_lib.tasks import TASKS

COMMAND = [sys.executable, "-m", "lessons_lib"]


def run(*arguments: object, expect: int = 0) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    assert caught.value.code == expect


def noisy_photo(channels: int = 1, bits: int = 8, alpha: bool = False) -> tuple[Photo, Tensor]:
    clean = data.sample("astronaut", gray=channels == 1, size=64)
    noisy = GaussianNoise(25 / 255)(clean)
    mask = torch.linspace(0, 1, 64 * 64).reshape(1, 1, 64, 64) if alpha else None
    return Photo(noisy, mask, bits), clean


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("bits", "alpha", "suffix"),
    [
        (8, False, ".png"),
        (8, False, ".jpg"),
        (8, False, ".bmp"),
        (8, False, ".tif"),
        (8, True, ".png"),
        (8, True, ".tif"),
        (16, False, ".png"),
        (16, False, ".tif"),
        (16, True, ".png"),
        (16, True, ".tif"),
        (32, False, ".tif"),
    ],
)
def test_denoise_keeps_what_the_file_is(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    channels: int,
    bits: int,
    alpha: bool,
    suffix: str,
) -> None:
    photo, clean = noisy_photo(channels, bits, alpha)
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    write_image(source, photo)
    before = source.read_bytes()
    run("denoise", source, target, "--sigma", 25, "--method", "dct")
    given, restored = read_image(source), read_image(target)
    assert restored.bits == bits
    assert restored.pixels.shape == clean.shape
    if given.alpha is None:
        assert restored.alpha is None
    else:
        assert restored.alpha is not None
        assert torch.equal(restored.alpha, given.alpha)
    assert psnr(restored.pixels, clean) > psnr(given.pixels, clean) + 3
    assert source.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert re.search(r"64 x 64 \w+ denoised with dct at sigma 25 in [\d.]+ s", captured.err)


def test_one_format_into_another(tmp_path: Path) -> None:
    photo, _ = noisy_photo(3, 16)
    write_image(tmp_path / "in.tif", photo)
    for suffix, bits in {".png": 16, ".jpg": 8, ".BMP": 8, ".TIFF": 16}.items():
        target = tmp_path / f"out{suffix}"
        run("denoise", tmp_path / "in.tif", target, "--sigma", 25, "--method", "dct")
        assert read_image(target).bits == bits


def test_an_old_output_is_replaced(tmp_path: Path) -> None:
    photo, _ = noisy_photo()
    write_image(tmp_path / "in.png", photo)
    (tmp_path / "out.png").write_text("old")
    run("denoise", tmp_path / "in.png", tmp_path / "out.png", "--sigma", 25, "--method", "noisy")
    assert torch.equal(
        read_image(tmp_path / "out.png").pixels, read_image(tmp_path / "in.png").pixels
    )


@pytest.mark.parametrize(
    ("sigma", "method"), [("1e-9", "dct"), ("1e300", "dct"), ("1e300", "dictionary")]
)
def test_any_positive_sigma_is_fine(tmp_path: Path, sigma: str, method: str) -> None:
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    write_image(source, noisy_photo()[0])
    run("denoise", source, target, "--sigma", sigma, "--method", method)
    assert target.exists()


@pytest.mark.parametrize("channels", [1, 3])
def test_denoise_with_trained_weights(tmp_path: Path, channels: int, capsys) -> None:
    """Weights for gray images take each channel of a colour photograph for one."""
    photo, clean = noisy_photo(channels)
    write_image(tmp_path / "in.png", photo)
    given = ["--sigma", 25, "--model", "sc-gray-25", "--device", "cpu"]
    run("denoise", tmp_path / "in.png", tmp_path / "out.png", *given)
    assert "denoised with sc-gray-25 at sigma 25" in capsys.readouterr().err
    restored = read_image(tmp_path / "out.png").pixels
    assert psnr(restored, clean) > psnr(photo.pixels.clamp(0, 1), clean) + 4
    tiny = Photo(torch.rand(1, channels, 1, 3))
    write_image(tmp_path / "tiny.png", tiny)
    run("denoise", tmp_path / "tiny.png", tmp_path / "out.png", *given)
    assert read_image(tmp_path / "out.png").pixels.shape == tiny.pixels.shape


@pytest.mark.slow
def test_the_real_command_denoises_a_real_photograph(tmp_path: Path) -> None:
    clean = data.sample("camera", size=128)
    write_image(tmp_path / "noisy.png", Photo(GaussianNoise(25 / 255)(clean)))
    arguments = ["denoise", "noisy.png", "out.png", "--sigma", "25", "--fast"]
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    assert "denoised with dictionary at sigma 25" in done.stderr.splitlines()[-1]
    noisy, restored = read_image(tmp_path / "noisy.png"), read_image(tmp_path / "out.png")
    assert psnr(restored.pixels, clean) > psnr(noisy.pixels, clean) + 5


def test_evaluate_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    run("evaluate", "--method", "dct", "--sigma", 25, "--limit", 2, "--json")
    captured = capsys.readouterr()
    score = json.loads(captured.out, parse_constant=lambda token: pytest.fail(token))
    assert score["method"] == "dct"
    assert score["dataset"] == "samples"
    assert score["sigma"] == 25
    assert score["images"] == len(score["per_image"]) == 2
    assert score["psnr"] == pytest.approx(sum(row["psnr"] for row in score["per_image"]) / 2)
    assert 25 < score["psnr"] < 35
    assert 0 < score["ssim"] < 1
    assert score["seconds_per_image"] > 0
    assert score["protocol"]["ssim"] == "gaussian"


def test_evaluate_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    run("evaluate", "--method", "noisy", "--dataset", "samples", "--sigma", 25, "--limit", 1)
    out = capsys.readouterr().out
    assert "noisy on samples, sigma 25" in out
    assert re.search(r"^astronaut\.png +20\.\d\d +0\.\d{4}", out, re.M)
    assert re.search(r"^mean +20\.\d\d", out, re.M)


def test_data_list_and_verify(capsys: pytest.CaptureFixture[str]) -> None:
    run("data", "list")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == data.dataset_names()
    assert lines[1].endswith("yes")
    run("data", "list", "BSD68")
    assert "non-commercial" in capsys.readouterr().out
    run("data", "verify", "samples")
    assert "all 9 files are as registered" in capsys.readouterr().out
    run("data", "fetch", "samples")
    assert "9 files in" in capsys.readouterr().out


def test_data_verify_names_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Set5").mkdir()
    (tmp_path / "Set5" / "baby_GT.bmp").write_bytes(b"BM")
    monkeypatch.setenv("LESSONS_DATA", str(tmp_path))
    monkeypatch.setenv("LESSONS_CACHE", str(tmp_path / "cache"))
    run("data", "verify", "Set5", expect=1)
    captured = capsys.readouterr()
    assert "5 of 5 files are wrong" in captured.out
    assert "2 bytes instead of" in captured.err
    assert captured.err.count("missing") == 4


def test_doctor_says_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    run("doctor")
    lines = capsys.readouterr().out.splitlines()
    assert [line[:5].strip() in ("ok", "note") for line in lines] == [True] * len(lines)
    subjects = [line[5:14].strip() for line in lines]
    assert subjects == [
        "Python",
        "torch",
        "device",
        "threads",
        "memory",
        "SPAMS",
        "widgets",
        "data",
    ]


def test_doctor_on_a_broken_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("torch", "spams", "psutil"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("LESSONS_DATA", "/no/such/folder")
    run("doctor", expect=1)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("FAIL torch") and "install torch" in line for line in lines)
    assert any(line.startswith("note SPAMS") and "the library's own" in line for line in lines)
    assert any("LESSONS_DATA=/no/such/folder is no folder" in line for line in lines)


def test_help_is_instant_because_torch_stays_away() -> None:
    code = (
        "import sys, lessons_lib.cli\n"
        "try: lessons_lib.cli.main(['--help'])\n"
        "except SystemExit: assert not {'torch', 'numpy', 'rich'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "denoise" in done.stdout


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    run("--version")
    assert capsys.readouterr().out == f"lessons {__version__}\n"
    run()
    assert "denoise" in capsys.readouterr().out
    run("data")
    assert "verify" in capsys.readouterr().out
    for command in (
        "doctor",
        "restore",
        "denoise",
        "evaluate",
        "explain-gap",
        "models",
        "report",
        "train",
        "play",
    ):
        run(command, "-h")
        assert "Usage" in capsys.readouterr().out


def test_help_names_every_method() -> None:
    denoisers, demosaickers, enlargers = METHODS_HELP.partition(".")[0].split("; to ")
    assert re.findall(r"\w+", denoisers.removeprefix("One of ")) == list(classical.METHODS)
    assert demosaickers.removeprefix("demosaic, ").split(" or ") == list(demosaicking.METHODS)
    assert enlargers.removeprefix("enlarge, ").split(" or ") == list(TASKS["sr"].methods())
    assert all(task.quick in {*task.methods(), ""} for task in TASKS.values())


def test_the_shortest_command_takes_the_weights_that_score_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for channels, sigma, best in ((1, 22, "nsr-gray-25"), (3, 55, "ffdnet-color")):
        photo, clean = noisy_photo(channels)
        write_image(tmp_path / "in.png", photo)
        run("denoise", tmp_path / "in.png", tmp_path / "out.png", "--sigma", sigma)
        assert f"denoised with {best} at sigma {sigma}" in capsys.readouterr().err
        assert psnr(read_image(tmp_path / "out.png").pixels, clean) > 24
    run("denoise", tmp_path / "in.png", tmp_path / "out.png", "--sigma", 25, "--fast")
    assert "denoised with dictionary" in capsys.readouterr().err


def test_best_weights_of_each_task() -> None:
    cards = {card.name: card for card in checkpoints.cards().values()}
    for task, channels, value in (
        ("denoise", 1, 25.0),
        ("denoise", 3, 5.0),
        ("denoise", 1, 300.0),
        ("blind", 3, 10.0),
        ("camera", 3, 0.5),
        ("demosaic", 3, None),
        ("jpeg", 1, 33),
        ("jpeg", 1, 75),
        ("sr", 1, 3),
    ):
        card = cards[best_weights(TASKS[task], channels, value)]
        alike = {name for name, other in cards.items() if other.options["channels"] == channels}
        assert card.serves(task)
        assert card.options["channels"] == channels
        rivals = [s for s in scores.stored(data.shipped("scores")) if not s.stale and not s.overlap]
        ours = {(s.dataset, s.task, s.setting): s.psnr for s in rivals if s.method == card.name}
        exact = {
            name: psnr
            for name, psnr in ours.items()
            if TASKS[name[1]].option == TASKS[task].option and TASKS[task].value(name[2]) == value
        }
        for score in rivals:
            key = (score.dataset, score.task, score.setting)
            if key in exact and score.method in alike and score.dataset in ("BSD68", "CBSD68"):
                assert score.psnr <= exact[key]
    with pytest.raises(MethodError, match="no weights are for quality 95"):
        best_weights(TASKS["jpeg"], 1, 95)


def test_weights_for_louder_noise_are_not_taken_and_doubted_where_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "in.png", noisy_photo(1)[0])
    for name, made_for, sigma, doubted in (
        ("lista-gray-25", "sigma=25", 2, True),
        ("lista-gray-25", "sigma=25", 9, True),
        ("lista-gray-25", "sigma=25", 12, False),
        ("lista-gray-25", "sigma=25", 40, False),
        ("ffdnet-gray", "sigma<=75", 3, True),
        ("ffdnet-gray", "sigma<=75", 4, False),
    ):
        run(
            *("denoise", tmp_path / "in.png", tmp_path / "out.png"),
            *("--sigma", sigma, "--model", name),
        )
        said = f"{name}: was trained for {made_for}, and may do harm at sigma={sigma}\n"
        assert (said in capsys.readouterr().err) is doubted


@pytest.mark.parametrize("task", ["denoise", "blind"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0, 3.0])
def test_faint_noise_is_not_made_worse(task: str, channels: int, sigma: float) -> None:
    """Weights for louder noise would: what they cannot draw is more than there is to remove."""
    clean = data.sample("astronaut", size=96, gray=channels == 1)
    noisy = clean + sigma / 255 * torch.randn(
        clean.shape, generator=torch.Generator().manual_seed(0)
    )
    found = TASKS[task].pose(noisy, sigma if task == "denoise" else None, "the photograph")
    method = best_for(TASKS[task], found)
    restored = restore(method, found.planes, found.degradation, "denoise")
    assert psnr(restored, clean) > psnr(noisy, clean) - 0.2


def test_several_photographs_into_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that is bad does not stop the others, and the exit code tells."""
    names = ["a.png", "b.tif", "c.jpg"]
    for name in names:
        write_image(tmp_path / name, noisy_photo(3)[0])
    (tmp_path / "bad.png").write_text("no image")
    given = [tmp_path / name for name in ("a.png", "bad.png", "b.tif", "c.jpg", "absent.png")]
    options = ["--out", tmp_path / "new" / "out", "--sigma", 25, "--method", "dct"]
    run("denoise", *given, *options, expect=2)
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == names
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert "not a PNG" in lines[1]
    assert "no such file" in lines[4]
    run("denoise", tmp_path / "a.png", tmp_path / "c.jpg", *options)


def test_a_folder_in_which_nothing_was_written_is_not_left(tmp_path: Path) -> None:
    run("denoise", tmp_path / "absent.png", "--out", tmp_path / "out", "--sigma", 25, expect=2)
    assert not (tmp_path / "out").exists()


def test_standard_input_and_output(tmp_path: Path) -> None:
    photo, clean = noisy_photo(3)
    write_image(tmp_path / "in.jpg", photo)
    done = subprocess.run(
        [*COMMAND, "denoise", "-", "-", "--sigma", "25", "--method", "dct"],
        input=(tmp_path / "in.jpg").read_bytes(),
        capture_output=True,
        check=True,
    )
    assert done.stderr.decode().startswith("standard output: 64 x 64 RGB denoised")
    (tmp_path / "out").write_bytes(done.stdout)
    assert done.stdout.startswith(b"\x89PNG")
    assert psnr(read_image(tmp_path / "out").pixels, clean) > 25


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell closes the streams")
@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams(tmp_path: Path, closed: str) -> None:
    write_image(tmp_path / "in.png", noisy_photo()[0])
    words = f"-m lessons_lib denoise in.png out.png --sigma 25 --method dct {closed}"
    done = subprocess.run(f'"{sys.executable}" {words}', shell=True, cwd=tmp_path)
    assert done.returncode == 0
    assert read_image(tmp_path / "out.png").pixels.shape == (1, 1, 64, 64)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
@pytest.mark.parametrize("after", [0.15, 0.3, 0.5, 0.8, 1.2])
def test_ctrl_c_at_once(tmp_path: Path, after: float) -> None:
    """While modules are loaded, too, which abort at an exception: no trace, and exit code 130."""
    write_image(tmp_path / "in.png", Photo(torch.rand(1, 3, 1500, 1500)))
    arguments = ["denoise", str(tmp_path / "in.png"), str(tmp_path / "out.png"), "--sigma", "25"]
    with subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE) as process:
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=60)
    # Before the first of our own lines Python ends itself as it sees fit.
    assert process.returncode in (130, -signal.SIGINT)
    assert process.returncode != 130 or words == b""
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


def test_progress_in_a_log_is_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 0.0, *(float(tick) for tick in range(0, 200, 2))] * 2)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.progress_bar("work", quicker="use a sledge") as show:
        for tick in range(40):
            show(tick / 100)
    words = capsys.readouterr().err
    assert "\r" not in words
    assert words.count("use a sledge") == 1
    assert 2 <= words.count("work: ") <= 6


def test_shell_completion_is_to_be_had(capsys: pytest.CaptureFixture[str]) -> None:
    run("--help")
    assert "--install-completion" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_being_stopped_leaves_nothing(tmp_path: Path, name: str, code: int) -> None:
    # Of a stack the first page is written while the second is at work.
    write_images(tmp_path / "in.tif", [Photo(torch.rand(1, 3, 1500, 1500))] * 2)
    arguments = ["denoise", str(tmp_path / "in.tif"), str(tmp_path / "out.tif")]
    with subprocess.Popen(
        [*COMMAND, *arguments, "--sigma", "25", "--method", "dct"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # As a shell starts it, even where nohup has started the tests.
        preexec_fn=lambda: signal.signal(getattr(signal, name), signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        seen = b""
        while b"%" not in seen:
            byte = process.stderr.read(1)
            assert byte, seen
            seen += byte
        process.send_signal(getattr(signal, name))
        out, rest = process.communicate(timeout=60)
    assert process.returncode == code
    assert b"Traceback" not in rest
    assert out == b""
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


@pytest.mark.skipif(os.name == "nt", reason="pipes differ")
def test_a_reader_that_leaves_early() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, "data", "list"], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_on_a_full_disk() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "data", "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == "lessons: cannot write the output: No space left on device\n"


def test_sigma_is_what_the_library_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[float] = []

    def listen(noisy: Tensor, sigma: float, progress: object = None) -> Tensor:
        heard.append(sigma)
        return noisy

    monkeypatch.setitem(classical.METHODS, "dct", classical.Method(listen, "listens"))
    write_image(tmp_path / "in.png", noisy_photo()[0])
    run("denoise", tmp_path / "in.png", tmp_path / "out.png", "--sigma", 51, "--method", "dct")
    assert math.isclose(heard[0], 0.2)
