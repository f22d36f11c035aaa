"""The set-up of `course.py`, killed at random times.

    python tests/hardening/setups.py --count 100

It is the set-up of the stand-in repository of tests/test_course.py, whose packages are empty: all
the steps of the real one, in seconds. A kill hits either `course.py` alone, whose pip then goes
on by itself, or all processes, as when the power fails. The same command is given again at once,
and killed again, until it comes to its end; then the environment must work, and be complete.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from test_course import Repository  # noqa: E402

# Its processes are a group of their own, so that they can be killed together.
SET_UP = """
import os, sys, course
os.setsid()
course.lab = lambda *_: course.set_up(course.COURSE) or 0
sys.exit(course.main(['lab']))
"""


def killed(repository: Repository, after: float, alone: bool) -> bool:
    """Set up, and kill after some seconds; False if it came to its end before.

    Args:
        repository: to set up.
        after: seconds.
        alone: whether what `course.py` has started is spared.
    """
    process = repository.start("-c", SET_UP)
    try:
        output, _ = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        try:
            (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it is not in a group of its own yet
            process.kill()
        process.communicate()
        return True
    assert process.returncode == 0, output
    assert repository.works(), output
    assert "Setting up" not in repository.set_up()[1], "it was not complete"
    return False


def campaign(repository: Repository, count: int, seed: int) -> str:
    """Kill a number of set-ups, and say how far it is; a line about it."""
    draw = random.Random(f"set-up {seed}")
    stamp = repository.root / ".venv" / "installed"
    started = time.perf_counter()
    assert not killed(repository, 600, alone=True)
    length = time.perf_counter() - started
    kills = ends = alone = 0
    while kills < count:
        stamp.unlink(missing_ok=True)
        spared = draw.random() < 0.5
        if killed(repository, draw.uniform(0, 1.05 * length), spared):
            kills += 1
            alone += spared
            print(f"{kills} kills, {ends} ends", file=sys.stderr)
        else:
            ends += 1
    assert not killed(repository, 600, alone=True)
    return f"set-up: {kills} kills, {alone} of course.py alone, {ends + 1} ends, all of them work"


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill set-ups at random times.")
    parser.add_argument("--count", type=int, default=100, help="kills")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["TMPDIR"] = place  # what killed ones leave in it goes, too
        print(campaign(Repository(Path(place)), options.count, options.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
