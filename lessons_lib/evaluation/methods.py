"""Methods by name, classical ones and trained weights, and what each task tells them."""

from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from lessons_lib import classical, demosaicking, models
from lessons_lib.checkpoints import cards, load_model
from lessons_lib.classical import Method, Progress
from lessons_lib.data import unknown
from lessons_lib.degradations import BayerMosaic, Degradation, GaussianNoise
from lessons_lib.evaluation.protocols import Task
from lessons_lib.models.restore import Precision
from lessons_lib.ops.noise_level import SMALLEST, estimate_sigma


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

# What weights that were trained for one task can also do. A model of one noise level restores any
# other, once the level is known; one of several levels can be told it.
SERVES: dict[str, tuple[Task, ...]] = {
    "denoise": ("denoise", "blind"),
    "blind": ("denoise", "blind"),
    "demosaic": ("demosaic",),
    "jpeg": ("jpeg",),
}


def find_method(name: str, task: Task = "denoise", inference: Inference = INFERENCE) -> Method:
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
    if name in cards():
        trained_to = cards()[name].task
        if task not in SERVES[trained_to]:
            raise MethodError(f"'{name}' was trained to {trained_to}, not to {task}")
        return _trained(name, inference)
    known = _classical(task)
    if name not in known:
        raise MethodError(unknown("method", name, known_methods(task)))
    method = known[name]
    missing = method.missing()
    if missing:
        raise MethodError(f"method '{name}' needs another package: pip install {missing}")
    return method


def known_methods(task: Task) -> list[str]:
    """Names of all that can do a task."""
    trained = (card.name for card in cards().values() if task in SERVES[card.task])
    return [*_classical(task), *trained]


def restore(
    name: str,
    image: Tensor,
    degradation: Degradation,
    task: Task = "denoise",
    progress: Progress | None = None,
    inference: Inference = INFERENCE,
) -> Tensor:
    """Run a method on one image, with its limits checked before and its result after.

    Args:
        name: see `find_method`.
        image: (1, C, H, W), degraded.
        degradation: what happened to it. Methods know all of it but the level of noise in the task
            "blind", which they estimate.
        task: what is to be restored.
        progress: called with the share done, from 0 to 1.
        inference: see `find_method`.

    Raises:
        MethodError: unknown method, image too small for it, or a result that is not finite.
    """
    method = find_method(name, task, inference)
    # An image too small to be judged is too small for a method that needs its noise.
    smallest = max(method.smallest, SMALLEST if task == "blind" else 1)
    height, width = image.shape[-2:]
    if min(height, width) < smallest:
        raise MethodError(
            f"the image has {width} x {height} pixels; method '{name}' needs "
            f"{smallest} on each side"
        )
    if task == "blind":
        degradation = GaussianNoise(max(estimate_sigma(image).item(), 1e-3))
    with torch.no_grad():
        estimate = method.function(image, degradation, progress)
    if not torch.isfinite(estimate).all():
        raise MethodError(f"method '{name}' gave no finite result on this image")
    return estimate


@cache
def weights(name: str, device: str) -> models.Restorer:
    """Trained weights by name; loaded once."""
    return load_model(name, device)


def _classical(task: Task) -> dict[str, Method]:
    if task == "demosaic":
        return {name: _for_mosaics(method) for name, method in demosaicking.METHODS.items()}
    if task == "jpeg":
        return {"noisy": Method(lambda image, what, progress: image, "the file as it is")}
    return {name: _for_noise(method) for name, method in classical.METHODS.items()}


def _for_noise(method: Method) -> Method:
    def denoise(image: Tensor, what: Degradation, progress: Progress | None) -> Tensor:
        return method.function(image, _sigma(what), progress)

    return replace(method, function=denoise)


def _for_mosaics(method: Method) -> Method:
    def demosaic(image: Tensor, what: Degradation, progress: Progress | None) -> Tensor:
        assert isinstance(what, BayerMosaic)
        return method.function(image, what)

    return replace(method, function=demosaic)


def _sigma(what: Degradation) -> float:
    assert isinstance(what, GaussianNoise)
    # Beyond this nothing of an image is left in any case, and squares would overflow.
    return min(what.sigma, 1e6)


@cache
def _trained(name: str, inference: Inference) -> Method:
    model = weights(name, inference.device)

    def run(image: Tensor, what: Degradation, progress: Progress | None) -> Tensor:
        channels = model.config.channels
        if image.shape[1] % channels:
            raise MethodError(f"'{name}' restores colour images only")
        # A model for gray images takes each channel for one.
        planes = image.to(inference.device).reshape(-1, channels, *image.shape[-2:])
        sigma = _sigma(what) if isinstance(what, GaussianNoise) else None
        mask = None
        if isinstance(what, BayerMosaic):
            mask = what.mask((image.shape[-2], image.shape[-1])).to(planes)
        estimate = models.restore(
            model,
            planes,
            sigma,
            overlap=inference.overlap,
            precision=inference.precision,
            mask=mask,
            progress=progress,
        )
        return estimate.reshape(image.shape).cpu()

    return Method(run, f"trained to {cards()[name].task}")
