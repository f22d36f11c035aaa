"""Methods by name, classical ones and trained weights, and what each task tells them."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from lessons_lib import models
from lessons_lib.checkpoints import known_weights, load_model
from lessons_lib.classical import Method, Progress
from lessons_lib.data import unknown
from lessons_lib.degradations import Degradation, VaryingNoise
from lessons_lib.models.restorer import Precision
from lessons_lib.tasks import TASKS


class MethodError(ValueError):
    """A method that is unknown, not installed, or cannot be used on this image."""


@dataclass(frozen=True)
class Inference:
    """How trained weights are to work; classical methods know but one way.

    Args:
        device: where.
        precision: see `lessons_lib.models.restore`.
        overlap: pixels that neighbouring tiles share, see there.
    """

    device: str = "cpu"
    precision: Precision = "auto"
    overlap: int | None = None


INFERENCE = Inference()


def find_method(name: str, task: str = "denoise", inference: Inference = INFERENCE) -> Method:
    """A classical method or trained weights by name, ready for a task.

    Args:
        name: of `known_methods`.
        task: what is to be restored.
        inference: how trained weights are to work.

    Returns:
        A method whose ``function`` takes the image, what happened to it, and ``progress``.

    Raises:
        MethodError: unknown name (says the nearest), one that does not serve the task, or a missing
            package.
        CheckpointError: see `load_model`.
    """
    if name in known_weights():
        if not known_weights()[name].serves(task):
            setting = known_weights()[name].setting
            raise MethodError(f"'{name}' is for {setting}, not for the task {task}")
        return _trained(name, task, inference)
    known = TASKS[task].methods()
    if name not in known:
        raise MethodError(unknown("method", name, known_methods(task)))
    method = known[name]
    missing = method.missing()
    if missing:
        raise MethodError(f"method '{name}' needs another package: pip install {missing}")
    return method


def takes_maps(name: str) -> bool:
    """Whether a method can be told of noise that differs from pixel to pixel."""
    weights = known_weights().get(name)
    return weights is not None and models.MODELS[weights.model].model.takes_maps


def known_methods(task: str) -> list[str]:
    """Names of all that can do a task."""
    trained = (known.name for known in known_weights().values() if known.serves(task))
    return [*TASKS[task].methods(), *trained]


def restore(
    name: str,
    image: Tensor,
    degradation: Degradation,
    task: str = "denoise",
    progress: Progress | None = None,
    inference: Inference = INFERENCE,
) -> Tensor:
    """Run a method on one image, with its limits checked before and its result after.

    Args:
        name: see `find_method`.
        image: (1, C, H, W), degraded.
        degradation: what happened to it. Methods are told what the task lets them know.
        task: what is to be restored.
        progress: called with the share done, from 0 to 1.
        inference: see `find_method`.

    Raises:
        MethodError: unknown method, image too small for it, or a result that is not finite.
    """
    method = find_method(name, task, inference)
    smallest = max(method.smallest, TASKS[task].smallest)
    if isinstance(degradation, VaryingNoise) and not takes_maps(name):
        raise MethodError(f"'{name}' takes one number for the noise, not a map of it; FFDNet does")
    height, width = image.shape[-2:]
    if min(height, width) < smallest:
        raise MethodError(
            f"the image has {width} x {height} pixels; method '{name}' needs "
            f"{smallest} on each side"
        )
    with torch.no_grad():
        estimate = method.function(image, TASKS[task].perceived(image, degradation), progress)
    if not torch.isfinite(estimate).all():
        raise MethodError(f"method '{name}' gave no finite result on this image")
    return estimate


@cache
def weights(name: str, device: str) -> models.Restorer:
    """Trained weights by name; loaded once."""
    return load_model(name, device)


@cache
def _trained(name: str, task: str, inference: Inference) -> Method:
    model = weights(name, inference.device)

    def run(image: Tensor, what: Degradation, progress: Progress | None) -> Tensor:
        channels = model.config.channels
        if image.shape[1] % channels:
            raise MethodError(f"'{name}' restores colour images only")
        # A model for gray images takes each channel for one.
        planes = image.to(inference.device).reshape(-1, channels, *image.shape[-2:])
        try:
            planes = TASKS[task].seen(planes, what, model.scale)
        except ValueError as error:
            raise MethodError(f"'{name}': {error}") from error
        estimate = models.restore(
            model,
            planes,
            overlap=inference.overlap,
            precision=inference.precision,
            progress=progress,
            **TASKS[task].told(what, planes),
        )
        return estimate.reshape(*image.shape[:2], *estimate.shape[-2:]).cpu()

    return Method(run, f"trained for {known_weights()[name].setting}")
