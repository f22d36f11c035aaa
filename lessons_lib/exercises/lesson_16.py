"""Exercises of lesson 16: how photographs become smaller and larger, and how that is scored."""

import math

import torch
from torch import Tensor

from lessons_lib.exercises.answer import FINITE, Answer
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.properties import (
    cause_of,
    ensure,
    ensure_batchwise,
    ensure_own_shuffle,
    likely_cause,
    same,
)
from lessons_lib.metrics import psnr
from lessons_lib.ops.colour import rgb_to_luma
from lessons_lib.ops.resize import cubic, resize_matrix


def bicubic_weights(number: int, pixels: Tensor, scale: float) -> Tensor:
    """The weights with which the pixels of a row make one pixel of the resized row.

    Keys' kernel about the place where the new pixel lies, stretched where the row gets shorter.
    Borders are not mirrored: the weights of the pixels that are given sum to 1.

    Args:
        number: of the new pixel, counted from 0.
        pixels: ``(n,)``, numbers of old pixels, counted from 0.
        scale: new length divided by old length.

    Returns:
        ``(n,)``.

    Source: Keys, *Cubic convolution interpolation for digital image processing*, 1981, with a = −½;
    stretched as MATLAB's ``imresize`` does.
    """
    centre = (number + 0.5) / scale - 0.5
    weights = cubic((centre - pixels) * min(1.0, scale))
    return weights / weights.sum()


def sr_psnr(estimate: Tensor, clean: Tensor, border: int) -> Tensor:
    """PSNR as tables of super-resolution have it: 8-bit luma without the border.

    Args:
        estimate: ``(B, 3, H, W)``, of which the luma counts, or ``(B, 1, H, W)``, which is luma;
            clipped and rounded to 8 bits here.
        clean: same shape, rounded as well.
        border: pixels on each side that do not count.

    Returns:
        ``(B,)`` in dB.
    """
    planes = [rgb_to_luma(one) if one.shape[1] == 3 else one for one in (estimate, clean)]
    height, width = clean.shape[-2:]
    inside = (..., slice(border, height - border), slice(border, width - border))
    found, wanted = ((255 * plane.clamp(0, 1)).round()[inside] for plane in planes)
    return psnr(found, wanted, data_range=255).to(found)


def nearest_consistent(image: Tensor, small: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """The image nearest to a given one among all that become a given small one.

    ``x + D⁺(y − Dx)``, where ``Dx`` is ``down @ x @ across.T``, and so ``D⁺`` has the
    pseudo-inverses of both.

    Args:
        image: x, ``(B, C, H, W)``.
        small: y, ``(B, C, h, w)``.
        down: ``(h, H)``, of independent rows.
        across: ``(w, W)``, of independent rows.

    Returns:
        ``(B, C, H, W)``.
    """
    missing = small - down @ image @ across.T
    return image + torch.linalg.pinv(down) @ missing @ torch.linalg.pinv(across).T


def shuffle(features: Tensor, scale: int) -> Tensor:
    """Make ``scale²`` channels the pixels of one that is as many times larger.

    Args:
        features: ``(B, C·scale², H, W)``.
        scale: how many times wider and higher.

    Returns:
        ``(B, C, scale·H, scale·W)``.

    Source: Shi et al., *Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network*, 2016.
    """
    cells = features.unflatten(1, (-1, scale, scale))  # (B, C, scale, scale, H, W)
    return cells.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)


WEIGHTS = Exercise("sr.weights", bicubic_weights)
ROW = torch.arange(40, dtype=torch.float64)


@WEIGHTS.holds("a row that keeps its length stays as it is")
def unchanged(answer: Answer) -> None:
    same(answer(3, ROW[:8], 1.0), (ROW[:8] == 3).double(), case="pixel 3 of 8, scale 1")


@WEIGHTS.holds("an even row stays even", cause="what should the weights sum to?")
def sums_to_one(answer: Answer) -> None:
    for scale in (1 / 2, 1 / 4, 3.0):
        found = answer(round(19 * scale), ROW, scale)
        same(found.sum(), 1.0, case=f"the sum of 40 weights, scale {scale:g}")


