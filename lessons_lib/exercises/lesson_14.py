"""Exercises of lesson 14: SSIM as a loss, noise maps beside phases, networks without constants."""

import copy
import math

import torch
from torch import Tensor, nn

from lessons_lib.exercises.answer import Answer
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.properties import (
    ensure,
    ensure_batchwise,
    ensure_own_shuffle,
    likely_cause,
    same,
)
from lessons_lib.training import losses

C1, C2 = 1e-4, 9e-4


def centre_ssim(x: Tensor, y: Tensor, deviation: float) -> Tensor:
    """SSIM at the centre of each patch, seen through a Gaussian as wide as the patch.

    ``(2 μx μy + c1)(2 σxy + c2) / ((μx² + μy² + c1)(σx² + σy² + c2))``

    Args:
        x: ``(B, 1, H, W)`` on the [0, 1] scale.
        y: same shape.
        deviation: of the Gaussian, in pixels. It is cut off at the patch's border and sums to 1.

    Returns:
        ``(B,)``.

    Source: Zhao, Gallo, Frosio, Kautz, *Loss functions for image restoration with neural networks*,
    2017, §III-B.
    """
    window = losses.gaussian(torch.ones_like(x[:1]), deviation)
    luminance, structure = losses.similarity(x, y, window)
    return (luminance * structure).flatten()


def _moments(estimate: Tensor, clean: Tensor) -> tuple[float, float, float]:
    """σxy, σx², σy² of centred vectors ``(n,)``."""
    pairs = ((estimate, clean), (estimate, estimate), (clean, clean))
    product, own, true = (float((one * other).mean()) for one, other in pairs)
    return product, own, true


def contrast_structure(gain: float, estimate: Tensor, clean: Tensor, c: float) -> float:
    """``cs(a) = (2 a σxy + c) / (a² σx² + σy² + c)`` of centred vectors ``(n,)``, equal weights."""
    product, own, true = _moments(estimate, clean)
    return (2 * gain * product + c) / (gain**2 * own + true + c)


def best_gain(estimate: Tensor, clean: Tensor, c: float) -> float:
    """The number a for which ``a · estimate`` has the largest `contrast_structure`.

    ``a = 2 σxy (σy² + c) / (c σx² + √(c² σx⁴ + 4 σxy² σx² (σy² + c)))``: of the two places where
    the derivative is 0, the one with the sign of σxy. With c = 0 it is ``± σy / σx``.

    Args:
        estimate: ``(n,)`` with mean 0, not all 0.
        clean: same.
        c: not negative; if it is 0, the two are not at right angles.

    Returns:
        The gain.
    """
    product, own, true = _moments(estimate, clean)
    root = math.sqrt((c * own) ** 2 + 4 * product**2 * own * (true + c))
    return 2 * product * (true + c) / (c * own + root)


def to_phases(image: Tensor) -> Tensor:
    """Each 2 × 2 square of pixels as four channels, row by row.

    Args:
        image: ``(B, C, H, W)``, both sides even.

    Returns:
        ``(B, 4C, H/2, W/2)``; the four phases of a channel stand together.

    Source: FFDNet §III-A.
    """
    squares = image.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (B, C, h, 2, w, 2)
    return squares.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)


def from_phases(phases: Tensor) -> Tensor:
    """The way back from `to_phases`.

    Args:
        phases: ``(B, 4C, h, w)``.

    Returns:
        ``(B, C, 2h, 2w)``.
    """
    squares = phases.unflatten(1, (-1, 2, 2))  # (B, C, 2, 2, h, w)
    return squares.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)


def homogeneous(net: nn.Sequential) -> nn.Sequential:
    """A copy of a network in evaluation, without anything that is added.

    Convolutions lose their biases, batch normalisation its mean and its shift:
    ``γ (x − μ) / s + β`` becomes ``γ x / s``.

    Args:
        net: of convolutions, `torch.nn.BatchNorm2d` in evaluation mode and ReLUs; no gradients.

    Returns:
        A network with ``f(a x) = a f(x)`` for a > 0.

    Source: Mohan, Kadkhodaie, Simoncelli, Fernandez-Granda, *Robust and interpretable blind image
    denoising via bias-free convolutional neural networks*, 2020.
    """
    bare = copy.deepcopy(net)
    for layer in bare:
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d) and layer.bias is not None:
            layer.bias.zero_()
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None:
            layer.running_mean.zero_()
    return bare


