"""Sliders that redraw a figure, and questions to answer before a result is shown.

They need a running kernel; static figures and text before them do not.
"""

import html
import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from lessons_lib.viz.quizzes import Question, questions


def to_png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def explore(draw: Callable[..., Figure], **options: Sequence[Any]) -> widgets.VBox | None:
    """One slider per option, and the figure that they choose.

    A picture widget shows the figure as PNG, so this works wherever ipywidgets 8 does and needs no
    interactive matplotlib backend.

    Args:
        draw: called with one value per option by keyword; returns a figure.
        **options: the values that each slider steps through, the first shown first. A value may
            be a ``(label, value)`` pair.

    Returns:
        A widget to end a cell with, or None if the environment variable ``LESSONS_WIDGETS`` is 0
        (for grading, where widgets hang).

    Raises:
        ValueError: if an option has no values.
    """
    if os.environ.get("LESSONS_WIDGETS") == "0":
        return None
    sliders = {}
    for name, values in options.items():
        if not len(values):
            raise ValueError(f"option {name!r} has no values to slide through")
        sliders[name] = widgets.SelectionSlider(
            options=list(values),
            description=name.replace("_", " "),
            # Redraw once the handle is let go, not for every value it passes.
            continuous_update=False,
            style={"description_width": "initial"},
        )
    picture = _picture()

    def redraw(_change: Any = None) -> None:
        picture.value = to_png(draw(**{name: slider.value for name, slider in sliders.items()}))

    for slider in sliders.values():
        slider.observe(redraw, names="value")
    redraw()
    return widgets.VBox([*sliders.values(), picture])


def predict(
    options: Mapping[str, str], outcome: Callable[[], tuple[str, Figure | str]]
) -> widgets.VBox | None:
    """Answers to choose from; what was measured appears once one is chosen, not before.

    The cell above asks the question. The right answer is nowhere written down: ``outcome`` finds
    it by experiment.

    Args:
        options: the answers by a short key, such as "a".
        outcome: called once, at the first choice; returns the key of the answer that turned out to
            be right, and the figure or the sentence that shows it.

    Returns:
        A widget to end a cell with, or None if the environment variable ``LESSONS_WIDGETS`` is 0.

    Raises:
        ValueError: if there are fewer than two options; from the choice, if ``outcome`` names none.
    """
    if len(options) < 2:
        raise ValueError("a question needs two answers at least")
    if os.environ.get("LESSONS_WIDGETS") == "0":
        return None
    choice = _radio(options)
    verdict, picture = widgets.HTML(), _picture()
    picture.layout.display = "none"
    found: list[tuple[str, Figure | str]] = []

    def reveal(_change: Any) -> None:
        if not found:
            found.append(outcome())
        right, shown = found[0]
        if right not in options:
            raise ValueError(f"{right!r} is none of {', '.join(options)}")
        first = (
            "As you said" if choice.value == right else f"You said {choice.value}; it is {right}"
        )
        text = f"{first}: {options[right]}."
        if isinstance(shown, Figure):
            picture.value, picture.layout.display = to_png(shown), ""
        else:
            text += f" {shown}"
        verdict.value = f"<p>{html.escape(text)}</p>"

    choice.observe(reveal, names="value")
    return widgets.VBox([choice, verdict, picture])


def quiz(lesson: str) -> widgets.VBox | None:
    """The questions of a lesson; each answer is replied to, and one may choose again.

    Args:
        lesson: its number, see `lessons_lib.viz.quizzes.questions`.

    Returns:
        A widget to end a cell with, or None if the environment variable ``LESSONS_WIDGETS`` is 0.

    Raises:
        ValueError: for a lesson without questions.
    """
    asked = questions(lesson)
    if os.environ.get("LESSONS_WIDGETS") == "0":
        return None
    return widgets.VBox([_ask(number, question) for number, question in enumerate(asked, 1)])


def _ask(number: int, question: Question) -> widgets.VBox:
    choice = _radio({key: choice.answer for key, choice in question.choices.items()})
    reply = widgets.HTML()

    def answer(_change: Any) -> None:
        verdict = "Right." if choice.value == question.right else "No."
        words = html.escape(question.choices[choice.value].reply)
        reply.value = f"<p><b>{verdict}</b> {words}</p>"

    choice.observe(answer, names="value")
    text = widgets.HTML(f"<p><b>{number}.</b> {html.escape(question.question)}</p>")
    return widgets.VBox([text, choice, reply])


def _radio(options: Mapping[str, str]) -> widgets.RadioButtons:
    """Answers by their letters, none of them chosen."""
    return widgets.RadioButtons(
        options=[(f"{key}) {text}", key) for key, text in options.items()],
        value=None,
        layout=widgets.Layout(width="max-content", max_width="100%"),
    )


def _picture() -> widgets.Image:
    picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
    # ipywidgets sets a fixed width of a picture in stylesheets of some front ends; fitting it keeps
    # the figure's proportions.
    picture.layout.object_fit = "contain"
    return picture
