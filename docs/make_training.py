"""Draw docs/training.png, the curves of docs/results.md: ``python docs/make_training.py``.

dB on held-out crops against hours, from the logs beside the runs' TOML files. A run that starts
from another one's weights begins at the hours which that one took.
"""

import csv
from pathlib import Path

from lessons_lib.training.config import read_run
from lessons_lib.viz.figures import COLOURS, LINE_STYLES, new_figure

DOCS = Path(__file__).parent
RUNS = DOCS.parent / "runs"
# Held-out crops are as large as a run's own, so that only runs of one panel can be compared.
PANELS = {
    "SC, gray, σ = 25": ["sc-gray-25", "sc-gray-25-muon"],
    "GroupSC and CSR, gray, σ = 25": [
        "groupsc-gray-25-first",
        "groupsc-gray-25-muon",
        "groupsc-gray-25",
        "csr-gray-25-first",
        "csr-gray-25",
    ],
    "GroupSC, JPEG of quality 10": ["groupsc-jpeg-10"],
    "SC, mosaics": ["sc-demosaic-first", "sc-demosaic"],
    "GroupSC, mosaics": [
        "groupsc-demosaic-first",
        "groupsc-demosaic-second",
        "groupsc-demosaic-third",
        "groupsc-demosaic",
    ],
    "GroupSC, colour, any noise up to 25": ["groupsc-color-blind"],
}


def curve(name: str) -> tuple[list[float], list[float]]:
    """Hours and dB of a run; none if it has not begun."""
    log = RUNS / name / "log.csv"
    if not log.exists():
        return [], []
    with log.open(encoding="utf-8") as file:
        looks = list(csv.DictReader(file))
    start = read_run(RUNS / f"{name}.toml").start
    before = curve(start)[0][-1] if start else 0.0
    hours = [before + float(look["seconds"]) / 3600 for look in looks]
    return hours, [float(look["held_out_psnr"]) for look in looks]


figure = new_figure(13, 9, rows=2, columns=3)
for axes, (title, names) in zip(figure.axes, PANELS.items(), strict=True):
    best = 0.0
    for index, name in enumerate(names):
        hours, decibels = curve(name)
        if not hours:
            continue
        style = LINE_STYLES[index % len(LINE_STYLES)]
        axes.plot(hours, decibels, style, marker=".", color=COLOURS[index], label=name)
        best = max(best, *decibels)
    # The first look, at what a run starts from, may lie far below everything else.
    axes.set(
        title=title, xlabel="hours", ylabel="dB, held-out crops", ylim=(best - 1.2, best + 0.1)
    )
    # Below the panel: curves fill it.
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
figure.savefig(DOCS / "training.png")
