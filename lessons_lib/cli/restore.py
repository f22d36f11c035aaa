"""``lessons restore`` and its short form ``lessons denoise``: restore photographs in files."""

import dataclasses
import math
import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lessons_lib.cli.options import (
    Device,
    Fast,
    MethodName,
    ModelName,
    Overlap,
    Pattern,
    PrecisionName,
    Quality,
    Scale,
    SigmaIfAny,
    TaskName,
    check_device,
    check_overlap,
    check_precision,
    check_task,
    choose_named,
    required,
)
from lessons_lib.cli.photographs import Job, line_up
from lessons_lib.cli.progress import progress_bar
from lessons_lib.cli.refusals import refusal

if TYPE_CHECKING:
    from torch import Tensor

    from lessons_lib.evaluation import Inference
    from lessons_lib.images import Photo
    from lessons_lib.tasks import Task

QUICKER = "--fast takes a method that is quicker, and not as good"

Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="IN... OUT",
        help="Photograph to restore, and the file to write, whose suffix chooses the format: PNG, "
        "JPEG, TIFF, WebP or BMP; - is standard input or output. With --out, photographs alone.",
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("--out", help="Folder for what several photographs become, under their names."),
]
Range = Annotated[
    tuple[float, float] | None,
    typer.Option(
        "--range",
        help="The values that are black and white in the files, where these are others than the "
        "type's: 0 1023 for 10 bits stored as 16.",
    ),
]


SigmaMap = Annotated[
    Path | None,
    typer.Option(
        help="Gray picture of the noise, as large as the photograph: its value is sigma, on the "
        "scale where white is 255. For weights that can be told so: FFDNet.",
    ),
]


def denoise(
    paths: Paths,
    sigma: SigmaIfAny = None,
    sigma_map: SigmaMap = None,
    out: Folder = None,
    method: MethodName = None,
    model: ModelName = None,
    fast: Fast = False,
    value_range: Range = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    overlap: Overlap = None,
) -> None:
    """Remove white Gaussian noise from photographs, keeping transparency, bits and metadata."""
    restore(
        paths,
        sigma=sigma,
        sigma_map=sigma_map,
        out=out,
        method=method,
        model=model,
        fast=fast,
        value_range=value_range,
        device=device,
        precision=precision,
        overlap=overlap,
    )


def restore(
    paths: Paths,
    task: TaskName = "denoise",
    sigma: SigmaIfAny = None,
    sigma_map: SigmaMap = None,
    pattern: Pattern = None,
    quality: Quality = None,
    scale: Scale = None,
    out: Folder = None,
    method: MethodName = None,
    model: ModelName = None,
    fast: Fast = False,
    value_range: Range = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    overlap: Overlap = None,
) -> None:
    """Restore photographs: remove noise, or what a sensor or a compression did to them.

    A mosaic is a gray image in which each pixel is of the colour that --pattern, or the file
    itself, says; colours stay those of the sensor. The quality of a JPEG file is found in the file.
    With --task sr photographs become larger, --scale times.
    """
    goal, value = check_task(task, sigma=sigma, pattern=pattern, quality=quality, scale=scale)
    if sigma_map is not None:
        if goal.option != "sigma" or value is not None or model is None:
            raise typer.BadParameter(
                "goes with --model, without --sigma, where noise is removed",
                param_hint="--sigma-map",
            )
    elif goal.required and value is None:
        raise required(goal.option)
    if value_range is not None and not -math.inf < value_range[0] < value_range[1] < math.inf:
        raise typer.BadParameter("black must be less than white", param_hint="--range")
    check_device(device)
    form = check_precision(precision)
    named = choose_named(method, model, fast, goal)
    if named is not None:
        # What is not there is said before anything is read.
        from lessons_lib.evaluation.methods import find_method

        check_overlap(overlap, named)
        find_method(named, goal.name)
    from lessons_lib.evaluation import Inference
    from lessons_lib.evaluation.processes import together
    from lessons_lib.images import ImageError

    refused = 0
    with line_up(paths, out) as jobs, together(device) as place:
        if sigma_map is not None:
            value = _read_map(sigma_map)
        work = _Work(goal, value, named, value_range, Inference(place.device, form, overlap))
        for job in jobs:
            try:
                typer.echo(work.do(job), err=True)
            except Exception as error:
                line = refusal(error)
                if line is None:
                    raise
                # What standard input brought lies in a file that nobody knows of.
                line = " ".join(line.split()).replace(str(job.source), job.name)
                which = "" if job.name in line else f"{job.name}: "
                if len(jobs) == 1:
                    if job.name == str(job.source):
                        raise
                    raise ImageError(f"{which}{line}") from error
                refused += 1
                typer.echo(f"lessons: {which}{line}", err=True)
    if refused:
        raise typer.Exit(2)


