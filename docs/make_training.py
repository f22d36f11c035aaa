"""Draw docs/training.png, the curves of docs/training.md: ``python docs/make_training.py``.

dB on held-out crops against hours, from the logs beside the runs' TOML files, a curve for each
stage. A stage begins at the hours that the weights took with which it started. Runs for different
noise or quality are drawn from the latest stage that started from other weights, and below their
best.
"""

from pathlib import Path

from lessons_lib.evaluation.report import TRIED, logs
from lessons_lib.training import read_run
from lessons_lib.viz.figures import COLOURS, LINE_STYLES, new_figure

DOCS = Path(__file__).parent
RUNS = DOCS.parent / "runs"
LOGS = dict(logs(RUNS)) | {f"{TRIED}/{name}": looks for name, looks in logs(RUNS / TRIED)}
# Held-out crops are as large as a stage's own, so that only stages of one panel can be compared.
PANELS = {
    "SC, gray, σ = 25": ["sc-gray-25"],
    "GroupSC and CSR, gray, σ = 25": ["groupsc-gray-25", "csr-gray-25"],
    "GroupSC, JPEG of quality 10": ["groupsc-jpeg-10"],
    "SC, mosaics": ["sc-demosaic"],
    "GroupSC, mosaics": ["groupsc-demosaic"],
    "GroupSC, colour, any noise up to 25": ["groupsc-color-blind"],
    "DnCNN, gray, σ = 25": ["dncnn-gray-25"],
    "NLRN, small, gray, σ = 25": ["nlrn-small-gray-25"],
    "NSR, gray, σ = 25": ["nsr-gray-25", "nsr-gray-25-minus", "nsr-gray-25-plus"],
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


def stages(run: str) -> dict[str, list[dict[str, float]]]:
    """Looks of a run's stages, those of what was tried first, by the names of their curves."""
    return {
        label: looks
        for name in (f"{TRIED}/{run}", run)
        for label, looks in LOGS.items()
        if label.partition(",")[0] == name
    }


def hours(looks: list[dict[str, float]]) -> list[float]:
    """Hours of training behind each look, from the very beginning."""
    return [look["hours_before"] + look["seconds"] / 3600 for look in looks]


def latest(run: str) -> list[dict[str, float]]:
    """Looks of a run since it last started from other weights."""
    looks = [look for label, looks in stages(run).items() if TRIED not in label for look in looks]
    begun = int(looks[-1]["stage"])
    parts = enumerate(read_run(RUNS / f"{run}.toml").stages[:begun], 1)
    first = max((number for number, stage in parts if stage.start), default=1)
    return [look for look in looks if look["stage"] >= first]


figure = new_figure(13, 17, rows=4, columns=3)
for axes, (title, runs) in zip(figure.axes, PANELS.items(), strict=False):
    best = 0.0
    curves = {label: looks for run in runs for label, looks in stages(run).items()}
    for index, (label, looks) in enumerate(curves.items()):
        decibels = [look["held_out_psnr"] for look in looks]
        style, colour = LINE_STYLES[index % len(LINE_STYLES)], COLOURS[index % len(COLOURS)]
        axes.plot(hours(looks), decibels, style, marker=".", color=colour, label=label)
        best = max(best, *decibels)
    # The first look, at what a stage starts from, may lie far below everything else.
    axes.set(
        title=title, xlabel="hours", ylabel="dB, held-out crops", ylim=(best - 1.2, best + 0.1)
    )
for axes, (title, models) in zip(figure.axes[len(PANELS) :], APART.items(), strict=True):
    for runs, colour in zip(models, COLOURS, strict=False):
        for run, style in zip(runs, LINE_STYLES, strict=False):
            looks = latest(run)
            since = [hour - looks[0]["hours_before"] for hour in hours(looks)]
            decibels = [look["held_out_psnr"] for look in looks]
            below = [decibel - max(decibels) for decibel in decibels]
            axes.plot(since, below, style, marker=".", color=colour, label=run)
    axes.set(title=title, xlabel="hours", ylabel="dB below its best", ylim=(-0.62, 0.02))
for axes in figure.axes:
    # Below the panel: curves fill it.
    place = (0.5, -0.12)
    axes.legend(frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=place, ncols=2)
figure.savefig(DOCS / "training.png")