@WEIGHTS.holds(
    "halving puts a new pixel halfway between two old ones",
    cause="the middle of pixel 0 is half a pixel from the edge of the row, in the old row and in "
    "the new one",
)
def halfway(answer: Answer) -> None:
    found = answer(5, ROW, 0.5)
    same(found[10], found[11], case="new pixel 5, scale 1/2: the weights of pixels 10 and 11")
    same(found.argmax() in (10, 11), True, case="new pixel 5, scale 1/2: the largest weight")


@WEIGHTS.holds(
    "a row that gets shorter is seen through a wider kernel",
    cause="is the kernel stretched where the row gets shorter, and by how much?",
)
def wider(answer: Answer) -> None:
    for scale, count in ((1 / 2, 8), (1 / 4, 16)):
        used = int((answer(round(20 * scale), ROW, scale).abs() > 1e-9).sum())
        ensure(
            used == count,
            case=f"scale {scale:g}, 40 pixels",
            expected=f"{count} of them count",
            actual=f"{used} of them count",
        )


@WEIGHTS.holds("a row that gets longer is seen through the kernel as it is")
def not_narrower(answer: Answer) -> None:
    for number, scale in ((41, 2.0), (82, 4.0)):
        used = int((answer(number, ROW, scale).abs() > 1e-9).sum())
        ensure(
            used == 4,
            case=f"scale {scale:g}, 40 pixels",
            expected="4 of them count",
            actual=f"{used} of them count",
            cause="is the kernel stretched, or squeezed, where the row gets longer?",
        )


@WEIGHTS.holds(
    "a straight line stays a straight line",
    cause="where does the new pixel lie? It is 1/scale old ones wide. Or is the kernel not k?",
)
def straight(answer: Answer) -> None:
    for number, scale in ((33, 2.0), (34, 2.0), (6, 1 / 3)):
        place = (number + 0.5) / scale - 0.5
        found = (answer(number, ROW, scale) * ROW).sum()
        same(found, place, case=f"grey levels 0, 1, 2, …; new pixel {number}, scale {scale:g}")


WEIGHTS.agrees(
    lambda: [(9, ROW, 0.5), (7, ROW, 1 / 3), (50, ROW, 3.0), (3, torch.arange(12.0), 0.5)]
)


@WEIGHTS.holds("they are the rows of the library's matrix, away from its borders")
def rows_of_matrix(answer: Answer) -> None:
    for number, scale in ((9, 0.5), (5, 0.25), (41, 2.0)):
        expected = resize_matrix(40, scale)[number]
        same(answer(number, ROW, scale), expected, case=f"new pixel {number}, scale {scale:g}")


SCORE = Exercise("sr.psnr", sr_psnr)


