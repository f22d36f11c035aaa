#!/usr/bin/env python3
"""Over how large a patch should NSR pool its features before it mixes its kernels?

    python benchmarks/pooling.py [--networks NAME ...] [--write]

The supplement of Fan and others (2020, section 4.1) asks it of a network in training and in use.
Here of use alone: networks that were trained on crops of 48 pixels denoise Set12 at σ = 25 in tiles
of several sides. Small tiles also keep from convolutions what lies beyond them; what that costs
is seen in a network without groups, which pools nothing, in the same tiles.

``--write`` keeps the scores in data/pooling.json, those of other networks as they are, and brings
docs/pooling.md up to date.
"""

from pathlib import Path
from statistics import fmean

from arguments import networks
from results import add

from lessons_lib import data
from lessons_lib.checkpoints import load_model
from lessons_lib.evaluation.protocols import denoising
from lessons_lib.evaluation.report import markdown, renew
from lessons_lib.models import Restorer
from lessons_lib.models.restorer import Settings
from lessons_lib.models.uniform_tiles import UniformTiles

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "data" / "pooling.json"
PAGE = ROOT / "docs" / "pooling.md"
DATASET, SIGMA = "Set12", 25
# The last holds every photograph of the set.
TILES = (24, 32, 48, 64, 96, 512)
NETWORKS = {
    "without groups": "nsr-gray-25",
    "sparse-": "nsr-gray-25-minus",
    "sparse+": "nsr-gray-25-plus",
}

# PSNR of each image, by network and side of the tiles.
Results = dict[str, dict[str, list[float]]]


def score(model: Restorer) -> dict[str, list[float]]:
    """PSNR of each image in tiles of each of `TILES`, which overlap by a quarter of their side."""
    model = model.eval().for_inference()
    protocol = denoising(DATASET, SIGMA)
    found: dict[str, list[float]] = {f"{tile}": [] for tile in TILES}
    for name, clean in data.load(DATASET):
        noisy = protocol.degradation(clean, name)
        for tile in TILES:
            settings = Settings("fp32", overlap=tile // 4)
            estimate = UniformTiles(tile)(model, noisy, {}, settings)
            found[f"{tile}"].append(protocol.score(estimate, clean)[0])
    return found


def table(results: Results) -> str:
    """A row of dB for each network, and one of how they compare with the one without groups."""
    if not results:
        return "Not measured."
    sides = [*(f"{tile} × {tile}" for tile in TILES[:-1]), "whole"]
    rows = [["network", *sides]]
    means = {
        name: [fmean(results[name][f"{tile}"]) for tile in TILES]
        for name in NETWORKS
        if name in results
    }
    plain = means.get("without groups")
    for name, row in means.items():
        rows.append([name, *(f"{value:.2f}" for value in row)])
        if plain is not None and row is not plain:
            apart = (f"{value - other:+.2f}" for value, other in zip(row, plain, strict=True))
            rows.append([f"{name} less without groups", *apart])
    return markdown(rows)


def main() -> None:
    given = networks(__doc__, NETWORKS, DATASET)
    results: Results = {}
    for name in given.networks:
        results[name] = found = score(load_model(NETWORKS[name]))
        if given.write:
            results = add(RESULTS, {name: found})
            renew(PAGE, {"pooling": table(results)})
        print(name, {tile: round(fmean(some), 2) for tile, some in found.items()}, flush=True)
    print(f"\n{table(results)}")


if __name__ == "__main__":
    main()
