"""Wrong answers to the exercises of lesson 16, each with the property that it breaks."""

import torch
import torch.nn.functional as F
from torch import nn

from lessons_lib.exercises.answer import FINITE, SHAPE
from lessons_lib.exercises.lesson_16 import nearest_consistent, shuffle, sr_psnr
from lessons_lib.ops.colour import rgb_to_luma
from lessons_lib.ops.resize import cubic

EVEN = "an even row stays even"
HALFWAY = "halving puts a new pixel halfway between two old ones"
WIDER = "a row that gets shorter is seen through a wider kernel"
STRAIGHT = "a straight line stays a straight line"
INSIDE = "all else does"
LUMA = "of colours only the luma counts"
CONSISTENT = "made smaller, the result is the small image"
NEARER = "no other such image is nearer"
SQUARE = "four channels of one pixel become a square, row by row"


def weights(number, pixels, scale, half=0.5, back=0.5, stretch=None, divide=True, kernel=cubic):
    """Bicubic weights with one thing wrong."""
    centre = (number + half) / scale - back
    found = kernel((centre - pixels) * (min(1.0, scale) if stretch is None else stretch(scale)))
    return found / found.sum() if divide else found


def hat(distance):
    return (1 - distance.abs()).clamp_min(0)


def sharper(distance):
    """The cubic kernel with a = −¾."""
    x, a = distance.abs(), -0.75
    inner = (a + 2) * x**3 - (a + 3) * x**2 + 1
    outer = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return torch.where(x <= 1, inner, torch.where(x <= 2, outer, 0 * x))


def upper_left(number, pixels, scale):
    """Half a pixel to the right where the row gets shorter, whatever the scale."""
    centre = number / scale + (0.5 if scale < 1 else 0.0)
    found = cubic((centre - pixels) * min(1.0, scale))
    return found / found.sum()


def psnr(estimate, clean, border, luma=rgb_to_luma, clip=True, levels=(True, True), inside=None):
    """The score with one thing wrong."""
    if estimate.shape[1] == 3:
        estimate, clean = luma(estimate), luma(clean)
    if clip:
        estimate, clean = estimate.clamp(0, 1), clean.clamp(0, 1)
    planes = [
        (255 * one).round() if whole else 255 * one
        for one, whole in zip((estimate, clean), levels, strict=True)
    ]
    height, width = clean.shape[-2:]
    chosen = inside(border) if inside else (border, height - border, border, width - border)
    top, bottom, left, right = chosen
    error = (planes[0] - planes[1])[..., top:bottom, left:right]
    return 10 * torch.log10(255**2 / error.square().mean(dim=(1, 2, 3)))


def plain_luma(rgb):
    return (rgb * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1, keepdim=True)


def first_channel(rgb):
    return rgb[:, :1]


def backwards(rgb):
    return rgb_to_luma(rgb.flip(1))


def scale_forgotten(estimate, clean, border):
    rounded = [(255 * one.clamp(0, 1)).round() / 255 for one in (estimate, clean)]
    inside = (..., slice(border, -border or None), slice(border, -border or None))
    error = (rounded[0] - rounded[1])[inside].square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(255**2 / error)


def corrected(image, small, down, across, left=torch.linalg.pinv, right=None, sign=1.0):
    """x plus something made of what is missing."""
    missing = small - down @ image @ across.mT
    back = (right or left)(across)
    return image + sign * left(down) @ missing @ back.mT


def transpose(matrix):
    return matrix.mT


def another_inverse(matrix):
    """A right inverse that is not the pseudo-inverse."""
    weight = torch.linspace(1, 3, matrix.shape[1], dtype=matrix.dtype).diag()
    return weight @ matrix.mT @ torch.linalg.inv(matrix @ weight @ matrix.mT)


def smallest(image, small, down, across):
    """The consistent image nearest to black."""
    return 0 * image + torch.linalg.pinv(down) @ small @ torch.linalg.pinv(across).mT


def unseen_only(image, small, down, across):
    seen = torch.linalg.pinv(down) @ (down @ image @ across.mT) @ torch.linalg.pinv(across).mT
    return image - seen


def half_way(image, small, down, across):
    return (image + nearest_consistent(image, small, down, across)) / 2


def first_of_batch(image, small, down, across):
    found = nearest_consistent(image, small, down, across)
    missing = (small - down @ image @ across.mT)[:1]
    return 0 * found + image + torch.linalg.pinv(down) @ missing @ torch.linalg.pinv(across).mT


