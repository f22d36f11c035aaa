"""Exercises of lesson 17: a benchmark, its error bars, a printed row's protocol, and a network."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib import metrics
from lessons_lib.degradations import GaussianNoise
from lessons_lib.exercises.answer import Answer
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.properties import ensure, likely_cause, same
from lessons_lib.ops.dictionary import dct_dictionary

Denoiser = Callable[[Tensor, float], Tensor]
Photos = dict[str, Tensor]

# What a network of one's own may have, and the noise that it is for.
WEIGHTS, SIGMA = 20_000, 25 / 255


def benchmark(method: Denoiser, photos: Photos, sigma: float) -> Tensor:
    """The PSNR of a method on each photograph, by the protocol of this course.

    Args:
        method: makes an estimate of a noisy ``(1, 1, H, W)`` and σ on the [0, 1] scale.
        photos: clean ``(1, 1, H, W)`` by name. The name is the key of the noise.
        sigma: of the noise, on the [0, 1] scale.

    Returns:
        ``(n,)``, in dB.
    """
    scores = []
    for name, clean in photos.items():
        estimate = method(GaussianNoise(sigma)(clean, name), sigma)
        rounded = (estimate.clamp(0, 1) * 255).round() / 255
        scores.append(metrics.psnr(rounded, clean))
    return torch.cat(scores)


def paired(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """The mean lead of one method over another, and the standard error of that mean.

    ``mean(d)`` and ``std(d) / √n`` for the differences d, the standard deviation with n − 1

    Args:
        ours: ``(n,)`` PSNRs in dB, n at least 2.
        theirs: ``(n,)``, of the same photographs in the same order.

    Returns:
        Both in dB.
    """
    differences = (ours - theirs).double()
    return differences.mean().item(), differences.std().item() / math.sqrt(len(differences))


def suspects(printed: list[str], scored: dict[str, list[float]]) -> list[str]:
    """The conventions that a printed row agrees with.

    Args:
        printed: the numbers of the row as they are printed, such as "28.90" or "0.8123".
        scored: the same numbers by each convention, not rounded.

    Returns:
        The names of all conventions that would be printed so, in the order in which they are given.
    """
    found = []
    for name, numbers in scored.items():
        digits = [len(text.partition(".")[2]) for text in printed]
        halves = [0.5 * 10**-count for count in digits]
        near = zip(printed, numbers, halves, strict=True)
        if all(abs(float(text) - number) <= half for text, number, half in near):
            found.append(name)
    return found


def row_c(method: Denoiser, photos: Photos, sigma: float) -> Tensor:
    """The PSNRs of a method that is shown noisy photographs after they were clipped.

    Args:
        method: see `benchmark`.
        photos: see there.
        sigma: see there.

    Returns:
        ``(n,)``, in dB.
    """
    return benchmark(lambda noisy, level: method(noisy.clamp(0, 1), level), photos, sigma)


class TwoLooks(nn.Module):
    """DCT thresholding and then Wiener's gains, with all their matrices to be learned.

    Both looks code all patches of 8 × 8 of the noisy image, multiply each coefficient c by a gain,
    and average the patches, each with the weight ``1 / Σ g²``:

    - first ``g = s⁴ / (1 + s⁴)`` with ``s = (c / λσ)²``, a threshold that is smooth;
    - then ``g = s / (1 + s)``, where s is made of the coefficients of the first estimate: Wiener's
      gain, if those were the true ones.

    16,512 weights. While it is trained, every second patch in each direction is enough.

    Source: Guleryuz, *Nonlinear approximation based image recovery*, 2006; the second look is that
    of Dabov and others, *Image denoising by sparse 3-D transform-domain collaborative filtering*,
    2007, without groups.
    """

    def __init__(self) -> None:
        super().__init__()
        basis = dct_dictionary(8, 64)
        self.pairs = nn.Parameter(torch.stack([basis.T, basis]).repeat(2, 1, 1, 1))
        levels = torch.tensor([2.5, 1.0]).view(2, 1, 1).repeat(1, 64, 1)
        levels[:, 0] = 0.05  # the mean of a patch is kept
        self.levels = nn.Parameter(levels)

    def forward(self, noisy: Tensor, sigma: float) -> Tensor:
        """An estimate of ``(B, 1, H, W)``, even H and W where it is trained."""
        step, padded = 1 + self.training, F.pad(noisy, (7, 7, 7, 7), mode="reflect")
        patches, estimate = F.unfold(padded, 8, stride=step), padded
        for (analysis, synthesis), level, power in zip(
            self.pairs, self.levels, (4, 1), strict=True
        ):
            size = (analysis @ F.unfold(estimate, 8, stride=step) / (level * sigma)).square()
            gains = 1 - 1 / (1 + size**power)
            trust = 1 / (gains.square().sum(dim=1, keepdim=True) + 0.001)
            parts = trust * (synthesis @ (gains * (analysis @ patches)))
            above, below = (
                F.fold(part, padded.shape[-2:], 8, stride=step)
                for part in (parts, trust.expand_as(parts))
            )
            estimate = above / below
        return estimate[..., 7:-7, 7:-7]


def small_network() -> nn.Module:
    """A network of fewer than 20,000 weights, not trained, see `TwoLooks`."""
    return TwoLooks()


# Photographs for the checks ----------------------------------------------------------------------


def _texture(low: float, high: float, side: int = 24) -> Tensor:
    """Waves between two grey levels that a file can hold, ``(1, 1, side, side)``."""
    steps = torch.arange(side)
    waves = 0.5 + 0.25 * (torch.sin(steps[:, None] / 2) + torch.sin(steps / 3))
    return ((low + (high - low) * waves) * 255).round()[None, None] / 255


def _photos() -> Photos:
    return {"dusk": _texture(0.3, 0.7), "night": _texture(0, 0.1), "snow": _texture(0.8, 1)}


def _mean(noisy: Tensor, sigma: float) -> Tensor:
    """The mean of 3 × 3 pixels."""
    return F.avg_pool2d(F.pad(noisy, (1, 1, 1, 1), mode="reflect"), 3, stride=1)


def _as_it_is(noisy: Tensor, sigma: float) -> Tensor:
    return noisy


def _told(noisy: Tensor, sigma: float) -> Tensor:
    """A method that relies on σ."""
    return noisy + (_mean(noisy, sigma) - noisy) * min(1.0, 8 * sigma)


# 1 -----------------------------------------------------------------------------------------------

BENCHMARK = Exercise("capstone.benchmark", benchmark)


@BENCHMARK.holds("one number for each photograph, in their order")
def in_order(answer: Answer) -> None:
    photos = _photos()
    targets = torch.cat(list(photos.values()))

    def oracle(noisy: Tensor, sigma: float) -> Tensor:
        """Off by 1, 2 and 4 grey levels, towards the middle."""
        number = int((targets - noisy).abs().flatten(1).mean(dim=1).argmin())
        near = targets[number : number + 1]
        return near + (2**number / 255) * torch.where(near < 0.5, 1.0, -1.0)

    found = answer(oracle, photos, 0.1)
    expected = torch.tensor([48.1308, 42.1102, 36.0896])
    same(found, expected, case="estimates off by 1, 2 and 4 grey levels", tolerance=1e-4)


@BENCHMARK.holds("the noise is drawn by the photograph's name, and not clipped")
def by_name(answer: Answer) -> None:
    for name, photo in (("night", _texture(0, 0)), ("day", _texture(0.5, 0.5))):
        seen: list[Tensor] = []

        def look(noisy: Tensor, sigma: float, seen: list[Tensor] = seen) -> Tensor:
            seen.append(noisy.clone())
            return 0.5 * noisy + 0.3

        answer(look, {name: photo}, 0.1)
        noisy = GaussianNoise(0.1)(photo, name)
        shown = seen[0] if seen else torch.zeros_like(photo)
        mistakes = [
            (GaussianNoise(0.1)(photo), "the name is the key of the noise"),
            (noisy.clamp(0, 1), "what does the protocol say of noisy values beyond [0, 1]?"),
            (photo, "the method is to be shown the noisy photograph"),
        ]
        case = f"what the method sees of '{name}'"
        same(shown, noisy, case=case, cause=_closest(shown, mistakes))


@BENCHMARK.holds("the method is told σ")
def told_sigma(answer: Answer) -> None:
    told: list[float] = []

    def listen(noisy: Tensor, sigma: float) -> Tensor:
        told.append(float(sigma))
        return noisy

    answer(listen, {"a": _texture(0.2, 0.6)}, 0.1)
    mistakes = [(25.5, "σ is on the [0, 1] scale"), (0.01, "σ, not its square")]
    same(told[0], 0.1, case="σ = 0.1", cause=likely_cause(told[0], mistakes))


@BENCHMARK.holds("estimates are clipped before they are scored")
def clips(answer: Answer) -> None:
    photo = torch.full((1, 1, 16, 16), 204 / 255)
    found = answer(lambda noisy, sigma: torch.full_like(noisy, 1.4), {"a": photo}, 0.1)
    cause = "a screen shows nothing brighter than 1"
    same(found, 13.9794, case="a photograph of 0.8, the estimate 1.4", tolerance=1e-4, cause=cause)


@BENCHMARK.holds("estimates have the 256 levels of a file")
def rounds(answer: Answer) -> None:
    photo = torch.full((1, 1, 16, 16), 100 / 255)
    found = answer(lambda noisy, sigma: torch.full_like(noisy, 100.6 / 255), {"a": photo}, 0.1)
    mistakes = [
        (52.5678, "is the estimate rounded?"),
    ]
    case = "100 grey levels, the estimate 100.6"
    same(found, 48.1308, case=case, tolerance=1e-4, cause=likely_cause(found, mistakes))


BENCHMARK.agrees(lambda: [(_mean, _photos(), 0.1), (_told, _photos(), 0.05)], tolerance=1e-4)


def _closest(found: Tensor, mistakes: list[tuple[Tensor, str]]) -> str:
    """The words of the first of these that was found."""
    for number, words in mistakes:
        if found.shape == number.shape and torch.allclose(found, number, atol=1e-5):
            return words
    return "which noise is it, and of which size?"


# 2 -----------------------------------------------------------------------------------------------

PAIRED = Exercise("capstone.paired", paired)


def _pair(differences: list[float]) -> tuple[Tensor, Tensor]:
    """PSNRs that differ so, of photographs from easy to hard."""
    theirs = 28 + 4 * torch.randn(len(differences), dtype=torch.float64)
    return theirs + torch.tensor(differences, dtype=torch.float64), theirs


@PAIRED.holds("the first number is how much better ours is on average")
def lead(answer: Answer) -> None:
    found, _ = answer(*_pair([0.1, 0.2, 0.6]))
    cause = likely_cause(found, [(-0.3, "ours less theirs"), (0.2, "the mean, not the median")])
    same(found, 0.3, case="differences of 0.1, 0.2 and 0.6 dB", cause=cause)


@PAIRED.holds("a lead that is the same everywhere is certain")
def certain(answer: Answer) -> None:
    _, found = answer(*_pair([0.2, 0.2, 0.2, 0.2]))
    cause = "both methods find the same photographs hard: what is left of that in the difference?"
    same(found, 0.0, case="0.2 dB better on each of four photographs", cause=cause)


@PAIRED.holds("differences twice as large, twice the error")
def scales(answer: Answer) -> None:
    once, twice = (answer(*_pair([k * 0.1, k * 0.2, k * 0.6]))[1] for k in (1.0, 2.0))
    same(twice, 2 * float(once), case="all differences doubled", cause="an error in dB, or in dB²?")


@PAIRED.holds("a hundred times the photographs, a tenth of the error")
def more_photographs(answer: Answer) -> None:
    few, many = (answer(*_pair(k * [0.1, 0.2, 0.6, 0.3]))[1] for k in (10, 1000))
    ratio = float(many) / float(few)
    mistakes = [
        (1.0, "the scatter of the differences: how much do *means* of n of them scatter?"),
        (0.01, "does a mean of n numbers scatter n times less?"),
    ]
    case = "40 photographs, and 4000 like them: what is left of the error"
    near = next((words for number, words in mistakes if abs(ratio / number - 1) < 0.1), "")
    same(ratio, 0.1, case=case, tolerance=2e-3, cause=near)


@PAIRED.holds("tables of six photographs scatter as much as it says")
def tables(answer: Answer) -> None:
    drawn = torch.distributions.Exponential(torch.tensor(5.0, dtype=torch.float64)).sample(
        (3000, 6)
    )
    theirs = 28 + 4 * torch.randn(6, dtype=torch.float64)
    found = [float(answer(theirs + row, theirs)[1]) for row in drawn[:1500]]
    said, true = math.sqrt(sum(error**2 for error in found) / 1500), 0.2 / math.sqrt(6)
    cause = "the mean was taken from the same six numbers" if 0.88 < said / true < 0.95 else ""
    ensure(
        0.95 < said / true < 1.05,
        case="1500 tables of six, whose mean differences scatter by 0.082 dB",
        expected="errors of 0.082 dB, as root of the mean square",
        actual=f"{said:.3f} dB",
        cause=cause,
    )


PAIRED.agrees(lambda: [(torch.randn(9), torch.randn(9)), (torch.randn(2), torch.randn(2))])


# 3 -----------------------------------------------------------------------------------------------

SUSPECTS = Exercise("capstone.suspects", suspects)


def _named(
    answer: Answer,
    printed: list[str],
    scored: dict[str, list[float]],
    expected: list[str],
    cause: str,
) -> None:
    found = answer(printed, scored)
    ensure(
        list(found) == expected,
        case=f"printed {', '.join(printed)}; scored {scored}",
        expected=f"{expected}",
        actual=f"{list(found)}",
        cause=cause,
    )


@SUSPECTS.holds("a number that is printed is one of many")
def an_interval(answer: Answer) -> None:
    scored = {"a": [28.896], "b": [28.9049], "c": [28.9062], "d": [28.8937]}
    cause = "which numbers are printed as 28.90?"
    _named(answer, ["28.90"], scored, ["a", "b"], cause)


@SUSPECTS.holds("the fewer digits, the more numbers it may be")
def digits(answer: Answer) -> None:
    scored = {"a": [28.896], "b": [28.93], "c": [28.96]}
    cause = "28.9 is not 28.90: how many digits are printed?"
    _named(answer, ["28.9"], scored, ["a", "b"], cause)
    _named(answer, ["0.8123"], {"a": [0.8127], "b": [0.81234]}, ["b"], cause)
    _named(answer, ["31"], {"a": [31.4], "b": [30.4]}, ["a"], cause)


@SUSPECTS.holds("all columns of a row have to agree", cause="does one column decide?")
def all_columns(answer: Answer) -> None:
    scored = {"a": [28.901, 0.8200], "b": [28.95, 0.81232], "c": [28.899, 0.81228]}
    _named(answer, ["28.90", "0.8123"], scored, ["c"], "does one column decide?")


@SUSPECTS.holds("sometimes all agree, and sometimes none")
def all_or_none(answer: Answer) -> None:
    scored = {"z": [28.901], "a": [28.902], "m": [28.899]}
    _named(answer, ["28.90"], scored, ["z", "a", "m"], "all of them, in their order")
    _named(answer, ["27.11"], scored, [], "the nearest one need not be the right one")


def _case() -> tuple[list[str], dict[str, list[float]]]:
    values = (30 * torch.rand(40, 2, dtype=torch.float64)).tolist()
    scored = {f"convention {number}": row for number, row in enumerate(values)}
    return [f"{values[7][0]:.1f}", f"{values[7][1]:.0f}"], scored


@SUSPECTS.holds("agrees with the library")
def agree(answer: Answer) -> None:
    for _ in range(20):
        printed, scored = _case()
        _named(answer, printed, scored, answer.reference(printed, scored), "")


# 4 -----------------------------------------------------------------------------------------------

ROW_C = Exercise("capstone.row_c", row_c)


@ROW_C.holds("photographs without black and white have the protocol's numbers")
def as_before(answer: Answer) -> None:
    photos = {"dusk": _texture(0.45, 0.55), "dawn": _texture(0.4, 0.6)}
    found = answer(_mean, photos, 0.04)
    cause = "the rows of brick and grass agree to the last digit: is there a change here, too?"
    filed = benchmark(lambda noisy, level: _mean((255 * noisy).round() / 255, level), photos, 0.04)
    if torch.allclose(found, filed, rtol=0, atol=1e-4):
        cause = "is what the method sees rounded as well? Row C's is not"
    same(
        found,
        benchmark(_mean, photos, 0.04),
        case="waves from 0.4 to 0.6, σ = 0.04, the mean of 3 × 3 pixels",
        tolerance=1e-6,
        cause=cause,
    )


@ROW_C.holds("a method that changes nothing has the protocol's numbers")
def identity(answer: Answer) -> None:
    same(
        answer(_as_it_is, _photos(), 0.1),
        benchmark(_as_it_is, _photos(), 0.1),
        case="the noisy photographs themselves, σ = 0.1",
        tolerance=1e-4,
        cause="all of it is scored, and as before",
    )


@ROW_C.holds("where a photograph is black, a mean of many pixels is no longer black")
def black(answer: Answer) -> None:
    dark = {"night": torch.zeros(1, 1, 64, 64)}

    def level(noisy: Tensor, sigma: float) -> Tensor:
        return F.avg_pool2d(F.pad(noisy, (4, 4, 4, 4), mode="reflect"), 9, stride=1)

    found, plain = float(answer(level, dark, 0.1)), float(row_c(level, dark, 0.1))
    ensure(
        math.isfinite(found) and abs(found - plain) < 1e-3,
        case="a black photograph, σ = 0.1, and the mean of 9 × 9 pixels",
        expected=f"{plain:.2f} dB",
        actual=f"{found:.2f} dB",
        cause="what is different about black, for a file or a screen?",
    )


ROW_C.agrees(lambda: [(_mean, _photos(), 0.1), (_told, _photos(), 0.05)], tolerance=1e-4)


# 5 -----------------------------------------------------------------------------------------------

NETWORK = Exercise("capstone.small_network", small_network)


def _about(answer: Answer, look: Callable[[nn.Module], Any]) -> Any:
    """What one sees of a network; two networks are of no common type that could be compared."""

    def seen(make: Callable[[], nn.Module]) -> Any:
        with torch.enable_grad():  # lessons switch gradients off
            return look(make())

    return Answer(lambda: seen(answer.function), lambda: seen(answer.reference))()


@NETWORK.holds("fewer than 20,000 weights, and more than none")
def count(answer: Answer) -> None:
    found = _about(answer, lambda network: sum(one.numel() for one in network.parameters()))
    ensure(
        0 < found < WEIGHTS,
        case="all parameters of the network",
        expected="fewer than 20,000" if found else "something to be trained",
        actual=f"{found:,}",
        cause="a convolution of 3 × 3 from a channels to b has 9ab weights, and b biases"
        if found
        else "are the tensors wrapped in nn.Parameter?",
    )


def _shape(network: nn.Module, image: Tensor) -> str:
    return str(tuple(network.eval()(image, SIGMA).shape))


@NETWORK.holds("an estimate as large as the photograph, whatever its size")
def sizes(answer: Answer) -> None:
    for shape in ((1, 1, 32, 40), (2, 1, 33, 41)):
        image = torch.rand(shape)
        found = _about(answer, partial(_shape, image=image))
        ensure(
            found == str(shape),
            case=f"shape {shape}",
            expected=f"shape {shape}",
            actual=f"shape {found}",
            cause="padding? and what becomes of an odd row?",
        )


@NETWORK.holds("each photograph of a batch by itself", cause="a mean or a norm over the batch?")
def by_itself(answer: Answer) -> None:
    pair = torch.rand(2, 1, 32, 32)

    def both(network: nn.Module) -> Tensor:
        network.eval()
        return torch.stack([network(pair, SIGMA)[:1], network(pair[:1], SIGMA)]).detach()

    found = _about(answer, both)
    case = "the first of two photographs, and it alone"
    same(found[0], found[1], case=case, tolerance=1e-4)


@NETWORK.holds("gradients reach its weights")
def reached(answer: Answer) -> None:
    def missed(network: nn.Module) -> int:
        network.train()(torch.rand(2, 1, 40, 40), SIGMA).square().mean().backward()
        return sum(one.grad is None for one in network.parameters())

    ensure(
        (found := _about(answer, missed)) == 0,
        case="the gradients of the estimate's mean square",
        expected="one for each tensor of weights",
        actual=f"{found} have none",
        cause="layers that are not used, no_grad, or detach?",
    )


@NETWORK.holds("thirty steps of training help")
def learns(answer: Answer) -> None:
    clean = torch.cat([_texture(0.1, 0.9, 40), _texture(0.3, 0.6, 40)])
    noisy = clean + SIGMA * torch.randn(clean.shape)

    def losses(network: nn.Module) -> Tensor:
        optimizer = torch.optim.Adam(network.train().parameters(), 1e-3)
        found = []
        for _ in range(31):
            loss = (network(noisy, SIGMA) - clean).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.detach())
        return torch.stack(found)

    found = _about(answer, losses)
    ensure(
        bool(found[-10:].min() < 0.998 * found[0]),
        case="two pictures, Adam with 0.001",
        expected="a smaller error",
        actual=f"a mean square of {found[0]:.4g} became {found[-1]:.4g}",
        cause="can the weights move the estimate?",
    )
