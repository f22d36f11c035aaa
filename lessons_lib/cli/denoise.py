"""``lessons denoise``: restore a photograph in a file."""

import dataclasses
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lessons_lib.cli.progress import progress_bar

if TYPE_CHECKING:
    from lessons_lib.models.restore import Precision

METHODS_HELP = "One of noisy, dct, dictionary, nlm, bm3d."
DEFAULT_METHOD = "dictionary"

Sigma = Annotated[
    float, typer.Option(help="Standard deviation of the noise, on the scale where white is 255.")
]

MethodName = Annotated[str | None, typer.Option(help=METHODS_HELP, show_default=DEFAULT_METHOD)]
ModelName = Annotated[
    str | None, typer.Option(help="Trained weights instead, see 'lessons models'.")
]
PrecisionName = Annotated[
    str,
    typer.Option(
        "--precision",
        help="How trained weights compute: auto, reference, fp32 or bf16 (half precision).",
    ),
]
Overlap = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=55,
        help="Pixels that the tiles of 56, in which trained weights work, share at least: more "
        "take longer and score a little better. A patch's side less one, if not given.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda: where trained weights work.")]


def check_sigma(sigma: float) -> None:
    """Refuse what is no noise level."""
    if not (sigma > 0 and math.isfinite(sigma)):
        raise typer.BadParameter(f"must be a positive number, not {sigma:g}", param_hint="--sigma")


def check_device(device: str) -> None:
    """Refuse what is no device."""
    if device not in ("auto", "cpu", "cuda"):
        raise typer.BadParameter("is one of auto, cpu, cuda", param_hint="--device")


def check_precision(precision: str) -> "Precision":
    """Refuse what is no precision."""
    from lessons_lib.models.restore import PRECISIONS

    if precision not in PRECISIONS:
        raise typer.BadParameter(f"is one of {', '.join(PRECISIONS)}", param_hint="--precision")
    return precision


def check_overlap(overlap: int | None, name: str) -> None:
    """Refuse tiles for a method that has none."""
    from lessons_lib.checkpoints import cards

    if overlap is not None and name not in cards():
        raise typer.BadParameter("only trained weights work in tiles", param_hint="--overlap")


def choose(method: str | None, model: str | None) -> str:
    """Name of the classical method or the trained weights that were asked for."""
    if model is None:
        return method or DEFAULT_METHOD
    if method is not None:
        raise typer.BadParameter("give either a method or a model", param_hint="--model")
    from lessons_lib.checkpoints import load_card

    return load_card(model).name


def denoise(
    image: Annotated[
        Path, typer.Argument(metavar="IN", help="Noisy photograph: PNG, JPEG, TIFF or BMP.")
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="Restored file; its suffix chooses the format.")
    ],
    sigma: Sigma,
    method: MethodName = None,
    model: ModelName = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    overlap: Overlap = None,
) -> None:
    """Remove white Gaussian noise from a photograph. Transparency and bit depth are kept."""
    check_sigma(sigma)
    check_device(device)
    form = check_precision(precision)
    name = choose(method, model)
    check_overlap(overlap, name)
    from lessons_lib.evaluation.benchmark import Inference, find_method, restore
    from lessons_lib.evaluation.processes import together
    from lessons_lib.images import ImageError, check_writable, read_image, write_image

    find_method(name)
    check_writable(output)
    photo = read_image(image)
    check_writable(output, photo)
    # Also by another name: a link, or letters of the other case where those do not count.
    if output.exists() and image.samefile(output):
        raise ImageError(f"{output}: is the input itself; choose another output")
    started = time.perf_counter()
    with together(device) as place, progress_bar(f"{name}: {image.name}") as show:
        inference = Inference(place.device, form, overlap)
        estimate = restore(name, photo.pixels, sigma / 255, show, inference)
    seconds = time.perf_counter() - started
    write_image(output, dataclasses.replace(photo, pixels=estimate))
    height, width = estimate.shape[-2:]
    kind = {1: "gray", 3: "RGB"}[estimate.shape[1]]
    typer.echo(
        f"{output}: {width} x {height} {kind} denoised with {name} at sigma {sigma:g} "
        f"in {seconds:.1f} s",
        err=True,
    )
