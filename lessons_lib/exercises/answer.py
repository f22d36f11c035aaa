"""A learner's answer under watch: what holds for every exercise is checked on every call.

The answer runs, returns results of the right type, shape and dtype, finite where they should be,
and leaves its arguments alone.
"""

import linecache
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., Any]

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


class Answer:
    """A learner's function whose every call is watched; ``answer(*arguments)`` is its result.

    The arguments are copied before the call, random generators included, so a property may use
    them again. ``answer.reference`` is the library's function.
    """

    def __init__(self, function: Function, reference: Function) -> None:
        self.function, self.reference = function, reference

    def __call__(self, *arguments: Any) -> Any:
        case = "called with " + ", ".join(describe(argument) for argument in arguments)
        given = [copied(argument) for argument in arguments]
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
        _compare_kind(actual, self.reference(*[copied(one) for one in arguments]), case)
        return actual


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


def copied(value: Any) -> Any:
    """A copy that shares no numbers; functions and modules are passed on as they are."""
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, torch.Generator):
        return torch.Generator(value.device).set_state(value.get_state())
    if isinstance(value, list | tuple):
        return type(value)(copied(one) for one in value)
    if isinstance(value, dict):
        return {key: copied(one) for key, one in value.items()}
    return value


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


def _rounded(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_rounded(one) for one in value)
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _last_line(error: Exception, function: Function) -> str:
    """The line of the learner's own code at which an error came up."""
    code = getattr(function, "__code__", None)
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if code is not None and frame.filename == code.co_filename
    ]
    return linecache.getline(own[-1].filename, own[-1].lineno or 0).strip() if own else ""
