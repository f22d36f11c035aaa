"""``lessons models``: trained weights that come with the library."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    invoke_without_command=True,
    help="List trained weights; make new ones. Hours are those of the last stage, and in all those "
    "of all training that it goes back to, too.",
)


@app.callback()
def list_models(context: typer.Context) -> None:
    """List trained weights; make new ones."""
    if context.invoked_subcommand is not None:
        return
    from lessons_lib.checkpoints import cards

    head = ("name", "model", "trained for", "parameters", "steps", "hours", "in all", "trained on")
    rows = [head]
    for card in cards().values():
        steps = str(card.steps) if card.finished else f"{card.steps} of {card.run['steps']}"
        hours = f"{sum(card.hours.values()):.2f}"
        spent = (hours, f"{card.hours_in_all:.2f}")
        parameters = f"{card.parameters:,}"
        rows.append((card.name, card.model, card.setting, parameters, steps, *spent, card.data))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        typer.echo("  ".join(f"{cell:<{width}}" for cell, width in cells).rstrip())


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
