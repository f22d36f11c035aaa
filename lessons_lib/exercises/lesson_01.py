"""Exercises of lesson 01: patches, their average, thresholding, a denoiser, the best factor."""

import torch
from torch import Tensor

from lessons_lib.exercises.answer import FINITE, Answer, describe
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.properties import (
    cause_of,
    ensure,
    ensure_batchwise,
    ensure_minimal,
    likely_cause,
    same,
)
from lessons_lib.ops import prox
from lessons_lib.ops.dictionary import dct_dictionary
from lessons_lib.ops.patches import (
    centre,
    extract_patches,
    overlap_average,
    patch_counts,
)


def dct_denoise(noisy: Tensor, threshold: float, size: int, stride: int) -> Tensor:
    """Hard thresholding of the DCT of every patch; patch means are kept as they are."""
    shape = (noisy.shape[-2], noisy.shape[-1])
    basis = dct_dictionary(size, size**2).to(noisy)
    centred, mean = centre(extract_patches(noisy, size, stride))
    kept = prox.hard_threshold(basis.T @ centred, threshold)
    return overlap_average(basis @ kept + mean, shape, size, stride)


def best_factor(measured: Tensor, sigma: float) -> Tensor:
    """Gain in [0, 1] of the Wiener filter, from mean squares of noisy coefficients.

    ``E(g(α + η) − α)² = (1 − g)² Eα² + g² σ²`` is smallest at ``g = Eα² / (Eα² + σ²)``; the sum
    below the line is what was measured, and ``Eα²`` is what it exceeds σ² by, if it does. Where
    nothing was measured, the factor is 0.
    """
    excess = (measured - sigma**2).clamp_min(0)
    return excess / measured.clamp_min(torch.finfo(measured.dtype).tiny)


def _numbered(height: int, width: int) -> Tensor:
    """``(1, 1, H, W)`` whose pixels are numbered row by row."""
    return torch.arange(float(height * width)).view(1, 1, height, width)


EXTRACT = Exercise("patches.extract", extract_patches)


@EXTRACT.holds("a patch as large as the image is the image, row by row")
def whole(answer: Answer) -> None:
    same(
        answer(_numbered(3, 3), 3)[0, :, 0],
        torch.arange(9.0),
        case="pixels 0 … 8, size 3",
        cause="in which order do the pixels of a patch run?",
    )


@EXTRACT.holds("patches of one pixel are the pixels, row by row")
def single_pixels(answer: Answer) -> None:
    same(
        answer(_numbered(2, 4), 1)[0, 0],
        torch.arange(8.0),
        case="2 x 4 pixels, size 1",
        cause="in which order do the positions run?",
    )


@EXTRACT.holds("images of a batch do not mix")
def batch_of_images(answer: Answer) -> None:
    ensure_batchwise(answer, torch.rand(2, 1, 5, 4), 3)


@EXTRACT.holds("within a patch come the channels one after the other")
def channels_in_order(answer: Answer) -> None:
    image = torch.cat([_numbered(2, 2), 10 + _numbered(2, 2)], dim=1)
    same(
        answer(image, 2)[0, :, 0],
        torch.tensor([0.0, 1, 2, 3, 10, 11, 12, 13]),
        case="2 x 2 pixels, channels 0 … 3 and 10 … 13, size 2",
        cause="is the first channel complete before the second one starts?",
    )


EXTRACT.agrees(
    lambda: [(torch.rand(2, 1, 7, 5), 3), (torch.rand(1, 1, 9, 8), 8), (torch.rand(1, 2, 6, 6), 2)]
)


AVERAGE = Exercise("patches.average", overlap_average)


@AVERAGE.holds("patches cut from an image give that image back")
def inverts_extraction(answer: Answer) -> None:
    image = torch.rand(1, 1, 7, 6)
    result = answer(extract_patches(image, 3), (7, 6), 3)
    same(
        result[..., 2:-2, 2:-2],
        image[..., 2:-2, 2:-2],
        case="7 x 6 pixels, size 3, inside",
        cause="is every estimate added where its pixel was, and the sum divided by their number?",
    )
    same(
        result,
        image,
        case="7 x 6 pixels, size 3, up to the border",
        cause="how many patches hold a pixel in the corner?",
    )


@AVERAGE.holds("at each pixel, the mean of its estimates")
def mean_of_estimates(answer: Answer) -> None:
    patches = torch.tensor([[[1.0, 5.0], [3.0, 9.0], [1.0, 5.0], [3.0, 9.0]]])
    expected = torch.tensor([1.0, 4.0, 9.0]).expand(1, 1, 2, 3)
    same(
        answer(patches, (2, 3), 2),
        expected,
        case="2 x 3 pixels, size 2: the middle column is estimated as 3 and as 5",
        cause="where a pixel has several estimates, do all of them count alike?",
    )


