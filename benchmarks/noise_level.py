#!/usr/bin/env python3
"""How well the noise level of a photograph is estimated.

    python benchmarks/noise_level.py [--datasets BSD68 Kodak24] [--parts white cameras] [--write]

White Gaussian noise of known strength is added to each image of a data set, and `estimate_sigma` is
asked how strong it is; for comparison scikit-image's estimate, the median of a wavelet's finest
coefficients, if the package PyWavelets is there. Then the same for 8-bit files, which cut noise off
at black and white.

Noise of cameras is simulated: photons and electronics of a sensor, bilinear demosaicking, the sRGB
curve, JPEG of quality 90; the same with a mild blur, as cameras remove noise; the same halved in
size. What `estimate_noise` says of it is compared with what is there: the root mean square of the
difference to the file that the same camera makes of no noise. And it is counted how often
white noise is called correlated. The parts are these two.

``--write`` keeps the errors in data/noise_level.json, those of other parts and data sets as they
are, and brings docs/noise_level.md up to date.
"""

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
import torch.nn.functional as F
from arguments import need
from results import keep, kept
from torch import Tensor

from lessons_lib import data
from lessons_lib.degradations import (
    JPEG,
    BayerMosaic,
    BicubicDown,
    GaussianNoise,
    PoissonGaussianNoise,
)
from lessons_lib.demosaicking import bilinear
from lessons_lib.evaluation.report import markdown, renew
from lessons_lib.ops.noise_level import correlated_rms, estimate_noise, estimate_sigma

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "data" / "noise_level.json"
PAGE = ROOT / "docs" / "noise_level.md"
SIGMAS = (5, 10, 15, 20, 25, 50)
KINDS = ("not clipped", "8-bit files")
CAMERAS = ("plain", "denoised", "halved")
# Photons of a white pixel: ISO 3200 or so in a phone, and a good deal less.
LIGHTS = (300, 2000)
ALARMS = (0, 1, 2, 5, 15, 25, 50, 75)
# Every how manyth image of a data set is looked at.
STEPS = {"samples": 1, "Set12": 2, "BSD68": 4}
# Those that cameras take.
TAKEN = ("samples", "Set12")
PARTS = ("white", "cameras")

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


