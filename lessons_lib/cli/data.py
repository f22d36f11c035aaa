"""``lessons data``: which data sets there are, downloading and verifying them."""

from typing import Annotated

import typer

from lessons_lib.cli.progress import progress_bar

app = typer.Typer(invoke_without_command=True)


@app.callback()
def help_without_command(context: typer.Context) -> None:
    """List, download and verify data sets."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("list")
def list_(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Say all about these.")
    ] = None,
) -> None:
    """List the data sets, and which of them are on this machine."""
    from lessons_lib import data

    for name in names or ():
        entry, folder = data.entry(name), data.locate(name)
        typer.echo(f"{name}: {entry.title}")
        for label in ("origin", "citation", "licence"):
            typer.echo(f"  {label + ':':10}{getattr(entry, label)}")
        typer.echo(f"  {'here:':10}{folder or f'no; lessons data fetch {name}'}")
    if names:
        return
    typer.echo("name      images       MB  kind    role     here")
    for entry in data.registry().values():
        size = sum(file.bytes for file in entry.files) / 1e6
        here = "yes" if data.locate(entry.name) else "no"
        typer.echo(
            f"{entry.name:10}{len(entry.files):6}{size:9.1f}  {entry.kind:8}{entry.role:9}{here}"
        )


@app.command()
def fetch(names: Annotated[list[str], typer.Argument(metavar="NAME...")]) -> None:
    """Download data sets that are not on this machine."""
    from lessons_lib import data

    for name in names:
        data.entry(name)
    for name in names:
        typer.echo(f"{name}: licence: {data.entry(name).licence}", err=True)
        with progress_bar(name) as show:
            folder = data.fetch(name, progress=lambda done, count: show(done / count))
        typer.echo(f"{name}: {len(data.entry(name).files)} files in {folder}")


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="All that are on this machine if none is named."),
    ] = None,
) -> None:
    """Compare files with the registry, byte by byte."""
    from lessons_lib import data

    chosen = names or [name for name in data.dataset_names() if data.locate(name)]
    for name in chosen:
        data.entry(name)
    sound = True
    for name in chosen:
        problems = data.verify(name)
        for problem in problems:
            typer.echo(problem, err=True)
        if problems:
            sound = False
            typer.echo(f"{name}: {len(problems)} of {len(data.entry(name).files)} files are wrong")
        else:
            typer.echo(f"{name}: all {len(data.entry(name).files)} files are as registered")
    if not sound:
        raise typer.Exit(1)
