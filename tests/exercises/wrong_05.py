"""Wrong answers to the exercises of lesson 05, each with the property that it breaks."""

import torch

from lessons_lib.exercises.answer import SHAPE, TYPE, UNCHANGED
from lessons_lib.ops.patches import (
    centre,
    extract_patches,
    overlap_add,
    overlap_average,
    patch_counts,
)
from lessons_lib.ops.prox import hard_threshold, soft_threshold


def centres_in_place(patches):
    mean = patches.mean(dim=-2, keepdim=True)
    patches -= mean
    return patches, mean


def centres_by(mean):
    """Centring by another number."""

    def answer(patches):
        value = mean(patches)
        return patches - value, value.expand(*patches.shape[:-2], 1, patches.shape[-1])

    return answer


def counted(shape, size, finish):
    return finish(patch_counts(shape, size))


def as_far_as_it_goes(shape, size):
    """Counts patches that stick out on two sides."""
    found = torch.ones(1, 1, *shape)
    for axis, length in ((2, shape[0]), (3, shape[1])):
        ramp = (torch.arange(length) + 1).clamp_max(size) / size
        found = found * ramp.view([-1 if i == axis else 1 for i in range(4)])
    return found


def ramps(shape, size):
    """As if every image were large."""
    rows, columns = (
        torch.minimum(at := torch.arange(n) + 1, n + 1 - at).clamp_max(size) / size for n in shape
    )
    return (rows[:, None] * columns)[None, None]


def weigh(estimate, clean, counts, finish, power=1.0):
    return finish(((counts / counts.max()) ** power * (estimate - clean)).square())


def sc(noisy, C, D, W, thresholds, size, prox=soft_threshold, cut=centre, first=False, join=None):
    """SC with one thing wrong."""
    patches, mean = cut(extract_patches(noisy, size))
    codes = patches.new_zeros(len(patches), D.shape[1], patches.shape[-1])
    for threshold in thresholds:
        used = thresholds[0] if first else threshold
        codes = prox(codes + C.T @ (patches - D @ codes), used)
    estimate = W @ codes + mean
    return (join or overlap_average)(estimate, tuple(noisy.shape[-2:]), size)


def not_centred(patches):
    return patches, 0 * patches[..., :1, :]


def forgets_the_mean(patches):
    centred, mean = centre(patches)
    return centred, 0 * mean


def one_step(noisy, C, D, W, thresholds, size):
    return sc(noisy, C, D, W, thresholds[-1:], size)


