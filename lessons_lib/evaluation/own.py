"""Methods of one's own: a function or a network in a Python file, named ``file.py:name``.

What is called, with tensors on the [0, 1] scale and without gradients:

    def denoise(noisy, sigma): ...              # (1, C, H, W), a number -> (1, C, H, W)

or a ``torch.nn.Module`` with three methods: ``__init__(self)`` builds it, ``load(self)`` reads its
weights (it may be left out), and ``forward(self, noisy, sigma)`` estimates. In other tasks than
noise the second argument is what the library's models are told there: the mask ``(1, 3, H, W)`` of
a mosaic, and nothing of JPEG files and of super-resolution, for which a network with an attribute
``scale`` sees the small image, and all others an enlarged one.

docs/own_method.py is one to start from.
"""

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from lessons_lib.checkpoints import SUFFIX
from lessons_lib.classical import Method, Progress
from lessons_lib.data import unknown
from lessons_lib.degradations import Degradation
from lessons_lib.tasks import TASKS


class MethodError(ValueError):
    """A method that is unknown, not installed, or cannot be used on this image."""


def is_own(name: str) -> bool:
    """Whether a name is ``file.py:name`` or ``package.module:name``."""
    return ":" in name and not name.endswith(SUFFIX)


def load_own(name: str, task: str, device: str) -> Method:
    """A function or a network in a file of one's own, which is run.

    Args:
        name: ``file.py:name``, or ``package.module:name`` of what can be imported.
        task: what is to be restored.
        device: where a network works; a function gets its tensors there too.

    Returns:
        A method as `lessons_lib.evaluation.methods.find_method` returns it. What goes wrong in it
        becomes a `MethodError` that names the line.

    Raises:
        MethodError: no such file or name, neither a function nor a network, or an error of its own.
    """
    place, _, what = name.rpartition(":")
    with_errors = _Named(name, place)
    module = with_errors(_module, place)
    found: Any = getattr(module, what, None)
    if found is None:
        names = [key for key in vars(module) if not key.startswith("_")]
        raise MethodError(f"{place}: {unknown('function or network', what, names)}")
    scale = 1
    if isinstance(found, type) and issubclass(found, nn.Module):
        found = with_errors(_network, found, device)
        scale = getattr(found, "scale", 1)
    elif isinstance(found, type) or not callable(found):
        raise MethodError(f"{name} is neither a function nor a torch.nn.Module")

    def run(image: Tensor, degradation: Degradation, progress: Progress | None) -> Tensor:
        try:
            planes = TASKS[task].seen(image.to(device), degradation, scale)
        except ValueError as error:
            raise MethodError(f"{name}: {error}") from error
        told = TASKS[task].told(degradation, planes)
        estimate = with_errors(found, planes, *told.values())
        wanted = (*planes.shape[:2], *(scale * side for side in planes.shape[-2:]))
        if not isinstance(estimate, Tensor) or estimate.shape != wanted:
            given = tuple(estimate.shape) if isinstance(estimate, Tensor) else type(estimate)
            raise MethodError(f"{name} returned {given} instead of a tensor {wanted}")
        return estimate.detach().float().cpu()

    return Method(run, f"of one's own, in {place}")


def _module(place: str) -> ModuleType:
    if not place.endswith(".py"):
        # As Python itself does for what is started in a folder.
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        return importlib.import_module(place)
    path = Path(place).resolve()
    if not path.is_file():
        raise MethodError(f"{place}: no such file")
    label = f"own method {path}"
    if label not in sys.modules:
        # It may import what lies beside it.
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        spec = importlib.util.spec_from_file_location(label, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[label] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[label]
            raise
    return sys.modules[label]


def _network(kind: type[nn.Module], device: str) -> nn.Module:
    network = kind()
    load: Any = getattr(network, "load", None)
    if load is not None:
        load()
    return network.eval().requires_grad_(False).to(device)


class _Named:
    """Calls what somebody else wrote; its errors become one line with the place in the file."""

    def __init__(self, name: str, place: str) -> None:
        self.name, self.file = name, Path(place).name

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            with torch.no_grad():
                return function(*arguments)
        except MethodError:
            raise
        except Exception as error:
            lines = [
                frame.lineno
                for frame in traceback.extract_tb(error.__traceback__)
                if Path(frame.filename).name == self.file
            ]
            where = f" (line {lines[-1]})" if lines else ""
            words = " ".join(f"{type(error).__name__}: {error}".split())
            raise MethodError(f"{self.name}{where}: {words}") from error
