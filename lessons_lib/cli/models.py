"""``lessons models``: trained weights that come with the library, and what others published."""

import functools
import json
from pathlib import Path
from typing import Annotated

import typer

from lessons_lib.cli.progress import progress_bar

app = typer.Typer(
    invoke_without_command=True,
    help="List trained weights; make new ones; download those that authors published, whose names "
    "have an @. Hours are those of the last stage, and in all those of all training that it goes "
    "back to, too.",
)


@app.callback()
def list_models(
    context: typer.Context,
    macs: Annotated[
        bool,
        typer.Option(
            "--macs",
            help="Add thousands of multiply-accumulates for each pixel, counted on a crop.",
        ),
    ] = False,
) -> None:
    """List trained weights; make new ones; download those that authors published."""
    if context.invoked_subcommand is not None:
        return
    from lessons_lib.checkpoints import cards
    from lessons_lib.published import published_weights

    costs = functools.cache(_kilo_macs) if macs else lambda model, options: ()
    head = ("name", "model", "trained for", "parameters", *(["kMAC"] if macs else []))
    rows: list[tuple[str, ...]] = [(*head, "steps", "hours", "in all", "trained on")]
    for card in cards().values():
        steps = str(card.steps) if card.finished else f"{card.steps} of {card.run['steps']}"
        hours = f"{sum(card.hours.values()):.2f}"
        spent = (hours, f"{card.hours_in_all:.2f}")
        parameters = f"{card.parameters:,}"
        known = (card.name, card.model, card.setting, parameters)
        cost = costs(card.model, json.dumps(card.options))
        rows.append((*known, *cost, steps, *spent, card.data))
    _print_table(rows)
    typer.echo()
    head = ("published", "model", "trained for", "parameters", *(["kMAC"] if macs else []))
    rows = [(*head, "licence", "origin")]
    for weights in published_weights().values():
        cost = costs(weights.model, json.dumps(weights.options))
        facts = (f"{weights.parameters:,}", *cost, weights.licence, weights.repository)
        rows.append((weights.name, weights.model, weights.setting, *facts))
    _print_table(rows)


def _kilo_macs(model: str, options: str) -> tuple[str]:
    """The cell of a table, from a model's name and options."""
    from lessons_lib.models import build
    from lessons_lib.models.macs import macs_per_pixel

    return (f"{macs_per_pixel(build(model, json.loads(options))) / 1000:,.0f}",)


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Say what is known of weights: where they come from, how they score, and where BM3D is better.

    A picture is named where BM3D is better by half a decibel on it.
    """
    from lessons_lib.checkpoints import Card, load_card
    from lessons_lib.data import shipped
    from lessons_lib.evaluation.against import matches
    from lessons_lib.evaluation.scores import stored
    from lessons_lib.published import find_published

    weights = find_published(name) if "@" in name else load_card(name)
    facts = {"model": weights.model, "trained for": weights.setting}
    facts |= {"parameters": f"{weights.parameters:,}", "licence": weights.licence}
    if isinstance(weights, Card):
        facts["data"] = f"{weights.data} ({weights.data_licence})"
    for label, value in facts.items():
        typer.echo(f"{label + ':':13}{value}")
    beside = {match.score.place: match for match in matches(weights.name)}
    rows: list[tuple[str, ...]] = [("data set", "setting", "PSNR", "print", "BM3D", "worst")]
    for score in stored(shipped("scores")):
        if score.method != weights.name or score.stale or score.overlap is not None:
            continue
        paper, match = score.paper, beside.get(score.place)
        printed = f"{paper.psnr:.2f}" if paper else ""
        bm3d = worst = ""
        if match:
            bm3d = f"{match.mean:+.2f}"
            if match.worst_difference < -0.5:
                worst = f"{match.worst_difference:+.2f} {match.worst}"
        rows.append((score.dataset, score.setting, f"{score.psnr:.2f}", printed, bm3d, worst))
    typer.echo()
    if len(rows) == 1:
        typer.echo("No scores of them are kept: see 'lessons evaluate'.")
    else:
        _print_table(rows)


@app.command()
def fetch(names: Annotated[list[str], typer.Argument(metavar="NAME...")]) -> None:
    """Download weights that authors published and that are not on this machine."""
    from lessons_lib import published

    chosen = [published.find_published(name) for name in names]
    for weights in chosen:
        with progress_bar(weights.name) as show:
            path = published.fetch(weights.name, lambda done, size: show(done / size))
        typer.echo(f"{weights.name}: {path}")
        for label in ("licence", "repository", "commit", "about"):
            typer.echo(f"  {label + ':':13}{getattr(weights, label)}")


@app.command()
def export(
    configs: Annotated[list[Path], typer.Argument(help="TOML files of training runs.")],
    folder: Annotated[Path, typer.Option(help="Where weights and cards go.")] = Path(
        "data/weights"
    ),
) -> None:
    """Write the weights of training runs, finished or not, with a card each.

    The state of a finished run has then served its purpose, and is removed.
    """
    from lessons_lib import training

    for config in configs:
        run = training.read_run(config)
        card = training.export(run, config.parent, folder)
        what = "finished" if card.finished else "unfinished"
        typer.echo(
            f"{folder / card.name}.safetensors: {what} after {card.steps} steps, "
            f"{card.held_out_psnr:.2f} dB on held-out crops"
        )


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        typer.echo("  ".join(f"{cell:<{width}}" for cell, width in cells).rstrip())
