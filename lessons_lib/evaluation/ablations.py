"""What each choice of GroupSC is worth: short runs that differ in one thing, beside the paper's."""

from dataclasses import dataclass

from lessons_lib.evaluation.paper import rows

# The paper's own choice, by table: similarities renewed every 6 steps and compared in the averaged
# image; 256 atoms of 9 x 9 pixels; 24 proximal steps.
TABLE_14 = "sigma=15 midavg=yes period=6 stride=48"
TABLE_15 = "sigma=25 patch=9 atoms=256"
TABLE_16 = "sigma=25(implied) K=24"


@dataclass(frozen=True)
class Ablation:
    """A run that makes one choice otherwise than another run, and the published rows of both."""

    run: str
    beside: str
    changed: str
    model: str
    setting: str
    usual: str

    @property
    def published(self) -> float:
        """What the choice gained or lost on BSD68 in the paper, in dB."""
        return _psnr(self.model, self.setting) - _psnr(self.model, self.usual)


def _psnr(model: str, setting: str) -> float:
    return next(
        float(row["psnr"])
        for row in rows()
        if (row["task"], row["method"], row["setting"])
        == ("gray denoising ablation", model, setting)
    )


def _groupsc(run: str, changed: str, setting: str, usual: str) -> Ablation:
    model = "GroupSC" if usual == TABLE_14 else "GroupSC light"
    return Ablation(run, "groupsc", changed, model, setting, usual)


ABLATIONS = (
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
        "sc-steps-12", "sc", "12 proximal steps of SC", "SC", "sigma=25(implied) K=12", TABLE_16
    ),
    Ablation(
        "sc-steps-36", "sc", "36 proximal steps of SC", "SC", "sigma=25(implied) K=36", TABLE_16
    ),
)
