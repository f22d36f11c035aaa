"""The playground: one photograph, whatever happened to it, and up to four methods side by side.

Core widgets of ipywidgets and pictures as PNG: no extension, no interactive backend. Every control
is reached by the Tab key, in the order in which one works, and moved by the arrow keys.
"""

import io
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
from PIL import Image
from torch import Tensor

from lessons_lib import data
from lessons_lib.images import ImageError, Photo, read_image, write_image
from lessons_lib.metrics import psnr
from lessons_lib.ops.resize import imresize
from lessons_lib.viz.trials import (
    PROBLEMS,
    Case,
    Trial,
    attempt,
    differences,
    fitting,
    spoil,
    suggest,
)

# Longest side of what is restored: a photograph of some megapixels would take minutes.
SIDES = (128, 192, 256, 384, 512)
CUT, SHRINK = "its middle is cut out", "it is made smaller"
ZOOMS = (1, 2, 3, 4, 6, 8)
METHODS = 4
# Pixels along the longest side of a pane's picture, at least; the page makes it fit.
PANE = 480
NOTHING = "–"


def playground(folder: str = "restored") -> widgets.VBox | None:
    """Open a photograph, spoil it, restore it by several methods and compare them.

    Args:
        folder: where "save" writes PNG files.

    Returns:
        A widget to end a cell with, or None if the environment variable ``LESSONS_WIDGETS`` is 0.
    """
    if os.environ.get("LESSONS_WIDGETS") == "0":
        return None
    return Playground(Path(folder)).box


def fit(photo: Tensor, side: int, cut: bool) -> tuple[Tensor, str]:
    """What is used of a photograph, and a note if that is not all of it.

    Args:
        photo: ``(1, C, H, W)``.
        side: longest side of what is used.
        cut: whether to cut it out of the middle, which leaves noise as it is; else the whole is
            made smaller, which averages noise away.
    """
    height, width = photo.shape[-2:]
    if max(height, width) <= side:
        return photo, ""
    if cut:
        top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
        used = photo[..., top : top + side, left : left + side].clone()
        how = f"the {used.shape[-1]} × {used.shape[-2]} pixels in its middle are used"
    else:
        used = imresize(photo, side / max(height, width)).clamp(0, 1)
        how = f"it is made smaller, to {used.shape[-1]} × {used.shape[-2]}"
    return used, f"The photograph has {width} × {height} pixels: {how}."


def window(shape: tuple[int, int], zoom: int, across: float, down: float) -> tuple[slice, slice]:
    """Rows and columns of an ``(H, W)`` picture that are looked at.

    Args:
        shape: of the picture.
        zoom: how many times shorter the sides of what is seen are.
        across: from 0, its left edge, to 1, its right one.
        down: from 0, its upper edge, to 1, its lower one.
    """
    seen = [max(1, round(length / zoom)) for length in shape]
    first = [
        round(share * (length - part))
        for share, length, part in zip((down, across), shape, seen, strict=True)
    ]
    rows, columns = (slice(start, start + part) for start, part in zip(first, seen, strict=True))
    return rows, columns


