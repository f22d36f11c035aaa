"""Wrong answers to the exercises of lesson 00, each with the property that it breaks."""

import math

import torch
import torch.nn.functional as F

from lessons_lib.exercises.answer import DTYPE, FINITE, SHAPE, TYPE, UNCHANGED
from lessons_lib.exercises.lesson_00 import add_noise, gaussian_filter, noise_level


def reseeds(image, sigma, generator):
    return image + sigma * torch.randn(image.shape, generator=generator.manual_seed(0))


def window(width, radius=None):
    radius = math.ceil(3 * width) if radius is None else radius
    offsets = torch.arange(-radius, radius + 1.0)
    weights = torch.exp(-(offsets**2) / (2 * width**2))
    return weights / weights.sum()


def separable(image, weights, mode="reflect"):
    padded = F.pad(image, (len(weights) // 2,) * 4, mode=mode).flatten(0, 1)[:, None]
    rows = F.conv2d(padded, weights.view(1, 1, 1, -1))
    return F.conv2d(rows, weights.view(1, 1, -1, 1)).view_as(image)


def only_rows(image, width):
    weights = window(width)
    padded = F.pad(image, (len(weights) // 2,) * 2 + (0, 0), mode="reflect").flatten(0, 1)[:, None]
    return F.conv2d(padded, weights.view(1, 1, 1, -1)).view_as(image)


def mixes_channels(image, width):
    return gaussian_filter(image, width).mean(dim=1, keepdim=True).expand_as(image)


def local_mean(image):
    return gaussian_filter(image, 1.5)[..., 5:-5, 5:-5]


def same_size_mean(image):
    return gaussian_filter(image, 1.5)


def ssim(
    estimate, target, c1=0.01**2, c2=0.03**2, fold=torch.clone, crop=local_mean, dims=(1, 2, 3)
):
    mx, my = crop(estimate), crop(target)
    vx, vy = crop(estimate**2) - mx**2, crop(target**2) - my**2
    cov = fold(crop(estimate * target) - mx * my)
    luminance = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
    return (luminance * (2 * cov + c2) / (vx + vy + c2)).mean(dim=dims)


def one_sided(estimate, target):
    mx, my = local_mean(estimate), local_mean(target)
    vx, cov = local_mean(estimate**2) - mx**2, local_mean(estimate * target) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mx * my + c1) / (mx**2 + my**2 + c1) * (2 * cov + c2) / (2 * vx + c2)).mean(
        dim=(1, 2, 3)
    )


def structure_only(estimate, target):
    mx, my = local_mean(estimate), local_mean(target)
    vx, vy = local_mean(estimate**2) - mx**2, local_mean(target**2) - my**2
    cov = local_mean(estimate * target) - mx * my
    return ((2 * cov + 0.03**2) / (vx + vy + 0.03**2)).mean(dim=(1, 2, 3))


def forgets_the_means(estimate, target):
    mx, my = local_mean(estimate), local_mean(target)
    vx, vy, cov = local_mean(estimate**2), local_mean(target**2), local_mean(estimate * target)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
    return (luminance * (2 * cov + c2) / (vx + vy + c2)).mean(dim=(1, 2, 3))


def mse(estimate, target):
    return (estimate - target).square().mean(dim=(1, 2, 3))


def log_rmse(estimate, target):
    return -10 * torch.log10(mse(estimate, target).sqrt())


def mixed_batch(estimate, target):
    return -10 * torch.log10((estimate - target).square().mean()).expand(len(estimate))


def channel_average(estimate, target):
    channels = (estimate - target).square().mean(dim=(2, 3))
    return torch.where(
        mse(estimate, target) == 0, torch.inf, (-10 * torch.log10(channels)).mean(dim=1)
    )


def levels(decibels):
    return 255**2 / 10 ** (decibels / 10)


def shifted(image, width):
    return gaussian_filter(image, width).roll(1, dims=-1)


def spread(image, kernel, divisor, average):
    """A kind of average of what is left of each picture by a filter."""
    weights = torch.tensor(kernel)[None, None] / divisor
    left = F.conv2d(image.flatten(0, 1)[:, None], weights).reshape(len(image), -1)
    return average(left.abs())


def middle(values):
    return values.median(dim=1).values


def root_mean_square(values):
    return values.square().mean(dim=1).sqrt()


def of_one_batch(image):
    return noise_level(image.reshape(1, 1, -1, image.shape[-1])).expand(len(image))


def first_differences(image):
    across = (image[..., 1:] - image[..., :-1]).flatten(1)
    return middle((across - across.median(dim=1, keepdim=True).values).abs()) / 0.6745 / 2**0.5


def small_ones_only(image):
    """Sets a limit by hand above which a number counts as an edge."""
    left = F.conv2d(image.flatten(0, 1)[:, None], torch.tensor([CROSS])[None] / 20**0.5)
    left = left.reshape(len(image), -1)
    few = left.abs() < 0.6
    return ((left * few).square().sum(dim=1) / few.sum(dim=1)).sqrt()


CROSS = [[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]
ACROSS = [[1.0, -1.0]]
FLAT = "in a flat picture, it is the standard deviation of the noise"
PHOTOGRAPHS = "on photographs it is off by 20 % at most"
TWENTY = "an error of 0.1 gives 20 dB"
UNCLIPPED = "estimates outside [0, 1] count as they are"
WEIGHTS = "away from the border, the weights are those of the window"
BORDER = "at the border, the picture is reflected"
ROUNDING = "predicts what rounding really costs"

WRONG = {
    "noise.add_noise": [
        (
            lambda image, sigma, g: image + torch.randn(image.shape, generator=g),
            "sigma = 0 changes nothing",
            "what multiplies the noise",
        ),
        (
            lambda image, sigma, g: image * (1 + sigma * torch.randn(image.shape, generator=g)),
            "the noise does not depend on the image",
            "does anything multiply",
        ),
        (
            lambda image, sigma, g: image + sigma * torch.randn_like(image),
            "the generator alone decides the noise",
        ),
        (reseeds, "the generator alone decides the noise"),
        (
            lambda image, sigma, g: image + sigma * torch.rand(image.shape, generator=g),
            "the noise has mean zero",
        ),
        (lambda *given: add_noise(*given).clamp(0, 1), "the noise has mean zero"),
        (
            lambda image, sigma, g: image + sigma**2 * torch.randn(image.shape, generator=g),
            "the noise has standard deviation sigma",
        ),
        (
            lambda image, sigma, g: (
                image + sigma * 12**0.5 * (torch.rand(image.shape, generator=g) - 0.5)
            ),
            "the noise is Gaussian, and not clipped",
        ),
        (
            lambda image, sigma, g: image + sigma * torch.randn(image.shape[-2:], generator=g),
            "every pixel, channel and image has noise of its own",
        ),
        (
            lambda image, sigma, g: image + sigma * torch.randn(image.shape[-1], generator=g),
            "every pixel, channel and image has noise of its own",
        ),
        (
            lambda image, sigma, g: image.add_(sigma * torch.randn(image.shape, generator=g)),
            UNCHANGED,
        ),
    ],
    "metrics.psnr": [
        (lambda x, y: -10 * torch.log(mse(x, y)), TWENTY, "not the natural one"),
        (lambda x, y: 10 * torch.log10(mse(x, y)), TWENTY, "which of the two is above"),
        (log_rmse, TWENTY, "or its root"),
        (lambda x, y: -20 * torch.log10(mse(x, y)), TWENTY, "the factor"),
        (
            lambda x, y: -10 * torch.log10((x - y).square().sum(dim=(1, 2, 3))),
            "the same error at more pixels gives the same number",
            "a sum grows",
        ),
        (lambda x, y: -10 * torch.log10(mse(x.clamp(0, 1), y)), UNCLIPPED, "clipped"),
        (
            lambda x, y: -10 * torch.log10(mse(x, y) + 1e-12),
            "equal images give infinity",
            "constant",
        ),
        (lambda x, y: -20 * torch.log10((x - y).mean(dim=(1, 2, 3))), FINITE),
        (
            lambda x, y: -20 * torch.log10((x - y).abs().mean(dim=(1, 2, 3))),
            "one large error weighs more than two of half its size",
        ),
        (lambda x, y: 20 + 0 * mse(x, y), "a ten times smaller error adds 20 dB"),
        (mixed_batch, "each image of a batch has a number of its own"),
        (channel_average, "the channels of an image share one mean squared error"),
        (lambda x, y: -10 * torch.log10((x - y).square().mean()), SHAPE),
        (lambda x, y: -10 * torch.log10(mse(x, y)).item(), TYPE),
        (lambda x, y: -10 * torch.log10(mse(x.float(), y.float())), DTYPE),
    ],
    "filters.gaussian_filter": [
        (lambda x, w: separable(x, 2 * window(w)), "a constant image stays constant inside"),
        (
            lambda x, w: separable(x, window(w), "constant"),
            "a constant image stays constant at the border",
        ),
        (only_rows, "a bright point spreads alike in both directions"),
        (lambda x, w: separable(x, window(1.0)), "a wider filter lets less noise through"),
        (lambda x, w: separable(x, window(w)).clamp(0, 1), "the filter is linear"),
        (mixes_channels, "images and channels do not mix"),
        (lambda x, w: separable(x, window(w, radius=math.ceil(w))), WEIGHTS, "ceil(3 width)"),
        (lambda x, w: separable(x, window(w), "replicate"), BORDER, "without repeating"),
        (lambda x, w: separable(x, window(w), "circular"), BORDER, "without repeating"),
        (shifted, "a bright point spreads alike in both directions", "centred on its pixel"),
        (lambda x, w: F.conv2d(x, (window(w)[:, None] * window(w))[None, None]), SHAPE),
    ],
    "noise.noise_level": [
        (lambda x: x.flatten(1).std(dim=1), "a constant picture has no noise", "with itself alone"),
        (
            lambda x: (x - separable(x, window(1.0), "constant")).flatten(1).std(dim=1),
            "a constant picture has no noise",
            "at the border",
        ),
        (lambda x: spread(x, CROSS, 20**0.5, middle), FLAT, "times σ each time"),
        (lambda x: spread(x, CROSS, 0.6745, middle), FLAT, "your weights"),
        (lambda x: spread(x, CROSS, 20**0.5, root_mean_square) ** 2, FLAT, "a variance"),
        (lambda x: spread(x, ACROSS, 0.6745 * 2**0.5, middle), "a ramp has no noise", "cancels"),
        (
            lambda x: spread(x, CROSS, 20**0.5, root_mean_square),
            "a few strong edges change little",
            "does not mind a few large numbers",
        ),
        (
            lambda x: spread(x, CROSS, 20**0.5 * (2 / math.pi) ** 0.5, lambda v: v.mean(dim=1)),
            "a few strong edges change little",
        ),
        (small_ones_only, "twice the picture has twice the noise", "a fixed number"),
        (first_differences, PHOTOGRAPHS, "what of the picture is left"),
        (
            lambda x: spread(x, CROSS, 20**0.5 * 0.318639, lambda v: v.quantile(0.25, dim=1)) * 0.9,
            FLAT,
        ),
        (of_one_batch, "each picture of a batch has a noise level of its own"),
        (lambda x: noise_level(x).mean(), SHAPE),
        (lambda x: noise_level(x).mean().item(), TYPE),
    ],
    "metrics.ssim": [
        (lambda x, y: ssim(x, y, c2=0) * 0.5, "equal images score 1"),
        (one_sided, "exchanging the two images changes nothing"),
        (
            forgets_the_means,
            "two flat images compare their brightness only",
            "variances and covariance",
        ),
        (structure_only, "two flat images compare their brightness only"),
        (lambda x, y: ssim(x, y, c1=0.03**2), "two flat images compare their brightness only"),
        (lambda x, y: ssim(x, y, fold=torch.abs), "an inverted texture scores below zero"),
        (lambda x, y: ssim(x, y, c2=0.01**2), "agrees with the library"),
        (
            lambda x, y: ssim(x, y, crop=same_size_mean),
            "windows that reach beyond the border do not count",
        ),
        (lambda x, y: ssim(x, y, c1=0, c2=0), FINITE),
        (
            lambda x, y: ssim(x, y, dims=(0, 1, 2, 3)).expand(len(x)),
            "each image of a batch has a score of its own",
        ),
        (lambda x, y: ssim(x, y, dims=(2, 3)), SHAPE),
    ],
    "protocol.rounding_cost": [
        (lambda p: -10 * torch.log10(1 + 1 / (12 * levels(p))), "rounding never helps"),
        (lambda p: 10 * torch.log10(1 + levels(p) / 12), "a better estimate pays more"),
        (lambda p: 10 * torch.log10(1 + 1 / (12 * p)), "a better estimate pays more"),
        (lambda p: 10 * torch.log10(1 + 255**2 / (12 * levels(p))), ROUNDING, "in which unit"),
        (lambda p: 10 * torch.log10(1 + 255 / (12 * levels(p))), ROUNDING, "is 255 squared"),
        (lambda p: 10 * torch.log10(1 + 1 / (12 * levels(p).sqrt())), ROUNDING, "of their roots"),
        (lambda p: 10 * torch.log10(1 + 1 / (12 * levels(p / 2))), ROUNDING, "are both squared"),
        (lambda p: 20 * torch.log10(1 + 1 / (12 * levels(p))), ROUNDING, "factor of 20"),
        (lambda p: 10 * torch.log(1 + 1 / (12 * levels(p))), ROUNDING, "not the natural one"),
        (lambda p: 10 * torch.log10(1 + 1 / levels(p)), ROUNDING, "spread evenly"),
        (lambda p: (10 * torch.log10(1 + 1 / (12 * levels(p)))).mean(), SHAPE),
    ],
}
