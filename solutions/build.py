"""Make the lessons' two notebooks from their one source.

    python solutions/build.py [NN ...]            strip, execute and write both versions
    python solutions/build.py [NN ...] --text     write the text anew, where no code has changed
    python solutions/build.py [NN ...] --check    compare what is committed with the sources
    python solutions/build.py playground          the notebook that is no lesson and has no answers

`solutions/NN_name.py` holds a lesson with its answers. Answers stand between `### BEGIN SOLUTION`
and `### END SOLUTION`; a cell that is nothing but an answer has the tag `solution`.
"""

import argparse
import base64
import copy
import hashlib
import io
import os
import re
import sys
import time
import tomllib
from pathlib import Path

import jupytext  # type: ignore[import-untyped]
import nbformat
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert.preprocessors import TagRemovePreprocessor
from nbformat import NotebookNode
from nbgrader.preprocessors import ClearSolutions  # type: ignore[import-untyped]
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
STUB = "raise NotImplementedError  # your code here"
# A minute on the machine they are written on; older processors take half as long again.
SECONDS, BYTES, THUMBNAIL_WIDTH = 100, 1_500_000, 320
# Lines that are not blank; an exercise also holds its signature, docstring and check.
LINES, EXERCISE_LINES = 15, 28
WIDGET = "application/vnd.jupyter.widget-view+json"
# What a cell's widget is for, by what the cell calls.
INVITATIONS = {
    "widgets.predict": "choose an answer",
    "widgets.quiz": "answer the questions",
    "playground(": "open the playground",
}

METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REPOSITORY = METADATA["project"]["urls"]["Repository"]
# Elsewhere than in the course's own environment, the first cell of what students get, and its tag.
INSTALLS = "installs"
INSTALL = f"""\
# Installs the course's library where it is missing, as on Colab; else it does nothing.
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("lessons_lib") is None:
    library = "git+{REPOSITORY}"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", library], check=True)"""


class BuildError(Exception):
    """A lesson breaks a rule; the message says where."""


class ThisPython(AsyncKernelManager):
    """Runs the kernel with this interpreter, whatever kernels the machine has registered."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(resource_dir="", **get_kernel_dict())


def solved(source: Path) -> NotebookNode:
    """The version with answers, not executed; its cells' ids depend on their text alone."""
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: set[str] = set()
    for number, cell in enumerate(notebook.cells, start=1):
        text, repeat = f"{source.stem}\n{cell.cell_type}\n{cell.source}", 0
        while (name := hashlib.sha256(f"{text}\n{repeat}".encode()).hexdigest()[:12]) in seen:
            repeat += 1
        seen.add(name)
        cell.id, cell.metadata = (
            name,
            {key: cell.metadata[key] for key in cell.metadata if key == "tags"},
        )
        where = f"{source.name}, cell {number}"
        exercise = "BEGIN SOLUTION" in cell.source
        if cell.source.count("BEGIN SOLUTION") != cell.source.count("END SOLUTION"):
            raise BuildError(f"{where}: BEGIN SOLUTION and END SOLUTION do not pair up")
        if cell.cell_type != "code":
            continue
        lines = sum(bool(line.strip()) for line in cell.source.splitlines())
        if lines > (EXERCISE_LINES if exercise else LINES):
            raise BuildError(f"{where}: {lines} lines of code are too many")
        for magic in re.findall(r"^\s*[%!].*", cell.source, re.MULTILINE):
            if magic != "%matplotlib inline":
                raise BuildError(f"{where}: {magic!r}, but only %matplotlib inline is allowed")
    return notebook


def stripped(notebook: NotebookNode) -> NotebookNode:
    """The student's version: stubs instead of answers, and no cell tagged `solution`."""
    student = copy.deepcopy(notebook)
    clear = ClearSolutions(enforce_metadata=False, code_stub={"python": STUB})
    student, _ = clear.preprocess(student, {})
    student, _ = TagRemovePreprocessor(remove_cell_tags={"solution"}).preprocess(student, {})
    return student


