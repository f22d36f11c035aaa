"""Sparse and non-local image restoration, from ISTA to trainable networks, as a course teaches it.

Modules form layers and import strictly downwards: ``ops`` and ``metrics`` know tensors only;
``solvers``, ``degradations``, ``images`` and ``data`` build on them; then the methods, their
evaluation, and at the top the figures, the exercises and the command line.
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["load_model"]


def __getattr__(name: str) -> Any:
    # On demand: whoever imports one of the lower layers, or asks for help, need not wait for torch.
    if name == "load_model":
        from lessons_lib.checkpoints import load_model

        return load_model
    raise AttributeError(f"module 'lessons_lib' has no attribute {name!r}")
