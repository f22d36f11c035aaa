"""Wrong answers to the exercises of lesson 01, each with the property that it breaks."""

import torch
import torch.nn.functional as F

from lessons_lib.exercises.answer import DTYPE, FINITE, SHAPE, UNCHANGED
from lessons_lib.ops.dictionary import dct_dictionary
from lessons_lib.ops.patches import centre, extract_patches, overlap_add, overlap_average
from lessons_lib.ops.prox import hard_threshold, soft_threshold


def windows(image, size):
    """(B, C, rows, columns, size, size)."""
    return image.unfold(2, size, 1).unfold(3, size, 1)


def positions_first(image, size):
    return extract_patches(image, size).transpose(1, 2)


def down_then_across(image, size):
    cut = windows(image, size).permute(0, 1, 4, 5, 3, 2)
    return cut.reshape(image.shape[0], image.shape[1] * size**2, -1)


def pixels_by_columns(image, size):
    cut = windows(image, size).permute(0, 1, 5, 4, 2, 3)
    return cut.reshape(image.shape[0], image.shape[1] * size**2, -1)


def channels_alternate(image, size):
    cut = windows(image, size).permute(0, 4, 5, 1, 2, 3)
    return cut.reshape(image.shape[0], image.shape[1] * size**2, -1)


def misses_the_last(image, size):
    return F.unfold(image[..., :-1, :-1], size)


def first_image_only(image, size):
    return extract_patches(image[:1], size).expand(image.shape[0], -1, -1)


def divides_by_size(patches, shape, size):
    return overlap_add(patches, shape, size) / size**2


def only_sums(patches, shape, size):
    return overlap_add(patches, shape, size)


def exchanges_rows_and_columns(patches, shape, size):
    turned = patches.unflatten(1, (-1, size, size)).transpose(2, 3).flatten(1, 3)
    return overlap_average(turned, shape, size)


