"""Full disks, clocks that jump, and two processes at the same work.

    python tests/hardening/mishaps.py full-disk --count 20
    python tests/hardening/mishaps.py clock --count 5
    python tests/hardening/mishaps.py twice --count 5

The work is four commands, run as the command line runs them, in forked children (see kills.py).
What is refused is refused in one line, files are whole or absent, and in the end everything is as
if nothing had happened. A full disk is a small tmpfs, which only root can mount.
"""

import argparse
import atexit
import ctypes
import functools
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from kills import check_evaluation, check_export, check_fetch, serve

from lessons_lib import training
from lessons_lib.checkpoints import read_card
from lessons_lib.cli import main as command_line
from lessons_lib.training.files import Files
from lessons_lib.training.log import Log
from lessons_lib.training.state import read_state

RUN = """
model = "sc"
sigma_255 = 25
dataset = "samples"
options = {patch = 5, atoms = 24, steps = 4}
dictionary = {patches = 2000}
[[stage]]
crop = 20
batch = 4
steps = 12
optimizer = {rate = 1e-3, schedule = "cosine"}
watch = {every = 4}
"""
DISK = 8_000_000  # bytes
PATIENCE = 120  # seconds, after which a child is taken to hang
JUMPS = [0.0, 86_400.0, -3_600.0, 172_800.0, -time.time()]  # seconds; the last is to 1970
CLONE_NEWNS, MS_REC, MS_PRIVATE, MNT_DETACH = 0x20000, 0x4000, 0x40000, 2


def evaluation(folder: Path) -> list[str]:
    """Scores a method, and keeps the score."""
    return ["evaluate", "--method", "noisy", "--sigma", "25", "--store", str(folder)]


def fetch(folder: Path) -> list[str]:
    """Downloads a data set."""
    os.environ["LESSONS_CACHE"] = str(folder)
    return ["data", "fetch", "toy"]


def train(folder: Path) -> list[str]:
    """Trains a little; states are saved after every step."""
    return ["train", str(folder / "toy.toml"), "--device", "cpu"]


def export(folder: Path) -> list[str]:
    """Writes the weights of a training, and removes its state."""
    return ["models", "export", str(folder / "toy.toml"), "--folder", str(folder)]


