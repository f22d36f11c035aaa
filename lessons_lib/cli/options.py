"""Options that several commands share, and what is refused of them."""

import math
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

if TYPE_CHECKING:
    from lessons_lib.evaluation.protocols import Protocol, Task
    from lessons_lib.models.restore import Precision

METHODS_HELP = (
    "One of noisy, dct, dictionary, nlm, bm3d; to demosaic, bilinear or menon. "
    "Where neither a method nor a model is named: dictionary; for mosaics and files, a network."
)
DEFAULT_METHODS = {"denoise": "dictionary", "blind": "dictionary"}

TaskName = Annotated[
    str,
    typer.Option(
        "--task",
        help="denoise, blind (noise of unknown strength), demosaic (a sensor's mosaic), or jpeg "
        "(what compression did to a file).",
    ),
]
Sigma = Annotated[
    float, typer.Option(help="Standard deviation of the noise, on the scale where white is 255.")
]
SigmaIfAny = Annotated[
    float | None,
    typer.Option(
        "--sigma", help="Standard deviation of the noise, on the scale where white is 255."
    ),
]
Pattern = Annotated[
    str | None,
    typer.Option(help="Colours of a mosaic's top left 2 x 2 pixels: RGGB, BGGR, GRBG, GBRG."),
]
Quality = Annotated[
    int | None, typer.Option(min=1, max=100, help="Quality of the JPEG compression.")
]
MethodName = Annotated[str | None, typer.Option(help=METHODS_HELP, show_default=False)]
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


def check_task(
    task: str, *, sigma: float | None, pattern: str | None, quality: int | None
) -> "Task":
    """Refuse what is no task, and what a task has nothing to do with."""
    from lessons_lib.degradations import PATTERNS
    from lessons_lib.evaluation.protocols import Task

    if task not in get_args(Task):
        raise typer.BadParameter(f"is one of {', '.join(get_args(Task))}", param_hint="--task")
    for option, value, tasks in (
        ("--sigma", sigma, ("denoise", "blind")),
        ("--pattern", pattern, ("demosaic",)),
        ("--quality", quality, ("jpeg",)),
    ):
        if value is not None and task not in tasks:
            raise typer.BadParameter(f"says nothing about the task {task}", param_hint=option)
    if pattern is not None and pattern not in PATTERNS:
        raise typer.BadParameter(f"is one of {', '.join(PATTERNS)}", param_hint="--pattern")
    if sigma is not None:
        check_sigma(sigma)
    return cast(Task, task)


def required(option: str) -> typer.BadParameter:
    """What to raise where an option is missing."""
    return typer.BadParameter("is needed for this task", param_hint=option)


def make_protocol(
    task: "Task", dataset: str, *, sigma: float | None, pattern: str | None, quality: int | None
) -> "Protocol":
    """The protocol that the options ask for."""
    from lessons_lib.evaluation import protocols

    if task == "jpeg":
        if quality is None:
            raise required("--quality")
        return protocols.jpeg_restoration(dataset, quality)
    if task == "demosaic":
        return protocols.demosaicking(dataset, pattern or "BGGR")
    if sigma is None:
        raise required("--sigma")
    make = protocols.blind_denoising if task == "blind" else protocols.denoising
    return make(dataset, sigma)


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


def choose(task: "Task", method: str | None, model: str | None, quality: int | None = None) -> str:
    """Name of the classical method or the trained weights that were asked for.

    Where none was, the task's usual method, or the largest trained weights; for files of a quality,
    those that are nearest.
    """
    from lessons_lib.checkpoints import cards, load_card

    if model is not None:
        if method is not None:
            raise typer.BadParameter("give either a method or a model", param_hint="--model")
        return load_card(model).name
    if method is not None or task in DEFAULT_METHODS:
        return method or DEFAULT_METHODS[task]
    known = [card for card in cards().values() if card.task == task]
    # Weights for files much worse than this one would take its detail for artefacts.
    fit = [card for card in known if quality is None or abs(card.quality - quality) <= 10]
    if not known:
        raise typer.BadParameter(
            f"no weights for the task {task} come with the library: see 'lessons train'",
            param_hint="--model",
        )
    if not fit:
        there = ", ".join(f"{card.name} ({card.setting})" for card in known)
        raise typer.BadParameter(
            f"no weights are for quality {quality}; name some to use them all the same: {there}",
            param_hint="--model",
        )
    return min(fit, key=lambda card: (abs(card.quality - (quality or 0)), -card.parameters)).name
