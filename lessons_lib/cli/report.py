"""``lessons report`` and ``lessons explain-gap``: tables of results, and why numbers differ."""

from pathlib import Path
from typing import Annotated

import typer

from lessons_lib.cli.evaluate import DatasetName, Limit, describe
from lessons_lib.cli.options import (
    Device,
    Fast,
    Level,
    MethodName,
    ModelName,
    Overlap,
    Pattern,
    Quality,
    Scale,
    SigmaIfAny,
    TaskName,
    check_device,
    check_overlap,
    check_task,
    choose_for_dataset,
    choose_named,
    make_protocol,
)
from lessons_lib.cli.progress import progress_bar


def report(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Markdown files whose tables to renew; without any, print all."),
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Folder of kept scores, else those of the library.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of training runs, for the table of trainings.")
    ] = None,
) -> None:
    """Make tables of results from kept scores."""
    from lessons_lib.data import shipped
    from lessons_lib.evaluation.report import renew, tables

    made = tables(scores or shipped("scores"), runs)
    if not files:
        typer.echo("\n\n".join(f"{name}\n\n{table}" for name, table in made.items()))
    for file in files or ():
        renew(file, made)


def explain_gap(
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
    seeds: Annotated[int, typer.Option(min=0, help="Other draws of the noise to try.")] = 2,
    device: Device = "auto",
    overlap: Overlap = None,
) -> None:
    """Say how much of a difference each convention of scoring makes.

    The same estimates are scored by our protocol and by each other one in use; with --overlap those
    of other tiles too (the paper's share 44 pixels in gray images, 46 in colour). For trained
    weights also what their training was, beside the paper's: the other reason why numbers differ.
    """
    goal, value = check_task(
        task, sigma=sigma, pattern=pattern, quality=quality, scale=scale, level=level
    )
    check_device(device)
    named = choose_named(method, model, fast, goal)
    protocol = make_protocol(goal, dataset, value)
    name = choose_for_dataset(named, goal, dataset, value)
    check_overlap(overlap, name)
    from lessons_lib.checkpoints import cards
    from lessons_lib.evaluation import Inference
    from lessons_lib.evaluation.explain_gap import explain_gap as explain
    from lessons_lib.evaluation.explain_gap import explain_training, split_gap
    from lessons_lib.evaluation.paper import published
    from lessons_lib.evaluation.processes import together

    with together(device) as place, progress_bar(f"{name} on {dataset}") as show:
        found = explain(name, protocol, limit, show, Inference(place.device), seeds, overlap)
    ours = found[0]
    width = max(len(way.name) for way in found)
    typer.echo(f"{name} on {dataset}, {describe(protocol)}\n")
    typer.echo(f"{'':{width}}  PSNR/dB    SSIM  difference")
    for way in found:
        gap = "" if way is ours else f"  {way.psnr - ours.psnr:+.3f} dB {way.ssim - ours.ssim:+.4f}"
        typer.echo(f"{way.name:{width}}  {way.psnr:7.3f}  {way.ssim:.4f}{gap}")
    paper = published(name, protocol)
    if paper is not None and limit is None:
        ssim = "      " if paper.ssim is None else f"{paper.ssim:.4f}"
        gap = f"{paper.psnr - ours.psnr:+.3f} dB"
        typer.echo(f"{'published':{width}}  {paper.psnr:7.3f}  {ssim}  {gap} ({paper.source})")
    if name in cards():
        split = split_gap(name, protocol, found)
        typer.echo("\n" + "\n".join(filter(None, [split, explain_training(cards()[name])])))
