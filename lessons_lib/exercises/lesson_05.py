"""Exercises of lesson 05: SC, a sparse denoiser trained end to end."""

import torch
from torch import Tensor

from lessons_lib.exercises.answer import Answer
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.lesson_04 import layer
from lessons_lib.exercises.properties import ensure, ensure_gradients, same
from lessons_lib.models.sc import PatchSC
from lessons_lib.models.unrolled import PatchConfig
from lessons_lib.ops.dictionary import random_dictionary, spectral_norm
from lessons_lib.ops.patches import centre, extract_patches, overlap_average, patch_counts
from lessons_lib.ops.prox import soft_threshold
from lessons_lib.solvers import ista
from lessons_lib.training.losses import squared


def border_weights(shape: tuple[int, int], size: int) -> Tensor:
    """Estimates that each pixel gets, over their maximum: ``(1, 1, H, W)``, 1 in the middle.

    Source: GroupSC §3.6 (ii).
    """
    counts = patch_counts(shape, size)
    return counts / counts.max()


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


WEIGHTS = Exercise("sc.border_weights", border_weights)


@WEIGHTS.holds("1 where a pixel has all the patches that it can have", cause="over what maximum?")
def middle(answer: Answer) -> None:
    found = answer((12, 15), 4)
    same(found[:, :, 3:-3, 3:-3], 1.0, case="12 × 15 pixels, patches of 4: more than 2 from a side")


@WEIGHTS.holds(
    "a corner pixel is in one patch only", cause="one patch of how many? Is it the plain ratio?"
)
def corner(answer: Answer) -> None:
    same(answer((12, 15), 4)[0, 0, 0, 0], 1 / 16, case="corner of 12 × 15 pixels, patches of 4")


@WEIGHTS.holds("all four borders are alike", cause="a patch that would stick out does not exist")
def symmetric(answer: Answer) -> None:
    found = answer((12, 15), 4)
    same(found.flip(2), found, case="12 × 15 pixels, upside down")
    same(found.flip(3), found, case="12 × 15 pixels, left and right exchanged")
    found = answer((11, 11), 4)
    same(found.mT, found, case="11 × 11 pixels, rows and columns exchanged")


@WEIGHTS.holds("an image no larger than a patch has weights of 1")
def one_patch(answer: Answer) -> None:
    same(
        answer((5, 5), 5),
        torch.ones(1, 1, 5, 5),
        case="5 × 5 pixels, patches of 5",
        cause="how many patches fit? And what is the largest count that occurs in this image?",
    )


@WEIGHTS.holds("they count patches", cause="a patch that would stick out does not exist")
def by_hand(answer: Answer) -> None:
    height, width, size = 6, 9, 3
    counts = torch.zeros(1, 1, height, width)
    for top in range(height - size + 1):
        for left in range(width - size + 1):
            counts[:, :, top : top + size, left : left + size] += 1
    same(answer((height, width), size), counts / counts.max(), case="6 × 9 pixels, patches of 3")


WEIGHTS.agrees(lambda: [((20, 20), 9), ((7, 5), 3), ((4, 6), 4)])


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
