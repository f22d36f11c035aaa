"""The short forms of full disks, jumping clocks, two at once, and killed set-ups."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lessons_lib.training import ConfigError, read_run, train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="forks"),
]

RUN = """
model = "dncnn"
sigma_255 = 25
dataset = "samples"
options = {layers = 3, width = 2}
[[stage]]
crop = 20
batch = 2
steps = 2
"""


def run(script: str, *words: str) -> str:
    """What a script of this folder says; it must end well."""
    path = Path(__file__).with_name(script)
    done = subprocess.run([sys.executable, path, *words], capture_output=True, text=True)
    if "a disk cannot be mounted" in done.stderr:
        pytest.skip("no right to mount a small disk")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a tmpfs")
@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root may mount a disk")
@pytest.mark.parametrize("command", ["evaluation", "fetch", "training", "export"])
def test_a_full_disk(command: str) -> None:
    assert "2 full disks" in run("mishaps.py", "full-disk", command, "--count", "2")


@pytest.mark.parametrize("command", ["evaluation", "training"])
def test_a_clock_that_jumps(command: str) -> None:
    assert "1 runs" in run("mishaps.py", "clock", command, "--count", "1")


@pytest.mark.parametrize("command", ["evaluation", "fetch", "training", "export"])
def test_two_at_once(command: str) -> None:
    assert "1 times two" in run("mishaps.py", "twice", command, "--count", "1")


def test_a_killed_set_up() -> None:
    assert "1 kills" in run("setups.py", "--count", "1")


def test_a_stage_that_another_process_has_ended_is_not_taken_up(tmp_path: Path) -> None:
    """Seen by two at once; a stage that has become longer since is the same case."""
    config = tmp_path / "toy.toml"
    config.write_text(RUN)
    train(read_run(config), tmp_path, device="cpu")
    config.write_text(RUN.replace("steps = 2", "steps = 3"))
    with pytest.raises(ConfigError, match="end of stage 1: another process"):
        train(read_run(config), tmp_path, device="cpu")
