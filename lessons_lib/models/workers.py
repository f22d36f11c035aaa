"""Several processor cores at work on one image, each at tiles of its own.

A step on one tile is a dozen small operations. Cores that share each of them wait for each other
after each; cores that have tiles of their own hardly ever wait.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

from lessons_lib.models.restorer import Precision

# Enough to fill a GPU.
GPU_MEMORY = 4e9

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_parallel(
    function: Callable[[Job], Result], jobs: Iterator[Job], workers: int
) -> Generator[Result, None, None]:
    """``map(function, jobs)`` on so many cores; results come in the order of the jobs.

    Close it if not all of its results are taken, so that threads end.

    Args:
        function: runs in other threads, where PyTorch uses one core, and records gradients unless
            it is told not to.
        jobs: taken two for each core at a time, never all at once.
        workers: threads; 1 is ``map`` itself, with as many cores for an operation as PyTorch likes.
    """
    if workers == 1:
        yield from map(function, jobs)
        return
    cores = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        under_way = deque(pool.submit(function, job) for job in islice(jobs, 2 * workers))
        while under_way:
            yield under_way.popleft().result()
            under_way.extend(pool.submit(function, job) for job in islice(jobs, 1))
    finally:
        pool.shutdown(cancel_futures=True)
        # What the workers set would hold in all threads that are still to come.
        torch.set_num_threads(cores)


def share_out(
    memory: float | None, one: int, device: torch.device, precision: Precision, per_core: float
) -> tuple[int, int]:
    """How many cores get jobs of their own, and how many jobs each works on together.

    Args:
        memory: in bytes; where not given, `GPU_MEMORY`, or so much for each core.
        one: bytes that one job takes.
        device: where.
        precision: "reference", the yardstick, keeps to one worker.
        per_core: bytes.
    """
    cores = 1
    if device.type == "cpu" and precision != "reference" and torch.backends.openmp.is_available():
        cores = torch.get_num_threads()
    if memory is None:
        memory = cores * per_core if device.type == "cpu" else GPU_MEMORY
    workers = max(1, min(cores, int(memory / one)))
    return workers, max(1, int(memory / workers / one))
