"""Exercises of lesson 15: noise that follows the light, a loss to find it by, NN3D's filter."""

import math

import torch
from torch import Tensor

from lessons_lib.exercises.answer import FINITE, Answer
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.properties import cause_of, ensure, likely_cause, same
from lessons_lib.models.nn3d import shrink
from lessons_lib.training import losses


def noise_line(levels: Tensor, variances: Tensor) -> Tensor:
    """The two numbers of a sensor's noise, ``v = σ_s² L + σ_c²``, by weighted regression.

    ``min Σ w (v − σ_s² L − σ_c²)²``, three times: with all weights 1, then twice with ``1 / σ⁴(L)``
    of the line before, which is taken for 1e-6 where it is below that

    Args:
        levels: L, ``(n,)``.
        variances: v, ``(n,)``, each measured with as many pixels.

    Returns:
        ``[σ_s², σ_c²]``, ``(2,)``.

    Source: the model is that of Guo et al., *Toward convolutional blind denoising of real
    photographs*, 2019, §3.1.
    """
    points = torch.stack([levels, torch.ones_like(levels)], dim=1)
    weight = torch.ones_like(levels)
    line = levels.new_zeros(2)
    for _ in range(3):
        weighted = weight[:, None] * points
        line = torch.linalg.lstsq(weighted, (weight * variances)[:, None]).solution[:, 0]
        weight = 1 / (points @ line).clamp_min(1e-6)
    return line


def stabilise(light: Tensor, shot: float, read: float) -> Tensor:
    """The curve behind which a sensor's noise is equally strong everywhere, with deviation 1.

    ``f(L) = ∫₀ᴸ dl / σ(l) = 2L / (σ(L) + σ(0))`` with ``σ²(L) = σ_s² L + σ_c²``

    Written with a sum of roots, where the usual form has a difference over ``σ_s²``, it holds
    without shot noise, too.

    Args:
        light: any shape; where ``σ²`` would be negative, that at which it is 0 counts.
        shot: σ_s.
        read: σ_c.

    Returns:
        Same shape.

    Source: Murtagh, Starck, Bijaoui, *Image restoration with noise suppression using a
    multiresolution support*, 1995, without the constants that are for Poisson noise of few counts.
    """
    light = light.clamp_min(-(read**2) / max(shot**2, 1e-12))
    sigma = (shot**2 * light + read**2).clamp_min(0).sqrt()
    return 2 * light / (sigma + read).clamp_min(1e-12)


LINE = Exercise("camera.noise_line", noise_line)


def _spread(levels: Tensor, pixels: int, slope: float, start: float) -> Tensor:
    """Variances as they are measured with a few pixels."""
    drawn = torch.randn(pixels, len(levels))
    return drawn.var(dim=0) * (slope * levels + start)


@LINE.holds("points on a line give this line")
def on_a_line(answer: Answer) -> None:
    levels = torch.tensor([0.1, 0.3, 0.4, 0.9])
    found = answer(levels, 0.03 * levels + 0.002)
    mistakes = [
        (torch.tensor([0.002, 0.03]), "σ_s² comes first, then σ_c²"),
        (torch.tensor([0.03, 0.002]).sqrt(), "return σ_s² and σ_c², not their roots"),
    ]
    same(
        found,
        torch.tensor([0.03, 0.002]),
        case="v = 0.03 L + 0.002 at four levels",
        tolerance=1e-4,
        cause=likely_cause(found, mistakes),
    )


@LINE.holds("the order of the points does not matter")
def any_order(answer: Answer) -> None:
    levels = torch.rand(40)
    variances = _spread(levels, 30, 0.03, 0.002)
    order = torch.randperm(40)
    same(
        answer(levels[order], variances[order]),
        answer(levels, variances),
        case="40 points, and the same shuffled",
        tolerance=1e-4,
    )


@LINE.holds(
    "noise twice as strong has σ² four times as large",
    cause="are the weights made of the line, or of something that does not grow with it?",
)
def scales(answer: Answer) -> None:
    levels = torch.rand(60)
    variances = _spread(levels, 20, 0.05, 0.01)
    same(
        answer(levels, 4 * variances) / 4,
        answer(levels, variances),
        case="60 points, and the same with 4 v",
        tolerance=1e-3,
    )


