"""Full disks, clocks that jump, and two processes at the same work.

    python tests/hardening/mishaps.py full-disk --count 20
    python tests/hardening/mishaps.py clock --count 5
    python tests/hardening/mishaps.py twice --count 5

The work is that of kills.py, and a training. Whatever happens, what is refused is refused in one
line, files are whole or absent, and in the end everything is as if nothing had happened. A full disk
is a small tmpfs, which only root can mount.
"""

import argparse
import ctypes
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
from kills import WORK, serve

from lessons_lib.cli.refusals import refusal
from lessons_lib.training import read_run, train
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


def training(folder: Path) -> None:
    """A short training that saves its state after every step."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "toy.toml"
    if not config.exists():
        (folder / "new").write_text(RUN)
        os.replace(folder / "new", config)
    train(read_run(config), folder, device="cpu", save_every=0)


def check_training(folder: Path) -> Any:
    """Log and state can be read; the weights that it ended with."""
    files = Files(folder, "toy")
    state, rows = read_state(files.state), Log(files.log).rows
    if state is None or not state.finished:
        return None
    assert 0 < state.seconds < 600, "its hours are not those that it took"
    digest = hashlib.sha256()
    for name, tensor in sorted(state.weights["average"].items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    looks = [(row["step"], row["loss"], row["held_out_psnr"]) for row in rows]
    return digest.hexdigest(), str(looks)


ALL: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    **WORK,
    "training": (training, check_training),
}


def begin(work: Callable[[], None], said: Path) -> int:
    """Start some work in a child process, which says on a file what it refuses; its number."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        code = 0
        try:
            work()
        except BaseException as error:
            message = refusal(error)
            said.write_text(message or f"traceback: {type(error).__name__}: {error}")
            code = 1 if message is None else 2
        os._exit(code)
    return child


def end(child: int, said: Path, may_be_refused: bool) -> bool:
    """Wait for it; whether it came to its end. A traceback is a fault."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    line = said.read_text() if said.exists() else ""
    said.unlink(missing_ok=True)
    assert code in ((0, 2) if may_be_refused else (0,)), f"exit code {code}: {line}"
    assert "\n" not in line.strip(), line
    return code == 0


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A disk of 8 MB.

    Raises:
        OSError: if this user may not mount one.
    """
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", os.fsencode(place), b"tmpfs", 0, f"size={DISK}".encode()):
        raise OSError(ctypes.get_errno(), "a disk cannot be mounted")
    try:
        yield place
    finally:
        libc.umount2(os.fsencode(place), 2)


def free(disk: Path) -> int:
    """Bytes that are left."""
    left = os.statvfs(disk)
    return left.f_bavail * left.f_bsize


def full_disk(name: str, place: Path, count: int, draw: random.Random) -> str:
    """The disk is full at some point of the work; then there is room again."""
    work, check = ALL[name]
    refused = 0
    with small_disk(place / "disk") as disk:
        before = free(disk)
        assert end(begin(lambda: work(disk / "0"), place / "said"), place / "said", False)
        needed, wanted = before - free(disk), check(disk / "0")
        for round_ in range(1, count + 1):
            shutil.rmtree(disk / str(round_ - 1))
            folder, ballast = disk / str(round_), disk / "ballast"
            ballast.write_bytes(bytes(max(0, free(disk) - int(draw.uniform(0, 1.2 * needed)))))
            child = begin(lambda folder=folder: work(folder), place / "said")
            refused += not end(child, place / "said", may_be_refused=True)
            check(folder)
            ballast.unlink()
            child = begin(lambda folder=folder: work(folder), place / "said")
            assert end(child, place / "said", may_be_refused=False)
            assert check(folder) == wanted
    return f"{name}: {count} full disks, {refused} refused, nothing lost"


def clock(name: str, place: Path, count: int, draw: random.Random) -> str:
    """The clock on the wall jumps by up to two days, or to 1970, ten times a second."""
    work, check = ALL[name]
    assert end(begin(lambda: work(place / "whole"), place / "said"), place / "said", False)
    wanted, real = check(place / "whole"), time.time

    def jumping(folder: Path, seed: int) -> None:
        jumps = random.Random(seed)

        def leap(*_: object) -> None:
            jump = jumps.choice([0, 86_400, -3_600, 172_800, -real()])
            time.time = lambda: real() + jump

        leap()
        signal.signal(signal.SIGALRM, leap)
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
        work(folder)

    for round_ in range(count):
        folder, seed = place / str(round_), draw.randrange(10**6)
        child = begin(lambda folder=folder, seed=seed: jumping(folder, seed), place / "said")
        assert end(child, place / "said", may_be_refused=False)
        assert check(folder) == wanted
    return f"{name}: {count} runs under jumping clocks, nothing changed"


def twice(name: str, place: Path, count: int, draw: random.Random) -> str:
    """Two processes do the same in one folder."""
    work, check = ALL[name]
    started = time.perf_counter()
    assert end(begin(lambda: work(place / "whole"), place / "said"), place / "said", False)
    length, wanted, refused = time.perf_counter() - started, check(place / "whole"), 0
    for round_ in range(count):
        folder = place / str(round_)
        children = []
        for number in range(2):
            said = place / f"said {number}"
            children.append((begin(lambda folder=folder: work(folder), said), said))
            time.sleep(draw.uniform(0, 0.5 * length))
        refused += sum(not end(child, said, may_be_refused=True) for child, said in children)
        assert check(folder) == wanted
    return f"{name}: {count} times two at once, {refused} refused, nothing lost"


KINDS = {"full-disk": full_disk, "clock": clock, "twice": twice}


def main() -> int:
    parser = argparse.ArgumentParser(description="Work under mishaps.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("work", choices=[*ALL, "all"], nargs="?", default="all")
    parser.add_argument("--count", type=int, default=20, help="mishaps for each kind of work")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    server = serve()
    try:
        for name in ALL if options.work == "all" else [options.work]:
            draw = random.Random(f"{options.kind} {name} {options.seed}")
            with tempfile.TemporaryDirectory() as place:
                print(KINDS[options.kind](name, Path(place), options.count, draw), flush=True)
    finally:
        os.kill(server, signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