def _read_map(path: Path) -> "Tensor":
    """The noise of each pixel on the [0, 1] scale, ``(1, 1, H, W)``."""
    from lessons_lib.images import ImageError, read_image

    pixels = read_image(path).pixels
    if pixels.shape[1] != 1 or pixels.max() <= 0 or pixels.min() < 0:
        raise ImageError(f"{path}: a map of the noise is gray, and not black everywhere")
    return pixels


@dataclasses.dataclass
class _Log:
    """What is said of one file, however many pictures it holds."""

    done: dict[str, None] = dataclasses.field(default_factory=dict)
    noted: set[str] = dataclasses.field(default_factory=set)

    def note(self, line: str) -> None:
        """Say something once."""
        if line not in self.noted:
            self.noted.add(line)
            typer.echo(line, err=True)


@dataclasses.dataclass
class _Work:
    """What is to be done to every photograph."""

    task: "Task"
    value: Any
    named: str | None
    value_range: tuple[float, float] | None
    inference: "Inference"

    def do(self, job: Job) -> str:
        """Restore one file, all pictures in it; say what was done."""
        from lessons_lib.images import (
            ImageError,
            check_writable,
            left_out,
            open_images,
            write_images,
        )

        if job.target is not None:
            check_writable(job.target)
        started = time.perf_counter()
        log = _Log()
        with open_images(job.source, self.value_range) as pictures:
            rest = iter(pictures)
            first = next(rest)
            suffix = ".tif" if len(pictures) > 1 or first.bits == 32 else ".png"
            target = job.target or job.scratch / f"stdout{suffix}"
            check_writable(target, first, len(pictures))
            # Also by another name: a link, or letters of the other case where those do not count.
            if target.exists() and job.source.samefile(target):
                raise ImageError(f"{target}: is the input itself; choose another output")
            if lost := left_out(target, first):
                log.note(f"{job.name}: {target.suffix} cannot hold {', '.join(lost)}")
            # One after the other: a stack need not fit into memory.
            restored = (self.restore(photo, job, log) for photo in chain([first], rest))
            write_images(target, restored, like=pictures)
            count = len(pictures)
        seconds = time.perf_counter() - started
        height, width = first.pixels.shape[-2:]
        size = f"{width} x {height}" if count == 1 else f"{count} pictures of {width} x {height}"
        return f"{job.deliver(target)}: {size} {', '.join(log.done)} in {seconds:.1f} s"

    def restore(self, photo: "Photo", job: Job, log: "_Log") -> "Photo":
        """Restore one picture."""
        from lessons_lib.evaluation.best import best_for, misgiving
        from lessons_lib.evaluation.methods import find_method
        from lessons_lib.evaluation.methods import restore as run
        from lessons_lib.tasks import TASKS

        value = self.value
        if value is None:
            value = self.task.find_value(photo, job.source, job.name)
        posed = self.task.pose(photo.pixels, value, job.name)
        for note in (*photo.notes, *posed.notes):
            log.note(f"{job.name}: {note}")
        left = TASKS[self.task.known_as]
        name = self.named or best_for(self.task, posed)
        if not (self.named or posed.method):
            check_overlap(self.inference.overlap, name)
        if advice := find_method(name, left.name, self.inference).advice():
            log.note(f"{name}: {advice}")
        if doubt := misgiving(name, self.task, posed):
            log.note(f"{name}: {doubt}")
        quicker = QUICKER if self.named is None and self.task.quick not in ("", name) else ""
        with progress_bar(f"{name}: {job.name}", quicker=quicker) as show:
            args = (name, posed.planes, posed.degradation, left.name, show, self.inference)
            estimate = self.task.finish(photo.pixels, run(*args))
        kind = {1: "gray", 3: "RGB"}[estimate.shape[1]]
        verb, how = posed.words
        log.done[f"{kind} {verb} with {name} {how}"] = None
        return _with_pixels(photo, estimate)


def _with_pixels(photo: "Photo", pixels: "Tensor") -> "Photo":
    """The photograph with others; what depends on their number goes along."""
    times = pixels.shape[-1] // photo.pixels.shape[-1]
    if times == 1:
        return dataclasses.replace(photo, pixels=pixels)
    from lessons_lib.ops.resize import imresize

    alpha, dpi = photo.alpha, photo.dpi
    return dataclasses.replace(
        photo,
        pixels=pixels,
        alpha=None if alpha is None else imresize(alpha, times).clamp(0, 1),
        # It is as large on paper as before. What a TIFF says of its pixels' size holds no more.
        dpi=None if dpi is None else (times * dpi[0], times * dpi[1]),
        tiff=None,
    )
