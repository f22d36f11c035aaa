"""What `check` says and returns, whatever a learner hands in."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lessons_lib.exercises import check, core
from lessons_lib.exercises.answer import (
    DTYPE,
    FINITE,
    RETURNS,
    RUNS,
    SHAPE,
    TYPE,
    UNCHANGED,
    Answer,
    describe,
)
from lessons_lib.exercises.core import Exercise, ExerciseFailed
from lessons_lib.exercises.properties import ensure, ensure_batchwise, ensure_minimal, same


def double(x: Tensor) -> Tensor:
    """The reference that all tests here use."""
    return 2 * x


@pytest.fixture
def exercise(monkeypatch: pytest.MonkeyPatch) -> Exercise:
    """An exercise with one property, in a registry that is put back afterwards."""
    monkeypatch.setattr(core, "_REGISTRY", dict(core.exercises()))
    monkeypatch.delenv("LESSONS_STRICT", raising=False)
    made = Exercise("test.double", double)

    @made.holds("zero stays zero", cause="is something added?")
    def zero(answer: Answer) -> None:
        same(answer(torch.zeros(2)), torch.zeros(2), case="zeros")

    made.agrees(lambda: [(torch.randn(3, 4),)], cause="")
    return made


def unfinished(x: Tensor) -> Tensor:
    raise NotImplementedError  # your code here


def raises(x: Tensor) -> Tensor:
    return x.reshape(17)


def not_implemented_by_torch(x: Tensor) -> Tensor:
    return torch.empty(2, device="meta").to(x.device)


def fills(x: Tensor) -> Tensor:
    return x.mul_(2)


BROKEN: dict[str, tuple[Any, str]] = {
    "adds": (lambda x: 2 * x + 1, "zero stays zero"),
    "factor": (lambda x: 3 * x, "agrees with the library"),
    "raises": (raises, RUNS),
    "torch": (not_implemented_by_torch, RUNS),
    "arguments": (lambda: 0, RUNS),
    "no function": (7, RUNS),
    "none": (lambda x: None, RETURNS),
    "in place": (fills, UNCHANGED),
    "numpy": (lambda x: (2 * x).numpy(), TYPE),
    "number": (lambda x: 0.0, TYPE),
    "tuple": (lambda x: (2 * x, 1), TYPE),
    "squeezed": (lambda x: (2 * x)[0], SHAPE),
    "longer": (lambda x: (2 * x)[None], SHAPE),
    "double": (lambda x: 2 * x.double(), DTYPE),
    "nan": (lambda x: x / 0, FINITE),
    "infinite": (lambda x: 2 * x + torch.inf, FINITE),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_answer_is_named_and_replaced(
    exercise: Exercise, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    function, name = BROKEN[kind]
    assert check("test.double", function) is double
    printed = capsys.readouterr().out
    assert f"broken: {name}\n" in printed
    assert "Using the library version below." in printed
    assert "return 2 * x" not in printed


def test_a_right_answer_passes_and_comes_back(
    exercise: Exercise, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(x: Tensor) -> Tensor:
        return x + x

    assert check("test.double", answer) is answer
    assert capsys.readouterr().out == "test.double: PASS\n"


def test_a_stub_is_not_attempted(exercise: Exercise, capsys: pytest.CaptureFixture[str]) -> None:
    assert check("test.double", unfinished) is double
    expected = "test.double: not attempted: using the library version below\n"
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("function", [unfinished, raises, lambda x: 3 * x])
def test_strict_mode_raises_instead_of_falling_back(
    exercise: Exercise, monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any]
) -> None:
    monkeypatch.setenv("LESSONS_STRICT", "1")
    with pytest.raises(ExerciseFailed, match=r"test\.double"):
        check("test.double", function)
    assert check("test.double", double) is double


def test_an_interrupt_is_never_swallowed(exercise: Exercise) -> None:
    def interrupted(x: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check("test.double", interrupted)


def test_an_unknown_name_is_told_the_nearest(exercise: Exercise) -> None:
    with pytest.raises(LookupError, match=r"'test\.duoble'.*'test\.double'"):
        check("test.duoble", double)


def test_two_exercises_cannot_share_a_name(exercise: Exercise) -> None:
    with pytest.raises(ValueError, match="two exercises"):
        Exercise("test.double", double)


def test_the_learners_line_is_quoted(exercise: Exercise) -> None:
    assert "at: return x.reshape(17)" in exercise.examine(raises).message


def test_the_global_random_state_is_left_alone(exercise: Exercise) -> None:
    def reseeds(x: Tensor) -> Tensor:
        torch.manual_seed(123)
        return 2 * x

    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    assert exercise.examine(reseeds).passed
    assert torch.equal(torch.rand(3), expected)


def test_a_generator_may_be_used_twice() -> None:
    def draw(generator: torch.Generator) -> Tensor:
        return torch.rand(3, generator=generator)

    generator = torch.Generator().manual_seed(5)
    answer = Answer(draw, draw)
    assert torch.equal(answer(generator), answer(generator))


@pytest.mark.parametrize(
    ("wrong", "suspicion"),
    [
        (lambda x: 3 * x, "1.5 times"),
        (lambda x: -2 * x, "opposite sign"),
        (lambda x: 2 * x - 1, "plus -1"),
        (lambda x: 2 * x.transpose(0, 1), "axes 0 and 1"),
    ],
)
def test_simple_mistakes_are_recognised(wrong: Callable[[Tensor], Tensor], suspicion: str) -> None:
    x = torch.rand(3, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(core.Broken) as caught:
        same(wrong(x), 2 * x, case="")
    assert suspicion in caught.value.cause


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda x: 2 * x * (1 + 2e-4), id="nearly right everywhere"),
        pytest.param(lambda x: 3 * x + (x == 0), id="a factor, but not where zero should be"),
    ],
)
def test_no_mistake_is_seen_that_is_not_there(wrong: Callable[[Tensor], Tensor]) -> None:
    x = torch.tensor([0.0, 1.0, 2.0, 3.5])
    with pytest.raises(core.Broken) as caught:
        same(wrong(x), 2 * x, case="")
    assert caught.value.cause == ""


def test_a_suspicion_must_explain_all_cases(exercise: Exercise) -> None:
    exercise.properties.clear()
    exercise.agrees(lambda: [(torch.ones(3, 4),), (torch.arange(12.0).reshape(3, 4),)])
    assert "perhaps" not in exercise.examine(lambda x: 2 * x**2 + 2 * x).message
    assert "1.5 times" in exercise.examine(lambda x: 3 * x).message


def test_memory_may_be_laid_out_in_any_way(exercise: Exercise) -> None:
    verdict = exercise.examine(lambda x: 2 * x.view(-1).view(x.shape))
    assert (verdict.passed, verdict.broken) == (False, RUNS)
    assert "reshape" in verdict.message


def test_infinities_agree_with_themselves_only() -> None:
    inf = torch.tensor([torch.inf])
    same(inf, inf, case="")
    for other in (-inf, torch.zeros(1), torch.tensor([torch.nan])):
        with pytest.raises(core.Broken):
            same(other, inf, case="")


def test_ensure_minimal_accepts_the_minimiser_only() -> None:
    def objective(u: Tensor) -> Tensor:
        return (u - 3).square().sum()

    ensure_minimal(objective, torch.full((4,), 3.0), case="")
    for point in (2.9, 3.05, 0.0):
        with pytest.raises(core.Broken):
            ensure_minimal(objective, torch.full((4,), point), case="")


def test_ensure_batchwise_notices_a_mixed_batch() -> None:
    x = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    ensure_batchwise(Answer(double, double), x)
    with pytest.raises(core.Broken):
        ensure_batchwise(Answer(lambda x: x - x.mean(), double), x)


def test_ensure() -> None:
    ensure(True, case="", expected="", actual="")
    with pytest.raises(core.Broken):
        ensure(False, case="", expected="", actual="")


def test_values_are_described_in_few_words() -> None:
    assert describe(torch.zeros(2, 8)) == "tensor (2, 8)"
    assert describe((8, 9)) == "(8, 9)"
    assert describe(double) == "double"
    assert describe(torch.Generator().manual_seed(3)) == "a generator with seed 3"
