"""Exercises of lesson 12: what groups cost, kernels mixed by gates, tests for silent faults."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from lessons_lib.exercises.answer import Answer
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.properties import ensure, ensure_batchwise, likely_cause, same
from lessons_lib.models.sparse_conv import SparseConv2d, mix

Make = Callable[[str], nn.Module]


def multiplications(
    channels: int, hidden: int, groups: int, side: int, pixels: int
) -> tuple[float, float, float]:
    """What two layers of k groups cost for each pixel: biases, ReLU and the gates not counted.

    Args:
        channels: c, of what goes in and of what comes out.
        hidden: h, channels of one group between the layers.
        groups: k.
        side: s of the kernels.
        pixels: n of the tile for which kernels are mixed once.

    Returns:
        Of all groups (eq. 4 and 8), of one (eq. 5), and of mixed kernels, mixing counted (eq. 9).
    """
    one = 2.0 * channels * hidden * side**2
    return groups * one, one, one + groups * one / pixels


def own_kernels(features: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each image with kernels of its own, with zeros around it.

    Args:
        features: ``(B, C, H, W)``.
        kernels: ``(B, O, C, s, s)``, s odd.

    Returns:
        ``(B, O, H, W)``.
    """
    batch, outputs, _, side, _ = kernels.shape
    joined = features.reshape(1, -1, *features.shape[-2:])
    found = F.conv2d(joined, kernels.flatten(0, 1), padding=side // 2, groups=batch)
    return found.reshape(batch, outputs, *features.shape[-2:])


def gate_slopes(logits: Tensor, temperature: float) -> Tensor:
    """The Jacobian of ``softmax(z / τ)``: ``(diag β − β βᵀ) / τ``.

    Args:
        logits: z, ``(k,)``.
        temperature: τ.

    Returns:
        ``(k, k)``, entry ``[i, j]`` the derivative of ``β_i`` with respect to ``z_j``.
    """
    gates = torch.softmax(logits / temperature, dim=0)
    return (torch.diag(gates) - torch.outer(gates, gates)) / temperature


def keeps_promises(make: Make) -> bool:
    """Whether a layer does what it says: four properties that need no other implementation.

    Args:
        make: of a padding mode, a new layer from 3 channels to 4 with two sparsity groups.
    """
    layer = make("reflect")
    images = torch.rand(3, 3, 6, 7)
    try:
        found = layer(images)
        flat = layer(torch.full((1, 3, 6, 7), 0.7))
        other = layer(images.contiguous(memory_format=torch.channels_last))
        alone = torch.cat([layer(image[None]) for image in images])
    except RuntimeError:
        return False
    counted = layer.out_channels == found.shape[1]
    even = (flat - flat[..., :1, :1]).abs().max() < 1e-5
    return bool(counted and even and torch.allclose(found, other, atol=1e-5)) and torch.allclose(
        found, alone, atol=1e-5
    )


COST = Exercise("nsr.multiplications", multiplications)


@COST.holds("two layers of one kernel weight each multiply twice", cause="are both layers counted?")
def both_layers(answer: Answer) -> None:
    case = "c = h = k = s = 1, a tile of 10⁹ pixels: all groups, one group"
    everything, one, _ = answer(1, 1, 1, 1, 10**9)
    same((float(everything), float(one)), (2.0, 2.0), case=case)


@COST.holds("one group costs a k-th of all")
def kth_part(answer: Answer) -> None:
    everything, one, _ = answer(3, 5, 4, 3, 100)
    same(float(everything) / float(one), 4.0, case="k = 4: all groups against one")


@COST.holds("a kernel of side 3 has nine weights", cause="kernels are squares")
def squares(answer: Answer) -> None:
    small, large = (answer(3, 5, 2, side, 100) for side in (1, 3))
    for name, before, after in zip(("all", "one", "mixed"), small, large, strict=True):
        case = f"sides 3 and 1, k = 2, n = 100, {name}: their ratio"
        same(float(after) / float(before), 9.0, case=case)


@COST.holds("on an endless tile mixed kernels cost what one group costs")
def endless(answer: Answer) -> None:
    _, one, mixed = answer(3, 5, 4, 3, 10**9)
    cause = "kernels are mixed once for a tile, and its pixels share the cost"
    same(float(mixed), float(one), case="n = 10⁹ pixels, k = 4", cause=cause)


@COST.holds("on a single pixel mixing costs what all groups cost")
def single(answer: Answer) -> None:
    everything, one, mixed = answer(3, 5, 4, 3, 1)
    cause = "how many products does one weight of a mixed kernel take?"
    case = "n = 1 pixel, k = 4: what mixed kernels cost beyond one group"
    same(float(mixed) - float(one), float(everything), case=case, cause=cause)


@COST.holds("layers that run cost as much", cause="count a case of few weights by hand")
def counted(answer: Answer) -> None:
    channels, hidden, groups, side, shape = 2, 3, 4, 3, (5, 6)
    image = torch.zeros(1, channels, *shape)
    sizes = {"all": (groups * hidden, 1), "one": (hidden, 1), "mixed": (hidden, groups)}
    found = answer(channels, hidden, groups, side, 30)
    for value, (name, (width, kernels)) in zip(found, sizes.items(), strict=True):
        first = SparseConv2d(channels, width, side, groups=kernels, bias=False)
        second = SparseConv2d(width, channels, side, groups=kernels, bias=False)
        gates = torch.ones(1, kernels, 1) if kernels > 1 else None
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            second(first(image, gates), gates)
        expected = counter.get_total_flops() / 2 / 30  # it counts a product and a sum
        same(float(value), expected, case=f"c = 2, h = 3, k = 4, s = 3, n = 30: {name}")


COST.agrees(lambda: [(32, 32, 2, 3, 2304), (5, 4, 3, 5, 256)])


MIX = Exercise("nsr.mix", mix)


@MIX.holds("a gate of 1 takes one kernel as it is", cause="which axis of the gates are the groups?")
def takes_one(answer: Answer) -> None:
    kernels, gates = torch.randn(3, 4, 2, 3, 3), torch.zeros(1, 3, 2)
    gates[0, 1] = 1
    case = "k = 3, d = 2, group 1 has the gate 1 in both cardinal groups"
    same(answer(kernels, gates), kernels[1][None], case=case)


@MIX.holds(
    "cardinal groups choose each by itself",
    cause="cardinal group j is one block of c/d outputs: the first ones, then the next",
)
def choose_apart(answer: Answer) -> None:
    kernels, gates = torch.randn(2, 4, 1, 3, 3), torch.zeros(1, 2, 2)
    gates[0, 0, 0] = gates[0, 1, 1] = 1
    expected = torch.cat([kernels[0, :2], kernels[1, 2:]])[None]
    found = answer(kernels, gates)
    woven = torch.stack([kernels[0, 0], kernels[1, 1], kernels[0, 2], kernels[1, 3]])[None]
    cause = likely_cause(found, [(woven, "cardinal groups are blocks of outputs, not every d-th")])
    same(found, expected, case="k = 2, d = 2, 4 outputs: group 0, then group 1", cause=cause)


@MIX.holds("the gates weigh, and are not made to sum to 1")
def not_normalised(answer: Answer) -> None:
    kernels = torch.randn(2, 4, 2, 1, 1)
    found = answer(kernels, torch.full((1, 2, 1), 0.25))
    same(found, kernels.sum(dim=0)[None] / 4, case="two gates of 1/4", cause="who divides?")


@MIX.holds("each image has its own mixture")
def own_mixture(answer: Answer) -> None:
    kernels, gates = torch.randn(3, 4, 2, 3, 3), torch.rand(2, 3, 2)
    found = answer(kernels, gates)
    for i in range(2):
        same(found[i : i + 1], answer(kernels, gates[i : i + 1]), case=f"image {i} of 2, and alone")


MIX.agrees(
    lambda: [
        (torch.randn(2, 6, 3, 3, 3), torch.rand(4, 2, 3)),
        (torch.randn(1, 4, 2, 5, 5), torch.rand(2, 1, 4)),
    ]
)


OWN = Exercise("nsr.own_kernels", own_kernels)


@OWN.holds("a kernel of one 1 in its middle passes its channel on")
def passes_on(answer: Answer) -> None:
    features, kernels = torch.randn(2, 2, 4, 5), torch.zeros(2, 1, 2, 3, 3)
    kernels[0, 0, 0, 1, 1] = kernels[1, 0, 1, 1, 1] = 1
    expected = torch.stack([features[0, :1], features[1, 1:]])
    case = "image 0 asks for its channel 0, image 1 for its channel 1"
    same(answer(features, kernels), expected, case=case, cause="does each image get its own?")


@OWN.holds("the members of a batch do not mix")
def own_batch(answer: Answer) -> None:
    ensure_batchwise(answer, torch.randn(3, 2, 5, 4), torch.randn(3, 4, 2, 3, 3))


@OWN.holds("kernels are not turned over", cause="a convolution of PyTorch is a correlation")
def not_turned(answer: Answer) -> None:
    features, kernels = torch.randn(1, 1, 4, 4), torch.zeros(1, 1, 1, 3, 3)
    kernels[..., 1, 2] = 1  # the neighbour on the right
    expected = F.pad(features[..., 1:], (0, 1))
    same(answer(features, kernels), expected, case="a 1 right of the middle")


OWN.agrees(
    lambda: [
        (torch.randn(3, 2, 6, 5), torch.randn(3, 4, 2, 3, 3)),
        (torch.randn(2, 3, 7, 7), torch.randn(2, 1, 3, 5, 5)),
    ],
    tolerance=1e-4,
)


class _Convolutions(TorchFunctionMode):
    """Counts the calls of ``conv2d`` inside, by whichever of its names."""

    calls = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.calls += func is F.conv2d
        return func(*args, **(kwargs or {}))


@OWN.holds("all pictures are convolved in one call")
def one_call(answer: Answer) -> None:
    calls = 0

    def counted(features: Tensor, kernels: Tensor) -> Tensor:
        nonlocal calls
        with _Convolutions() as convolutions:
            found: Tensor = answer.function(features, kernels)
        calls = convolutions.calls
        return found

    Answer(counted, answer.reference)(torch.randn(3, 2, 6, 5), torch.randn(3, 4, 2, 3, 3))
    ensure(
        calls == 1,
        case="three pictures",
        expected="one call of F.conv2d",
        actual=f"{calls} calls" if calls else "none",
        cause="as channels of one picture, one call can take them all: what does `groups` do?",
    )


SLOPES = Exercise("nsr.gate_slopes", gate_slopes)


def _logits(count: int = 4) -> Tensor:
    return torch.randn(count, dtype=torch.float64)


@SLOPES.holds("what one group gains the others lose", cause="the gates sum to 1, moved or not")
def sums_vanish(answer: Answer) -> None:
    same(answer(_logits(), 0.7).sum(dim=0), 0.0, case="sums over i, 4 logits, τ = 0.7")


@SLOPES.holds("moving all logits alike changes no gate")
def shift(answer: Answer) -> None:
    same(answer(_logits(), 0.7).sum(dim=1), 0.0, case="sums over j, 4 logits, τ = 0.7")


@SLOPES.holds("more of a logit is more of its own gate", cause="which sign has each part?")
def own_sign(answer: Answer) -> None:
    found = answer(torch.zeros(2, dtype=torch.float64), 1.0)
    same(found[0, 0], 0.25, case="two equal logits, τ = 1: the entry [0, 0]")


@SLOPES.holds("half the temperature at equal logits doubles it", cause="where does τ come in?")
def half_temperature(answer: Answer) -> None:
    even = torch.zeros(3, dtype=torch.float64)
    same(answer(even, 0.5), 2 * answer(even, 1.0), case="three equal logits, τ = 1/2 and 1")


@SLOPES.holds("a small step moves the gates as it says", cause="where does τ come in?")
def small_step(answer: Answer) -> None:
    logits, step, tau = _logits(), 1e-6 * _logits(), 0.4
    moved = torch.softmax((logits + step) / tau, 0) - torch.softmax((logits - step) / tau, 0)
    same(
        1e6 * answer(logits, tau) @ step, 1e6 * moved / 2, case="4 logits, τ = 0.4", tolerance=1e-4
    )


@SLOPES.holds("a certain gate has no slope", cause="must the exponentials be computed as they are?")
def certain(answer: Answer) -> None:
    logits = torch.tensor([1000.0, 0.0, -1000.0], dtype=torch.float64)
    same(answer(logits, 0.5), 0.0, case="logits 1000, 0, −1000, τ = 0.5")


SLOPES.agrees(lambda: [(_logits(), 1.0), (_logits(2), 3.0), (_logits(5), 0.2)])


class Layer(nn.Module):
    """A layer from 3 channels to 4 with one fault, or none, named in ``fault``."""

    def __init__(self, padding_mode: str, fault: str = "") -> None:
        super().__init__()
        mode = "constant" if fault == "padding" else padding_mode
        self.inner = SparseConv2d(3, 4, groups=2, padding_mode=mode)
        self.out_channels = 8 if fault == "count" else 4
        self.fault = fault
        if self.inner.gate is not None:
            for weight in self.inner.gate.parameters():
                nn.init.uniform_(weight, -3, 3)

    def forward(self, features: Tensor) -> Tensor:
        if self.fault == "view":
            features = features.view(len(features), -1).view(features.shape)
        if self.fault == "scrambled" and not features.is_contiguous():
            # Numbers as they lie in memory, whatever they stand for.
            features = features.permute(0, 2, 3, 1).reshape(features.shape)
        gates = None
        if self.fault == "batch" and self.inner.gate is not None:
            gates = self.inner.gate(features).mean(dim=0, keepdim=True)
            gates = gates.expand(len(features), -1, -1)
        with torch.no_grad():
            return self.inner(features, gates)


def _maker(fault: str) -> Make:
    def make(padding_mode: str) -> nn.Module:
        return Layer(padding_mode, fault)

    return make


PROMISES = Exercise("nsr.keeps_promises", keeps_promises)


@PROMISES.holds("the right layer passes", cause="is something asked for that was never promised?")
def right_passes(answer: Answer) -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        same(float(answer(_maker(""))), 1.0, case=f"a layer without faults, seed {seed}")


@PROMISES.holds("a wrong out_channels is found", cause="promise 1")
def finds_count(answer: Answer) -> None:
    same(float(answer(_maker("count"))), 0.0, case="a layer with one fault")


@PROMISES.holds("forgotten padding is found", cause="promise 2: what does an even picture become?")
def finds_padding(answer: Answer) -> None:
    same(float(answer(_maker("padding"))), 0.0, case="a layer with one fault")


@PROMISES.holds("gates shared by a batch are found", cause="promise 3")
def finds_batch(answer: Answer) -> None:
    same(float(answer(_maker("batch"))), 0.0, case="a layer with one fault")


@PROMISES.holds("a layer that fails on channels-last features is found", cause="promise 4")
def finds_view(answer: Answer) -> None:
    same(float(answer(_maker("view"))), 0.0, case="a layer with one fault")


@PROMISES.holds(
    "a layer that gives something else for channels-last features is found", cause="promise 4"
)
def finds_scrambled(answer: Answer) -> None:
    same(float(answer(_maker("scrambled"))), 0.0, case="a layer with one fault")
