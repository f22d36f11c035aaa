"""Draw docs/training.png, the curves of docs/training.md: ``python docs/make_training.py``.

dB on held-out crops against hours, from the logs beside the runs' TOML files. A run that starts
from another one's weights begins at the hours which that one took. Runs for different noise or
quality are drawn from their own beginning, or from that of the run they continue, and below their
best.
"""

from pathlib import Path

from lessons_lib.evaluation.report import logs
from lessons_lib.training.config import Run, read_run
from lessons_lib.training.start import effort_to
from lessons_lib.viz.figures import COLOURS, LINE_STYLES, new_figure

DOCS = Path(__file__).parent
RUNS = DOCS.parent / "runs"
LOGS = dict(logs(RUNS))
# Held-out crops are as large as a run's own, so that only runs of one panel can be compared.
PANELS = {
    "SC, gray, σ = 25": ["sc-gray-25-first", "sc-gray-25-muon", "sc-gray-25"],
    "GroupSC and CSR, gray, σ = 25": [
        "groupsc-gray-25-first",
        "groupsc-gray-25-muon",
        "groupsc-gray-25-second",
        "groupsc-gray-25-third",
        "groupsc-gray-25-fourth",
        "groupsc-gray-25",
        "csr-gray-25-first",
        "csr-gray-25-second",
        "csr-gray-25",
    ],
    "GroupSC, JPEG of quality 10": ["groupsc-jpeg-10-first", "groupsc-jpeg-10"],
    "SC, mosaics": ["sc-demosaic-first", "sc-demosaic"],
    "GroupSC, mosaics": [
        "groupsc-demosaic-first",
        "groupsc-demosaic-second",
        "groupsc-demosaic-third",
        "groupsc-demosaic-fourth",
        "groupsc-demosaic",
    ],
    "GroupSC, colour, any noise up to 25": [
        "groupsc-color-blind-first",
        "groupsc-color-blind",
    ],
}
# One colour for each model, one style for each level.
APART = {
    "gray, other noise levels": [
        ["sc-gray-5", "sc-gray-15", "sc-gray-50"],
        ["csr-gray-5", "csr-gray-15", "csr-gray-50"],
        ["groupsc-gray-5", "groupsc-gray-15", "groupsc-gray-50"],
    ],
    "colour, one noise level": [
        ["sc-color-25"],
        ["csr-color-25"],
        ["groupsc-color-25", "groupsc-color-15", "groupsc-color-50"],
    ],
    "GroupSC, JPEG of other qualities": [[], [], [f"groupsc-jpeg-{q}" for q in (20, 30, 40)]],
}


def looks(name: str) -> tuple[list[float], list[float]]:
    """Hours and dB of a run; none if it has not begun."""
    rows = LOGS.get(name, [])
    return [row["seconds"] / 3600 for row in rows], [row["held_out_psnr"] for row in rows]


def with_first_parts(name: str) -> tuple[list[float], list[float]]:
    """As `looks`, after those of the run that it continues, if that one is for the same thing."""
    hours, decibels = looks(name)
    run = read_run(RUNS / f"{name}.toml")
    if not run.start or aim(read_run(RUNS / f"{run.start}.toml")) != aim(run):
        return hours, decibels
    earlier, risen = with_first_parts(run.start)
    return earlier + [earlier[-1] + hour for hour in hours], risen + decibels


def last_begun(name: str) -> str:
    """A run, or the latest of its earlier parts if it waits in the queue."""
    if name in LOGS:
        return name
    parts = [part for part in LOGS if part.startswith(f"{name}-")]
    return max(parts, key=lambda part: read_run(RUNS / f"{part}.toml").priority)


def aim(run: Run) -> tuple[str, str, float, int]:
    """What is trained to restore what."""
    return run.model, run.task, run.sigma_255, run.quality


figure = new_figure(13, 13, rows=3, columns=3)
for axes, (title, names) in zip(figure.axes, PANELS.items(), strict=False):
    best = 0.0
    for index, name in enumerate(names):
        hours, decibels = looks(name)
        if not hours:
            continue
        style = LINE_STYLES[index % len(LINE_STYLES)]
        begun = effort_to(read_run(RUNS / f"{name}.toml").start, RUNS, RUNS).hours
        moved = [begun + hour for hour in hours]
        axes.plot(
            moved, decibels, style, marker=".", color=COLOURS[index % len(COLOURS)], label=name
        )
        best = max(best, *decibels)
    # The first look, at what a run starts from, may lie far below everything else.
    axes.set(
        title=title, xlabel="hours", ylabel="dB, held-out crops", ylim=(best - 1.2, best + 0.1)
    )
for axes, (title, models) in zip(figure.axes[len(PANELS) :], APART.items(), strict=True):
    for names, colour in zip(models, COLOURS, strict=False):
        for name, style in zip(map(last_begun, names), LINE_STYLES, strict=False):
            hours, decibels = with_first_parts(name)
            below = [decibel - max(decibels) for decibel in decibels]
            axes.plot(hours, below, style, marker=".", color=colour, label=name)
    axes.set(title=title, xlabel="hours", ylabel="dB below its best", ylim=(-0.62, 0.02))
for axes in figure.axes:
    # Below the panel: curves fill it.
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
figure.savefig(DOCS / "training.png")
