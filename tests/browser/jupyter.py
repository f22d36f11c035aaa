"""What tests of JupyterLab share: its server, and patience."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Route


@contextmanager
def served(command: list[str], folder: Path, variables: dict[str, str]) -> Iterator[str]:
    """Start a server as a user does, and give the address that it prints.

    Args:
        command: that prints it.
        folder: where the command is called.
        variables: of the environment, beside those that there are.
    """
    server = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert server.stdout is not None
    try:
        found = (re.search(r"http://\S+", line) for line in server.stdout)
        yield next(match[0] for match in found if match)
    finally:
        server.terminate()
        server.wait(timeout=20)


def refuse_to_save(route: Route) -> None:
    """Let the page do everything but save a notebook.

    The checkpoint that JupyterLab makes of a file when it first opens it is not refused: without it
    the file would not open, and git ignores it.
    """
    if route.request.method == "PUT":
        route.abort()
    else:
        route.continue_()


def poll(question: Callable[[], Any], seconds: float = 30) -> Any:
    """Ask until the answer is true, or the time is up; return the last answer."""
    deadline = time.monotonic() + seconds
    while not (answer := question()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return answer