WRONG = {
    "sc.centre": [
        (
            lambda y: (y - y.mean(-1, keepdim=True), y.mean(-2, keepdim=True)),
            "each patch has a mean of its own",
            "along which axis",
        ),
        (centres_by(lambda y: y.mean()), "each patch has a mean of its own"),
        (
            centres_by(lambda y: y.median(dim=-2, keepdim=True).values),
            "every centred patch has mean 0",
            "is it the mean",
        ),
        (
            lambda y: (y - y.mean(-2, keepdim=True), 2 * y.mean(-2, keepdim=True)),
            "each patch has a mean of its own",
            "2 times",
        ),
        (
            lambda y: (y - y.mean(-2, keepdim=True), -y.mean(-2, keepdim=True)),
            "each patch has a mean of its own",
            "opposite sign",
        ),
        (
            lambda y: (
                (y - y.mean(-2, keepdim=True)) / (y.std(-2, keepdim=True) + 1e-6),
                y.mean(-2, keepdim=True),
            ),
            "patch and mean together are what they were",
            "is the mean all that is taken away",
        ),
        (lambda y: (y - y.mean(-2, keepdim=True), y.mean(-2)), SHAPE),
        (lambda y: y - y.mean(-2, keepdim=True), TYPE),
        (centres_in_place, UNCHANGED),
    ],
    "sc.border_weights": [
        (
            lambda shape, size: counted(shape, size, lambda c: c),
            "1 where a pixel has all the patches that it can have",
            "16 times the expected ones",
        ),
        (
            lambda shape, size: counted(shape, size, lambda c: c / c.sum()),
            "1 where a pixel has all the patches that it can have",
        ),
        (
            lambda shape, size: counted(shape, size, lambda c: (c / c.max()).sqrt()),
            "a corner pixel is in one patch only",
            "Is it the plain ratio?",
        ),
        (as_far_as_it_goes, "all four borders are alike", "stick out"),
        (ramps, "an image no larger than a patch has weights of 1", "how many patches fit?"),
        (
            lambda shape, size: counted(shape, size, lambda c: c / size**2),
            "an image no larger than a patch has weights of 1",
            "the largest count that occurs",
        ),
        (lambda shape, size: counted(shape, size, lambda c: (c / c.max())[0, 0]), SHAPE),
    ],
    "sc.loss": [
        (
            lambda x, y, c: weigh(x, y, c, torch.mean),
            "with equal weights it is the squared length of the error",
            "sum, or mean?",
        ),
        (
            lambda x, y, c: weigh(x, y, c, lambda e: e.sum() / 2),
            "with equal weights it is the squared length of the error",
            "0.5 times the expected ones",
        ),
        (
            lambda x, y, c: (c / c.max() * (x - y)).abs().sum() / len(x),
            "with equal weights it is the squared length of the error",
            "is every error squared?",
        ),
        (
            lambda x, y, c: weigh(x.detach(), y, c, lambda e: e.sum() / len(x)),
            "gradients reach the estimate",
            ".detach()",
        ),
        (
            torch.no_grad()(lambda x, y, c: weigh(x, y, c, lambda e: e.sum() / len(x))),
            "gradients reach the estimate",
            "no_grad",
        ),
        (
            lambda x, y, c: weigh(x, y, c, torch.sum),
            "a batch of copies has the loss of one",
            "a sum over images grows with them",
        ),
        (
            lambda x, y, c: (c * (x - y)).square().sum() / len(x),
            "counts twice as large change nothing",
        ),
        (
            lambda x, y, c: weigh(x, y, c, lambda e: e.sum() / len(x), power=0.5),
            "an error counts by the square of its weight",
        ),
        (
            lambda x, y, c: weigh(x, y, c, lambda e: e.sum() / len(x), power=0.0),
            "an error counts by the square of its weight",
            "are errors weighed",
        ),
        (lambda x, y, c: weigh(x, y, c, lambda e: e.sum((1, 2, 3))), SHAPE),
    ],
    "sc.denoise": [
        (
            lambda *given: sc(*given, cut=forgets_the_mean),
            "a constant picture stays as it is",
            "what happens to a patch's mean",
        ),
        (lambda *given: sc(*given, cut=not_centred), "a constant picture stays as it is"),
        (
            lambda *given: sc(*given, join=lambda p, s, size: overlap_add(p, s, size) / size**2),
            "without codes, a pixel is the average of the means around it",
            "at the border",
        ),
        (
            lambda y, C, D, W, t, size: sc(y, C, D, D, t, size),
            "codes become patches by W",
            "D explains, W paints",
        ),
        (lambda y, C, D, W, t, size: sc(y, D, W, W, t, size), "C looks at the patch"),
        (lambda y, C, D, W, t, size: sc(y, D, C, W, t, size), "C looks at the patch", "is turned?"),
        (
            lambda y, C, D, W, t, size: sc(y, C, W, W, t, size),
            "there are as many steps as thresholds, and D explains",
        ),
        (
            lambda *given: sc(*given, prox=hard_threshold),
            "what survives is smaller by its threshold",
            "or a hard one?",
        ),
        (
            lambda *given: sc(*given, prox=lambda z, t: z),
            "with huge thresholds only the means are left",
            "does every step threshold?",
        ),
        (lambda *given: sc(*given, first=True), "step k uses the thresholds of step k"),
        (
            lambda y, C, D, W, t, size: sc(y, C, D, W, t.flip(0), size),
            "step k uses the thresholds of step k",
            "in which order",
        ),
        (
            one_step,
            "there are as many steps as thresholds, and D explains",
            "does the loop go through all thresholds",
        ),
        (torch.no_grad()(sc), "gradients reach C, D, W and the thresholds", "no_grad"),
        (
            lambda y, C, D, W, t, size: sc(y, C, D.detach(), W, t, size),
            "gradients reach C, D, W and the thresholds",
            "it does not reach D",
        ),
        (
            lambda y, C, D, W, t, size: sc(y, C, D, W, t, size).mean(0, keepdim=True),
            SHAPE,
        ),
    ],
}
