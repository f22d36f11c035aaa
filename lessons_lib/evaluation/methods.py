"""Methods by name, and what each task tells them.

A name is that of a classical method or of trained weights; or it leads to what is one's own: a file
of weights ("mine.safetensors"), or a function or a network in a Python file ("mine.py:denoise").
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from lessons_lib import models
from lessons_lib.checkpoints import find_card, known_weights, load_card, load_model
from lessons_lib.classical import Method, Progress
from lessons_lib.data import unknown
from lessons_lib.degradations import Degradation, VaryingNoise
from lessons_lib.evaluation.own import MethodError, is_own, load_own
from lessons_lib.models.restorer import Precision
from lessons_lib.published import find_published
from lessons_lib.tasks import TASKS


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
    """A method by name, ready for a task.

    Args:
        name: of `known_methods`, or what leads to one's own, see above.
        task: what is to be restored.
        inference: how trained weights are to work.

    Returns:
        A method whose ``function`` takes the image, what happened to it, and ``progress``.

    Raises:
        MethodError: unknown name (says the nearest), one that does not serve the task, or a missing
            package; see `load_own`.
        CheckpointError: see `load_model`.
    """
    if is_own(name):
        return _own(name, task, inference.device)
    card = find_card(name)
    if card is not None:
        if not card.serves(task):
            raise MethodError(f"'{name}' is for {card.setting}, not for the task {task}")
        return _trained(name, task, inference)
    known = TASKS[task].methods()
    if name not in known:
        raise MethodError(unknown("method", name, known_methods(task)))
    method = known[name]
    missing = method.missing()
    if missing:
        raise MethodError(f"method '{name}' needs another package: pip install {missing}")
    return method


def find_model(name: str) -> str:
    """The name again, if it is that of trained weights or leads to what is one's own.

    Raises:
        CheckpointError: if it is not.
    """
    if not is_own(name) and find_card(name) is None:
        (find_published if "@" in name else load_card)(name)  # says what there is
    return name


def takes_maps(name: str) -> bool:
    """Whether a method can be told of noise that differs from pixel to pixel."""
    weights = find_card(name)
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


_own = cache(load_own)


def weights(name: str, device: str) -> models.Restorer:
    """Trained weights by name; loaded once, and anew where the file of that name is another."""
    card = find_card(name)
    return _loaded(name, device, card.sha256 if card else "")


@cache
def _loaded(name: str, device: str, sha256: str) -> models.Restorer:
    return load_model(name, device)


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
            estimate = models.restore(
                model,
                planes,
                overlap=inference.overlap,
                precision=inference.precision,
                progress=progress,
                **TASKS[task].told(what, planes),
            )
        except ValueError as error:
            raise MethodError(f"'{name}': {error}") from error
        return estimate.reshape(*image.shape[:2], *estimate.shape[-2:]).cpu()

    card = find_card(name)
    return Method(run, f"trained for {card.setting if card else task}")
