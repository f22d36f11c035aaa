"""Exercises of lesson 13: DnCNN, its layers, its normalisation, and which pixels it depends on."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib.exercises.answer import Answer
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.properties import ensure, likely_cause, same

Network = Callable[[Tensor], Tensor]


def dncnn(layers: int, width: int, channels: int) -> nn.Sequential:
    """The layers of DnCNN, whose result is the noise.

    A convolution and a ReLU; ``layers − 2`` times a convolution without biases, batch
    normalisation, a ReLU; a convolution without biases. All are 3 × 3 and keep the size.

    Args:
        layers: convolutions, three at least.
        width: channels between them.
        channels: of the image.

    Returns:
        A flat stack of ``3 · layers − 3`` modules, from ``(B, channels, H, W)`` to the same shape.

    Source: DnCNN §III-B.
    """
    stack: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
    for _ in range(layers - 2):
        stack += [
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width, eps=1e-4),
            nn.ReLU(),
        ]
    return nn.Sequential(*stack, nn.Conv2d(width, channels, 3, padding=1, bias=False))


def fold(
    kernel: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """The convolution that does what a convolution and its batch normalisation do after training.

    ``γ (Kx − μ) / s + β`` with ``s = √(v + ε)`` is a convolution with the kernel ``γK / s`` and the
    bias ``β − γμ / s``.

    Args:
        kernel: K, ``(outputs, inputs, height, width)``, of a convolution without biases.
        gamma: γ, ``(outputs,)``.
        beta: β, ``(outputs,)``.
        mean: μ, ``(outputs,)``.
        variance: v, ``(outputs,)``.
        eps: ε.

    Returns:
        Kernel, of the same shape, and bias, ``(outputs,)``.
    """
    gain = gamma / (variance + eps).sqrt()
    return kernel * gain[:, None, None, None], beta - gain * mean


def field_side(kernels: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> int:
    """How many neighbouring pixels of a row a value after a stack of convolutions depends on.

    ``1 + Σ_l d_l (k_l − 1) Π_{i<l} s_i``

    Args:
        kernels: k, side of the kernel of each layer, the first layer first.
        strides: s, pixels from one place of the kernel to the next.
        dilations: d, pixels from one entry of the kernel to the next.

    Returns:
        From the first to the last pixel that takes part, both counted.
    """
    side, step = 1, 1  # step: pixels of the image from one value to the next
    for kernel, stride, dilation in zip(kernels, strides, dilations, strict=True):
        side += dilation * (kernel - 1) * step
        step *= stride
    return side


def by_strips(network: Network, noisy: Tensor, rows: int, halo: int) -> Tensor:
    """What a network makes of an image, strip by strip.

    Args:
        network: from ``(B, C, H, W)`` to the same shape, for any height.
        noisy: ``(B, C, H, W)``.
        rows: of a strip, without its halo.
        halo: rows above and below that the network sees as well, as far as the image goes.

    Returns:
        ``(B, C, H, W)``.
    """
    height, strips = noisy.shape[-2], []
    for top in range(0, height, rows):
        first, last = max(0, top - halo), min(height, top + rows + halo)
        estimate = network(noisy[..., first:last, :])
        strips.append(estimate[..., top - first : top - first + rows, :])
    return torch.cat(strips, dim=-2)


DNCNN = Exercise("dncnn.layers", dncnn)


def _names(network: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in network.children()]


@DNCNN.holds("the layers come in the paper's order")
def order(answer: Answer) -> None:
    expected = ["Conv2d", "ReLU", *(2 * ["Conv2d", "BatchNorm2d", "ReLU"]), "Conv2d"]
    found = _names(answer(4, 3, 1))
    missing = {name for name in expected if name not in found}
    mistakes = [
        ("Sequential" in found or "ModuleList" in found, "nn.Sequential(*layers) is flat"),
        (missing == {"BatchNorm2d"}, "the layers in the middle are normalised"),
        (missing == {"ReLU"}, "without ReLUs a stack of convolutions is one convolution"),
        (found[-1:] == ["ReLU"], "noise has both signs: what does a ReLU leave of it?"),
        (found[1:2] == ["BatchNorm2d"], "the first layer is not normalised"),
        (found[-1:] == ["BatchNorm2d"], "the last layer is not normalised"),
        (found.count("Conv2d") != 4, "the first and the last convolution count, too"),
        (found[2:5] == ["Conv2d", "ReLU", "BatchNorm2d"], "which comes first, norm or ReLU?"),
    ]
    ensure(
        found == expected,
        case="4 layers",
        expected=", ".join(expected),
        actual=", ".join(found),
        cause=next((words for wrong, words in mistakes if wrong), ""),
    )


@DNCNN.holds("what comes out has the size and the channels of what goes in", cause="padding?")
def size_stays(answer: Answer) -> None:
    network = answer(3, 5, 2)
    with torch.no_grad():
        try:
            shape = tuple(network(torch.rand(2, 2, 7, 9)).shape)
        except RuntimeError as error:
            shape = (str(error),)
    ensure(
        shape == (2, 2, 7, 9),
        case="3 layers, width 5, two pictures of 2 channels and 7 × 9 pixels",
        expected="shape (2, 2, 7, 9)",
        actual=f"shape {shape}" if len(shape) > 1 else shape[0],
        cause="" if len(shape) > 1 else "how many channels does each layer get?",
    )


def _count(found: int, expected: int, mistakes: Sequence[tuple[float, str]]) -> None:
    ensure(
        found == expected,
        case="17 layers, width 64, 1 channel",
        expected=f"{expected:,}",
        actual=f"{found:,}",
        cause=next((words for number, words in mistakes if round(number) == found), ""),
    )


@DNCNN.holds("17 layers of 64 channels have 554,112 weights in their kernels")
def weights(answer: Answer) -> None:
    parameters = list(answer(17, 64, 1).parameters())
    found = sum(one.numel() for one in parameters if one.ndim == 4)
    mistakes = [
        (554_112 - 36_864, "one layer is missing: `layers` counts all convolutions"),
        (554_112 + 36_864, "one layer too many: `layers` counts all convolutions"),
        (554_112 + 2 * 36_864, "two layers too many: `layers` counts all convolutions"),
        (554_112 * 25 / 9, "3 × 3, not 5 × 5"),
    ]
    _count(found, 554_112, mistakes)


@DNCNN.holds("and 556,096 numbers to train, with all that is no kernel")
def trainable(answer: Answer) -> None:
    found = sum(one.numel() for one in answer(17, 64, 1).parameters())
    middle = "a convolution before a norm needs no bias: the norm takes it away"
    mistakes = [
        (556_096 + 960, middle),
        (556_096 + 961, middle),
        (556_096 + 1, "the last convolution has no bias"),
        (556_096 - 64, "the first convolution has biases"),
        (556_096 - 1920, "the norms have a γ and a β for each channel"),
    ]
    _count(found, 556_096, mistakes)


@DNCNN.holds("with the weights of the library's layers it computes the same")
def same_numbers(answer: Answer) -> None:
    for size in ((3, 4, 1), (5, 6, 3)):
        network, reference = answer(*size), answer.reference(*size)
        # Small numbers before the norm: there ε counts.
        for layer in reference:
            if isinstance(layer, nn.Conv2d):
                layer.weight.data.mul_(0.1)
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.running_var is not None
                layer.running_var.fill_(1e-3)
        wanted = reference.state_dict()
        fits = [tuple(value.shape) for value in network.state_dict().values()] == [
            tuple(value.shape) for value in wanted.values()
        ]
        case = "layers, width, channels = {}, {}, {}".format(*size)
        ensure(fits, case=case, expected="its weights fit", actual="they do not")
        network.load_state_dict(
            dict(zip(network.state_dict(), wanted.values(), strict=True)), strict=True
        )
        image = torch.randn(2, size[2], 6, 7)
        with torch.no_grad():
            for each in (network, reference):
                each.eval()
            found, expected = network(image), reference(image)
        same(found, expected, case=case, cause="is ε of the norms 1e-4, and the padding zeros?")


FOLD = Exercise("dncnn.fold", fold)


def _norm(outputs: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """γ, β, μ and the variance of a norm."""
    gamma, beta, mean = torch.randn(3, outputs)
    return gamma, beta, mean, torch.rand(outputs) + 0.2


@FOLD.holds("one number: 2x, with μ = 3, v = 4, γ = 1, β = 1/2, is x − 1")
def one_number(answer: Answer) -> None:
    one = torch.ones(1)
    kernel, bias = answer(2 * one.view(1, 1, 1, 1), one, 0.5 * one, 3 * one, 4 * one, 0.0)
    mistakes = [
        (0.5, "divided by the variance, or by its root?"),
        (2.0, "what happens to the kernel?"),
        (8.0, "times, or divided by, the variance?"),
        (4.0, "times, or divided by, the root of the variance?"),
    ]
    case = "kernel 2, γ = 1, β = 1/2, μ = 3, v = 4, ε = 0: the kernel"
    same(kernel.item(), 1.0, case=case, cause=likely_cause(kernel, mistakes))
    mistakes = [
        (2.0, "which sign has the mean?"),
        (-2.5, "is the mean divided by the root as well?"),
        (-1.5, "is β added?"),
        (0.5, "where does the mean go?"),
        (-3.0, "what does the norm do to the mean before β is added?"),
    ]
    same(
        bias.item(),
        -1.0,
        case=case.replace("the kernel", "the bias"),
        cause=likely_cause(bias, mistakes),
    )


@FOLD.holds("γ stretches the kernel, and what the mean takes away")
def gamma_everywhere(answer: Answer) -> None:
    kernel, (_, beta, mean, variance) = torch.randn(2, 2, 3, 3), _norm(2)
    one = torch.ones(2)
    case, cause = "2 channels with γ = 3, and the same with γ = 1, β = 0", "where does γ stand?"
    stretched = answer(kernel, 3 * one, 0 * beta, mean, variance, 1e-4)
    plain = answer(kernel, one, 0 * beta, mean, variance, 1e-4)
    same(stretched[0], 3 * plain[0], case=f"{case}: the kernel", cause=cause)
    same(stretched[1], 3 * plain[1], case=f"{case}: the bias", cause=cause)


@FOLD.holds("each output has its own norm")
def own_norms(answer: Answer) -> None:
    kernel = torch.ones(3, 3, 3, 3)
    gamma, zero = torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3)
    found, _ = answer(kernel, gamma, zero, zero, torch.ones(3), 0.0)
    same(
        found,
        kernel * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1),
        case="kernels of ones, 3 inputs, 3 outputs, γ = 1, 2, 3",
        cause="which axis of a kernel counts its outputs?",
    )


@FOLD.holds("a channel without variance has ε to be divided by")
def no_variance(answer: Answer) -> None:
    kernel, zero, one = torch.ones(1, 2, 3, 3), torch.zeros(1), torch.ones(1)
    found, bias = answer(kernel, one, zero, one, zero, 1e-4)
    cause = "where does ε stand?"
    same(found, 100.0, case="v = 0, ε = 0.0001, kernel of ones: the kernel", cause=cause)
    same(bias, -100.0, case="v = 0, ε = 0.0001, μ = 1: the bias", cause=cause)


@FOLD.holds("one convolution does what the convolution and the norm do")
def does_the_same(answer: Answer) -> None:
    image, kernel, (gamma, beta, mean, variance) = (
        torch.randn(2, 3, 6, 7),
        torch.randn(4, 3, 3, 3),
        _norm(4),
    )
    folded, bias = answer(kernel, gamma, beta, mean, variance, 1e-4)
    found = F.conv2d(image, folded, bias, padding=1)
    expected = F.batch_norm(
        F.conv2d(image, kernel, padding=1), mean, variance, gamma, beta, eps=1e-4
    )
    same(found, expected, case="3 channels to 4, random numbers", tolerance=1e-4)


FOLD.agrees(
    lambda: [
        (torch.randn(4, 3, 3, 3), *_norm(4), 1e-4),
        (torch.randn(2, 5, 1, 1), *_norm(2), 1e-5),
    ]
)


SIDE = Exercise("dncnn.field_side", field_side)


def _side(answer: Answer, kernels: list[int], strides: list[int], dilations: list[int]) -> float:
    return float(answer(kernels, strides, dilations))


def _case(kernels: list[int], strides: list[int], dilations: list[int]) -> str:
    return f"kernels {kernels}, strides {strides}, dilations {dilations}"


def _by_gradient(kernels: list[int], strides: list[int], dilations: list[int]) -> int:
    """The last pixel that the first value depends on, counted from 1: what gradients say."""
    with torch.enable_grad():
        row = torch.ones(1, 1, 600, dtype=torch.float64, requires_grad=True)
        values = row
        for kernel, stride, dilation in zip(kernels, strides, dilations, strict=True):
            weight = torch.ones(1, 1, kernel, dtype=torch.float64)
            values = F.conv1d(values, weight, stride=stride, dilation=dilation)
        (slopes,) = torch.autograd.grad(values[0, 0, 0], row)
    return int(slopes[0, 0].nonzero().max()) + 1


@SIDE.holds("without layers a value depends on its own pixel", cause="what is left of no layers?")
def no_layers(answer: Answer) -> None:
    same(_side(answer, [], [], []), 1.0, case="no layers")


@SIDE.holds("one layer depends on what its kernel covers")
def one_layer(answer: Answer) -> None:
    for kernel in (3, 5, 2):
        case = _case([kernel], [1], [1])
        same(_side(answer, [kernel], [1], [1]), float(kernel), case=case)


@SIDE.holds("17 layers of 3 × 3 depend on 35 pixels")
def the_papers(answer: Answer) -> None:
    found = _side(answer, 17 * [3], 17 * [1], 17 * [1])
    mistakes = [
        (51.0, "two neighbours see two pixels in common: what does a layer *add*?"),
        (3.0**17, "fields do not multiply: what does a layer *add*?"),
        (34.0, "is the pixel in the middle counted?"),
        (18.0, "a 3 × 3 kernel adds a pixel on either side"),
        (33.0, "how many layers are there?"),
    ]
    same(found, 35.0, case="17 layers of 3 × 3", cause=likely_cause(found, mistakes))


@SIDE.holds("a dilated kernel reaches from its first to its last entry")
def dilated(answer: Answer) -> None:
    found = _side(answer, [3], [1], [4])
    mistakes = [
        (3.0, "what does the dilation do?"),
        (12.0, "between 3 entries there are 2 gaps"),
        (10.0, "between 3 entries there are 2 gaps of 4 pixels; add the first pixel itself"),
        (8.0, "from the first to the last pixel, both counted"),
    ]
    same(found, 9.0, case=_case([3], [1], [4]), cause=likely_cause(found, mistakes))
    seven = [1, 2, 3, 4, 3, 2, 1]
    same(
        _side(answer, 7 * [3], 7 * [1], seven),
        33.0,
        case=_case(7 * [3], 7 * [1], seven),
        cause="each layer has its own dilation",
    )


@SIDE.holds(
    "the stride of the last layer does not matter",
    cause="one value after the layer: where the next one is read does not concern it",
)
def last_stride(answer: Answer) -> None:
    for last in (1, 2, 3):
        same(_side(answer, [3, 3], [1, last], [1, 1]), 5.0, case=_case([3, 3], [1, last], [1, 1]))


@SIDE.holds("after a stride of 2, neighbours are 2 pixels apart")
def strided(answer: Answer) -> None:
    found = _side(answer, [2, 3], [2, 1], [1, 1])
    mistakes = [
        (4.0, "how many pixels of the image lie between two values after a stride of 2?"),
        (8.0, "two neighbours after the first layer: what do they cover together?"),
        (5.0, "which layers does a stride spread, those before it or those after it?"),
    ]
    same(found, 6.0, case=_case([2, 3], [2, 1], [1, 1]), cause=likely_cause(found, mistakes))


@SIDE.holds("the order of the layers matters", cause="which strides come before which layers?")
def order_matters(answer: Answer) -> None:
    for kernels, side in (([3, 5], 11), ([5, 3], 9)):
        same(
            _side(answer, kernels, [2, 1], [1, 1]), float(side), case=_case(kernels, [2, 1], [1, 1])
        )


@SIDE.holds("several strides multiply", cause="neighbours after strides of 2 and 3: how far apart?")
def strides_multiply(answer: Answer) -> None:
    case = [3, 3, 3], [2, 3, 1], [1, 1, 1]
    same(_side(answer, *case), 19.0, case=_case(*case))


@SIDE.holds("gradients reach as far, and no farther")
def gradients(answer: Answer) -> None:
    for _ in range(12):
        count = int(torch.randint(2, 6, ()))
        kernels, strides, dilations = (
            torch.randint(1, high, (count,)).tolist() for high in (6, 3, 4)
        )
        case = kernels, strides, dilations
        same(_side(answer, *case), float(_by_gradient(*case)), case=_case(*case))


SIDE.agrees(lambda: [([3, 3, 3], [2, 2, 2], [1, 2, 3]), ([1, 7], [4, 1], [5, 1])])


STRIPS = Exercise("dncnn.by_strips", by_strips)


def _network(layers: int) -> Network:
    """A stack of 3 × 3 convolutions, padded with zeros, of one channel."""
    kernels = torch.randn(layers, 1, 1, 3, 3, dtype=torch.float64)
    biases = torch.randn(layers, 1, dtype=torch.float64)

    def network(image: Tensor) -> Tensor:
        for kernel, bias in zip(kernels, biases, strict=True):
            image = torch.tanh(F.conv2d(image, kernel.to(image), bias.to(image), padding=1))
        return image

    network.__name__ = f"a network of {layers} layers"
    return network


def _image(height: int, width: int = 6) -> Tensor:
    return torch.randn(1, 1, height, width, dtype=torch.float64)


@STRIPS.holds("a network that looks at single pixels needs no halo")
def single_pixels(answer: Answer) -> None:
    def twice(image: Tensor) -> Tensor:
        return 2 * image

    for height, rows, halo in ((12, 4, 0), (12, 4, 2), (13, 5, 3), (7, 3, 10)):
        image = _image(height)
        same(
            answer(twice, image, rows, halo),
            2 * image,
            case=f"x ↦ 2x, {height} rows in strips of {rows}, halo {halo}",
            cause="which rows of what the network returns belong to the strip?",
        )


@STRIPS.holds("a strip that holds all is the whole image")
def one_strip(answer: Answer) -> None:
    network, image = _network(3), _image(7)
    for rows in (7, 50):
        case = f"a network of 3 layers, 7 rows in strips of {rows}, halo 2"
        same(answer(network, image, rows, 2), network(image), case=case)


@STRIPS.holds("no more is looked at than a strip and its halo")
def memory(answer: Answer) -> None:
    heights = []

    def tall(image: Tensor) -> Tensor:
        heights.append(image.shape[-2])
        return image

    answer(tall, _image(20), 4, 3)
    ensure(
        max(heights) <= 10,
        case="20 rows in strips of 4, halo 3",
        expected="pieces of 10 rows at most",
        actual=f"a piece of {max(heights)}",
        cause="a strip, and a halo above and below",
    )


@STRIPS.holds("without a halo no strip knows of another")
def no_halo(answer: Answer) -> None:
    network, image = _network(3), _image(11)
    expected = torch.cat([network(part) for part in image.split(4, dim=-2)], dim=-2)
    same(answer(network, image, 4, 0), expected, case="3 layers, 11 rows in strips of 4, halo 0")


@STRIPS.holds("a halo of as many rows as there are layers gives the whole image")
def exact(answer: Answer) -> None:
    network = _network(3)
    for height, rows, halo in ((12, 4, 3), (17, 5, 3), (17, 5, 6), (9, 1, 3)):
        image = _image(height)
        same(
            answer(network, image, rows, halo),
            network(image),
            case=f"3 layers, {height} rows in strips of {rows}, halo {halo}",
            cause="above and below, and nothing made up beyond the border of the image?",
        )


@STRIPS.holds("with a halo too narrow, seams stay", cause="is the halo as wide as asked?")
def too_narrow(answer: Answer) -> None:
    network, image = _network(3), _image(15)
    expected = answer.reference(network, image, 5, 1)
    same(answer(network, image, 5, 1), expected, case="3 layers, 15 rows in strips of 5, halo 1")


STRIPS.agrees(
    lambda: [
        (_network(2), _image(10), 3, 2),
        (_network(2), torch.randn(2, 1, 8, 5, dtype=torch.float64), 3, 1),
    ]
)
