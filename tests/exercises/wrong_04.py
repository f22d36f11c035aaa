"""Wrong answers to the exercises of lesson 04, each with the property that it breaks."""

import torch

from lessons_lib.exercises.answer import RUNS, SHAPE, UNCHANGED
from lessons_lib.ops.prox import hard_threshold, soft_threshold


def layer(codes, patches, C, D, thresholds):
    return soft_threshold(codes + C.T @ (patches - D @ codes), thresholds)


def unrolled(patches, C, D, thresholds, one=layer, start=None, keep=lambda codes: codes):
    """A network with one thing wrong."""
    codes = patches.new_zeros(D.shape[1], patches.shape[1]) if start is None else start
    found = []
    for k in range(len(C)):
        codes = one(codes, patches, C[k], D, thresholds[k])
        found.append(keep(codes))
    return torch.stack(found)


def always_the_first(patches, C, D, thresholds):
    return unrolled(patches, C[:1].expand_as(C), D, thresholds[:1].expand_as(thresholds))


def backwards(patches, C, D, thresholds):
    return unrolled(patches, C.flip(0), D, thresholds.flip(0))


def forgets_the_last_codes(patches, C, D, thresholds):
    nothing = patches.new_zeros(D.shape[1], patches.shape[1])
    return unrolled(patches, C, D, thresholds, lambda _, *rest: layer(nothing, *rest))


def descending(finish, step=-1.0, both=True, detach=True):
    """A gradient step with one thing wrong."""

    def descend(loss, C, thresholds, rate):
        C = C.detach().clone().requires_grad_()
        thresholds = thresholds.detach().clone().requires_grad_()
        slopes = torch.autograd.grad(loss(C, thresholds), (C, thresholds))
        moved = C + step * rate * slopes[0]
        shifted = finish(thresholds + (step * rate * slopes[1] if both else 0))
        return (moved.detach(), shifted.detach()) if detach else (moved, shifted)

    return descend


def positive(thresholds):
    return thresholds.clamp_min(0)


def one_after_the_other(loss, C, thresholds, rate):
    C, thresholds = (weight.detach().clone().requires_grad_() for weight in (C, thresholds))
    (slope,) = torch.autograd.grad(loss(C, thresholds), C)
    C = (C - rate * slope).detach()
    (slope,) = torch.autograd.grad(loss(C, thresholds), thresholds)
    return C, (thresholds - rate * slope).detach().clamp_min(0)


def clamps_both(loss, C, thresholds, rate):
    C, thresholds = descending(positive)(loss, C, thresholds, rate)
    return C.clamp_min(0), thresholds


def in_place(loss, C, thresholds, rate):
    found = descending(positive)(loss, C, thresholds, rate)
    C.copy_(found[0])
    thresholds.copy_(found[1])
    return C, thresholds


def without_asking_for_gradients(loss, C, thresholds, rate):
    slopes = torch.autograd.grad(loss(C, thresholds), (C, thresholds))
    return C - rate * slopes[0], (thresholds - rate * slopes[1]).clamp_min(0)


def slopes_of(finish, keep=lambda z, t: z.abs() > t, sign=torch.sign):
    """Derivatives of a soft threshold with one thing wrong."""

    def backward(z, thresholds, slopes):
        passed = slopes * keep(z, thresholds)
        return finish(passed, -passed * sign(z), thresholds)

    return backward


def summed(in_z, in_thresholds, thresholds):
    return in_z, in_thresholds.sum_to_size(thresholds.shape)


def averaged(in_z, in_thresholds, thresholds):
    shared = in_thresholds.numel() / max(thresholds.numel(), 1)
    return in_z, in_thresholds.sum_to_size(thresholds.shape) / shared


def by_autograd(z, thresholds, slopes):
    z, thresholds = (value.detach().clone().requires_grad_() for value in (z, thresholds))
    found = soft_threshold(z, thresholds)
    return torch.autograd.grad(found, (z, thresholds), slopes)


def pseudo(dictionary):
    return torch.linalg.pinv(dictionary @ dictionary.T) @ dictionary


