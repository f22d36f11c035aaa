"""Deblur two photographs with denoisers as priors: deepinv's algorithms, this library's weights.

    pip install deepinv
    python docs/plug_and_play.py                 # a few minutes on one core
    python docs/plug_and_play.py ffdnet-gray     # other priors, by name; a "+" joins several

docs/plug_and_play.md explains what it prints.
"""

import importlib.util
import sys
import time
from collections.abc import Callable

import deepinv
import torch
from torch import Tensor

from lessons_lib import data
from lessons_lib.metrics import psnr
from lessons_lib.plug_and_play import Denoiser

SIGMA = 2 / 255  # of the noise that is added to the blurred photographs
PHOTOGRAPHS = ["camera", "chelsea"]
PRIORS = [
    "dct",
    "bm3d",
    "dncnn-gray-25",
    "ffdnet-gray",
    "sc-gray-25",
    "sc-gray-5",
    "sc-gray-5+sc-gray-15+sc-gray-25+sc-gray-50",
    "groupsc-gray-5+groupsc-gray-15+groupsc-gray-25+groupsc-gray-50",
]

Restore = Callable[[Tensor, deepinv.physics.Physics], Tensor]


def blurred(clean: Tensor) -> tuple[Tensor, deepinv.physics.Physics]:
    """A Gaussian of standard deviation 1.6 pixels, then noise."""
    physics = deepinv.physics.BlurFFT(
        img_size=clean.shape[1:],
        filter=deepinv.physics.functional.gaussian_blur(sigma=(1.6, 1.6)),
        noise_model=deepinv.physics.GaussianNoise(SIGMA, rng=torch.Generator().manual_seed(0)),
    )
    return physics(clean), physics


def plug_and_play(names: str) -> Restore:
    """Eight rounds of half-quadratic splitting, the noise falling from 49/255 to SIGMA."""
    return deepinv.optim.DPIR(sigma=SIGMA, denoiser=Denoiser(*names.split("+")))


def wiener(price: float) -> Restore:
    """The linear filter that likes smooth images."""
    return deepinv.models.WienerDeconvolution(lambda_reg=price)


def total_variation(price: float) -> Restore:
    """Few edges: accelerated proximal gradient steps."""

    def restore(seen: Tensor, physics: deepinv.physics.Physics) -> Tensor:
        # A prior of its own for each photograph: it begins where its last work ended.
        method = deepinv.optim.FISTA(
            data_fidelity=deepinv.optim.L2(),
            prior=deepinv.optim.TVPrior(n_it_max=20),
            lambda_reg=price,
            stepsize=1.0,
            max_iter=200,
        )
        return method(seen, physics)

    return restore


def row(title: str, candidates: list[Restore], photographs: dict[str, Tensor]) -> str:
    """A line of the table: dB for each photograph, the best of the candidates, and seconds."""
    start, cells = time.perf_counter(), []
    for clean in photographs.values():
        seen, physics = blurred(clean)
        with torch.no_grad():
            estimates = [restore(seen, physics).clamp(0, 1) for restore in candidates]
        cells.append(f"{max(psnr(estimate, clean).item() for estimate in estimates):.2f}")
    seconds = (time.perf_counter() - start) / len(photographs) / len(candidates)
    return f"| {' | '.join([title, *cells, f'{seconds:.1f}'])} |"


def main() -> None:
    """Print the table, line by line."""
    photographs = {name: data.sample(name, size=128) for name in PHOTOGRAPHS}
    names = sys.argv[1:]
    print(f"| method | {' | '.join(photographs)} | seconds |")
    print("|---" * (len(photographs) + 2) + "|")
    if not names:
        print(row("blurred", [lambda seen, physics: seen], photographs), flush=True)
        grid = [1e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 1e-1]
        print(row("Wiener", [wiener(price) for price in grid], photographs), flush=True)
        grid = [1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3]
        print(row("TV", [total_variation(price) for price in grid], photographs), flush=True)
        # BM3D is installed by itself: its licence forbids commercial use.
        names = [name for name in PRIORS if name != "bm3d" or importlib.util.find_spec("bm3d")]
    for name in names:
        print(row(name, [plug_and_play(name)], photographs), flush=True)


if __name__ == "__main__":
    main()
