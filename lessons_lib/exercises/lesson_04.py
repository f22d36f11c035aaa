"""Exercises of lesson 04: LISTA, the unrolled ISTA and its weights."""

from collections.abc import Callable

import torch
from torch import Tensor

from lessons_lib.exercises.answer import RUNS, SHAPE, Answer
from lessons_lib.exercises.core import Exercise
from lessons_lib.exercises.properties import (
    cause_of,
    ensure,
    ensure_gradients,
    likely_cause,
    same,
)
from lessons_lib.models.lista import Lista, ListaConfig, analytic_weights
from lessons_lib.ops.dictionary import dct_dictionary, random_dictionary, spectral_norm
from lessons_lib.ops.prox import soft_threshold
from lessons_lib.solvers import fista, ista

Loss = Callable[[Tensor, Tensor], Tensor]


def layer(codes: Tensor, patches: Tensor, C: Tensor, D: Tensor, thresholds: Tensor) -> Tensor:
    """One step of eq. 3: ``S_Λ(z + Cᵀ(y − Dz))``.

    Args:
        codes: ``z``, ``(K, N)``.
        patches: ``y``, ``(m, N)``.
        C: ``(m, K)``.
        D: ``(m, K)``.
        thresholds: Λ, ``(K, 1)``, not negative.

    Returns:
        ``(K, N)``.

    Source: GroupSC eq. 3.
    """
    return soft_threshold(codes + C.T @ (patches - D @ codes), thresholds)


def unroll(patches: Tensor, C: Tensor, D: Tensor, thresholds: Tensor) -> Tensor:
    """All layers, the first from codes of zero, each with weights of its own.

    Args:
        patches: ``(m, N)``.
        C: ``(steps, m, K)``.
        D: ``(m, K)``.
        thresholds: ``(steps, K, 1)``, not negative.

    Returns:
        ``(steps, K, N)``, the codes after every layer.

    Source: Chen, Liu, Wang, Yin, *Theoretical linear convergence of unfolded ISTA and its practical
    weights and thresholds*, 2018.
    """
    codes = patches.new_zeros(D.shape[1], patches.shape[1])
    found = []
    for weights, threshold in zip(C, thresholds, strict=True):
        codes = layer(codes, patches, weights, D, threshold)
        found.append(codes)
    return torch.stack(found)


