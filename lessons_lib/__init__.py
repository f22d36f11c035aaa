"""Sparse and non-local image restoration, from ISTA to trainable networks, as a course teaches it.

Modules form layers and import strictly downwards: ``ops`` and ``metrics`` know tensors only;
``solvers``, ``degradations``, ``images`` and ``data`` build on them; then the methods, their
evaluation, and at the top the figures, the exercises and the command line.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lessons_lib.arrays import denoise, restore
    from lessons_lib.checkpoints import load_model

__version__ = "0.1.0"
__all__ = ["denoise", "load_model", "restore"]

# Where what the library offers at its door is to be found.
_DOOR = {"denoise": "arrays", "load_model": "checkpoints", "restore": "arrays"}


def __getattr__(name: str) -> Any:
    # On demand: whoever imports one of the lower layers, or asks for help, need not wait for torch.
    if name in _DOOR:
        return getattr(importlib.import_module(f"lessons_lib.{_DOOR[name]}"), name)
    raise AttributeError(f"module 'lessons_lib' has no attribute {name!r}")
