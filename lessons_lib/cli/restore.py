"""``lessons restore`` and its short form ``lessons denoise``: restore a photograph in a file."""

import dataclasses
import time
from pathlib import Path
from typing import Annotated

import typer

from lessons_lib.cli.options import (
    Device,
    MethodName,
    ModelName,
    Overlap,
    Pattern,
    PrecisionName,
    Quality,
    Sigma,
    SigmaIfAny,
    TaskName,
    check_device,
    check_overlap,
    check_precision,
    check_task,
    choose,
    required,
)
from lessons_lib.cli.progress import progress_bar

Input = Annotated[
    Path, typer.Argument(metavar="IN", help="Photograph to restore: PNG, JPEG, TIFF or BMP.")
]
Output = Annotated[
    Path, typer.Argument(metavar="OUT", help="Restored file; its suffix chooses the format.")
]


def denoise(
    image: Input,
    output: Output,
    sigma: Sigma,
    method: MethodName = None,
    model: ModelName = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    overlap: Overlap = None,
) -> None:
    """Remove white Gaussian noise from a photograph. Transparency and bit depth are kept."""
    restore(
        image,
        output,
        sigma=sigma,
        method=method,
        model=model,
        device=device,
        precision=precision,
        overlap=overlap,
    )


def restore(
    image: Input,
    output: Output,
    task: TaskName = "denoise",
    sigma: SigmaIfAny = None,
    pattern: Pattern = None,
    quality: Quality = None,
    method: MethodName = None,
    model: ModelName = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    overlap: Overlap = None,
) -> None:
    """Restore a photograph: remove noise, or what a sensor or a compression did to it.

    A mosaic is a gray image in which each pixel is of the colour that --pattern says. The quality
    of a JPEG file is found in the file.
    """
    goal, value = check_task(task, sigma=sigma, pattern=pattern, quality=quality)
    if goal.required and value is None:
        raise required(goal.option)
    check_device(device)
    form = check_precision(precision)
    from lessons_lib.evaluation.methods import Inference, find_method
    from lessons_lib.evaluation.methods import restore as run
    from lessons_lib.evaluation.processes import together
    from lessons_lib.images import ImageError, check_writable, read_image, write_image

    name = ""
    if not goal.in_file:
        # What is not there is said before anything is read.
        name = choose(goal, method, model, value)
        check_overlap(overlap, name)
        find_method(name, goal.name)
    check_writable(output)
    photo = read_image(image)
    check_writable(output, photo)
    # Also by another name: a link, or letters of the other case where those do not count.
    if output.exists() and image.samefile(output):
        raise ImageError(f"{output}: is the input itself; choose another output")
    if goal.in_file:
        value = value or goal.find_value(image)
        name = choose(goal, method, model, value)
        check_overlap(overlap, name)
    posed = goal.pose(photo.pixels, value, str(image))
    started = time.perf_counter()
    with together(device) as place, progress_bar(f"{name}: {image.name}") as show:
        inference = Inference(place.device, form, overlap)
        estimate = run(name, posed.planes, posed.degradation, goal.known_as, show, inference)
    seconds = time.perf_counter() - started
    estimate = goal.finish(photo.pixels, estimate)
    write_image(output, dataclasses.replace(photo, pixels=estimate))
    height, width = estimate.shape[-2:]
    kind = {1: "gray", 3: "RGB"}[estimate.shape[1]]
    verb, how = posed.words
    typer.echo(
        f"{output}: {width} x {height} {kind} {verb} with {name} {how} in {seconds:.1f} s", err=True
    )
