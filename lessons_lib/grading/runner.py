"""Processes that run students' code: started in folders of their own, watched, and ended."""

import importlib.util
import json
import os
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lessons_lib.grading.confinement import Confinement

# Until a process has loaded what it needs, and nothing of the student's yet.
START_SECONDS = 180.0
# What goes along with the notebook of a student who has a folder; more is no part of a lesson.
COMPANIONS = 100_000_000
# A line of events is short; a longer one is not from `child`.
LONGEST_LINE = 1_000_000
# What a student's process is told of this one's surroundings, beside LESSONS_*.
KEPT = ("PATH", "SYSTEMROOT", "LANG", "LC_ALL", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")

Event = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """What a student's code may take.

    Attributes:
        minutes: for a notebook from its first cell to its last; an answer gets a tenth of that.
        memory: in GiB.
    """

    minutes: float
    memory: float


@dataclass(frozen=True)
class Runner:
    """Starts processes within limits.

    Attributes:
        limits: of each process.
        confined: how it is kept away from everything else.
        fonts: a folder with Matplotlib's list of fonts, which takes seconds to make.
    """

    limits: Limits
    confined: Confinement
    fonts: Path

    def run(self, job: Event, companions: Path | None, seconds: float) -> Iterator[Event]:
        """Do a job of `child` in a new process and a new folder, and yield its events.

        Args:
            job: see `child`.
            companions: a folder whose other files the notebook may need.
            seconds: from one event "begin" to the next, or for the whole.

        Yields:
            The events of `child`; the last is "done", or else "ended" with the reason as "verdict"
            and "detail".
        """
        with tempfile.TemporaryDirectory(
            prefix="lessons-grade-", ignore_cleanup_errors=True
        ) as temporary:
            # The real name, as the process itself will see it.
            place = Path(temporary).resolve()
            shutil.copytree(self.fonts, place / ".matplotlib")
            if companions is not None:
                _copy_companions(companions, place)
            yield from self._watch(job, place, seconds)

    def _watch(self, job: Event, place: Path, seconds: float) -> Iterator[Event]:
        token = secrets.token_hex(16)
        more: Event = {"token": token, "folder": str(place), "guard": not self.confined.namespaces}
        # Should this program be killed, the other ends by itself at last.
        longest = START_SECONDS + seconds * (1 + len(job.get("exercises", ())))
        more["cpu"] = int(longest * (os.cpu_count() or 1))
        line = json.dumps({**job, **more, "memory": int(self.limits.memory * 2**30)}) + "\n"
        with _started(self.confined, place) as process:
            events: queue.Queue[Event | None] = queue.Queue()
            threads = [
                threading.Thread(target=_tell, args=(process, line), daemon=True),
                threading.Thread(target=_hear, args=(process, token, events), daemon=True),
            ]
            for thread in threads:
                thread.start()
            deadline = time.monotonic() + START_SECONDS
            while True:
                left = deadline - time.monotonic()
                try:
                    event = events.get(timeout=max(0.0, left))
                except queue.Empty:
                    left = 0.0
                if left <= 0:
                    yield {"event": "ended", "verdict": "out of time", "detail": ""}
                    return
                if event is None:
                    yield {"event": "ended", **_end_of(process)}
                    return
                if event["event"] in ("ready", "begin", "verdict"):
                    deadline = time.monotonic() + seconds
                yield event
                if event["event"] == "done":
                    return


@contextmanager
def start_runner(limits: Limits, confined: Confinement) -> Iterator[Runner]:
    """A runner, for the time of the context."""
    with tempfile.TemporaryDirectory(prefix="lessons-fonts-") as fonts:
        command = [sys.executable, "-c", "import matplotlib.font_manager"]
        environment = {**os.environ, "MPLCONFIGDIR": fonts}
        subprocess.run(command, env=environment, capture_output=True)
        yield Runner(limits, confined, Path(fonts))


@contextmanager
def _started(confined: Confinement, place: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of `child`; it, and all that it started, is gone at the end."""
    spec = importlib.util.find_spec("lessons_lib")
    assert spec is not None
    assert spec.origin is not None
    given = {k: v for k, v in os.environ.items() if k in KEPT or k.startswith("LESSONS_")}
    given.pop("LESSONS_STRICT", None)
    environment = {
        "OMP_WAIT_POLICY": "PASSIVE",  # waiting threads let the machine's others work
        **given,
        "LESSONS_WIDGETS": "0",
        "PYTHONPATH": str(Path(spec.origin).parents[1]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        "CUDA_VISIBLE_DEVICES": "",  # everyone is graded on the same kind of device
        "MPLBACKEND": "agg",
        "MPLCONFIGDIR": str(place / ".matplotlib"),
        "IPYTHONDIR": str(place / ".ipython"),
        **dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), str(place)),
    }
    command = [sys.executable, "-P", "-m", "lessons_lib.grading.child"]
    process = subprocess.Popen(
        confined.command(command, place),
        cwd=place,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(OSError):
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()


def _tell(process: "subprocess.Popen[bytes]", line: str) -> None:
    assert process.stdin is not None
    with suppress(OSError), process.stdin:  # it may end before it has read its job
        process.stdin.write(line.encode())


def _hear(
    process: "subprocess.Popen[bytes]", token: str, events: "queue.Queue[Event | None]"
) -> None:
    """Pass events on, and None at the end; lines that are not `child`'s are dropped here."""
    assert process.stdout is not None
    with process.stdout:
        while line := process.stdout.readline(LONGEST_LINE):
            event = _event(line.decode("utf-8", "replace"), token)
            if event is not None:
                events.put(event)
    events.put(None)


def _event(line: str, token: str) -> Event | None:
    """What a line tells; None if it is not `child`'s."""
    first, _, rest = line.partition(" ")
    if not secrets.compare_digest(first.encode(), token.encode()):
        return None
    try:
        event = json.loads(rest)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _end_of(process: "subprocess.Popen[bytes]") -> Event:
    """Why a process ended that had more to do."""
    try:
        code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return {"verdict": "error", "detail": "it closed its output"}
    # The shell and unshare say 128 more than the signal.
    number = -code if code < 0 else code - 128
    if number == signal.SIGTERM.value or code == 0:
        return {"verdict": "error", "detail": "it ended its own process"}
    if os.name == "posix" and number == signal.SIGKILL.value:
        return {"verdict": "out of memory", "detail": "the system ended its process"}
    with suppress(ValueError):
        return {"verdict": "error", "detail": f"its process ended: {signal.Signals(number).name}"}
    return {"verdict": "error", "detail": f"it ended its own process (exit code {code})"}


def _copy_companions(folder: Path, place: Path) -> None:
    """Copy a student's other files, as far as they are small and no links."""
    left = COMPANIONS
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if hidden or path.is_symlink() or not path.is_file() or path.suffix == ".ipynb":
            continue
        with suppress(OSError):  # what cannot be read is missing
            left -= path.stat().st_size
            if left < 0:
                return
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place / name)
