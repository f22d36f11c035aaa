"""Wrong answers to the exercises of lesson 14, each with the property that it breaks."""

import copy
import math

import torch
from torch import nn

from lessons_lib.exercises.answer import RUNS, SHAPE, TYPE
from lessons_lib.exercises.lesson_14 import homogeneous as right_homogeneous

FLAT = "of two flat patches the brightness alone is compared"
WIDE = "a wide window counts all pixels alike"
BORDER = "what is at the border counts less than what is at the centre"
CONTRAST = "without c the estimate gets the contrast of the clean patch, however wrong it is"
FAINT = "an estimate that is clean but three times too faint is multiplied by 3"
TURNED = "an estimate with everything turned over is turned back"
SQUARE = "the upper left square becomes four channels, row by row"
BY_HAND = "PyTorch's own functions for it are not called"
ONE_SQUARE = "four phases of one pixel become a square, row by row"
BLACK = "a black picture stays black"
LINEAR = "kernels and gains stay: a linear network only loses what it adds"


def ssim(
    x,
    y,
    deviation,
    flat=False,
    half=2.0,
    two=2.0,
    c1=1e-4,
    c2=9e-4,
    light=True,
    structure=True,
    shift=0.0,
    loss=False,
    sizes=False,
):
    """SSIM at the centre with one thing wrong."""
    sides = [torch.arange(length) - (length - 1) / 2 + shift for length in x.shape[-2:]]
    rows, columns = (torch.exp(-(side**2) / (half * deviation**2)) for side in sides)
    window = rows[:, None] * columns
    window = torch.ones_like(window) if flat else window
    window = window / window.sum()

    def mean(values):
        return (window * values).sum(dim=(-2, -1), keepdim=True)

    mx, my = mean(x), mean(y)
    product = (x - mx).abs() * (y - my).abs() if sizes else (x - mx) * (y - my)
    square = mean((x - mx) ** 2) + mean((y - my) ** 2)
    found = torch.ones_like(mx)
    if light:
        found = found * (2 * mx * my + c1) / (mx**2 + my**2 + c1)
    if structure:
        found = found * (two * mean(product) + c2) / (square + c2)
    found = found.flatten()
    return 1 - found if loss else found


def not_summing_to_one(x, y, deviation):
    sides = [torch.arange(length) - (length - 1) / 2 for length in x.shape[-2:]]
    rows, columns = (torch.exp(-(side**2) / (2 * deviation**2)) for side in sides)
    window = rows[:, None] * columns / deviation

    def mean(values):
        return (window * values).sum(dim=(-2, -1), keepdim=True)

    mx, my = mean(x), mean(y)
    square = mean((x - mx) ** 2) + mean((y - my) ** 2)
    light = (2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4)
    return (light * (2 * mean((x - mx) * (y - my)) + 9e-4) / (square + 9e-4)).flatten()


def second_moments(x, y, deviation):
    """Means are not taken away."""
    sides = [torch.arange(length) - (length - 1) / 2 for length in x.shape[-2:]]
    rows, columns = (torch.exp(-(side**2) / (2 * deviation**2)) for side in sides)
    window = rows[:, None] * columns / (rows.sum() * columns.sum())
    mx, my, xx, yy, xy = (
        (window * one).sum(dim=(-2, -1)).flatten() for one in (x, y, x * x, y * y, x * y)
    )
    light = (2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4)
    return light * (2 * xy + 9e-4) / (xx + yy + 9e-4)


def whole_batch(x, y, deviation):
    return ssim(x, y, deviation).mean().expand(len(x))


def moments(estimate, clean):
    return (
        float((estimate * clean).mean()),
        float(estimate.square().mean()),
        float(clean.square().mean()),
    )


def least_squares(estimate, clean, c):
    product, own, _ = moments(estimate, clean)
    return product / own


