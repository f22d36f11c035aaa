"""Paper to draw on, a few times as large as the picture that becomes of it."""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 192
# How much larger a picture is drawn, so that its edges come out as smooth as a screen shows them.
FINE = 4
INK = (20, 20, 24)

Colour = tuple[int, int, int]


def grid() -> tuple[np.ndarray, np.ndarray]:
    """y and x of every point that is drawn, in pixels of the finished picture."""
    y, x = (np.mgrid[: SIDE * FINE, : SIDE * FINE] + 0.5) / FINE
    return y, x


def averaged(large: np.ndarray) -> np.ndarray:
    """Means of `FINE` × `FINE` points, rounded to gray levels: ``(SIDE, SIDE, 3)``."""
    return large.astype(np.float64).reshape(SIDE, FINE, SIDE, FINE, 3).mean(axis=(1, 3)).round()


class Sheet:
    """Paper to draw on; lengths are those of the finished picture.

    Args:
        paper: its colour.
    """

    def __init__(self, paper: Colour) -> None:
        self.image = Image.new("RGB", (SIDE * FINE, SIDE * FINE), paper)
        self.pen = ImageDraw.Draw(self.image)

    def line(self, points: np.ndarray, ink: Colour, width: float) -> None:
        """Through points ``(N, 2)`` of x and y."""
        self.pen.line(_scaled(points), ink, round(width * FINE), joint="curve")

    def shape(self, points: np.ndarray, fill: Colour, outline: float = 0) -> None:
        """A filled polygon with these corners ``(N, 2)``, and an outline as wide as said."""
        self.pen.polygon(_scaled(points), fill)
        if outline:
            self.line(np.concatenate([points, points[:2]]), INK, outline)

    def box(self, left: float, top: float, right: float, bottom: float, fill: Colour) -> None:
        """A filled rectangle."""
        self.pen.rectangle([round(v * FINE) for v in (left, top, right, bottom)], fill)

    def text(self, left: float, top: float, words: str, ink: Colour, size: float) -> float:
        """One line of text; returns where it ends."""
        font = _font(round(size * FINE))
        self.pen.text((left * FINE, top * FINE), words, ink, font)
        return left + font.getlength(words) / FINE

    def finished(self) -> np.ndarray:
        """The picture, ``(SIDE, SIDE, 3)``."""
        return averaged(np.asarray(self.image))


def _scaled(points: np.ndarray) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in np.round(points * FINE)]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which travels with Matplotlib."""
    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    file = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)