@LINE.holds(
    "dark points, which are exact, outweigh bright ones",
    cause="is the weight 1/σ⁴, and its root taken on both sides of the equation?",
)
def dark_counts(answer: Answer) -> None:
    levels = torch.tensor([0.0, 0.02, 0.04, 1.0, 1.0])
    # In the light one point is as far above the line as the other is below it, and then not.
    variances = 0.05 * levels + 0.001
    moved = variances.clone()
    moved[3] *= 1.5
    plain, found = answer(levels, variances), answer(levels, moved)
    ensure(
        bool((found[1] - plain[1]).abs() < 2e-4),
        case="5 points, and the same with one in the light off by half",
        expected="σ_c² changes by less than 0.0002",
        actual=f"it changes by {float((found[1] - plain[1]).abs()):.5f}",
    )


@LINE.holds("with many rough points it is right on average")
def unbiased(answer: Answer) -> None:
    levels = torch.rand(4000)
    found = answer(levels, _spread(levels, 9, 0.04, 0.004))
    low = bool(found[0] < 0.038)
    same(
        found / torch.tensor([0.04, 0.004]),
        torch.ones(2),
        case="4000 points of 9 pixels each, σ_s² = 0.04, σ_c² = 0.004; found over true",
        tolerance=0.06,
        cause="weights made of the measured v trust those most that came out too small: make "
        "them of the line"
        if low
        else "",
    )


LINE.agrees(
    lambda: [
        (levels := torch.rand(50), _spread(levels, 20, 0.03, 0.003)),
        (levels := torch.linspace(0, 1, 30), _spread(levels, 12, 0.002, 0.01)),
        # So few that each round moves the line.
        (torch.tensor([0.05, 0.2, 0.4, 0.7, 0.9]), torch.tensor([0.004, 0.02, 0.01, 0.05, 0.03])),
    ],
    tolerance=2e-4,
    cause="three rounds, the first with all weights 1? Then weights of 1/σ⁴, not 1/σ²?",
)


STABILISE = Exercise("camera.stabilise", stabilise)
LIGHTS = [(0.16, 0.03), (0.05, 0.05), (0.1, 0.01)]


def _lights() -> Tensor:
    return torch.linspace(0.002, 1, 40, dtype=torch.float64)


@STABILISE.holds("black is 0", cause="an integral from 0 to L: which constant does that leave?")
def black(answer: Answer) -> None:
    for shot, read in LIGHTS:
        same(answer(torch.zeros(1), shot, read), 0.0, case=f"L = 0, σ_s = {shot}, σ_c = {read}")


@STABILISE.holds("more light, larger number")
def monotone(answer: Answer) -> None:
    for shot, read in LIGHTS:
        steps = answer(_lights(), shot, read).diff()
        ensure(
            bool((steps > 0).all()),
            case=f"40 levels in rising order, σ_s = {shot}, σ_c = {read}",
            expected="rising numbers",
            actual=f"{int((steps <= 0).sum())} steps that do not rise",
        )


@STABILISE.holds("without shot noise it is L / σ_c")
def gaussian(answer: Answer) -> None:
    light = torch.tensor([0.0, 0.1, 0.7])
    with cause_of(FINITE, "a division by σ_s², which may be 0: multiply by the sum of the roots"):
        same(
            answer(light, 0.0, 0.1),
            10 * light,
            case="L = [0, 0.1, 0.7], σ_s = 0, σ_c = 0.1",
            cause="where σ is the same everywhere, which curve has the slope 1/σ?",
        )


@STABILISE.holds("without read noise it is 2√L / σ_s")
def poisson(answer: Answer) -> None:
    light = torch.tensor([0.0, 0.04, 0.25, 1.0])
    found = answer(light, 0.2, 0.0)
    mistakes = [
        (light.sqrt() / 0.2, "what is the derivative of √L?"),
        (2 * light.sqrt(), "which unit makes the noise 1?"),
        (2 * light.sqrt() / 0.04, "σ_s, or its square?"),
    ]
    same(
        found,
        10 * light.sqrt(),
        case="L = [0, 0.04, 0.25, 1], σ_s = 0.2, σ_c = 0",
        cause=likely_cause(found, mistakes),
    )


@STABILISE.holds("its slope times σ(L) is 1", cause="differentiate what you have: is it 1/σ(L)?")
def slope(answer: Answer) -> None:
    light, step = _lights(), 1e-5
    for shot, read in LIGHTS:
        slopes = (answer(light + step, shot, read) - answer(light - step, shot, read)) / (2 * step)
        sigma = (shot**2 * light + read**2).sqrt()
        same(slopes * sigma, 1.0, case=f"σ_s = {shot}, σ_c = {read}, 40 levels", tolerance=1e-3)


