"""Exercises of lesson 00: noise, PSNR, a filter, the noise level, SSIM, what rounding costs."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lessons_lib import data, metrics
from lessons_lib.degradations import GaussianNoise
from lessons_lib.exercises.answer import Answer, describe
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.properties import ensure, ensure_batchwise, likely_cause, same


def add_noise(image: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """White Gaussian noise from an explicit generator, not clipped."""
    return image + sigma * torch.randn(image.shape, generator=generator)


def gaussian_filter(image: Tensor, width: float) -> Tensor:
    """Convolution with a Gaussian window of deviation ``width`` pixels, cut at ``⌈3 width⌉``."""
    radius = math.ceil(3 * width)
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype)
    window = torch.exp(-(offsets**2) / (2 * width**2))
    window = window / window.sum()
    padded = F.pad(image, (radius,) * 4, mode="reflect").flatten(0, 1)[:, None]  # (B·C, 1, …)
    rows = F.conv2d(padded, window.view(1, 1, 1, -1))
    return F.conv2d(rows, window.view(1, 1, -1, 1)).view_as(image)


def noise_level(image: Tensor) -> Tensor:
    """Deviation of white noise ``(B,)``, from what second differences leave of ``(B, C, H, W)``.

    Taken across and then down, they leave nothing of a ramp, and the median of their magnitudes
    does not mind the few that stand on edges. `ops.noise_level.estimate_sigma` is a better
    estimator, and a longer one.
    """
    second = torch.tensor([1.0, -2.0, 1.0]).to(image)
    kernel = second[:, None] * second / 6  # of length 1
    rough = F.conv2d(image.flatten(0, 1)[:, None], kernel[None, None])
    return rough.reshape(len(image), -1).abs().median(dim=1).values / 0.6745


def ssim(estimate: Tensor, target: Tensor) -> Tensor:
    """SSIM of each image with the Gaussian window."""
    return metrics.ssim(estimate, target, "gaussian").to(estimate)


def psnr(estimate: Tensor, target: Tensor) -> Tensor:
    """PSNR of each image whose white is 1."""
    return metrics.psnr(estimate, target).to(estimate)


def rounding_cost(decibels: Tensor) -> Tensor:
    """Decibels that rounding to 256 levels takes away from an estimate with this PSNR."""
    error = 255**2 / 10 ** (decibels / 10)  # mean squared error in grey levels²
    return 10 * torch.log10(1 + 1 / (12 * error))


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


NOISE = Exercise("noise.add_noise", add_noise)


@NOISE.holds("sigma = 0 changes nothing", cause="what multiplies the noise?")
def no_noise(answer: Answer) -> None:
    image = torch.rand(1, 1, 4, 4)
    same(answer(image, 0.0, _seeded(0)), image, case="4 x 4 pixels, sigma 0")


@NOISE.holds(
    "the generator alone decides the noise",
    cause="is the generator handed to the function that draws, and never seeded again?",
)
def reproducible(answer: Answer) -> None:
    image = torch.full((1, 1, 2, 3), 0.5)
    first = answer(image, 0.1, _seeded(1))
    torch.manual_seed(99)
    again, other = answer(image, 0.1, _seeded(1)), answer(image, 0.1, _seeded(2))
    same(again, first, case="two generators with seed 1")
    ensure(
        not torch.equal(first, other),
        case="generators with seed 1 and 2",
        expected="different noise",
        actual="the same noise twice",
    )


@NOISE.holds("the noise does not depend on the image")
def additive(answer: Answer) -> None:
    dark, bright = (torch.full((1, 1, 5, 5), value) for value in (0.4, 0.6))
    same(
        answer(bright, 0.02, _seeded(7)) - bright,
        answer(dark, 0.02, _seeded(7)) - dark,
        case="noise on light grey against noise on dark grey, same generator",
        cause="the model adds: does anything multiply?",
    )


@NOISE.holds("every pixel, channel and image has noise of its own", cause="which shape is drawn?")
def independent(answer: Answer) -> None:
    noise = answer(torch.zeros(2, 3, 30, 30), 1.0, _seeded(6))
    for axis, name in enumerate(("images", "channels", "rows", "columns")):
        likeness = torch.corrcoef(noise.transpose(0, axis).flatten(1)).fill_diagonal_(0)
        largest = likeness.abs().max().item()
        ensure(
            largest < 0.6,
            case=f"two {name} of a batch (2, 3, 30, 30)",
            expected="no correlation of their noise",
            actual=f"a correlation of {largest:.2f}",
        )


@NOISE.holds("the noise has mean zero")
def centred(answer: Answer) -> None:
    mean = answer(torch.zeros(1, 1, 100, 100), 0.2, _seeded(3)).mean().item()
    ensure(
        abs(mean) < 0.01,
        case="100 x 100 black pixels, sigma 0.2",
        expected="a mean between -0.01 and 0.01",
        actual=f"mean {mean:.3f}",
        cause="clipping cuts the negative half away; uniform numbers start at 0",
    )


@NOISE.holds("the noise has standard deviation sigma", cause="sigma is no variance")
def spread(answer: Answer) -> None:
    for sigma in (0.1, 25 / 255):
        measured = answer(torch.full((1, 1, 100, 100), 0.5), sigma, _seeded(4)).std().item()
        ensure(
            abs(measured / sigma - 1) < 0.05,
            case=f"100 x 100 grey pixels, sigma {sigma:.3f}",
            expected=f"standard deviation {sigma:.3f}",
            actual=f"{measured:.3f}",
        )


@NOISE.holds("the noise is Gaussian, and not clipped")
def tails(answer: Answer) -> None:
    noise = (answer(torch.full((1, 1, 100, 100), 0.5), 0.5, _seeded(5)) - 0.5) / 0.5
    beyond = (noise.abs() > 2).float().mean().item()
    ensure(
        0.03 < beyond < 0.06,
        case="100 x 100 grey pixels, sigma 0.5",
        expected="4.6 % of the noise beyond two sigma",
        actual=f"{beyond:.1%}",
        cause="uniform noise has no tails, and clipping cuts them",
    )


PSNR = Exercise("metrics.psnr", psnr)


def _images(*shape: int) -> tuple[Tensor, Tensor]:
    """An estimate and its target; double precision, so that any precision of an answer agrees."""
    target = torch.rand(*shape, dtype=torch.float64)
    return target + 0.1 * torch.randn(*shape, dtype=torch.float64), target


@PSNR.holds("an error of 0.1 gives 20 dB", cause="which logarithm, which factor?")
def twenty(answer: Answer) -> None:
    target = torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64)
    slips = [
        (-20.0, "more error must give fewer decibels: which of the two is above, 1 or the MSE?"),
        (20 * math.log(10), "the logarithm of base 10, not the natural one"),
        (10.0, "is it the MSE that the logarithm sees, or its root?"),
        (40.0, "is the factor that of the MSE?"),
    ]
    for error in (0.1, -0.1):
        found = answer(target + error, target)
        expected = torch.tensor([20.0])
        cause = likely_cause(found[0], slips)
        same(found, expected, case=f"one grey pixel, an error of {error}", cause=cause)


@PSNR.holds("each image of a batch has a number of its own")
def psnr_batch(answer: Answer) -> None:
    ensure_batchwise(answer, *_images(3, 1, 6, 7))


@PSNR.holds(
    "the same error at more pixels gives the same number",
    cause="a sum grows with the number of pixels, and a mean does not",
)
def size_of_image(answer: Answer) -> None:
    target = torch.full((1, 3, 6, 7), 0.5, dtype=torch.float64)
    same(
        answer(target + 0.1, target), torch.tensor([20.0]), case="3 x 6 x 7 values, an error of 0.1"
    )


@PSNR.holds("estimates outside [0, 1] count as they are", cause="is something clipped?")
def not_clipped(answer: Answer) -> None:
    for value, error in ((0.0, -0.1), (1.0, 0.1)):
        target = torch.full((1, 1, 6, 7), 0.5, dtype=torch.float64)
        target[..., :3] = value
        same(
            answer(target + error, target),
            torch.tensor([20.0]),
            case=f"grey pixels, some of {value:g}, and an error of {error} at each",
        )


@PSNR.holds("a ten times smaller error adds 20 dB", cause="is the error squared?")
def tenfold(answer: Answer) -> None:
    estimate, target = _images(1, 1, 6, 7)
    gain = answer(target + (estimate - target) / 10, target) - answer(estimate, target)
    same(gain, torch.tensor([20.0]), case="the same error, and a tenth of it")


@PSNR.holds("one large error weighs more than two of half its size", cause="square, then average")
def squared(answer: Answer) -> None:
    _, target = _images(1, 1, 2, 2)
    errors = torch.tensor([[0.2, 0.0], [0.0, 0.0]]), torch.tensor([[0.1, 0.1], [0.0, 0.0]])
    one, two = (answer(target + error, target) for error in errors)
    ensure(
        bool(two > one),
        case="4 pixels with errors 0.2, 0, 0, 0 and 0.1, 0.1, 0, 0",
        expected="more decibels for the second",
        actual=f"{describe(one)} and {describe(two)}",
    )


@PSNR.holds("equal images give infinity", cause="is a small constant added somewhere?")
def perfect(answer: Answer) -> None:
    _, target = _images(1, 1, 6, 7)
    same(answer(target, target), torch.tensor([torch.inf]), case="an image and itself")


@PSNR.holds(
    "the channels of an image share one mean squared error",
    cause="an average of the channels' PSNRs is another number than the PSNR of the average error",
)
def joint(answer: Answer) -> None:
    _, target = _images(1, 3, 6, 7)
    estimate = target.clone()
    estimate[:, 0] += 0.3
    estimate[:, 1] += 0.01
    estimate[:, 2] += 0.01
    same(
        answer(estimate, target),
        answer.reference(estimate, target),
        case="errors of 0.3, 0.01 and 0.01 in R, G and B",
    )


PSNR.agrees(lambda: [_images(2, 1, 8, 5), _images(2, 3, 4, 4)])


FILTER = Exercise("filters.gaussian_filter", gaussian_filter)


@FILTER.holds("a constant image stays constant inside", cause="do the weights sum to one?")
def constant_inside(answer: Answer) -> None:
    filtered = answer(torch.full((1, 1, 16, 16), 0.5), 1.0)[..., 3:-3, 3:-3]
    same(filtered, torch.tensor(0.5), case="16 x 16 grey pixels, width 1, away from the border")


@FILTER.holds(
    "a constant image stays constant at the border",
    cause="zeros outside the picture darken the border: what could stand there instead?",
)
def constant_border(answer: Answer) -> None:
    filtered = answer(torch.full((1, 1, 16, 16), 0.5), 1.0)
    same(filtered, torch.tensor(0.5), case="16 x 16 grey pixels, width 1, with the border")


@FILTER.holds("a bright point spreads alike in both directions", cause="both axes need filtering")
def isotropic(answer: Answer) -> None:
    point = torch.zeros(1, 1, 17, 17)
    point[..., 8, 8] = 1
    spot = answer(point, 1.5)
    for axis, name in ((-1, "left and right"), (-2, "above and below")):
        same(
            spot.flip(axis),
            spot,
            case=f"one white pixel: {name} of it",
            cause="is the window centred on its pixel, and as much added at either side?",
        )
    ensure(
        bool((spot - spot.mT).abs().max() < 1e-5),
        case="one white pixel, width 1.5",
        expected=f"as much to the right as below, such as {spot[0, 0, 8, 10]:.4f}",
        actual=f"{spot[0, 0, 10, 8]:.4f} two pixels below",
    )


@FILTER.holds("a wider filter lets less noise through", cause="where does the width enter?")
def wider(answer: Answer) -> None:
    noise = torch.randn(1, 1, 40, 40)
    narrow, wide = (answer(noise, width).std().item() for width in (0.7, 2.0))
    ensure(
        wide < 0.7 * narrow,
        case="white noise, width 0.7 and 2",
        expected=f"much less than {narrow:.3f} at width 2",
        actual=f"{wide:.3f}",
    )


@FILTER.holds("the filter is linear")
def linear(answer: Answer) -> None:
    first, second = torch.randn(2, 1, 1, 12, 12)
    same(
        answer(2 * first - second, 1.0),
        2 * answer(first, 1.0) - answer(second, 1.0),
        case="twice one image minus another",
        cause="something clips, or takes an absolute value",
    )


@FILTER.holds("images and channels do not mix", cause="a colour image has three separate planes")
def separate(answer: Answer) -> None:
    image = torch.rand(2, 3, 12, 12)
    ensure_batchwise(answer, image, 1.0)
    same(
        answer(image, 1.0)[:, 1:2],
        answer(image[:, 1:2].clone(), 1.0),
        case="the green channel of a colour image, and it alone",
    )


@FILTER.holds(
    "away from the border, the weights are those of the window",
    cause="the window reaches ceil(3 width) pixels to each side",
)
def weights(answer: Answer) -> None:
    for width in (0.5, 1.0, 1.9):
        reach = math.ceil(3 * width)
        inside = (..., slice(reach, -reach), slice(reach, -reach))
        image = torch.rand(1, 2, 20, 17)
        same(
            answer(image, width)[inside],
            answer.reference(image, width)[inside],
            case=f"20 x 17 pixels, width {width:g}, more than {reach} pixels from the border",
        )


FILTER.agrees(
    lambda: [(torch.rand(1, 2, 20, 17), width) for width in (0.5, 1.0, 1.9)],
    name="at the border, the picture is reflected",
    cause="in F.pad, which mode reflects without repeating the last pixel?",
)


LEVEL = Exercise("noise.noise_level", noise_level)


def _flat(*shape: int, sigma: float) -> Tensor:
    """Mid-grey with white noise."""
    return 0.5 + sigma * torch.randn(*shape)


def _ramp(height: int, width: int, down: float, across: float) -> Tensor:
    """``(1, 1, H, W)``, which rises by so much from edge to edge."""
    rows, columns = torch.linspace(0, down, height), torch.linspace(0, across, width)
    return (rows[:, None] + columns)[None, None]


def _near(found: Tensor, sigma: float, part: float, case: str, cause: str = "") -> None:
    """Break the property unless one number is sigma, give or take this part of it."""
    value = found.item()
    ensure(
        abs(value - sigma) <= part * sigma,
        case=case,
        expected=f"{255 * sigma:.3g}, give or take {part:.0%}, in grey levels",
        actual=f"{255 * value:.3g}",
        cause=cause,
    )


@LEVEL.holds("each picture of a batch has a noise level of its own")
def level_batch(answer: Answer) -> None:
    sigmas = torch.tensor([0.02, 0.05, 0.1]).view(3, 1, 1, 1)
    images = 0.5 + sigmas * torch.randn(3, 1, 33, 47)
    ensure_batchwise(answer, images)
    same(
        answer(images.mT.contiguous().mT),
        answer(images),
        case="the same pictures, laid out otherwise in memory",
        tolerance=1e-3,
    )


@LEVEL.holds(
    "a constant picture has no noise",
    cause="what is left where all pixels are equal? And at the border, what do you compare with?",
)
def level_of_constant(answer: Answer) -> None:
    for value in (0.0, 0.6):
        image = torch.full((1, 1, 30, 40), value)
        same(answer(image), 0.0, case=f"30 x 40 pixels of {value:g}", tolerance=1e-4)
    colours = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 30, 40)
    same(
        answer(colours),
        0.0,
        case="3 channels of 30 x 40 pixels: 0.2, 0.5 and 0.9",
        tolerance=1e-4,
        cause="is a channel compared with itself alone?",
    )


@LEVEL.holds("in a flat picture, it is the standard deviation of the noise")
def level_of_noise(answer: Answer) -> None:
    given = [s / 255 for s in (50, 25, 5)]
    found = [answer(_flat(1, 1, 200, 240, sigma=sigma)).item() for sigma in given]
    ratios = [one / sigma for one, sigma in zip(found, given, strict=True)]
    cause = "does the number grow as σ does?"
    if max(ratios) < 1.04 * min(ratios):
        cause = (
            f"{ratios[0]:.3g} times σ each time: what your weights, and your kind of average, make "
            "of noise of deviation 1 has to be divided out"
        )
    elif abs(ratios[0] / ratios[2] - 10) < 1:
        cause = "a variance, where its root is asked for?"
    for sigma, one in zip(given, found, strict=True):
        case = f"200 x 240 grey pixels, sigma {255 * sigma:g} / 255"
        _near(torch.tensor(one), sigma, 0.05, case, cause)


@LEVEL.holds(
    "a ramp has no noise",
    cause="neighbours on a ramp differ by the same amount everywhere: what cancels that too?",
)
def level_of_ramp(answer: Answer) -> None:
    for name, down, across in (
        ("from left to right", 0.0, 1.0),
        ("downwards", 1.0, 0.0),
        ("aslant", 0.7, -0.3),
    ):
        ramp = _ramp(30, 40, down, across)
        same(answer(ramp), 0.0, case=f"30 x 40 pixels, a ramp {name}", tolerance=1e-4)
    noisy = _flat(1, 1, 120, 90, sigma=0.03)
    tilted = noisy + _ramp(120, 90, 0.9, -0.6)
    case = "noise, and the same noise on a ramp"
    same(answer(tilted), answer(noisy), case=case, tolerance=1e-3)


@LEVEL.holds("noise of all channels counts", cause="σ is one number for all channels together")
def level_of_channels(answer: Answer) -> None:
    image = _flat(1, 3, 200, 240, sigma=0.1)
    _near(answer(image), 0.1, 0.05, "3 channels of 200 x 240 pixels, sigma 0.1 in each")


@LEVEL.holds(
    "twice the picture has twice the noise",
    cause="is something compared with a fixed number, clipped, or added?",
)
def level_scales(answer: Answer) -> None:
    noisy = _flat(1, 1, 60, 80, sigma=0.05)
    for factor, name in ((2.0, "twice the picture"), (255.0, "grey levels"), (-1.0, "a negative")):
        found = answer(factor * noisy) / abs(factor)
        same(found, answer(noisy), case=f"a noisy picture, and {name} of it", tolerance=1e-3)


@LEVEL.holds(
    "a few strong edges change little",
    cause="edges are few, but large: which average does not mind a few large numbers?",
)
def level_with_edges(answer: Answer) -> None:
    rows, columns = torch.arange(200.0), torch.arange(200.0)
    stripes = 0.2 + 0.6 * ((rows[:, None] + 2 * columns) // 80 % 2)[None, None]
    for sigma in (5 / 255, 25 / 255):
        noisy = stripes + sigma * torch.randn_like(stripes)
        _near(
            answer(noisy),
            sigma,
            0.25,
            f"slanted stripes, 200 x 200 pixels of 0.2 and 0.8, sigma {255 * sigma:g} / 255",
        )


# Parts of photographs, mostly smooth. First differences still see too much of them.
_PARTS = {"astronaut": (312, 312), "brick": (312, 0), "rocket": (0, 0)}


@LEVEL.holds("on photographs it is off by 20 % at most")
def level_on_photographs(answer: Answer) -> None:
    for name, (row, column) in _PARTS.items():
        clean = data.sample(name)[..., row : row + 200, column : column + 200]
        for level in (50, 25, 10, 5):
            found = answer(GaussianNoise(level / 255)(clean, name))
            _near(
                found,
                level / 255,
                0.2,
                f"a part of the photograph {name!r}, 200 x 200 pixels, sigma {level} / 255",
                "what of the picture is left? Cancel more of it, and count what is large for less"
                if found.item() > level / 255
                else "is noise taken for picture?",
            )


SSIM = Exercise("metrics.ssim", ssim)


def _single(*shape: int) -> tuple[Tensor, Tensor]:
    """An estimate and its target in single precision, which any filter of exercise 3 takes."""
    estimate, target = _images(*shape)
    return estimate.float(), target.float()


@SSIM.holds("each image of a batch has a score of its own")
def ssim_batch(answer: Answer) -> None:
    ensure_batchwise(answer, *_single(3, 1, 16, 17))


@SSIM.holds(
    "equal images score 1",
    cause="for equal images, what stands above the line is what stands below",
)
def identical(answer: Answer) -> None:
    _, target = _single(1, 1, 16, 16)
    same(answer(target, target), torch.tensor([1.0]), case="an image and itself", tolerance=1e-4)
    black = torch.zeros(1, 1, 16, 16)
    same(answer(black, black), torch.tensor([1.0]), case="a black image and itself")


@SSIM.holds(
    "exchanging the two images changes nothing", cause="is a mean or variance taken of one twice?"
)
def symmetric(answer: Answer) -> None:
    estimate, target = _single(1, 1, 16, 16)
    same(answer(estimate, target), answer(target, estimate), case="(x, y) and (y, x)")


@SSIM.holds(
    "two flat images compare their brightness only",
    cause="where nothing varies, variances and covariance are 0; look at c1 and the means",
)
def brightness(answer: Answer) -> None:
    dark, bright = (torch.full((1, 1, 16, 16), v) for v in (0.02, 0.06))
    same(
        answer(dark, bright),
        answer.reference(dark, bright),
        case="all pixels 0.02, all 0.06",
        tolerance=1e-4,  # the variances are rounding errors, and no more
    )


@SSIM.holds(
    "an inverted texture scores below zero", cause="a covariance may be negative: is it squared?"
)
def inverted(answer: Answer) -> None:
    _, target = _single(1, 1, 16, 16)
    score = answer(1 - target, target)
    ensure(
        score.item() < -0.5,
        case="an image and its negative",
        expected="a score below -0.5",
        actual=describe(score),
    )


@SSIM.holds(
    "windows that reach beyond the border do not count",
    cause="local_mean returns a smaller map, for the windows inside the image alone",
)
def windows_inside(answer: Answer) -> None:
    _, target = _single(1, 1, 16, 17)
    estimate = target.clone()
    estimate[..., 0, 0] += 0.5
    same(
        answer(estimate, target),
        answer.reference(estimate, target),
        case="16 x 17 pixels, all but the corner equal",
        tolerance=1e-4,
    )


SSIM.agrees(
    lambda: [_single(2, 1, 16, 18), _single(1, 3, 16, 16)],
    tolerance=1e-4,
    cause="compare with the equation: constants, variances, the mean at the very end",
)


ROUNDING = Exercise("protocol.rounding_cost", rounding_cost)


def _decibels(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@ROUNDING.holds("rounding never helps", cause="which error is larger, before or after rounding?")
def costs(answer: Answer) -> None:
    cost = answer(_decibels(20, 30, 40, 50))
    ensure(
        bool((cost >= 0).all()),
        case="20, 30, 40 and 50 dB",
        expected="costs of at least 0 dB",
        actual=describe(cost),
    )


@ROUNDING.holds("a better estimate pays more", cause="an error in the numerator, or dB for MSE?")
def increasing(answer: Answer) -> None:
    cost = answer(_decibels(30, 40, 50))
    ensure(
        bool((cost.diff() > 0).all()),
        case="30, 40 and 50 dB",
        expected="growing costs",
        actual=describe(cost),
    )


def _rounding_slips(decibels: float) -> list[tuple[float, str]]:
    """What the likely mistakes give, with the words that answer them."""
    share = 10 ** (decibels / 10)
    error = 255**2 / share
    return [
        (
            10 * math.log10(1 + 1 / (12 * 255 / 10 ** (decibels / 20))),
            "is 10^(dB/10) the ratio of the squares, or of their roots?",
        ),
        (
            10 * math.log10(1 + 1 / (12 * 255**2 / 10 ** (decibels / 20))),
            "are both squared, the white and the error?",
        ),
        (
            10 * math.log10(1 + share / 12),
            "in which unit is the MSE? Grey levels squared are asked for",
        ),
        (10 * math.log10(1 + share / (12 * 255)), "is 255 squared, as the error is?"),
        (10 * math.log(1 + 1 / (12 * error)), "the logarithm of base 10, not the natural one"),
        (
            10 * math.log10(1 + 1 / error),
            "how large is the variance of numbers spread evenly over [-1/2, 1/2]?",
        ),
        (
            20 * math.log10(1 + 1 / (12 * error)),
            "the factor of 20 is for roots; here the logarithm sees squares",
        ),
    ]


@ROUNDING.holds(
    "predicts what rounding really costs",
    cause="from decibels to the MSE in grey levels squared, and back: which step differs?",
)
def measured(answer: Answer) -> None:
    for decibels in (40.0, 45.0):
        error = 255 * 10 ** (-decibels / 20) * torch.randn(200_000, dtype=torch.float64)
        rounded = error.round()  # the true picture has whole grey levels
        cost = 10 * torch.log10(rounded.square().mean() / error.square().mean())
        found = answer(_decibels(decibels))
        same(
            found,
            cost,
            tolerance=0.01,
            cause=likely_cause(found[0], _rounding_slips(decibels)),
            case=f"200,000 pixels at {decibels:g} dB, rounded to whole grey levels",
        )


ROUNDING.agrees(lambda: [(_decibels(20, 30, 38, 42.9),)], tolerance=1e-6)
