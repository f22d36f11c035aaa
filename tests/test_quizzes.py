"""The questions at the end of the lessons: complete, fair, and asked by the widget."""

import tomllib
from pathlib import Path

import pytest

from lessons_lib.viz import quizzes
from lessons_lib.viz.quizzes import Choice, Question, questions
from lessons_lib.viz.widgets import quiz

ROOT = Path(__file__).parents[1]
LESSONS = sorted(tomllib.loads((ROOT / "data" / "quizzes.toml").read_text("utf-8")))
ASKING = [
    path.stem
    for path in sorted((ROOT / "solutions").glob("[0-9][0-9]_*.py"))
    if "widgets.quiz(" in path.read_text("utf-8")
]


@pytest.mark.parametrize("lesson", LESSONS)
def test_three_questions_with_a_reply_to_each_answer(lesson: str) -> None:
    asked = questions(lesson)
    assert len(asked) == 3
    for question in asked:
        assert question.question.endswith("?")
        assert 3 <= len(question.choices) <= 4
        assert list(question.choices) == list("abcd")[: len(question.choices)]
        replies = [choice.reply for choice in question.choices.values()]
        assert len(set(replies)) == len(replies)
        for choice in question.choices.values():
            assert choice.answer[0].islower() or not choice.answer[0].isalpha()
            assert not choice.answer.endswith((".", "?"))
            assert choice.reply.endswith((".", "?"))
            assert len(choice.reply) > 40, "a reply says why"
    assert len({question.right for question in asked}) > 1


def test_right_answers_stand_anywhere_and_are_not_the_longest() -> None:
    asked = [question for lesson in LESSONS for question in questions(lesson)]
    for letter in "abc":
        assert sum(question.right == letter for question in asked) > len(asked) / 5
    longest = [
        max(question.choices, key=lambda key, q=question: len(q.choices[key].answer))
        == question.right
        for question in asked
    ]
    assert sum(longest) < len(asked) / 2, "who knows nothing must not guess right"


@pytest.mark.parametrize("lesson", ASKING)
def test_a_lesson_asks_its_own_questions_near_its_end(lesson: str) -> None:
    text = (ROOT / "solutions" / f"{lesson}.py").read_text("utf-8")
    assert text.count("widgets.quiz(") == 1
    assert f'widgets.quiz("{lesson[:2]}")' in text
    assert lesson[:2] in LESSONS
    assert text.index("widgets.quiz(") > 0.7 * len(text)
    # Whoever reads the notebook does not read the answers.
    for question in questions(lesson[:2]):
        assert question.choices[question.right].reply not in text


def test_each_answer_is_replied_to_and_one_may_choose_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LESSONS_WIDGETS", raising=False)
    box = quiz("00")
    assert box is not None
    for asked, shown in zip(questions("00"), box.children, strict=True):
        text, choice, reply = shown.children
        assert asked.question.split("?")[0][:20] in text.value
        assert choice.value is None
        assert reply.value == ""
        for letter in asked.choices:
            choice.value = letter
            assert ("Right." in reply.value) == (letter == asked.right)
            assert ("No." in reply.value) == (letter != asked.right)
            assert asked.choices[letter].reply.split("&")[0][:30] in reply.value
    monkeypatch.setenv("LESSONS_WIDGETS", "0")
    assert quiz("00") is None
    with pytest.raises(ValueError, match="unknown lesson '99'"):
        quiz("99")


def test_what_is_asked_is_text_and_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LESSONS_WIDGETS", raising=False)
    asked = Question("Is 1 < 2?", {"a": Choice("yes", "<b>"), "b": Choice("no", "!")}, "a")
    monkeypatch.setattr(quizzes, "_all", lambda: {"42": (asked,)})
    box = quiz("42")
    assert box is not None
    text, choice, reply = box.children[0].children
    choice.value = "a"
    assert "1 &lt; 2" in text.value
    assert "&lt;b&gt;" in reply.value


def test_a_question_has_one_right_answer() -> None:
    with pytest.raises(ValueError, match="one right answer"):
        Question("?", {"a": Choice("yes", "."), "b": Choice("no", ".")}, "c")
    with pytest.raises(ValueError, match="one right answer"):
        Question("?", {"a": Choice("yes", "."), "b": Choice("yes", ".")}, "a")
