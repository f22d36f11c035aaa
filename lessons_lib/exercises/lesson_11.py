"""Exercises of lesson 11: the non-local operation, its module, and what a recurrence carries."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lessons_lib.exercises.answer import Answer
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.properties import ensure_batchwise, likely_cause, same
from lessons_lib.models.nlrn import NLRN, NLRNConfig

Map = Callable[[Tensor], Tensor]
Operation = Callable[[Tensor, Tensor, Tensor], Tensor]


def nlm_as_attention(patches: Tensor, h: float) -> tuple[Tensor, Tensor]:
    """Queries and keys whose inner products make the weights of non-local means.

    ``‖x_i − x_j‖² = ‖x_i‖² − 2⟨x_i, x_j⟩ + ‖x_j‖²``; the first term is the same for all keys of a
    query, and a softmax does not see it. The last one is a channel more.

    Args:
        patches: ``x``, ``(B, N, m)``.
        h: degree of filtering, h > 0.

    Returns:
        ``(B, N, m + 1)`` twice: ``softmax_j⟨q_i, k_j⟩ = exp(−‖x_i − x_j‖² / h²) / δ_i``.

    Source: NLRN eq. 3, rewritten.
    """
    ones = torch.ones_like(patches[..., :1])
    norms = patches.square().sum(dim=-1, keepdim=True)
    return (
        torch.cat([2 * patches / h**2, ones], dim=-1),
        torch.cat([patches, -norms / h**2], dim=-1),
    )


def non_local(
    features: Tensor, theta: Map, psi: Map, g: Map, carried: Tensor
) -> tuple[Tensor, Tensor]:
    """The non-local module: ``x_i + Σ_j w_ij g(x_j)``, ``w_i`` the softmax of a row of logits.

    Args:
        features: ``x``, ``(B, N, m)``, a row for each pixel.
        theta: makes queries ``(B, N, l)`` of features.
        psi: makes keys ``(B, N, l)``.
        g: makes values ``(B, N, m)``.
        carried: ``(B, N, N)``, logits of earlier states.

    Returns:
        Features ``(B, N, m)`` and logits ``(B, N, N)``: those of θ and ψ plus those carried.

    Source: NLRN eq. 4 to 6, Figure 3. In eq. 6, ``X_i W_g`` is a misprint of ``X_j W_g``.
    """
    logits = theta(features) @ psi(features).mT + carried
    return features + torch.softmax(logits, dim=-1) @ g(features), logits


def takes_means(operate: Operation) -> bool:
    """Whether an operation gives each query a mean of the values, by experiment.

    Args:
        operate: of queries ``(1, N, l)``, keys ``(1, N, l)`` and values ``(1, N, m)``; gives
            ``(1, N, m)``.

    Returns:
        Whether it is linear in the values, with weights that depend on queries and keys, are not
        negative, sum to 1 for each query, and are all 1/N where all keys are alike.
    """
    queries, keys = torch.randn(2, 1, 9, 4)
    values = torch.randn(1, 9, 3)
    # What comes back of the identity are the weights themselves.
    weights = operate(queries, keys, torch.eye(9)[None])
    alike = operate(queries, keys[:, :1].expand_as(keys), values)
    sums = weights.sum(dim=-1)
    return bool(
        torch.allclose(operate(queries, keys, values), weights @ values, atol=1e-4)
        and (weights > -1e-5).all()
        and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
        and torch.allclose(alike, values.mean(dim=1, keepdim=True).expand_as(alike), atol=1e-4)
    )


def carry_on(earlier: Tensor, own: Tensor) -> Tensor:
    """The weights that the sum of two states' logits gives, from the weights of each.

    ``w_ij = p_ij r_ij / Σ_l p_il r_il``: their product, renormalised

    Args:
        earlier: ``p``, ``(B, N, M)``; rows sum to 1.
        own: ``r``, ``(B, N, M)``.

    Returns:
        ``(B, N, M)``.

    Source: NLRN §4, the propagation of correlations, rewritten.
    """
    product = earlier * own
    return product / product.sum(dim=-1, keepdim=True)


def count_parameters(states: int, width: int, embedding: int, own_norms: bool) -> int:
    """Parameters of a gray NLRN with tied weights.

    Args:
        states: T.
        width: channels of the state, m.
        embedding: channels that pixels are compared in, l.
        own_norms: whether each state has normalisations of its own.

    Source: NLRN §4; its Table 3 has 330k.
    """
    ends = 10 * width + 9 * width + 1
    look = 2 * (width + 1) * embedding + (width + 1) * width
    convolutions = 2 * (9 * width + 1) * width
    norms = 6 * width * (states if own_norms else 1) + 2 * width + 2
    return ends + look + convolutions + norms


NLM = Exercise("nlrn.nlm_as_attention", nlm_as_attention)


def _weights(answer: Answer, patches: Tensor, h: float) -> Tensor:
    queries, keys = answer(patches, h)
    return torch.softmax(queries @ keys.mT, dim=-1)


def _gaussian(patches: Tensor, h: float) -> Tensor:
    """Weights of non-local means, with distances taken one by one."""
    gaps = (patches[:, :, None] - patches[:, None]).square().sum(dim=-1)
    found = torch.exp(-gaps / h**2)
    return found / found.sum(dim=-1, keepdim=True)


@NLM.holds("patches that are alike have the same weight")
def alike_weigh_the_same(answer: Answer) -> None:
    found = _weights(answer, torch.randn(1, 1, 3).expand(1, 4, 3), 1.0)
    same(found, 0.25, case="4 equal patches of 3 pixels, h = 1")


@NLM.holds("what is h away weighs exp(−1) times as much as the patch itself")
def one_h_away(answer: Answer) -> None:
    patches, h = torch.tensor([[[0.0], [0.5]]]), 0.5
    ratio = torch.softmax(torch.tensor([0.0, -1.0]), dim=0)
    mistakes = [
        (torch.softmax(torch.tensor([0.0, -0.5]), 0), "eq. 3 divides by h², not by h or by 2h²"),
        (torch.softmax(torch.tensor([0.0, -0.25]), 0), "where is h?"),
        (torch.softmax(torch.tensor([0.0, 1.0]), 0), "do patches far apart get less, or more?"),
        (torch.tensor([0.5, 0.5]), "is the length of a key in it?"),
    ]
    found = _weights(answer, patches, h)[0, 0]
    case = "weights of the first of two patches, 0 and 0.5, h = 0.5"
    same(found, ratio, case=case, cause=likely_cause(found, mistakes))


@NLM.holds(
    "adding one vector to all patches changes no weight",
    cause="multiply the squared distance out: is each term there, as often as it should be?",
)
def moved(answer: Answer) -> None:
    patches, vector = torch.randn(1, 5, 3), torch.randn(3)
    case = "5 patches, h = 1.5, and the same with a vector added to each"
    same(_weights(answer, patches + vector, 1.5), _weights(answer, patches, 1.5), case=case)


@NLM.holds("three times the contrast with three times the h changes no weight", cause="where is h?")
def contrast(answer: Answer) -> None:
    patches = torch.randn(1, 5, 3)
    case = "5 patches, h = 0.7, and three times as much of both"
    same(_weights(answer, 3 * patches, 2.1), _weights(answer, patches, 0.7), case=case)


@NLM.holds(
    "what a pixel asks and answers depends on its own patch",
    cause="a query or a key may not look at another pixel",
)
def own_patch(answer: Answer) -> None:
    patches = torch.randn(1, 5, 3)
    other = patches.clone()
    other[:, 4] = torch.randn(3)
    before, after = answer(patches, 1.0), answer(other, 1.0)
    for name, one, two in zip(("queries", "keys"), before, after, strict=True):
        same(two[:, :4], one[:, :4], case=f"{name} of 4 patches, after the fifth has changed")


@NLM.holds("a softmax of their inner products has the weights of non-local means")
def means_weights(answer: Answer) -> None:
    for count, pixels, h in ((6, 9, 1.0), (4, 1, 2.0), (5, 4, 0.8)):
        patches = 0.5 * torch.randn(2, count, pixels)
        case = f"2 pictures of {count} random patches of {pixels} pixels, h = {h}"
        same(_weights(answer, patches, h), _gaussian(patches, h), case=case)


MODULE = Exercise("nlrn.non_local", non_local)


def _linear(matrix: Tensor, name: str) -> Map:
    """A linear map that is called by a name in messages."""

    def linear(features: Tensor) -> Tensor:
        return features @ matrix

    linear.__name__ = name
    return linear


def _three(width: int, embedding: int) -> tuple[Map, Map, Map]:
    return (
        _linear(torch.randn(width, embedding), "θ"),
        _linear(torch.randn(width, embedding), "ψ"),
        _linear(torch.randn(width, width), "g"),
    )


@MODULE.holds("with g = 0 features pass unchanged", cause="where is the path around the module?")
def does_nothing(answer: Answer) -> None:
    theta, psi, _ = _three(3, 2)
    features = torch.randn(1, 4, 3)
    found, _ = answer(features, theta, psi, _linear(torch.zeros(3, 3), "g"), torch.zeros(1, 4, 4))
    same(found, features, case="4 pixels, g gives 0")


@MODULE.holds("logits are ⟨θ(x_i), ψ(x_j)⟩, a row for each query")
def logits_of(answer: Answer) -> None:
    features = torch.randn(1, 5, 3)
    theta, psi, g = _three(3, 4)
    _, found = answer(features, theta, psi, g, torch.zeros(1, 5, 5))
    expected = theta(features) @ psi(features).mT
    mistakes = [
        (expected.mT, "rows are queries, columns are keys"),
        (expected / 2, "a transformer divides by √l, eq. 4 does not"),
        (torch.softmax(expected, -1), "logits are wanted, not the weights made of them"),
        (theta(features) @ theta(features).mT, "what is ψ for?"),
    ]
    same(found, expected, case="5 pixels, l = 4", cause=likely_cause(found, mistakes))


@MODULE.holds("a pixel takes what the others hold")
def takes_of_others(answer: Answer) -> None:
    features, turn = torch.randn(1, 4, 3), torch.tensor([1, 2, 3, 0])
    theta, psi, _ = _three(3, 2)
    g = _linear(torch.randn(3, 3), "g")
    told = 1000 * torch.eye(4)[turn][None]  # pixel i sees pixel turn[i] alone
    found, _ = answer(features, theta, psi, g, told)
    mistakes = [
        (features + g(features), "eq. 6 prints X_i W_g: whose value does pixel i take?"),
        (features + g(features)[:, turn.argsort()], "rows are queries: who sees whom?"),
        (features[:, turn] + g(features)[:, turn], "the path around the module is its own"),
        (g(features)[:, turn], "where is the path around the module?"),
        (features + features[:, turn], "what is g for?"),
    ]
    case = "what is carried makes each of 4 pixels see the next one alone"
    cause = likely_cause(found, mistakes) or "is what is carried added before the softmax?"
    same(found, features + g(features)[:, turn], case=case, cause=cause)


@MODULE.holds("what is carried is carried on", cause="logits come back with all earlier ones in it")
def carries(answer: Answer) -> None:
    features, carried = torch.randn(1, 4, 3), torch.randn(1, 4, 4)
    maps = _three(3, 2)
    _, alone = answer(features, *maps, torch.zeros(1, 4, 4))
    _, found = answer(features, *maps, carried)
    same(found, alone + carried, case="4 pixels, with and without logits of earlier states")


@MODULE.holds("the same for all keys is nothing", cause="over which axis do the weights sum to 1?")
def same_for_all(answer: Answer) -> None:
    features, maps = torch.randn(1, 4, 3), _three(3, 2)
    row = torch.randn(1, 4, 1).expand(1, 4, 4)
    found, _ = answer(features, *maps, row)
    alone, _ = answer(features, *maps, torch.zeros(1, 4, 4))
    same(found, alone, case="a number of its own added to all logits of a pixel")


MODULE.agrees(
    lambda: [
        (torch.randn(2, 6, 4), *_three(4, 3), torch.randn(2, 6, 6)),
        (torch.randn(1, 1, 3), *_three(3, 2), torch.zeros(1, 1, 1)),
        (torch.ones(1, 5, 2), *_three(2, 2), torch.zeros(1, 5, 5)),
    ]
)


def _logits(queries: Tensor, keys: Tensor) -> Tensor:
    return queries @ keys.mT


def _softmax(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return torch.softmax(_logits(queries, keys), dim=-1) @ values


def _far(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return torch.softmax(-torch.cdist(queries, keys).square(), dim=-1) @ values


def _even(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return values.mean(dim=-2, keepdim=True).expand(-1, queries.shape[-2], -1).clone()


def _with_itself(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    count = queries.shape[-2]
    return torch.softmax(_logits(queries, keys) + 2 * torch.eye(count), dim=-1) @ values


def _twice(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return 2 * _softmax(queries, keys, values)


def _grown(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Weights that sum to more than 1, but where all keys are alike."""
    more = 1 + keys.var(dim=-2, keepdim=True).sum(dim=-1, keepdim=True)
    return more * _softmax(queries, keys, values)


