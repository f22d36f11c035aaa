"""Trains a tiny run whole, and again with ten kills; prints where the kills fell.

A program of its own, so that what is forked and killed has no thread yet.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from lessons_lib.training import read_run, train
from lessons_lib.training.files import Files


def sitting(config: Path, root: Path) -> int:
    """Start training in a child process that saves its state after every step."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        try:
            train(read_run(config), root, device="cpu", save_every=0)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return child


def main(config: Path, whole: Path, broken: Path) -> None:
    draw = random.Random(0)
    assert os.waitpid(sitting(config, whole), 0)[1] == 0
    state = Files(broken, config.stem).state
    kills = 0
    while kills < 10:
        before = state.stat().st_mtime_ns if state.exists() else 0
        child = sitting(config, broken)
        # Two kills at any time, also before the first state; the others while it trains and saves.
        if kills >= 2:
            while (state.stat().st_mtime_ns if state.exists() else 0) == before:
                assert os.waitpid(child, os.WNOHANG)[0] == 0, "it ended before it was killed"
                time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "it ended before it was killed"
        kills += 1
        step = torch.load(state, weights_only=True)["step"] if state.exists() else 0
        print("killed after step", step, flush=True)
    assert os.waitpid(sitting(config, broken), 0)[1] == 0


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
