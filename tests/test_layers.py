"""The library's layers: a module imports from lower layers only, and nobody keeps a drawer."""

import ast
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "lessons_lib"

# Lowest first. A module may import its own layer's package and anything below.
LAYERS = [
    {"ops", "metrics"},
    {"memory", "solvers", "degradations", "files", "images", "pictures", "data"},
    {"classical", "demosaicking", "camera", "tasks", "models"},
    {"published", "checkpoints", "training", "evaluation", "arrays", "plug_and_play"},
    {"viz", "exercises", "grading", "cli", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

# Beyond the standard library, what the lower layers may build on.
ALLOWED_IN_OPS = {"scipy", "torch", "numpy", "spams", "sklearn"}

MODULES = sorted(path for path in LIBRARY.rglob("*.py") if path != LIBRARY / "__init__.py")


def part_of(path: Path) -> str:
    """The layer member that a file belongs to: ``ops`` for ``ops/prox.py``."""
    return path.relative_to(LIBRARY).with_suffix("").parts[0]


def imported(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_imports_go_downwards(path: Path):
    here = part_of(path)
    assert here in LEVEL, f"{here} has no layer yet: give it one"
    for name in imported(path):
        parts = name.split(".")
        if parts[0] != "lessons_lib" or len(parts) < 2 or parts[1] not in LEVEL:
            continue
        there = parts[1]
        assert there == here or LEVEL[there] < LEVEL[here] or _same_level(there, here), (
            f"{path.name} ({here}) imports {name}, which is not below it"
        )


def _same_level(there: str, here: str) -> bool:
    """Neighbours of one layer may use each other in one direction: later ones the earlier ones."""
    order = [
        "ops",
        "metrics",
        "degradations",
        "solvers",
        "files",
        "images",
        "pictures",
        "data",
        "classical",
        "demosaicking",
        "camera",
        "tasks",
        "published",
        "checkpoints",
        "evaluation",
        "arrays",
        "plug_and_play",
        "training",
    ]
    order += ["viz", "exercises", "grading", "cli", "__main__"]
    if LEVEL[there] != LEVEL[here] or {there, here} - set(order):
        return False
    return order.index(there) < order.index(here)


def test_operators_need_tensors_only():
    for path in (LIBRARY / "ops").glob("*.py"):
        for name in imported(path):
            root = name.split(".")[0]
            if root == "lessons_lib" or root in sys.stdlib_module_names:
                continue
            assert root in ALLOWED_IN_OPS, f"{path.name} imports {name}"


def test_no_drawers():
    assert not [path for path in LIBRARY.rglob("*") if path.stem in ("utils", "helpers", "misc")]
