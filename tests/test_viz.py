"""Figures: what they show is what they say; sliders: a moved handle changes the picture."""

import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from PIL import Image

from lessons_lib import data
from lessons_lib.metrics import psnr
from lessons_lib.ops.dictionary import dct_dictionary
from lessons_lib.solvers import fista, ista
from lessons_lib.viz.diagrams import show_flow
from lessons_lib.viz.figures import (
    COLOURS,
    show_dictionary,
    show_groups,
    show_histories,
    show_images,
    show_similar,
    show_tradeoff,
)
from lessons_lib.viz.widgets import explore, predict, to_png


@pytest.fixture
def photo() -> torch.Tensor:
    return data.sample("camera", size=64)


def test_panels_share_crop_and_grey_range_and_state_the_whole_images_psnr(photo):
    noisy = photo + 0.1 * torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    figure = show_images(
        {"clean": photo, "noisy": noisy}, clean=photo, crop=(10, 20, 30, 40), residual=True
    )
    titles = [axes.get_title() for axes in figure.axes]
    decibels = float(psnr(noisy.clamp(0, 1), photo))
    assert titles == ["clean", f"noisy, {decibels:.2f} dB", "", "4 × (noisy − clean)"]
    shown = [axes.images[0] for axes in figure.axes if axes.images]
    assert [image.get_clim() for image in shown] == [(0, 1)] * 3
    assert [image.get_array().shape for image in shown] == [(30, 40)] * 3
    cut = photo[0, 0, 10:40, 20:60].numpy()
    assert np.allclose(shown[0].get_array(), cut)


def test_colour_photographs_keep_their_colours():
    colour = data.sample("astronaut", gray=False, size=32)
    shown = show_images({"photo": colour}).axes[0].images[0].get_array()
    assert np.allclose(shown, colour[0].permute(1, 2, 0))


def test_many_images_wrap_into_rows(photo):
    figure = show_images({str(index): photo for index in range(6)}, columns=3)
    assert len(figure.axes) == 6
    assert figure.get_figheight() == pytest.approx(2 * (3 + 0.3))


def test_unshowable_images_are_refused(photo):
    with pytest.raises(ValueError, match="no images"):
        show_images({})
    with pytest.raises(ValueError, match="needs the clean image"):
        show_images({"a": photo}, residual=True)
    with pytest.raises(ValueError, match="expected one image"):
        show_images({"a": photo[0]})


@pytest.mark.parametrize("channels", [1, 3])
def test_every_atom_is_drawn(channels: int):
    dictionary = dct_dictionary(5, 25, channels)
    sheet = show_dictionary(dictionary, 5, channels=channels, columns=5).axes[0].images[0]
    pixels = np.asarray(sheet.get_array())
    assert pixels.shape[:2] == (channels * 5 * 6 + 1, 5 * 6 + 1)
    atom = pixels[1:6, 7:12]  # second of the first row
    expected = dictionary[:, 1].reshape(channels, 5, 5).permute(1, 2, 0)
    expected = (0.5 + 0.5 * expected / expected.abs().max()).squeeze()
    assert np.allclose(atom, expected, atol=1e-6)
    with pytest.raises(ValueError, match="are no"):
        show_dictionary(dictionary, 4, channels=channels)


def test_weights_lie_on_the_centres_of_their_patches(photo):
    weights = torch.zeros(60, 60)  # patches of 5 x 5 pixels in a picture of 64 x 64
    weights[30, 20], weights[10, 40] = 1.0, 0.5
    axes = show_similar(photo, {"weights": weights}, (30, 20), 5).axes[0]
    picture, heat = axes.images
    assert picture.get_array().shape == (64, 64)
    # Its own weight does not set the scale, and the centre of patch (10, 40) is pixel (12, 42).
    assert heat.get_clim() == (0, 0.5)
    left, right, bottom, top = heat.get_extent()
    assert (left + 40.5 * (right - left) / 60, top + 10.5 * (bottom - top) / 60) == (42, 12)
    assert heat.get_array()[10, 40] == 0.5
    frame = axes.patches[0]
    assert (*frame.get_xy(), frame.get_width()) == (19.5, 29.5, 5)
    with pytest.raises(ValueError, match="do not fit"):
        show_similar(photo, {"weights": weights}, (30, 20), 9)
    with pytest.raises(ValueError, match="no weights"):
        show_similar(photo, {}, (30, 20), 5)


def test_a_group_is_drawn_where_its_patches_are(photo):
    indices, distances = torch.tensor([0, 61, 3]), torch.tensor([0.0, 2.0, 4.0])
    nearer = distances / 4
    figure = show_groups(
        {"far": (photo, indices, distances), "near": (photo, indices, nearer)}, 5, label="distance"
    )
    far, near, bar = figure.axes
    assert [axes.get_title() for axes in (far, near)] == ["far", "near"]
    assert bar.get_ylabel() == "distance"
    # 60 patches in a row: number 61 is the second of the second row. The reference comes last.
    assert [box.get_xy() for box in far.patches] == [(2.5, -0.5), (0.5, 0.5), (-0.5, -0.5)]
    assert {box.get_width() for box in far.patches} == {5}
    edges = [[box.get_edgecolor() for box in axes.patches] for axes in (far, near)]
    assert edges[0][2] == edges[1][2]
    assert edges[0][0] != edges[1][0]
    assert bar.get_ylim() == (0, 4)
    with pytest.raises(ValueError, match="no groups"):
        show_groups({}, 5)