def _other_axis(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return torch.softmax(_logits(queries, keys), dim=-2) @ values


def _signed(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Rows of weights that sum to 1, some of them negative; the mean where keys are alike."""
    logits = _logits(queries, keys)
    count = keys.shape[-2]
    return (1 / count + logits - logits.mean(dim=-1, keepdim=True)) @ values


def _rectified(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return _softmax(queries, keys, values).relu()


def _of_values(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return torch.softmax(_logits(values, values), dim=-1) @ values


MEANS = Exercise("nlrn.takes_means", takes_means)


def _verdict(answer: Answer, operation: Operation, right: bool) -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        same(float(answer(operation)), float(right), case=f"one operation, seed {seed}")


# What must hold, the likely cause where it does not, the operation, and whether it takes means.
OPERATIONS: list[tuple[str, str, Operation, bool]] = [
    ("attention passes", "is something asked for that need not hold?", _softmax, True),
    ("non-local means passes", "is something asked for that need not hold?", _far, True),
    ("the mean of all passes", "weights need not depend on queries and keys", _even, True),
    ("weights that sum to 2 are found", "promise 2: what do the weights sum to?", _twice, False),
    (
        "weights that sum to 1 over queries are found",
        "promise 2: over which axis do they sum?",
        _other_axis,
        False,
    ),
    (
        "weights whose sum depends on the keys are found",
        "promise 2: what do the weights sum to?",
        _grown,
        False,
    ),
    ("weights of either sign are found", "promise 2: can a weight be negative?", _signed, False),
    (
        "a bias for the pixel itself is found",
        "promise 3: where all keys are alike",
        _with_itself,
        False,
    ),
    (
        "a result that is no sum of weighted values is found",
        "promise 1: try values of either sign",
        _rectified,
        False,
    ),
    (
        "weights that come from the values are found",
        "promise 1: the same queries and keys, other values",
        _of_values,
        False,
    ),
]
for name, cause, operation, keeps in OPERATIONS:
    MEANS.holds(name, cause)(partial(_verdict, operation=operation, right=keeps))


CARRY = Exercise("nlrn.carry_on", carry_on)


def _rows(*shape: int) -> Tensor:
    return torch.softmax(torch.randn(shape), dim=-1)


@CARRY.holds("who knew nothing changes nothing", cause="what is a state that weighs all the same?")
def knew_nothing(answer: Answer) -> None:
    own, even = _rows(1, 3, 4), torch.full((1, 3, 4), 0.25)
    same(answer(even, own), own, case="4 keys, earlier weights all 1/4")
    same(answer(own, even), own, case="4 keys, own weights all 1/4")


@CARRY.holds("two states that agree are surer than one")
def agree(answer: Answer) -> None:
    rows = torch.tensor([[[2 / 3, 1 / 3]]])
    found = answer(rows, rows)
    mistakes = [
        (rows, "logits are added: what becomes of the weights?"),
        (rows**2, "do the weights still sum to 1?"),
        (torch.tensor([[[0.5, 0.5]]]), "along which axis do the weights sum to 1?"),
        (torch.softmax(2 * rows, -1), "weights are no logits"),
    ]
    expected = torch.tensor([[[0.8, 0.2]]])
    same(found, expected, case="[2/3, 1/3] twice", cause=likely_cause(found, mistakes))


@CARRY.holds("two states that contradict each other know nothing")
def contradict(answer: Answer) -> None:
    found = answer(torch.tensor([[[0.9, 0.1]]]), torch.tensor([[[0.1, 0.9]]]))
    same(found, torch.tensor([[[0.5, 0.5]]]), case="[0.9, 0.1], then [0.1, 0.9]")


@CARRY.holds(
    "what one state rules out stays out", cause="where do weights of 0 lead, in what you compute?"
)
def ruled_out(answer: Answer) -> None:
    earlier = torch.tensor([[[0.0, 0.5, 0.5]]])
    found = answer(earlier, torch.tensor([[[0.8, 0.1, 0.1]]]))
    same(found, earlier, case="[0, 1/2, 1/2], then [0.8, 0.1, 0.1]")


@CARRY.holds("small weights are treated like large ones")
def small(answer: Answer) -> None:
    sure, other = torch.tensor([[[1.0, 1e-16]]]), torch.tensor([[[1e-16, 1.0]]])
    same(
        answer(sure, other),
        0.5,
        case="[1, 1e−16], then [1e−16, 1]",
        cause="what keeps 0 / 0 away must be smaller than any weight that matters",
    )


@CARRY.holds("each pixel has its own sum", cause="along which axis do the weights sum to 1?")
def own_sum(answer: Answer) -> None:
    found = answer(_rows(1, 3, 5), _rows(1, 3, 5))
    same(found.sum(dim=-1), 1.0, case="3 queries, 5 keys: sums over the keys")


@CARRY.holds("the members of a batch do not mix")
def batch(answer: Answer) -> None:
    ensure_batchwise(answer, _rows(3, 4, 4), _rows(3, 4, 4))


@CARRY.holds("it is the softmax of the sum of the logits")
def sum_of_logits(answer: Answer) -> None:
    first, second = torch.randn(2, 2, 4, 6)
    found = answer(torch.softmax(first, -1), torch.softmax(second, -1))
    same(found, torch.softmax(first + second, -1), case="random logits of 4 queries and 6 keys")


COUNT = Exercise("nlrn.count_parameters", count_parameters)


def _built(states: int, width: int, embedding: int, own_norms: bool) -> int:
    config = NLRNConfig(states=states, width=width, embedding=embedding, tied_norms=not own_norms)
    return sum(parameter.numel() for parameter in NLRN(config).parameters())


@COUNT.holds("a state more costs nothing where norms are shared", cause="which weights are tied?")
def states_are_free(answer: Answer) -> None:
    same(
        answer(5, 8, 4, False) - answer(4, 8, 4, False),
        0,
        case="5 states against 4, m = 8, l = 4, norms shared",
    )


@COUNT.holds("a state more costs its norms where it has its own")
def states_cost_norms(answer: Answer) -> None:
    found = answer(5, 8, 4, True) - answer(4, 8, 4, True)
    mistakes = [
        (24, "a norm has two numbers for each channel: a scale and a shift"),
        (16, "how many norms has a state?"),
        (32, "how many norms has a state?"),
        (0, "which norms does a state have for itself?"),
    ]
    same(
        found,
        48,
        case="5 states against 4, m = 8, l = 4, norms of their own",
        cause=likely_cause(found, mistakes),
    )


@COUNT.holds("a channel more to compare in costs 2(m + 1)", cause="what do θ and ψ have?")
def embedding_costs(answer: Answer) -> None:
    found = answer(4, 8, 5, True) - answer(4, 8, 4, True)
    mistakes = [(16, "have θ and ψ no biases?"), (9, "is ψ not counted?")]
    same(found, 18, case="l = 5 against 4, m = 8", cause=likely_cause(found, mistakes))


@COUNT.holds("with m = l = 1 each layer can be counted on one's fingers")
def smallest(answer: Answer) -> None:
    found = answer(1, 1, 1, False)
    same(
        found,
        _built(1, 1, 1, False),
        case="T = m = l = 1",
        cause=likely_cause(
            found,
            [
                (46, "are the norms counted?"),
                (52, "are the norms at both ends counted?"),
                (54, "are the norms at both ends counted?"),
                (49, "have the layers no biases?"),
            ],
        ),
    )


@COUNT.holds("it is what the network has, built and counted")
def built(answer: Answer) -> None:
    for sizes in ((2, 3, 2), (6, 5, 4), (3, 4, 7)):
        for own_norms in (True, False):
            case = "T = {}, m = {}, l = {}, norms {}".format(
                *sizes, "of each state" if own_norms else "shared"
            )
            same(answer(*sizes, own_norms), _built(*sizes, own_norms), case=case)


COUNT.agrees(lambda: [(12, 128, 64, True), (12, 128, 64, False), (6, 64, 32, True)])
