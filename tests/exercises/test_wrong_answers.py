"""Every exercise rejects at least three plausible wrong answers, and says what is wrong."""

import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lessons_lib.exercises import check, core

# An answer, the property that it breaks, and, where that says too little, words of the hint.
Wrong = tuple[Callable[..., Any], str] | tuple[Callable[..., Any], str, str]


def _collect() -> dict[str, list[Wrong]]:
    """The dict WRONG of every module wrong_NN.py beside this file."""
    wrong: dict[str, list[Wrong]] = {}
    for path in sorted(Path(__file__).parent.glob("wrong_[0-9][0-9].py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert not wrong.keys() & module.WRONG.keys()
        wrong |= module.WRONG
    return wrong


WRONG = _collect()
EXERCISES = dict(core.exercises())
CASES = [
    pytest.param(name, function, broken, "".join(hint), id=f"{name}-{number}")
    for name, answers in WRONG.items()
    for number, (function, broken, *hint) in enumerate(answers)
]


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_has_three_wrong_answers_and_a_right_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(WRONG.get(name, [])) >= 3
    assert EXERCISES[name].properties
    monkeypatch.setenv("LESSONS_STRICT", "1")
    reference = EXERCISES[name].reference
    assert check(name, reference) is reference


@pytest.mark.parametrize(("name", "function", "broken", "hint"), CASES)
def test_a_wrong_answer_is_rejected_by_name(
    name: str,
    function: Callable[..., Any],
    broken: str,
    hint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("LESSONS_STRICT", raising=False)
    reference = EXERCISES[name].reference
    assert check(name, function) is reference
    message = capsys.readouterr().out
    assert f"broken: {broken}\n" in message
    assert hint in message
    for line in _answer_lines(reference):
        assert line not in message


def _answer_lines(function: Callable[..., Any]) -> list[str]:
    """The lines of a function's body that would give it away, without its docstring."""
    source = inspect.getsource(function).replace(inspect.getdoc(function) or "\0", "")
    body = source.split('"""')[-1].splitlines()
    return [line.strip() for line in body if len(line.strip()) > 8]