def test_convergence_is_drawn_against_iterations_or_seconds():
    dictionary = dct_dictionary(4, 36)
    patches = torch.randn(16, 20, generator=torch.Generator().manual_seed(0))
    histories = {
        "ISTA": ista(patches, dictionary, 0.2, max_iterations=30)[1],
        "FISTA": fista(patches, dictionary, 0.2, max_iterations=30)[1],
    }
    left, right = show_histories(histories, best=1.0).axes
    assert [line.get_label() for line in left.lines] == ["ISTA", "FISTA"]
    assert left.lines[0].get_ydata()[0] == pytest.approx(histories["ISTA"].objective[0] - 1)
    assert list(right.lines[1].get_ydata()) == histories["FISTA"].residual
    assert [line.get_color() for line in left.lines] == COLOURS[:2]
    seconds = show_histories(histories, against="seconds").axes[0].lines[0].get_xdata()
    assert list(seconds) == histories["ISTA"].seconds
    with pytest.raises(ValueError, match="against"):
        show_histories(histories, against="hours")


def draw(level: float, size: int) -> Figure:
    return show_images({"flat": torch.full((1, 1, size, size), level)}, width=1)


def test_a_diagram_draws_its_matrices_and_an_arrow_for_each_step():
    signed, share = torch.tensor([[-2.0, 1.0]]), torch.tensor([[0.0], [0.5]])
    panels = {"codes": (0, 1, signed), "image": (1, 0, share), "result": (1, 1, share)}
    arrows = {(0, 2): "W", (1, 2): "Y", (2, 0): "next", (2, 1): "up"}
    figure = show_flow(panels, arrows)
    assert [axes.get_title() for axes in figure.axes] == list(panels)
    drawn = [axes.images[0] for axes in figure.axes]
    assert np.array_equal(drawn[0].get_array(), signed.numpy())
    assert [image.get_clim() for image in drawn] == [(-2, 2), (0, 0.5), (0, 0.5)]
    assert [text.get_text() for text in figure.texts] == list(arrows.values())
    boxes = [axes.get_position() for axes in figure.axes]
    places = [a._posA_posB for a in figure.artists if isinstance(a, FancyArrowPatch)]
    for (start, end), ((x, y), (to_x, to_y)) in zip(arrows, places, strict=True):
        one, other = boxes[start], boxes[end]
        if one.y0 == other.y0:  # from one side to the facing one
            assert {round(x, 6), round(to_x, 6)} <= {
                round(side, 6) for box in (one, other) for side in (box.x0, box.x1)
            }
            assert (to_x - x) * (other.x0 - one.x0) > 0
        else:
            assert one.x0 < x < one.x1
            assert other.x0 < to_x < other.x1
            assert (to_y - y) * (other.y0 - one.y0) > 0


def test_an_arrow_joins_what_is_there():
    panels = {"codes": (0, 0, torch.ones(2, 2))}
    with pytest.raises(ValueError, match="there are 1"):
        show_flow(panels, {(0, 1): "W"})
    with pytest.raises(ValueError, match="no panels"):
        show_flow({}, {})


def test_moving_a_slider_redraws_the_picture(monkeypatch):
    monkeypatch.delenv("LESSONS_WIDGETS", raising=False)
    box = explore(draw, level=[0.0, 1.0], size=[8])
    assert box is not None
    *sliders, picture = box.children
    assert [slider.description for slider in sliders] == ["level", "size"]
    before = np.asarray(Image.open(io.BytesIO(picture.value)).convert("L"))
    sliders[0].value = 1.0
    after = np.asarray(Image.open(io.BytesIO(picture.value)).convert("L"))
    middle = (before.shape[0] * 2 // 3, before.shape[1] // 2)
    assert before[middle] == 0
    assert after[middle] == 255
    assert picture.value == to_png(draw(1.0, 8))


def test_sliders_can_be_left_out_and_need_values(monkeypatch):
    with pytest.raises(ValueError, match="no values"):
        explore(draw, level=[])
    monkeypatch.setenv("LESSONS_WIDGETS", "0")
    assert explore(draw, level=[0.0], size=[8]) is None


def test_the_line_of_a_tradeoff_joins_what_nothing_beats():
    points = {"slow": (9.0, 30.0), "quick": (0.1, 28.0), "beaten": (5.0, 27.0), "good": (1.0, 29.5)}
    axes = show_tradeoff(points).axes[0]
    line, *marks = axes.lines
    assert line.get_xydata().tolist() == [[0.1, 28.0], [1.0, 29.5], [9.0, 30.0]]
    assert {mark.get_label(): tuple(mark.get_xydata()[0]) for mark in marks} == points
    assert axes.get_xscale() == "log"


@pytest.mark.parametrize("shown", ["41 < 43 dB", "figure"])
def test_a_prediction_comes_before_the_result(shown, monkeypatch):
    asked = []

    def outcome():
        asked.append(1)
        return "b", Figure(figsize=(2, 1)) if shown == "figure" else shown

    box = predict({"a": "less", "b": "more"}, outcome)
    choice, verdict, picture = box.children
    assert choice.value is None
    assert (asked, verdict.value, picture.value) == ([], "", b"")
    choice.value = "a"
    assert "You said a; it is b: more." in verdict.value
    choice.value = "b"
    assert "As you said: more." in verdict.value
    assert len(asked) == 1, "one experiment for all choices"
    assert (picture.value[:4] == b"\x89PNG") == (shown == "figure")
    assert ("41 &lt; 43 dB" in verdict.value) == (shown != "figure")
    monkeypatch.setenv("LESSONS_WIDGETS", "0")
    assert predict({"a": "less", "b": "more"}, outcome) is None


def test_a_question_has_answers():
    with pytest.raises(ValueError, match="two answers"):
        predict({"a": "yes"}, lambda: ("a", ""))
    box = predict({"a": "yes", "b": "no"}, lambda: ("c", ""))
    with pytest.raises(ValueError, match="none of a, b"):
        box.children[0].value = "a"
