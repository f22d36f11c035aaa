"""Wrong answers to the exercises of lesson 13, each with the property that it breaks."""

import math

import torch
from torch import nn

from lessons_lib.exercises.answer import RUNS, SHAPE, TYPE, UNCHANGED

ORDER = "the layers come in the paper's order"
SIZE = "what comes out has the size and the channels of what goes in"
KERNELS = "17 layers of 64 channels have 554,112 weights in their kernels"
TRAINABLE = "and 556,096 numbers to train, with all that is no kernel"
NUMBERS = "with the weights of the library's layers it computes the same"
ONE = "one number: 2x, with μ = 3, v = 4, γ = 1, β = 1/2, is x − 1"
GAMMA = "γ stretches the kernel, and what the mean takes away"
OWN = "each output has its own norm"
EPSILON = "a channel without variance has ε to be divided by"
PIXEL = "without layers a value depends on its own pixel"
PAPER = "17 layers of 3 × 3 depend on 35 pixels"
DILATED = "a dilated kernel reaches from its first to its last entry"
LAST = "the stride of the last layer does not matter"
APART = "after a stride of 2, neighbours are 2 pixels apart"
MULTIPLY = "several strides multiply"
SINGLE = "a network that looks at single pixels needs no halo"
EXACT = "a halo of as many rows as there are layers gives the whole image"
MEMORY = "no more is looked at than a strip and its halo"


def layers(
    layers,
    width,
    channels,
    *,
    more=0,
    size=3,
    padding=1,
    first=True,
    biases=False,
    last=False,
    eps=1e-4,
    affine=True,
    normed=True,
    swapped=False,
    relu=False,
    mode="zeros",
):
    """The stack with one thing wrong."""
    options = {"padding": padding, "padding_mode": mode}
    modules = [nn.Conv2d(channels, width, size, bias=first, **options), nn.ReLU()]
    for _ in range(layers - 2 + more):
        after = [nn.BatchNorm2d(width, eps=eps, affine=affine)] if normed else []
        after = [nn.ReLU(), *after] if swapped else [*after, nn.ReLU()]
        modules += [nn.Conv2d(width, width, size, bias=biases, **options), *after]
    modules += [nn.Conv2d(width, channels, size, bias=last, **options)]
    return nn.Sequential(*modules, *([nn.ReLU()] if relu else []))


def nested(count, width, channels):
    flat = list(layers(count, width, channels))
    middle = [nn.Sequential(*flat[n : n + 3]) for n in range(2, len(flat) - 1, 3)]
    return nn.Sequential(*flat[:2], *middle, flat[-1])


def gray_only(count, width, channels):
    return layers(count, width, 1)


def a_list(count, width, channels):
    return list(layers(count, width, channels))


def fold(kernel, gamma, beta, mean, variance, eps):
    gain = gamma / (variance + eps).sqrt()
    return gain, kernel * gain[:, None, None, None]


def by_variance(kernel, gamma, beta, mean, variance, eps):
    gain = gamma / (variance + eps)
    return kernel * gain[:, None, None, None], beta - gain * mean


def wrong_sign(kernel, gamma, beta, mean, variance, eps):
    gain, folded = fold(kernel, gamma, beta, mean, variance, eps)
    return folded, beta + gain * mean


def mean_as_it_is(kernel, gamma, beta, mean, variance, eps):
    return fold(kernel, gamma, beta, mean, variance, eps)[1], beta - mean


def mean_without_gamma(kernel, gamma, beta, mean, variance, eps):
    folded = fold(kernel, gamma, beta, mean, variance, eps)[1]
    return folded, beta - mean / (variance + eps).sqrt()


def no_beta(kernel, gamma, beta, mean, variance, eps):
    gain, folded = fold(kernel, gamma, beta, mean, variance, eps)
    return folded, -gain * mean


def by_inputs(kernel, gamma, beta, mean, variance, eps):
    gain = gamma / (variance + eps).sqrt()
    if kernel.shape[0] == kernel.shape[1]:
        return kernel * gain[:, None, None], beta - gain * mean
    return kernel * gain[:, None, None, None], beta - gain * mean


def last_axis(kernel, gamma, beta, mean, variance, eps):
    gain = gamma / (variance + eps).sqrt()
    return kernel * gain, beta - gain * mean


def epsilon_outside(kernel, gamma, beta, mean, variance, eps):
    gain = gamma / (variance.sqrt() + eps)
    return kernel * gain[:, None, None, None], beta - gain * mean


def no_epsilon(kernel, gamma, beta, mean, variance, eps):
    return fold(kernel, gamma, beta, mean, variance, 0 * eps)[1], beta


def in_place(kernel, gamma, beta, mean, variance, eps):
    gain = gamma / (variance + eps).sqrt()
    kernel *= gain[:, None, None, None]
    return kernel, beta - gain * mean


def bias_as_column(kernel, gamma, beta, mean, variance, eps):
    gain, folded = fold(kernel, gamma, beta, mean, variance, eps)
    return folded, (beta - gain * mean)[:, None]


def side(kernels, strides, dilations, *, start=1, own=False, dilate=True, spread=True, edge=1):
    """The receptive field with one thing wrong."""
    found, step = start, 1
    for kernel, stride, dilation in zip(kernels, strides, dilations, strict=True):
        step *= stride if own else 1
        found += (dilation if dilate else 1) * (kernel - edge) * (step if spread else 1)
        step *= 1 if own else stride
    return found


def product(kernels, strides, dilations):
    return math.prod(kernels)


def from_the_end(kernels, strides, dilations):
    return side(kernels[::-1], strides[::-1], dilations[::-1])


