"""Wrong answers to the exercises of lesson 05, each with the property that it breaks."""

import torch

from lessons_lib.exercises.answer import RUNS, SHAPE, TYPE, UNCHANGED
from lessons_lib.ops.patches import centre, extract_patches, overlap_add, overlap_average
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


def drawn(clean, sigma, generator):
    return clean + sigma * torch.randn(clean.shape, generator=generator)


def weighted(estimate, clean, counts):
    return weigh(estimate, clean, counts, lambda e: e.sum() / len(clean))


def step(noise=drawn, loss=weighted, before=True, times=1, order="zbs", finish=torch.Tensor.item):
    """A training step with one thing wrong."""

    def answer(model, optimizer, clean, counts, sigma, generator):
        noisy = noise(clean, sigma, generator)
        value = loss(model(noisy), clean, counts)
        moves = {"z": optimizer.zero_grad, "b": value.backward, "s": optimizer.step}
        for move in order:
            moves[move]()
        for _ in range(times - 1):
            optimizer.step()
        return finish(value if before else loss(model(noisy), clean, counts))

    return answer


def adds_in_place(clean, sigma, generator):
    return clean.add_(sigma * torch.randn(clean.shape, generator=generator))


def seeds_anew(clean, sigma, generator):
    return drawn(clean, sigma, generator.manual_seed(0))


def compares_with_noisy(model, optimizer, clean, counts, sigma, generator):
    noisy = drawn(clean, sigma, generator)
    loss = weighted(model(noisy), noisy, counts)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def uphill(model, optimizer, clean, counts, sigma, generator):
    loss = weighted(model(drawn(clean, sigma, generator)), clean, counts)
    optimizer.zero_grad()
    (-loss).backward()
    optimizer.step()
    return loss.item()


def scales_weights(model, noisy, sigma, trained):
    model.raw_thresholds.data *= sigma / trained
    return model(noisy)


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
    "sc.training_step": [
        (
            step(noise=lambda x, s, g: x),
            "the model is shown the clean crops with noise of σ",
            "no noise was added",
        ),
        (
            step(noise=lambda x, s, g: drawn(x, s**2, g)),
            "the model is shown the clean crops with noise of σ",
            "σ times what?",
        ),
        (
            step(noise=lambda x, s, g: x + s * torch.rand(x.shape, generator=g)),
            "the model is shown the clean crops with noise of σ",
            "σ times what?",
        ),
        (
            step(noise=lambda x, s, g: drawn(x, s, g).clamp(0, 1)),
            "the model is shown the clean crops with noise of σ",
        ),
        (
            step(noise=lambda x, s, g: drawn(0 * x, s, g)),
            "the model is shown the clean crops with noise of σ",
            "on the clean crops",
        ),
        (
            step(noise=lambda x, s, g: x + s * torch.randn(x.shape[1:], generator=g)),
            "every crop has noise of its own",
            "for how many crops",
        ),
        (
            step(noise=lambda x, s, g: x + s * torch.randn_like(x)),
            "the generator's seed decides about the noise, and nothing else does",
            "generator=generator",
        ),
        (
            step(noise=seeds_anew),
            "the generator's seed decides about the noise, and nothing else does",
            "not seeded anew",
        ),
        (
            compares_with_noisy,
            "it returns the loss of the estimate against the clean crops",
            "near the clean crops",
        ),
        (
            step(loss=lambda x, y, c: (x - y).square().sum() / len(x)),
            "it returns the loss of the estimate against the clean crops",
            "where do the counts go?",
        ),
        (
            step(loss=lambda x, y, c: (x - y).square().mean()),
            "it returns the loss of the estimate against the clean crops",
            "the loss of exercise 2",
        ),
        (
            step(before=False),
            "it returns the loss of the estimate against the clean crops",
            "before the step",
        ),
        (
            step(finish=lambda value: value),
            "it returns the loss of the estimate against the clean crops",
            "loss.item()",
        ),
        (step(order="z"), "one step of the optimiser goes downhill", "it did not move"),
        (step(order="zb"), "one step of the optimiser goes downhill", "it did not move"),
        (step(order="bzs"), "one step of the optimiser goes downhill", "it did not move"),
        (step(order="zsb"), "one step of the optimiser goes downhill", "it did not move"),
        (step(times=2), "one step of the optimiser goes downhill", "one step only"),
        (uphill, "one step of the optimiser goes downhill", "uphill"),
        (
            step(order="bs"),
            "gradients of an earlier step are forgotten",
            "backward adds to the gradients",
        ),
        (step(noise=adds_in_place), UNCHANGED),
        (step(loss=lambda x, y, c: weighted(x.detach(), y, c)), RUNS, "does not require grad"),
    ],
    "sc.at_level": [
        (
            lambda model, y, sigma, trained: model(y),
            "the model is shown noise as strong as it knows",
            "what it is shown can",
        ),
        (
            lambda model, y, sigma, trained: trained / sigma * model(y * sigma / trained),
            "the model is shown noise as strong as it knows",
            "stronger where it should be weaker",
        ),
        (
            lambda model, y, s, t: (s / t) ** 2 * model(y / (s / t) ** 2),
            "the model is shown noise as strong as it knows",
            "deviations, or variances?",
        ),
        (
            lambda model, y, sigma, trained: y + sigma / trained * (model(y) - y),
            "the model is shown noise as strong as it knows",
        ),
        (
            lambda model, y, sigma, trained: model(y * trained / sigma),
            "a model that changes nothing changes nothing",
            "undone after it",
        ),
        (
            lambda model, y, s, t: s / t * model((y * t / s).clamp(-1, 1)),
            "a model that changes nothing changes nothing",
        ),
        (
            lambda model, y, s, t: (s / t * model(y * t / s)).clamp(0, 1),
            "picture and noise twice as strong give twice the estimate",
            "is anything clipped",
        ),
        (
            lambda model, y, s, t: (s / t * model(y * t / s)).clamp(-1.5, 2.5),
            "a brighter picture gives a brighter estimate",
            "is anything clipped",
        ),
        (scales_weights, RUNS),
    ],
}
