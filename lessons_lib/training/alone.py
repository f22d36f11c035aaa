"""One training of a run at a time: two would overwrite each other's state and log."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from lessons_lib.training.files import Files
from lessons_lib.training.tables import ConfigError


class BusyError(ConfigError):
    """Another process trains the run."""


@contextmanager
def alone(files: Files) -> Iterator[None]:
    """Keep other processes from training the run. The lock of a process that is killed is gone.

    Of the processes that torchrun starts, the first one holds it for all.

    Raises:
        BusyError: if another process holds it.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    files.lock.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(files.lock, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(f"{files.name} is being trained by another process") from None
    try:
        yield
    finally:
        lock.release()
