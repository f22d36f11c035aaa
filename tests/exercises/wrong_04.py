"""Wrong answers to the exercises of lesson 04, each with the property that it breaks."""

import torch

from lessons_lib.exercises.core import RUNS, SHAPE, UNCHANGED
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


def in_place(loss, C, thresholds, rate):
    found = descending(positive)(loss, C, thresholds, rate)
    C.copy_(found[0])
    thresholds.copy_(found[1])
    return C, thresholds


def without_asking_for_gradients(loss, C, thresholds, rate):
    slopes = torch.autograd.grad(loss(C, thresholds), (C, thresholds))
    return C - rate * slopes[0], (thresholds - rate * slopes[1]).clamp_min(0)


def pseudo(dictionary):
    return torch.linalg.pinv(dictionary @ dictionary.T) @ dictionary


def scaled(weights, dictionary):
    return weights / (weights * dictionary).sum(dim=0)


WRONG = {
    "lista.layer": [
        (
            lambda z, y, C, D, t: soft_threshold(z - C.T @ (y - D @ z), t),
            "with C = D/L and Λ = λ/L it is a step of ISTA",
        ),
        (
            lambda z, y, C, D, t: hard_threshold(z + C.T @ (y - D @ z), t),
            "with C = D/L and Λ = λ/L it is a step of ISTA",
        ),
        (
            lambda z, y, C, D, t: soft_threshold(C.T @ (y - D @ z), t),
            "with C = D/L and Λ = λ/L it is a step of ISTA",
        ),
        (
            lambda z, y, C, D, t: z + soft_threshold(C.T @ (y - D @ z), t),
            "with C = D/L and Λ = λ/L it is a step of ISTA",
        ),
        (
            lambda z, y, C, D, t: soft_threshold(
                z + D.T @ (y - D @ z) / torch.linalg.matrix_norm(D, 2) ** 2, t
            ),
            "C looks at the patch, D explains it",
        ),
        (
            lambda z, y, C, D, t: layer(z, y, C, D, t.mean()),
            "every atom has a threshold of its own",
        ),
        (lambda z, y, C, D, t: soft_threshold(z + C @ (y - D @ z), t), RUNS),
    ],
    "lista.unroll": [
        (
            lambda y, C, D, t: unrolled(y, C, D, t, start=D.T @ y),
            "with ISTA's weights its last codes are ISTA's",
        ),
        (forgets_the_last_codes, "with ISTA's weights its last codes are ISTA's"),
        (
            lambda y, C, D, t: unrolled(y, C, D, t)[-1:].expand(len(C), -1, -1),
            "the codes after every layer are kept, in order",
        ),
        (
            lambda y, C, D, t: torch.cat(
                [torch.zeros(1, *(r := unrolled(y, C, D, t)).shape[1:]), r]
            )[1:].flip(0),
            "with ISTA's weights its last codes are ISTA's",
        ),
        (always_the_first, "layer k uses the weights of layer k"),
        (backwards, "the codes after every layer are kept, in order"),
        (
            lambda y, C, D, t: unrolled(y, C, D, t, keep=torch.detach),
            "it can be trained: every weight gets a gradient",
        ),
        (
            lambda y, C, D, t: unrolled(y, C, D, t, lambda z, *rest: layer(z.detach(), *rest)),
            "it can be trained: every weight gets a gradient",
        ),
        (lambda y, C, D, t: unrolled(y, C, D, t)[-1], SHAPE),
    ],
    "lista.descend": [
        (descending(positive, step=1.0), "both weights go downhill"),
        (descending(positive, both=False), "both weights go downhill"),
        (descending(lambda t: t), "no threshold becomes negative"),
        (descending(torch.abs), "no threshold becomes negative"),
        (one_after_the_other, "both slopes are taken at the old weights"),
        (descending(positive, detach=False), "the new weights are plain numbers"),
        (in_place, UNCHANGED),
        (without_asking_for_gradients, RUNS),
    ],
    "lista.analytic_weights": [
        (lambda D: scaled(D, D), "atoms that are independent are told apart completely"),
        (pseudo, "every weight sees its own atom fully"),
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