def _levels(*levels: float, channels: int = 1) -> Tensor:
    """An image ``(1, channels, 8, 8)`` whose columns take turns with these grey levels of 255."""
    row = torch.tensor(levels).repeat(8 // len(levels)) / 255
    return row.expand(1, channels, 8, 8).clone()


@SCORE.holds("one level off everywhere is 48.13 dB")
def one_level(answer: Answer) -> None:
    found = answer(_levels(101), _levels(100), 2)
    mistakes = [
        (torch.tensor([0.0]), "are the numbers on the same scale, 0 to 1 or 0 to 255?"),
        (torch.tensor([24.065]), "is the error squared?"),
        (torch.tensor([-48.13]), "which of the two is divided by the other?"),
    ]
    same(
        found,
        48.1308,
        case="gray images of level 101 and 100, border 2",
        tolerance=1e-4,
        cause=likely_cause(found, mistakes),
    )


@SCORE.holds("an estimate has the levels of a file", cause="is the estimate rounded?")
def estimate_rounded(answer: Answer) -> None:
    expected = answer(_levels(101), _levels(100), 1)
    same(answer(_levels(101.4), _levels(100), 1), expected, case="level 101.4 for 100")


@SCORE.holds("so has the clean image", cause="is the clean image rounded?")
def clean_rounded(answer: Answer) -> None:
    expected = answer(_levels(101), _levels(100), 1)
    same(answer(_levels(101), _levels(100.4), 1), expected, case="level 101 for 100.4")


@SCORE.holds("a file has nothing below black and above white", cause="is the estimate clipped?")
def clipped(answer: Answer) -> None:
    white, black = _levels(255), _levels(0)
    for clean, over, one in ((white, 270.0, 254.0), (black, -20.0, 1.0)):
        inside = float(clean[0, 0, 0, 0] * 255)
        expected = answer(_levels(inside, one), clean, 2)
        case = f"levels {over:g} and {one:g} for {inside:g}"
        same(answer(_levels(over, one), clean, 2), expected, case=case)


@SCORE.holds("the border does not count", cause="is as much left out on all four sides?")
def border_out(answer: Answer) -> None:
    clean, estimate = _levels(100), _levels(101)
    for side in ("top", "bottom", "left", "right"):
        spoilt = estimate.clone()
        turned = spoilt if side in ("top", "bottom") else spoilt.mT
        turned[..., slice(0, 3) if side in ("top", "left") else slice(5, 8), :] = 0
        case = f"border 3, and 3 black lines at the {side}"
        same(answer(spoilt, clean, 3), answer(estimate, clean, 3), case=case)


@SCORE.holds("all else does", cause="is more left out than the border?")
def inside_counts(answer: Answer) -> None:
    clean, estimate = _levels(100), _levels(101)
    estimate[..., 3, 3] = 0
    # Four pixels count; three are off by 1 and one by 100.
    expected = 10 * math.log10(255**2 * 4 / (3 + 100**2))
    same(answer(estimate, clean, 3), expected, case="border 3, a black pixel beside it")


@SCORE.holds("with a border of 0 all of the image counts")
def no_border(answer: Answer) -> None:
    clean, estimate = torch.rand(2, 1, 6, 7), torch.rand(2, 1, 6, 7)
    with cause_of(FINITE, "with a border of 0, what is x[..., 0:-0]?"):
        found = answer(estimate, clean, 0)
    same(found, sr_psnr(estimate, clean, 0), case="two gray images of 6 × 7, border 0")


@SCORE.holds(
    "of colours only the luma counts",
    cause="Y is a weighted sum of red, green and blue, and runs from 16 to 235",
)
def luma_only(answer: Answer) -> None:
    clean = _levels(102, channels=3)
    for channel, name in enumerate(("red", "green", "blue")):
        estimate = clean.clone()
        estimate[:, channel] += 0.2
        found, expected = answer(estimate, clean, 2), sr_psnr(estimate, clean, 2)
        same(found, expected, case=f"grey of level 102, {name} by 51 levels too bright")


SCORE.agrees(
    lambda: [
        (torch.rand(2, 3, 9, 11), torch.rand(2, 3, 9, 11), 2),
        (1.4 * torch.rand(3, 1, 8, 8) - 0.2, torch.rand(3, 1, 8, 8), 0),
    ]
)


NEAREST = Exercise("sr.nearest_consistent", nearest_consistent)


def _problem(*, height: int = 6, width: int = 8) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two images ``(2, 1, height, width)``, small ones, and the two matrices, in float64."""
    down = resize_matrix(height, 0.5)
    across = torch.randn(3, width, dtype=torch.float64)
    image = torch.rand(2, 1, height, width, dtype=torch.float64)
    small = torch.rand(2, 1, height // 2, 3, dtype=torch.float64)
    return image, small, down, across


def _unseen(down: Tensor, across: Tensor) -> Tensor:
    """A random image ``(1, 1, H, W)`` of which nothing is left once it is made smaller."""
    drawn = torch.randn(1, 1, down.shape[1], across.shape[1], dtype=down.dtype)
    kept = [torch.linalg.pinv(matrix) @ matrix for matrix in (down, across)]
    return drawn - kept[0] @ drawn @ kept[1]


@NEAREST.holds("made smaller, the result is the small image")
def consistent(answer: Answer) -> None:
    image, small, down, across = _problem()
    found = answer(image, small, down, across)
    backwards = image - (found - image)
    mistakes = [
        (down @ image @ across.T, "has the small image any say in what you return?"),
        (
            down @ (image + down.T @ (small - down @ image @ across.T) @ across) @ across.T,
            "DDᵀ is not the identity: what must Dᵀ be applied to?",
        ),
    ]
    seen = down @ found @ across.T
    cause = likely_cause(seen, mistakes)
    if torch.allclose(down @ backwards @ across.T, small, atol=1e-6):
        cause = "which sign has the correction?"
    same(seen, small, case="images of 6 × 8, small ones of 3 × 3", cause=cause)


@NEAREST.holds(
    "an image that becomes the small one stays as it is",
    cause="is the image itself the place to start from?",
)
def stays(answer: Answer) -> None:
    image, _, down, across = _problem()
    small = down @ image @ across.T
    same(answer(image, small, down, across), image, case="the small image is Dx")


@NEAREST.holds(
    "what gets lost on the way to the small image is kept",
    cause="add an image that becomes black: it must be found again in the result",
)
def keeps_unseen(answer: Answer) -> None:
    image, small, down, across = _problem()
    unseen = _unseen(down, across)
    found = answer(image + unseen, small, down, across)
    same(found - answer(image, small, down, across), unseen.expand_as(image), case="D times it = 0")


@NEAREST.holds(
    "no other such image is nearer",
    cause="the correction must stand at right angles to everything that D does not see: so it is "
    "Dᵀ of something",
)
def is_nearest(answer: Answer) -> None:
    image, small, down, across = _problem()
    found = answer(image, small, down, across)
    for _ in range(5):
        unseen = _unseen(down, across)
        length = ((image - found) * unseen).sum(dim=(1, 2, 3)) / unseen.square().sum()
        rival = found + length[:, None, None, None] * unseen
        gained = (found - image).square().sum() - (rival - image).square().sum()
        ensure(
            float(gained) < 1e-8,
            case="images of 6 × 8, and another that becomes the small one",
            expected="a squared distance that no other beats",
            actual=f"the other's is smaller by {float(gained):.3g}",
        )


@NEAREST.holds("the members of a batch do not mix")
def batch(answer: Answer) -> None:
    image, small, down, across = _problem()
    together = answer(image, small, down, across)
    for i in range(2):
        alone = answer(image[i : i + 1], small[i : i + 1], down, across)
        same(together[i : i + 1], alone, case=f"image {i} of 2, and it alone")


NEAREST.agrees(lambda: [_problem(), _problem(height=10, width=5)], tolerance=1e-4)


SHUFFLE = Exercise("sr.shuffle", shuffle)


@SHUFFLE.holds("four channels of one pixel become a square, row by row")
def by_rows(answer: Answer) -> None:
    channels = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1)
    found = answer(channels, 2)
    mistakes = [(torch.tensor([[[[1.0, 3.0], [2.0, 4.0]]]]), "which of a and b counts the rows?")]
    expected = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    cause = likely_cause(found, mistakes)
    same(found, expected, case="channels 1, 2, 3, 4, scale 2", cause=cause)


@SHUFFLE.holds(
    "what was a pixel becomes a square at the same place",
    cause="a reshape alone reads memory in its old order: axes have to change places first",
)
def stays_in_place(answer: Answer) -> None:
    features = torch.arange(24.0).view(1, 4, 2, 3)
    found = answer(features, 2)
    for channel in range(4):
        row, column = divmod(channel, 2)
        case = f"channel {channel} of 4 is in every second row from {row} and column from {column}"
        same(found[:, 0, row::2, column::2], features[:, channel], case=case)


@SHUFFLE.holds("four channels in a row make one channel")
def colours_apart(answer: Answer) -> None:
    features = torch.randn(1, 8, 2, 3)
    found = answer(features, 2)
    one, other = answer(features[:, :4], 2), answer(features[:, 4:], 2)
    woven = torch.cat([answer(features[:, ::2], 2), answer(features[:, 1::2], 2)], dim=1)
    cause = likely_cause(found, [(woven, "the channels of one picture lie side by side")])
    same(found, torch.cat([one, other], dim=1), case="8 channels, scale 2", cause=cause)


@SHUFFLE.holds("the members of a batch do not mix")
def shuffle_batch(answer: Answer) -> None:
    ensure_batchwise(answer, torch.randn(3, 4, 2, 5), 2)


@SHUFFLE.holds("PyTorch's own function for it is not called")
def by_hand(answer: Answer) -> None:
    ensure_own_shuffle(answer, torch.randn(1, 8, 2, 3), 2)


SHUFFLE.agrees(lambda: [(torch.randn(2, 9, 4, 3), 3), (torch.randn(1, 8, 3, 5), 2)])
