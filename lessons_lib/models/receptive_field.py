"""Which pixels a network's estimate of one pixel depends on, and by how much."""

from collections.abc import Iterable

import torch
from torch import Tensor

from lessons_lib.models.restorer import Restorer
from lessons_lib.models.windows import HaloWindows


def receptive_field(model: Restorer) -> int:
    """Side of the square of pixels that an estimate can depend on, ``2 · halo + step``.

    That is ``2d + 1`` for ``d`` layers of 3 × 3, and ``4d + 2`` on a grid of half the size, where
    the four pixels of a cell see the same.

    Raises:
        ValueError: for a model that is not applied in `HaloWindows`.

    >>> from lessons_lib.models import build
    >>> receptive_field(build("dncnn", {}))
    35
    """
    if not isinstance(model.application, HaloWindows):
        raise ValueError(f"{type(model).__name__} has no halo to tell its receptive field by")
    return 2 * model.application.halo + model.application.step


def effective_receptive_field(
    models: Iterable[Restorer], images: Tensor, sigma: float | None = None
) -> Tensor:
    """Mean ``|∂x̂_centre / ∂y|`` over models, images and channels.

    Of the estimate, the channels of the centre pixel are summed before the gradient is taken. A
    residual network adds its input, which is a 1 at the centre.

    Args:
        models: one, or several that began with other weights; in the mode in which they are.
        images: ``(B, C, H, W)``.
        sigma: noise on the [0, 1] scale, for models that are told it.

    Returns:
        ``(H, W)``; the centre is at ``(H // 2, W // 2)``.

    Source: Luo, Li, Urtasun, Zemel, *Understanding the effective receptive field in deep
    convolutional neural networks*, 2016, §3.
    """
    fields = []
    for model in models:
        seen = images.detach().clone().requires_grad_()
        told = {} if sigma is None else {"sigma": seen.new_full((len(seen),), sigma)}
        estimate = model(seen, **told)
        centre = estimate[..., estimate.shape[-2] // 2, estimate.shape[-1] // 2].sum()
        (slopes,) = torch.autograd.grad(centre, seen)
        fields.append(slopes.abs().mean(dim=(0, 1)))
    return torch.stack(fields).mean(dim=0)
