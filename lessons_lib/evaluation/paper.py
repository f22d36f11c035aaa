"""What was published, and which row of it is to be compared with which score."""

import csv
from dataclasses import dataclass
from functools import cache

from lessons_lib.checkpoints import find_card
from lessons_lib.data import shipped
from lessons_lib.evaluation.protocols import Protocol
from lessons_lib.models import MODELS
from lessons_lib.published import PublishedWeights
from lessons_lib.tasks import TASKS

# Where papers print different numbers for the same thing, the paper that proposes it is believed,
# and of others' methods what most papers print; where as many print another, the larger number,
# since what is slipped or badly run is usually lower.
PROPOSES, PROPOSED = "GroupSC-T", ("SC", "CSR", "GroupSC")


@dataclass(frozen=True)
class Published:
    """What was published; ``psnr`` in dB, ``ssim`` None where none was printed.

    Attributes:
        method: what papers call it.
        psnr: in dB.
        ssim: by the usual definition, with a Gaussian; None where nobody who has this PSNR prints
            it.
        source: paper and table of the PSNR, and of the SSIM where that is another.
    """

    method: str
    psnr: float
    ssim: float | None
    source: str


@cache
def rows() -> list[dict[str, str]]:
    """All rows of ``paper_results.csv``, by its column names."""
    with shipped("paper_results.csv").open(encoding="utf-8") as table:
        return list(csv.DictReader(table))


def published(method: str, protocol: Protocol) -> Published | None:
    """The published row for a method under a protocol's task, data set and noise.

    Args:
        method: a classical method's name, or that of trained weights.
        protocol: how it was measured.

    Returns:
        The numbers, the SSIM of any source that prints the same PSNR; None if nothing was
        published.
    """
    task, colour = TASKS[protocol.task], protocol.channel == "rgb"
    weights = find_card(method)
    if weights is not None:
        if isinstance(weights, PublishedWeights) and task.name not in weights.tasks:
            # One network for all noise is another row than the one for this noise.
            return None
        name = MODELS[weights.model].name_in_tables(weights.options, task.name, colour)
    else:
        methods = task.methods()
        name = methods[method].published[colour] if method in methods else ""
    if not name or not task.tables[colour]:
        return None
    wanted = {
        "task": task.tables[colour],
        "dataset": protocol.dataset,
        "setting": protocol.setting,
        "method": name,
    }
    found = [row for row in rows() if row["psnr"] and wanted.items() <= row.items()]
    if not found:
        return None
    if name in PROPOSED:
        found.sort(key=lambda row: not row["source"].startswith(PROPOSES))
        best = found[0]
    else:
        # A paper that prints a number in two tables is one paper.
        papers: dict[str, set[str]] = {}
        for row in found:
            papers.setdefault(row["psnr"], set()).add(row["source"].partition("-")[0])
        best = max(found, key=lambda row: (len(papers[row["psnr"]]), float(row["psnr"])))
    source = best["source"]
    # A note says that the SSIM beside it is another one, see `lessons_lib.metrics.ssim`.
    usual = [row for row in found if row["ssim"] and "SSIM" not in row["source"]]
    beside = next((row for row in usual if row["psnr"] == best["psnr"]), None)
    if beside is not None and beside["source"] != source:
        source += f", SSIM {beside['source']}"
    ssim = None if beside is None else float(beside["ssim"])
    return Published(name, float(best["psnr"]), ssim, source)
