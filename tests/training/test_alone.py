"""Two trainings of one run at once: the second is refused, and nothing is overwritten."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lessons_lib.cli import main
from lessons_lib.training import ConfigError, read_run, read_standings, train, train_queue
from lessons_lib.training.files import Files

TINY = """
model = "dncnn"
sigma_255 = 25
dataset = "samples"
priority = %d
options = {layers = 3, width = 4}
[[stage]]
crop = 20
batch = 2
steps = %d
"""
HOLD = """
import sys
from pathlib import Path
from lessons_lib.training.alone import alone
from lessons_lib.training.files import Files
with alone(Files(Path(sys.argv[1]), "first")):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of two runs."""
    for priority, name in enumerate(("first", "second")):
        (tmp_path / f"{name}.toml").write_text(TINY % (priority, 2))
    return tmp_path


@pytest.fixture
def other(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that trains the first run."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.usefixtures("other")
def test_the_second_training_of_a_run_is_refused(folder, capsys):
    with pytest.raises(ConfigError, match="first is being trained by another process"):
        train(read_run(folder / "first.toml"), folder, device="cpu")
    assert not Files(folder, "first").log.exists()
    with pytest.raises(SystemExit, match="2"):
        main(["train", str(folder / "first.toml"), "--device", "cpu"])
    assert "is being trained by another process" in capsys.readouterr().err


@pytest.mark.usefixtures("other")
def test_a_queue_passes_over_what_others_train(folder):
    first, second = train_queue(folder, minutes=10, device="cpu")
    assert not first.begun
    assert second.finished


@pytest.mark.slow
@pytest.mark.usefixtures("other")
def test_processes_pass_over_together_what_others_train(folder):
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    queue = ["-m", "lessons_lib", "train", "--queue", "--runs", str(folder), "--device", "cpu"]
    subprocess.run([sys.executable, *launch, *queue], check=True, timeout=300)
    first, second = read_standings(folder)
    assert not first.begun
    assert second.finished


def test_a_killed_training_locks_nobody_out(folder, other):
    other.kill()
    other.wait()
    assert train(read_run(folder / "first.toml"), folder, device="cpu").finished


def test_a_queue_reads_a_run_when_its_turn_comes(folder):
    def edit(run, progress):
        if run.name == "first":
            (folder / "second.toml").write_text(TINY % (1, 3))

    train_queue(folder, minutes=10, device="cpu", report=edit)
    assert train(read_run(folder / "second.toml"), folder, device="cpu").step == 3


@pytest.mark.usefixtures("other")
def test_a_queue_passes_over_what_waits_for_what_others_train(folder):
    (folder / "third.toml").write_text(TINY % (2, 2))
    second = folder / "second.toml"
    second.write_text(second.read_text().replace("[[stage]]", '[[stage]]\nstart = "first"'))
    _, waiting, third = train_queue(folder, minutes=10, device="cpu")
    assert not waiting.begun
    assert third.finished
