"""What the properties of exercises are written with: comparisons that say what broke, and why."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle
from torch.overrides import TorchFunctionMode

from lessons_lib.exercises.answer import Answer, Broken, describe


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


def ensure_own_shuffle(answer: Answer, *arguments: Any) -> None:
    """Break the property where an answer leaves the work to PyTorch's pixel shuffle or its inverse.

    Args:
        answer: under watch.
        arguments: of one call; the first is a tensor.
    """
    called: list[str] = []

    def noted(*given: Any) -> Any:
        with _Shuffles() as shuffles:
            found = answer.function(*given)
        called.extend(shuffles.called)
        return found

    Answer(noted, answer.reference)(*arguments)
    ensure(
        not called,
        case=f"a tensor {tuple(arguments[0].shape)}",
        expected="neither pixel_unshuffle nor pixel_shuffle is called",
        actual=", ".join(called),
        cause="the numbers are right; now with slices, or with views and permutations",
    )


class _Shuffles(TorchFunctionMode):
    """Notes which of PyTorch's own two functions are called inside, by whichever of their names."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[str] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in (pixel_shuffle, pixel_unshuffle):
            self.called.append(func.__name__)
        return func(*args, **(kwargs or {}))


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
