"""What a training makes small: a number for how far estimates are from clean crops."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lessons_lib.data import unknown
from lessons_lib.training.tables import ConfigError, check_not_negative, check_types


def squared(estimate: Tensor, clean: Tensor, confidence: Tensor) -> Tensor:
    """``Σ [m (x̂ − x)]² / batch`` with ``m`` the confidence over its maximum.

    Args:
        estimate: ``(B, C, H, W)``.
        clean: same shape.
        confidence: ``(1, 1, H, W)``, how much each pixel's estimate is to be trusted; of patches,
            how many overlap there.

    Source: GroupSC eq. 7 and §3.6 (ii); that ``m`` is squared is its released code's.
    """
    weight = confidence / confidence.max()
    return (weight * (estimate - clean)).square().sum() / len(estimate)


def absolute(estimate: Tensor, clean: Tensor, confidence: Tensor) -> Tensor:
    """``Σ m |x̂ − x| / batch``, see `squared`: large differences count for less than in it."""
    weight = confidence / confidence.max()
    return (weight * (estimate - clean)).abs().sum() / len(estimate)


# By the name that a config calls them; each takes estimate, clean crops and confidence.
LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"l2": squared, "l1": absolute}


@dataclass(frozen=True)
class Loss:
    """What to make small.

    Args:
        kind: a name of `LOSSES`.
        balanced: whether each crop's differences are divided by what a method without training
            leaves of its image, see `lessons_lib.training.balance`; not so in the paper.
        stability: weight of a penalty on steps so long that residuals would grow, see
            `lessons_lib.training.stability`; 0 as in the paper. 0.05 is enough for mosaics.

    Raises:
        ConfigError: if a value is impossible.
    """

    kind: str = "l2"
    balanced: bool = False
    stability: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        if self.kind not in LOSSES:
            raise ConfigError(unknown("loss", self.kind, LOSSES))
        check_not_negative(self, "stability")