SSIM = Exercise("losses.centre_ssim", centre_ssim)


@SSIM.holds("a patch is like itself: 1", cause="which variance, covariance, mean is it?")
def itself(answer: Answer) -> None:
    patch = torch.rand(2, 1, 7, 7)
    same(answer(patch, patch, 2.0), torch.ones(2), case="x = y, 7 × 7 pixels", tolerance=1e-4)


@SSIM.holds("of two flat patches the brightness alone is compared")
def flat(answer: Answer) -> None:
    found = answer(torch.full((1, 1, 5, 5), 0.3), torch.full((1, 1, 5, 5), 0.5), 1.5)
    expected = torch.tensor([(2 * 0.3 * 0.5 + C1) / (0.3**2 + 0.5**2 + C1)])
    mistakes = [
        (expected * 0, "with variances of 0, what do the constants c1 and c2 leave?"),
        (expected.sqrt(), "is a root taken that is not there?"),
    ]
    same(
        found,
        expected,
        case="x = 0.3 and y = 0.5 everywhere",
        tolerance=1e-4,
        cause=likely_cause(found, mistakes) or "the window sums to 1, and c1 belongs to the means",
    )


@SSIM.holds("a picture and its negative are compared by a negative number")
def negative(answer: Answer) -> None:
    patch = torch.rand(1, 1, 9, 9)
    found = answer(patch, 1 - patch, 3.0)
    ensure(
        bool((found < 0).all()),
        case="x random, y = 1 − x",
        expected="a number below 0",
        actual=f"{float(found[0]):.4g}",
        cause="the covariance: is it a mean of products of differences, with their signs?",
    )


@SSIM.holds("both take the same place: exchanging them changes nothing")
def symmetric(answer: Answer) -> None:
    x, y = torch.rand(2, 1, 6, 6), torch.rand(2, 1, 6, 6)
    same(answer(x, y, 2.0), answer(y, x, 2.0), case="(x, y) and (y, x)", tolerance=1e-4)


@SSIM.holds("what is at the border counts less than what is at the centre")
def window(answer: Answer) -> None:
    y = 0.2 + 0.6 * torch.rand(1, 1, 11, 11)
    corner, centre = y.clone(), y.clone()
    corner[..., 0, 0] += 0.3
    centre[..., 5, 5] += 0.3
    losses = [1 - float(answer(x, y, 1.5)) for x in (corner, centre)]
    ensure(
        losses[0] < 0.01 * losses[1],
        case="0.3 added to a corner of 11 × 11 pixels, or to the centre; deviation 1.5",
        expected="1 − SSIM at most a hundredth of what it is at the centre",
        actual=f"1 − SSIM = {losses[0]:.3g} and {losses[1]:.3g}",
        cause="are all means weighted by the Gaussian, and is it centred at (H − 1)/2, (W − 1)/2?",
    )


@SSIM.holds("a wide window counts all pixels alike")
def wide(answer: Answer) -> None:
    x, y = torch.rand(1, 1, 6, 8), torch.rand(1, 1, 6, 8)
    found = answer(x, y, 1e4)
    means = [float(one.mean()) for one in (x, y)]
    var = [float(one.var(correction=0)) for one in (x, y)]
    product = float(((x - means[0]) * (y - means[1])).mean())
    light = (2 * means[0] * means[1] + C1) / (means[0] ** 2 + means[1] ** 2 + C1)
    expected = torch.tensor([light * (2 * product + C2) / (sum(var) + C2)])
    mistakes = [
        (expected / light, "where is the comparison of the means?"),
        (torch.tensor([light]), "where is the comparison of the variances?"),
        (
            torch.tensor([light * (product + C2) / (sum(var) + C2)]),
            "a factor 2 in front of the covariance",
        ),
        (
            torch.tensor([light * (2 * product + C1) / (sum(var) + C1)]),
            "c1 belongs to the means, c2 to the variances",
        ),
        (1 - expected, "it is SSIM that is asked for, not yet the loss"),
    ]
    same(
        found,
        expected,
        case="6 × 8 random pixels, deviation 10000",
        tolerance=1e-4,
        cause=likely_cause(found, mistakes),
    )


