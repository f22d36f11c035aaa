"""One training of a run at a time: two would overwrite each other's state and log."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from filelock import FileLock, Timeout
from torch import distributed

from lessons_lib.training.files import Files
from lessons_lib.training.tables import ConfigError

Found = TypeVar("Found")


class BusyError(ConfigError):
    """Another process trains the run."""


@contextmanager
def alone(files: Files) -> Iterator[None]:
    """Keep other processes from training the run. The lock of a process that is killed is gone.

    Of the processes that torchrun starts, the first one holds it for all.

    Raises:
        BusyError: if another process holds it.
    """
    lock = FileLock(files.lock, timeout=0)
    first = not distributed.is_initialized() or distributed.get_rank() == 0
    if first:
        files.lock.parent.mkdir(parents=True, exist_ok=True)
        with suppress(Timeout):
            lock.acquire()
    if not agreed(lock.is_locked):
        raise BusyError(f"{files.name} is being trained by another process")
    try:
        yield
    finally:
        lock.release()


def agreed(found: Found) -> Found:
    """What the first of the processes found that torchrun has started, for all of them.

    Each looks at a clock or a lock at a time of its own, and where they went on differently they
    would wait for each other for ever.
    """
    if not distributed.is_initialized():
        return found
    box = [found]
    distributed.broadcast_object_list(box)
    return box[0]
