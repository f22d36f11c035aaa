"""``lessons train`` as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lessons_lib.cli import main

ROOT = Path(__file__).parents[2]
TINY = """
model = "sc"
sigma_255 = 25
dataset = "samples"
dictionary = {patches = 500}
options = {patch = 4, atoms = 8, steps = 2}
[[stage]]
name = "short"
crop = 16
batch = 2
steps = 3
"""


def lessons(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lessons_lib", "train", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=False,
    )


@pytest.mark.slow
def test_one_run_and_the_queue(tmp_path):
    (tmp_path / "runs").mkdir()
    for name in ("one", "two"):
        (tmp_path / "runs" / f"{name}.toml").write_text(TINY)
    done = lessons("runs/one.toml", "--minutes", 2, "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("one  1 of 1  100 %")
    assert (tmp_path / "runs" / "one.csv").is_file()
    (tmp_path / "runs" / "full").mkdir()
    (tmp_path / "runs" / "full" / "long.toml").write_text(TINY)
    done = lessons("--list", cwd=tmp_path)
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "run",
        "one",
        "two",
        "full/long",
    ]
    assert [line.rpartition("  ")[2] for line in done.stdout.splitlines()[1:]] == [
        "finished",
        "short: 3 of 3 steps, not begun",
        "short: 3 of 3 steps, not begun",
    ]
    done = lessons("--queue", "--minutes", 2, "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()[1:]] == ["finished"] * 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give either"),
        (["a.toml", "--queue"], "give either"),
        (["--list", "--queue"], "give either"),
        (["a.toml", "--device", "tpu"], "auto, cpu, cuda"),
        (["a.toml"], "cannot be read"),
        (["bad.toml"], "did you mean 'steps'"),
        (["--list", "--runs", "nowhere"], "holds no run"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, arguments, says):
    (tmp_path / "bad.toml").write_text("model = 'sc'\nsigma_255 = 25\n[[stage]]\nstep = 3")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["train", *arguments])
    said = capsys.readouterr()
    assert end.value.code == 2
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert says in said.err
    assert "Traceback" not in said.err
