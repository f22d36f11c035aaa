"""What is done to one photograph, and what several methods make of it: the playground's arithmetic.

A photograph goes through the same hands as one in a file: it is degraded, posed to a task, restored
and finished, see `lessons_lib.tasks.Task`.
"""

import ctypes
import gc
import importlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lessons_lib.checkpoints import Card, known_weights
from lessons_lib.classical import Progress
from lessons_lib.degradations import PATTERNS
from lessons_lib.evaluation.best import best_for
from lessons_lib.evaluation.methods import find_method, known_methods
from lessons_lib.evaluation.methods import restore as run
from lessons_lib.images import ImageError
from lessons_lib.metrics import psnr
from lessons_lib.models import MODELS
from lessons_lib.published import is_here
from lessons_lib.tasks import TASKS, Posed, Task

# Seconds between two looks at the memory.
LOOK = 0.01


@dataclass(frozen=True)
class Problem:
    """What may happen to a photograph, and which task undoes it.

    Args:
        label: in words.
        task: a name of `lessons_lib.tasks.TASKS`.
        values: how bad it may be, see `Task`; none where nothing happens.
        usual: the one to begin with.
        called: what the values are.
        in_file: what a file holds of the degraded ``(1, C, H, W)``.
        in_colour: whether it happens to colours only.
    """

    label: str
    task: str
    values: tuple[Any, ...] = ()
    usual: Any = None
    called: str = ""
    in_file: Callable[[Tensor], Tensor] = lambda degraded: degraded
    in_colour: bool = False


PROBLEMS = (
    Problem("white noise", "denoise", (5, 15, 25, 50), 25, "σ"),
    Problem("JPEG compression", "jpeg", (10, 20, 30, 40), 10, "quality"),
    # A file has one number for each pixel: the one colour that was measured.
    Problem(
        "a sensor's mosaic",
        "demosaic",
        PATTERNS,
        PATTERNS[0],
        "pattern",
        in_file=lambda mosaic: mosaic.sum(dim=1, keepdim=True),
        in_colour=True,
    ),
    Problem("fewer pixels", "sr", (2, 3, 4), 2, "times"),
    Problem("nothing: it has noise of its own", "blind"),
)


@dataclass(frozen=True)
class Case:
    """One photograph that is to be restored.

    Attributes:
        task: which undoes what happened.
        clean: the photograph before, ``(1, C, H, W)``; None where nobody has seen it.
        pixels: ``(1, C, h, w)``, as a file holds them.
        posed: the same as a method gets it.
    """

    task: Task
    clean: Tensor | None
    pixels: Tensor
    posed: Posed

    @property
    def left(self) -> Task:
        """The task for methods, see `Task.known_as`."""
        return TASKS[self.task.known_as]

    @property
    def degraded(self) -> Tensor:
        """What is there before anything is restored, as large as the clean photograph."""
        if self.clean is None or self.pixels.shape == self.clean.shape:
            return self.pixels
        if self.pixels.shape[-2:] == self.clean.shape[-2:]:
            return self.posed.planes
        times = self.clean.shape[-1] // self.pixels.shape[-1]
        return self.pixels.repeat_interleave(times, -1).repeat_interleave(times, -2)


@dataclass(frozen=True)
class Trial:
    """What a method made of a case.

    Attributes:
        method: its name.
        estimate: ``(1, C, H, W)``, not clipped.
        psnr: in dB of the clipped estimate, all of it; None where there is no clean photograph.
        seconds: it took, its weights being loaded.
        megabytes: by which this process's memory rose meanwhile, looked at every `LOOK` seconds.
            None where psutil is not installed.
    """

    method: str
    estimate: Tensor
    psnr: float | None
    seconds: float
    megabytes: float | None


