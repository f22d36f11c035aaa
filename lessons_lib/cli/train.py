"""``lessons train``: train a model for some minutes, or work down the queue of runs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lessons_lib.cli.options import check_device

if TYPE_CHECKING:
    from tqdm import tqdm

    from lessons_lib.training import Progress, Run
    from lessons_lib.training.state import State


def train(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="TOML file of a run.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0, help="Time to spend.")] = 60,
    queue: Annotated[
        bool, typer.Option("--queue", help="Train all unfinished runs, most urgent first.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    runs: Annotated[Path, typer.Option(help="Folder of the queue's TOML files.")] = Path("runs"),
    state: Annotated[
        Path | None, typer.Option(help="Folder for states and logs, else beside the TOML files.")
    ] = None,
) -> None:
    """Train a model for some minutes.

    Stop it, kill it or let its time run out: started again, it goes on where it was.
    """
    if queue == (config is not None):
        raise typer.BadParameter("give either a config file or --queue", param_hint="CONFIG")
    check_device(device)
    from lessons_lib import training

    bars: dict[str, tqdm] = {}

    def show(run: "Run", progress: "Progress") -> None:
        if run.name not in bars:
            bars[run.name] = _bar(run.name, progress)
        bar = bars[run.name]
        bar.set_postfix_str(
            f"{progress.seconds:.2f} s/step, loss {progress.loss:.3f}, "
            f"{progress.held_out_psnr:.2f} dB",
            refresh=False,
        )
        bar.update()

    try:
        if config is None:
            states = training.train_queue(
                runs, state or runs, minutes=minutes, device=device, report=show
            )
        else:
            run = training.read_run(config)
            states = {
                run.name: training.train(
                    run,
                    state or config.parent,
                    minutes=minutes,
                    device=device,
                    report=lambda progress: show(run, progress),
                )
            }
    finally:
        for bar in bars.values():
            bar.close()
    typer.echo("\n".join(_line(name, reached) for name, reached in states.items()))


def _bar(name: str, progress: "Progress") -> "tqdm":
    from tqdm import tqdm

    # In a log file each update is another line, so there are fewer of them.
    interval = 0.5 if sys.stderr.isatty() else 30
    return tqdm(
        total=progress.steps,
        initial=progress.step - 1,
        desc=name,
        mininterval=interval,
        file=sys.stderr,
        bar_format="{desc}: {n_fmt}/{total_fmt} |{bar}| {postfix} < {remaining}",
    )


def _line(name: str, state: "State | None") -> str:
    if state is None:
        return f"{name}: not begun"
    what = "finished" if state.finished else "unfinished"
    psnr = f", {state.log[-1]['held_out_psnr']:.2f} dB on held-out crops" if state.log else ""
    return (
        f"{name}: {what}, {state.step} of {state.steps} steps in {state.seconds / 3600:.2f} h{psnr}"
    )
