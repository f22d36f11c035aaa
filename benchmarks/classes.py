#!/usr/bin/env python3
"""Is a network better at what it was trained on: people, animals, buildings?

    python benchmarks/classes.py [--classes people animals] [--seeds 2] [--steps 300] [--write]

The experiment of Remez and others (2018). Their network, trained on photographs of all kinds
(``class-aware-gray-25``), is trained for some steps more: on all photographs of CBSD400 again, or
only on those of one class; the same steps, the same noise. What each makes of noise of σ = 25 is
scored on the photographs of CBSD68, class by class. data/classes.csv says what a photograph shows;
those that show nothing in particular, or several things, are in no class.

Before that it is measured what each layer of the network does to the noise of Set12; with
``--classes`` and no name after it, nothing else is.

``--write`` keeps the scores in data/classes.json, those of other classes as they are, and brings
docs/classes.md up to date. All that is kept is of the same steps and seeds, and of the same weights
to begin with.
"""

import argparse
import csv
import shutil
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import torch
from arguments import at_least_one, need
from results import add, kept, unlike
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from lessons_lib import data
from lessons_lib.checkpoints import load_card, load_model
from lessons_lib.degradations import GaussianNoise
from lessons_lib.evaluation.report import markdown, renew
from lessons_lib.metrics import psnr
from lessons_lib.models import ClassAware, Restorer, restore
from lessons_lib.training import Optimizer, Run, Stage, Watch, train, trained_model

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "data" / "classes.json"
PAGE = ROOT / "docs" / "classes.md"
START = "class-aware-gray-25"
SIGMA_255 = 25
TRAINING, TEST, GRADUAL = "CBSD400", "CBSD68", "Set12"
ALL = "all"

Results = dict[str, Any]


def labels(dataset: str) -> dict[str, list[str]]:
    """Files of a data set by what they show."""
    found: dict[str, list[str]] = {}
    with (ROOT / "data" / "classes.csv").open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table):
            if row["dataset"] == dataset:
                found.setdefault(row["class"], []).append(row["file"])
    return found


def train_on(name: str, steps: int, seed: int) -> Restorer:
    """The network after so many more steps on the photographs of one class, or on all.

    Args:
        name: of a class, or "all".
        steps: how many.
        seed: of crops and noise.
    """
    with TemporaryDirectory() as place:
        dataset = TRAINING
        if name != ALL:
            photographs = data.load(TRAINING)
            (folder := Path(place) / name).mkdir()
            for file in labels(TRAINING)[name]:
                shutil.copyfile(photographs.folder / file, folder / file)
            dataset = str(folder)
        run = Run(
            "more",
            "class-aware",
            sigma_255=SIGMA_255,
            dataset=dataset,
            stages=(
                Stage(
                    start=START,
                    steps=steps,
                    crop=88,
                    batch=3,
                    seed=seed,
                    precision="bf16",
                    # Shorter than those of the training before, which ended with none at all.
                    optimizer=Optimizer("muon", rate=3e-4, schedule="cosine", eps=1e-8),
                    watch=Watch(every=steps, tolerated_drop=0),
                ),
            ),
        )
        train(run, Path(place) / "runs")
        return trained_model(run, Path(place) / "runs")


def score(network: Restorer) -> dict[str, float]:
    """Mean PSNR in dB over the test photographs of each class, and over all of them."""
    found = {}
    for name, clean in data.load(TEST):
        clean = data.to_gray(clean)
        estimate = restore(network, GaussianNoise(SIGMA_255 / 255)(clean, name))
        found[name] = psnr(estimate.clamp(0, 1), clean).item()
    means = {name: fmean(found[file] for file in files) for name, files in labels(TEST).items()}
    return means | {ALL: fmean(found.values())}


