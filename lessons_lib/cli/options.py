"""Options that several commands share, and what is refused of them."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lessons_lib.files import part_of

if TYPE_CHECKING:
    from lessons_lib.evaluation.protocols import Protocol
    from lessons_lib.models.restorer import Precision
    from lessons_lib.tasks import Task

METHODS_HELP = (
    "One of noisy, dct, dictionary, nlm, bm3d; to demosaic, bilinear or menon; to "
    "enlarge, bicubic. Where nothing is named: the trained weights that score best."
)

TaskName = Annotated[
    str,
    typer.Option(
        "--task",
        help="denoise, blind (noise of unknown strength, white or not), demosaic (a sensor's "
        "mosaic), camera (noise of a camera's files), jpeg (what compression did to a file), or sr "
        "(super-resolution: a photograph that is too small).",
    ),
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
Level = Annotated[
    float | None, typer.Option(help="Strength of a camera's simulated noise, from 0 to 1.")
]
Scale = Annotated[
    int | None, typer.Option(min=2, max=8, help="How many times larger the photograph becomes.")
]
MethodName = Annotated[str | None, typer.Option(help=METHODS_HELP, show_default=False)]
ModelName = Annotated[
    str | None,
    typer.Option(
        help="Trained weights instead, see 'lessons models'; a .safetensors file of one's own; or "
        "a function or a network of one's own, file.py:name.",
        show_default=False,
    ),
]
Fast = Annotated[
    bool,
    typer.Option(
        "--fast",
        help="A classical method that takes seconds: dictionary, bilinear for mosaics, bicubic.",
    ),
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
        help="Pixels that the tiles in which some weights work share at least: more take longer "
        "and score a little better. Of tiles of 56 (SC, CSR, GroupSC) a patch's side less one, of "
        "smaller ones (NLRN, NSR) half a side, if not given.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda: where trained weights work.")]


def check_sigma(sigma: float) -> None:
    """Refuse what is no noise level."""
    if not (sigma > 0 and math.isfinite(sigma)):
        raise typer.BadParameter(f"must be a positive number, not {sigma:g}", param_hint="--sigma")


def check_task(task: str, **given: Any) -> "tuple[Task, Any]":
    """The task of a name, and its value among what other options say.

    Refuses what is no task, what the task has nothing to do with, and impossible values.

    Args:
        task: its name.
        given: what each option of a task says; None if it was not given. An option that a command
            does not have is left out.
    """
    from lessons_lib.tasks import TASKS

    if task not in TASKS:
        raise typer.BadParameter(f"is one of {', '.join(TASKS)}", param_hint="--task")
    goal = TASKS[task]
    for option, value in given.items():
        if value is not None and option != goal.option:
            raise typer.BadParameter(
                f"says nothing about the task {task}", param_hint=f"--{option}"
            )
    value = given.get(goal.option)
    if value is not None:
        if goal.option == "sigma":
            check_sigma(value)
        try:
            goal.degradation(value)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint=f"--{goal.option}") from error
    return goal, value


def required(option: str) -> typer.BadParameter:
    """What to raise where an option is missing."""
    return typer.BadParameter("is needed for this task", param_hint=f"--{option}")


def make_protocol(task: "Task", dataset: str, value: Any) -> "Protocol":
    """The protocol that the options ask for."""
    from lessons_lib.evaluation.protocols import protocol

    if value is None and task.needs_value:
        raise required(task.option)
    return protocol(task.name, dataset, value)


def check_csv(path: Path) -> None:
    """Refuse a table that could not be written, before anything is measured.

    Folders that are missing are made when it is.
    """
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir() or not above.is_dir():
        raise typer.BadParameter("is no place for a file", param_hint="--csv")
    try:
        with part_of(path) as part:
            part.touch()
    except OSError as error:
        reason = f"cannot be written: {error.strerror}"
        raise typer.BadParameter(reason, param_hint="--csv") from error


def check_device(device: str) -> None:
    """Refuse what is no device, or none of this machine."""
    if device not in ("auto", "cpu", "cuda"):
        raise typer.BadParameter("is one of auto, cpu, cuda", param_hint="--device")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise typer.BadParameter("no CUDA device is to be had here", param_hint="--device")


def check_precision(precision: str) -> "Precision":
    """Refuse what is no precision."""
    from lessons_lib.models.restorer import PRECISIONS

    if precision not in PRECISIONS:
        raise typer.BadParameter(f"is one of {', '.join(PRECISIONS)}", param_hint="--precision")
    return precision


def check_overlap(overlap: int | None, name: str) -> None:
    """Refuse tiles for a method that has none."""
    if overlap is None:
        return
    from lessons_lib.checkpoints import find_card
    from lessons_lib.models import build

    weights = find_card(name)
    options = build(weights.model, weights.options).application.options if weights else set()
    if "overlap" not in options:
        raise typer.BadParameter(
            f"{name} does not work in tiles that overlap", param_hint="--overlap"
        )


def choose_named(method: str | None, model: str | None, fast: bool, task: "Task") -> str | None:
    """Name of the classical method or the trained weights that were asked for; None if none was.

    Refuses more than one, and what there is not.
    """
    from lessons_lib.evaluation.methods import find_model

    if sum([method is not None, model is not None, fast]) > 1:
        raise typer.BadParameter("give one of --method, --model and --fast", param_hint="--method")
    if model is not None:
        return find_model(model)
    if fast and not task.quick:
        raise typer.BadParameter(f"the task {task.name} has no quick method", param_hint="--fast")
    return task.quick if fast else method


def choose_for_dataset(named: str | None, task: "Task", dataset: str, value: Any) -> str:
    """What was named, or else the weights that do best on images like a data set's."""
    from lessons_lib.evaluation.best import best_weights

    return named or best_weights(task, 3 if task.channel(dataset) == "rgb" else 1, value)
