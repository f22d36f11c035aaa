"""What the benchmarks have measured: JSON that is whole or not there."""

import json
from pathlib import Path
from typing import Any

from lessons_lib.files import replace_file


def kept(file: Path) -> dict[str, Any]:
    """What was measured and written before; nothing where there is no file yet."""
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


def keep(file: Path, results: dict[str, Any]) -> None:
    """Write results. Who is killed meanwhile leaves those of before, and not half of a file."""
    replace_file(file, (json.dumps(results, indent=1) + "\n").encode())


def add(file: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Keep results beside those that are kept by now; what has parts keeps its other parts.

    Another process may have added to them since this one began.

    Returns:
        All of them.
    """
    results = kept(file)
    for key, value in found.items():
        results[key] = {**results.get(key, {}), **value} if isinstance(value, dict) else value
    keep(file, results)
    return results


def unlike(before: dict[str, Any], experiment: dict[str, Any]) -> list[str]:
    """In what kept results differ from an experiment, which then has no place beside them."""
    return [
        f"{key} {before[key]}"
        for key, value in experiment.items()
        if before.get(key, value) != value
    ]
