"""Diagrams of what a network does: pictures of its numbers, joined by arrows."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from torch import Tensor

from lessons_lib.viz.figures import DPI

# The part of a panel's share of the figure that its picture takes, across and down; what is left
# is for arrows and their labels, and for titles.
ACROSS, DOWN = 0.64, 0.58


def show_flow(
    panels: Mapping[str, tuple[float, float, Tensor]],
    arrows: Mapping[tuple[int, int], str],
    *,
    width: float = 11.0,
    height: float = 4.4,
) -> Figure:
    """Pictures of what is computed, and arrows that say from what and how.

    Args:
        panels: title to ``(column, row, values)``: where it stands, counted from the upper left
            (halves are allowed), and a matrix to draw. Grey goes from 0, black, to the largest
            entry, white; where a matrix has negative entries, 0 is white, and each sign has a
            colour.
        arrows: numbers of two panels, counted from 0 in the order in which they are given, to the
            label of the arrow from one to the other. It goes from side to side within a row, and
            otherwise from edge to edge.
        width: of the figure in inches.
        height: of the figure in inches.

    Raises:
        ValueError: if there is nothing to show, or an arrow joins what is not there.
    """
    if not panels:
        raise ValueError("no panels to show")
    ends = {number for pair in arrows for number in pair}
    if not ends <= set(range(len(panels))):
        raise ValueError(f"arrows join panels {sorted(ends)}, but there are {len(panels)}")
    figure = Figure(figsize=(width, height), dpi=DPI)
    columns = 1 + max(column for column, _, _ in panels.values())
    rows = 1 + max(row for _, row, _ in panels.values())
    middles = [
        ((column + 0.5) / columns, 1 - (row + 0.5) / rows) for column, row, _ in panels.values()
    ]
    across, down = ACROSS / columns / 2, DOWN / rows / 2
    for (x, y), (title, (_, _, values)) in zip(middles, panels.items(), strict=True):
        axes = figure.add_axes((x - across, y - down, 2 * across, 2 * down))
        pixels = values.detach().cpu()
        signed, top = bool((pixels < 0).any()), max(pixels.abs().max().item(), 1e-12)
        axes.imshow(
            pixels.numpy(),
            cmap="RdBu_r" if signed else "gray",
            vmin=-top if signed else 0,
            vmax=top,
            aspect="auto",
            interpolation="nearest",
        )
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=9)
    for (start, end), label in arrows.items():
        (x, y), (to_x, to_y) = middles[start], middles[end]
        if y == to_y:
            side = across if to_x > x else -across
            x, to_x = x + side, to_x - side
        else:
            # The lower one has its title on the way.
            step, room = (down if to_y > y else -down), 0.28 / height
            y += step + (room if step > 0 else 0)
            to_y -= step - (room if step < 0 else 0)
        figure.add_artist(
            FancyArrowPatch(
                (x, y),
                (to_x, to_y),
                transform=figure.transFigure,
                arrowstyle="-|>",
                mutation_scale=12,
                color="0.35",
                shrinkA=3,
                shrinkB=3,
            )
        )
        level = y == to_y
        figure.text(
            (x + to_x) / 2 + (0 if level else 0.07 / width),
            (y + to_y) / 2 + (0.06 / height if level else 0),
            label,
            fontsize=8,
            ha="center" if level else "left",
            va="bottom" if level else "center",
        )
    return figure