def ratio(estimate, clean, c, power=0.5, swap=False):
    product, own, true = moments(estimate, clean)
    found = (own / true if swap else true / own) ** power
    return math.copysign(found, product)


def no_sign(estimate, clean, c):
    _, own, true = moments(estimate, clean)
    return math.sqrt(true / own)


def c_in_the_denominator_alone(estimate, clean, c):
    product, own, true = moments(estimate, clean)
    return math.copysign(math.sqrt((true + c) / own), product)


def wrong_root(estimate, clean, c):
    product, own, true = moments(estimate, clean)
    root = math.sqrt((c * own) ** 2 + 4 * product**2 * own * (true + c))
    return (-c * own + root) / (2 * abs(product) * own + 1e-12)


def divides_by_the_product(estimate, clean, c):
    product, own, true = moments(estimate, clean)
    root = math.sqrt((c * own) ** 2 + 4 * product**2 * own * (true + c))
    return (-c * own + root) / (2 * product * own)


def columns_first(image):
    phases = [image[..., r::2, c::2] for c in (0, 1) for r in (0, 1)]
    return torch.stack(phases, dim=2).flatten(1, 2)


def colours_apart(image):
    return torch.cat([image[..., r::2, c::2] for r in (0, 1) for c in (0, 1)], dim=1)


def quarters(image):
    h, w = image.shape[-2] // 2, image.shape[-1] // 2
    parts = [image[..., r : r + h, c : c + w] for r in (0, h) for c in (0, w)]
    return torch.stack(parts, dim=2).flatten(1, 2)


