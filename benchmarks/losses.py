#!/usr/bin/env python3
"""Which loss should a network for mosaics with noise be trained with?

    python benchmarks/losses.py [--losses l2 l1 mix] [--seeds 2] [--steps 2000] [--write]

The experiment of Zhao and others (2017, Table I, denoising and demosaicking), at equal cost: one
small network, the same crops and noise, another loss each time. It sees a mosaic that was
interpolated bilinearly and adds a correction. What it makes of Kodak24 is scored by all measures
that the losses are related to.

``--write`` keeps the scores in data/losses.json, those of other losses as they are, and brings
docs/losses.md up to date. All that is kept is of the same steps, data set and number of seeds.
"""

import argparse
import math
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from arguments import at_least_one, need
from results import add, kept, unlike
from torch import Tensor, nn

from lessons_lib import data, metrics
from lessons_lib.degradations import BayerMosaic, GaussianNoise
from lessons_lib.demosaicking import bilinear
from lessons_lib.evaluation.paper import rows as rows_of_papers
from lessons_lib.evaluation.report import markdown, renew
from lessons_lib.training.losses import LOSSES

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "data" / "losses.json"
PAGE = ROOT / "docs" / "losses.md"
SIGMA = 8 / 255
# The paper's crops.
CROP, BATCH = 31, 16
MOSAIC = BayerMosaic("RGGB")
# Measures, how many decimals to show, and whether more is better.
MEASURES = {
    "1000 ℓ2": (3, False),
    "PSNR": (2, True),
    "1000 ℓ1": (2, False),
    "SSIM": (4, True),
    "MS-SSIM": (4, True),
}

# What the paper's table calls them.
PRINTED = {"l1": "l1", "ssim-5": "SSIM5", "ssim-9": "SSIM9", "ms-ssim": "MS-SSIM", "mix": "Mix"}

Results = dict[str, Any]


class Network(nn.Module):
    """Three layers of 64 channels, the paper's; its output is added to what it sees."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 64, 9, padding=4),
            nn.PReLU(64),
            nn.Conv2d(64, 64, 5, padding=2),
            nn.PReLU(64),
            nn.Conv2d(64, 3, 5, padding=2),
        )
        with torch.no_grad():
            self.layers[-1].weight.mul_(0.1)

    def forward(self, seen: Tensor) -> Tensor:
        """Estimate ``(B, 3, H, W)`` of an interpolated mosaic."""
        found: Tensor = seen + self.layers(seen - 0.5)
        return found


def seen(noisy: Tensor) -> Tensor:
    """The mosaic of noisy pixels ``(B, 3, H, W)``, interpolated."""
    return bilinear(MOSAIC(noisy), MOSAIC)


def score(network: nn.Module, dataset: str) -> dict[str, float]:
    """The means of all measures over a data set."""
    sums = dict.fromkeys(MEASURES, 0.0)
    images = data.load(dataset)
    for name, clean in images:
        with torch.no_grad():
            found = network(seen(GaussianNoise(SIGMA)(clean, name))).clamp(0, 1)
        sums["1000 ℓ2"] += 1000 * (found - clean).square().mean().item()
        sums["PSNR"] += metrics.psnr(found, clean).item()
        sums["1000 ℓ1"] += 1000 * (found - clean).abs().mean().item()
        sums["SSIM"] += metrics.ssim(found, clean).item()
        sums["MS-SSIM"] += metrics.ms_ssim(found, clean).item()
    return {measure: total / len(images) for measure, total in sums.items()}


def train(loss: str, photographs: list[Tensor], steps: int, seed: int) -> Network:
    """The network after so many steps of Adam, the last of them short.

    Args:
        loss: a name of `LOSSES`.
        photographs: to cut crops from, ``(3, H, W)``.
        steps: how many.
        seed: of the network, the crops and the noise.
    """
    network, generator = Network(seed), torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)
    even = torch.ones(1, 1, CROP, CROP)
    for step in range(steps):
        adam.param_groups[0]["lr"] = 1e-3 * (1 + math.cos(math.pi * step / steps)) / 2
        clean = crops(photographs, generator)
        noisy = clean + SIGMA * torch.randn(clean.shape, generator=generator)
        adam.zero_grad()
        LOSSES[loss](network(seen(noisy)), clean, even).backward()
        adam.step()
    return network


def crops(photographs: list[Tensor], generator: torch.Generator) -> Tensor:
    """A batch ``(B, 3, side, side)`` of photographs ``(3, H, W)``; half of them are mirrored."""
    cut = []
    for which in torch.randint(len(photographs), (BATCH,), generator=generator).tolist():
        image = photographs[which]
        top, left = (
            int(torch.randint(side - CROP + 1, (), generator=generator))
            for side in image.shape[-2:]
        )
        crop = image[:, top : top + CROP, left : left + CROP]
        cut.append(crop.flip(-1) if torch.rand((), generator=generator) < 0.5 else crop)
    return torch.stack(cut)


def table(results: Results) -> str:
    """A row for each measure, a column for each loss; the best is bold."""
    if not results["losses"]:
        return "Not measured."
    losses = [loss for loss in LOSSES if loss in results["losses"]]
    rows = [["measure", "interpolated", *losses]]
    for measure, (digits, more) in MEASURES.items():
        found = {loss: fmean([one[measure] for one in results["losses"][loss]]) for loss in losses}
        best = (max if more else min)(found, key=found.__getitem__)
        cells = [f"{value:.{digits}f}" for value in found.values()]
        cells = [
            f"**{cell}**" if loss == best else cell
            for loss, cell in zip(losses, cells, strict=True)
        ]
        rows.append([measure, f"{results['interpolated'][measure]:.{digits}f}", *cells])
    if "l2" in losses:
        over = (over_l2(results["losses"], loss) if loss != "l2" else "" for loss in losses)
        rows.append(["PSNR over l2, by seed", "", *over])
        rows.append(["in print", "", *map(printed_over_l2, losses)])
    return markdown(rows)


def over_l2(scores: Results, loss: str) -> str:
    """dB more than l2's with the same seed: the same network to begin with, crops and noise."""
    pairs = zip(scores[loss], scores["l2"], strict=True)
    return ", ".join(f"{one['PSNR'] - other['PSNR']:+.2f}" for one, other in pairs)