@SSIM.holds("the members of a batch do not mix")
def batch(answer: Answer) -> None:
    ensure_batchwise(answer, torch.rand(3, 1, 5, 5), torch.rand(3, 1, 5, 5), 1.0)


SSIM.agrees(
    lambda: [
        (torch.rand(2, 1, 9, 9), torch.rand(2, 1, 9, 9), 1.5),
        (torch.rand(1, 1, 8, 11), torch.rand(1, 1, 8, 11), 0.8),
        (0.02 * torch.rand(1, 1, 7, 7), 0.03 * torch.rand(1, 1, 7, 7), 2.0),
    ],
    tolerance=1e-4,
    cause="the deviation in the exponent: exp(−d² / 2σ²), in rows and in columns",
)


GAIN = Exercise("losses.best_gain", best_gain)


def _centred(*values: float) -> Tensor:
    vector = torch.tensor(values)
    return vector - vector.mean()


@GAIN.holds("an estimate that is right stays as it is", cause="what is cs at a = 1 then?")
def right(answer: Answer) -> None:
    clean = _centred(0.1, 0.5, 0.2, 0.9)
    same(answer(clean, clean, 9e-4), 1.0, case="estimate = clean, c = 0.0009", tolerance=1e-3)


@GAIN.holds("an estimate that is clean but three times too faint is multiplied by 3")
def faint(answer: Answer) -> None:
    clean = _centred(0.1, 0.5, 0.2, 0.9)
    found = answer(clean / 3, clean, 0.0)
    mistakes = [
        (1 / 3, "which of the two is to be multiplied?"),
        (9.0, "variances, or deviations?"),
        (1 / 9, "which of the two is to be multiplied?"),
    ]
    same(
        found,
        3.0,
        case="estimate = clean / 3, c = 0",
        tolerance=1e-3,
        cause=likely_cause(found, mistakes),
    )


@GAIN.holds("without c the estimate gets the contrast of the clean patch, however wrong it is")
def contrast(answer: Answer) -> None:
    estimate, clean = _centred(0.0, 0.3, 0.4, 0.3), _centred(0.2, 0.1, 0.9, 0.5)
    own, true = (float(one.square().mean().sqrt()) for one in (estimate, clean))
    product = float((estimate * clean).mean())
    found = answer(estimate, clean, 0.0)
    mistakes = [
        (product / own**2, "that makes the squared error smallest; what makes cs largest?"),
        (true**2 / product, "where is the derivative of cs by a equal to 0?"),
        (own / true, "which of the two is to be multiplied?"),
        (true**2 / own**2, "variances, or deviations?"),
    ]
    same(
        found,
        true / own,
        case="two patches of four pixels, c = 0",
        tolerance=1e-3,
        cause=likely_cause(found, mistakes),
    )


@GAIN.holds("an estimate with everything turned over is turned back")
def turned(answer: Answer) -> None:
    clean = _centred(0.1, 0.5, 0.2, 0.9)
    for c in (0.0, 9e-4):
        found = answer(-clean, clean, c)
        same(
            found,
            -1.0,
            case=f"estimate = −clean, c = {c}",
            tolerance=1e-3,
            cause="the derivative is 0 at two gains; which of them is the maximum?",
        )


