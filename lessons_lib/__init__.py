"""Sparse and non-local image restoration, from ISTA to trainable networks, as a course teaches it.

Modules form layers and import strictly downwards: ``ops`` and ``metrics`` know tensors only;
``solvers``, ``degradations``, ``images`` and ``data`` build on them; then the methods, their
evaluation, and at the top the figures, the exercises and the command line.
"""

__version__ = "0.1.0"