def draw(image: Tensor, left: Tensor, part: tuple[slice, slice], split: float) -> bytes:
    """A pane as PNG: the image, and on the left of a line another.

    Args:
        image: ``(1, C, H, W)``, shown clipped to [0, 1].
        left: of the same height and width.
        part: what is seen, see `window`.
        split: where the line is, from 0 (all is the image) to 1.
    """
    pixels, other = (_bytes(picture[..., part[0], part[1]]) for picture in (image, left))
    border = round(split * pixels.shape[1])
    pixels[:, :border] = other[:, :border]
    times = max(1, math.ceil(PANE / max(pixels.shape[:2])))
    pixels = pixels.repeat(times, axis=0).repeat(times, axis=1)
    line = border * times
    if 0 < line < pixels.shape[1]:
        # Black and white, so that it is seen on whatever it crosses.
        thick = max(1, pixels.shape[1] // 300)
        pixels[:, max(0, line - thick) : line] = 0
        pixels[:, line : line + thick] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _bytes(image: Tensor) -> np.ndarray:
    """``(H, W, 3)`` of 8 bits."""
    levels = (image[0].detach().clamp(0, 1) * 255).round().byte()
    return levels.expand(3, -1, -1).permute(1, 2, 0).numpy().copy()


class Playground:
    """The controls, and what they do.

    Attributes:
        box: all of them, to be shown.
        case: what is being restored; None before a photograph could be used.
        trials: what came out, in the order of the panes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.case: Case | None = None
        self.trials: list[Trial] = []
        self._opened: dict[str, Tensor] = {}
        self._notes: list[str] = []
        self._make_controls()
        self._choose_problem()

    # --- what is seen ---------------------------------------------------------------------------

    def _make_controls(self) -> None:
        names = [Path(file.name).stem for file in data.entry(data.SAMPLES).files]
        self.upload = widgets.FileUpload(
            description="Open a photograph",
            accept=".png,.jpg,.jpeg,.tif,.tiff,.webp,.bmp",
            layout=widgets.Layout(width="auto"),
        )
        self.path = widgets.Text(
            description="or its path",
            placeholder="on the kernel's machine",
            continuous_update=False,
            style=STYLE,
        )
        self.photo = _dropdown("photograph", names, "chelsea")
        self.side = _dropdown("longest side", [(f"{side} pixels", side) for side in SIDES], 256)
        self.shrink = _dropdown("if it is larger", [CUT, SHRINK])
        self.gray = _checkbox("in grey")
        self.problem = _dropdown("what happens", [(problem.label, problem) for problem in PROBLEMS])
        self.value = _dropdown("how much", [NOTHING])
        self.methods = [_dropdown(f"method {1 + index}", [NOTHING]) for index in range(METHODS)]
        self.run = widgets.Button(description="Restore", button_style="primary")
        self.progress = widgets.FloatProgress(
            max=1.0, description="", layout=widgets.Layout(visibility="hidden")
        )
        self.messages = widgets.Output()
        self.left = _dropdown("left of the line", [NOTHING])
        self.split = _slider("line, %", 50)
        self.zoom = widgets.SelectionSlider(
            description="zoom",
            options=[(f"{zoom} ×", zoom) for zoom in ZOOMS],
            style=STYLE,
            layout=SLIDER,
        )
        self.across, self.down = _slider("across, %", 50), _slider("down, %", 50)
        self.residual = _checkbox("differences instead, 4 ×")
        self.save = widgets.Button(description="Save as PNG")
        self.panes = widgets.GridBox(
            layout=widgets.Layout(
                grid_template_columns="repeat(auto-fill, minmax(230px, 1fr))", grid_gap="8px"
            )
        )
        self._react()
        row = widgets.Layout(flex_flow="row wrap", align_items="center")

        def together(*controls: widgets.Widget) -> widgets.Box:
            return widgets.Box(controls, layout=row)

        self.box = widgets.VBox(
            [
                _heading("1 · A photograph"),
                together(self.upload, self.path),
                together(self.photo, self.gray, self.side, self.shrink),
                _heading("2 · A degradation, or none"),
                together(self.problem, self.value),
                _heading("3 · Two to four methods"),
                together(*self.methods),
                together(self.run, self.progress),
                self.messages,
                _heading("4 · Compare"),
                together(self.left, self.split, self.residual),
                together(self.zoom, self.across, self.down, self.save),
                self.panes,
            ]
        )

    def _react(self) -> None:
        self.upload.observe(self._take_upload, names="value")
        self.path.observe(self._take_path, names="value")
        for control in (self.photo, self.gray, self.side, self.shrink):
            control.observe(self._spoil, names="value")
        self.problem.observe(self._choose_problem, names="value")
        self.value.observe(self._spoil, names="value")
        self.run.on_click(self._restore)
        for control in (
            self.left,
            self.split,
            self.zoom,
            self.across,
            self.down,
            self.residual,
        ):
            control.observe(self._draw, names="value")
        self.save.on_click(self._save)

    def say(self, *lines: str) -> None:
        """Say what is to be known, in place of what was said before."""
        text = "".join(f"{line}\n" for line in lines if line)
        self.messages.outputs = (
            [{"output_type": "stream", "name": "stdout", "text": text}] if text else []
        )

    @contextmanager
    def _in_one_line(self) -> Iterator[None]:
        """Whatever goes wrong is said in one line."""
        try:
            yield
        except Exception as error:
            self.say(_one_line(error))

    # --- what happens ---------------------------------------------------------------------------

    def _take_upload(self, _change: Any = None) -> None:
        if self.upload.value:
            with self._in_one_line():
                self._open(*opened(self.upload.value[0]))

    def _take_path(self, _change: Any = None) -> None:
        path = self.path.value.strip()
        if path:
            with self._in_one_line():
                self._open(Path(path).name, read_image(Path(path).expanduser()).pixels)

    def _open(self, name: str, photo: Tensor) -> None:
        """Take a photograph of one's own, and offer it from now on."""
        self._opened[name] = photo
        names = [option for option in self.photo.options if option != name]
        self.photo.unobserve(self._spoil, names="value")
        self.photo.options = [name, *names]
        self.photo.value = name
        self.photo.observe(self._spoil, names="value")
        self._spoil()

    def _choose_problem(self, _change: Any = None) -> None:
        problem = self.problem.value
        self.value.unobserve(self._spoil, names="value")
        if list(self.value.options) != list(problem.values or [NOTHING]):
            self.value.options = problem.values or [NOTHING]
            self.value.value = problem.usual or NOTHING
        self.value.description = problem.called or "how much"
        self.value.disabled = not problem.values
        self.value.observe(self._spoil, names="value")
        self._spoil()

    def _used(self) -> tuple[Tensor, str]:
        """What is used of the photograph, and a note."""
        name = self.photo.value
        if name not in self._opened:
            file = next(f for f in data.entry(data.SAMPLES).files if Path(f.name).stem == name)
            self._opened[name] = read_image(data.fetch(data.SAMPLES) / file.name).pixels
        photo, note = fit(self._opened[name], self.side.value, self.shrink.value == CUT)
        return (data.to_gray(photo) if self.gray.value else photo), note

    def _spoil(self, _change: Any = None) -> None:
        self.case, self.trials, self._notes = None, [], []
        self.say()
        with self._in_one_line():
            photo, note = self._used()
            self.case = spoil(photo, self.problem.value, self.value.value)
            names = fitting(self.case)
            begin = suggest(self.case)
            for number, method in enumerate(self.methods):
                kept = method.value
                method.options = [NOTHING, *names]
                first = begin[number] if number < len(begin) else NOTHING
                method.value = kept if kept in names else first
            self._notes = [note, *self.case.posed.notes]
            self.say(*self._notes)
        self.run.disabled = self.case is None
        self._offer_left()
        self._draw()

    def _restore(self, _button: Any = None) -> None:
        case = self.case
        if case is None:
            return
        chosen = dict.fromkeys(m.value for m in self.methods if m.value != NOTHING)
        self.trials, self.run.disabled = [], True
        self.progress.layout.visibility = "visible"
        failures = []
        try:
            for name in chosen:
                self.progress.description, self.progress.value = name, 0.0
                try:
                    self.trials.append(attempt(case, name, self._show_share))
                except Exception as error:
                    failures.append(_one_line(error))
        finally:
            self.run.disabled, self.progress.layout.visibility = False, "hidden"
        self.say(*self._notes, *failures)
        self._offer_left()
        self._draw()

    def _show_share(self, share: float) -> None:
        self.progress.value = share

    def pictures(self) -> dict[str, tuple[Tensor, str]]:
        """Each pane's name, its picture ``(1, C, H, W)``, and what is to be said of it."""
        case = self.case
        if case is None:
            return {}
        found = {"degraded": (case.degraded, _words(case))}
        if case.clean is not None:
            found["clean"] = (case.clean, "")
        for trial in self.trials:
            found[trial.method] = (trial.estimate, _cost(trial))
        return found

    def _offer_left(self) -> None:
        """What may be seen on the left of the line."""
        kept, names = self.left.value, list(self.pictures())
        self.left.unobserve(self._draw, names="value")
        self.left.options = names or [NOTHING]
        self.left.value = kept if kept in names else self.left.options[0]
        self.left.observe(self._draw, names="value")

    def _draw(self, _change: Any = None) -> None:
        pictures = self.pictures()
        if self.case is None:
            self.panes.children = ()
            return
        reference = self.case.degraded if self.case.clean is None else self.case.clean
        shown = {name: picture for name, (picture, _) in pictures.items()}
        if self.residual.value:
            shown = {name: differences(picture, reference) for name, picture in shown.items()}
        part = window(
            (reference.shape[-2], reference.shape[-1]),
            self.zoom.value,
            self.across.value / 100,
            self.down.value / 100,
        )
        panes: list[widgets.VBox] = []
        for name, picture in shown.items():
            # The degraded and the clean one are shown whole: one knows what one compares with.
            whole = name in ("degraded", "clean")
            split = 0.0 if whole else self.split.value / 100
            png = draw(picture, shown[self.left.value], part, split)
            panes.append(_pane(name, pictures[name][1], png, self.panes.children, len(panes)))
        self.panes.children = panes

    def _save(self, _button: Any = None) -> None:
        with self._in_one_line():
            if not self.trials:
                raise ImageError("nothing is restored yet: press Restore first")
            self.folder.mkdir(parents=True, exist_ok=True)
            stem = Path(self.photo.value).stem
            names = [f"{stem}-{trial.method}.png" for trial in self.trials]
            for name, trial in zip(names, self.trials, strict=True):
                write_image(self.folder / name, Photo(trial.estimate))
            self.say(f"Saved in {self.folder.resolve()}: {', '.join(names)}")


def opened(upload: Mapping[str, Any]) -> tuple[str, Tensor]:
    """Name and pixels ``(1, C, H, W)`` of what was uploaded.

    Args:
        upload: an entry of a `FileUpload`'s value: its ``name`` and ``content``.

    Raises:
        ImageError: see `lessons_lib.images.read_image`; names the file as the user does.
    """
    # Browsers of other systems than this one may send another folder's separators along.
    name = Path(str(upload["name"]).replace("\\", "/")).name or "photograph"
    with tempfile.TemporaryDirectory(prefix="lessons-") as folder:
        path = Path(folder) / name
        path.write_bytes(bytes(upload["content"]))
        try:
            return name, read_image(path).pixels
        except ImageError as error:
            raise ImageError(str(error).replace(f"{path}", name)) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


STYLE = {"description_width": "initial"}
SLIDER = {"width": "240px"}


def _dropdown(label: str, options: list[Any], value: Any = None) -> widgets.Dropdown:
    chosen = {} if value is None else {"value": value}
    return widgets.Dropdown(
        description=label,
        options=options,
        style=STYLE,
        layout=widgets.Layout(width="auto", min_width="160px"),
        **chosen,
    )


def _slider(label: str, value: int) -> widgets.IntSlider:
    return widgets.IntSlider(value, 0, 100, description=label, style=STYLE, layout=SLIDER)


def _checkbox(label: str) -> widgets.Checkbox:
    return widgets.Checkbox(
        description=label, indent=False, layout=widgets.Layout(width="auto", margin="2px 12px")
    )


def _heading(text: str) -> widgets.HTML:
    return widgets.HTML(f"<h4 style='margin: 8px 0 0'>{text}</h4>")


def _words(case: Case) -> str:
    """What is to be said of what a method gets."""
    words = case.posed.words[1]
    if case.clean is None or case.pixels.shape != case.clean.shape:
        return words
    return f"{psnr(case.pixels.clamp(0, 1), case.clean).item():.2f} dB"


def _cost(trial: Trial) -> str:
    quality = "" if trial.psnr is None else f"{trial.psnr:.2f} dB, "
    memory = "" if trial.megabytes is None else f", {trial.megabytes:.0f} MB"
    return f"{quality}{trial.seconds:.1f} s{memory}"


def _pane(
    name: str, words: str, png: bytes, before: tuple[widgets.VBox, ...], number: int
) -> widgets.VBox:
    """A picture under its title; the widget of before, if there is one, so that nothing jumps."""
    if number < len(before):
        box = before[number]
        title, picture = box.children
    else:
        title, picture = widgets.HTML(), widgets.Image(value=png, format="png")
        picture.layout.width, picture.layout.object_fit = "100%", "contain"
        box = widgets.VBox([title, picture])
    title.value, picture.value = f"<b>{name}</b> {words}", png
    return box
