"""How an answer is checked: run it on small seeded cases, and name the property that breaks.

An `Exercise` has a name, a reference function and *properties*. A property is a function that
calls the learner's answer on small cases and raises `Broken` where something that must hold does
not. Whatever holds for all exercises (the answer runs, returns numbers of the right type, shape
and dtype, and leaves its arguments alone) is checked on every call, by `Answer`.
"""

import difflib
import importlib
import linecache
import os
import pkgutil
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., Any]
Property = Callable[["Answer"], None]

# Names of the properties that every exercise has.
RUNS = "runs without an error"
RETURNS = "returns a result"
UNCHANGED = "leaves its arguments unchanged"
TYPE = "result has the right type"
SHAPE = "result has the right shape"
DTYPE = "result has the right dtype"
FINITE = "result is finite"


class Broken(Exception):
    """A property does not hold; says on which case, what was expected and what came."""

    def __init__(
        self, case: str, expected: str, actual: str, cause: str = "", name: str = ""
    ) -> None:
        super().__init__(case)
        self.case, self.expected, self.actual = case, expected, actual
        self.cause, self.name = cause, name


class NotAttempted(Exception):
    """The answer is still the stub."""


class ExerciseFailed(Exception):
    """Raised instead of falling back to the library where LESSONS_STRICT=1."""


class Answer:
    """A learner's function whose every call is watched; ``answer(*arguments)`` is its result.

    The arguments are copied before the call, random generators included, so a property may use
    them again. ``answer.reference`` is the library's function.
    """

    def __init__(self, function: Function, reference: Function) -> None:
        self.function, self.reference = function, reference

    def __call__(self, *arguments: Any) -> Any:
        case = "called with " + ", ".join(describe(argument) for argument in arguments)
        given = [_copy(argument) for argument in arguments]
        try:
            actual = self.function(*given)
        except Exception as error:  # KeyboardInterrupt is no Exception and passes through
            line = _last_line(error, self.function)
            if isinstance(error, NotImplementedError) and (not str(error) or "raise" in line):
                raise NotAttempted from None
            where = f" at: {line}" if line else ""
            raise Broken(
                case, "no error", f"{type(error).__name__}: {error}{where}", name=RUNS
            ) from None
        for position, (before, after) in enumerate(zip(arguments, given, strict=True), start=1):
            if not _same(before, after):
                cause = "an in-place operation such as +=, x[...] = or a method ending in _"
                raise Broken(
                    case,
                    f"argument {position} as it was",
                    f"it became {describe(after)}",
                    cause,
                    UNCHANGED,
                )
        _compare_kind(actual, self.reference(*[_copy(one) for one in arguments]), case)
        return actual


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
                expected = answer.reference(*[_copy(argument) for argument in case])
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


def ensure(condition: bool, *, case: str, expected: str, actual: str, cause: str = "") -> None:
    """Break the property unless ``condition`` is true."""
    if not condition:
        raise Broken(case, expected, actual, cause)


def same(
    actual: Any, expected: Any, *, case: str, tolerance: float = 1e-5, cause: str = ""
) -> None:
    """Break the property unless two results agree, each entry within ``tolerance·(1 + |entry|)``.

    Takes tensors, numbers, and tuples of them; the rest of a tuple (a history, say) is not
    compared. Where no ``cause`` is given, a look at the numbers may suggest one.
    """
    if isinstance(expected, tuple):
        for one, other in zip(actual, expected, strict=True):
            same(one, other, case=case, tolerance=tolerance, cause=cause)
    elif isinstance(expected, Tensor | int | float):
        left, right = (torch.as_tensor(value).double() for value in (actual, expected))
        # Broadcasting lets a property expect one number of a whole tensor.
        left, right = torch.broadcast_tensors(left, right)
        error = torch.where(left == right, 0.0, (left - right).abs()) / (1 + right.abs())
        error = error.nan_to_num(torch.inf, torch.inf)
        if error.numel() and error.max() > tolerance:
            worst = tuple(int(i) for i in torch.unravel_index(error.argmax(), error.shape))
            raise Broken(
                case, _value(right, worst), _value(left, worst), cause or _suspicion(left, right)
            )


def likely_cause(found: Tensor | float, mistakes: Sequence[tuple[Tensor | float, str]]) -> str:
    """The words that go with the first of these mistakes whose numbers were found, if any."""
    values = torch.as_tensor(found).double()
    for number, words in mistakes:
        if torch.allclose(values, torch.as_tensor(number).double(), rtol=1e-3, atol=1e-4):
            return words
    return ""


