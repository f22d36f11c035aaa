"""The command ``lessons``.

Bad input ends in one line on stderr and exit code 2, with nothing written. Commands import torch
and the library inside their functions, so that ``lessons --help`` stays instant.
"""

import os
import sys
from typing import Annotated, NoReturn

import typer

from lessons_lib import __version__
from lessons_lib.cli import data, models
from lessons_lib.cli.doctor import doctor
from lessons_lib.cli.evaluate import evaluate
from lessons_lib.cli.grade import grade
from lessons_lib.cli.play import play
from lessons_lib.cli.refusals import refusal
from lessons_lib.cli.report import explain_gap, report
from lessons_lib.cli.restore import denoise, restore
from lessons_lib.cli.train import train

app = typer.Typer(
    invoke_without_command=True,
    # Plain text reads the same in every terminal, and rich would cost half of the start-up time.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(doctor)
app.command()(restore)
app.command()(denoise)
app.command()(evaluate)
app.command("explain-gap")(explain_gap)
app.command()(report)
app.command()(train)
app.command()(grade)
app.command()(play)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lessons {__version__}")
        raise typer.Exit


@app.callback()
def _lessons(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Sparse and non-local image restoration: the course's library at the command line."""
    data.help_without_command(context)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 something is broken, 2 bad input, 130 Ctrl-C."""
    # PyTorch's threads would keep their cores busy while they wait, and others from working. What
    # is loaded later asks for this once.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = app(arguments, prog_name="lessons", standalone_mode=False) or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # Whoever was reading has had enough, as `head` does.
        _discard_output()
        code = 1
    except Exception as error:
        message = refusal(error)
        if message is None:
            raise
        if isinstance(error, OSError) and error.filename is None:
            _discard_output()
        print("lessons:", " ".join(message.split()), file=sys.stderr)
        code = 2
    sys.exit(code)


def _discard_output() -> None:
    # The interpreter flushes once more on its way out, and would complain once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