def reshape_alone(image):
    batch, channels, height, width = image.shape
    flat = image.reshape(batch, channels, height * width // 4, 4).mT
    return flat.reshape(batch, 4 * channels, height // 2, width // 2)


def back(phases, swap=False, apart=False):
    batch, channels, height, width = phases.shape
    if apart:
        squares = phases.reshape(batch, 2, 2, channels // 4, height, width)
        squares = squares.permute(0, 3, 1, 2, 4, 5)
    else:
        squares = phases.reshape(batch, channels // 4, 2, 2, height, width)
    if swap:
        squares = squares.transpose(2, 3)
    image = squares.permute(0, 1, 4, 2, 5, 3)
    return image.reshape(batch, channels // 4, 2 * height, 2 * width)


def side_by_side(phases):
    batch, channels, height, width = phases.shape
    squares = phases.reshape(batch, channels // 4, 2, 2, height, width)
    image = squares.permute(0, 1, 2, 4, 3, 5)
    return image.reshape(batch, channels // 4, 2 * height, 2 * width)


def bare(net, biases=True, shift=True, mean=True, gain=False, variance=False, copied=True):
    """A homogeneous network with one thing wrong."""
    found = copy.deepcopy(net) if copied else net
    for layer in found:
        if isinstance(layer, nn.Conv2d) and layer.bias is not None and biases:
            layer.bias.zero_()
        if isinstance(layer, nn.BatchNorm2d):
            if shift:
                layer.bias.zero_()
            if mean:
                layer.running_mean.zero_()
            if gain:
                layer.weight.fill_(1)
            if variance:
                layer.running_var.fill_(1)
    return found


def without_norms(net):
    return nn.Sequential(*[one for one in right_homogeneous(net) if not _is_norm(one)])


def _is_norm(layer):
    return isinstance(layer, nn.BatchNorm2d)


def first_layer_only(net):
    found = copy.deepcopy(net)
    found[0].bias.zero_()
    return found


def minus_black(net):
    found = copy.deepcopy(net)
    return lambda x: found(x) - found(torch.zeros_like(x))


class _Minus(nn.Sequential):
    def forward(self, x):
        return super().forward(x) - super().forward(torch.zeros_like(x))


def minus_black_module(net):
    return _Minus(*copy.deepcopy(net))


def nothing(net):
    return nn.Sequential(*[nn.Identity() for _ in net])


WRONG = {
    "losses.centre_ssim": [
        (lambda x, y, d: ssim(x, y, d, light=False), FLAT),
        (
            lambda x, y, d: ssim(x, y, d, structure=False),
            "a picture and its negative are compared by a negative number",
        ),
        (lambda x, y, d: ssim(x, y, d, c2=0.0), FLAT),
        (lambda x, y, d: ssim(x, y, d, two=1.0), "a patch is like itself: 1"),
        (lambda x, y, d: ssim(x, y, d, flat=True), BORDER),
        (lambda x, y, d: ssim(x, y, d, shift=3.0), BORDER),
        (lambda x, y, d: ssim(x, y, d, half=1.0), "agrees with the library", "in the exponent"),
        (lambda x, y, d: ssim(x, y, d, c2=1e-4), WIDE, "c2 to the variances"),
        (lambda x, y, d: ssim(x, y, d, loss=True), "a patch is like itself: 1"),
        (
            lambda x, y, d: ssim(x, y, d, sizes=True),
            "a picture and its negative are compared by a negative number",
            "with their signs",
        ),
        (not_summing_to_one, FLAT, "sums to 1"),
        (second_moments, FLAT),
        (whole_batch, "the members of a batch do not mix"),
        (lambda x, y, d: ssim(x, y, d)[:, None], SHAPE),
    ],
    "losses.best_gain": [
        (least_squares, CONTRAST, "squared error smallest"),
        (lambda e, x, c: ratio(e, x, c, power=1.0), FAINT, "or deviations"),
        (lambda e, x, c: ratio(e, x, c, swap=True), FAINT, "which of the two"),
        (no_sign, TURNED),
        (wrong_root, TURNED, "which of them"),
        (ratio, "no other gain has a larger cs", "know of both"),
        (c_in_the_denominator_alone, "an estimate that is right stays as it is", "at a = 1"),
        (divides_by_the_product, RUNS),
        (lambda e, x, c: 1.0, FAINT),
        (lambda e, x, c: e, TYPE),
    ],
    "noise_maps.to_phases": [
        (columns_first, SQUARE, "Row by row"),
        (quarters, SQUARE, "every second pixel"),
        (reshape_alone, SQUARE, "not squares"),
        (colours_apart, "the four phases of a colour stand together"),
        (lambda image: image[..., ::2, ::2], SHAPE),
        (lambda image: torch.pixel_unshuffle(image, 2), BY_HAND, "right; now with"),
        (nn.PixelUnshuffle(2).forward, BY_HAND, "pixel_unshuffle"),
    ],
    "noise_maps.from_phases": [
        (lambda phases: back(phases, swap=True), ONE_SQUARE, "Rows come first"),
        (lambda phases: back(phases, swap=True).mT, SHAPE),
        (side_by_side, "it undoes the way there", "comes from"),
        (lambda phases: back(phases, apart=True), "in colour, too"),
        (
            lambda phases: phases.reshape(
                len(phases), -1, 2 * phases.shape[2], 2 * phases.shape[3]
            ),
            "it undoes the way there",
        ),
        (lambda phases: torch.pixel_shuffle(phases, 2), BY_HAND, "right; now with"),
    ],
    "bias_free.homogeneous": [
        (copy.deepcopy, BLACK, "the biases"),
        (first_layer_only, BLACK, "the biases"),
        (lambda net: bare(net, shift=False), BLACK, "batch normalisation"),
        (lambda net: bare(net, mean=False), BLACK, "batch normalisation"),
        (lambda net: bare(net, gain=True), LINEAR, "is a factor"),
        (lambda net: bare(net, variance=True), LINEAR, "is a factor"),
        (without_norms, LINEAR, "is a factor"),
        (minus_black, TYPE),
        (minus_black_module, "f(a x) = a f(x)"),
        (nothing, LINEAR),
        (lambda net: bare(net, copied=False), "the network that was given is left as it was"),
    ],
}