@contextmanager
def cause_of(name: str, cause: str) -> Iterator[None]:
    """Where a call inside breaks the general property ``name``, say that this may be why."""
    try:
        yield
    except Broken as broken:
        if broken.name == name:
            broken.cause = cause
        raise


def ensure_minimal(
    objective: Callable[[Tensor], Tensor], point: Tensor, *, case: str, cause: str = ""
) -> None:
    """Break the property unless no rival has a smaller objective: 0, and random neighbours.

    This is how a proximal operator is tested without knowing its formula: ``objective(u)`` is
    ½‖u − z‖² + Ψ(u), and ``point`` is the answer at ``z``.
    """
    value = objective(point).item()
    rivals = [torch.zeros_like(point)]
    for scale in (1e-3, 1e-2, 1e-1, 1.0):
        rivals += [point + scale * torch.randn_like(point) for _ in range(20)]
        rivals += [point * (1 + scale), point * (1 - scale)]
    best = min(objective(rival).item() for rival in rivals)
    ensure(
        value <= best + 1e-5 * (1 + abs(best)),
        case=case,
        cause=cause,
        expected=f"objective at most {best:.6g}, which another point reaches",
        actual=f"objective {value:.6g}",
    )


def ensure_batchwise(answer: Answer, *arguments: Any, cause: str = "") -> None:
    """Break the property unless a batch gives what its members give one by one.

    All tensors among ``arguments`` are split along their first axis, and so is the result.
    """
    size = next(value.shape[0] for value in arguments if isinstance(value, Tensor))
    together = answer(*arguments)
    for i in range(size):
        alone = answer(*[v[i : i + 1] if isinstance(v, Tensor) else v for v in arguments])
        same(
            together[i : i + 1],
            alone,
            case=f"member {i} of a batch of {size}, and it alone",
            cause=cause or "an operation that mixes the members of the batch: check its axes",
        )


def ensure_gradients(result: Tensor, given: dict[str, Tensor], *, case: str) -> None:
    """Break the property unless gradients of ``result`` reach all that is given, layer by layer.

    An answer works on copies of its arguments, so they have to be found from its result.
    """
    leaves = _leaves(result.grad_fn, set())
    for name, wanted in given.items():
        found = [
            leaf for leaf in leaves if leaf.shape == wanted.shape and torch.equal(leaf, wanted)
        ]
        reached = torch.zeros(1, dtype=torch.bool)
        if found:
            # A sum of the entries, each with a weight, so that nothing cancels by chance.
            value = (result * torch.linspace(1, 2, result.numel()).view_as(result)).sum()
            (slope,) = torch.autograd.grad(value, found[0], retain_graph=True)
            reached = (slope.flatten(1) != 0).any(dim=1) if slope.ndim > 2 else (slope != 0).any()
        ensure(
            bool(reached.all()),
            case=f"the gradient of {case}",
            expected=f"it reaches all of {name}",
            actual=f"it reaches a part of {name}" if reached.any() else f"it does not reach {name}",
        )


def _leaves(node: Any, seen: set[Any]) -> list[Tensor]:
    """The tensors that a result was computed from and that want gradients."""
    if node is None or node in seen:
        return []
    seen.add(node)
    if hasattr(node, "variable"):
        return [node.variable]
    return [leaf for following, _ in node.next_functions for leaf in _leaves(following, seen)]


def describe(value: Any) -> str:
    """A value in a few words: small tensors in full, large ones by their shape.

    >>> describe(torch.tensor([1.0, 2.5])), describe(torch.zeros(3, 4, 5)), describe(0.5)
    ('[1.0, 2.5]', 'tensor (3, 4, 5)', '0.5')
    """
    if isinstance(value, Tensor) and value.numel() > 8:
        return f"tensor {tuple(value.shape)}"
    if isinstance(value, Tensor):
        return str(_rounded(value.tolist()))
    if isinstance(value, torch.Generator):
        return f"a generator with seed {value.initial_seed()}"
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    return (
        str(_rounded(value))
        if isinstance(value, bool | int | float | str | tuple | list)
        else (f"a {type(value).__name__}")
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_rounded(one) for one in value)
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _value(values: Tensor, worst: tuple[int, ...]) -> str:
    if values.numel() <= 8:
        return describe(values)
    return f"{values[worst].item():.5g} at {list(worst)} of shape {tuple(values.shape)}"


