"""Pictures as NumPy arrays, restored in one call: the library's door for other programs.

>>> import numpy as np
>>> photograph = np.full((40, 60, 3), 128, dtype=np.uint8)
>>> denoise(photograph, sigma=10, model="dct").shape
(40, 60, 3)
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lessons_lib.data import unknown
from lessons_lib.evaluation.best import best_for, misgiving
from lessons_lib.evaluation.methods import Inference
from lessons_lib.evaluation.methods import restore as run
from lessons_lib.images import Photo
from lessons_lib.images.photo import FULL_RANGE, check_range
from lessons_lib.images.samples import to_photo, to_samples
from lessons_lib.tasks import TASKS

# What errors call a picture that has no file.
NAME = "the array"


def denoise(
    image: ArrayLike,
    sigma: float | None = None,
    model: str | None = None,
    *,
    value_range: tuple[float, float] | None = None,
    device: str = "cpu",
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Remove white Gaussian noise from a picture; as `restore`, of noise.

    Args:
        image: ``(H, W)`` or ``(H, W, 1)``, gray, or ``(H, W, 3)``, RGB. Integers of 8, 16 or 32
            bits are black at 0 and white at their largest number, floating point at 0 and 1.
        sigma: standard deviation of the noise in the units of the array: 25 for ``uint8`` is 6425
            for ``uint16`` and 0.098 for floats. None: it is found in the picture.
        model: name of trained weights or of a classical method, see `restore`.
        value_range: see `restore`.
        device: see `restore`.
        progress: see `restore`.

    Returns:
        An array of the same shape and type.

    Raises:
        ValueError: see `restore`.
    """
    task = "blind" if sigma is None else "denoise"
    return _restored(image, task, sigma, model, value_range, device, progress)


def restore(
    image: ArrayLike,
    task: str = "blind",
    value: Any = None,
    model: str | None = None,
    *,
    value_range: tuple[float, float] | None = None,
    device: str = "cpu",
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Restore a picture. The array that is given stays as it is.

    Args:
        image: as `denoise` has it. A sensor's mosaic is gray, and becomes RGB.
        task: a name of `lessons_lib.tasks.TASKS`: "denoise", "blind", "camera", "demosaic", "jpeg"
            or "sr".
        value: what the task has to be told: σ of the noise in the units of the array for "denoise"
            ("blind" finds it), the pattern for "demosaic" ("RGGB"), the quality for "jpeg", how
            many times larger for "sr".
        model: name of trained weights (`lessons models` lists them), a file of weights, or a
            classical method, see `lessons_lib.evaluation.methods.find_method`. None: the weights
            of the library that scored best on pictures of this kind; they take minutes for some
            megapixels.
        value_range: the numbers that are black and white, where these are others than the type's:
            ``(0, 1023)`` for 10 bits in ``uint16``, ``(0, 255)`` for floats on that scale.
        device: where trained weights work, "cpu" or "cuda".
        progress: called with the share done, from 0 to 1.

    Returns:
        An array of the same type, and of the same shape unless the task enlarges or brings colours.
        Integers are rounded and clipped to what the type holds, floating point is neither.

    Raises:
        ValueError: transparency, another shape or type, numbers that are not finite, floats far
            outside [0, 1] without ``value_range``, an impossible or missing value, or a method that
            is unknown or not for this picture.
    """
    return _restored(image, task, value, model, value_range, device, progress)


def _restored(
    image: ArrayLike,
    task: str,
    value: Any,
    model: str | None,
    value_range: tuple[float, float] | None,
    device: str,
    progress: Callable[[float], None] | None,
) -> np.ndarray:
    """See `restore`. What is doubtful is said of the line that called one of the doors."""
    if task not in TASKS:
        raise ValueError(unknown("task", task, TASKS))
    goal = TASKS[task]
    photo, flat, dtype = _photo(image, value_range)
    if value is None and (goal.required or goal.told_by_files):
        raise ValueError(f"the task {task} needs a value: {goal.option}")
    if value is not None and goal.option == "sigma":
        black, white = photo.range
        if not isinstance(value, int | float | np.number) or not 0 < value < math.inf:
            raise ValueError(f"sigma must be positive and finite, not {value!r}")
        value = 255 * float(value) / (white - black)
    if value is not None:
        try:
            goal.degradation(value)  # refuses what is impossible
        except TypeError as error:
            raise ValueError(f"{goal.option} cannot be {value!r}") from error
    posed = goal.pose(photo.pixels, value, NAME)
    for note in posed.notes:
        warnings.warn(f"{NAME}: {note}", stacklevel=3)
    name = model or best_for(goal, posed)
    if doubt := misgiving(name, goal, posed):
        warnings.warn(f"{name}: {doubt}", stacklevel=3)
    left, how = goal.known_as, Inference(device)
    estimate = run(name, posed.planes, posed.degradation, left, progress, how)
    restored = Photo(
        goal.finish(photo.pixels, estimate),
        bits=photo.bits,
        sample_type=photo.sample_type,
        value_range=photo.range,
    )
    samples = to_samples(restored, photo.sample_type, photo.range)
    if flat and samples.shape[-1] == 1:
        samples = samples[..., 0]
    return samples.astype(dtype, copy=False)


def _photo(
    image: ArrayLike, value_range: tuple[float, float] | None
) -> tuple[Photo, bool, np.dtype[Any]]:
    """The picture as the library has it, whether it had no axis of channels, and its type."""
    array = np.asarray(image)
    flat = array.ndim == 2
    if not flat and (array.ndim != 3 or array.shape[-1] not in (1, 2, 3, 4)):
        raise ValueError(f"{NAME} is (H, W), (H, W, 1) or (H, W, 3), not {array.shape}")
    if not flat and array.shape[-1] in (2, 4):
        raise ValueError(
            f"{NAME} has {array.shape[-1]} channels: take transparency off, and put it back after"
        )
    if array.dtype.name not in FULL_RANGE:
        raise ValueError(
            f"{NAME} holds {array.dtype.name}: give integers of up to 32 bits, or floats in [0, 1]"
        )
    if value_range is not None and len(value_range) != 2:
        raise ValueError(f"{NAME}: a range is two numbers, black and white, not {value_range}")
    check_range(NAME, value_range)
    samples = array[..., None] if flat else array
    return to_photo(NAME, samples, value_range=value_range), flat, array.dtype
