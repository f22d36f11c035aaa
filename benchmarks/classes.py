#!/usr/bin/env python3
"""Is a network better at what it was trained on: people, animals, buildings?

    python benchmarks/classes.py [--classes people animals] [--seeds 2] [--steps 300] [--write]

The experiment of Remez and others (2018). Their network, trained on photographs of all kinds
(``class-aware-gray-25``), is trained for some steps more: on all photographs of CBSD400 again, or
only on those of one class; the same steps, the same noise. What each makes of noise of σ = 25 is
scored on the photographs of CBSD68, class by class. data/classes.csv says what a photograph shows;
those that show nothing in particular, or several things, are in no class.

``--write`` keeps the scores in data/classes.json, those of other classes as they are, and brings
docs/classes.md up to date. All that is kept is of the same steps and seeds, and of the same weights
to begin with.
"""

import argparse
import csv
import shutil
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from arguments import at_least_one, need
from results import keep, kept, unlike

from lessons_lib import data
from lessons_lib.checkpoints import load_card, load_model
from lessons_lib.degradations import GaussianNoise
from lessons_lib.evaluation.report import markdown, renew
from lessons_lib.metrics import psnr
from lessons_lib.models import Restorer, restore
from lessons_lib.training import Optimizer, Run, Stage, Watch, train, trained_model

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "data" / "classes.json"
PAGE = ROOT / "docs" / "classes.md"
START = "class-aware-gray-25"
SIGMA_255 = 25
TRAINING, TEST = "CBSD400", "CBSD68"
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


def add(name: str, scores: list[dict[str, float]], experiment: Results) -> Results:
    """Keep one class's scores beside those that are kept by now, and renew the page.

    Another process may have added to them since this one began.
    """
    results: Results = {"scores": {}} | kept(RESULTS) | experiment
    results["scores"][name] = scores
    keep(RESULTS, results)
    renew(PAGE, {"classes": table(results)})
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    classes = [ALL, *labels(TRAINING)]
    parser.add_argument("--classes", nargs="+", default=classes, choices=classes)
    parser.add_argument("--seeds", type=at_least_one, default=2)
    parser.add_argument("--steps", type=at_least_one, default=300)
    parser.add_argument("--write", action="store_true", help="keep results, renew the page")
    given = parser.parse_args()
    need(parser, [TRAINING, TEST], [START])
    weights = load_card(START).sha256
    experiment: Results = {"steps": given.steps, "seeds": given.seeds, "weights": weights}
    if given.write and (differ := ", ".join(unlike(kept(RESULTS), experiment))):
        parser.error(f"{RESULTS} holds another experiment ({differ}); remove it to begin anew")
    experiment["before"] = score(load_model(START))
    results: Results = {"scores": {}} | experiment
    for name in given.classes:
        scores = []
        for seed in range(given.seeds):
            scores.append(score(train_on(name, given.steps, seed)))
            print(name, f"seed {seed}", {on: round(db, 3) for on, db in scores[-1].items()})
        results["scores"][name] = scores
        if given.write:
            results = add(name, scores, experiment)
    print(f"\n{table(results)}")


if __name__ == "__main__":
    main()
