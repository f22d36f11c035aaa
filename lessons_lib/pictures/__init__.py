"""Pictures of kinds that photographs of nature lack: drawn by a program, from fixed seeds.

Text, screens, cloth, cartoons, line drawings, maps and stars: flat where nature never is, regular
where nature is not, with edges as sharp as pixels allow. `PICTURES` has them by name. Two machines
may differ in a gray level here and there, as their fonts and functions do.
"""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lessons_lib.pictures.sheet import FINE, INK, SIDE, Colour, Sheet, averaged, grid

TEXT = (
    "a sparse code says which few atoms make a patch and how much of each is in it so that noise "
    "which no atom resembles has nowhere to go while letters edges and threads remain as they were"
)
WORDS = TEXT.split()
BRIGHT = [
    (214, 48, 49),
    (9, 132, 227),
    (0, 148, 50),
    (241, 196, 15),
    (142, 68, 173),
    (230, 126, 34),
]
PALE = [(255, 255, 255), (253, 245, 214), (214, 234, 248), (250, 219, 216), (213, 245, 227)]


def draw(name: str) -> Tensor:
    """A picture by name.

    Returns:
        ``(1, 3, SIDE, SIDE)`` RGB in [0, 1], of 256 levels.

    Raises:
        KeyError: for a name that `PICTURES` lacks.
    """
    pixels = np.array(PICTURES[name](), dtype=np.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def text() -> np.ndarray:
    """A printed page, black on white, in four sizes."""
    random, sheet, top = np.random.RandomState(0), Sheet((255, 255, 255)), 4.0
    for size in (16, 12, 10, 10, 10, 8, 8, 8, 8, 10, 10, 7, 7, 7, 14):
        _write(sheet, random, top, size, None)
        top += 1.3 * size
    return sheet.finished()


def coloured_text() -> np.ndarray:
    """Words, each in a colour of its own, on coloured stripes."""
    random, sheet, top = np.random.RandomState(1), Sheet((255, 255, 255)), 0.0
    for number, size in enumerate((18, 14, 12, 11, 10, 12, 14, 11, 10, 9, 16)):
        dark = number % 4 == 3
        paper = BRIGHT[number % len(BRIGHT)] if dark else PALE[number % len(PALE)]
        sheet.box(0, top, SIDE, top + 1.35 * size, paper)
        inks = PALE if dark else BRIGHT
        _write(sheet, random, top, size, inks)
        top += 1.35 * size
    return sheet.finished()


def screen() -> np.ndarray:
    """Two windows on a desk top: bars, buttons, a list and a menu."""
    random, sheet = np.random.RandomState(2), Sheet((44, 62, 80))
    for left, top, right, bottom in ((8, 10, 138, 120), (70, 66, 188, 180)):
        sheet.box(left - 1, top - 1, right + 1, bottom + 1, (90, 96, 104))
        sheet.box(left, top, right, bottom, (246, 246, 246))
        sheet.box(left, top, right, top + 13, (52, 152, 219))
        sheet.text(left + 4, top + 1, " ".join(random.choice(WORDS, 2)), (255, 255, 255), 9)
        for number in range(3):
            where = right - 10 * (number + 1)
            sheet.box(where, top + 3, where + 7, top + 10, BRIGHT[number])
        for number, line in enumerate(range(top + 18, bottom - 12, 11)):
            if number % 2:
                sheet.box(left + 2, line, right - 2, line + 11, (226, 232, 238))
            sheet.box(left + 6, line + 2, left + 13, line + 9, BRIGHT[random.randint(6)])
            sheet.text(left + 18, line, " ".join(random.choice(WORDS, 3)), INK, 8)
    sheet.box(0, 183, SIDE, SIDE, (200, 204, 208))
    for number in range(8):
        sheet.box(4 + 12 * number, 184, 12 + 12 * number, 191, BRIGHT[number % 6])
    return sheet.finished()


def weave() -> np.ndarray:
    """Cloth: round threads of two colours, over and under each other."""
    y, x = grid()
    pitch = 5.3
    across, down = x + 2 * np.sin(y / 60), y + 3 * np.sin(x / 45)
    over = (np.floor(across / pitch) + np.floor(down / pitch)) % 2 == 0
    colours = np.array([(178, 58, 52), (236, 214, 178)])
    shades = []
    for along, thread in ((down, across), (across, down)):
        round_ = np.sqrt(np.clip(1 - (2 * (thread / pitch % 1) - 1) ** 2, 0, 1))
        shades.append(0.35 + 0.65 * round_ * (0.75 + 0.25 * np.abs(np.sin(np.pi * along / pitch))))
    stripe = (np.floor(across / pitch / 6) % 3 == 0).astype(int)
    warp, weft = colours[stripe] * shades[0][..., None], colours[1] * shades[1][..., None]
    return averaged(np.where(over[..., None], warp, weft))


def tiles() -> np.ndarray:
    """A tiled floor that runs away from the eye, with a ring in every second tile."""
    y, x = (axis / SIDE for axis in grid())
    depth = 1 / (0.35 + y)
    u, v = 5.5 * (x - 0.4) * depth + 30, 7 * depth
    radius = np.hypot(u % 1 - 0.5, v % 1 - 0.5)
    white = (np.floor(u) + np.floor(v)) % 2 == 0
    floor = np.where(white[..., None], (240, 236, 224), (38, 70, 110))
    ring = (np.abs(radius - 0.28) < 0.08) & white
    floor = np.where(ring[..., None], (190, 80, 50), floor)
    seam = np.minimum(np.minimum(u % 1, 1 - u % 1), np.minimum(v % 1, 1 - v % 1)) < 0.03
    return averaged(np.where(seam[..., None], (120, 116, 110), floor))


def cartoon() -> np.ndarray:
    """Flat regions with black outlines."""
    random, sheet = np.random.RandomState(5), Sheet((120, 200, 240))
    ground = np.array([(-5, 140), (60, 122), (130, 134), (200, 118), (200, 200), (-5, 200)])
    sheet.shape(ground, (90, 180, 70), 2)
    for number in range(13):
        middle = random.uniform(14, SIDE - 14, 2)
        angle = np.arange(0, 2 * np.pi, 0.05)
        waves = [
            random.uniform(-0.16, 0.16) * np.cos(k * angle + random.uniform(0, 6))
            for k in (2, 3, 5)
        ]
        radius = random.uniform(12, 34) * (1 + np.sum(waves, axis=0))
        around = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        sheet.shape(middle + radius[:, None] * around, (BRIGHT + PALE)[number % 11], 2)
        for side in (-1, 1):
            eye = middle + np.array((5 * side, -3))
            sheet.shape(eye + 3.5 * around, (255, 255, 255), 1)
            sheet.shape(eye + np.array((1, 0)) + 1.4 * around, INK)
    return sheet.finished()


def line_drawing() -> np.ndarray:
    """Pen on paper: thin curves, and hatching in several directions."""
    random, sheet = np.random.RandomState(6), Sheet((250, 247, 238))
    for _ in range(16):
        corner, size = random.uniform(0, SIDE - 40, 2), random.uniform(24, 60, 2)
        slope, gap = random.uniform(-1, 1), random.uniform(2.2, 4.5)
        for offset in np.arange(0, size[0], gap):
            ends = np.array([(offset, 0), (offset + slope * size[1] / 2, size[1])])
            sheet.line(corner + ends + random.normal(0, 0.4, (2, 2)), INK, 0.75)
    step = np.linspace(0, 1, 120)
    for _ in range(14):
        start, end = random.uniform(0, SIDE, (2, 2))
        bend = random.uniform(-40, 40, 2)
        curve = start + step[:, None] * (end - start) + np.sin(np.pi * step)[:, None] * bend
        sheet.line(curve, INK, random.uniform(0.75, 1.75))
    return sheet.finished()


def night_sky() -> np.ndarray:
    """Stars on a dark sky with a band of haze, above a black horizon."""
    random = np.random.RandomState(7)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    haze = np.exp(-(((y - 60 - 0.35 * x) / 34) ** 2))
    sky = np.array((8, 10, 22)) + haze[..., None] * np.array((30, 26, 34))
    sky = sky + (y / SIDE)[..., None] ** 3 * np.array((26, 18, 10))
    for _ in range(420):
        row, column = random.uniform(0, SIDE, 2)
        light, width = 12 * random.pareto(1.1) + 12, random.uniform(0.5, 0.8)
        tint = (
            np.array((1, 1, 1))
            - random.uniform(0, 0.3) * np.array(((0, 0.4, 1), (1, 0.4, 0)))[random.randint(2)]
        )
        distance = (y - row) ** 2 + (x - column) ** 2
        glow = np.exp(-distance / (2 * width**2)) + 0.01 * np.exp(
            -distance / (2 * (4 * width) ** 2)
        )
        sky = sky + min(light, 900) * glow[..., None] * tint
    horizon = 168 + 8 * np.sin(x / 23) + 5 * np.sin(x / 7)
    return np.where((y > horizon)[..., None], (3, 3, 5), np.clip(sky, 0, 255)).round()


def chart() -> np.ndarray:
    """A map: coloured layers of height, their contours, roads, and names of places."""
    random = np.random.RandomState(8)
    y, x = grid()
    height = np.zeros_like(x)
    for _ in range(9):
        row, column = random.uniform(0, SIDE, 2)
        height += random.uniform(0.5, 1.6) * np.exp(
            -((y - row) ** 2 + (x - column) ** 2) / random.uniform(24, 52) ** 2
        )
    level = 7 * height
    layers = np.array(
        [
            (150, 200, 235),
            (200, 230, 180),
            (225, 238, 190),
            (245, 235, 180),
            (240, 215, 150),
            (225, 190, 130),
            (205, 165, 115),
            (190, 150, 110),
            (240, 240, 240),
        ]
    )
    land = layers[np.clip(np.floor(level / 1.6), 0, len(layers) - 1).astype(int)]
    slope = np.hypot(*np.gradient(level)) * FINE
    contour = np.abs(level * 2 - np.round(level * 2)) < 0.9 * slope
    sheet = Sheet((0, 0, 0))
    pixels = np.where(contour[..., None], (130, 95, 60), land).astype(np.uint8)
    sheet.image.paste(Image.fromarray(pixels))
    along = np.linspace(-5, SIDE + 5, 100)
    for number in range(4):
        bend = 18 * np.sin(along / random.uniform(18, 40) + random.uniform(0, 6))
        road = np.stack([along, random.uniform(20, 170) + bend], axis=1)
        road = road[:, ::-1] if number % 2 else road
        sheet.line(road, INK, 3.5)
        sheet.line(road, BRIGHT[5] if number % 2 else (255, 255, 255), 2)
    for _ in range(10):
        left, top = random.uniform(4, SIDE - 50), random.uniform(4, SIDE - 14)
        sheet.box(left - 4, top + 3, left - 1, top + 6, BRIGHT[0])
        sheet.text(left, top, str(random.choice(WORDS)).capitalize(), INK, 9)
    return sheet.finished()


def _write(
    sheet: Sheet, random: np.random.RandomState, top: float, size: float, inks: list[Colour] | None
) -> None:
    """Words drawn at random, each in one of the inks if there are several, to the line's end."""
    left = 4.0
    while left < SIDE:
        word = random.choice(WORDS)
        ink = inks[random.randint(len(inks))] if inks else INK
        left = sheet.text(left, top, f"{word} ", ink, size)


PICTURES: dict[str, Callable[[], np.ndarray]] = {
    "text": text,
    "coloured text": coloured_text,
    "screen": screen,
    "weave": weave,
    "tiles": tiles,
    "cartoon": cartoon,
    "line drawing": line_drawing,
    "night sky": night_sky,
    "map": chart,
}
