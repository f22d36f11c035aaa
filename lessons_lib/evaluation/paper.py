"""What was published, and which row of it is to be compared with which score."""

import csv
from collections import Counter
from dataclasses import dataclass
from functools import cache

from lessons_lib.checkpoints import find_card
from lessons_lib.data import shipped
from lessons_lib.evaluation.protocols import Protocol
from lessons_lib.models import MODELS
from lessons_lib.published import PublishedWeights
from lessons_lib.tasks import TASKS

# Where papers print different numbers for the same thing, the paper that proposes it is believed,
# and of others' methods what most of them print.
PROPOSES, PROPOSED = "GroupSC-T", ("SC", "CSR", "GroupSC")


@dataclass(frozen=True)
class Published:
    """One row of a published table; ``psnr`` in dB, ``ssim`` None where none was printed."""

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
        The row, with the SSIM of any source that prints the same PSNR; None if nothing was
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
        usual = Counter(row["psnr"] for row in found).most_common(1)[0][0]
        best = next(row for row in found if row["psnr"] == usual)
    ssim = next((row["ssim"] for row in found if row["ssim"] and row["psnr"] == best["psnr"]), None)
    return Published(name, float(best["psnr"]), float(ssim) if ssim else None, best["source"])