def execute(notebook: NotebookNode, path: Path, strict: bool) -> float:
    """Run a notebook in its folder, without what differs from run to run; return the seconds."""
    environment = {key: os.environ[key] for key in os.environ if not key.startswith("LESSONS_")}
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # beside other work 20 times faster
    environment["PYTHONPATH"] = str(ROOT)  # the library of this tree, installed or not
    if strict:
        environment["LESSONS_STRICT"] = "1"
    client = NotebookClient(
        notebook,
        kernel_manager_class=ThisPython,
        timeout=300,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    start = time.perf_counter()
    client.execute(env=environment)
    seconds = time.perf_counter() - start
    notebook.metadata.language_info = {"name": "python"}
    for number, cell in enumerate(notebook.cells, start=1):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if output.get("name") == "stderr" or "image/svg+xml" in data:
                raise BuildError(f"{path.name}, cell {number}: a warning, or an SVG picture")
            if data.pop(WIDGET, None):
                called = (words for call, words in INVITATIONS.items() if call in cell.source)
                what = next(called, "get the sliders")
                data["text/plain"] = f"Run this cell to {what}."
    return seconds


def write_thumbnail(notebook: NotebookNode, path: Path) -> None:
    """Write the picture of the cell tagged `nbsphinx-thumbnail`, small."""
    for cell in notebook.cells:
        if "nbsphinx-thumbnail" in cell.metadata.get("tags", []):
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    png = io.BytesIO(base64.b64decode(output.data["image/png"]))
                    picture = Image.open(png).convert("RGB")
                    picture.thumbnail((THUMBNAIL_WIDTH, THUMBNAIL_WIDTH))
                    path.parent.mkdir(parents=True, exist_ok=True)
                    picture.quantize(128).save(path, optimize=True)
                    return
    raise BuildError(f"{path.stem}: no picture in a cell tagged nbsphinx-thumbnail")


def for_elsewhere(notebook: NotebookNode, name: str) -> NotebookNode:
    """With a link to where it runs uninstalled, and a cell that installs the library there."""
    ready = copy.deepcopy(notebook)
    colab = REPOSITORY.replace("github.com", "colab.research.google.com/github")
    ready.cells[0].source += f"\n\n[Run it in Colab]({colab}/blob/main/notebooks/{name}.ipynb)"
    cell = nbformat.v4.new_code_cell(INSTALL, metadata={"tags": [INSTALLS]})
    cell.id = hashlib.sha256(f"{name}\n{INSTALL}".encode()).hexdigest()[:12]
    ready.cells.insert(1, cell)
    return ready


def versions_of(source: Path) -> dict[str, NotebookNode]:
    """The notebooks of a source by their folders; what is no lesson has no solution."""
    answers = solved(source)
    if not source.name[:2].isdigit():
        return {"notebooks": for_elsewhere(answers, source.stem)}
    return {
        "solutions": answers,
        "notebooks": for_elsewhere(stripped(answers), source.stem),
    }


def build(source: Path, root: Path) -> str:
    """Write both executed notebooks and the thumbnail of one lesson; return a line about it."""
    versions = versions_of(source)
    report, texts = source.stem, {}
    for folder, notebook in versions.items():
        path = root / folder / f"{source.stem}.ipynb"
        path.parent.mkdir(exist_ok=True)
        seconds = execute(notebook, path, strict=folder == "solutions")
        texts[path] = nbformat.writes(notebook) + "\n"
        size = len(texts[path].encode())
        report += f"  {folder}: {seconds:.1f} s, {size / 1e6:.2f} MB"
        if seconds > SECONDS or size > BYTES:
            raise BuildError(f"{report}: at most {SECONDS} s and {BYTES / 1e6} MB are allowed")
    answers = versions.get("solutions", versions["notebooks"])
    write_thumbnail(answers, root / "data" / "thumbnails" / f"{source.stem}.png")
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8", newline="\n")
    return report


def write_text(source: Path, root: Path) -> str:
    """Write both notebooks with the outputs that they have; return a line about it.

    Raises:
        BuildError: if code has changed, whose outputs would be others.
    """
    texts = {}
    for folder, notebook in versions_of(source).items():
        path = root / folder / f"{source.stem}.ipynb"
        before = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
        after = [cell for cell in notebook.cells if cell.cell_type == "code"]
        if [(cell.id, cell.source) for cell in before] != [(c.id, c.source) for c in after]:
            raise BuildError(f"{folder}/{path.name}: code has changed, and has to be executed")
        for old, new in zip(before, after, strict=True):
            new.outputs, new.execution_count = old.outputs, old.execution_count
        texts[path] = nbformat.writes(notebook) + "\n"
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8", newline="\n")
    return f"{source.stem}  text"


def compare(source: Path, root: Path) -> None:
    """Raise `BuildError` at the first difference between a source and its two notebooks."""
    for folder, expected in versions_of(source).items():
        path = root / folder / f"{source.stem}.ipynb"
        if not path.is_file():
            raise BuildError(f"{path} is missing")
        cells = nbformat.read(path, as_version=4).cells
        for number, (wanted, found) in enumerate(zip(expected.cells, cells, strict=False), 1):
            where = f"{folder}/{path.name}, cell {number}"
            for key in ("cell_type", "source", "id"):
                if wanted[key] != found.get(key):
                    raise BuildError(f"{where}: {key} differs: {found.get(key)!r:.200}")
            if wanted.metadata.get("tags") != found.metadata.get("tags"):
                raise BuildError(f"{where}: tags differ: {found.metadata.get('tags')}")
            if found.cell_type == "code" and found.execution_count is None:
                raise BuildError(f"{where} was never executed")
        if len(cells) != len(expected.cells):
            raise BuildError(f"{path}: {len(cells)} cells instead of {len(expected.cells)}")


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description="Make the lessons' notebooks from their sources.")
    parser.add_argument("lessons", nargs="*", metavar="NN", help="numbers; all where none is given")
    parser.add_argument("--check", action="store_true", help="only compare with what is committed")
    parser.add_argument("--text", action="store_true", help="write the text anew, execute nothing")
    options = parser.parse_args(arguments)
    sources = [
        path
        for pattern in ("[0-9][0-9]_*.py", "playground.py")
        for path in sorted((root / "solutions").glob(pattern))
        if not options.lessons or {path.name[:2], path.stem} & {*options.lessons}
    ]
    if not sources:
        print("no such lesson", file=sys.stderr)
        return 1
    for source in sources:
        try:
            if options.check:
                compare(source, root)
            elif options.text:
                print(write_text(source, root))
            else:
                print(build(source, root), flush=True)
        except (BuildError, CellExecutionError) as error:
            print(f"{source.name}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