@GAIN.holds("no other gain has a larger cs")
def optimal(answer: Answer) -> None:
    for c in (9e-4, 0.02, 0.3):
        estimate, clean = torch.randn(2, 9) * 0.2
        estimate = estimate - estimate.mean()
        clean = 0.7 * estimate + clean - clean.mean()
        found = answer(estimate, clean, c)
        value = contrast_structure(float(found), estimate, clean, c)
        rivals = [float(found) + step for step in (-1, -0.1, -0.01, 0.01, 0.1, 1)]
        rivals += torch.linspace(-4, 4, 161).tolist()
        best = max(rivals, key=lambda a: contrast_structure(a, estimate, clean, c))
        ensure(
            value >= contrast_structure(best, estimate, clean, c) - 1e-6,
            case=f"9 pixels, c = {c}",
            expected="a gain that no other beats",
            actual=f"cs = {value:.5f}, and another gain reaches "
            f"{contrast_structure(best, estimate, clean, c):.5f}",
            cause="c stands in the numerator and in the denominator of cs: does the derivative "
            "know of both?",
        )


@GAIN.holds("an estimate that has nothing to do with the patch is deleted, where c is not 0")
def unrelated(answer: Answer) -> None:
    estimate, clean = torch.tensor([1.0, -1.0, 1.0, -1.0]), torch.tensor([1.0, 1.0, -1.0, -1.0])
    found = answer(estimate, clean, 9e-4)
    same(
        found,
        0.0,
        case="two patches at right angles, c = 0.0009",
        tolerance=1e-3,
        cause="with σxy = 0 the quadratic equation is none",
    )


GAIN.agrees(
    lambda: [
        (_centred(0.1, 0.2, 0.7), _centred(0.3, 0.2, 0.9), 9e-4),
        (_centred(0.1, 0.12, 0.1), _centred(0.3, 0.33, 0.31), 9e-4),
    ],
    tolerance=1e-3,
)


TO_PHASES = Exercise("noise_maps.to_phases", to_phases)


@TO_PHASES.holds("the upper left square becomes four channels, row by row")
def square(answer: Answer) -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    found = answer(image)[0, :, 0, 0]
    mistakes = [
        (torch.tensor([0.0, 4.0, 1.0, 5.0]), "down the columns first? Row by row is asked for"),
        (torch.tensor([0.0, 2.0, 8.0, 10.0]), "quarters of the image, or every second pixel?"),
        (torch.tensor([0.0, 1.0, 2.0, 3.0]), "a reshape alone keeps rows together, not squares"),
    ]
    same(
        found,
        torch.tensor([0.0, 1.0, 4.0, 5.0]),
        case="4 × 4 pixels that count 0, 1, 2, … row by row",
        cause=likely_cause(found, mistakes),
    )


@TO_PHASES.holds("a phase is every second pixel of every second row")
def every_second(answer: Answer) -> None:
    image = torch.rand(1, 1, 6, 8)
    same(answer(image)[:, 3], image[:, 0, 1::2, 1::2], case="the last phase of 6 × 8 pixels")


@TO_PHASES.holds("the four phases of a colour stand together")
def colours(answer: Answer) -> None:
    image = torch.arange(3.0)[None, :, None, None].expand(1, 3, 4, 6).clone()
    found = answer(image)[0, :, 0, 0]
    same(
        found,
        torch.arange(3.0).repeat_interleave(4),
        case="an image whose colours are 0, 1 and 2 everywhere",
        cause="channels 0 to 3 belong to the first colour",
    )


TO_PHASES.agrees(lambda: [(torch.rand(2, 3, 4, 6),), (torch.rand(1, 1, 2, 2),)])


@TO_PHASES.holds("PyTorch's own functions for it are not called")
def by_hand(answer: Answer) -> None:
    ensure_own_shuffle(answer, torch.rand(1, 3, 4, 6))


FROM_PHASES = Exercise("noise_maps.from_phases", from_phases)


@FROM_PHASES.holds("four phases of one pixel become a square, row by row")
def one_square(answer: Answer) -> None:
    found = answer(torch.arange(4.0).reshape(1, 4, 1, 1))
    mistakes = [
        (torch.tensor([[[[0.0, 2.0], [1.0, 3.0]]]]), "down the columns first? Rows come first")
    ]
    same(
        found,
        torch.arange(4.0).reshape(1, 1, 2, 2),
        case="phases 0, 1, 2, 3",
        cause=likely_cause(found, mistakes),
    )