def scaled(weights, dictionary):
    return weights / (weights * dictionary).sum(dim=0)


WRONG = {
    "lista.layer": [
        (
            lambda z, y, C, D, t: soft_threshold(z - C.T @ (y - D @ z), t),
            "from codes of zero, C looks at the patch",
            "opposite sign",
        ),
        (
            lambda z, y, C, D, t: soft_threshold(z + D.T @ (y - C @ z), t),
            "from codes of zero, C looks at the patch",
            "which matrix is turned, C or D?",
        ),
        (
            lambda z, y, C, D, t: soft_threshold(
                z + D.T @ (y - D @ z) / torch.linalg.matrix_norm(D, 2) ** 2, t
            ),
            "from codes of zero, C looks at the patch",
        ),
        (
            lambda z, y, C, D, t: soft_threshold(C.T @ (y - D @ z), t),
            "what was found before stays in the sum",
            "to what is the new part added?",
        ),
        (
            lambda z, y, C, D, t: soft_threshold(z + C.T @ y, t),
            "D explains, and only the rest is looked at",
            "what is left of the patch",
        ),
        (
            lambda z, y, C, D, t: soft_threshold(z + C.T @ (y - C @ z), t),
            "D explains, and only the rest is looked at",
        ),
        (
            lambda z, y, C, D, t: z + soft_threshold(C.T @ (y - D @ z), t),
            "what is below its threshold becomes zero, old or new",
            "the threshold comes last",
        ),
        (
            lambda z, y, C, D, t: soft_threshold(z, t) + C.T @ (y - D @ z),
            "what is below its threshold becomes zero, old or new",
            "the threshold comes last",
        ),
        (
            lambda z, y, C, D, t: soft_threshold(z, t) + soft_threshold(C.T @ (y - D @ z), t),
            "with C = D/L and Λ = λ/L it is a step of ISTA",
            "one threshold of the sum",
        ),
        (
            lambda z, y, C, D, t: hard_threshold(z + C.T @ (y - D @ z), t),
            "what is above its threshold becomes smaller by it",
            "or a hard one?",
        ),
        (
            lambda z, y, C, D, t: (z + C.T @ (y - D @ z) - t).clamp_min(0),
            "from codes of zero, C looks at the patch",
        ),
        (
            lambda z, y, C, D, t: layer(z, y, C, D, t.mean()),
            "every atom has a threshold of its own",
        ),
        (
            torch.no_grad()(layer),
            "gradients reach the codes, C, D and the thresholds",
            "no_grad",
        ),
        (
            lambda z, y, C, D, t: layer(z.detach(), y, C, D, t),
            "gradients reach the codes, C, D and the thresholds",
            "it does not reach z",
        ),
        (lambda z, y, C, D, t: soft_threshold(z + C @ (y - D @ z), t), RUNS),
    ],
    "lista.unroll": [
        (
            lambda y, C, D, t: unrolled(y, C, D, t, start=D.T @ y),
            "the first layer starts from codes of zero",
            "where does it start?",
        ),
        (
            forgets_the_last_codes,
            "a layer goes on from the codes of the layer before",
            "which codes does it get?",
        ),
        (
            lambda y, C, D, t: unrolled(y, C, D, t)[-1:].expand(len(C), -1, -1),
            "the codes after every layer are kept, in order",
        ),
        (
            lambda y, C, D, t: unrolled(y, C, D, t).flip(0),
            "the codes after every layer are kept, in order",
            "what is stacked, and when?",
        ),
        (always_the_first, "layer k uses the weights of layer k", "does the loop go through C"),
        (backwards, "layer k uses the weights of layer k", "from the first?"),
        (
            lambda y, C, D, t: unrolled(y, C, D, t, keep=torch.detach),
            "it can be trained: every weight gets a gradient",
        ),
        (
            lambda y, C, D, t: unrolled(y, C, D, t, lambda z, *rest: layer(z.detach(), *rest)),
            "it can be trained: every weight gets a gradient",
            "it reaches a part of C",
        ),
        (
            torch.no_grad()(unrolled),
            "it can be trained: every weight gets a gradient",
            "it does not reach C",
        ),
        (lambda y, C, D, t: unrolled(y, C, D, t)[-1], SHAPE),
        (lambda y, C, D, t: unrolled(y, C, D, t)[:-1], SHAPE),
        (
            lambda y, C, D, t: torch.stack(
                [y.new_zeros(D.shape[1], y.shape[1]), *unrolled(y, C, D, t)]
            ),
            SHAPE,
        ),
    ],
    "lista.descend": [
        (descending(positive, step=1.0), "both weights go downhill", "opposite sign"),
        (descending(positive, both=False), "both weights go downhill", "is each of them moved"),
        (descending(lambda t: t), "no threshold becomes negative", "where must it stop?"),
        (clamps_both, "C may become negative", "which of the two has a limit?"),
        (descending(torch.abs), "no threshold becomes negative"),
        (one_after_the_other, "both slopes are taken at the old weights"),
        (descending(positive, detach=False), "the new weights are plain numbers"),
        (in_place, UNCHANGED),
        (without_asking_for_gradients, RUNS),
    ],
    "lista.backward": [
        (
            slopes_of(summed, keep=lambda z, t: torch.ones_like(z)),
            "nothing depends on what stays below its threshold",
            "does an output that is 0 change?",
        ),
        (
            lambda z, t, g: (g * (z.abs() > t), -(g * z.sign()).sum_to_size(t.shape)),
            "nothing depends on what stays below its threshold",
            "a threshold changes a little",
        ),
        (
            slopes_of(summed, keep=lambda z, t: z > t),
            "above its threshold z moves the output as far as itself",
            "for negative z as well",
        ),
        (
            slopes_of(lambda z, t, to: (-t, t.sum_to_size(to.shape))),
            "above its threshold z moves the output as far as itself",
        ),
        (
            slopes_of(summed, keep=lambda z, t: (1 - t / z.abs()).clamp_min(0)),
            "above its threshold z moves the output as far as itself",
            "how steep is it?",
        ),
        (
            slopes_of(lambda z, t, to: (z, -t.sum_to_size(to.shape))),
            "a higher threshold moves the output towards 0",
            "opposite sign",
        ),
        (
            slopes_of(summed, sign=lambda z: -torch.ones_like(z)),
            "a higher threshold moves the output towards 0",
            "larger, or smaller?",
        ),
        (
            slopes_of(summed, sign=torch.ones_like),
            "a higher threshold moves the output towards 0",
            "which way is towards 0?",
        ),
        (slopes_of(averaged), "a threshold hears all entries that it serves", "all of them say"),
        (slopes_of(lambda z, t, to: (z, t)), SHAPE, "serves many entries"),
        (slopes_of(lambda z, t, to: (z, t.sum(-1, keepdim=True))), SHAPE),
        (
            slopes_of(summed, keep=lambda z, t: (z.abs() > t) & (t > 0)),
            "with thresholds of 0 every entry but 0 is passed on",
        ),
        (
            slopes_of(summed, keep=lambda z, t: (z.abs() > t) + 5.0 * (z.abs() == t)),
            "in a kink it is between the slopes on the two sides",
        ),
        (by_autograd, RUNS, "are to be your own"),
    ],
    "lista.analytic_weights": [
        (
            lambda D: scaled(D, D),
            "atoms that are independent are told apart completely",
            "it is not for C = D",
        ),
        (pseudo, "every weight sees its own atom fully", "what should c_jᵀ d_j be?"),
        (lambda D: pseudo(D) / pseudo(D).norm(dim=0), "every weight sees its own atom fully"),
        (
            lambda D: torch.linalg.inv(D @ D.T) @ D / (pseudo(D) * D).sum(dim=0),
            "atoms of centred patches are no obstacle",
        ),
        (
            lambda D: scaled(D @ torch.linalg.pinv(D.T @ D + 0.1 * torch.eye(D.shape[1])), D),
            "atoms that are independent are told apart completely",
        ),
        (lambda D: torch.linalg.pinv(D).T, "every weight sees its own atom fully"),
    ],
}
