"""Which weights authors have published, and what each file must be."""

import csv
import json
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from urllib.parse import quote

from lessons_lib.data import shipped, unknown
from lessons_lib.tasks import TASKS


class CheckpointError(ValueError):
    """Weights that are unknown, damaged, or not in the layout they should be in."""


@dataclass(frozen=True)
class PublishedWeights:
    """One row of ``published.csv``: a file of weights as its authors published it.

    Args:
        name: of the weights, with their origin after an "@".
        layout: how the file is to be read, see `lessons_lib.published.layouts`.
        model: a name of `lessons_lib.models.MODELS`. In the layout "released" it is computed as the
            released code does, see `lessons_lib.models.released`.
        options: of the model's config; in the layout "released" the sizes that the file says too.
        tasks: what they restore, names of `lessons_lib.tasks.TASKS`.
        sigma_255: noise they were trained for, white being 255; 0 if not for one level.
        parameters: how many.
        repository: on GitHub, "owner/name".
        commit: of the repository.
        path: in the repository.
        size: of the file in bytes; 0 if not known.
        sha256: of the file; "" if not known.
        blob: its id in git, a SHA-1, or the first digits of that; "" if not known.
        licence: that the repository states.
        about: what else is to be said, in a line.
        also: further files that they are in, each with its own "path", "size", "sha256", "blob".
    """

    name: str
    layout: str
    model: str
    options: dict[str, Any]
    tasks: tuple[str, ...]
    sigma_255: float
    parameters: int
    repository: str
    commit: str
    path: str
    size: int
    sha256: str
    blob: str
    licence: str
    about: str
    also: tuple[dict[str, Any], ...] = ()

    @property
    def files(self) -> tuple["PublishedWeights", ...]:
        """One entry for each of their files, this one first."""
        return (self, *(replace(self, also=(), **file) for file in self.also))

    @property
    def sigma(self) -> float | None:
        """Noise on the [0, 1] scale, if they are for one level of it."""
        return self.sigma_255 / 255 if self.sigma_255 else None

    @property
    def quality(self) -> int:
        """0: of JPEG files they are for all qualities, or for none."""
        return 0

    def serves(self, task: str) -> bool:
        """Whether they can be used for a task."""
        return any(task == name or task in TASKS[name].also for name in self.tasks)

    @property
    def setting(self) -> str:
        """What they were trained for: "sigma=25", "sigma<=55", or "sigma<=55 jpeg x2 x3 x4"."""
        if self.sigma_255:
            return f"sigma={self.sigma_255:g}"
        levels = f"sigma<={self.options['loudest_255']:g}"
        others = {"jpeg": "jpeg", "sr": "x2 x3 x4"}
        return " ".join([levels, *(name for task, name in others.items() if task in self.tasks)])

    @property
    def url(self) -> str:
        """Where the file is to be had, as it was at the commit."""
        place = f"{self.repository}/{self.commit}/{quote(self.path)}"
        return f"https://raw.githubusercontent.com/{place}"

    @property
    def place(self) -> str:
        """Where the file lies in a folder of published files: "owner+name/path"."""
        return f"{self.repository.replace('/', '+')}/{self.path}"


@cache
def published_weights() -> dict[str, PublishedWeights]:
    """All weights of the registry by name, on this machine or not."""
    with shipped("published.csv").open(encoding="utf-8") as table:
        return {row["name"]: _weights(row) for row in csv.DictReader(table)}


def find_published(name: str) -> PublishedWeights:
    """What is known of published weights.

    Raises:
        CheckpointError: unknown name; says the nearest.
    """
    if name not in published_weights():
        raise CheckpointError(unknown("published weights", name, published_weights()))
    return published_weights()[name]


def _weights(row: dict[str, str]) -> PublishedWeights:
    values: dict[str, Any] = dict(row)
    values["options"] = json.loads(row["options"])
    values["also"] = tuple(json.loads(row["also"] or "[]"))
    values["tasks"] = tuple(row["tasks"].split())
    values["sigma_255"] = float(row["sigma_255"])
    for number in ("parameters", "size"):
        values[number] = int(row[number])
    return PublishedWeights(**values)
