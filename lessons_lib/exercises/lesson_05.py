"""Exercises of lesson 05: SC, a sparse denoiser trained end to end."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lessons_lib.exercises.answer import Answer
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.lesson_04 import layer
from lessons_lib.exercises.properties import ensure, ensure_gradients, likely_cause, same
from lessons_lib.models.sc import PatchSC
from lessons_lib.models.unrolled import PatchConfig
from lessons_lib.ops.dictionary import random_dictionary, spectral_norm
from lessons_lib.ops.patches import centre, extract_patches, overlap_average, patch_counts
from lessons_lib.ops.prox import soft_threshold
from lessons_lib.solvers import ista
from lessons_lib.training.losses import squared


def denoise(
    noisy: Tensor, C: Tensor, D: Tensor, W: Tensor, thresholds: Tensor, size: int
) -> Tensor:
    """SC as a function of its weights: centre, code, turn into patches by ``W``, average.

    Args:
        noisy: ``(B, 1, H, W)``.
        C: ``(m, K)``.
        D: ``(m, K)``.
        W: ``(m, K)``.
        thresholds: ``(steps, K, 1)``, not negative.
        size: side of the patches, ``size² = m``.

    Returns:
        ``(B, 1, H, W)``.

    Source: GroupSC eq. 5, 3 and 6.
    """
    patches, mean = centre(extract_patches(noisy, size))
    codes = patches.new_zeros(len(patches), D.shape[1], patches.shape[-1])
    for threshold in thresholds:
        codes = soft_threshold(codes + C.T @ (patches - D @ codes), threshold)
    return overlap_average(W @ codes + mean, (noisy.shape[-2], noisy.shape[-1]), size)


def training_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    clean: Tensor,
    counts: Tensor,
    sigma: float,
    generator: torch.Generator,
) -> float:
    """Fresh noise, an estimate, its loss, and one step downhill.

    Args:
        model: ``(B, 1, H, W) -> (B, 1, H, W)``; it is changed.
        optimizer: of its weights; it is changed.
        clean: ``(B, 1, H, W)``.
        counts: estimates of each pixel, see `squared`.
        sigma: of the noise, on the scale of the images.
        generator: draws the noise.

    Returns:
        The loss before the step.

    Source: GroupSC eq. 7.
    """
    noisy = clean + sigma * torch.randn(clean.shape, generator=generator)
    loss = squared(model(noisy), clean, counts)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def at_level(
    model: Callable[[Tensor], Tensor], noisy: Tensor, sigma: float, trained: float
) -> Tensor:
    """A model for noise ``trained`` at noise ``sigma``: what it is shown has the noise it knows.

    ``s model(y / s)`` with ``s = sigma / trained``. As soft thresholding is homogeneous, of SC it
    is the model with all thresholds multiplied by ``s``.

    Args:
        model: maps noisy images to estimates, a brighter one to a brighter one.
        noisy: ``(B, 1, H, W)``.
        sigma: its noise.
        trained: noise that the model was trained for.

    Returns:
        ``(B, 1, H, W)``.
    """
    scale = sigma / trained
    return scale * model(noisy / scale)


CENTRE = Exercise("sc.centre", centre)


@CENTRE.holds(
    "each patch has a mean of its own", cause="a patch is a column: along which axis is the mean?"
)
def own_mean(answer: Answer) -> None:
    patches = torch.stack([torch.full((4,), 1.0), torch.full((4,), 3.0)], dim=1)[None]
    centred, mean = answer(patches)
    same(mean, torch.tensor([[[1.0, 3.0]]]), case="a patch of ones beside a patch of threes: means")
    same(centred, 0.0, case="a patch of ones beside a patch of threes: centred")


@CENTRE.holds("every centred patch has mean 0", cause="is it the mean that is taken away?")
def no_mean(answer: Answer) -> None:
    centred, _ = answer(torch.randn(2, 9, 5))
    same(centred.mean(dim=1), torch.zeros(2, 5), case="means of 2 × 5 centred patches")


@CENTRE.holds(
    "patch and mean together are what they were",
    cause="is the mean all that is taken away, and is it what is returned?",
)
def inverse(answer: Answer) -> None:
    patches = torch.randn(2, 9, 5)
    centred, mean = answer(patches)
    same(centred + mean, patches, case="centred + mean")


@CENTRE.holds("brighter patches have the same centred patches")
def brightness(answer: Answer) -> None:
    patches = torch.randn(1, 9, 5)
    same(answer(patches + 2)[0], answer(patches)[0], case="5 patches, 2 added to all pixels")


CENTRE.agrees(lambda: [(torch.randn(1, 4, 3),), (torch.rand(2, 16, 7),)])


LOSS = Exercise("sc.loss", squared)


def _pair(batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Estimates, clean images (batch, 1, 6, 7), and counts for patches of 3 pixels."""
    return torch.rand(batch, 1, 6, 7), torch.rand(batch, 1, 6, 7), patch_counts((6, 7), 3)


