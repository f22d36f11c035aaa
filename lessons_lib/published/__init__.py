"""Weights that authors published, run in our models: is the code right, whatever the training?

They never travel with the library: most have no licence that allows it. Each stays what it is in
the place that it comes from; here is its address, its hash, and how to read it.
"""

import torch

from lessons_lib.models import Restorer
from lessons_lib.published.files import fetch, is_here, obtain
from lessons_lib.published.layouts import LAYOUTS, plain_tensors
from lessons_lib.published.registry import (
    CheckpointError,
    PublishedWeights,
    find_published,
    published_weights,
)


def load_published(name: str, device: str | torch.device = "cpu") -> Restorer:
    """A model with weights that its authors published, ready to restore.

    Args:
        name: see `published_weights`.
        device: where to put it.

    Returns:
        The model in evaluation mode, its weights fixed; ``sigma`` is the level it was trained for.

    Raises:
        CheckpointError: see `fetch`; or the file cannot be read as the registry says.
    """
    weights = find_published(name)
    paths, contents = zip(*map(obtain, weights.files), strict=True)
    try:
        model = LAYOUTS[weights.layout](*contents, weights)
    except Exception as error:
        # Those who read files raise many kinds of error; all mean that the layout is another one.
        what = " ".join(str(error).split())
        raise CheckpointError(
            f"{paths[0]}: not in the layout {weights.layout!r}: {what}"
        ) from error
    model.sigma = weights.sigma
    return model.eval().requires_grad_(False).to(device)


__all__ = [
    "CheckpointError",
    "PublishedWeights",
    "fetch",
    "find_published",
    "is_here",
    "load_published",
    "plain_tensors",
    "published_weights",
]
