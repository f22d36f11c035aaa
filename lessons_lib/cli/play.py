"""``lessons play``: the playground, in JupyterLab."""

import importlib.util
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

import lessons_lib

NOTEBOOK = "notebooks/playground.ipynb"


def play(
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(help="Where to listen; if not given, from 8888 on.")
    ] = None,
) -> None:
    """Open the playground: any photograph, any method, side by side.

    JupyterLab serves this machine alone, as 'course.py lab' starts it. Ctrl-C stops it.
    """
    root = Path(lessons_lib.__file__).resolve().parents[1]
    if not (root / NOTEBOOK).is_file() or not (root / "course.py").is_file():
        raise typer.TyperException(
            f"the playground is {NOTEBOOK} in the course's folder; this library stands without it"
        )
    course = _load(root / "course.py")
    try:
        free = course.free_port(port)
    except SystemExit as error:
        raise typer.BadParameter("cannot be used", param_hint="--port") from error
    # Who ends this process ends the server, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = Path(sys.prefix) / "jupyter"
    code = course.serve(root / NOTEBOOK, free, not no_browser, [], sys.executable, settings)
    raise typer.Exit(code)


def _load(path: Path) -> ModuleType:
    """The course's launcher: it is a program beside the library, and no part of it."""
    spec = importlib.util.spec_from_file_location("course", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