def layer_by_layer(network: ClassAware) -> list[dict[str, float]]:
    """What each layer of a network does to noise, means over a data set.

    Returns:
        For each layer the PSNR in dB after it; the rms of its share, white being 255; and the
        correlation of that with what should be added to the noisy image, and with the image's
        details, which are what a mean of 5 × 5 pixels takes away.
    """
    found = []
    for name, clean in data.load(GRADUAL):
        noisy = GaussianNoise(SIGMA_255 / 255)(clean, name)
        with torch.no_grad():
            images = [noisy, *network.gradual(noisy)]
        details = clean - avg_pool2d(pad(clean, (2, 2, 2, 2), mode="reflect"), 5, stride=1)
        found.append(
            [
                {
                    "dB": psnr(after.clamp(0, 1), clean).item(),
                    "rms": 255 * (after - before).square().mean().sqrt().item(),
                    "like the noise": _correlation(after - before, clean - noisy),
                    "like details": _correlation(after - before, details),
                }
                for before, after in pairwise(images)
            ]
        )
    layers = zip(*found, strict=True)
    return [{key: fmean(one[key] for one in layer) for key in layer[0]} for layer in layers]


def _correlation(one: Tensor, other: Tensor) -> float:
    return torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].item()


def table_of_layers(results: Results) -> str:
    """A row for each layer."""
    if "layers" not in results:
        return "Not measured."
    rows = [["layer", "dB after it", "rms of its share", "like the noise", "like details"]]
    for number, found in enumerate(results["layers"], start=1):
        decibels, rms, *alike = found.values()
        rows.append(
            [f"{number}", f"{decibels:.2f}", f"{rms:.1f}", *(f"{one:+.2f}" for one in alike)]
        )
    return markdown(rows)


def table(results: Results) -> str:
    """A row for what was trained on, a column for what was tested on; a network's own is bold."""
    scores = results.get("scores", {})
    if ALL not in scores:
        return "Not measured."
    tests = [*labels(TEST), ALL]
    rows = [["trained on", *(f"{name}, dB" for name in tests)]]
    rows.append(["before", *(f"{results['before'][name]:.2f}" for name in tests)])
    rows.append([ALL, *(f"{fmean(one[name] for one in scores[ALL]):.2f}" for name in tests)])
    for trained in (name for name in labels(TRAINING) if name in scores):
        gains = {
            name: [
                one[name] - other[name]
                for one, other in zip(scores[trained], scores[ALL], strict=True)
            ]
            for name in tests
        }
        cells = {name: ", ".join(f"{gain:+.2f}" for gain in gains[name]) for name in tests}
        cells[trained] = f"**{cells[trained]}**"
        rows.append([trained, *cells.values()])
    return markdown(rows)


def show(results: Results) -> None:
    """Put both tables on the page."""
    renew(PAGE, {"classes": table(results), "layers": table_of_layers(results)})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    classes = [ALL, *labels(TRAINING)]
    parser.add_argument("--classes", nargs="*", default=classes, choices=classes)
    parser.add_argument("--seeds", type=at_least_one, default=2)
    parser.add_argument("--steps", type=at_least_one, default=300)
    parser.add_argument("--write", action="store_true", help="keep results, renew the page")
    given = parser.parse_args()
    need(parser, [TRAINING, TEST, GRADUAL], [START])
    weights = load_card(START).sha256
    experiment: Results = {"steps": given.steps, "seeds": given.seeds, "weights": weights}
    if given.write and (differ := ", ".join(unlike(kept(RESULTS), experiment))):
        parser.error(f"{RESULTS} holds another experiment ({differ}); remove it to begin anew")
    network = load_model(START)
    assert isinstance(network, ClassAware)
    experiment |= {"layers": layer_by_layer(network), "before": score(network)}
    results: Results = experiment | {"scores": {}}
    if given.write:
        results = add(RESULTS, results)
        show(results)
    print(table_of_layers(results), flush=True)
    for name in given.classes:
        scores = []
        for seed in range(given.seeds):
            scores.append(score(train_on(name, given.steps, seed)))
            rounded = {on: round(db, 3) for on, db in scores[-1].items()}
            print(name, f"seed {seed}", rounded, flush=True)
        results["scores"][name] = scores
        if given.write:
            results = add(RESULTS, experiment | {"scores": {name: scores}})
            show(results)
    print(f"\n{table(results)}")


if __name__ == "__main__":
    main()
