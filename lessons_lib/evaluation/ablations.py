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
SAME_COST = "x2 RGB blocks=4 groups={} same FLOPs=0.30M"
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


def _groupsc(run: str, changed: str, setting: str, usual: tuple[str, str]) -> Ablation:
    return Ablation(run, "groupsc", changed, (usual[0], setting), usual)


def _nlrn(run: str, changed: str, method: str, usual: tuple[str, str]) -> Ablation:
    return Ablation(run, "nlrn", changed, (method, usual[1]), usual)


STUDIES = (
    Study(
        "ablations",
        {"groupsc": "GroupSC as it is", "sc": "SC as it is"},
        (
            _groupsc(
                "no-refresh",
                "similarities of the noisy image only",
                "sigma=15 midavg=yes period=inf stride=48",
                TABLE_14,
            ),
            _groupsc(
                "refresh-12",
                "similarities renewed every 12 steps",
                "sigma=15 midavg=yes period=12 stride=48",
                TABLE_14,
            ),
            _groupsc(
                "own-estimates",
                "similarities of each patch's own estimate",
                "sigma=15 midavg=no period=6 stride=48",
                TABLE_14,
            ),
            _groupsc("atoms-128", "128 atoms", "sigma=25 patch=9 atoms=128", TABLE_15),
            _groupsc("atoms-512", "512 atoms", "sigma=25 patch=9 atoms=512", TABLE_15),
            _groupsc("patch-7", "patches of 7 x 7 pixels", "sigma=25 patch=7 atoms=256", TABLE_15),
            _groupsc("steps-12", "12 proximal steps", "sigma=25(implied) K=12", TABLE_16),
            _groupsc("steps-36", "36 proximal steps", "sigma=25(implied) K=36", TABLE_16),
            Ablation(
                "sc-steps-12",
                "sc",
                "12 proximal steps of SC",
                ("SC", "sigma=25(implied) K=12"),
                SC_TABLE_16,
            ),
            Ablation(
                "sc-steps-36",
                "sc",
                "36 proximal steps of SC",
                ("SC", "sigma=25(implied) K=36"),
                SC_TABLE_16,
            ),
        ),
    ),
    Study(
        "ablations-nlrn",
        {"nlrn": "NLRN, small"},
        (
            _nlrn("euclidean", "Euclidean distance", "NLRN Euclidean", DISTANCE),
            _nlrn("dot", "inner product", "NLRN Dot product", DISTANCE),
            _nlrn("embedded-dot", "embedded inner product", "NLRN Embedded dot product", DISTANCE),
            _nlrn("gaussian", "Gaussian, not embedded", "NLRN Gaussian", DISTANCE),
            _nlrn(
                "symmetric",
                "both embedded alike",
                "NLRN Symmetric embedded Gaussian",
                DISTANCE,
            ),
            _nlrn("untied", "weights not shared by states", "NLRN no weight sharing", VARIANT),
            _nlrn("no-module", "no non-local module", "NLRN RNN no non-local", VARIANT),
            _nlrn("every-2", "module in every other state", "NLRN non-local every 2", VARIANT),
            _nlrn("every-3", "module in every third state", "NLRN non-local every 3", VARIANT),
            _nlrn(
                "no-propagation",
                "correlations not carried along",
                "NLRN no correlation propagation",
                VARIANT,
            ),
            Ablation("window-7", "nlrn", "neighbourhood of 7 x 7"),
            Ablation("window-15", "nlrn", "neighbourhood of 15 x 15"),
            Ablation("states-1", "nlrn", "1 state"),
            Ablation("states-2", "nlrn", "2 states"),
            Ablation("states-8", "nlrn", "8 states"),
        ),
    ),
    Study(
        "ablations-nsr",
        {"plain": "WDSR, small, without groups", "groups-4": "4 groups, softmax"},
        (
            Ablation("groups-2", "plain", "2 groups", ("NSR", SAME_COST.format(2)), PLAIN_OF_FOUR),
            Ablation("groups-4", "plain", "4 groups", ("NSR", SAME_COST.format(4)), PLAIN_OF_FOUR),
            Ablation("sigmoid", "plain", "4 groups, sigmoid", ("NSR Sigmoid", GATES), PLAIN),
            Ablation("gumbel", "plain", "4 groups, Gumbel", ("NSR Gumbel", GATES), PLAIN),
            Ablation(
                "temperature-10", "plain", "4 groups, τ = 10", ("NSR Softmax tau=10", GATES), PLAIN
            ),
            Ablation(
                "temperature-01",
                "plain",
                "4 groups, τ = 0.1",
                ("NSR Softmax tau=0.1", GATES),
                PLAIN,
            ),
            Ablation(
                "shared",
                "groups-4",
                "4 groups, gates shared by two convolutions",
                ("NSR softmax tau=1 shared MLP", GATES),
                ("NSR Softmax tau=1", GATES),
            ),
            Ablation("cardinality-1", "groups-4", "4 groups, all channels choose together"),
        ),
    ),
)
