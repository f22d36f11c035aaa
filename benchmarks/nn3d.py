#!/usr/bin/env python3
"""What does NN3D gain, over which denoiser and on which pictures?

    python benchmarks/nn3d.py [--denoisers DnCNN FFDNet] [--datasets Set12 BSD68] [--write]

Each image, with noise of σ = 50, is denoised alone; twice, as NN3D does it but without its filter;
and by NN3D. A network of one level serves for the levels nearest to its own.

``--write`` keeps the scores in data/nn3d.json, those of other denoisers and data sets as they are,
and brings docs/nn3d.md up to date.
"""

import argparse
from pathlib import Path
from statistics import fmean

from arguments import need
from results import add
from torch import Tensor

from lessons_lib import data
from lessons_lib.checkpoints import load_model
from lessons_lib.degradations import GaussianNoise
from lessons_lib.evaluation.paper import rows as published_rows
from lessons_lib.evaluation.report import markdown, renew
from lessons_lib.metrics import psnr
from lessons_lib.models import restore
from lessons_lib.models.nn3d import Denoiser, NonLocalFilter, nn3d

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "data" / "nn3d.json"
PAGE = ROOT / "docs" / "nn3d.md"
SIGMA = 50 / 255
# By what the paper calls them, and whose weights: one network for all levels, or one for each of
# some.
DENOISERS = {
    "DnCNN": ("dncnn-gray-15", "dncnn-gray-25", "dncnn-gray-50"),
    "DnCNN, its authors' weights": (
        "dncnn-gray-15@cszn",
        "dncnn-gray-25@cszn",
        "dncnn-gray-50@cszn",
    ),
    "FFDNet": ("ffdnet-gray",),
    "FFDNet, its authors' weights": ("ffdnet-gray@cszn",),
    "SC": ("sc-gray-15", "sc-gray-25", "sc-gray-50"),
}
WAYS = ("alone", "twice", "NN3D")

# PSNR of each image in each way, by denoiser and data set.
Results = dict[str, dict[str, dict[str, list[float]]]]


def denoiser(name: str) -> Denoiser:
    """One of `DENOISERS`, for noise of any level."""
    models = [load_model(weights) for weights in DENOISERS[name]]
    if len(models) == 1:
        return lambda image, sigma: restore(models[0], image, sigma)

    def nearest(image: Tensor, sigma: float) -> Tensor:
        return restore(min(models, key=lambda model: abs(model.sigma - sigma)), image)

    return nearest


def score(denoise: Denoiser, dataset: str) -> dict[str, list[float]]:
    """PSNR of each image of a data set, by `WAYS`; estimates are clipped."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for name, clean in data.load(dataset):
        noisy = GaussianNoise(SIGMA)(clean, name)
        first = denoise(noisy, SIGMA)

        def again(image: Tensor, sigma: float, first: Tensor = first) -> Tensor:
            return first if sigma == SIGMA else denoise(image, sigma)  # the first round is known

        estimates = {
            "alone": first,
            # There is nothing to shrink in a group of one.
            "twice": nn3d(noisy, SIGMA, again, nonlocal_filter=NonLocalFilter(count=1)),
            "NN3D": nn3d(noisy, SIGMA, again),
        }
        for way, estimate in estimates.items():
            found[way].append(psnr(estimate.clamp(0, 1), clean).item())
    return found


def in_print(name: str, dataset: str) -> str:
    """The gain that was published, if it was."""
    wanted = {
        "dataset": dataset,
        "setting": f"sigma={255 * SIGMA:.0f}",
        "source": "Slides NN3D-TI",
    }
    found = {
        row["method"]: row["psnr"] for row in published_rows() if wanted.items() <= row.items()
    }
    alone = name.split(",")[0]
    if f"NN3D({alone})" not in found:
        return ""
    return f"{float(found[f'NN3D({alone})']) - float(found[alone]):+.2f}"


def table(results: Results) -> str:
    """A row for each denoiser and data set."""
    if not results:
        return "Not measured."
    rows = [["denoiser", "data", *WAYS, "gain", "in print", "images that gain"]]
    for name, dataset in [(one, each) for one in DENOISERS for each in results.get(one, {})]:
        found = results[name][dataset]
        means = [fmean(found[way]) for way in WAYS]
        gaining = sum(
            after > before for before, after in zip(found["alone"], found["NN3D"], strict=True)
        )
        rows.append(
            [
                name,
                dataset,
                *(f"{mean:.2f}" for mean in means),
                f"{means[-1] - means[0]:+.2f}",
                in_print(name, dataset),
                f"{gaining} of {len(found['NN3D'])}",
            ]
        )
    return markdown(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--denoisers", nargs="+", default=["DnCNN", "FFDNet"], choices=DENOISERS)
    parser.add_argument("--datasets", nargs="+", default=["Set12", "BSD68"])
    parser.add_argument("--write", action="store_true", help="keep results, renew the page")
    given = parser.parse_args()
    need(parser, given.datasets, [each for name in given.denoisers for each in DENOISERS[name]])
    results: Results = {}
    for name in given.denoisers:
        denoise = denoiser(name)
        for dataset in given.datasets:
            found = score(denoise, dataset)
            results.setdefault(name, {})[dataset] = found
            print(name, dataset, {way: round(fmean(found[way]), 3) for way in WAYS}, flush=True)
            if given.write:
                results = add(RESULTS, {name: {dataset: found}})
                renew(PAGE, {"nn3d": table(results)})
    print(f"\n{table(results)}")


if __name__ == "__main__":
    main()
