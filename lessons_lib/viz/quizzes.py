"""The questions at the end of each lesson, from ``data/quizzes.toml``."""

import tomllib
from dataclasses import dataclass
from functools import cache

from lessons_lib.data import shipped, unknown


@dataclass(frozen=True)
class Choice:
    """One answer to choose, and what is said to whoever chooses it."""

    answer: str
    reply: str


@dataclass(frozen=True)
class Question:
    """A question with one right answer.

    Args:
        question: in words.
        choices: by their letters, "a", "b", ...
        right: the letter of the right one.

    Raises:
        ValueError: if the right answer is none of them, or two say the same.
    """

    question: str
    choices: dict[str, Choice]
    right: str

    def __post_init__(self) -> None:
        answers = {choice.answer for choice in self.choices.values()}
        if self.right not in self.choices or len(answers) < len(self.choices):
            raise ValueError(f"no question with one right answer: {self.question!r}")


def questions(lesson: str) -> tuple[Question, ...]:
    """The questions of a lesson.

    Args:
        lesson: its number in two digits, such as "03".

    Raises:
        ValueError: for a lesson without questions.
    """
    if lesson not in _all():
        raise ValueError(unknown("lesson", lesson, _all()))
    return _all()[lesson]


@cache
def _all() -> dict[str, tuple[Question, ...]]:
    table = tomllib.loads(shipped("quizzes.toml").read_text(encoding="utf-8"))
    return {lesson: tuple(map(_question, rows)) for lesson, rows in table.items()}


def _question(row: dict[str, object]) -> Question:
    letters = {key: Choice(*value) for key, value in row.items() if isinstance(value, list)}
    return Question(str(row["question"]), letters, str(row["right"]))
