"""``lessons restore`` and its short form ``lessons denoise``: restore a photograph in a file."""

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from torch import Tensor

    from lessons_lib.degradations import Degradation
    from lessons_lib.evaluation.protocols import Task

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
    goal = check_task(task, sigma=sigma, pattern=pattern, quality=quality)
    if goal == "denoise" and sigma is None:
        raise required("--sigma")
    if goal == "demosaic" and pattern is None:
        raise required("--pattern")
    check_device(device)
    form = check_precision(precision)
    from lessons_lib.evaluation.methods import Inference, find_method
    from lessons_lib.evaluation.methods import restore as run
    from lessons_lib.evaluation.processes import together
    from lessons_lib.images import ImageError, check_writable, jpeg_quality, read_image, write_image

    if goal != "jpeg":
        # What is not there is said before anything is read.
        name = choose(goal, method, model)
        check_overlap(overlap, name)
        find_method(name, goal)
    check_writable(output)
    photo = read_image(image)
    check_writable(output, photo)
    # Also by another name: a link, or letters of the other case where those do not count.
    if output.exists() and image.samefile(output):
        raise ImageError(f"{output}: is the input itself; choose another output")
    if goal == "jpeg":
        quality = quality or jpeg_quality(image)
        if quality is None:
            raise ImageError(f"{image}: is no JPEG file; say its quality with --quality")
        name = choose(goal, method, model, quality)
        check_overlap(overlap, name)
    planes, what, verb, how = _pose(goal, photo.pixels, sigma, pattern, quality, str(image))
    started = time.perf_counter()
    with together(device) as place, progress_bar(f"{name}: {image.name}") as show:
        inference = Inference(place.device, form, overlap)
        # Noise of unknown strength is known by now.
        known = "denoise" if goal == "blind" else goal
        estimate = run(name, planes, what, known, show, inference)
    seconds = time.perf_counter() - started
    if goal == "jpeg":
        estimate = _with_luma(photo.pixels, estimate)
    write_image(output, dataclasses.replace(photo, pixels=estimate))
    height, width = estimate.shape[-2:]
    kind = {1: "gray", 3: "RGB"}[estimate.shape[1]]
    typer.echo(
        f"{output}: {width} x {height} {kind} {verb} with {name} {how} in {seconds:.1f} s", err=True
    )


def _pose(
    task: "Task",
    pixels: "Tensor",
    sigma: float | None,
    pattern: str | None,
    quality: int | None,
    path: str,
) -> tuple["Tensor", "Degradation", str, str]:
    """What a method gets: the planes to restore, what happened to them, and words for that."""
    from lessons_lib.degradations import JPEG, BayerMosaic, GaussianNoise
    from lessons_lib.images import ImageError
    from lessons_lib.ops.colour import rgb_to_luma
    from lessons_lib.ops.noise_level import SMALLEST, estimate_sigma

    if task == "demosaic":
        if pixels.shape[1] != 1:
            raise ImageError(f"{path}: has three colours at each pixel, a mosaic has one")
        mosaic = BayerMosaic(pattern or "")
        return mosaic(pixels.expand(-1, 3, -1, -1)), mosaic, "demosaicked", f"from {pattern}"
    if task == "jpeg":
        planes = rgb_to_luma(pixels) if pixels.shape[1] == 3 else pixels
        return planes, JPEG(quality or 0), "restored", f"from JPEG quality {quality}"
    if sigma is not None:
        return pixels, GaussianNoise(sigma / 255), "denoised", f"at sigma {sigma:g}"
    if min(pixels.shape[-2:]) < SMALLEST:
        raise ImageError(f"{path}: too small to find its noise; say how strong it is with --sigma")
    found = max(estimate_sigma(pixels).item() * 255, 0.1)
    return pixels, GaussianNoise(found / 255), "denoised", f"at an estimated sigma of {found:.1f}"


def _with_luma(pixels: "Tensor", luma: "Tensor") -> "Tensor":
    """The image with another luma and the colours that it had."""
    import torch

    from lessons_lib.ops.colour import rgb_to_ycbcr, ycbcr_to_rgb

    if pixels.shape[1] == 1:
        return luma
    return ycbcr_to_rgb(torch.cat([luma, rgb_to_ycbcr(pixels)[:, 1:]], dim=1))