@STABILISE.holds("transformed noise has the variance 1 at all levels")
def variance_one(answer: Answer) -> None:
    levels = torch.tensor([0.2, 0.5, 0.9])
    for shot, read in ((0.08, 0.03), (0.05, 0.05)):
        noise = (shot**2 * levels + read**2).sqrt() * torch.randn(20000, 3)
        same(
            answer(levels + noise, shot, read).var(dim=0),
            1.0,
            case=f"20,000 samples at L = 0.2, 0.5 and 0.9, σ_s = {shot}, σ_c = {read}",
            tolerance=0.06,
        )


@STABILISE.holds(
    "a little shot noise changes little",
    cause="a difference of two roots that are nearly equal, over a small number, loses all digits: "
    "multiply above and below by their sum",
)
def little_shot(answer: Answer) -> None:
    light = torch.linspace(0, 1, 20)
    for shot in (1e-3, 1e-4, 1e-5):
        case = f"20 levels in float32, σ_s = {shot:g}, σ_c = 0.1"
        same(answer(light, shot, 0.1), 10 * light, case=case, tolerance=1e-3)


@STABILISE.holds("below −σ_c²/σ_s² it stays what it is there")
def negative(answer: Answer) -> None:
    for read in (0.08, 0.0):
        edge = -((read / 0.16) ** 2)
        light = torch.tensor([edge - 0.4, edge - 0.01, edge])
        with cause_of(FINITE, "the root of a negative number: where σ² is negative, take 0"):
            found = answer(light, 0.16, read)
        same(
            found,
            -2 * read / 0.16**2,
            case=f"L = {edge:g}, 0.01 less and 0.4 less, σ_s = 0.16, σ_c = {read}",
            tolerance=1e-3,
            cause="is L held where σ² is 0, above and below the stroke of the fraction?",
        )


STABILISE.agrees(
    lambda: [
        (torch.rand(2, 1, 5, 6), 0.16, 0.03),
        (torch.rand(7) - 0.001, 0.1, 0.05),
        (torch.rand(1, 1, 4, 4), 0.0, 0.02),
    ],
    tolerance=1e-4,
)


ASYMMETRIC = Exercise("cbdnet.asymmetric", losses.asymmetric)


def _one(value: float) -> Tensor:
    return torch.full((1, 1, 1, 1), value)


@ASYMMETRIC.holds("a map without errors costs nothing")
def no_error(answer: Answer) -> None:
    noise = torch.rand(2, 1, 3, 4)
    same(answer(noise, noise, 0.3), 0.0, case="a map that is the truth")


@ASYMMETRIC.holds(
    "too little noise found costs more than too much",
    cause="for which of the two is the indicator 1? Its weight is |0.3 − 1|",
)
def which_is_worse(answer: Answer) -> None:
    low, high = (float(answer(_one(value), _one(0.2), 0.3)) for value in (0.15, 0.25))
    ensure(
        low > high,
        case="σ = 0.2, found 0.15 and 0.25, α = 0.3",
        expected="the first costs more",
        actual=f"{low:.4g} and {high:.4g}",
    )


@ASYMMETRIC.holds("off by 0.1: 0.007 if too low, 0.003 if too high")
def known_costs(answer: Answer) -> None:
    found = torch.tensor(
        [float(answer(_one(value), _one(0.2), 0.3)) for value in (0.1, 0.3)], dtype=torch.float64
    )
    mistakes = [
        (torch.tensor([0.07, 0.03]), "the error, or its square?"),
        (torch.tensor([0.0049, 0.0009]), "is the weight squared, too?"),
    ]
    same(
        1000 * found,
        torch.tensor([7.0, 3.0]),
        case="σ = 0.2, found 0.1 and 0.3, α = 0.3; a thousand times the cost",
        tolerance=1e-3,
        cause=likely_cause(found, mistakes),
    )


@ASYMMETRIC.holds("with α = ½ it is half the squared error")
def symmetric(answer: Answer) -> None:
    found, noise = torch.rand(1, 2, 3, 4), torch.rand(1, 2, 3, 4)
    same(
        answer(found, noise, 0.5),
        float((found - noise).square().sum() / 2),
        case="one map of 2 × 3 × 4",
        cause="is α used, or 0.3? Is it the sum over pixels?",
    )


@ASYMMETRIC.holds(
    "a batch costs what its members cost on average",
    cause="the sum over pixels, divided by the members of the batch",
)
def average(answer: Answer) -> None:
    found, noise = torch.rand(3, 1, 4, 5), torch.rand(3, 1, 4, 5)
    alone = [float(answer(found[i : i + 1], noise[i : i + 1], 0.3)) for i in range(3)]
    same(answer(found, noise, 0.3), sum(alone) / 3, case="3 maps, and each alone")


