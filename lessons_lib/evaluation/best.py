"""Which weights to take where none are named: those that scored best on what is most alike."""

import math
from collections import Counter
from typing import Any

from lessons_lib.checkpoints import Card, cards, find_card
from lessons_lib.data import shipped
from lessons_lib.degradations import VaryingNoise
from lessons_lib.evaluation.methods import MethodError
from lessons_lib.evaluation.scores import StoredScore, stored
from lessons_lib.tasks import TASKS, Posed, Task


def best_weights(task: Task, channels: int, value: Any) -> str:
    """Name the weights of the library that restored test images best.

    Where there are none for a task and a value, or none that were scored, that is the task's safe
    classical method, if it has one.

    Of all measured settings the one nearest to the value decides; noise levels and qualities are
    near where their ratio is.

    Args:
        task: what is to be restored.
        channels: of the image: 1 or 3. Weights for gray images restore colours too, one by one, and
            are taken where there are none for colours.
        value: noise level (white being 255), quality or pattern; None where there is none.

    Raises:
        MethodError: if no weights are for the task, or for this value.
    """
    known = [card for card in cards().values() if card.serves(task.name)]
    fit = {card.name: card for card in known if task.fits(card, value) is not None}
    if not fit and task.safe:
        return task.safe
    if not known:
        raise MethodError(
            f"no weights for the task {task.name} come with the library: see 'lessons train'"
        )
    if not fit:
        there = ", ".join(f"{card.name} ({card.setting})" for card in known)
        raise MethodError(
            f"no weights are for {task.option} {value}; name some to use them all the same: {there}"
        )
    made_for = [name for name, card in fit.items() if _channels(card) == channels] or list(fit)
    scores = [
        score
        for score in stored(shipped("scores"))
        if score.method in made_for
        and score.task in (task.name, *task.also)
        # A camera's level is no noise level.
        and TASKS[score.task].option == task.option
        and score.overlap is None
        and not score.stale
        and _scored(score) == _channels(fit[score.method])
    ]
    if not scores:
        # Never scored, all that is known of them is what they were trained for.
        return task.safe or min(made_for, key=lambda name: task.fits(fit[name], value) or 0.0)
    nearest = min(_distance(task, value, score) for score in scores)
    alike = [score for score in scores if _distance(task, value, score) == nearest]
    # Scores on different images are not compared. Where some weights were measured on a small set
    # alone, which a slow network may be, the large one decides between the others.
    measured = Counter(score.dataset for score in alike)
    size = {score.dataset: score.images for score in alike}
    wide = [name for name in sorted(measured) if 2 * measured[name] > max(measured.values())]
    dataset = max(wide, key=size.__getitem__)
    rivals = [score for score in alike if score.dataset == dataset]
    return max(rivals, key=lambda score: score.psnr).method


def best_for(task: Task, posed: Posed) -> str:
    """The same for a photograph, which may have a classical method of its own.

    Args:
        task: what it was posed for.
        posed: the photograph.

    Raises:
        MethodError: see `best_weights`.
    """
    left = TASKS[task.known_as]
    value = left.value(left.setting(posed.degradation))
    return posed.method or best_weights(left, posed.planes.shape[1], value)


def misgiving(name: str, task: Task, posed: Posed) -> str:
    """What to be told of weights that are not for a photograph; empty if they are.

    Args:
        name: of a method.
        task: what the photograph was posed for.
        posed: the photograph.
    """
    card, left = find_card(name), TASKS[task.known_as]
    if card is None or isinstance(posed.degradation, VaryingNoise):
        return ""
    setting = left.setting(posed.degradation)
    if left.fits(card, left.value(setting)) is not None:
        return ""
    return f"was trained for {card.setting}, and may do harm at {setting}"


def _channels(card: Card) -> int:
    return int(card.options["channels"])


def _scored(score: StoredScore) -> int:
    """Channels of what was scored."""
    return 3 if TASKS[score.task].channel(score.dataset) == "rgb" else 1


def _distance(task: Task, value: Any, score: StoredScore) -> float:
    measured = task.value(score.setting)
    if not isinstance(value, int | float) or not isinstance(measured, int | float):
        return 0.0
    return round(abs(math.log(value / measured)), 6)