@AVERAGE.holds(
    "an estimate of 0 counts like any other",
    cause="are patches counted, or numbers that are not 0?",
)
def zeros_count(answer: Answer) -> None:
    patches = torch.zeros(1, 4, 2)
    same(answer(patches, (2, 3), 2), 0.0, case="2 x 3 pixels, size 2, all estimates 0")
    patches[..., 1] = 4.0
    same(
        answer(patches, (2, 3), 2),
        torch.tensor([0.0, 2.0, 4.0]).expand(1, 1, 2, 3),
        case="2 x 3 pixels, size 2: the middle column is estimated as 0 and as 4",
        cause="are patches counted, or numbers that are not 0?",
    )


@AVERAGE.holds("times the counts, it is the adjoint of extraction")
def adjoint(answer: Answer) -> None:
    image, patches = torch.rand(1, 1, 6, 8), torch.randn(1, 9, 24)
    summed = patch_counts((6, 8), 3) * answer(patches, (6, 8), 3)
    same(
        (summed * image).sum(),
        (patches * extract_patches(image, 3)).sum(),
        case="⟨counts · average(p), x⟩ and ⟨p, extract(x)⟩, 6 x 8 pixels, size 3",
        cause="does each patch return to the pixels that it was cut from?",
    )


@AVERAGE.holds("images of a batch do not mix")
def batch_of_averages(answer: Answer) -> None:
    ensure_batchwise(answer, torch.rand(2, 4, 12), (4, 5), 2)


@AVERAGE.holds("channels do not mix", cause="a patch of two channels is twice as long")
def channels_apart(answer: Answer) -> None:
    image = torch.rand(1, 2, 5, 6)
    same(answer(extract_patches(image, 3), (5, 6), 3), image, case="2 channels of 5 x 6 pixels")


AVERAGE.agrees(
    lambda: [
        (torch.randn(2, 9, 20), (6, 7), 3),
        (torch.randn(1, 64, 9), (10, 10), 8),
        (torch.randn(1, 18, 12), (5, 6), 3),
    ]
)


HARD = Exercise("prox.hard_threshold", prox.hard_threshold)


@HARD.holds("large entries are kept exactly")
def keeps(answer: Answer) -> None:
    z = torch.tensor([1.5, 4.0, 1.01])
    same(
        answer(z, 1.0),
        z,
        case="z = [1.5, 4, 1.01], threshold 1",
        cause="are the large entries those that stay, and exactly as they are?",
    )


@HARD.holds("small entries become zero")
def removes(answer: Answer) -> None:
    same(
        answer(torch.tensor([0.5, 0.0, 0.99]), 1.0),
        0.0,
        case="z = [0.5, 0, 0.99], threshold 1",
        cause="up to which size is an entry dropped?",
    )


@HARD.holds("only the magnitude decides, not the sign")
def odd(answer: Answer) -> None:
    z = torch.linspace(-2, 2, 8)
    same(
        answer(-z, 0.7),
        -answer(z, 0.7),
        case="z and −z, threshold 0.7",
        cause="what happens to large negative entries?",
    )


@HARD.holds("threshold 0 changes nothing")
def threshold_zero(answer: Answer) -> None:
    z = torch.tensor([0.5, 0.0, -2.0])
    with cause_of(FINITE, "what is 0 divided by here?"):
        same(answer(z, 0.0), z, case="z = [0.5, 0, -2], threshold 0")


@HARD.holds("is a minimiser of ½(u − z)² + ½ threshold² for u ≠ 0")
def minimal(answer: Answer) -> None:
    for z in torch.linspace(-3, 3, 14).split(1):

        def objective(u: Tensor, z: Tensor = z) -> Tensor:
            return 0.5 * (u - z).square().sum() + prox.l0_penalty(u, 0.5 * 1.2**2)

        ensure_minimal(
            objective,
            answer(z, 1.2),
            case=f"z = {z.item():.3g}, threshold 1.2",
            cause="at which |z| do keeping and zero cost the same?",
        )


HARD.agrees(lambda: [(torch.randn(2, 5, 7), 0.8), (torch.randn(4, 3), 0.0), (torch.randn(9), 3.0)])


DENOISE = Exercise("denoise.dct", dct_denoise)