@LOSS.holds("no error, no loss")
def perfect(answer: Answer) -> None:
    _, clean, counts = _pair()
    same(answer(clean, clean, counts), 0.0, case="the clean images as estimates")


@LOSS.holds(
    "with equal weights it is the squared length of the error",
    cause="is every error squared? And then: sum, or mean?",
)
def plain(answer: Answer) -> None:
    found = []
    for shape, wrong in (((6, 7), 0.5), ((3, 4), -0.25)):
        clean = torch.rand(1, 1, *shape)
        found.append(answer(clean + wrong, clean, torch.ones(1, 1, *shape)))
    same(
        torch.stack(found),
        torch.tensor([42 / 4, 12 / 16]),
        case="42 pixels, each wrong by 0.5, and 12, each wrong by −0.25; all counts 1",
    )


@LOSS.holds("a batch of copies has the loss of one", cause="a sum over images grows with them")
def copies(answer: Answer) -> None:
    estimate, clean, counts = _pair(1)
    same(
        answer(estimate.repeat(3, 1, 1, 1), clean.repeat(3, 1, 1, 1), counts),
        answer(estimate, clean, counts),
        case="one image, and three copies of it",
    )


@LOSS.holds("counts twice as large change nothing", cause="relative to which maximum?")
def relative(answer: Answer) -> None:
    estimate, clean, counts = _pair()
    same(answer(estimate, clean, 2 * counts), answer(estimate, clean, counts), case="counts × 2")


@LOSS.holds(
    "an error counts by the square of its weight",
    cause="are errors weighed, and before they are squared?",
)
def squared_weight(answer: Answer) -> None:
    clean, counts = torch.zeros(1, 1, 6, 7), patch_counts((6, 7), 3)
    for row, column in ((0, 0), (0, 3), (2, 3)):
        estimate = clean.clone()
        estimate[0, 0, row, column] = 1
        weight = float(counts[0, 0, row, column]) / 9
        same(
            answer(estimate, clean, counts),
            weight**2,
            case=f"one wrong pixel, in {int(9 * weight)} of at most 9 patches",
        )


@LOSS.holds(
    "gradients reach the estimate", cause="no_grad, .detach() and .data cut them off: training ends"
)
def loss_trains(answer: Answer) -> None:
    estimate, clean, counts = _pair()
    ensure_gradients(
        answer(estimate.requires_grad_(), clean, counts),
        {"the estimate": estimate},
        case="the loss of two images",
    )


LOSS.agrees(lambda: [_pair(), _pair(3)])


DENOISE = Exercise("sc.denoise", denoise)


