"""Methods by name, classical ones and trained weights, and what each task tells them."""

from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from lessons_lib import classical, demosaicking, models
from lessons_lib.checkpoints import Card, cards, load_card, load_model
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
        if task not in SERVES[load_card(name).task]:
            raise MethodError(f"'{name}' was trained to {load_card(name).task}, not to {task}")
        return _trained(name, task, inference)
    known = known_methods(task)
    if name not in known:
        raise MethodError(unknown("method", name, known))
    method = _classical(task)[name]
    missing = method.missing()
    if missing:
        raise MethodError(f"method '{name}' needs another package: pip install {missing}")
    return method


def known_methods(task: Task) -> list[str]:
    """Names of all that can do a task."""
    return [*_classical(task), *(card.name for card in cards().values() if _serves(card, task))]


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
    height, width = image.shape[-2:]
    if min(height, width) < method.smallest:
        raise MethodError(
            f"the image has {width} x {height} pixels; method '{name}' needs "
            f"{method.smallest} on each side"
        )
    with torch.no_grad():
        estimate = method.function(image, degradation, progress)
    if not torch.isfinite(estimate).all():
        raise MethodError(f"method '{name}' gave no finite result on this image")
    return estimate


def weights(name: str, device: str = "cpu") -> models.PatchModel:
    """Trained weights by name; loaded once."""
    return _loaded(name, device)


def _serves(card: Card, task: Task) -> bool:
    return task in SERVES[card.task]


def _classical(task: Task) -> dict[str, Method]:
    if task == "demosaic":
        return {name: _for_mosaics(method) for name, method in demosaicking.METHODS.items()}
    if task == "jpeg":
        return {"noisy": Method(lambda image, what, progress: image, "the file as it is")}
    return {name: _for_noise(method, task) for name, method in classical.METHODS.items()}


def _for_noise(method: Method, task: Task) -> Method:
    def denoise(image: Tensor, what: Degradation, progress: Progress | None) -> Tensor:
        return method.function(image, _sigma(image, what, task), progress)

    # An image too small to be judged is too small for a method that needs its noise.
    return replace(
        method, function=denoise, smallest=max(method.smallest, SMALLEST if task == "blind" else 1)
    )


def _for_mosaics(method: Method) -> Method:
    def demosaic(image: Tensor, what: Degradation, progress: Progress | None) -> Tensor:
        assert isinstance(what, BayerMosaic)
        return method.function(image, what)

    return replace(method, function=demosaic)


def _sigma(image: Tensor, what: Degradation, task: Task) -> float:
    """The noise that a method may know."""
    if task == "blind":
        return max(estimate_sigma(image).item(), 1e-3)
    assert isinstance(what, GaussianNoise)
    # Beyond this nothing of an image is left in any case, and squares would overflow.
    return min(what.sigma, 1e6)


@cache
def _trained(name: str, task: Task, inference: Inference) -> Method:
    model, card = _loaded(name, inference.device), load_card(name)

    def run(image: Tensor, what: Degradation, progress: Progress | None) -> Tensor:
        channels = model.config.channels
        if image.shape[1] % channels:
            raise MethodError(f"'{name}' restores colour images only")
        # A model for gray images takes each channel for one.
        planes = image.to(inference.device).reshape(-1, channels, *image.shape[-2:])
        sigma, mask = None, None
        if task in ("denoise", "blind"):
            sigma = _sigma(image, what, task)
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

    smallest = SMALLEST if task == "blind" else 1
    return Method(run, f"trained to {card.task}", smallest=smallest)


@cache
def _loaded(name: str, device: str) -> models.PatchModel:
    return load_model(name, device)