def last_one_wins(patches, shape, size):
    image = patches.new_zeros(patches.shape[0], patches.shape[1] // size**2, *shape)
    across = shape[1] - size + 1
    for n in range(patches.shape[2]):
        i, j = n // across, n % across
        block = patches[:, :, n].unflatten(1, (-1, size, size))
        image[:, :, i : i + size, j : j + size] = block
    return image


def mean_over_the_batch(patches, shape, size):
    mixed = patches.mean(dim=0, keepdim=True).expand_as(patches)
    return overlap_average(mixed, shape, size)


def mean_of_channels(patches, shape, size):
    result = overlap_average(patches, shape, size)
    return result.mean(dim=1, keepdim=True).expand_as(result)


def counts_what_is_not_zero(patches, shape, size):
    counts = overlap_add((patches != 0).to(patches), shape, size)
    return overlap_add(patches, shape, size) / counts.clamp_min(1)


def in_place(z, threshold):
    z[z.abs() <= threshold] = 0
    return z


def denoise(noisy, threshold, size, stride, prox=hard_threshold, keep=True, scale=1.0):
    basis = dct_dictionary(size, size**2)
    patches = extract_patches(noisy, size, stride)
    centred, mean = centre(patches) if keep else (patches, 0)
    kept = prox(basis.T @ centred, scale * threshold)
    return overlap_average(basis @ kept + mean, noisy.shape[-2:], size, stride)


def transposed(noisy, threshold, size, stride):
    basis = dct_dictionary(size, size**2)
    centred, mean = centre(extract_patches(noisy, size, stride))
    kept = hard_threshold(basis @ centred, threshold)
    return overlap_average(basis.T @ kept + mean, noisy.shape[-2:], size, stride)


def forgets_to_return_to_pixels(noisy, threshold, size, stride):
    basis = dct_dictionary(size, size**2)
    centred, mean = centre(extract_patches(noisy, size, stride))
    kept = hard_threshold(basis.T @ centred, threshold)
    return overlap_average(kept + mean, noisy.shape[-2:], size, stride)


def thresholds_pixels(noisy, threshold, size, stride):
    centred, mean = centre(extract_patches(noisy, size, stride))
    kept = hard_threshold(centred, threshold)
    return overlap_average(kept + mean, noisy.shape[-2:], size, stride)


def forgets_the_mean(noisy, threshold, size, stride):
    basis = dct_dictionary(size, size**2)
    centred, _ = centre(extract_patches(noisy, size, stride))
    kept = hard_threshold(basis.T @ centred, threshold)
    return overlap_average(basis @ kept, noisy.shape[-2:], size, stride)


def always_overlaps(noisy, threshold, size, stride):
    return denoise(noisy, threshold, size, 1)


def sums(noisy, threshold, size, stride):
    basis = dct_dictionary(size, size**2)
    centred, mean = centre(extract_patches(noisy, size, stride))
    kept = hard_threshold(basis.T @ centred, threshold)
    return overlap_add(basis @ kept + mean, noisy.shape[-2:], size, stride) / size**2


def leaves_the_border(noisy, threshold, size, stride):
    """Cuts with `F.unfold`, which stops where the next patch would not fit."""
    basis, shape = dct_dictionary(size, size**2), tuple(noisy.shape[-2:])
    patches = F.unfold(noisy, size, stride=stride)
    centred, mean = centre(patches)
    estimate = basis @ hard_threshold(basis.T @ centred, threshold) + mean
    counts = F.fold(torch.ones_like(patches), shape, size, stride=stride)
    return F.fold(estimate, shape, size, stride=stride) / counts


def factor(measured, sigma):
    return (1 - sigma**2 / measured.clamp_min(1e-30)).clamp(0, 1)


NOISE_ONLY = "a wave with nothing but noise is dropped"
HALF = "as much picture as noise: the factor is one half"
CONSTANT = "a constant image stays as it is"
ONE_PATCH = "one patch: its DCT is the old one, without its small entries"
INSIDE_OUT = "patches cut from an image give that image back"
NOTHING = "threshold 0 changes nothing"

WRONG = {
    "patches.extract": [
        (positions_first, SHAPE),
        (misses_the_last, "runs without an error"),
        (lambda image, size: F.unfold(image, size, stride=size), SHAPE),
        (lambda image, size: F.unfold(image, size, padding=1), SHAPE),
        (down_then_across, "patches of one pixel are the pixels, row by row"),
        (pixels_by_columns, "a patch as large as the image is the image, row by row"),
        (first_image_only, "images of a batch do not mix"),
        (
            channels_alternate,
            "within a patch come the channels one after the other",
            "before the second one starts",
        ),
        (
            lambda image, size: centre(extract_patches(image, size))[0],
            "a patch as large as the image is the image, row by row",
        ),
    ],
    "patches.average": [
        (divides_by_size, INSIDE_OUT, "in the corner"),
        (only_sums, INSIDE_OUT, "divided by their number"),
        (exchanges_rows_and_columns, INSIDE_OUT, "where its pixel was"),
        (last_one_wins, "at each pixel, the mean of its estimates", "do all of them count"),
        (counts_what_is_not_zero, "an estimate of 0 counts like any other", "are patches counted"),
        (mean_of_channels, "channels do not mix", "two channels"),
        (mean_over_the_batch, "images of a batch do not mix"),
        (lambda p, shape, size: overlap_average(p, shape, size)[0, 0], SHAPE),
        (lambda p, shape, size: overlap_average(p, shape, size).double(), DTYPE),
    ],
    "prox.hard_threshold": [
        (soft_threshold, "large entries are kept exactly"),
        (lambda z, t: z * (z.abs() <= t), "large entries are kept exactly"),
        (lambda z, t: z * (z > t), "only the magnitude decides, not the sign"),
        (lambda z, t: z * (z.abs() > t / 2), "small entries become zero", "is an entry dropped"),
        (lambda z, t: z * ((z.abs() - t) / (z.abs() - t).abs()).clamp_min(0), FINITE, "divided by"),
        (lambda z, t: z * (z.square() > t), "is a minimiser of ½(u − z)² + ½ threshold² for u ≠ 0"),
        (lambda z, t: (z.abs() > t).to(z), "large entries are kept exactly"),
        (lambda z, t: z[z.abs() > t], SHAPE),
        (in_place, UNCHANGED),
    ],
    "denoise.dct": [
        (transposed, ONE_PATCH, "the codes that are thresholded"),
        (forgets_to_return_to_pixels, NOTHING, "which of the two takes the transpose"),
        (forgets_the_mean, CONSTANT, "where does the mean of a patch go"),
        (sums, CONSTANT, "at the border"),
        (leaves_the_border, FINITE, "reach the border"),
        (
            lambda noisy, t, size, stride: denoise(noisy, 0.0, size, stride),
            "a huge threshold leaves the mean of each patch",
        ),
        (lambda *a: denoise(*a, keep=False), "a brighter image gives an equally brighter estimate"),
        (thresholds_pixels, ONE_PATCH, "the codes that are thresholded"),
        (lambda *a: denoise(*a, prox=soft_threshold), ONE_PATCH, "is the threshold hard"),
        (lambda *a: denoise(*a, scale=3.0), ONE_PATCH, "by the given number"),
        (always_overlaps, "a huge threshold leaves the mean of each patch", "with the stride"),
        (lambda noisy, t, size, stride: extract_patches(noisy, size, stride), SHAPE),
        (lambda noisy, t, size, stride: denoise(noisy, t, size, stride).squeeze(), SHAPE),
    ],
    "shrinkage.best_factor": [
        (lambda m, s: m / (m + s**2), NOISE_ONLY, "does yours, twice"),
        (lambda m, s: 1 - s**2 / m, "the factor is between 0 and 1", "may come out below σ²"),
        (
            lambda m, s: (m - s**2).clamp_min(0) / m,
            FINITE,
            "what is 0 divided by",
        ),
        (
            lambda m, s: (1 - s**2 / m).abs().clamp_max(1),
            "the factor is between 0 and 1",
            "may come out below σ²",
        ),
        (lambda m, s: factor(m, s).sqrt(), HALF, "or their roots"),
        (lambda m, s: (1 - s / m.sqrt().clamp_min(1e-9)).clamp(0, 1), HALF, "or their roots"),
        (lambda m, s: (m > s**2).to(m), HALF, "something between"),
        (
            lambda m, s: (1 - s / m.clamp_min(1e-30)).clamp(0, 1),
            "only the ratio of picture and noise counts",
            "is sigma squared",
        ),
        (lambda m, s: (1 - s**4 / m.clamp_min(1e-30)).clamp(0, 1), NOISE_ONLY, "what is left"),
        (lambda m, s: factor(m, s) ** 2, HALF, "is this where it is lowest"),
        (lambda m, s: 1 - (1 - factor(m, s)) ** 2, HALF),
        (
            lambda m, s: torch.where(m > 5 * s**2, torch.ones_like(m), factor(m, s)),
            "no other factor makes a smaller error",
            "two parts",
        ),
        (
            lambda m, s: factor(m.mean(), s).expand_as(m),
            "each wave has a factor of its own, whatever the shape",
            "depend on other waves",
        ),
        (lambda m, s: s**2 / m.clamp_min(1e-30), "without noise, everything is kept"),
        (lambda m, s: factor(m, s).double(), DTYPE),
        (lambda m, s: factor(m, s).squeeze(), SHAPE),
    ],
}
