"""Sliders that redraw a figure. They need a running kernel; static figures before them do not."""

import io
import os
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure


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
    picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
    # ipywidgets sets a fixed width of a picture in stylesheets of some front ends; fitting it keeps
    # the figure's proportions.
    picture.layout.object_fit = "contain"

    def redraw(_change: Any = None) -> None:
        picture.value = to_png(draw(**{name: slider.value for name, slider in sliders.items()}))

    for slider in sliders.values():
        slider.observe(redraw, names="value")
    redraw()
    return widgets.VBox([*sliders.values(), picture])