def _suspicion(actual: Tensor, expected: Tensor) -> str:
    """Look for the simple mistakes: a factor, a sign, a shift, exchanged axes."""
    usable = expected.isfinite() & actual.isfinite()
    if usable.sum() < 2 or not actual.isfinite().all():
        return ""
    found, wanted = actual[usable], expected[usable]
    large = wanted.abs() > 1e-6
    # What should be zero and is not, no factor explains.
    if large.sum() >= 2 and (found[~large].abs() <= 1e-6).all():
        ratio = found[large] / wanted[large]
        factor = ratio.median().item()
        if abs(factor) > 1e-6 and (ratio - factor).abs().max() < 1e-3 * abs(factor):
            if abs(factor - 1) < 1e-3:
                return ""  # nearly right: something finer than a factor
            if abs(factor + 1) < 1e-3:
                return "your numbers have the opposite sign"
            return f"your numbers are {factor:.4g} times the expected ones"
    shift = found - wanted
    if (shift - shift[0]).abs().max() < 1e-4 * (1 + shift[0].abs()):
        return f"your numbers are the expected ones plus {shift[0].item():.4g}"
    for first in range(expected.ndim):
        for second in range(first):
            swapped = expected.transpose(first, second)
            if swapped.shape == actual.shape and torch.allclose(actual, swapped, atol=1e-4):
                return f"axes {second} and {first} of the result look exchanged"
    return ""


def _compare_kind(actual: Any, expected: Any, case: str) -> None:
    """Break a general property where ``actual`` is no result of the kind of ``expected``."""
    if actual is None and expected is not None:
        raise Broken(case, "a result", "None", "a missing return", RETURNS)
    if isinstance(expected, bool | int | float):
        if not hasattr(actual, "__float__") or getattr(actual, "ndim", 0) > 0:
            raise Broken(case, "a number", _kind(actual), name=TYPE)
    elif not isinstance(actual, type(expected)):
        raise Broken(case, _kind(expected), _kind(actual), name=TYPE)
    if isinstance(expected, tuple):
        if len(actual) != len(expected):
            raise Broken(case, f"{len(expected)} results", f"{len(actual)} results", name=TYPE)
        for one, other in zip(actual, expected, strict=True):
            _compare_kind(one, other, case)
    if isinstance(expected, Tensor):
        if actual.shape != expected.shape:
            cause = ""
            if actual.ndim < expected.ndim:
                cause = "an axis was summed, averaged, indexed or squeezed away"
            elif sorted(actual.shape) == sorted(expected.shape):
                cause = "the right sizes in another order: a wrong axis, or a missing transpose"
            raise Broken(
                case, f"shape {tuple(expected.shape)}", f"shape {tuple(actual.shape)}", cause, SHAPE
            )
        if actual.dtype != expected.dtype:
            raise Broken(case, str(expected.dtype), str(actual.dtype), name=DTYPE)
    if isinstance(expected, Tensor | int | float):
        wild = ~torch.as_tensor(actual).isfinite() & torch.as_tensor(expected).isfinite()
        if wild.any():
            bad = f"{int(wild.sum())} of {wild.numel()} numbers are infinite or NaN"
            raise Broken(
                case,
                "finite numbers",
                bad,
                "a division by zero, or the root or logarithm of a negative number",
                FINITE,
            )


def _kind(value: Any) -> str:
    if isinstance(value, tuple):
        return "a tuple of " + ", ".join(_kind(one) for one in value)
    return f"a {type(value).__module__}.{type(value).__name__}".replace("builtins.", "")


def _copy(value: Any) -> Any:
    """A copy that shares no numbers; functions and modules are passed on as they are."""
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, torch.Generator):
        return torch.Generator(value.device).set_state(value.get_state())
    if isinstance(value, list | tuple):
        return type(value)(_copy(one) for one in value)
    if isinstance(value, dict):
        return {key: _copy(one) for key, one in value.items()}
    return value


def _restrided(case: Sequence[Any]) -> tuple[Any, ...]:
    """The same arguments, in memory as the transpose of a transpose has them."""
    return tuple(
        argument.transpose(-1, -2).contiguous().transpose(-1, -2)
        if isinstance(argument, Tensor) and argument.ndim > 1
        else argument
        for argument in case
    )


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, Tensor):
        return before.shape == after.shape and torch.equal(
            before.detach().nan_to_num(), after.detach().nan_to_num()
        )
    if isinstance(before, list | tuple):
        return len(before) == len(after) and all(map(_same, before, after))
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(_same(before[k], after[k]) for k in before)
    return True  # numbers cannot change, and a generator may


def _last_line(error: Exception, function: Function) -> str:
    """The line of the learner's own code at which an error came up."""
    code = getattr(function, "__code__", None)
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if code is not None and frame.filename == code.co_filename
    ]
    return linecache.getline(own[-1].filename, own[-1].lineno or 0).strip() if own else ""