def spoil(photo: Tensor, problem: Problem, value: Any) -> Case:
    """Let something happen to a photograph.

    Args:
        photo: ``(1, C, H, W)`` in [0, 1], C 1 or 3.
        problem: one of `PROBLEMS`.
        value: one of its values; without any, the photograph itself is what is to be restored.

    Raises:
        ImageError: if it cannot happen to this photograph.
    """
    task, name = TASKS[problem.task], "the photograph"
    if problem.in_colour and photo.shape[1] != 3:
        raise ImageError(f"{name} is gray: {problem.label} needs colours")
    if not problem.values:
        return Case(task, None, photo, task.pose(photo, None, name))
    degradation = task.degradation(value)
    clean = task.trim(photo, degradation)
    pixels = problem.in_file(degradation(clean, "playground"))
    return Case(task, clean, pixels, task.pose(pixels, value, name))


def fitting(case: Case) -> list[str]:
    """Methods that can restore a case here and now, without a download or another package.

    Classical ones first, then weights for this many channels before those that take each channel
    for a gray image, and of both those that were trained for this noise before others.
    """
    left, channels = case.left, case.posed.planes.shape[1]
    setting = left.setting(case.posed.degradation)
    value = left.value(setting)
    found = []
    for name in known_methods(left.name):
        weights = known_weights().get(name)
        if weights is None:
            if left.methods()[name].missing() is None:
                found.append((0, 0, 0, name))
            continue
        usual = MODELS[weights.model].config().channels
        own = int(weights.options.get("channels", usual))
        here = isinstance(weights, Card) or is_here(name)
        if here and channels % own == 0 and left.fits(weights, value) is not None:
            found.append((1, int(own != channels), int(weights.setting != setting), name))
    # Sorting keeps the order of the tables among equals.
    return [name for *_, name in sorted(found, key=lambda row: row[:3])]


def suggest(case: Case) -> list[str]:
    """Two of them to begin with, where there are two: a quick one, and what does best."""
    names = fitting(case)
    quick = case.left.quick if case.left.quick in names else names[0]
    best = best_for(case.task, case.posed)
    return list(dict.fromkeys([quick, best if best in names and best != quick else names[-1]]))


def attempt(case: Case, name: str, progress: Progress | None = None) -> Trial:
    """Restore a case by a method, and measure what that costs.

    Args:
        case: by `spoil`.
        name: see `fitting`.
        progress: called with the share done, from 0 to 1.

    Raises:
        ValueError: see `lessons_lib.evaluation.methods.restore`.
    """
    left, posed = case.left, case.posed
    find_method(name, left.name)  # loads weights, which is not the method's own time
    started = time.perf_counter()
    with watched_memory() as rise:
        estimate = run(name, posed.planes, posed.degradation, left.name, progress)
        seconds, megabytes = time.perf_counter() - started, rise()
    restored = case.task.finish(case.pixels, estimate)
    decibels = None
    if case.clean is not None:
        decibels = psnr(restored.clamp(0, 1), case.clean).item()
    return Trial(name, restored, decibels, seconds, megabytes)


@contextmanager
def watched_memory() -> Iterator[Callable[[], float | None]]:
    """Watch how far this process's memory rises, in MB; the function it yields says how far."""
    try:
        process = importlib.import_module("psutil").Process()
    except ImportError:
        yield lambda: None
        return
    _give_back()
    before = highest = process.memory_info().rss
    ended = threading.Event()

    def look() -> None:
        nonlocal highest
        highest = max(highest, process.memory_info().rss)

    def watch() -> None:
        while not ended.wait(LOOK):
            look()

    def rise() -> float:
        look()
        return (highest - before) / 1e6

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield rise
    finally:
        ended.set()
        watcher.join()


def _give_back() -> None:
    """Give the system what is no longer used, where it can be asked to, so that it counts again."""
    gc.collect()
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def differences(image: Tensor, reference: Tensor) -> Tensor:
    """``image − reference`` four times as strong about mid-grey, ``(1, C, H, W)``."""
    return 0.5 + 4 * (image - reference)