@DENOISE.holds("a constant image stays as it is")
def constant(answer: Answer) -> None:
    result = answer(torch.full((1, 1, 9, 10), 0.6), 0.4, 4, 1)
    same(
        result[..., 3:-3, 3:-3],
        0.6,
        case="9 x 10 pixels of 0.6, size 4, stride 1, threshold 0.4, inside",
        cause="where does the mean of a patch go?",
    )
    same(
        result,
        0.6,
        case="9 x 10 pixels of 0.6, size 4, stride 1, threshold 0.4, up to the border",
        cause="how many estimates has a pixel at the border?",
    )


@DENOISE.holds("every pixel gets an estimate, whatever the stride")
def covers(answer: Answer) -> None:
    for stride in (4, 3):
        with cause_of(FINITE, "the last patches must reach the border, as extract_patches sees to"):
            result = answer(torch.full((1, 1, 10, 12), 0.6), 0.4, 4, stride)
        same(
            result,
            0.6,
            case=f"10 x 12 pixels of 0.6, size 4, stride {stride}",
            cause="the last patches must reach the border, as extract_patches sees to",
        )


@DENOISE.holds("threshold 0 changes nothing")
def nothing_removed(answer: Answer) -> None:
    image = torch.rand(1, 1, 9, 10)
    same(
        answer(image, 0.0, 4, 1),
        image,
        case="9 x 10 pixels, size 4, stride 1",
        cause="from pixels to codes and back: which of the two takes the transpose?",
    )
    same(
        answer(image, 0.0, 4, 4),
        image,
        case="9 x 10 pixels, size 4, stride 4",
        cause="is the stride handed to everything that needs it?",
    )


@DENOISE.holds("a brighter image gives an equally brighter estimate")
def brightness(answer: Answer) -> None:
    dark = 0.1 * torch.rand(1, 1, 9, 9)
    same(
        answer(dark + 0.3, 0.4, 4, 1),
        answer(dark, 0.4, 4, 1) + 0.3,
        case="a dark image and the same plus 0.3, threshold 0.4",
        cause="is the mean of a patch safe from the threshold?",
    )


@DENOISE.holds("a huge threshold leaves the mean of each patch")
def only_means(answer: Answer) -> None:
    image = torch.rand(1, 1, 8, 8)
    blocks = image.view(2, 4, 2, 4).mean(dim=(1, 3))
    expected = blocks.repeat_interleave(4, 0).repeat_interleave(4, 1)[None, None]
    same(
        answer(image, 100.0, 4, 4),
        expected,
        case="8 x 8 pixels in four blocks, threshold 100",
        cause="are the patches cut and put back with the stride that is given?",
    )


@DENOISE.holds("one patch: its DCT is the old one, without its small entries")
def thresholded(answer: Answer) -> None:
    image, basis = torch.rand(1, 1, 4, 4), dct_dictionary(4, 16)
    before, after = basis.T @ image.flatten(), basis.T @ answer(image, 0.3, 4, 1).flatten()
    shrunk = prox.soft_threshold(before, 0.3)
    shrunk[0] = before[0]
    cause = likely_cause(
        after,
        [
            (shrunk, "is the threshold hard?"),
            (before, "is anything thresholded at all?"),
        ],
    )
    small = before.abs() <= 0.3
    small[0] = False
    same(
        after[small],
        0.0,
        case="4 x 4 pixels, size 4: entries of at most 0.3, without the mean",
        tolerance=1e-4,
        cause=cause or "is it the codes that are thresholded, by the given number?",
    )
    same(
        after[~small],
        before[~small],
        case="4 x 4 pixels, size 4: entries above 0.3",
        tolerance=1e-4,
        cause=cause or "is it the codes that are thresholded, by the given number?",
    )


@DENOISE.holds("images of a batch do not mix")
def batch_of_noisy(answer: Answer) -> None:
    ensure_batchwise(answer, torch.rand(2, 1, 7, 6), 0.4, 4, 2)


DENOISE.agrees(
    lambda: [
        (torch.rand(1, 1, 11, 9), 0.3, 4, 1),
        (torch.rand(1, 1, 10, 12), 0.3, 4, 3),
        (torch.rand(1, 1, 16, 16), 0.5, 8, 8),
    ],
    tolerance=1e-4,
)


FACTOR = Exercise("shrinkage.best_factor", best_factor)


@FACTOR.holds("without noise, everything is kept")
def no_noise(answer: Answer) -> None:
    same(
        answer(torch.tensor([4.0, 0.01, 1.0]), 0.0),
        1.0,
        case="mean squares 4, 0.01 and 1, sigma 0",
        cause="when z is α itself, which factor makes no error?",
    )


