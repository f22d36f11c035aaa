"""Classical demosaicking: three colours at each pixel, of which a sensor measured one."""

import importlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lessons_lib.classical import Method
from lessons_lib.degradations import BayerMosaic


def bilinear(mosaic: Tensor, pattern: BayerMosaic) -> Tensor:
    """Average the nearest measured values of each colour.

    Args:
        mosaic: ``(B, 3, H, W)``, zero where a colour was not measured; sides of 2 pixels at least.
        pattern: which was measured where.

    Returns:
        ``(B, 3, H, W)``; measured values stay as they are.
    """
    mask = pattern.mask((mosaic.shape[-2], mosaic.shape[-1])).to(mosaic)
    line = mosaic.new_tensor([1.0, 2.0, 1.0])
    kernel = (line[:, None] * line).expand(3, 1, 3, 3)
    near = F.conv2d(mosaic, kernel, padding=1, groups=3)
    # Divided by the weights that were there, borders need no care.
    weights = F.conv2d(mask, kernel, padding=1, groups=3)
    return torch.where(mask > 0, mosaic, near / weights)


def menon(mosaic: Tensor, pattern: BayerMosaic) -> Tensor:
    """Interpolate along edges, not across them, and refine, by the package colour-demosaicing.

    Args:
        mosaic: ``(B, 3, H, W)``, zero where a colour was not measured.
        pattern: which was measured where.

    Returns:
        ``(B, 3, H, W)``.

    Source: Menon, Andriani, Calvagno, *Demosaicing with directional filtering and a posteriori
    decision*, 2007.
    """
    package = importlib.import_module("colour_demosaicing")
    planes = mosaic.sum(dim=1).double().cpu().numpy()
    estimates = [
        package.demosaicing_CFA_Bayer_Menon2007(plane, pattern.pattern) for plane in planes
    ]
    return torch.from_numpy(np.stack(estimates)).permute(0, 3, 1, 2).to(mosaic)


METHODS = {
    "bilinear": Method(
        bilinear, "average of the nearest measured values", "bilinear interpolation", smallest=2
    ),
    "menon": Method(
        menon,
        "directional filtering",
        "directional filtering (Menon et al.)",
        smallest=8,
        package="colour_demosaicing",
    ),
}