def descend(loss: Loss, C: Tensor, thresholds: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    """One step of gradient descent on ``loss(C, thresholds)``; thresholds stop at zero."""
    free = [weight.detach().clone().requires_grad_() for weight in (C, thresholds)]
    slopes = torch.autograd.grad(loss(free[0], free[1]), free)
    moved = [old.detach() - rate * slope for old, slope in zip(free, slopes, strict=True)]
    return moved[0], moved[1].clamp_min(0)


def backward(z: Tensor, thresholds: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """How a loss depends on what `soft_threshold` is given, by the chain rule.

    ``∂/∂z = g [|z| > Λ]`` and ``∂/∂Λ = −Σ g [|z| > Λ] sign z``, summed over all entries that a
    threshold serves; ``g`` is the derivative in the output. At ``|z| = Λ`` there is a kink.

    Args:
        z: any shape.
        thresholds: not negative, broadcast against ``z``.
        slopes: ``g``, shape of ``z``.

    Returns:
        The derivatives in ``z`` and in ``thresholds``, in their shapes.
    """
    passed = slopes * (z.abs() > thresholds)
    return passed, -(passed * z.sign()).sum_to_size(thresholds.shape)


def _small(steps: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Patches (6, 5), weights (steps, 6, 8), a dictionary (6, 8), thresholds (steps, 8, 1)."""
    D = random_dictionary(6, 8, torch.Generator().manual_seed(0))
    C = (D + 0.2 * torch.randn(steps, 6, 8)) / spectral_norm(D) ** 2
    return torch.randn(6, 5), C, D, 0.1 * torch.rand(steps, 8, 1)


LAYER = Exercise("lista.layer", layer)


@LAYER.holds("from codes of zero, C looks at the patch", cause="which matrix is turned, C or D?")
def first_look(answer: Answer) -> None:
    patches, C, D, thresholds = _small()
    same(
        answer(torch.zeros(8, 5), patches, C[0], D, 0 * thresholds[0]),
        C[0].T @ patches,
        case="z = 0 and thresholds of 0",
    )


@LAYER.holds("what was found before stays in the sum", cause="to what is the new part added?")
def old_codes(answer: Answer) -> None:
    patches, C, D, thresholds = _small()
    codes = torch.randn(8, 5)
    same(
        answer(codes, patches, 0 * C[0], D, 0 * thresholds[0]),
        codes,
        case="C = 0 and thresholds of 0",
    )


@LAYER.holds(
    "D explains, and only the rest is looked at", cause="what is left of the patch beside Dz?"
)
def the_rest(answer: Answer) -> None:
    patches, C, D, thresholds = _small()
    codes = torch.randn(8, 5)
    same(
        answer(codes, 0 * patches, C[0], D, 0 * thresholds[0]),
        codes - C[0].T @ D @ codes,
        case="y = 0 and thresholds of 0",
    )
    same(
        answer(codes, D @ codes, C[0], D, 0 * thresholds[0]),
        codes,
        case="y = Dz and thresholds of 0",
    )


@LAYER.holds("what is below its threshold becomes zero, old or new")
def threshold_last(answer: Answer) -> None:
    patches, C, D, _ = _small()
    codes, thresholds = torch.full((8, 5), 0.1), torch.full((8, 1), 0.2)
    cause = "the threshold comes last: is it that of the whole sum?"
    same(
        answer(codes, D @ codes, C[0], D, thresholds),
        0.0,
        case="y = Dz, all codes 0.1, all thresholds 0.2",
        cause=cause,
    )
    same(
        answer(0 * codes, 0.01 * patches, C[0], D, thresholds),
        0.0,
        case="z = 0, a faint y, all thresholds 0.2",
        cause=cause,
    )


@LAYER.holds(
    "what is above its threshold becomes smaller by it", cause="a soft threshold, or a hard one?"
)
def explained(answer: Answer) -> None:
    _, C, D, _ = _small()
    codes, thresholds = torch.randn(8, 5), torch.full((8, 1), 0.2)
    same(
        answer(codes, D @ codes, C[0], D, thresholds),
        soft_threshold(codes, thresholds),
        case="y = Dz, all thresholds 0.2",
    )


@LAYER.holds("every atom has a threshold of its own", cause="along which axis do they differ?")
def own_threshold(answer: Answer) -> None:
    thresholds = torch.tensor([[0.0], [0.5], [9.0]])
    found = answer(torch.zeros(3, 3), torch.ones(3, 3), torch.eye(3), torch.eye(3), thresholds)
    same(
        found,
        torch.tensor([[1.0], [0.5], [0.0]]),
        case="patches of ones, C = D = identity, thresholds 0, 0.5 and 9",
    )


@LAYER.holds(
    "with C = D/L and Λ = λ/L it is a step of ISTA",
    cause="one threshold of the sum, or one for each part?",
)
def one_step_of_ista(answer: Answer) -> None:
    patches, _, D, _ = _small()
    L = spectral_norm(D) ** 2
    before, _ = ista(patches, D, 0.3, max_iterations=4, tolerance=0)
    after, _ = ista(patches, D, 0.3, max_iterations=5, tolerance=0)
    same(
        answer(before, patches, D / L, D, torch.full((8, 1), 0.3 / L)),
        after,
        case="ISTA's fifth step for 5 patches and 8 atoms",
    )


@LAYER.holds(
    "gradients reach the codes, C, D and the thresholds",
    cause="no_grad, .detach() and .data cut them off: a layer is to be trained",
)
def layer_trains(answer: Answer) -> None:
    patches, C, D, thresholds = _small()
    given = {"z": torch.randn(8, 5), "C": C[0], "D": D, "Λ": thresholds[0] + 0.01}
    codes, C, D, thresholds = (value.requires_grad_() for value in given.values())
    ensure_gradients(answer(codes, patches, C, D, thresholds), given, case="one layer")


LAYER.agrees(
    lambda: [
        (torch.randn(8, 5), patches, C[0], D, thresholds[0])
        for patches, C, D, thresholds in (_small(), _small())
    ]
)


UNROLL = Exercise("lista.unroll", unroll)


@UNROLL.holds("the first layer starts from codes of zero", cause="where does it start?")
def from_zero(answer: Answer) -> None:
    patches, C, D, thresholds = _small(1)
    same(
        answer(patches, C, D, thresholds)[0],
        soft_threshold(C[0].T @ patches, thresholds[0]),
        case="a network of one layer",
    )


@UNROLL.holds("the codes after every layer are kept, in order", cause="what is stacked, and when?")
def every_layer(answer: Answer) -> None:
    patches, C, D, thresholds = _small(1)
    C, thresholds = C.repeat(3, 1, 1), thresholds.repeat(3, 1, 1)
    found = answer(patches, C, D, thresholds)
    for steps in (1, 2):
        same(
            found[steps - 1],
            answer(patches, C[:steps], D, thresholds[:steps])[-1],
            case=f"layer {steps} of 3 that are all alike, and the last of a network of {steps}",
        )


@UNROLL.holds(
    "a layer goes on from the codes of the layer before", cause="which codes does it get?"
)
def goes_on(answer: Answer) -> None:
    patches, C, D, thresholds = _small(1)
    found = answer(patches, C.repeat(3, 1, 1), D, thresholds.repeat(3, 1, 1))
    for k in (1, 2):
        same(
            found[k],
            layer(found[k - 1], patches, C[0], D, thresholds[0]),
            case=f"layer {k + 1} of 3 that are all alike",
        )


@UNROLL.holds(
    "layer k uses the weights of layer k", cause="does the loop go through C and Λ, from the first?"
)
def own_weights(answer: Answer) -> None:
    patches, C, D, thresholds = _small()
    found = answer(patches, C, D, thresholds)
    for k in range(3):
        before = found[k - 1] if k else torch.zeros(8, 5)
        same(
            found[k],
            layer(before, patches, C[k], D, thresholds[k]),
            case=f"layer {k + 1} of 3, whose weights all differ",
        )


@UNROLL.holds("with ISTA's weights its last codes are ISTA's")
def all_of_ista(answer: Answer) -> None:
    patches, _, D, _ = _small()
    L = spectral_norm(D) ** 2
    found = answer(patches, (D / L).repeat(6, 1, 1), D, torch.full((6, 8, 1), 0.3 / L))
    same(
        found[-1],
        ista(patches, D, 0.3, max_iterations=6, tolerance=0)[0],
        case="C = D/L and Λ = λ/L in six layers",
    )


@UNROLL.holds("patches and thresholds twice as large give codes twice as large")
def homogeneous(answer: Answer) -> None:
    patches, C, D, thresholds = _small()
    same(
        answer(2 * patches, C, D, 2 * thresholds),
        2 * answer(patches, C, D, thresholds),
        case="5 patches and all thresholds doubled",
    )


@UNROLL.holds(
    "it can be trained: every weight gets a gradient", cause="is a .detach() or no_grad in the way?"
)
def trainable(answer: Answer) -> None:
    patches, C, D, thresholds = _small()
    given = {"C": C.requires_grad_(), "Λ": (thresholds + 0.01).requires_grad_()}
    found = answer(patches, C, D, given["Λ"])
    ensure_gradients(found[-1], given, case=f"the codes after the last of {len(C)} layers")


def _like_the_model() -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Weights as a trained `Lista` has them."""
    model = Lista(ListaConfig(patch=3, atoms=16, steps=4, threshold=0.2))
    C = model.C.detach() + 0.02 * torch.randn(4, 9, 16)
    return [(torch.randn(9, 7), C, model.D, model.thresholds.detach()), _small()]


UNROLL.agrees(_like_the_model)


DESCEND = Exercise("lista.descend", descend)


def _slope(C: Tensor, thresholds: Tensor) -> Tensor:
    """A plane, which falls by 1, 2, 3 … along the entries of C, and of Λ."""
    falls = (torch.arange(1.0, weight.numel() + 1).view_as(weight) for weight in (C, thresholds))
    return -sum(
        ((fall * weight).sum() for fall, weight in zip(falls, (C, thresholds), strict=True)),
        torch.zeros(()),
    )


def _bowl(C: Tensor, thresholds: Tensor) -> Tensor:
    """``½‖C − 1‖² + ½‖Λ − 2‖²``."""
    return ((C - 1).square().sum() + (thresholds - 2).square().sum()) / 2


def _product(C: Tensor, thresholds: Tensor) -> Tensor:
    """``sum of C times sum of Λ``."""
    return C.sum() * thresholds.sum()


@DESCEND.holds("both weights go downhill", cause="is each of them moved, by rate times its slope?")
def downhill(answer: Answer) -> None:
    C, thresholds = torch.zeros(1, 2, 3), torch.zeros(1, 3, 1)
    found = answer(_slope, C, thresholds, 0.1)
    case = "a loss with the slopes −1, −2, … in the entries of C, and of Λ, at zero; rate 0.1"
    same(found[0], torch.arange(1, 7).view(1, 2, 3) / 10, case=f"{case}: the new C")
    same(found[1], torch.arange(1, 4).view(1, 3, 1) / 10, case=f"{case}: the new Λ")


@DESCEND.holds(
    "no threshold becomes negative", cause="a gradient step knows no limits: where must it stop?"
)
def not_negative(answer: Answer) -> None:
    C, thresholds = torch.ones(1, 3, 2), torch.tensor([[[0.3], [1.0]]])
    found = answer(lambda C, thresholds: C.sum() + 6 * thresholds.sum(), C, thresholds, 0.1)
    same(
        found[1],
        torch.tensor([[[0.0], [0.4]]]),
        case="thresholds 0.3 and 1, of which the step takes 0.6 each",
    )


@DESCEND.holds("C may become negative")
def without_limit(answer: Answer) -> None:
    C, thresholds = torch.ones(2, 3, 4), torch.ones(2, 4, 1)
    found = answer(lambda C, thresholds: C.sum() + thresholds.sum(), C, thresholds, 3.0)
    case = "the loss ΣC + ΣΛ at C = 1, Λ = 1, rate 3: the new C"
    same(found[0], -2.0, case=case, cause="which of the two has a limit?")


@DESCEND.holds("a rate of 0 changes nothing", cause="is the slope multiplied by the rate?")
def standing_still(answer: Answer) -> None:
    C, thresholds = torch.randn(2, 3, 4), torch.rand(2, 4, 1)
    same(answer(_bowl, C, thresholds, 0.0), (C, thresholds), case="rate 0")


@DESCEND.holds(
    "both slopes are taken at the old weights", cause="is the loss looked at once, or twice?"
)
def simultaneous(answer: Answer) -> None:
    C, thresholds = torch.ones(1, 2, 2), torch.full((1, 2, 1), 3.0)
    found = answer(_product, C, thresholds, 0.1)
    same(found[0], 0.4, case="the loss ΣC · ΣΛ at C = 1, Λ = 3, rate 0.1: the new C")
    same(found[1], 2.6, case="the loss ΣC · ΣΛ at C = 1, Λ = 3, rate 0.1: the new Λ")


@DESCEND.holds("the new weights are plain numbers", cause="detach() them from the step before")
def detached(answer: Answer) -> None:
    found = answer(_bowl, torch.zeros(1, 2, 2), torch.zeros(1, 2, 1), 0.1)
    for name, weight in zip(("C", "Λ"), found, strict=True):
        ensure(
            not weight.requires_grad and weight.grad_fn is None,
            case="one step",
            expected=f"{name} without a history",
            actual=f"{name} still remembers how it came about",
        )


@DESCEND.holds("a small step lowers the loss of a network")
def lowers(answer: Answer) -> None:
    patches, C, D, thresholds = _small()
    target, _ = fista(patches, D, 0.1)

    def loss(C: Tensor, thresholds: Tensor) -> Tensor:
        return (unroll(patches, C, D, thresholds)[-1] - target).square().sum(dim=0).mean()

    before = float(loss(C, thresholds))
    after = float(loss(*answer(loss, C, thresholds, 1e-3)))
    ensure(
        after < before,
        case="three layers, five patches, rate 0.001",
        expected=f"a loss below {before:.5g}",
        actual=f"{after:.5g}",
    )


DESCEND.agrees(
    lambda: [
        (_bowl, torch.randn(2, 3, 4), torch.rand(2, 4, 1), 0.3),
        (_product, torch.randn(1, 3, 2), torch.rand(1, 2, 1), 0.5),
    ]
)


BACKWARD = Exercise("lista.backward", backward)

_SERVES = "one threshold serves many entries of z: what do all of them say about it together?"


@BACKWARD.holds(
    "nothing depends on what stays below its threshold",
    cause="z changes a little: does an output that is 0 change?",
)
def below(answer: Answer) -> None:
    z, thresholds = torch.tensor([0.3, -0.5, 0.0]), torch.tensor([1.0, 1.0, 0.2])
    found = answer(z, thresholds, torch.tensor([2.0, 3.0, 5.0]))
    case = "z = [0.3, −0.5, 0], thresholds [1, 1, 0.2]"
    same(found[0], 0.0, case=f"{case}: the derivatives in z")
    same(
        found[1],
        0.0,
        case=f"{case}: the derivatives in the thresholds",
        cause="a threshold changes a little: does an output that is 0 change?",
    )


@BACKWARD.holds(
    "above its threshold z moves the output as far as itself",
    cause="draw the output over z, for negative z as well: how steep is it?",
)
def above(answer: Answer) -> None:
    z, slopes = torch.tensor([3.0, -3.0, 1.5, -1.2]), torch.tensor([2.0, 5.0, -1.0, 0.5])
    found = answer(z, torch.ones(4), slopes)[0]
    case = "z = [3, −3, 1.5, −1.2], thresholds 1, slopes [2, 5, −1, 0.5]: the derivatives in z"
    same(found, slopes, case=case)


@BACKWARD.holds(
    "a higher threshold moves the output towards 0",
    cause="is the output positive or negative? And which way does it go?",
)
def towards_zero(answer: Answer) -> None:
    z, slopes = torch.tensor([3.0, -3.0, 1.5, -1.2]), torch.tensor([2.0, 5.0, -1.0, 0.5])
    found = answer(z, torch.ones(4), slopes)[1]
    step = 0.125  # exact in binary
    moved = (soft_threshold(z, torch.ones(4) + step) - soft_threshold(z, torch.ones(4))) / step
    same(
        found,
        slopes * moved,
        case="z = [3, −3, 1.5, −1.2], thresholds 1, slopes [2, 5, −1, 0.5]: the derivatives in the "
        "thresholds",
        cause=likely_cause(
            found,
            [
                (slopes, "does a higher threshold make the output larger, or smaller?"),
                (-slopes, "of a negative z the output is negative: which way is towards 0?"),
            ],
        ),
    )


@BACKWARD.holds("a threshold hears all entries that it serves", cause=_SERVES)
def serves_many(answer: Answer) -> None:
    z, slopes = torch.full((2, 3, 4), 2.0), torch.ones(2, 3, 4)
    with cause_of(SHAPE, _SERVES):
        for shape, served in (((3, 1), 8), ((4,), 6), ((1, 1, 1), 24), ((), 24), ((2, 3, 4), 1)):
            found = answer(z, torch.ones(shape), slopes)[1]
            same(
                found,
                -float(served),
                case=f"z of shape (2, 3, 4), all 2, thresholds of shape {shape}, all 1, slopes 1",
                cause=_SERVES,
            )


@BACKWARD.holds("slopes twice as large give derivatives twice as large")
def linear(answer: Answer) -> None:
    z, thresholds, slopes = torch.randn(5, 7), 0.5 * torch.rand(5, 1), torch.randn(5, 7)
    once = answer(z, thresholds, slopes)
    same(
        answer(z, thresholds, 2 * slopes), (2 * once[0], 2 * once[1]), case="5 × 7 entries, doubled"
    )


@BACKWARD.holds(
    "with thresholds of 0 every entry but 0 is passed on",
    cause="is a threshold of 0 treated in another way?",
)
def no_threshold(answer: Answer) -> None:
    z, slopes = torch.tensor([[1e-3, -2.0, 0.5], [0.1, 3.0, -0.4]]), torch.ones(2, 3)
    found = answer(z, torch.zeros(2, 1), slopes)
    same(found[0], slopes, case="z of 2 × 3 entries, thresholds 0, slopes 1: the derivatives in z")
    same(
        found[1],
        torch.tensor([[-1.0], [-1.0]]),
        case="two positive and one negative z in each row, thresholds 0, slopes 1",
    )


@BACKWARD.holds("in a kink it is between the slopes on the two sides")
def kinks(answer: Answer) -> None:
    z, thresholds = torch.tensor([1.0, -1.0, 0.0]), torch.tensor([1.0, 1.0, 0.0])
    found = answer(z, thresholds, torch.ones(3))[0]
    ensure(
        bool(((found >= 0) & (found <= 1)).all()),
        case="z = [1, −1, 0], thresholds [1, 1, 0], slopes 1: the derivatives in z",
        expected="numbers between 0 and 1",
        actual=str([round(float(value), 3) for value in found]),
    )


@BACKWARD.holds("a small change of z and Λ changes the loss as the derivatives say")
def finite_differences(answer: Answer) -> None:
    z, thresholds = torch.randn(3, 4, 5).double(), torch.rand(4, 1).double()
    slopes = torch.randn(3, 4, 5).double()
    in_z, in_thresholds = answer(z, thresholds, slopes)
    for _ in range(5):
        step_z, step = 1e-7 * torch.randn_like(z), 1e-7 * torch.randn_like(thresholds)
        moved = soft_threshold(z + step_z, thresholds + step) - soft_threshold(z, thresholds)
        told = (in_z * step_z).sum() + (in_thresholds * step).sum()
        same(
            1e7 * told,
            1e7 * (slopes * moved).sum(),
            case="z of shape (3, 4, 5) and thresholds of shape (4, 1) moved by some 10⁻⁷ (× 10⁷)",
        )


def _shapes() -> list[tuple[Tensor, Tensor, Tensor]]:
    """Thresholds of all shapes that broadcast, against entries of which none is in a kink."""
    cases = []
    for shape, own in (
        ((6, 8), (6, 1)),
        ((6, 8), (6, 8)),
        ((2, 5, 3), (5, 1)),
        ((2, 5, 3), (2, 1, 3)),
        ((7,), ()),
        ((4, 1), (1, 1)),
        ((3, 4), (1, 4)),
    ):
        cases.append((torch.randn(shape), torch.rand(own), torch.randn(shape)))
    z, thresholds, slopes = cases[2]
    return [*cases, (z.double(), thresholds.double(), slopes.double())]


def _autograd(z: Tensor, thresholds: Tensor, slopes: Tensor) -> tuple[Tensor, ...]:
    free = [value.detach().clone().requires_grad_() for value in (z, thresholds)]
    return torch.autograd.grad(soft_threshold(free[0], free[1]), free, slopes)


@BACKWARD.holds("agrees with autograd")
def autograd_says(answer: Answer) -> None:
    for z, thresholds, slopes in _shapes():
        words = f"z of shape {tuple(z.shape)}, thresholds of shape {tuple(thresholds.shape)}"
        same(answer(z, thresholds, slopes), _autograd(z, thresholds, slopes), case=words)


@BACKWARD.holds("it does without autograd")
def by_hand(answer: Answer) -> None:
    cause = "the derivatives are to be your own: what are they for one number?"
    # Where nothing can be differentiated.
    with torch.inference_mode(), cause_of(RUNS, cause):
        answer(torch.tensor([3.0, 0.5]), torch.ones(2), torch.ones(2))


BACKWARD.agrees(_shapes)


ANALYTIC = Exercise("lista.analytic_weights", analytic_weights)


@ANALYTIC.holds("orthonormal atoms are their own weights", cause="is every column scaled?")
def orthonormal(answer: Answer) -> None:
    same(answer(torch.eye(5)), torch.eye(5), case="the identity")
    basis = dct_dictionary(3, 9)
    same(answer(basis), basis, case="the orthonormal DCT of 3 × 3 patches", tolerance=1e-4)


@ANALYTIC.holds("every weight sees its own atom fully", cause="what should c_jᵀ d_j be?")
def own_atom(answer: Answer) -> None:
    D = random_dictionary(6, 9, torch.Generator().manual_seed(1))
    same(
        (answer(D) * D).sum(dim=0), 1.0, tolerance=1e-4, case="c_jᵀ d_j of 9 atoms in 6 dimensions"
    )


@ANALYTIC.holds(
    "atoms that are independent are told apart completely",
    cause="c₁ must be at a right angle to d₂: it is not for C = D, nor for a damped inverse",
)
def dual_basis(answer: Answer) -> None:
    D = torch.tensor([[1.0, 0.8], [0.0, 0.6]])
    same(answer(D).T @ D, torch.eye(2), tolerance=1e-4, case="CᵀD for the atoms (1, 0), (0.8, 0.6)")


@ANALYTIC.holds(
    "no other weights see less of the other atoms", cause="is it DDᵀ, or DᵀD, that is inverted?"
)
def least_crosstalk(answer: Answer) -> None:
    D = random_dictionary(5, 8, torch.Generator().manual_seed(2))
    found = answer(D)
    value = float((found.T @ D).square().sum())
    for scale in (0.01, 0.1, 1.0):
        for _ in range(20):
            step = scale * torch.randn(5, 8)
            step = step - D * (step * D).sum(dim=0) / D.square().sum(dim=0)  # keeps c_jᵀ d_j
            best = float(((found + step).T @ D).square().sum())
            ensure(
                value <= best * (1 + 1e-5),
                case="8 atoms in 5 dimensions",
                expected=f"‖CᵀD‖² at most {best:.5g}, which other weights reach",
                actual=f"{value:.5g}",
            )


@ANALYTIC.holds(
    "atoms of centred patches are no obstacle", cause="DDᵀ has no inverse here: torch.linalg.pinv"
)
def centred_atoms(answer: Answer) -> None:
    D = torch.randn(6, 9)
    D = D - D.mean(dim=0)
    found = answer(D / D.norm(dim=0))
    same(found.sum(dim=0), 0.0, tolerance=1e-3, case="sums of the columns of C for centred atoms")


ANALYTIC.agrees(
    lambda: [
        (random_dictionary(4, 7, torch.Generator().manual_seed(3)),),
        (random_dictionary(6, 3, torch.Generator().manual_seed(4)),),
        (dct_dictionary(3, 16),),
        (2 * torch.randn(5, 6),),
    ],
    tolerance=1e-3,
)
