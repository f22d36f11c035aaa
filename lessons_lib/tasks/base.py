"""What a task is: all that differs between removing noise, demosaicking, and mending files."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from lessons_lib import data
from lessons_lib.classical import Method
from lessons_lib.degradations import Degradation
from lessons_lib.images import Photo

# What of an image is restored and scored, see `lessons_lib.evaluation.protocols.Protocol`.
Channel = Literal["gray", "rgb", "y", "luma"]


@dataclass(frozen=True)
class Goal:
    """How far a model is to go in its task.

    Args:
        sigma: of the noise, on the [0, 1] scale; 0 where there is no one level.
        quality: of JPEG files; 0 where there are none.
        levels: noise levels on the [0, 1] scale, the loudest last, of a model for all of them.
        scale: how many times larger images are to become; 0 where they keep their size, or for
            all usual scales.
        enlarges: how many times larger the model's estimate is than what it sees.
    """

    sigma: float = 0.0
    quality: int = 0
    levels: tuple[float, ...] = ()
    scale: int = 0
    enlarges: int = 1


@dataclass(frozen=True)
class Examples:
    """Crops to learn from.

    Args:
        clean: ``(B, C, h, w)``, what an estimate should be.
        degraded: ``(B, C, h, w)``, what it is made from.
        told: what a model may be told besides, by the names that its ``forward`` has for it:
            ``mask`` ``(B, C, h, w)``, ``sigma`` ``(B,)``, or nothing.
        scale: ``(B,)``, what a crop's differences are multiplied by before they are squared.
    """

    clean: Tensor
    degraded: Tensor
    told: dict[str, Tensor]
    scale: Tensor

    def part(self, which: slice, device: torch.device | None = None) -> "Examples":
        """Some of them, on a device."""

        def there(values: Tensor) -> Tensor:
            # A GPU takes them when it comes to it; nobody has to wait for it.
            return values[which].to(device, non_blocking=True)

        told = {name: there(values) for name, values in self.told.items()}
        return Examples(there(self.clean), there(self.degraded), told, there(self.scale))

    def told_to(self, names: tuple[str, ...]) -> dict[str, Tensor]:
        """What a model is told that asks for these names."""
        return {name: value for name, value in self.told.items() if name in names}

    def scaled(self, scale: Tensor) -> "Examples":
        """The same with other scales ``(B,)``."""
        return replace(self, scale=scale)


@dataclass(frozen=True)
class Posed:
    """A photograph as a method gets it.

    Attributes:
        planes: ``(1, C, H, W)``, to be restored.
        degradation: what happened to them.
        words: what is done to them, and with what knowledge: two pieces of a sentence, such as
            "denoised" and "at sigma 25".
        notes: what a user should know of it, a line each.
        method: the method to take where none is named; empty for the one that scores best.
    """

    planes: Tensor
    degradation: Degradation
    words: tuple[str, str]
    notes: tuple[str, ...] = ()
    method: str = ""


class Task:
    """One thing that can be restored.

    What happened to an image is a `Degradation`. Its one number or name, the *value*, is given to
    the command line by an option, and written in tables as a *setting* such as "sigma=25".

    Attributes:
        name: on the command line and in files.
        mark: the name where file names and headings need one; they leave out "denoise".
        about: for the command line's help.
        option: of the command line that gives the value.
        required: whether a photograph cannot be restored without the value.
        told_by_files: whether the file that a photograph is in can tell the value.
        known_as: the task that is left for a photograph after `pose`.
        needs_value: whether a score cannot be measured without it.
        tables: its names in tables of papers, for gray and for colour images; empty for none.
        also: tasks that weights trained for this one can do, too.
        smallest: least number of pixels that either side of an image must have.
        quick: a classical method that takes seconds; empty where there is none.
        safe: a classical method for what no weights are for; empty where there is none.
        aims_at: the field of a training's config that says how far a model is to go; empty for
            none.
        channels: how many an image may have, for a model to be trained.
    """

    name: ClassVar[str]
    mark: ClassVar[str]
    about: ClassVar[str]
    option: ClassVar[str]
    required: ClassVar[bool] = False
    told_by_files: ClassVar[bool] = False
    known_as: ClassVar[str]
    needs_value: ClassVar[bool] = True
    tables: ClassVar[tuple[str, str]]
    also: ClassVar[tuple[str, ...]] = ()
    smallest: ClassVar[int] = 1
    quick: ClassVar[str] = ""
    safe: ClassVar[str] = ""
    aims_at: ClassVar[str] = ""
    channels: ClassVar[tuple[int, ...]] = (1, 3)

    # What happened ----------------------------------------------------------------------------

    def degradation(self, value: Any) -> Degradation:
        """What happened, by its value; None stands for the usual one, where there is one.

        Raises:
            ValueError: for an impossible value.
        """
        raise NotImplementedError

    def setting(self, degradation: Any) -> str:
        """How tables of papers write what happened."""
        raise NotImplementedError

    def value(self, setting: str) -> Any:
        """`setting` undone."""
        raise NotImplementedError

    def channel(self, dataset: str) -> Channel:
        """What is scored of a data set's images.

        Raises:
            DataError: unknown name, or a set that cannot serve.
        """
        return "rgb" if in_colour(dataset) else "gray"

    def border(self, degradation: Any) -> int:
        """Pixels at the border of an image that are not scored."""
        return 0

    def trim(self, image: Tensor, degradation: Any) -> Tensor:
        """What is left of a clean image ``(B, C, H, W)`` so that it can be degraded."""
        return image

    # What a method gets -----------------------------------------------------------------------

    def methods(self) -> dict[str, Method]:
        """Classical methods by name: ``function(image, degradation, progress)``."""
        raise NotImplementedError

    def perceived(self, image: Tensor, degradation: Any) -> Degradation:
        """What a method is told of what happened: all of it, unless the task hides something."""
        return degradation

    def seen(self, planes: Tensor, degradation: Any, scale: int) -> Tensor:
        """What a model sees of degraded planes ``(B, C, H, W)``.

        Args:
            planes: to be restored.
            degradation: what happened to them.
            scale: how many times larger the model's estimate is.

        Raises:
            ValueError: if the model is not for this.
        """
        if scale != 1:
            raise ValueError(f"the model enlarges {scale} times")
        return planes

    def told(self, degradation: Any, planes: Tensor) -> dict[str, Any]:
        """The same as arguments of `lessons_lib.models.restore`, for planes ``(B, C, H, W)``."""
        return {}

    def fits(self, weights: Any, value: Any) -> float | None:
        """How far weights (a card) are from a photograph's value; None if they are not for it."""
        return 0.0

    # A photograph in a file -------------------------------------------------------------------

    def find_value(self, photo: Photo, path: Path, name: str) -> Any:
        """The value of a photograph in a file, where nobody says it; None if it can do without.

        Args:
            photo: what was read.
            path: of the file.
            name: of the file, for messages.

        Raises:
            ImageError: if the file does not tell it.
        """
        return None

    def pose(self, pixels: Tensor, value: Any, path: str) -> Posed:
        """A photograph ``(1, C, H, W)`` as a method gets it.

        Raises:
            ImageError: if it cannot be such a photograph; names the file.
        """
        raise NotImplementedError

    def finish(self, pixels: Tensor, estimate: Tensor) -> Tensor:
        """The photograph that is written, from the one that was read and what was estimated."""
        return estimate

    # What a model learns from -----------------------------------------------------------------

    def refuse(self, goal: Goal, channels: int) -> str | None:
        """Why a model with so many channels cannot have a goal in this task; None if it can."""
        given = {
            "sigma_255": goal.sigma,
            "quality": goal.quality,
            "levels_255": goal.levels[-1] if goal.levels else 0,
            "scale": 0 if self.option == "scale" else goal.scale,
        }
        for field, value in given.items():
            if field != self.aims_at and value:
                return f"the task '{self.name}' has no {field} ({value:g})"
            if field == self.aims_at and not 0 < value < math.inf:
                return f"the task '{self.name}' needs a positive {field}, not {value:g}"
        if goal.enlarges != 1 and self.option != "scale":
            return f"the task '{self.name}' is not for a model that enlarges"
        if channels not in self.channels:
            return f"the task '{self.name}' is not for {channels} channels"
        return None

    def goal_setting(self, goal: Goal) -> str:
        """What weights with this goal were trained for, as `setting` writes it; else the name."""
        return self.name

    def training_image(self, image: Tensor, channels: int, goal: Goal) -> Tensor:
        """What is kept of a training image ``(1, 3 or 1, H, W)``, to be cut into crops."""
        return data.to_gray(image) if channels == 1 and image.shape[1] == 3 else image

    def examples(self, pixels: Tensor, goal: Goal, generator: np.random.Generator) -> Examples:
        """Degrade crops ``(B, C, h, w)`` of what `training_image` kept."""
        raise NotImplementedError

    def watched(self, pixels: Tensor, goal: Goal, generator: np.random.Generator) -> Examples:
        """The same of crops that are not learned from; what is drawn stays as it ever was.

        So the dB of today's runs can be compared with those on the cards of older weights.
        """
        return self.examples(pixels, goal, generator)

    def levels(self, goal: Goal) -> tuple[float, ...]:
        """Strengths of the degradation whose errors differ so much that they are weighed apart."""
        return (goal.sigma,)

    def simple_error(self, image: Tensor, goal: Goal, level: float, seed: int) -> float:
        """Mean squared error that a method without training leaves in an image ``(1, C, h, w)``.

        Args:
            image: what `training_image` kept.
            goal: see `Goal`.
            level: one of `levels`.
            seed: of what is drawn.
        """
        raise NotImplementedError

    def measured(self, side: int, channels: int) -> Tensor:
        """What a square patch may show of itself: ``(ways, C·side²)``, 1 where it is measured."""
        return torch.ones(1, channels * side**2)


def in_colour(dataset: str) -> bool:
    """Whether a data set has colours.

    Raises:
        DataError: unknown name, or a set without clean references.
    """
    entry = data.entry(dataset)
    if entry.role == "noisy":
        raise data.DataError(f"{dataset} has no clean references: nothing to score against")
    return entry.kind == "colour"


def alike(crops: Tensor) -> Tensor:
    """Scales ``(B,)`` of crops that count alike."""
    return torch.ones(len(crops))


def whole(value: Any) -> Any:
    """A number without a fraction as an integer, as settings write it; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
