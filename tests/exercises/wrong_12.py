"""Wrong answers to the exercises of lesson 12, each with the property that it breaks."""

import torch
import torch.nn.functional as F

from lessons_lib.exercises.answer import FINITE, RUNS, SHAPE, TYPE
from lessons_lib.exercises.lesson_12 import gate_slopes, keeps_promises, own_kernels
from lessons_lib.models.sparse_conv import mix

APART = "cardinal groups choose each by itself"
LOSE = "what one group gains the others lose"


def cost(c, h, k, s, n, layers=2, weights=None, mixing=None):
    """The three costs with one thing counted otherwise."""
    one = layers * c * h * (s * s if weights is None else weights)
    return k * one, one, one + (k * one / n if mixing is None else mixing * one)


def woven(kernels, gates):
    spread = gates.repeat(1, 1, kernels.shape[1] // gates.shape[2])
    return torch.einsum("bko,koisw->boisw", spread, kernels)


def softmax_again(logits, temperature):
    gates = torch.softmax(logits / temperature, dim=0)
    return torch.diag(gates * (1 - gates)) / temperature


def unsafe(logits, temperature):
    powers = torch.exp(logits / temperature)
    gates = powers / powers.sum()
    return (torch.diag(gates) - torch.outer(gates, gates)) / temperature


def one_kernel(features, kernels):
    return F.conv2d(features, kernels[0], padding=kernels.shape[-1] // 2)


def one_by_one(features, kernels):
    """Right, but in a loop."""
    pairs = zip(features, kernels, strict=True)
    return torch.stack([F.conv2d(x, w, padding=w.shape[-1] // 2) for x, w in pairs])


def without_conv2d(features, kernels):
    """Right, but not what was asked for."""
    side = kernels.shape[-1]
    patches = F.unfold(features, side, padding=side // 2)
    return (kernels.flatten(2) @ patches).unflatten(2, features.shape[2:])


def some_promises(make, count=True, even=True, alone=True, last=True, equal=True):
    """Some of the four promises."""
    layer, x = make("reflect"), torch.rand(3, 3, 6, 7)
    y, flat = layer(x), layer(torch.ones(1, 3, 6, 7))
    if count and layer.out_channels != y.shape[1]:
        return False
    if even and (flat - flat[..., :1, :1]).abs().max() > 1e-5:
        return False
    if alone and not torch.allclose(layer(x[:1]), y[:1], atol=1e-5):
        return False
    if last:
        try:
            other = layer(x.contiguous(memory_format=torch.channels_last))
        except RuntimeError:
            return False
        if equal and not torch.allclose(other, y, atol=1e-5):
            return False
    return True


WRONG = {
    "nsr.multiplications": [
        (
            lambda c, h, k, s, n: cost(c, h, k, s, n, layers=1),
            "two layers of one kernel weight each multiply twice",
            "both layers",
        ),
        (
            lambda c, h, k, s, n: cost(c, h // k, k, s, n),
            "layers that run cost as much",
        ),
        (
            lambda c, h, k, s, n: (cost(c, h, k, s, n)[1], *cost(c, h, k, s, n)[1:]),
            "one group costs a k-th of all",
        ),
        (
            lambda c, h, k, s, n: cost(c, h, k, s, n, weights=s),
            "a kernel of side 3 has nine weights",
        ),
        (
            lambda c, h, k, s, n: cost(c, h, k, s, n, mixing=k),
            "on an endless tile mixed kernels cost what one group costs",
            "once for a tile",
        ),
        (
            lambda c, h, k, s, n: cost(c, h, k, s, n, mixing=1 / n),
            "on a single pixel mixing costs what all groups cost",
        ),
        (lambda c, h, k, s, n: cost(c, h, k, s, n)[:2], TYPE),
    ],
    "nsr.mix": [
        (woven, APART, "not every d-th"),
        (lambda w, g: mix(w, g.flip(1)), APART),
        (lambda w, g: mix(w, g.mean(2, keepdim=True)), APART),
        (
            lambda w, g: mix(w, g / g.sum(1, keepdim=True)),
            "the gates weigh, and are not made to sum to 1",
        ),
        (lambda w, g: mix(w, g[:1].expand_as(g)), "each image has its own mixture"),
        (lambda w, g: mix(w, g).sum(1), SHAPE),
    ],
    "nsr.own_kernels": [
        (one_kernel, "a kernel of one 1 in its middle passes its channel on", "its own?"),
        (lambda x, w: own_kernels(x, w.flip(-1, -2)), "kernels are not turned over"),
        (
            lambda x, w: own_kernels(x, w.mean(0, keepdim=True).expand_as(w)),
            "a kernel of one 1 in its middle passes its channel on",
        ),
        (lambda x, w: own_kernels(x, w)[..., 1:-1, 1:-1], SHAPE),
        (lambda x, w: F.conv2d(x, w.flatten(0, 1), groups=len(w)), RUNS),
        (one_by_one, "all pictures are convolved in one call", "3 calls"),
        (without_conv2d, "all pictures are convolved in one call", "none"),
    ],
    "nsr.gate_slopes": [
        (softmax_again, LOSE),
        (lambda z, t: -gate_slopes(z, t), "more of a logit is more of its own gate", "which sign"),
        (lambda z, t: t * gate_slopes(z, t), "half the temperature at equal logits doubles it"),
        (lambda z, t: gate_slopes(z, 1.0) / t, "a small step moves the gates as it says"),
        (unsafe, FINITE),
    ],
    "nsr.keeps_promises": [
        (lambda make: False, "the right layer passes"),
        (lambda make: True, "a wrong out_channels is found"),
        (lambda make: some_promises(make, count=False), "a wrong out_channels is found"),
        (lambda make: some_promises(make, even=False), "forgotten padding is found"),
        (lambda make: some_promises(make, alone=False), "gates shared by a batch are found"),
        (
            lambda make: some_promises(make, last=False),
            "a layer that fails on channels-last features is found",
        ),
        (
            lambda make: some_promises(make, equal=False),
            "a layer that gives something else for channels-last features is found",
        ),
        (lambda make: not keeps_promises(make), "the right layer passes"),
    ],
}
