"""``lessons train``: train a model for some minutes, work down the queue of runs, or list it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lessons_lib.cli.options import check_device

if TYPE_CHECKING:
    from tqdm import tqdm

    from lessons_lib.training import Progress, Run, Standing


def train(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="TOML file of a run.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0, help="Time to spend.")] = 60,
    queue: Annotated[
        bool, typer.Option("--queue", help="Train all unfinished runs, most urgent first.")
    ] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="Say how far each run is, and train nothing.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    runs: Annotated[
        Path, typer.Option(help="Folder of the queue; --list looks into its full/ as well.")
    ] = Path("runs"),
) -> None:
    """Train a model for some minutes.

    Stop it, kill it or let its time run out: started again, it goes on where it was. Log and state
    lie beside the TOML file.
    """
    if (config is not None) + queue + listed != 1:
        raise typer.BadParameter(
            "give either a config file, --queue or --list", param_hint="CONFIG"
        )
    check_device(device)
    from lessons_lib import training

    if listed:
        known = {"": training.read_standings(runs)}
        if (runs / "full").is_dir():
            known["full/"] = training.read_standings(runs / "full")
        _list(known)
        return
    bars: dict[tuple[str, int], tqdm] = {}

    def show(run: "Run", progress: "Progress") -> None:
        key = (run.name, progress.stage)
        if key not in bars:
            bars[key] = _bar(run, progress)
        bars[key].set_postfix_str(
            f"{progress.seconds:.2f} s/step, loss {progress.loss:.3f}, "
            f"{progress.held_out_psnr:.2f} dB",
            refresh=False,
        )
        bars[key].update(progress.step - bars[key].n)

    try:
        if config is None:
            standings = training.train_queue(runs, minutes=minutes, device=device, report=show)
        else:
            run = training.read_run(config)
            standing = training.train(
                run,
                config.parent,
                minutes=minutes,
                device=device,
                report=lambda progress: show(run, progress),
            )
            standings = [standing]
    finally:
        for bar in bars.values():
            bar.close()
    _list({"": standings})


def _bar(run: "Run", progress: "Progress") -> "tqdm":
    from tqdm import tqdm

    several = len(run.stages) > 1
    # In a log file each update is another line, so there are fewer of them.
    interval = 0.5 if sys.stderr.isatty() else 30
    return tqdm(
        total=progress.steps,
        initial=progress.step - 1,
        desc=f"{run.name}, stage {progress.stage}" if several else run.name,
        mininterval=interval,
        file=sys.stderr,
        bar_format="{desc}: {n_fmt}/{total_fmt} |{bar}| {postfix} < {remaining}",
    )


def _list(standings: dict[str, list["Standing"]]) -> None:
    """One line for each run, in columns; dB are those on held-out crops.

    Args:
        standings: by what is put before the runs' names.
    """
    rows: list[tuple[str, ...]] = [("run", "stage", "done", "hours", "dB", "next")]
    rows += [_cells(folder, standing) for folder, some in standings.items() for standing in some]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        typer.echo("  ".join(f"{cell:<{width}}" for cell, width in cells).rstrip())


def _cells(folder: str, standing: "Standing") -> tuple[str, ...]:
    stages = standing.run.stages
    stage = stages[standing.stage - 1]
    place = f"{standing.stage} of {len(stages)}"
    if standing.finished:
        following = "finished"
    else:
        left = f"{stage.steps - standing.step} of {stage.steps} steps"
        named = f"{stage.name}: {left}" if stage.name else left
        following = f"{named} left" if standing.step else f"{named}, not begun"
    return (
        f"{folder}{standing.run.name}",
        place,
        # A run is done when its last step is, not half a percent before.
        f"{int(100 * standing.share)} %",
        f"{standing.hours:.2f}",
        f"{standing.held_out_psnr:.2f}" if standing.begun else "",
        following,
    )
