"""What each choice is worth: short runs that differ in one thing, beside what papers print."""

from dataclasses import dataclass

from lessons_lib.evaluation.paper import rows

# GroupSC's own choice, by table: similarities renewed every 6 steps and compared in the averaged
# image; 256 atoms of 9 x 9 pixels; 24 proximal steps.
TABLE_14 = ("GroupSC", "sigma=15 midavg=yes period=6 stride=48")
TABLE_15 = ("GroupSC light", "sigma=25 patch=9 atoms=256")
TABLE_16 = ("GroupSC light", "sigma=25(implied) K=24")
SC_TABLE_16 = ("SC", "sigma=25(implied) K=24")
# NLRN's; NSR's without groups.
DISTANCE = ("NLRN Embedded Gaussian", "sigma=25 distance")
VARIANT = ("NLRN full", "sigma=25 variant")
GATES = "x2 RGB WDSR 16x32x4 k=4"
PLAIN = ("NSR N/A", GATES)
SOFTMAX = ("NSR Softmax tau=1", GATES)
SAME_COST = "x2 RGB blocks=4 groups={} same FLOPs=0.30M"
SAME_SIZE = "x2 RGB blocks=4 groups={} same params"
PLAIN_OF_FOUR = ("NSR", SAME_COST.format("N/A"))


@dataclass(frozen=True)
class Ablation:
    """A run that makes one choice otherwise than another run, and what a paper prints of both.

    Args:
        run: name of it; further seeds of it are called ``run-seed-1`` and so on.
        beside: name of the run that it is compared with.
        changed: in words.
        row: method and setting of the paper's row, or None where there is none.
        usual: those of the row that it is compared with.
    """

    run: str
    beside: str
    changed: str
    row: tuple[str, str] | None = None
    usual: tuple[str, str] | None = None

    @property
    def published(self) -> float | None:
        """What the choice gained or lost in the paper, in dB."""
        if self.row is None or self.usual is None:
            return None
        return _psnr(*self.row) - _psnr(*self.usual)


@dataclass(frozen=True)
class Study:
    """Ablations that make one table.

    Args:
        name: of the table, and of the folder in ``runs/``.
        usual: the runs that others are compared with, and what to call them.
        ablations: in the order of the table.
    """

    name: str
    usual: dict[str, str]
    ablations: tuple[Ablation, ...]


def _psnr(method: str, setting: str) -> float:
    return next(
        float(row["psnr"])
        for row in rows()
        if "ablation" in row["task"] and (row["method"], row["setting"]) == (method, setting)
    )


def _setting(run: str, beside: str, changed: str, setting: str, usual: tuple[str, str]) -> Ablation:
    """One whose published row has the usual row's method in another setting."""
    return Ablation(run, beside, changed, (usual[0], setting), usual)


def _method(run: str, beside: str, changed: str, method: str, usual: tuple[str, str]) -> Ablation:
    """One whose published row has another method in the usual row's setting."""
    return Ablation(run, beside, changed, (method, usual[1]), usual)


GROUPSC = tuple(
    _setting(run, "groupsc", changed, setting, usual)
    for run, changed, setting, usual in (
        (
            "no-refresh",
            "similarities of the noisy image only",
            "sigma=15 midavg=yes period=inf stride=48",
            TABLE_14,
        ),
        (
            "refresh-12",
            "similarities renewed every 12 steps",
            "sigma=15 midavg=yes period=12 stride=48",
            TABLE_14,
        ),
        (
            "own-estimates",
            "similarities of each patch's own estimate",
            "sigma=15 midavg=no period=6 stride=48",
            TABLE_14,
        ),
        ("atoms-128", "128 atoms", "sigma=25 patch=9 atoms=128", TABLE_15),
        ("atoms-512", "512 atoms", "sigma=25 patch=9 atoms=512", TABLE_15),
        ("patch-7", "patches of 7 x 7 pixels", "sigma=25 patch=7 atoms=256", TABLE_15),
        ("steps-12", "12 proximal steps", "sigma=25(implied) K=12", TABLE_16),
        ("steps-36", "36 proximal steps", "sigma=25(implied) K=36", TABLE_16),
    )
)
SC = tuple(
    _setting(
        f"sc-steps-{steps}",
        "sc",
        f"{steps} proximal steps of SC",
        f"sigma=25(implied) K={steps}",
        SC_TABLE_16,
    )
    for steps in (12, 36)
)
NLRN = tuple(
    _method(run, "nlrn", changed, f"NLRN {method}", usual)
    for run, changed, method, usual in (
        ("euclidean", "Euclidean distance", "Euclidean", DISTANCE),
        ("dot", "inner product", "Dot product", DISTANCE),
        ("embedded-dot", "embedded inner product", "Embedded dot product", DISTANCE),
        ("gaussian", "Gaussian, not embedded", "Gaussian", DISTANCE),
        ("symmetric", "both embedded alike", "Symmetric embedded Gaussian", DISTANCE),
        ("untied", "weights not shared by states", "no weight sharing", VARIANT),
        ("no-module", "no non-local module", "RNN no non-local", VARIANT),
        ("every-2", "module in every other state", "non-local every 2", VARIANT),
        ("every-3", "module in every third state", "non-local every 3", VARIANT),
        (
            "no-propagation",
            "correlations not carried along",
            "no correlation propagation",
            VARIANT,
        ),
    )
)
# Figures 5 and 6, which print no numbers.
NLRN_FIGURES = tuple(
    Ablation(run, "nlrn", changed)
    for run, changed in (
        ("window-7", "neighbourhood of 7 x 7"),
        ("window-15", "neighbourhood of 15 x 15"),
        ("states-1", "1 state"),
        ("states-2", "2 states"),
        ("states-8", "8 states"),
    )
)
GROUPS = tuple(
    _setting(f"groups-{k}", "plain", f"{k} groups", SAME_COST.format(k), PLAIN_OF_FOUR)
    for k in (2, 4)
)
NARROW = tuple(
    _setting(
        f"narrow-{k}",
        "plain",
        f"{k} groups, as many parameters",
        SAME_SIZE.format(k),
        ("NSR", SAME_SIZE.format("N/A")),
    )
    for k in (2, 4)
)
GATES_OF_FOUR = tuple(
    _method(run, "plain", f"4 groups, {gate}", f"NSR {method}", PLAIN)
    for run, gate, method in (
        ("sigmoid", "sigmoid", "Sigmoid"),
        ("gumbel", "Gumbel", "Gumbel"),
        ("temperature-10", "τ = 10", "Softmax tau=10"),
        ("temperature-01", "τ = 0.1", "Softmax tau=0.1"),
    )
)
OF_FOUR = (
    _method(
        "shared",
        "groups-4",
        "4 groups, gates shared by two convolutions",
        "NSR softmax tau=1 shared MLP",
        SOFTMAX,
    ),
    Ablation("cardinality-1", "groups-4", "4 groups, all channels choose together"),
    _setting(
        "depth-2",
        "groups-4",
        "4 groups, gates of two layers",
        "x2 RGB MLP depth=2",
        ("NSR", "x2 RGB MLP depth=1"),
    ),
)

STUDIES = (
    Study("ablations", {"groupsc": "GroupSC as it is", "sc": "SC as it is"}, GROUPSC + SC),
    Study("ablations-nlrn", {"nlrn": "NLRN, small"}, NLRN + NLRN_FIGURES),
    Study(
        "ablations-nsr",
        {"plain": "WDSR, small, without groups", "groups-4": "4 groups, softmax"},
        GROUPS + NARROW + GATES_OF_FOUR + OF_FOUR,
    ),
)
