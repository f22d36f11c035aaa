"""Where a run's files lie."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Files:
    """A run's files.

    Args:
        folder: of the runs.
        name: of the run.
    """

    folder: Path
    name: str

    @property
    def log(self) -> Path:
        """All looks of all stages."""
        return self.folder / f"{self.name}.csv"

    @property
    def state(self) -> Path:
        """What an unfinished run, or one whose weights are not exported yet, goes on with."""
        return self.folder / "states" / f"{self.name}.pt"

    @property
    def lock(self) -> Path:
        """Held by the process that trains the run."""
        return self.folder / "states" / f"{self.name}.lock"

    @property
    def board(self) -> Path:
        """The folder that TensorBoard reads."""
        return self.folder / "tensorboard" / self.name
