"""``lessons denoise``: restore a photograph in a file."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Annotated

import typer

from lessons_lib.cli.progress import progress_bar

METHODS_HELP = "One of noisy, dct, dictionary, nlm, bm3d."

Sigma = Annotated[
    float, typer.Option(help="Standard deviation of the noise, on the scale where white is 255.")
]


def check_sigma(sigma: float) -> None:
    """Refuse what is no noise level."""
    if not (sigma > 0 and math.isfinite(sigma)):
        raise typer.BadParameter(f"must be a positive number, not {sigma:g}", param_hint="--sigma")


def denoise(
    image: Annotated[
        Path, typer.Argument(metavar="IN", help="Noisy photograph: PNG, JPEG, TIFF or BMP.")
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="Restored file; its suffix chooses the format.")
    ],
    sigma: Sigma,
    method: Annotated[str, typer.Option(help=METHODS_HELP)] = "dictionary",
) -> None:
    """Remove white Gaussian noise from a photograph. Transparency and bit depth are kept."""
    check_sigma(sigma)
    from lessons_lib.evaluation.benchmark import find_method, restore
    from lessons_lib.images import ImageError, check_writable, read_image, write_image

    find_method(method)
    check_writable(output)
    photo = read_image(image)
    check_writable(output, photo)
    # Also by another name: a link, or letters of the other case where those do not count.
    if output.exists() and image.samefile(output):
        raise ImageError(f"{output}: is the input itself; choose another output")
    started = time.perf_counter()
    with progress_bar(f"{method}: {image.name}") as show:
        estimate = restore(method, photo.pixels, sigma / 255, show)
    seconds = time.perf_counter() - started
    write_image(output, dataclasses.replace(photo, pixels=estimate))
    height, width = estimate.shape[-2:]
    kind = {1: "gray", 3: "RGB"}[estimate.shape[1]]
    typer.echo(
        f"{output}: {width} x {height} {kind} denoised with {method} at sigma {sigma:g} "
        f"in {seconds:.1f} s",
        err=True,
    )