def printed_over_l2(loss: str) -> str:
    """The same of the paper's own network and photographs; empty where it has no such loss."""
    psnr = {
        row["method"]: float(row["psnr"])
        for row in rows_of_papers()
        if (row["task"], row["source"]) == ("denoise+demosaick", "Slides Zhao-TI")
    }
    if loss == "l2" or PRINTED.get(loss) not in psnr:
        return ""
    return f"{psnr[PRINTED[loss]] - psnr['l2']:+.2f}"


def other_experiment(before: Results, experiment: Results, seeds: int) -> str:
    """In what kept results differ from an experiment; nothing where they do not."""
    counts = {len(scores) for scores in before.get("losses", {}).values()} - {seeds}
    return ", ".join(unlike(before, experiment) + [f"seeds {count}" for count in sorted(counts)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--losses", nargs="+", default=list(LOSSES), choices=list(LOSSES))
    parser.add_argument("--seeds", type=at_least_one, default=2)
    parser.add_argument("--steps", type=at_least_one, default=2000)
    parser.add_argument("--dataset", default="Kodak24")
    parser.add_argument("--write", action="store_true", help="keep results, renew the page")
    given = parser.parse_args()
    experiment: Results = {"steps": given.steps, "dataset": given.dataset}
    if given.write and (differ := other_experiment(kept(RESULTS), experiment, given.seeds)):
        parser.error(f"{RESULTS} holds another experiment ({differ}); remove it to begin anew")
    need(parser, [given.dataset, "CBSD400"])
    experiment["interpolated"] = score(nn.Identity(), given.dataset)
    results: Results = {"losses": {}} | experiment
    photographs = [image[0] for _, image in data.load("CBSD400")]
    for loss in given.losses:
        scores = []
        for seed in range(given.seeds):
            began = time.perf_counter()
            network = train(loss, photographs, given.steps, seed)
            minutes = (time.perf_counter() - began) / 60
            scores.append(score(network, given.dataset))
            print(f"{loss}, seed {seed}, {minutes:.1f} minutes: ", end="")
            print(scores[-1], flush=True)
        results["losses"][loss] = scores
        if given.write:
            results = add(RESULTS, experiment | {"losses": {loss: scores}})
            renew(PAGE, {"losses": table(results)})
    print(f"\n{table(results)}")


if __name__ == "__main__":
    main()