@FROM_PHASES.holds("it undoes the way there")
def undoes(answer: Answer) -> None:
    image = torch.rand(2, 1, 6, 8)
    same(
        answer(to_phases(image)),
        image,
        case="the phases of 6 × 8 random pixels",
        cause="pixel (2i + r, 2j + c) comes from (i, j) of phase 2r + c",
    )


@FROM_PHASES.holds("in colour, too", cause="channels 0 to 3 belong to the first colour")
def undoes_colour(answer: Answer) -> None:
    image = torch.rand(2, 3, 4, 6)
    same(answer(to_phases(image)), image, case="the phases of three colours, two images")


FROM_PHASES.agrees(lambda: [(torch.rand(2, 12, 3, 2),), (torch.rand(1, 4, 2, 5),)])


@FROM_PHASES.holds("PyTorch's own functions for it are not called")
def back_by_hand(answer: Answer) -> None:
    ensure_own_shuffle(answer, torch.rand(1, 12, 2, 3))


HOMOGENEOUS = Exercise("bias_free.homogeneous", homogeneous)


def _network(norms: bool = True, biases: bool = True, relu: bool = True) -> nn.Sequential:
    """A small network in evaluation with numbers in everything that can have some."""
    layers: list[nn.Module] = [nn.Conv2d(1, 4, 3, padding=1, bias=biases)]
    layers += [nn.ReLU()] if relu else []
    layers += [nn.Conv2d(4, 4, 3, padding=1, bias=biases)]
    if norms:
        norm = nn.BatchNorm2d(4)
        for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert values is not None
            values.data.uniform_(0.5, 1.5)
        # Some of them negative: behind a ReLU positive means alone would leave black black.
        assert norm.running_mean is not None
        norm.running_mean.mul_(torch.tensor([1.0, -1.0, 1.0, -1.0]))
        layers += [norm]
    layers += [nn.ReLU()] if relu else []
    layers += [nn.Conv2d(4, 1, 3, padding=1, bias=biases)]
    return nn.Sequential(*layers).requires_grad_(False).eval()


def _gap(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))


@HOMOGENEOUS.holds("a black picture stays black")
def black(answer: Answer) -> None:
    for norms, cause in ((False, "the biases"), (True, "batch normalisation: its shift, its mean")):
        out = answer(_network(norms))(torch.zeros(1, 1, 5, 5))
        same(
            out,
            torch.zeros(1, 1, 5, 5),
            case=f"a network with{'' if norms else 'out'} batch normalisation, on zeros",
            cause=f"what else is added? {cause}",
        )


@HOMOGENEOUS.holds("f(a x) = a f(x)", cause="something in it still is not in proportion to x")
def scales(answer: Answer) -> None:
    net, x = answer(_network()), torch.rand(1, 1, 6, 6)
    for gain in (0.1, 7.0):
        same(net(gain * x), gain * net(x), case=f"a = {gain}, 6 × 6 random pixels", tolerance=1e-4)


@HOMOGENEOUS.holds("kernels and gains stay: a linear network only loses what it adds")
def linear(answer: Answer) -> None:
    net, x = _network(relu=False), torch.rand(1, 1, 6, 6)
    nothing = torch.zeros_like(x)
    gap = _gap(answer(net)(x), net(x) - net(nothing))
    ensure(
        gap < 1e-3,
        case="convolutions and batch normalisation without ReLUs: f(x) − f(0)",
        expected="the same",
        actual=f"a difference of {100 * gap:.0f} %",
        cause="γ/s of batch normalisation is a factor, and stays",
    )


@HOMOGENEOUS.holds("a network without constants stays as it is")
def already(answer: Answer) -> None:
    net, x = _network(norms=False, biases=False), torch.rand(1, 1, 6, 6)
    same(answer(net)(x), net(x), case="no biases, no norms", tolerance=1e-4)


@HOMOGENEOUS.holds("the network that was given is left as it was")
def leaves(answer: Answer) -> None:
    net, x = _network(), torch.rand(1, 1, 6, 6)
    before = net(x)
    answer(net)
    same(net(x), before, case="the network itself, after the call", cause="copy.deepcopy first")
