#!/usr/bin/env python3
"""What if the noise is louder than any in the training, with biases and without?

    python benchmarks/louder.py [--networks NAME ...] [--write]

The experiment of Mohan and others (2020), figure 1: networks of 20 layers that were trained for
noise up to σ = 10 denoise Set12 at that level, below and above, and nobody tells them how strong
the noise is. Two were trained by this library, two by the paper's authors.

``--write`` keeps the scores in data/louder.json, those of other networks as they are, and brings
docs/louder.md up to date.
"""

from pathlib import Path
from statistics import fmean

from arguments import networks
from results import add

from lessons_lib import data
from lessons_lib.checkpoints import load_model
from lessons_lib.evaluation.protocols import denoising
from lessons_lib.evaluation.report import markdown, renew
from lessons_lib.models import Restorer, restore

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "data" / "louder.json"
PAGE = ROOT / "docs" / "louder.md"
DATASET = "Set12"
SIGMAS = (5, 10, 15, 20, 30, 50)
NOISY = "noisy image"
NETWORKS = {
    "with biases": "with-biases-10",
    "without biases": "bias-free-10",
    "with biases, the authors' weights": "dncnn-20-gray-10@lcv",
    "without biases, the authors' weights": "bias-free-gray-10@lcv",
}

# PSNR of each image, by network and σ.
Results = dict[str, dict[str, list[float]]]


def score(model: Restorer | None) -> dict[str, list[float]]:
    """PSNR of each image at each of `SIGMAS`; of the noisy images themselves without a model."""
    found: dict[str, list[float]] = {f"{sigma}": [] for sigma in SIGMAS}
    for name, clean in data.load(DATASET):
        for sigma in SIGMAS:
            protocol = denoising(DATASET, sigma)
            noisy = protocol.degradation(clean, name)
            estimate = noisy if model is None else restore(model, noisy)
            found[f"{sigma}"].append(protocol.score(estimate, clean)[0])
    return found


def table(results: Results) -> str:
    """A row for each network."""
    if not results:
        return "Not measured."
    rows = [["network", *(f"σ = {sigma}" for sigma in SIGMAS)]]
    for name in (name for name in (NOISY, *NETWORKS) if name in results):
        rows.append([name, *(f"{fmean(results[name][f'{sigma}']):.2f}" for sigma in SIGMAS)])
    return markdown(rows)


def main() -> None:
    given = networks(__doc__, NETWORKS, DATASET)
    results: Results = {}
    for name in (NOISY, *given.networks):
        results[name] = found = score(load_model(NETWORKS[name]) if name in NETWORKS else None)
        if given.write:
            results = add(RESULTS, {name: found})
            renew(PAGE, {"louder": table(results)})
        print(name, {sigma: round(fmean(some), 2) for sigma, some in found.items()}, flush=True)
    print(f"\n{table(results)}")


if __name__ == "__main__":
    main()
