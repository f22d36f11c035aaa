"""Tasks by name: one file each. What differs between tasks stands there and nowhere else."""

from lessons_lib.tasks.base import Channel, Examples, Goal, Posed, Task
from lessons_lib.tasks.camera import Camera
from lessons_lib.tasks.enlarge import Enlarge
from lessons_lib.tasks.jpeg import MendJPEG
from lessons_lib.tasks.mixed import Mixed
from lessons_lib.tasks.mosaic import Demosaic
from lessons_lib.tasks.noise import Blind, Denoise

TASKS: dict[str, Task] = {
    task.name: task for task in (Denoise(), Blind(), Camera(), Demosaic(), MendJPEG(), Enlarge())
}
# What a model can be trained for: one of them, or several at once.
GOALS: dict[str, Task] = TASKS | {"mixed": Mixed()}

__all__ = ["GOALS", "TASKS", "Channel", "Examples", "Goal", "Posed", "Task"]
