"""A training's looks for TensorBoard, where it is installed."""

import importlib.util
import math
import os
import time
from pathlib import Path
from typing import Any

from lessons_lib.training.log import Row


class Board:
    """Writes what TensorBoard reads; nothing if it is not there.

    It writes at once. The usual writer leaves that to a thread, which counts seconds by the clock
    on the wall, and dies of a full disk or of a clock that is set back; whoever closes it then
    waits for ever.

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
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import SessionLog

            folder.mkdir(parents=True, exist_ok=True)
            self.writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")
            self._write(first, session_log=SessionLog(status=SessionLog.START))

    def show(self, row: Row) -> None:
        """Write one look."""
        if self.writer is not None:
            from tensorboardX.summary import scalar

            for name, value in row.items():
                if name not in ("stage", "step") and math.isfinite(value):
                    self._write(self.before + int(row["step"]), summary=scalar(name, value))
            self.writer.flush()

    def close(self) -> None:
        """Write no more."""
        if self.writer is not None:
            self.writer.close()

    def _write(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self.writer.write_event(Event(wall_time=time.time(), step=step, **content))
