"""A training's looks for TensorBoard, where it is installed."""

import importlib.util
import math
from pathlib import Path
from typing import Any

from lessons_lib.training.log import Row


class Board:
    """Writes what TensorBoard reads; nothing if it is not there.

    Args:
        folder: where to write.
        first: step of the whole run from which on a killed sitting may have written already; what
            it wrote is dropped.
        before: steps of the stages before, so that curves of all stages follow each other.
    """

    def __init__(self, folder: Path, *, first: int, before: int) -> None:
        self.before = before
        self.writer: Any = None
        if importlib.util.find_spec("tensorboardX") is not None:
            from tensorboardX import SummaryWriter

            self.writer = SummaryWriter(str(folder), purge_step=first)

    def show(self, row: Row) -> None:
        """Write one look."""
        if self.writer is not None:
            for name, value in row.items():
                if name not in ("stage", "step") and math.isfinite(value):
                    self.writer.add_scalar(name, value, self.before + int(row["step"]))
            self.writer.flush()

    def close(self) -> None:
        """Write no more."""
        if self.writer is not None:
            self.writer.close()
