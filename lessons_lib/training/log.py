"""The history of a run: one row for each look, of all its stages, in one CSV file."""

import csv
import io
from pathlib import Path
from typing import Any

from lessons_lib.files import replace_file
from lessons_lib.training.tables import ConfigError

# Whole numbers; the other columns are not.
WHOLE = ("stage", "step", "crops")

Row = dict[str, Any]


class Log:
    """Rows of looks, in the order in which they were taken.

    Columns: ``stage``, counted from 1; ``step`` of the stage, and the ``crops`` looked at in it;
    ``seconds`` that the stage has taken so far, and ``hours_before``, the training behind the
    weights that it began from; ``learning_rate``, ``loss``, and PSNRs in dB.

    Args:
        path: of the file, which need not exist.

    Raises:
        ConfigError: if it is no log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        if path.exists():
            try:
                with path.open(encoding="utf-8", newline="") as file:
                    self.rows = [_numbers(row) for row in csv.DictReader(file)]
            except (ValueError, TypeError) as error:
                raise ConfigError(f"{path} is no log of a run: {error}") from error

    def of_stage(self, stage: int) -> list[Row]:
        """Looks of one stage."""
        return [row for row in self.rows if row["stage"] == stage]

    def cut(self, stage: int, step: int) -> None:
        """Drop the looks after a step of a stage: the state of a killed sitting lags behind."""
        self.rows = [row for row in self.rows if (row["stage"], row["step"]) <= (stage, step)]

    def write(self) -> None:
        """Put it into its file."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        replace_file(self.path, text.getvalue().encode())


def _numbers(row: dict[str, str]) -> Row:
    return {key: int(value) if key in WHOLE else float(value) for key, value in row.items()}
