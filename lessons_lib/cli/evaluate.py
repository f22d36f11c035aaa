"""``lessons evaluate``: score a method or trained weights on a data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lessons_lib.cli.options import (
    Device,
    Fast,
    Level,
    MethodName,
    ModelName,
    Overlap,
    Pattern,
    PrecisionName,
    Quality,
    Scale,
    SigmaIfAny,
    TaskName,
    check_csv,
    check_device,
    check_overlap,
    check_precision,
    check_task,
    choose_for_dataset,
    choose_named,
    make_protocol,
)
from lessons_lib.cli.progress import progress_bar
from lessons_lib.files import replace_file

if TYPE_CHECKING:
    from lessons_lib.evaluation import Protocol, Score

DatasetName = Annotated[
    str, typer.Option(help="Name, see 'lessons data list'; or a folder of clean photographs.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first so many images.")]


def evaluate(
    task: TaskName = "denoise",
    sigma: SigmaIfAny = None,
    pattern: Pattern = None,
    quality: Quality = None,
    scale: Scale = None,
    level: Level = None,
    method: MethodName = None,
    model: ModelName = None,
    fast: Fast = False,
    dataset: DatasetName = "samples",
    limit: Limit = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    store: Annotated[
        Path | None,
        typer.Option(
            help="Keep the score in this folder, for 'lessons report'; broken off, the same "
            "command goes on after the last image."
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write the scores of each image into this file.")
    ] = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    overlap: Overlap = None,
) -> None:
    """Score a method or trained weights on a data set, beside what was published.

    Each image is degraded as the task says, and what is restored of it compared with the original.
    Images, weights and methods of one's own are scored by the same protocol:
    --dataset photos/ --model mine.safetensors, or --model mine.py:Network. Under torchrun the
    processes share the images.
    """
    goal, value = check_task(
        task, sigma=sigma, pattern=pattern, quality=quality, scale=scale, level=level
    )
    check_device(device)
    form = check_precision(precision)
    if store is not None and limit is not None:
        raise typer.BadParameter("only scores of whole data sets are kept", param_hint="--store")
    if csv is not None:
        check_csv(csv)
    named = choose_named(method, model, fast, goal)
    protocol = make_protocol(goal, dataset, value)
    name = choose_for_dataset(named, goal, dataset, value)
    check_overlap(overlap, name)
    import json

    from lessons_lib.data import dataset_names
    from lessons_lib.evaluation import Inference, find_method
    from lessons_lib.evaluation import evaluate as run
    from lessons_lib.evaluation.methods import known_methods
    from lessons_lib.evaluation.processes import describe_device, together
    from lessons_lib.evaluation.scores import store as keep
    from lessons_lib.evaluation.unfinished import Unfinished

    find_method(name, goal.name)
    if store is not None and not (name in known_methods(goal.name) and dataset in dataset_names()):
        raise typer.BadParameter(
            "tables hold methods and data sets of the library; --csv writes what is one's own",
            param_hint="--store",
        )
    with together(device) as place:
        with progress_bar(f"{name} on {dataset}", shown=place.speaks) as show:
            inference = Inference(place.device, form, overlap)
            measured_on = describe_device(place.device)
            unfinished = Unfinished(store, measured_on) if store is not None else None
            score = run(name, protocol, limit, show, inference, unfinished)
        if not place.speaks:
            return
        if store is not None and unfinished is not None:
            keep(score, store, measured_on)
            unfinished.remove(score)
    if csv is not None:
        replace_file(csv, _rows(score).encode())
    if as_json:
        typer.echo(json.dumps(score.as_dict(), allow_nan=False, indent=2))
    else:
        typer.echo(_table(score))


def describe(protocol: "Protocol") -> str:
    """What is restored, in words: "sigma 25", or "jpeg, q 10"."""
    from lessons_lib.tasks import TASKS

    setting = protocol.setting.replace("=", " ")
    return ", ".join(filter(None, (TASKS[protocol.task].mark, setting)))


def _rows(score: "Score") -> str:
    """The scores of each image as a CSV file, whose rows can be joined with those of others."""
    from csv import DictWriter
    from dataclasses import asdict
    from io import StringIO

    protocol = score.protocol
    same = {"method": score.method, "dataset": protocol.dataset, "task": protocol.task}
    same["setting"] = protocol.setting
    rows = [{**same, **asdict(image)} for image in score.per_image]
    text = StringIO()
    table = DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _table(score: "Score") -> str:
    protocol, seed = score.protocol, getattr(score.protocol.degradation, "seed", None)
    width = max(len("difference"), *(len(row.file) for row in score.per_image))
    lines = [
        f"{score.method} on {protocol.dataset}, {describe(protocol)}",
        f"scored on {protocol.channel}, "
        + ("clipped" if protocol.clip else "not clipped")
        + (", rounded to 8 bits" if protocol.rounding else "")
        + f", SSIM {protocol.ssim}"
        + ("" if seed is None else f", noise seed {seed}"),
        "",
        f"{'image':{width}}  PSNR/dB    SSIM  seconds",
    ]
    rows = [(row.file, row.psnr, row.ssim, row.seconds) for row in score.per_image]
    rows.append(("mean", score.psnr, score.ssim, score.seconds_per_image))
    lines += [f"{name:{width}}  {psnr:7.2f}  {ssim:6.4f}  {s:7.2f}" for name, psnr, ssim, s in rows]
    paper = score.paper
    if paper is not None:
        ssim = f"  {paper.ssim:6.4f}" if paper.ssim is not None else ""
        lines.append(f"{'published':{width}}  {paper.psnr:7.2f}{ssim}   ({paper.source})")
        lines.append(f"{'difference':{width}}  {score.psnr - paper.psnr:+7.2f}")
    return "\n".join(lines)