def reshaped(features, scale):
    batch, channels, height, width = features.shape
    return features.reshape(batch, channels // scale**2, scale * height, scale * width)


def columns_first(features, scale):
    return shuffle(features.mT, scale).mT


def woven(features, scale):
    count = features.shape[1] // scale**2
    return shuffle(features.unflatten(1, (-1, count)).transpose(1, 2).flatten(1, 2), scale)


def mixed_batch(features, scale):
    return shuffle(features, scale).flip(0)


def as_tiles(features, scale):
    """The channels side by side, as whole little pictures."""
    cells = features.unflatten(1, (-1, scale, scale))
    return cells.permute(0, 1, 2, 4, 3, 5).flatten(4, 5).flatten(2, 3)


WRONG = {
    "sr.weights": [
        (lambda *a: weights(*a, half=0.0, back=0.0), HALFWAY, "half a pixel"),
        (lambda *a: weights(*a, half=0.5, back=0.0), "a row that keeps its length stays as it is"),
        (lambda *a: weights(*a, divide=False), EVEN, "sum to"),
        (lambda *a: weights(*a, stretch=lambda s: 1.0), WIDER, "stretched"),
        (lambda *a: weights(*a, stretch=lambda s: min(1.0, s) ** 2), WIDER),
        (
            lambda *a: weights(*a, stretch=lambda s: s),
            "a row that gets longer is seen through the kernel as it is",
            "squeezed",
        ),
        (lambda *a: weights(*a, kernel=hat), WIDER),
        (lambda *a: weights(*a, kernel=sharper), STRAIGHT),
        (upper_left, STRAIGHT, "where does the new pixel lie"),
        (lambda *a: weights(*a).softmax(0), "a row that keeps its length stays as it is"),
    ],
    "sr.psnr": [
        (scale_forgotten, "one level off everywhere is 48.13 dB"),
        (lambda x, t, b: 2 * psnr(x, t, b), "one level off everywhere is 48.13 dB"),
        (lambda *a: psnr(*a, levels=(False, True)), "an estimate has the levels of a file"),
        (lambda *a: psnr(*a, levels=(True, False)), "so has the clean image"),
        (lambda *a: psnr(*a, clip=False), "a file has nothing below black and above white"),
        (
            lambda x, t, b: psnr(x, t, b, inside=lambda b: (b, 8, b, 8)),
            "the border does not count",
        ),
        (
            lambda x, t, b: psnr(x, t, 0),
            "the border does not count",
        ),
        (lambda x, t, b: psnr(x, t, b + 1 if b == 3 else b), FINITE),
        (lambda x, t, b: psnr(x, t, b, inside=lambda b: (b, -b, b, -b)), FINITE, "x[..., 0:-0]"),
        (lambda *a: psnr(*a, luma=plain_luma), LUMA, "from 16 to 235"),
        (lambda *a: psnr(*a, luma=first_channel), LUMA),
        (lambda *a: psnr(*a, luma=backwards), LUMA),
        (lambda *a: sr_psnr(*a).mean(), SHAPE),
    ],
    "sr.nearest_consistent": [
        (lambda *a: corrected(*a, left=transpose), CONSISTENT, "not the identity"),
        (lambda *a: corrected(*a, sign=-1.0), CONSISTENT, "which sign"),
        (lambda x, y, d, a: x, CONSISTENT, "any say"),
        (half_way, CONSISTENT),
        (unseen_only, CONSISTENT),
        (smallest, "an image that becomes the small one stays as it is", "to start from"),
        (lambda *a: corrected(*a, left=another_inverse), NEARER, "right angles"),
        (first_of_batch, CONSISTENT),
        (lambda *a: nearest_consistent(*a).sum(dim=1), SHAPE),
    ],
    "sr.shuffle": [
        (columns_first, SQUARE, "counts the rows"),
        (reshaped, "what was a pixel becomes a square at the same place", "a reshape alone"),
        (as_tiles, "what was a pixel becomes a square at the same place"),
        (woven, "four channels in a row make one channel", "side by side"),
        (mixed_batch, "the members of a batch do not mix"),
        (lambda x, s: F.interpolate(x[:, :: s**2], scale_factor=s), SQUARE),
        (lambda x, s: x.unflatten(1, (-1, s, s)), SHAPE),
        (F.pixel_shuffle, "PyTorch's own function for it is not called", "right; now with"),
        (lambda x, s: nn.PixelShuffle(s)(x), "PyTorch's own function for it is not called"),
    ],
}