def camera(image: Tensor, kind: str, photons: float, key: str = "") -> tuple[Tensor, Tensor]:
    """What a simulated camera makes of a photograph: a JPEG file, and that of no noise.

    Args:
        image: ``(1, C, H, W)``; of a gray one, the green channel of the results is returned.
        kind: one of `CAMERAS`.
        photons: of a white pixel; the electronics add noise of two photons.
        key: of the noise, see `GaussianNoise`.
    """
    height, width = (length // 4 * 4 for length in image.shape[-2:])
    shown = image[..., :height, :width].clamp(0, 1).expand(-1, 3, -1, -1)
    light = torch.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    mosaic = BayerMosaic()

    def develop(raw: Tensor) -> Tensor:
        linear = bilinear(mosaic(raw), mosaic).clamp(0, 1)
        bright = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
        seen = torch.where(linear <= 0.0031308, 12.92 * linear, bright)
        if kind == "denoised":
            line = torch.tensor([0.2, 0.6, 0.2])
            kernel = (line[:, None] * line).expand(3, 1, 3, 3)
            seen = F.conv2d(F.pad(seen, (1, 1, 1, 1), mode="reflect"), kernel, groups=3)
        return BicubicDown(2)(seen) if kind == "halved" else seen

    noisy = PoissonGaussianNoise(photons, 2 / photons)(light, key)
    pair = JPEG(90)(develop(noisy)), JPEG(90)(develop(light))
    return pair if image.shape[1] == 3 else (pair[0][:, 1:2], pair[1][:, 1:2])


def photographs(dataset: str) -> list[tuple[str, Tensor]]:
    """Some of a data set's."""
    return list(data.load(dataset))[:: STEPS[dataset]]


def camera_errors(datasets: list[str]) -> Results:
    """What is found of cameras' noise, by kind and light: gray levels, and ratios where it is."""
    found = {}
    for kind in CAMERAS:
        for photons in LIGHTS:
            true, white, ratios = [], [], []
            for dataset in datasets:
                for name, image in photographs(dataset):
                    file, clean = camera(image, kind, photons, name)
                    noise = estimate_noise(file)
                    true.append(255 * (file - clean).square().mean().sqrt().item())
                    white.append(255 * noise.finest)
                    if not noise.white:
                        ratios.append(255 * noise.sigma / true[-1])
            found[f"{kind} {photons}"] = {
                "images": len(true),
                "true": fmean(true),
                "as white": fmean(white),
                "ratios": sorted(ratios),
            }
            print(f"{kind}, {photons} photons: {found[f'{kind} {photons}']}", flush=True)
    return found


def false_alarms(datasets: list[str]) -> Results:
    """Which photographs with white noise are said to have other noise, by its level."""
    found = {}
    for dataset in datasets:
        images = photographs(dataset)
        wrong: dict[str, list[str]] = {}
        for sigma in ALARMS:
            wrong[str(sigma)] = []
            for name, image in images:
                noisy = GaussianNoise(sigma / 255)(image, key=name) if sigma else image
                if correlated_rms(noisy) is not None:
                    wrong[str(sigma)].append(name)
        found[dataset] = {"images": len(images), "alarms": wrong}
        print(f"{dataset}: {found[dataset]}", flush=True)
    return found


def camera_table(results: Results) -> str:
    """One row for each kind of camera and light."""
    heading = ["camera", "photons", "true rms", "taken for white", "called correlated"]
    rows = [[*heading, "estimate / true: median (least to most)", "more than a third off"]]
    for key, row in results.items():
        kind, photons = key.split()
        some = row["ratios"]
        middle = f"{median(some):.2f} ({some[0]:.2f} to {some[-1]:.2f})" if some else "–"
        called = f"{len(some)} of {row['images']}"
        far = f"{sum(abs(ratio - 1) > 1 / 3 for ratio in some)} of {len(some)}"
        levels = f"{row['true']:.1f}", f"{row['as white']:.1f}"
        rows.append([kind, photons, *levels, called, middle, far])
    return markdown(rows)


def alarm_table(results: Results) -> str:
    """One row for each data set."""
    rows = [["data set", "photographs", *(f"σ = {sigma}" for sigma in ALARMS)]]
    for dataset, row in results.items():
        counts = (str(len(row["alarms"][str(sigma)])) for sigma in ALARMS)
        rows.append([dataset, str(row["images"]), *counts])
    return markdown(rows)


def tables(results: Results) -> dict[str, str]:
    """One table for each kind of image: root mean square errors, and the largest in parentheses.

    And one of cameras, one of false alarms.
    """
    made = {
        "cameras": camera_table(results.get("cameras", {})),
        "false alarms": alarm_table(results.get("false alarms", {})),
    }
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
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--write", action="store_true", help="keep results, renew the page")
    given = parser.parse_args()
    white, cameras = ("white" in given.parts, "cameras" in given.parts)
    need(parser, [*(given.datasets if white else ()), *(STEPS if cameras else ())])
    results: Results = kept(RESULTS) if given.write else {}
    methods: dict[str, Callable[[Tensor], Tensor]] = {"ours": estimate_sigma}
    if importlib.util.find_spec("pywt") is not None:
        methods["wavelet"] = wavelet

    def done() -> None:
        if given.write:
            keep(RESULTS, results)
            renew(PAGE, tables(results))

    if cameras:
        results["false alarms"] = false_alarms(list(STEPS))
        done()
        results["cameras"] = camera_errors(list(TAKEN))
        done()
    for kind in KINDS if white else ():
        for dataset in given.datasets:
            for name, method in methods.items():
                row = errors(dataset, method, kind == "8-bit files")
                results.setdefault(kind, {}).setdefault(dataset, {})[name] = row
                done()
    if not given.write:
        for kind, table in tables(results).items():
            print(f"\n{kind}\n\n{table}")


if __name__ == "__main__":
    main()