def check_training(folder: Path) -> Any:
    """Log and state can be read; the weights that it ended with."""
    files = Files(folder, "toy")
    state, rows = read_state(files.state), Log(files.log).rows
    if state is None or not state.finished:
        return None
    assert 0 < state.seconds < PATIENCE, "its hours are not those that it took"
    digest = hashlib.sha256()
    for name, tensor in sorted(state.weights["average"].items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    looks = [(row["step"], row["loss"], row["held_out_psnr"]) for row in rows]
    return digest.hexdigest(), str(looks)


def check_exported(folder: Path) -> Any:
    """A card with its own weights; until there is one, the state is there."""
    if check_export(folder) is None:
        assert read_state(Files(folder, "toy").state) is not None
        return None
    card = read_card(folder / "toy.json")
    assert sum(card.hours.values()) < PATIENCE / 3600
    return card.sha256


COMMANDS: dict[str, tuple[Callable[[Path], list[str]], Callable[[Path], Any]]] = {
    "evaluation": (evaluation, check_evaluation),
    "fetch": (fetch, check_fetch),
    "training": (train, check_training),
    "export": (export, check_exported),
}


class Work:
    """One of the commands, and where it is done.

    Args:
        name: of `COMMANDS`.
        place: a folder for what children say, and for what an export begins from.
    """

    def __init__(self, name: str, place: Path) -> None:
        self.name, self.place = name, place
        self.command, self.check = COMMANDS[name]
        self.source = place / "source"
        self.source.mkdir()
        (self.source / "toy.toml").write_text(RUN)
        if name == "export":
            child = self._fork(train(self.source), lambda: None)
            assert end(*child, may_be_refused=False)

    def prepare(self, folder: Path) -> None:
        """Make a folder with what the command begins from."""
        shutil.copytree(self.source, folder, ignore=shutil.ignore_patterns("tensorboard"))

    def begin(self, folder: Path, before: Callable[[], None] = lambda: None) -> tuple[int, Path]:
        """Start the command in a child process; its number, and the file of what it says."""
        return self._fork(self.command(folder), before)

    def do(self, folder: Path, may_be_refused: bool = False) -> bool:
        """Run the command; see `end`."""
        return end(*self.begin(folder), may_be_refused)

    def _fork(self, words: list[str], before: Callable[[], None]) -> tuple[int, Path]:
        said = self.place / f"said {time.monotonic_ns()}"
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            code: Any = 1
            try:
                atexit._clear()  # those of the parent, which would tidy up after it
                os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                torch.set_num_threads(1)
                signal.alarm(PATIENCE)
                before()
                command_line(words)
            except SystemExit as error:
                code = error.code
                atexit._run_exitfuncs()
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(code)
        return child, said


def end(child: int, said: Path, may_be_refused: bool) -> bool:
    """Wait for a command; whether it came to its end.

    Args:
        child: the number of its process.
        said: what it has written on stderr.
        may_be_refused: whether it may end with one line.
    """
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = said.read_text()
    said.unlink()
    lines = [line for line in text.splitlines() if line.startswith("lessons: ")]
    assert code in ((0, 2) if may_be_refused else (0,)), f"exit code {code}: {text}"
    assert "Traceback" not in text, text
    assert len(lines) == (code == 2), text
    return code == 0


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A disk of 8 MB that this process and its children alone see; it goes when they go.

    Raises:
        OSError: if this user may not mount one.
    """
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if (
        libc.unshare(CLONE_NEWNS)
        or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
        or libc.mount(b"none", os.fsencode(place), b"tmpfs", 0, f"size={DISK}".encode())
    ):
        raise OSError(ctypes.get_errno(), "a disk cannot be mounted")
    try:
        yield place
    finally:
        libc.umount2(os.fsencode(place), MNT_DETACH)


def free(disk: Path) -> int:
    """Bytes that are left."""
    left = os.statvfs(disk)
    return left.f_bavail * left.f_bsize


def full_disk(work: Work, count: int, draw: random.Random) -> str:
    """The disk fills up at some point of the work; then there is room again."""
    refused = 0
    with small_disk(work.place / "disk") as disk:
        folder, ballast = disk / "folder", disk / "ballast"
        work.prepare(folder)
        before = free(disk)
        assert work.do(folder)
        # Some files are written beside older ones, and some removed in the end.
        needed, wanted = 2 * max(before - free(disk), 0) + 16_000, work.check(folder)
        for _ in range(count):
            # What was measured and exported before stays: it must not be lost to a full disk.
            old = draw.random() < 0.5 and work.name in ("evaluation", "export")
            if not old:
                shutil.rmtree(folder)
                work.prepare(folder)
            elif work.name == "export":
                shutil.copytree(work.source, folder, dirs_exist_ok=True)
            ballast.write_bytes(bytes(max(0, free(disk) - int(draw.uniform(0, needed)))))
            done = work.do(folder, may_be_refused=True)
            found = work.check(folder)
            assert found == wanted or not (old or done)
            ballast.unlink()
            if not done:
                refused += 1
                assert work.do(folder)
            assert work.check(folder) == wanted
            assert not list(folder.rglob("*.part")), "something is left"
    return f"{count} full disks, {refused} refused"


def clock(work: Work, count: int, draw: random.Random) -> str:
    """The clock on the wall jumps by an hour, by days, or to 1970, ten times a second."""
    work.prepare(work.place / "whole")
    assert work.do(work.place / "whole")
    real = time.time
    for round_ in range(count):
        folder, seed = work.place / str(round_), draw.randrange(10**6)
        work.prepare(folder)

        def begin_to_jump(seed: int = seed) -> None:
            jumps = random.Random(seed)

            def leap(*_: object) -> None:
                jump = jumps.choice(JUMPS)
                time.time = lambda: real() + jump

            leap()
            signal.signal(signal.SIGVTALRM, leap)
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.02, 0.02)

        assert end(*work.begin(folder, begin_to_jump), may_be_refused=False)
        assert work.check(folder) == work.check(work.place / "whole")
    return f"{count} runs under clocks that jump"


def twice(work: Work, count: int, draw: random.Random) -> str:
    """Two processes do the same in one folder."""
    work.prepare(work.place / "whole")
    started = time.perf_counter()
    assert work.do(work.place / "whole")
    length, refused = time.perf_counter() - started, 0
    for round_ in range(count):
        folder = work.place / str(round_)
        work.prepare(folder)
        children = [work.begin(folder)]
        time.sleep(draw.uniform(0, 0.7 * length))
        children.append(work.begin(folder))
        done = [end(*child, may_be_refused=True) for child in children]
        assert any(done)
        refused += not all(done)
        assert work.check(folder) == work.check(work.place / "whole")
    return f"{count} times two at once, one refused {refused} times"


MISHAPS = {"full-disk": full_disk, "clock": clock, "twice": twice}


def main() -> int:
    parser = argparse.ArgumentParser(description="Commands under mishaps.")
    parser.add_argument("mishap", choices=MISHAPS)
    parser.add_argument("command", choices=[*COMMANDS, "all"], nargs="?", default="all")
    parser.add_argument("--count", type=int, default=20, help="mishaps of each command")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    training.train = functools.partial(training.train, save_every=0)  # type: ignore[assignment]
    server = serve()
    try:
        for name in COMMANDS if options.command == "all" else [options.command]:
            draw = random.Random(f"{options.mishap} {name} {options.seed}")
            with tempfile.TemporaryDirectory() as place:
                work = Work(name, Path(place))
                line = MISHAPS[options.mishap](work, options.count, draw)
            print(f"{name}: {line}, nothing lost", flush=True)
    finally:
        os.kill(server, signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
