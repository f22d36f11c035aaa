"""Wrong answers to the exercises of lesson 11, each with the property that it breaks."""

import torch

from lessons_lib.exercises.answer import SHAPE, TYPE
from lessons_lib.exercises.lesson_11 import (
    carry_on,
    count_parameters,
    nlm_as_attention,
    non_local,
)

AWAY = "what is h away weighs exp(−1) times as much as the patch itself"
MOVED = "adding one vector to all patches changes no weight"
TAKES = "a pixel takes what the others hold"
LOGITS = "logits are ⟨θ(x_i), ψ(x_j)⟩, a row for each query"
KNEW = "who knew nothing changes nothing"
AGREE = "two states that agree are surer than one"
OUT = "what one state rules out stays out"
NORMS = "a state more costs its norms where it has its own"
COMPARE = "a channel more to compare in costs 2(m + 1)"
SMALLEST = "with m = l = 1 each layer can be counted on one's fingers"


def augmented(patches, h, two=2.0, minus=-1.0, power=2, length=True):
    """Queries and keys of non-local means with one thing wrong."""
    ones, norms = torch.ones_like(patches[..., :1]), patches.square().sum(-1, keepdim=True)
    last = minus * norms / h**power if length else 0 * norms
    queries = torch.cat([two * patches / h**power, ones], -1)
    return queries, torch.cat([patches, last], -1)


def lengths_of_queries(patches, h):
    ones, norms = torch.ones_like(patches[..., :1]), patches.square().sum(-1, keepdim=True)
    return torch.cat([2 * patches / h**2, -norms / h**2], -1), torch.cat([patches, ones], -1)


def less_the_mean(patches, h):
    return nlm_as_attention(patches - patches.mean(dim=1, keepdim=True), h)


def other_sign(patches, h):
    queries, keys = nlm_as_attention(patches, h)
    return -queries, keys


def module(x, theta, psi, g, carried, scale=1.0, dim=-1, skip=True, after=False, flip=False):
    """The non-local module with one thing wrong."""
    own = scale * theta(x) @ psi(x).mT
    own = own.mT if flip else own
    logits = own + carried
    weights = own.softmax(dim) + carried if after else logits.softmax(dim)
    return (x if skip else 0) + weights @ g(x), logits


def own_value(x, theta, psi, g, carried):
    return x + g(x), theta(x) @ psi(x).mT + carried


def one_map(x, theta, psi, g, carried):
    return non_local(x, theta, theta, g, carried)


def nothing_handed_on(x, theta, psi, g, carried):
    found, logits = non_local(x, theta, psi, g, carried)
    return found, logits - carried


def gives_weights(x, theta, psi, g, carried):
    found, logits = non_local(x, theta, psi, g, carried)
    return found, logits.softmax(-1)


def forgets_g(x, theta, psi, g, carried):
    logits = theta(x) @ psi(x).mT + carried
    return x + logits.softmax(-1) @ x, logits


def some_promises(operate, linear=True, signed=True, sums=True, mean=True, axis=-1):
    """Some of the promises of a mean."""
    queries, keys, values = torch.randn(1, 9, 4), torch.randn(1, 9, 4), torch.randn(1, 9, 3)
    weights = operate(queries, keys, torch.eye(9)[None])
    kept = True
    if linear:
        kept &= torch.allclose(operate(queries, keys, values), weights @ values, atol=1e-4)
    if signed:
        kept &= bool((weights > -1e-4).all())
    if sums:
        kept &= torch.allclose(weights.sum(axis), torch.ones(1, 9), atol=1e-4)
    if mean:
        alike = operate(queries, keys[:, :1].expand(1, 9, 4), values)
        kept &= torch.allclose(alike, values.mean(1, keepdim=True).expand(1, 9, 3), atol=1e-4)
    return bool(kept)


def all_alike(operate):
    """Looks where queries, keys and values are alike, and nowhere else."""
    one = torch.randn(1, 1, 4).expand(1, 9, 4)
    return torch.allclose(operate(one, one, one), one, atol=1e-4)


def divided(earlier, own):
    return own / earlier.clamp_min(1e-9)


def guarded(earlier, own):
    product = earlier * own
    return product / (product.sum(-1, keepdim=True) + 1e-8)


def rooted(earlier, own):
    product = (earlier * own).sqrt()
    return product / product.sum(-1, keepdim=True)


def by_columns(earlier, own):
    product = earlier * own
    return product / product.sum(-2, keepdim=True)


def over_all(earlier, own):
    product = earlier * own
    return product / product.sum(-1, keepdim=True).mean(-2, keepdim=True)


def first_of_batch(earlier, own):
    return carry_on(earlier[:1].expand_as(earlier), own)