def _weights(steps: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    """C, D, W (9, 12), all different, thresholds (steps, 12, 1), and the side of a patch."""
    start = random_dictionary(9, 12, torch.Generator().manual_seed(0))
    start = start / spectral_norm(start)
    C, D, W = (start + 0.05 * torch.randn(9, 12) for _ in range(3))
    return C, D, W, 0.1 * torch.rand(steps, 12, 1), 3


@DENOISE.holds("a constant picture stays as it is")
def constant(answer: Answer) -> None:
    picture = torch.full((1, 1, 7, 8), 0.6)
    middle = answer(picture, *_weights())[..., 2:-2, 2:-2]  # where averaging is simplest
    cause = "what happens to a patch's mean before it is coded, and after?"
    same(middle, 0.6, case="all pixels 0.6: those in the middle", cause=cause)


@DENOISE.holds(
    "without codes, a pixel is the average of the means around it",
    cause="how many estimates does a pixel at the border have?",
)
def averaged(answer: Answer) -> None:
    picture = torch.rand(1, 1, 7, 8)
    C, D, W, thresholds, size = _weights()
    same(answer(picture, 0 * C, 0 * D, W, thresholds, size), _flat(picture), case="C = D = 0")


def _flat(picture: Tensor, size: int = 3) -> Tensor:
    """The average of the means alone."""
    _, mean = centre(extract_patches(picture, size))
    shape = (picture.shape[-2], picture.shape[-1])
    return overlap_average(mean.expand(-1, size**2, -1), shape, size)


@DENOISE.holds("a brighter picture gives a brighter result", cause="are the patches centred?")
def brighter(answer: Answer) -> None:
    picture, weights = torch.rand(1, 1, 7, 8), _weights()
    same(
        answer(picture + 2, *weights),
        answer(picture, *weights) + 2,
        tolerance=1e-4,
        case="7 × 8 pixels, 2 added to each",
    )


@DENOISE.holds("with huge thresholds only the means are left", cause="does every step threshold?")
def only_means(answer: Answer) -> None:
    picture = torch.rand(1, 1, 7, 8)
    C, D, W, thresholds, size = _weights()
    found = answer(picture, C, D, W, thresholds + 99, size)
    same(found, _flat(picture), case="all thresholds above 99")


@DENOISE.holds("codes become patches by W", cause="D explains, W paints: which one is last?")
def painted_by_W(answer: Answer) -> None:
    picture = torch.rand(1, 1, 7, 8)
    C, D, W, thresholds, size = _weights()
    found = answer(picture, C, D, 0 * W, thresholds, size)
    same(found, _flat(picture), case="W = 0, which leaves the means only")


def _steps(
    picture: Tensor, weights: tuple[Tensor, Tensor, Tensor, Tensor, int], count: int
) -> Tensor:
    """What the first steps make of a picture of 7 × 8 pixels."""
    C, D, W, thresholds, size = weights
    patches, mean = centre(extract_patches(picture, size))
    codes = torch.zeros(12, patches.shape[-1])
    for threshold in thresholds[:count]:
        codes = layer(codes, patches[0], C, D, threshold)
    return overlap_average((W @ codes)[None] + mean, (7, 8), size)


@DENOISE.holds("C looks at the patch", cause="one step from codes of zero: which matrix is turned?")
def looks(answer: Answer) -> None:
    picture, (C, D, W, thresholds, size) = torch.rand(1, 1, 7, 8), _weights(1)
    weights = C, D, W, 0 * thresholds, size
    found = answer(picture, *weights)
    same(found, _steps(picture, weights, 1), case="one step, thresholds of 0", tolerance=1e-4)


@DENOISE.holds(
    "what survives is smaller by its threshold", cause="a soft threshold, or a hard one?"
)
def shrinks(answer: Answer) -> None:
    picture, weights = torch.rand(1, 1, 7, 8), _weights(1)
    found = answer(picture, *weights)
    same(found, _steps(picture, weights, 1), case="one step", tolerance=1e-4)


@DENOISE.holds(
    "there are as many steps as thresholds, and D explains",
    cause="does the loop go through all thresholds, from the codes of the step before?",
)
def every_step(answer: Answer) -> None:
    for count in (2, 3):
        picture, (C, D, W, thresholds, size) = torch.rand(1, 1, 7, 8), _weights(count)
        weights = C, D, W, thresholds[:1].expand(count, -1, -1), size
        found = answer(picture, *weights)
        case = f"{count} steps, all with the same thresholds"
        same(found, _steps(picture, weights, count), case=case, tolerance=1e-4)


@DENOISE.holds("step k uses the thresholds of step k", cause="in which order, and which of them?")
def own_thresholds(answer: Answer) -> None:
    picture, (C, D, W, thresholds, size) = torch.rand(1, 1, 7, 8), _weights(2)
    late = torch.cat([0 * thresholds[:1], thresholds[1:] + 99])
    found = answer(picture, C, D, W, late, size)
    same(found, _flat(picture), case="thresholds of 0, then of more than 99")
    early = late.flip(0)
    ensure(
        float((answer(picture, C, D, W, early, size) - _flat(picture)).abs().max()) > 1e-4,
        case="thresholds of more than 99, then of 0",
        expected="more than the means, from the second step",
        actual="the means alone",
    )


@DENOISE.holds("with ISTA's weights the codes are ISTA's", cause="look at eq. 3 once more")
def codes_of_ista(answer: Answer) -> None:
    picture, (_, D, W, _, size) = torch.rand(1, 1, 7, 8), _weights()
    D = D / spectral_norm(D)  # then L = 1
    patches, mean = centre(extract_patches(picture, size))
    codes, _ = ista(patches, D, 0.05, max_iterations=4, tolerance=0)
    same(
        answer(picture, D, D, W, torch.full((4, 12, 1), 0.05), size),
        overlap_average(W @ codes + mean, (7, 8), size),
        tolerance=1e-4,
        case="C = D, ‖D‖ = 1, all thresholds 0.05, 4 steps",
    )


@DENOISE.holds(
    "every image of a batch is restored by itself", cause="is anything averaged over the batch?"
)
def batches(answer: Answer) -> None:
    C, D, W, thresholds, size = _weights()
    pictures = torch.rand(3, 1, 7, 8)
    together = answer(pictures, C, D, W, thresholds, size)
    for i in range(3):
        same(
            together[i : i + 1],
            answer(pictures[i : i + 1], C, D, W, thresholds, size),
            case=f"image {i} of 3, and it alone",
        )


@DENOISE.holds(
    "gradients reach C, D, W and the thresholds",
    cause="no_grad, .detach() and .data cut them off: SC is to be trained",
)
def denoise_trains(answer: Answer) -> None:
    C, D, W, thresholds, size = _weights()
    given = {"C": C, "D": D, "W": W, "Λ": thresholds}
    for weight in given.values():
        weight.requires_grad_()
    found = answer(torch.rand(1, 1, 7, 8), C, D, W, thresholds, size)
    ensure_gradients(found, given, case="the estimate")


def _like_the_model() -> list[tuple[Tensor | int, ...]]:
    """The weights of a `PatchSC`, moved a little, and of `_weights`."""
    model = PatchSC(PatchConfig(patch=4, atoms=20, steps=3, threshold=0.05))
    C, D, W = (
        weight.detach() + 0.02 * torch.randn(16, 20) for weight in (model.C, model.D, model.W)
    )
    return [
        (torch.rand(2, 1, 9, 7), C, D, W, model.thresholds.detach(), 4),
        (torch.rand(1, 1, 8, 8), *_weights()),
    ]


DENOISE.agrees(_like_the_model, tolerance=1e-4)


STEP = Exercise("sc.training_step", training_step)


class _Gain(nn.Module):
    """Multiplies what it is shown by its only weight, and keeps it."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))
        self.shown: list[Tensor] = []

    def forward(self, noisy: Tensor) -> Tensor:
        self.shown.append(noisy.detach().clone())
        return self.gain * noisy


class _Watched(PatchSC):
    """A small SC that keeps what it is shown."""

    def __init__(self) -> None:
        config = PatchConfig(patch=3, atoms=12, steps=3, threshold=0.03)
        super().__init__(config, random_dictionary(9, 12, torch.Generator().manual_seed(0)))
        self.shown: list[Tensor] = []

    def forward(
        self, noisy: Tensor, mask: Tensor | None = None, sigma: Tensor | None = None
    ) -> Tensor:
        self.shown.append(noisy.detach().clone())
        return super().forward(noisy, mask, sigma)


def _only(answer: Answer) -> Answer:
    """The answer alone: the reference beside it would train the same model again."""
    return Answer(answer.function, lambda *given: 0.0)


def _descent(model: nn.Module, rate: float = 1e-4) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=rate)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _shown(answer: Answer, clean: Tensor, sigma: float, seed: int = 0) -> Tensor:
    """What a step shows the model first."""
    model = _Gain()
    _only(answer)(
        model, _descent(model), clean, torch.ones(1, 1, *clean.shape[2:]), sigma, _seeded(seed)
    )
    ensure(
        bool(model.shown) and model.shown[0].shape == clean.shape,
        case=f"one step with crops of shape {tuple(clean.shape)}",
        expected="the model is called with noisy crops of this shape",
        actual=f"it is called with shape {tuple(model.shown[0].shape)}"
        if model.shown
        else "it is not called",
    )
    return model.shown[0]


@STEP.holds(
    "the model is shown the clean crops with noise of σ",
    cause="σ is a standard deviation: σ times what?",
)
def noise_of_sigma(answer: Answer) -> None:
    for level, sigma in ((0.5, 0.1), (0.0, 0.3)):
        clean = torch.full((4, 1, 40, 40), level)
        noise = _shown(answer, clean, sigma) - clean
        case = f"four crops of 40 × 40 pixels, all {level}, σ = {sigma}"
        cause = "normal numbers on the clean crops: with which mean, and clipped anywhere?"
        same(
            noise.std(),
            sigma,
            case=f"{case}: standard deviation of what was added",
            tolerance=0.05 * sigma,
            cause="no noise was added" if noise.std() == 0 else "",
        )
        same(noise.mean(), 0.0, case=f"{case}: its mean", tolerance=0.06 * sigma, cause=cause)
        same(
            (noise.abs() > 2 * sigma).float().mean(),
            0.0455,
            case=f"{case}: share of it beyond 2σ",
            tolerance=0.02,
            cause="is it normal noise?",
        )


@STEP.holds("every crop has noise of its own", cause="for how many crops is noise drawn?")
def own_noise(answer: Answer) -> None:
    clean = torch.full((2, 1, 30, 30), 0.5)
    one, other = _shown(answer, clean, 0.1) - clean
    cosine = (one * other).sum() / (one.norm() * other.norm())
    same(cosine, 0.0, tolerance=0.15, case="the noise of two crops: cosine between them")


@STEP.holds(
    "the generator's seed decides about the noise, and nothing else does",
    cause="is every random number drawn with generator=generator, which is not seeded anew?",
)
def reproducible(answer: Answer) -> None:
    clean = torch.rand(2, 1, 9, 8)
    first = _shown(answer, clean, 0.1, seed=1)
    same(_shown(answer, clean, 0.1, seed=1), first, case="the same seed twice: what is shown")
    distance = float((_shown(answer, clean, 0.1, seed=2) - first).abs().max())
    ensure(distance > 0.01, case="two seeds", expected="other noise", actual="the very same noise")


@STEP.holds(
    "it returns the loss of the estimate against the clean crops",
    cause="which two pictures are compared, and with which counts?",
)
def returned(answer: Answer) -> None:
    clean, counts, model = torch.rand(2, 1, 6, 7), patch_counts((6, 7), 3), _Gain(0.7)
    found = _only(answer)(model, _descent(model), clean, counts, 0.2, _seeded(0))
    ensure(
        not (isinstance(found, Tensor) and found.requires_grad),
        case="one step",
        expected="a number",
        actual="a tensor that remembers how it came about",
        cause="loss.item() is the number alone",
    )
    noisy = model.shown[0]
    estimate = 0.7 * noisy
    wanted = squared(estimate, clean, counts)
    cause = likely_cause(
        found,
        [
            (squared(estimate, noisy, counts), "the estimate is to be near the clean crops"),
            (squared(noisy, clean, counts), "that is the loss of the noisy crops"),
            (squared(estimate, clean, torch.ones_like(counts)), "where do the counts go?"),
            (squared(float(model.gain.detach()) * noisy, clean, counts), "before the step"),
            ((estimate - clean).square().mean(), "the loss of exercise 2, with its counts"),
        ],
    )
    same(found, wanted, case="a model that multiplies by 0.7, two crops", cause=cause)


def _slope(noisy: Tensor, clean: Tensor, counts: Tensor, gain: float) -> float:
    """Of the loss of a `_Gain`."""
    weight = (counts / counts.max()).square()
    return float(2 * (weight * (gain * noisy - clean) * noisy).sum() / len(clean))


@STEP.holds("one step of the optimiser goes downhill", cause="first backward, then step, each once")
def one_step(answer: Answer) -> None:
    clean, counts, model = torch.rand(2, 1, 6, 7), patch_counts((6, 7), 3), _Gain(2.0)
    _only(answer)(model, _descent(model, 1e-2), clean, counts, 0.1, _seeded(0))
    slope = _slope(model.shown[0], clean, counts, 2.0)
    moved = model.gain.detach() - 2.0
    same(
        moved,
        -1e-2 * slope,
        case="a model that multiplies by 2, gradient descent of rate 0.01: change of its weight",
        cause=likely_cause(
            moved,
            [
                (0.0, "it did not move: backward first, then step? And on a loss with a history?"),
                (-2e-2 * slope, "it moved twice as far: one step only"),
                (1e-2 * slope, "it went uphill"),
            ],
        ),
    )


@STEP.holds(
    "gradients of an earlier step are forgotten",
    cause="backward adds to the gradients that are there: who sets them to zero, and when?",
)
def no_pile(answer: Answer) -> None:
    clean, counts, model = torch.rand(2, 1, 6, 7), patch_counts((6, 7), 3), _Gain(2.0)
    optimizer = _descent(model, 1e-3)
    for number in range(3):
        before = float(model.gain.detach())
        _only(answer)(model, optimizer, clean, counts, 0.1, _seeded(number))
        same(
            model.gain.detach() - before,
            -1e-3 * _slope(model.shown[-1], clean, counts, before),
            case=f"step {number + 1} of gradient descent, rate 0.001: change of a weight",
        )


@STEP.holds("all weights of SC move", cause="is the optimiser's step the only change?")
def all_move(answer: Answer) -> None:
    model = _Watched()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    clean, counts = torch.rand(2, 1, 10, 10), model.estimate_counts((10, 10))
    _only(answer)(model, optimizer, clean, counts, 0.1, _seeded(0))
    for name, weight in model.named_parameters():
        ensure(
            bool((weight.detach() != before[name]).any()),
            case="one step of Adam",
            expected=f"{name} moves",
            actual=f"{name} is what it was",
        )


@STEP.holds("the loss falls over 20 steps", cause="is every step taken with the same model?")
def falls(answer: Answer) -> None:
    model = _Watched()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    ramp = torch.linspace(0, 1, 12).expand(2, 1, 12, 12)
    counts = model.estimate_counts((12, 12))
    noisy = ramp + 0.1 * torch.randn(2, 1, 12, 12, generator=_seeded(99))
    values = []
    for number in range(21):
        with torch.no_grad():
            values.append(float(squared(model(noisy), ramp, counts)))
        _only(answer)(model, optimizer, ramp, counts, 0.1, _seeded(number))
    ensure(
        values[-1] < 0.95 * values[0],
        case="20 steps of Adam, and crops with noise that is not trained on",
        expected=f"a loss below {0.95 * values[0]:.4g}",
        actual=f"{values[-1]:.4g}",
    )


@STEP.holds("agrees with the library")
def like_the_library(answer: Answer) -> None:
    clean = torch.rand(3, 1, 9, 11)
    mine, theirs = _Watched(), _Watched()
    counts = mine.estimate_counts((9, 11))
    optimizers = [torch.optim.Adam(model.parameters(), lr=1e-3) for model in (mine, theirs)]
    for number in range(3):
        found = _only(answer)(mine, optimizers[0], clean, counts, 0.15, _seeded(number))
        # The same noise, however it was drawn.
        loss = squared(theirs(mine.shown[-1]), clean, counts)
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
        same(found, loss.detach(), case=f"step {number + 1} of Adam: the loss")
    for (name, weight), other in zip(mine.named_parameters(), theirs.parameters(), strict=True):
        same(weight.detach(), other.detach(), case=f"three steps of Adam: {name}", tolerance=1e-4)


LEVEL = Exercise("sc.at_level", at_level)


def _trained() -> PatchSC:
    """A small SC whose weights are all different."""
    model = PatchSC(PatchConfig(patch=3, atoms=12, steps=3, threshold=0.05))
    for weight in (model.C, model.D, model.W):
        weight.data += 0.05 * torch.randn(9, 12)
    model.raw_thresholds.data *= 0.5 + torch.rand(3, 12)
    return model.requires_grad_(False)


@LEVEL.holds("at the level that it was trained for it is the model")
def own_level(answer: Answer) -> None:
    model, noisy = _trained(), torch.rand(2, 1, 8, 9)
    same(answer(model, noisy, 0.1, 0.1), model(noisy), case="sigma = trained = 0.1")


@LEVEL.holds(
    "the model is shown noise as strong as it knows",
    cause="it cannot change, but what it is shown can: what makes the noise weaker?",
)
def noise_it_knows(answer: Answer) -> None:
    for sigma in (0.05, 0.4):
        model, noisy = _Gain().requires_grad_(False), sigma * torch.randn(1, 1, 50, 50)
        answer(model, noisy, sigma, 0.1)
        shown = model.shown[0].std() if model.shown else torch.zeros(())
        same(
            shown,
            0.1 * noisy.std() / sigma,
            case=f"a picture of noise alone, sigma = {sigma}, trained = 0.1: standard deviation "
            "of what the model is shown",
            cause=likely_cause(
                shown,
                [
                    (noisy.std(), ""),
                    (noisy.std() * sigma / 0.1, "it became stronger where it should be weaker"),
                    (noisy.std() * (0.1 / sigma) ** 2, "deviations, or variances?"),
                    (noisy.std() * (0.1 / sigma) ** 0.5, "deviations, or variances?"),
                ],
            ),
        )


@LEVEL.holds("a model that changes nothing changes nothing")
def identity(answer: Answer) -> None:
    noisy = torch.rand(2, 1, 6, 7)
    for sigma in (0.03, 0.2):
        found = answer(_Gain().requires_grad_(False), noisy, sigma, 0.1)
        case = f"the model y ↦ y, sigma = {sigma}, trained = 0.1"
        cause = "what was done to the picture before the model must be undone after it"
        same(found, noisy, case=case, cause=cause)


@LEVEL.holds(
    "picture and noise twice as strong give twice the estimate",
    cause="is anything clipped, or is a part of the picture left out?",
)
def doubled(answer: Answer) -> None:
    model, noisy = _trained(), torch.rand(1, 1, 8, 9)
    for sigma in (0.05, 0.1):
        once, twice = answer(model, noisy, sigma, 0.1), answer(model, 2 * noisy, 2 * sigma, 0.1)
        same(twice, 2 * once, case=f"sigma = {sigma}, then {2 * sigma}", tolerance=1e-4)


@LEVEL.holds("a brighter picture gives a brighter estimate", cause="is anything clipped?")
def brighter_too(answer: Answer) -> None:
    model, noisy = _trained(), torch.rand(1, 1, 8, 9)
    for sigma in (0.04, 0.3):
        same(
            answer(model, noisy + 3, sigma, 0.1),
            answer(model, noisy, sigma, 0.1) + 3,
            tolerance=1e-4,
            case=f"3 added to all pixels, sigma = {sigma}",
        )


@LEVEL.holds("of SC it is the model whose thresholds belong to the noise")
def thresholds_scaled(answer: Answer) -> None:
    model, noisy = _trained(), torch.rand(2, 1, 8, 9)
    for sigma in (0.02, 0.25):
        scaled = copy.deepcopy(model)
        scaled.raw_thresholds.data *= sigma / 0.1
        case = f"sigma = {sigma}, trained = 0.1"
        same(answer(model, noisy, sigma, 0.1), scaled(noisy), case=case, tolerance=1e-4)


def _levels() -> list[tuple[Callable[[Tensor], Tensor], Tensor, float, float]]:
    model = _trained()
    return [
        (model, torch.rand(2, 1, 9, 7), 0.05, 0.1),
        (model, torch.rand(1, 1, 5, 12), 0.3, 0.1),
        (model, torch.randn(1, 1, 6, 6), 15 / 255, 25 / 255),
    ]


LEVEL.agrees(_levels, tolerance=1e-4)
