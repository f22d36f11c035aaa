"""``lessons doctor``: is everything here that the course needs?"""

import importlib
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

# Less than this and the larger lessons swap.
ENOUGH_MEMORY = 2 * 2**30


@dataclass(frozen=True)
class Finding:
    """One line: what was found; ``remedy`` if it could be better, ``broken`` if it must be."""

    what: str
    found: str
    remedy: str = ""
    broken: bool = False

    def __str__(self) -> str:
        mark = "FAIL" if self.broken else "note" if self.remedy else "ok"
        return f"{mark:5}{self.what:9}{self.found}" + (f"; {self.remedy}" if self.remedy else "")


def doctor() -> None:
    """Check that all parts are here.

    One line each: Python, torch, device, threads, memory, SPAMS, widgets, data.
    """
    findings = [*_python(), *_torch(), *_memory(), *_spams(), *_widgets(), *_data()]
    for finding in findings:
        typer.echo(str(finding))
    if any(finding.broken for finding in findings):
        raise typer.Exit(1)


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    fits = (3, 11) <= sys.version_info < (3, 14)
    remedy = "" if fits else "the course needs Python 3.11, 3.12 or 3.13"
    yield Finding("Python", f"{version} ({sys.executable})", remedy, broken=not fits)


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:
        # A torch whose libraries do not fit the machine fails with other errors, too.
        reason = str(error).partition("\n")[0]
        yield Finding("torch", f"does not load ({reason})", "install torch again", broken=True)
        return
    yield Finding("torch", torch.__version__)
    if torch.cuda.is_available():
        yield Finding("device", f"cuda: {torch.cuda.get_device_name(0)}")
    elif torch.backends.mps.is_available():
        yield Finding("device", "cpu (all lessons run on it; the library does not use Apple's GPU)")
    else:
        yield Finding("device", "cpu (all lessons run on it)")
    threads, cores = torch.get_num_threads(), _usable_cores()
    limited = os.environ.get("OMP_NUM_THREADS")
    remedy = f"OMP_NUM_THREADS={limited} holds it back; unset it" if limited else ""
    yield Finding("threads", f"{threads} on {cores} cores", remedy if threads < cores else "")


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> Iterator[Finding]:
    try:
        # Jupyter's kernel depends on it.
        memory = importlib.import_module("psutil").virtual_memory()
    except ImportError:
        yield Finding("memory", "unknown", "pip install psutil shows it")
        return
    free, total = memory.available, memory.total
    limit = _container_limit()
    if limit is not None and limit < total:
        free, total = min(free, limit), limit
    remedy = "" if free >= ENOUGH_MEMORY else "close other programs before the later lessons"
    yield Finding("memory", f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free", remedy)


def _container_limit() -> int | None:
    """What a container allows, in bytes; the machine around it may have much more."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (Path("/sys/fs/cgroup") / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            return int(text)
    return None


def _spams() -> Iterator[Finding]:
    if importlib.util.find_spec("spams") is None:
        advice = "pip install spams-bin; the library's own code stands in"
        yield Finding("SPAMS", "not installed", advice)
        return
    try:
        importlib.import_module("spams")
    except Exception as error:
        reason = str(error).partition("\n")[0]
        yield Finding("SPAMS", f"does not load ({reason})", "the library's own code stands in")
        return
    yield Finding("SPAMS", _version("spams-bin") or "installed")


def _widgets() -> Iterator[Finding]:
    lab, widgets = _version("jupyterlab"), _version("ipywidgets")
    if lab is None:
        yield Finding("widgets", "no JupyterLab", "pip install jupyterlab", broken=True)
    elif widgets is None or int(widgets.partition(".")[0]) < 8:
        found = f"ipywidgets {widgets or 'missing'}"
        yield Finding("widgets", found, "pip install 'ipywidgets>=8.1'", broken=True)
    elif _version("jupyterlab-widgets") is None:
        found = "JupyterLab lacks its half"
        yield Finding("widgets", found, "pip install jupyterlab-widgets", broken=True)
    else:
        off = os.environ.get("LESSONS_WIDGETS") == "0"
        remedy = "LESSONS_WIDGETS=0 switches them off" if off else ""
        yield Finding("widgets", f"ipywidgets {widgets}, JupyterLab {lab}", remedy)


def _data() -> Iterator[Finding]:
    try:
        from lessons_lib import data

        problems = data.verify(data.SAMPLES)
        here = [name for name in data.dataset_names() if data.locate(name)]
        count = len(data.dataset_names())
    except Exception as error:
        reason = str(error).partition("\n")[0]
        yield Finding("data", reason, "install the library again", broken=True)
        return
    if problems:
        yield Finding("samples", problems[0], "install scikit-image again", broken=True)
    folder = os.environ.get("LESSONS_DATA")
    found = f"{len(here)} of {count} sets here: {', '.join(here)}"
    if folder and not Path(folder).is_dir():
        yield Finding("data", found, f"LESSONS_DATA={folder} is no folder")
    else:
        missing = "" if len(here) == count else "lessons data fetch NAME downloads others"
        yield Finding("data", found, missing)


def _version(package: str) -> str | None:
    # Costs a tenth of a second that no other command should pay.
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
