"""The library's reference: its modules by their layers, and its commands."""

import importlib
import re
from pathlib import Path
from typing import Any

from typer.main import get_command
from typer.testing import CliRunner

from lessons_lib.cli import app

ROOT = Path(__file__).resolve().parents[2]

# The layers of CONTRIBUTING.md. What checks the lessons' exercises would say too much of their
# answers, and the commands have a page of their own.
LAYERS = {
    "Tensors only": ["ops", "metrics"],
    "Forward models, files, data sets": [
        "memory", "solvers", "degradations", "files", "images", "pictures", "data",
    ],
    "Methods": ["classical", "demosaicking", "camera", "tasks", "models"],
    "Weights, scores, training": [
        "published", "checkpoints", "evaluation", "training", "arrays", "plug_and_play",
    ],
    "Figures, exercises, grading": ["viz", "exercises", "grading"],
}  # fmt: skip
LEFT_OUT = re.compile(r"exercises/lesson_\d+|cli|__main__")


def modules(part: str) -> list[str]:
    """The modules of one part of the library that the reference has, a package before its own."""
    library = ROOT / "lessons_lib"
    found = [library / f"{part}.py"] if (library / f"{part}.py").exists() else []
    found += sorted((library / part).glob("*.py"), key=lambda path: (path.stem != "__init__", path))
    names = [path.relative_to(ROOT).with_suffix("").as_posix() for path in found]
    kept = [name for name in names if not LEFT_OUT.search(name.removeprefix("lessons_lib/"))]
    return [name.removesuffix("/__init__").replace("/", ".") for name in kept]


def reference() -> dict[str, str]:
    """One page for each part of the library, by its layers, one for its commands, and an index."""
    pages = {}
    index = "# Reference\n\nThe library in its layers: a module imports from those above it only.\n"
    for layer, parts in LAYERS.items():
        index += f"\n## {layer}\n\n"
        for part in parts:
            names = modules(part)
            index += f"- [{part}]({part}.rst): {first_sentence(names[0])}\n"
            text = ""
            for name in names:
                short = name.removeprefix("lessons_lib.")
                text += f"{short}\n{('-' if text else '=') * len(short)}\n\n"
                text += f".. automodule:: {name}\n   :members:\n   :ignore-module-all:\n\n"
            pages[f"{part}.rst"] = text
    index += "\n## Command line\n\n- [commands](commands.md): what each of them says of itself\n"
    inside = "\n".join(Path(page).stem for page in [*pages, "commands"])
    pages["commands.md"] = commands()
    pages["index.md"] = f"{index}\n```{{toctree}}\n:hidden:\n\n{inside}\n```\n"
    return pages


def first_sentence(module: str) -> str:
    text = importlib.import_module(module).__doc__ or ""
    return " ".join(text.partition("\n\n")[0].split())


def commands() -> str:
    """What each command prints when it is asked for help."""
    text = "# Commands\n\nWhat `lessons COMMAND --help` prints.\n"
    runner = CliRunner(env={"COLUMNS": "88"})
    waiting: list[tuple[list[str], Any]] = [([], get_command(app))]
    while waiting:
        words, command = waiting.pop(0)
        asked = runner.invoke(app, [*words, "--help"], prog_name="lessons")
        title = " ".join(["lessons", *words])
        text += f"\n## {title}\n\n```text\n{asked.output.strip()}\n```\n"
        inner = getattr(command, "commands", {})
        waiting[:0] = [([*words, name], one) for name, one in inner.items()]
    return text