def parameters(
    states, width, embedding, own_norms, bias=1, per_norm=2, in_state=3, ends=True, untied=False
):
    """The count with one thing wrong."""
    outer = (9 + bias) * width + 9 * width + bias
    look = 2 * (width + bias) * embedding + (width + bias) * width
    inside = look + 2 * (9 * width + bias) * width
    norms = in_state * width * (states if own_norms else 1) + (width + 1 if ends else 0)
    return outer + (states if untied else 1) * inside + per_norm * norms


WRONG = {
    "nlrn.nlm_as_attention": [
        (lambda x, h: augmented(x, h, power=1), AWAY, "h², not by h"),
        (lambda x, h: augmented(x, 2**0.5 * h), AWAY, "2h²"),
        (lambda x, h: augmented(x, 1.0), AWAY, "where is h?"),
        (lambda x, h: augmented(x, h, length=False), AWAY, "length of a key"),
        (other_sign, AWAY),
        (lambda x, h: augmented(x, h, two=1.0), MOVED, "as often as it should be"),
        (lambda x, h: augmented(x, h, minus=1.0), AWAY),
        (lengths_of_queries, AWAY, "length of a key"),
        (less_the_mean, "what a pixel asks and answers depends on its own patch"),
        (lambda x, h: tuple(z[..., :-1] for z in nlm_as_attention(x, h)), SHAPE),
        (lambda x, h: torch.cat(nlm_as_attention(x, h)), TYPE),
    ],
    "nlrn.non_local": [
        (lambda *a: module(*a, skip=False), "with g = 0 features pass unchanged", "path around"),
        (lambda *a: module(*a, flip=True), LOGITS, "rows are queries"),
        (lambda *a: module(*a, scale=0.5), LOGITS, "divides by √l"),
        (one_map, LOGITS, "what is ψ for?"),
        (gives_weights, LOGITS, "not the weights"),
        (own_value, TAKES, "X_i W_g"),
        (forgets_g, "with g = 0 features pass unchanged"),
        (lambda *a: module(*a, after=True), TAKES, "before the softmax"),
        (lambda *a: module(*a, dim=-2), "the same for all keys is nothing", "which axis"),
        (nothing_handed_on, "what is carried is carried on", "all earlier ones"),
        (lambda x, *a: non_local(x, *a)[0], TYPE),
    ],
    "nlrn.takes_means": [
        (lambda operate: False, "attention passes"),
        (lambda operate: True, "weights that sum to 2 are found"),
        (all_alike, "weights that sum to 1 over queries are found"),
        (
            lambda operate: some_promises(operate, sums=False, mean=False),
            "weights that sum to 2 are found",
            "sum to?",
        ),
        (
            lambda operate: some_promises(operate, sums=False),
            "weights whose sum depends on the keys are found",
            "sum to?",
        ),
        (lambda operate: some_promises(operate, axis=-2), "attention passes"),
        (
            lambda operate: some_promises(operate, signed=False),
            "weights of either sign are found",
            "be negative?",
        ),
        (
            lambda operate: some_promises(operate, mean=False),
            "a bias for the pixel itself is found",
            "promise 3",
        ),
        (
            lambda operate: some_promises(operate, linear=False, mean=False),
            "a bias for the pixel itself is found",
        ),
    ],
    "nlrn.carry_on": [
        (lambda p, r: (p + r) / 2, KNEW),
        (lambda p, r: r, KNEW),
        (lambda p, r: p * r, KNEW),
        (divided, KNEW),
        (rooted, KNEW),
        (by_columns, KNEW),
        (lambda p, r: torch.softmax(p + r, -1), KNEW),
        (guarded, "small weights are treated like large ones", "0 / 0"),
        (over_all, "each pixel has its own sum", "which axis"),
        (first_of_batch, "the members of a batch do not mix"),
    ],
    "nlrn.count_parameters": [
        (lambda *a: parameters(*a, bias=0), COMPARE, "no biases"),
        (lambda *a: parameters(*a, per_norm=1), NORMS, "a scale and a shift"),
        (lambda *a: parameters(*a, in_state=2), NORMS, "how many norms"),
        (lambda t, m, e, own: count_parameters(t, m, e, False), NORMS, "for itself"),
        (
            lambda *a: parameters(*a, untied=True),
            "a state more costs nothing where norms are shared",
            "tied",
        ),
        (lambda *a: parameters(*a, ends=False), SMALLEST, "at both ends"),
        (lambda *a: count_parameters(*a) - 2, SMALLEST, "at both ends"),
        (
            lambda t, m, e, own: count_parameters(t, m, e, own) + (m - 1) * 9,
            "it is what the network has, built and counted",
        ),
    ],
}