@ASYMMETRIC.holds("with α = 0.3 it is the library's loss for training")
def as_in_training(answer: Answer) -> None:
    found, noise = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)
    expected = float(losses.asymmetric(found, noise))
    same(answer(found, noise, 0.3), expected, case="2 maps in colour")


ASYMMETRIC.agrees(
    lambda: [
        (torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5), 0.3),
        (torch.rand(1, 1, 6, 6), torch.rand(1, 1, 6, 6), 0.1),
    ]
)


SHRINK = Exercise("nn3d.shrink", shrink)


@SHRINK.holds("patches that are the same stay as they are")
def identical(answer: Answer) -> None:
    patch = torch.randn(4, 1, 3)
    same(
        answer(patch.expand(4, 8, 3).clone(), 0.5),
        patch.expand(4, 8, 3),
        case="3 groups of 8 equal patches of 4 pixels, τ = 0.5",
        cause="is the first coefficient, their sum, left alone?",
    )


@SHRINK.holds("τ = 0 changes nothing", cause="there and back: which matrix undoes H?")
def nothing(answer: Answer) -> None:
    stacked = torch.randn(3, 4, 2)
    same(answer(stacked, 0.0), stacked, case="2 groups of 4 patches of 3 pixels, τ = 0")


@SHRINK.holds("two patches, 5 and 1, become 4.5 and 1.5 where τ² = 8/3, 4 and 2 where it is 8")
def pair(answer: Answer) -> None:
    patches = torch.tensor([[[5.0], [1.0]]])
    root = math.sqrt(3)
    mistakes = [
        (torch.tensor([3 + 2 * root / (1 + root), 3 - 2 * root / (1 + root)]), "τ, or its square?"),
        (torch.tensor([5.0, 1.0]), "differences are shrunk, whether small or large"),
        (torch.tensor([3.0, 3.0]), "differences are shrunk, not deleted"),
    ]
    found = answer(patches, math.sqrt(8 / 3))
    same(
        found,
        torch.tensor([[[4.5], [1.5]]]),
        case="one group, 5 and 1, τ² = 8/3",
        cause=likely_cause(found.flatten(), mistakes),
    )
    found = answer(patches, math.sqrt(8))
    same(
        found,
        torch.tensor([[[4.0], [2.0]]]),
        case="one group, 5 and 1, τ² = 8",
        cause=likely_cause(found.flatten(), mistakes),
    )


@SHRINK.holds("each pixel's mean over the group is kept")
def mean_kept(answer: Answer) -> None:
    stacked = torch.randn(5, 8, 2)
    same(
        answer(stacked, 0.7).mean(dim=1),
        stacked.mean(dim=1),
        case="2 groups of 8 patches of 5 pixels, τ = 0.7",
        cause="which axis is that of the patches? Is the first coefficient left alone?",
    )


@SHRINK.holds(
    "a large τ leaves the means alone", cause="is q² in the numerator, or τ²? And which axis?"
)
def all_alike(answer: Answer) -> None:
    stacked = torch.randn(3, 4, 2)
    same(
        answer(stacked, 1e6),
        stacked.mean(dim=1, keepdim=True).expand_as(stacked),
        case="2 groups of 4 patches of 3 pixels, τ = 1,000,000",
    )


@SHRINK.holds("pixels and groups do not mix")
def apart(answer: Answer) -> None:
    stacked = torch.randn(3, 4, 2)
    for m, r in ((0, 0), (2, 1)):
        same(
            answer(stacked, 0.5)[m : m + 1, :, r : r + 1],
            answer(stacked[m : m + 1, :, r : r + 1], 0.5),
            case=f"pixel {m} of group {r} among others, and it alone",
        )


@SHRINK.holds("halves first: a step in the middle of a group is one coefficient")
def a_step(answer: Answer) -> None:
    stacked = torch.tensor([1.0, 1, 1, 1, -1, -1, -1, -1]).view(1, 8, 1)
    # The one coefficient is √8, so that τ² = 8 halves it.
    same(
        answer(stacked, math.sqrt(8)),
        stacked / 2,
        case="a group 1, 1, 1, 1, −1, −1, −1, −1, τ² = 8",
        cause="is it the orthonormal Haar transform of the whole group?",
    )


SHRINK.agrees(
    lambda: [
        (torch.randn(4, 8, 3), 0.5),
        (torch.randn(9, 2, 5), 1.0),
        (torch.zeros(2, 4, 2), 0.0),
        (torch.randn(2, 1, 3), 0.4),
    ]
)