def stretched(kernels, strides, dilations):
    found, step = 1, 1
    for kernel, stride, dilation in zip(kernels, strides, dilations, strict=True):
        found += (dilation * kernel - 1) * step
        step *= stride
    return found


def strides_add(kernels, strides, dilations):
    found, step = 1, 1
    for kernel, stride, dilation in zip(kernels, strides, dilations, strict=True):
        found += dilation * (kernel - 1) * step
        step += stride - 1
    return found


def one_stride_back(kernels, strides, dilations):
    found = 1
    for kernel, stride, dilation in zip(kernels, [1, *strides], dilations, strict=False):
        found += dilation * (kernel - 1) * stride
    return found


def at_once(network, noisy, rows, halo):
    return network(noisy)


def strips(network, noisy, rows, halo, *, above=True, below=True, keep=None, extra=0):
    """Strips with one thing wrong."""
    height, found = noisy.shape[-2], []
    for top in range(0, height, rows):
        first = max(0, top - halo - extra) if above else top
        last = min(height, top + rows + halo + extra) if below else min(height, top + rows)
        part = network(noisy[..., first:last, :])
        start = (top - first) if keep is None else keep
        found.append(part[..., start : start + rows, :])
    return torch.cat(found, dim=-2)


def keeps_the_halo(network, noisy, rows, halo):
    height, found = noisy.shape[-2], []
    for top in range(0, height, rows):
        found.append(network(noisy[..., max(0, top - halo) : top + rows + halo, :]))
    return torch.cat(found, dim=-2)


def always_the_halo(network, noisy, rows, halo):
    return strips(network, noisy, rows, halo, keep=halo)


def padded(network, noisy, rows, halo):
    """Zeros beyond the border, as if the picture went on there."""
    height = noisy.shape[-2]
    wide = torch.nn.functional.pad(noisy, (0, 0, halo, halo + rows))
    found = [
        network(wide[..., top : top + rows + 2 * halo, :])[..., halo : halo + rows, :]
        for top in range(0, height, rows)
    ]
    return torch.cat(found, dim=-2)[..., :height, :]


def whole_strips_only(network, noisy, rows, halo):
    height = noisy.shape[-2] // rows * rows
    if not height:
        return network(noisy)
    return strips(network, noisy[..., :height, :], rows, halo)


def columns(network, noisy, rows, halo):
    return strips(network, noisy.mT, rows, halo).mT


def half_a_halo(network, noisy, rows, halo):
    return strips(network, noisy, rows, halo // 2)


WRONG = {
    "dncnn.layers": [
        (lambda *a: layers(*a, normed=False), ORDER, "are normalised"),
        (lambda *a: layers(*a, swapped=True), ORDER, "which comes first"),
        (lambda *a: layers(*a, relu=True), ORDER, "both signs"),
        (lambda *a: layers(*a, more=2), ORDER, "count, too"),
        (nested, ORDER, "is flat"),
        (a_list, TYPE),
        (lambda *a: layers(*a, padding=0), SIZE, "padding?"),
        (gray_only, SIZE, "how many channels"),
        (lambda *a: layers(*a, size=5, padding=2), KERNELS, "not 5 × 5"),
        (lambda *a: layers(*a, biases=True), TRAINABLE, "needs no bias"),
        (lambda *a: layers(*a, biases=True, last=True), TRAINABLE, "needs no bias"),
        (lambda *a: layers(*a, last=True), TRAINABLE, "the last convolution"),
        (lambda *a: layers(*a, first=False), TRAINABLE, "the first convolution"),
        (lambda *a: layers(*a, affine=False), TRAINABLE, "a γ and a β"),
        (lambda *a: layers(*a, eps=1e-5), NUMBERS, "ε"),
        (lambda *a: layers(*a, mode="reflect"), NUMBERS, "zeros"),
    ],
    "dncnn.fold": [
        (by_variance, ONE, "or by its root"),
        (wrong_sign, ONE, "which sign"),
        (mean_as_it_is, ONE, "as well"),
        (no_beta, ONE, "is β added"),
        (mean_without_gamma, GAMMA, "where does γ stand"),
        (by_inputs, OWN, "counts its outputs"),
        (last_axis, RUNS),
        (epsilon_outside, EPSILON, "where does ε stand"),
        (no_epsilon, ONE),
        (in_place, UNCHANGED),
        (bias_as_column, SHAPE),
    ],
    "dncnn.field_side": [
        (lambda *a: side(*a, start=0), PIXEL, "no layers"),
        (product, PAPER, "do not multiply"),
        (lambda *a: side(*a, edge=0), "one layer depends on what its kernel covers"),
        (lambda k, s, d: 1 + len(k) if k else 1, "one layer depends on what its kernel covers"),
        (lambda *a: side(*a, dilate=False), DILATED, "what does the dilation do"),
        (stretched, DILATED),
        (lambda *a: side(*a, own=True), LAST, "does not concern it"),
        (from_the_end, LAST),
        (lambda *a: side(*a, spread=False), APART, "how many pixels of the image"),
        (strides_add, MULTIPLY, "how far apart"),
        (one_stride_back, MULTIPLY, "how far apart"),
    ],
    "dncnn.by_strips": [
        (at_once, MEMORY, "a halo above and below"),
        (lambda *a: strips(*a, below=False), EXACT, "above and below"),
        (lambda *a: strips(*a, above=False), EXACT, "above and below"),
        (lambda *a: strips(*a, keep=0), SINGLE, "which rows"),
        (lambda *a: strips(*a, extra=1), MEMORY),
        (always_the_halo, SINGLE, "which rows"),
        (keeps_the_halo, SHAPE),
        (padded, "a strip that holds all is the whole image"),
        (whole_strips_only, SHAPE),
        (half_a_halo, EXACT),
        (columns, "a strip that holds all is the whole image"),
    ],
}
