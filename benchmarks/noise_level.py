#!/usr/bin/env python3
"""How well the noise level of a photograph is estimated.

    python benchmarks/noise_level.py [--datasets BSD68 Kodak24] [--write]

White Gaussian noise of known strength is added to each image of a data set, and `estimate_sigma` is
asked how strong it is; for comparison scikit-image's estimate, the median of a wavelet's finest
coefficients, if the package PyWavelets is there. Then the same for 8-bit files, which cut noise off
at black and white. ``--write`` keeps the errors in data/noise_level.json and brings
docs/noise_level.md up to date.
"""

import argparse
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lessons_lib import data
from lessons_lib.degradations import GaussianNoise
from lessons_lib.evaluation.report import fill, markdown
from lessons_lib.ops.noise_level import estimate_sigma

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "data" / "noise_level.json"
PAGE = ROOT / "docs" / "noise_level.md"
SIGMAS = (5, 10, 15, 20, 25, 50)
KINDS = ("not clipped", "8-bit files")

Results = dict[str, Any]


def wavelet(image: Tensor) -> Tensor:
    """scikit-image's estimate, ``(1, C, H, W)`` to ``(1,)``: the mean of the channels'."""
    from skimage.restoration import estimate_sigma as estimate

    return torch.tensor([estimate(plane.double().numpy()) for plane in image[0]]).mean()[None]


def errors(dataset: str, estimate: Callable[[Tensor], Tensor], filed: bool) -> Results:
    """Mean, root mean square and largest error on a data set, by noise level; white is 255."""
    found = {}
    for sigma in SIGMAS:
        each = []
        for name, image in data.load(dataset):
            noisy = GaussianNoise(sigma / 255)(image, key=name)
            if filed:
                noisy = (noisy.clamp(0, 1) * 255).round() / 255
            each.append(estimate(noisy).item() * 255 - sigma)
        error = torch.tensor(each)
        found[str(sigma)] = {
            "mean": error.mean().item(),
            "rms": error.square().mean().sqrt().item(),
            "largest": error.abs().max().item(),
        }
        print(f"{dataset}, sigma {sigma}: {found[str(sigma)]}", flush=True)
    return found


def tables(results: Results) -> dict[str, str]:
    """One table for each kind of image: root mean square errors, and the largest in parentheses."""
    made = {}
    for kind in KINDS:
        rows = [["data set", "estimate", *(f"σ = {sigma}" for sigma in SIGMAS)]]
        for dataset, by_method in results.get(kind, {}).items():
            for method, by_sigma in by_method.items():
                cells = [by_sigma[str(sigma)] for sigma in SIGMAS]
                texts = (f"{cell['rms']:.2f} ({cell['largest']:.1f})" for cell in cells)
                rows.append([dataset, method, *texts])
        made[kind] = markdown(rows)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", nargs="+", default=["BSD68", "Kodak24"])
    parser.add_argument("--write", action="store_true", help="keep results, renew the page")
    given = parser.parse_args()
    results: Results = json.loads(RESULTS.read_text(encoding="utf-8"))
    methods: dict[str, Callable[[Tensor], Tensor]] = {"ours": estimate_sigma}
    if importlib.util.find_spec("pywt") is not None:
        methods["wavelet"] = wavelet
    for kind in KINDS:
        for dataset in given.datasets:
            for name, method in methods.items():
                row = errors(dataset, method, kind == "8-bit files")
                results.setdefault(kind, {}).setdefault(dataset, {})[name] = row
    if given.write:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(fill(page, tables(results)), encoding="utf-8")
    else:
        for kind, table in tables(results).items():
            print(f"\n{kind}\n\n{table}")


if __name__ == "__main__":
    main()
