"""Run the quick tests in random order, in one environment after the other: no outcome may change.

    python tests/campaigns/environments.py --runs 50 --share 0.3

Run number N takes environment N in the order below, over and over, and N as seed of the order; so
`--first N --runs 1` repeats it. With `--python` they run under another Python, which must have the
packages of requirements/dev.lock.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTEST = [
    "-m",
    "pytest",
    "-q",
    "--color=no",
    "-p",
    "tests.campaigns.shuffled",
    "-p",
    "no:cacheprovider",
]
PYTEST += ["-m", "not browser and not long and not slow"]
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "states", "*.egg-info", "faults")

# What an environment changes: variables, words before the command, and the folder of the course.
Changes = tuple[dict[str, str], list[str], Path]


@contextmanager
def variables(**values: str) -> Iterator[Changes]:
    yield values, [], ROOT


@contextmanager
def no_home() -> Iterator[Changes]:
    """A home that nobody can write, the superuser neither."""
    yield {"HOME": "/dev/null/home", "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""}, [], ROOT


@contextmanager
def no_network() -> Iterator[Changes]:
    """A network of its own, in which there is nothing but the machine itself."""
    alone = ["unshare", "--map-root-user", "--net"]
    yield {}, [*alone, "sh", "-c", 'ip link set lo up && exec "$0" "$@"'], ROOT


@contextmanager
def awkward_folder() -> Iterator[Changes]:
    with tempfile.TemporaryDirectory(prefix="ein Öko-Pfad ") as parent:
        copy = Path(parent) / "наш курс"
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
        yield {"PYTHONPATH": str(copy), "TMPDIR": parent}, [], copy


@contextmanager
def under_load() -> Iterator[Changes]:
    """Two busy processes for each core, until the tests are through."""
    command = [sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(command) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        yield {}, [], ROOT
    finally:
        for process in busy:
            process.kill()
            process.wait()


ENVIRONMENTS: dict[str, Callable[[], AbstractContextManager[Changes]]] = {
    "one thread": lambda: variables(OMP_NUM_THREADS="1"),
    "four threads": lambda: variables(OMP_NUM_THREADS="4"),
    "locale C": lambda: variables(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"),
    "dumb terminal": lambda: variables(TERM="dumb", COLUMNS="40", FORCE_COLOR="1"),
    "no home": no_home,
    "awkward folder": awkward_folder,
    "no network": no_network,
    "under load": under_load,
}


def run(number: int, share: float, python: str) -> bool:
    """Run the tests once and print a line; of a failure, all that was said is printed too.

    Returns:
        Whether all tests passed.
    """
    name = list(ENVIRONMENTS)[number % len(ENVIRONMENTS)]
    start = time.monotonic()
    with ENVIRONMENTS[name]() as (values, before, folder):
        environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"} | values
        environment["LESSONS_ORDER"] = f"{number} {share}"
        done = subprocess.run(
            [*before, python, *PYTEST],
            cwd=folder,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    counts = (done.stdout.splitlines() or ["nothing ran"])[-1].rpartition(" in ")[0]
    print(f"{number:3}  {name:14}  {time.monotonic() - start:5.0f} s  {counts}", flush=True)
    if done.returncode:
        print(done.stdout + done.stderr, flush=True)
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=len(ENVIRONMENTS))
    parser.add_argument("--first", type=int, default=0, help="number of the first run")
    parser.add_argument("--share", type=float, default=1.0, help="of the tests, drawn for each run")
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    numbers = range(options.first, options.first + options.runs)
    failed = [n for n in numbers if not run(n, options.share, options.python)]
    print(f"{len(numbers)} runs, {len(failed)} with failures{': ' * bool(failed)}", *failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
