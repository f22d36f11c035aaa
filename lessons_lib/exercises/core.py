"""How an answer is checked: run it on small seeded cases, and name the property that breaks.

An `Exercise` has a name, a reference function and *properties*. A property is a function that
calls the learner's answer on small cases and raises `Broken` where something that must hold does
not. Whatever holds for all exercises (the answer runs, returns numbers of the right type, shape
and dtype, and leaves its arguments alone) is checked on every call, by `Answer`.
"""

import difflib
import importlib
import os
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lessons_lib.exercises.answer import Answer, Broken, Function, NotAttempted, copied, describe
from lessons_lib.exercises.properties import same

Property = Callable[[Answer], None]


class ExerciseFailed(Exception):
    """Raised instead of falling back to the library where LESSONS_STRICT=1."""


@dataclass(frozen=True)
class Verdict:
    """What became of an answer: ``broken`` names the first property that does not hold."""

    passed: bool
    broken: str
    message: str


@dataclass(frozen=True)
class Exercise:
    """One exercise: its name in `check`, the library's own function, and what must hold.

    Creating it registers it. Properties are added in the order in which they are tested::

        PSNR = Exercise("metrics.psnr", metrics.psnr)

        @PSNR.holds("a ten times smaller error adds 20 dB", cause="is the error squared?")
        def tenfold(answer: Answer) -> None:
            ...
    """

    name: str
    reference: Function
    properties: list[tuple[str, str, Property]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.name in _REGISTRY:
            raise ValueError(f"two exercises are called {self.name!r}")
        _REGISTRY[self.name] = self

    def holds(self, name: str, cause: str = "") -> Callable[[Property], Property]:
        """Add a property, with the likely cause to print where it breaks."""

        def add(function: Property) -> Property:
            self.properties.append((name, cause, function))
            return function

        return add

    def agrees(
        self,
        cases: Callable[[], Sequence[tuple[Any, ...]]],
        tolerance: float = 1e-5,
        name: str = "agrees with the library",
        cause: str = "",
    ) -> None:
        """Add the property that the answer equals the reference on all ``cases()``.

        And on the first of them laid out otherwise in memory, as a transpose leaves a tensor.
        """

        def compare(answer: Answer) -> None:
            given = list(cases())
            failures: list[Broken] = []
            for case in [*given, _restrided(given[0])]:
                words = "called with " + ", ".join(describe(argument) for argument in case)
                expected = answer.reference(*[copied(argument) for argument in case])
                try:
                    same(answer(*case), expected, case=words, tolerance=tolerance)
                except Broken as broken:
                    if broken.name and not failures:
                        raise
                    failures.append(broken)
            if failures:
                first = failures[0]
                # What is not so in every case that fails is no explanation.
                if any(other.cause != first.cause for other in failures):
                    first.cause = ""
                raise first

        self.holds(name, cause)(compare)

    def examine(self, function: Function) -> Verdict:
        """Test all properties in turn; the global random state is left as it was."""
        answer = Answer(function, self.reference)
        with torch.random.fork_rng(devices=[]):
            for number, (name, cause, test) in enumerate(self.properties, start=1):
                torch.manual_seed(number)
                try:
                    test(answer)
                except NotAttempted:
                    text = f"{self.name}: not attempted: using the library version below"
                    return Verdict(False, "", text)
                except Broken as broken:
                    return Verdict(False, broken.name or name, self._explain(broken, name, cause))
        return Verdict(True, "", f"{self.name}: PASS")

    def _explain(self, broken: Broken, name: str, cause: str) -> str:
        lines = [
            f"{self.name}: not yet. This property is broken: {broken.name or name}",
            f"  case:     {broken.case}",
            f"  expected: {broken.expected}",
            f"  actual:   {broken.actual}",
        ]
        likely = broken.cause or ("" if broken.name else cause)
        if likely:
            lines.append(f"  perhaps:  {likely}")
        return "\n".join([*lines, "  Using the library version below."])


_REGISTRY: dict[str, Exercise] = {}


def exercises() -> dict[str, Exercise]:
    """All exercises by name, from every module ``lesson_NN`` of this package."""
    package = importlib.import_module("lessons_lib.exercises")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("lesson_"):
            importlib.import_module(f"lessons_lib.exercises.{module.name}")
    return _REGISTRY


def check(name: str, function: Function) -> Function:
    """Test a learner's answer, and print what came out.

    Args:
        name: of the exercise, such as ``"prox.soft_threshold"``.
        function: the answer.

    Returns:
        ``function`` where every property holds, else the library's own version, so that the
        notebook runs on.

    Raises:
        LookupError: if no exercise has this name.
        ExerciseFailed: where ``LESSONS_STRICT=1`` and the answer does not pass.
    """
    known = exercises()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0)
        raise LookupError(f"no exercise is called {name!r}; the nearest name is {near[0]!r}")
    verdict = known[name].examine(function)
    if not verdict.passed and os.environ.get("LESSONS_STRICT") == "1":
        raise ExerciseFailed(verdict.message)
    print(verdict.message)
    return function if verdict.passed else known[name].reference


def _restrided(case: Sequence[Any]) -> tuple[Any, ...]:
    """The same arguments, in memory as the transpose of a transpose has them."""
    return tuple(
        argument.transpose(-1, -2).contiguous().transpose(-1, -2)
        if isinstance(argument, Tensor) and argument.ndim > 1
        else argument
        for argument in case
    )
