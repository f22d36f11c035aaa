"""Reads files that the campaign names on standard input, and says of each what came of it.

It runs in a process of its own: what hangs or eats memory is killed there. An audit hook sees
whatever a file makes the interpreter do: nothing that is read may execute anything.
"""

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lessons_lib import images
from lessons_lib.checkpoints import CheckpointError, import_published, read_card
from lessons_lib.evaluation.methods import MethodError
from lessons_lib.evaluation.scores import read_score
from lessons_lib.published.layouts import LAYOUTS
from lessons_lib.published.registry import published_weights
from lessons_lib.training import read_run
from lessons_lib.training.state import read_state
from lessons_lib.training.tables import ConfigError

PAGES = 20
# Events of `sys.audit` that reading a file must not bring about.
FORBIDDEN = {
    "ctypes.dlopen",
    "exec",
    "os.exec",
    "os.posix_spawn",
    "os.remove",
    "os.rename",
    "os.spawn",
    "os.system",
    "pickle.find_class",
    "shutil.rmtree",
    "socket.connect",
    "subprocess.Popen",
}
seen: list[str] = []


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook."""
    wrote = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if event not in FORBIDDEN and not wrote:
        return
    frame = sys._getframe()
    while frame is not None:
        # Modules that decoders load on demand are executed, and caches of them written.
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return
        frame = frame.f_back  # type: ignore[assignment]
    if wrote and str(arguments[0]) == os.devnull:
        return
    seen.append(f"{event} {arguments!r:.200}")


def read_images(path: Path) -> None:
    """Every picture in the file, and that each is one."""
    with images.open_images(path) as pictures:
        for number, photo in enumerate(pictures):
            pixels = photo.pixels
            assert pixels.ndim == 4
            assert (pixels.shape[0], pixels.shape[1]) in ((1, 1), (1, 3))
            assert pixels.isfinite().all()
            if number == PAGES:
                break


def read_published(path: Path) -> None:
    """As weights of a small network in one of the layouts; the name begins with which."""
    row = next(weights for weights in published_weights().values() if weights.model == "dncnn")
    options = {"channels": 1, "layers": 4, "width": 5, "batch_norm": False}
    try:
        LAYOUTS[path.name.partition("-")[0]](path.read_bytes(), replace(row, options=options))
    except Exception as error:  # `load_published` turns all of them into one kind, too
        raise CheckpointError(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


READERS: dict[str, tuple[Callable[[Path], Any], type[Exception]]] = {
    "images": (read_images, images.ImageError),
    "cards": (read_card, CheckpointError),
    "scores": (read_score, MethodError),
    "runs": (read_run, ConfigError),
    "states": (read_state, ConfigError),
    "released": (import_published, CheckpointError),
    "published": (read_published, CheckpointError),
}


def judge(read: Callable[[Path], Any], refused: type[Exception], path: Path) -> tuple[str, str]:
    """What comes of a file: valid, refused in one line, or a fault."""
    try:
        read(path)
    except refused as error:
        lines = str(error).splitlines()
        return ("refused", lines[0]) if len(lines) == 1 else ("fault", f"{len(lines)} lines")
    except BaseException as error:
        return "fault", f"{type(error).__name__}: {error}"
    return "valid", ""


def main() -> None:
    """Answer each line, a path, with a line of JSON."""
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library that prints must not be taken for an answer
    read, refused = READERS[sys.argv[1]]
    judge(read, refused, Path(sys.argv[2]))  # modules that are loaded on demand are there now
    sys.addaudithook(watch)
    for line in sys.stdin:
        seen.clear()
        started = time.perf_counter()
        outcome, words = judge(read, refused, Path(line.rstrip("\n")))
        seconds = time.perf_counter() - started
        if seen:
            outcome, words = "fault", "; ".join(seen)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        answer = {"outcome": outcome, "words": words[:300], "seconds": seconds, "peak": peak}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
