"""Figures that compare fairly: one crop, one grey range, the decibels in the title.

Every function returns a `matplotlib.figure.Figure` that pyplot does not know, so a notebook with
``%matplotlib inline`` shows it once, as the last line of a cell, and a slider can draw it again and
again.
"""

import math
from collections.abc import Mapping

import matplotlib
import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from lessons_lib.metrics import psnr
from lessons_lib.solvers import History

# Okabe and Ito's palette, which stays distinct under the common forms of colour blindness.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
LINE_STYLES = ["-", "--", "-.", ":"]
DPI = 100

Crop = tuple[int, int, int, int]  # top, left, height, width in pixels


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> Figure:
    """An empty figure with its axes made, ``width × height`` inches, colour-blind-safe."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    figure.subplots(rows, columns, squeeze=False)
    for axes in figure.axes:
        axes.set_prop_cycle(color=COLOURS)
    return figure


def psnr_title(name: str, estimate: Tensor, clean: Tensor) -> str:
    """``name, 28.57 dB``: PSNR of the estimate clipped to [0, 1]."""
    return f"{name}, {float(psnr(estimate.clamp(0, 1), clean)[0]):.2f} dB"


def show_images(
    images: Mapping[str, Tensor],
    *,
    clean: Tensor | None = None,
    crop: Crop | None = None,
    residual: bool = False,
    columns: int | None = None,
    width: float = 9.0,
) -> Figure:
    """Photographs side by side, all on the same crop and the grey range [0, 1].

    Args:
        images: title to ``(1, C, H, W)``, C 1 or 3.
        clean: ground truth; where given, titles state the PSNR of the whole image, except for the
            truth itself.
        crop: ``(top, left, height, width)`` to look at; the PSNR stays that of the whole image.
        residual: add a row of differences to ``clean``, amplified four times about mid-grey.
        columns: images per row; all in one row up to four, where not given.
        width: of the figure in inches.

    Raises:
        ValueError: if there is nothing to show, or a residual is asked for without ``clean``.
    """
    if not images:
        raise ValueError("no images to show")
    if residual and clean is None:
        raise ValueError("a residual needs the clean image")
    shown = list(images.items())
    panels: list[tuple[str, np.ndarray | None]] = [
        (_title(name, image, clean), _pixels(image, crop)) for name, image in shown
    ]
    columns = columns or min(len(shown), 4)
    if residual and clean is not None:
        while len(panels) % columns:
            panels.append(("", None))
        for name, image in shown:
            difference = 0.5 + 4 * (image - clean)
            title = "" if image is clean else f"4 × ({name} − clean)"
            panels.append((title, None if image is clean else _pixels(difference, crop)))
    rows = math.ceil(len(panels) / columns)
    height, breadth = next(pixels for _, pixels in panels if pixels is not None).shape[:2]
    figure = new_figure(width, rows * (width / columns * height / breadth + 0.3), rows, columns)
    for axes in figure.axes:
        axes.set_axis_off()
    for axes, (title, pixels) in zip(figure.axes, panels, strict=False):
        if pixels is not None:
            axes.set_title(title, fontsize=9)
            axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    return figure


def _title(name: str, image: Tensor, clean: Tensor | None) -> str:
    return name if clean is None or image is clean else psnr_title(name, image, clean)


def _pixels(image: Tensor, crop: Crop | None) -> np.ndarray:
    """``(H, W)`` or ``(H, W, 3)`` in [0, 1], the crop only."""
    if image.dim() != 4 or image.shape[0] != 1 or image.shape[1] not in (1, 3):
        raise ValueError(f"expected one image (1, C, H, W) with C 1 or 3, got {tuple(image.shape)}")
    if crop is not None:
        top, left, height, width = crop
        image = image[..., top : top + height, left : left + width]
    pixels = image[0].detach().cpu().clamp(0, 1).permute(1, 2, 0).numpy()
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def show_dictionary(
    dictionary: Tensor, size: int, *, channels: int = 1, columns: int = 16, width: float = 5.0
) -> Figure:
    """The atoms of a dictionary as little pictures, each stretched to its own largest entry.

    Args:
        dictionary: ``(channels * size², K)``.
        size: side of the patches.
        channels: 1 for gray, 3 for colour.
        columns: atoms per row.
        width: of the figure in inches.

    Raises:
        ValueError: if the atoms do not have ``channels * size²`` entries.
    """
    entries, count = dictionary.shape
    if entries != channels * size**2:
        raise ValueError(f"atoms of {entries} entries are no {channels} x {size} x {size} patches")
    rows = math.ceil(count / columns)
    step = size + 1  # one white pixel between the atoms
    sheet = torch.ones(rows * step + 1, columns * step + 1, channels)
    atoms = dictionary.detach().cpu().T.reshape(count, channels, size, size).permute(0, 2, 3, 1)
    peaks = atoms.abs().flatten(1).amax(dim=1).clamp_min(1e-12)
    for index, (atom, peak) in enumerate(zip(atoms, peaks, strict=True)):
        row, column = index // columns * step + 1, index % columns * step + 1
        sheet[row : row + size, column : column + size] = 0.5 + 0.5 * atom / peak
    figure = new_figure(width, width * sheet.shape[0] / sheet.shape[1])
    pixels = sheet.numpy() if channels == 3 else sheet[:, :, 0].numpy()
    figure.axes[0].imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    figure.axes[0].set_axis_off()
    return figure


def show_histories(
    histories: Mapping[str, History],
    *,
    best: float | None = None,
    against: str = "iterations",
    width: float = 8.0,
) -> Figure:
    """How solvers converge: objective and residual on logarithmic scales.

    Args:
        histories: label to the history of a solver.
        best: value of the minimum; where given, the left panel shows the distance to it.
        against: ``"iterations"`` or ``"seconds"``.
        width: of the figure in inches.

    Raises:
        ValueError: for another ``against``.
    """
    if against not in ("iterations", "seconds"):
        raise ValueError(f"against is 'iterations' or 'seconds', not {against!r}")
    figure = new_figure(width, width * 0.38, columns=2)
    left, right = figure.axes
    for index, (label, history) in enumerate(histories.items()):
        steps = range(1, len(history.objective) + 1)
        x = list(steps) if against == "iterations" else history.seconds
        style = LINE_STYLES[index % len(LINE_STYLES)]
        distance = [value - (best or 0.0) for value in history.objective]
        left.plot(x, distance, style, label=label)
        right.plot(x, history.residual, style, label=label)
    left.set_ylabel("objective" if best is None else "objective − minimum")
    right.set_ylabel("duality gap / objective")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel=against)
        axes.grid(alpha=0.3)
    left.legend(frameon=False)
    return figure


def show_similar(
    image: Tensor,
    weights: Mapping[str, Tensor],
    position: tuple[int, int],
    size: int,
    *,
    label: str = "weight",
    width: float = 9.0,
) -> Figure:
    """Where one patch finds its like: weights laid over the photograph, the patch framed.

    Each panel is stretched to its own largest weight away from the patch itself, which the colour
    bar states.

    Args:
        image: ``(1, C, H, W)``, C 1 or 3.
        weights: title to ``(rows, columns)``, one non-negative weight for each patch position:
            a row or column of a similarity matrix, or of an attention map.
        position: ``(row, column)`` of the framed patch in that grid, its first pixel.
        size: side of the patches. A weight is drawn at the centre of its patch.
        label: of the colour bars.
        width: of the figure in inches.

    Raises:
        ValueError: if there is nothing to show, or the weights do not fit the image.
    """
    if not weights:
        raise ValueError("no weights to show")
    height, breadth = image.shape[-2:]
    grid = (height - size + 1, breadth - size + 1)
    panel = width / len(weights)
    figure = new_figure(width, panel * 0.85 * height / breadth + 0.3, columns=len(weights))
    row, column = position
    for axes, (title, values) in zip(figure.axes[: len(weights)], weights.items(), strict=True):
        if tuple(values.shape) != grid:
            raise ValueError(f"weights {tuple(values.shape)} do not fit {grid} patches")
        axes.imshow(_pixels(image, None), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        heat = values.detach().cpu().clone()
        heat[row, column] = 0
        top = max(heat.max().item(), 1e-12)
        heat[row, column] = top
        drawn = axes.imshow(
            heat.numpy(),
            cmap="inferno",
            vmin=0,
            vmax=top,
            alpha=(heat / top).sqrt().numpy(),
            extent=(size / 2 - 1, size / 2 - 1 + grid[1], size / 2 - 1 + grid[0], size / 2 - 1),
            interpolation="nearest",
        )
        axes.set(xlim=(-0.5, breadth - 0.5), ylim=(height - 0.5, -0.5))
        corner = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, size, size, fill=False, edgecolor=COLOURS[5], linewidth=2))
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
        figure.colorbar(drawn, ax=axes, shrink=0.8, label=label)
    return figure


def show_groups(
    groups: Mapping[str, tuple[Tensor, Tensor, Tensor]],
    size: int,
    *,
    label: str = "squared distance",
    width: float = 9.0,
) -> Figure:
    """Groups of similar patches as boxes on their photographs, coloured by how similar they are.

    Args:
        groups: title to ``(image, indices, distances)``: a photograph ``(1, C, H, W)``, and two
            tensors ``(n,)``: the patches of one group, as
            `lessons_lib.ops.similarity.block_matching` numbers them, the reference patch first, and
            how far each is from it. All panels share one scale of colours; the reference patch has
            a colour of its own.
        size: side of the patches.
        label: of the colour bar.
        width: of the figure in inches.

    Raises:
        ValueError: if there is nothing to show.
    """
    if not groups:
        raise ValueError("no groups to show")
    height, breadth = next(iter(groups.values()))[0].shape[-2:]
    panel = width / (len(groups) + 0.35)
    figure = new_figure(width, panel * height / breadth + 0.3, columns=len(groups))
    top = max(float(distances.max()) for _, _, distances in groups.values())
    colours = matplotlib.colormaps["plasma_r"]
    scale = Normalize(0, max(top, 1e-12))
    panels = list(figure.axes)
    for axes, (title, (image, indices, distances)) in zip(panels, groups.items(), strict=True):
        axes.imshow(_pixels(image, None), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        across = image.shape[-1] - size + 1
        # The nearest are drawn last, and the reference patch on top of them all.
        for index, distance in reversed(
            list(zip(indices.tolist(), distances.tolist(), strict=True))
        ):
            row, column = divmod(index, across)
            first = index == int(indices[0])
            axes.add_patch(
                Rectangle(
                    (column - 0.5, row - 0.5),
                    size,
                    size,
                    fill=False,
                    edgecolor=COLOURS[5] if first else colours(scale(distance)),
                    linewidth=2.5 if first else 1.3,
                )
            )
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    bar = figure.colorbar(ScalarMappable(scale, colours), ax=panels, shrink=0.8, pad=0.01)
    bar.set_label(label)
    return figure


def show_tradeoff(points: Mapping[str, tuple[float, float]], width: float = 8.5) -> Figure:
    """Decibels against seconds, with a line through what nothing else beats in both.

    Args:
        points: name to ``(seconds, PSNR in dB)``.
        width: of the figure in inches.
    """
    figure = new_figure(width, 0.45 * width)
    axes = figure.axes[0]
    frontier: list[tuple[float, float]] = []
    for point in sorted(points.values()):
        if not frontier or point[1] > frontier[-1][1]:
            frontier.append(point)
    axes.step(*zip(*frontier, strict=True), where="post", color="0.7", zorder=0)
    for index, (name, (seconds, decibels)) in enumerate(points.items()):
        marker = "os^Dv"[index // len(COLOURS) % 5]
        axes.plot(seconds, decibels, marker, markersize=7, label=name)
    axes.set(xscale="log", xlabel="seconds", ylabel="PSNR in dB")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    return figure