@FACTOR.holds("a wave with nothing but noise is dropped")
def no_picture(answer: Answer) -> None:
    for sigma in (1.0, 0.1):
        measured = torch.full((3,), sigma**2)
        found = answer(measured, sigma)
        same(
            found,
            0.0,
            case=f"mean squares {sigma**2:g}, sigma {sigma:g}",
            tolerance=1e-4,
            cause=likely_cause(
                found, [(0.5, "the measured mean square contains the noise: does yours, twice?")]
            )
            or "the mean square of z is that of α and something: what is left for α here?",
        )


@FACTOR.holds("each wave has a factor of its own, whatever the shape")
def own_factors(answer: Answer) -> None:
    measured = 0.5 + 3 * torch.rand(2, 3, 1)
    alone = torch.stack([answer(one.view(1), 1.0) for one in measured.flatten()])
    same(
        answer(measured, 1.0).flatten(),
        alone.flatten(),
        case="mean squares of shape (2, 3, 1), and each alone",
        cause="does the factor of one wave depend on other waves?",
    )


@FACTOR.holds("the factor is between 0 and 1")
def bounded(answer: Answer) -> None:
    cause = "a mean over patches may come out below σ²: how much of the picture is there then?"
    found = answer(torch.tensor([1.001, 5.0, 1e6, 0.2, 0.9]), 1.0)
    ensure(
        bool(((found >= 0) & (found <= 1)).all()),
        case="mean squares 1.001, 5, 1000000, 0.2 and 0.9, sigma 1",
        expected="factors between 0 and 1",
        actual=describe(found),
        cause=cause,
    )
    case = "mean squares 0.2 and 0.9, sigma 1"
    same(found[3:], 0.0, case=case, tolerance=1e-4, cause=cause)


@FACTOR.holds("where nothing was measured, the factor is a number from 0 to 1 as well")
def nothing_measured(answer: Answer) -> None:
    for sigma in (1.0, 0.0):
        with cause_of(FINITE, "what is 0 divided by here?"):
            found = answer(torch.tensor([0.0, 3.0]), sigma)
        ensure(
            bool(((found >= 0) & (found <= 1)).all()),
            case=f"mean squares 0 and 3, sigma {sigma:g}",
            expected="factors between 0 and 1",
            actual=describe(found),
        )


@FACTOR.holds("as much picture as noise: the factor is one half")
def half(answer: Answer) -> None:
    found = answer(torch.tensor([2.0]), 1.0)
    roots = "is it mean squares that are compared, or their roots?"
    between = "something between keeping and dropping is asked for"
    slips = [
        (2 / 3, "which mean square is it: that of α, or that of z, which is measured?"),
        (0.5**0.5, roots),
        (1 - 0.5**0.5, roots),
        (1.0, between),
        (0.0, between),
    ]
    same(
        found,
        0.5,
        case="mean square 2 of the noisy coefficients, sigma 1",
        cause=likely_cause(found, slips)
        or "the expected error is a parabola in g: is this where it is lowest?",
    )


@FACTOR.holds("only the ratio of picture and noise counts", cause="is sigma squared?")
def scale_free(answer: Answer) -> None:
    measured = torch.tensor([0.5, 1.3, 2.0, 7.0])
    same(
        answer(100 * measured, 10.0),
        answer(measured, 1.0),
        case="mean squares and sigma, and 100 times the mean squares with 10 times the sigma",
    )


@FACTOR.holds("no other factor makes a smaller error")
def no_better(answer: Answer) -> None:
    for spread, sigma in ((0.5, 1.0), (1.0, 1.0), (0.9, 0.3)):
        # Half of them are 0, as the codes of photographs have it: the mean square alone counts.
        clean = spread * 2**0.5 * torch.randn(200_000) * (torch.rand(200_000) < 0.5)
        noisy = clean + sigma * torch.randn(200_000)
        power, product = noisy.square().mean().item(), (noisy * clean).mean().item()
        factors = answer(torch.tensor([power]), sigma).item(), product / power
        own, best = ((g * noisy - clean).square().mean().item() for g in factors)
        ensure(
            own <= 1.005 * best,
            case=f"200,000 coefficients of mean square {spread**2:g}, noise of sigma {sigma:g}",
            expected=f"a mean squared error of {best:.4g}, as with the factor {factors[1]:.2f}",
            actual=f"{own:.4g} with the factor {factors[0]:.2f}",
            cause="the error has two parts, one that grows with g and one that falls: where is "
            "their sum smallest?",
        )


FACTOR.agrees(
    lambda: [
        (5 * torch.rand(2, 7, 3), 1.2),
        (torch.rand(64, 1, dtype=torch.float64), 25 / 255),
        (torch.rand(5), 0.0),
    ]
)
