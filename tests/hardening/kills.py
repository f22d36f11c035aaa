"""Processes killed at random times, again and again, until one comes to its end.

    python tests/hardening/kills.py all --count 100

Whatever a kill leaves must be whole, and the end must be what it would have been without.
Work is done in forked children: modules are loaded once, so that kills fall into the work. A
training is killed in the same way by tests/training/killed.py.
"""

import argparse
import hashlib
import http.server
import json
import math
import os
import random
import shutil
import signal
import socketserver
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pooch  # noqa: F401  (loaded here, once, and not in every child)
import requests  # noqa: F401
import torch

from lessons_lib import data
from lessons_lib.checkpoints import read_card, read_weights, save_model
from lessons_lib.data import Entry, File
from lessons_lib.evaluation import evaluate
from lessons_lib.evaluation.protocols import denoising
from lessons_lib.evaluation.scores import read_score, store
from lessons_lib.evaluation.unfinished import Unfinished
from lessons_lib.models import build


def in_child(work: Callable[[], None], kill_after: float | None) -> bool:
    """Do something in a child process; say whether it came to its end."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        try:
            work()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    end = time.monotonic() + (math.inf if kill_after is None else kill_after)
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() >= end:
            os.kill(child, signal.SIGKILL)
            ended = os.waitpid(child, 0)
            break
        time.sleep(0.001)
    code = os.waitstatus_to_exitcode(ended[1])
    assert code in (0, -signal.SIGKILL), f"the child failed: {code}"
    return code == 0


def campaign(
    name: str, work: Callable[[Path], None], check: Callable[[Path], Any], count: int, seed: int
) -> str:
    """Kill some work a number of times; a new folder is begun whenever it came to its end.

    Args:
        name: for the draw and the report.
        work: what is done in a folder.
        check: raises where what lies in a folder is not whole; returns what is there.
        count: kills.
        seed: of the times.

    Returns:
        A line about it.
    """
    draw = random.Random(f"{name} {seed}")
    with tempfile.TemporaryDirectory() as place:
        reference = Path(place) / "reference"
        started = time.perf_counter()
        assert in_child(lambda: work(reference), None)
        length = time.perf_counter() - started
        wanted = check(reference)
        kills = ends = 0
        folder = Path(place) / "0"
        while kills < count:
            if in_child(lambda folder=folder: work(folder), draw.uniform(0, 1.1 * length)):
                ends += 1
                assert check(folder) == wanted
                shutil.rmtree(folder)
                folder = Path(place) / str(ends)
            else:
                kills += 1
                check(folder)
        assert in_child(lambda: work(folder), None)
        assert check(folder) == wanted
    return f"{name}: {kills} kills, {ends + 1} ends, nothing lost ({length:.2f} s undisturbed)"


def evaluation(folder: Path) -> None:
    """A score that is kept, image after image."""
    score = evaluate("dct", denoising("samples", 25), 4, unfinished=Unfinished(folder, "here"))
    store(score, folder, "here")
    Unfinished(folder, "here").remove(score)


def check_evaluation(folder: Path) -> Any:
    """What was measured of each image."""
    found = sorted(folder.glob("*.json"))
    for path in found:
        read_score(path)
        rows = json.loads(path.read_text())["per_image"]
        return [(row["file"], row["psnr"], row["ssim"]) for row in rows]
    return None


def export(folder: Path) -> None:
    """Weights and their card."""
    model = build("sc", {"patch": 5, "atoms": 400, "steps": 4})
    save_model(
        model,
        folder,
        name="toy",
        sigma_255=25.0,
        run={"batch": 1, "crop": 20, "steps": 1},
        steps=1,
        finished=True,
        hours={},
        curve=[[1, 30.0]],
        revision="",
        data="samples",
        licence="",
        data_licence="",
    )


def check_export(folder: Path) -> Any:
    """A card's weights are there and its own."""
    if not (folder / "toy.json").exists():
        return None
    card = read_card(folder / "toy.json")
    read_weights(card, (folder / "toy.safetensors").read_bytes())
    return card.name


SOURCE = {f"{k}.png": bytes([k]) * 300_000 for k in range(20)}


def fetch(folder: Path) -> None:
    """A data set from a server on this machine."""
    os.environ["LESSONS_CACHE"] = str(folder)
    data.fetch("toy")


def check_fetch(folder: Path) -> Any:
    """Every file that is there is whole."""
    found = sorted(path.name for path in (folder / "toy").glob("[0-9]*"))
    for name in found:
        assert (folder / "toy" / name).read_bytes() == SOURCE[name]
    return found


def serve() -> int:
    """Serve the toy data set, and make it known; returns the server's process."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = SOURCE[self.path.rpartition("/")[2]]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            for start in range(0, len(body), 50_000):
                self.wfile.write(body[start : start + 50_000])
                time.sleep(0.001)

        def log_message(self, *_: object) -> None:
            pass

    class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # whoever was asking has been killed

    server = Server(("127.0.0.1", 0), Handler)
    child = os.fork()  # in a process of its own, so that those that are forked have no thread
    if child == 0:
        server.serve_forever()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "LESSONS_DATA"):
        os.environ.pop(name, None)
    files = tuple(
        File(
            name,
            len(body),
            hashlib.sha256(body).hexdigest(),
            (f"http://127.0.0.1:{server.server_port}/{name}",),
        )
        for name, body in SOURCE.items()
    )
    toy = Entry("toy", "Toy", "gray", "test", "here", "none", "none", files)
    known = data.registry()
    data.registry = lambda: {**known, "toy": toy}  # type: ignore[assignment]
    return child


WORK: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "evaluation": (evaluation, check_evaluation),
    "export": (export, check_export),
    "fetch": (fetch, check_fetch),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill processes at random times.")
    parser.add_argument("kind", choices=[*WORK, "all"])
    parser.add_argument("--count", type=int, default=100, help="kills of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    server = serve()
    try:
        for kind in WORK if options.kind == "all" else [options.kind]:
            print(campaign(kind, *WORK[kind], options.count, options.seed), flush=True)
    finally:
        os.kill(server, signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
