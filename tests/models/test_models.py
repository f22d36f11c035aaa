"""The unrolled models against the paper's formulas written out, one number at a time."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lessons_lib.models import CSR, MODELS, FFDNet, GroupSC, Lista, PatchSC, build, describe
from lessons_lib.models.csr import CSRConfig
from lessons_lib.models.lista import ListaConfig, analytic_weights
from lessons_lib.models.non_local import NonLocalConfig
from lessons_lib.models.unrolled import PatchConfig
from lessons_lib.ops.dictionary import random_dictionary, spectral_norm
from lessons_lib.ops.prox import soft_threshold
from lessons_lib.solvers import ista

TINY = {"patch": 3, "atoms": 12, "steps": 5, "threshold": 0.05}
NON_LOCAL = {"refresh": 2, "window": 5}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shaken(model):
    """The model in float64 with all its weights moved, so that no two of them are equal."""
    generator = torch.Generator().manual_seed(1)
    model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            spread = parameter.std(correction=0)
            parameter += 0.3 * spread * noise if spread > 0 else 0.02 * noise
    return model


SMALL = {
    "dncnn": {"layers": 4, "width": 8},
    "ffdnet": {"layers": 4, "width": 8},
    "bias-free": {"layers": 4, "width": 8},
    "cbdnet": {"width": 4, "estimator": 3},
    "class-aware": {"layers": 4, "width": 8},
    "nlrn": {"states": 2, "width": 8, "embedding": 4},
    "nsr": {"blocks": 2, "width": 4, "groups": 2},
}


def told_to(model, batch: int) -> dict[str, Tensor]:
    """What a model has to be told besides the image."""
    return {"sigma": torch.full((batch,), 0.1)} if isinstance(model, FFDNet) else {}


def every_model(channels: int = 1):
    for name in MODELS:
        options = SMALL.get(name, TINY) | {"channels": channels}
        variants = [{}]
        if name == "lista":
            variants = [{"variant": v} for v in ("untied", "coupled", "alista")]
        if name in ("groupsc", "csr"):
            variants = [
                NON_LOCAL,
                NON_LOCAL
                | {"averaging": "per-refresh", "compare": "raw", "middle_averaging": False},
                NON_LOCAL | {"variance_reduction": True},
            ]
        for variant in variants:
            yield pytest.param(name, options | variant, id=f"{name}-{'-'.join(map(str, variant))}")


# The paper in loops --------------------------------------------------------------------------


def naive(model, image: list[list[float]], kind: str) -> list[list[float]]:
    """Algorithm 1 in plain Python for one gray image: no tensor operation but reading weights."""
    config = model.config
    p, m, K = config.patch, config.patch**2, config.atoms
    height, width = len(image), len(image[0])
    places = [(r, c) for r in range(height - p + 1) for c in range(width - p + 1)]
    N = range(len(places))
    C, D, W = (weight.tolist() for weight in (model.C, model.D, model.W))
    thresholds = model.raw_thresholds.abs().tolist()

    def cut(picture):
        return [[picture[r + i][c + j] for i in range(p) for j in range(p)] for r, c in places]

    def similarity(patches):
        kappa, reach = model.kappa.tolist(), config.window // 2
        table = [[0.0] * len(places) for _ in N]
        for i in N:
            for q in N:
                (ri, ci), (rq, cq) = places[i], places[q]
                if abs(ri - rq) <= reach and abs(ci - cq) <= reach:
                    table[i][q] = math.exp(
                        -sum((kappa[e] * (patches[i][e] - patches[q][e])) ** 2 for e in range(m))
                    )
        return table

    def average(patches):
        total = [[0.0] * width for _ in range(height)]
        count = [[0] * width for _ in range(height)]
        for (r, c), patch in zip(places, patches, strict=True):
            for e, value in enumerate(patch):
                total[r + e // p][c + e % p] += value
                count[r + e // p][c + e % p] += 1
        return [
            [t / n for t, n in zip(ts, ns, strict=True)]
            for ts, ns in zip(total, count, strict=True)
        ]

    def synthesis(codes):
        return [
            [sum(W[e][j] * codes[i][j] for j in range(K)) + mean[i] for e in range(m)] for i in N
        ]

    patches = cut(image)
    mean = [sum(patch) / m for patch in patches]
    y = [[value - mean[i] for value in patches[i]] for i in N]
    if kind != "sc":
        table = similarity(y)
    codes = [[0.0] * K for _ in N]
    for k in range(config.steps):
        if kind != "sc" and k > 1 and (k - 1) % config.refresh == 0:
            seen = cut(average(synthesis(codes)))
            new = similarity([[value - mean[i] for value in seen[i]] for i in N])
            nu = 1 / (1 + math.exp(-model.nu_logit.item()))
            table = [[(1 - nu) * table[i][q] + nu * new[i][q] for q in N] for i in N]
        B = []
        for i in N:
            residual = [y[i][e] - sum(D[e][j] * codes[i][j] for j in range(K)) for e in range(m)]
            B.append([codes[i][j] + sum(C[e][j] * residual[e] for e in range(m)) for j in range(K)])
        new_codes = []
        for i in N:
            row = []
            for j in range(K):
                lam, b = thresholds[k][j], B[i][j]
                if kind == "sc":
                    row.append(math.copysign(max(abs(b) - lam, 0.0), b))
                elif kind == "groupsc":
                    size = math.sqrt(sum(table[i][q] for q in N))
                    norm = math.sqrt(sum(table[i][q] * B[q][j] ** 2 for q in N))
                    row.append(max(1 - lam * size / norm, 0.0) * b)
                else:
                    gamma = abs(model.raw_gammas[k].item())
                    beta = sum(table[i][q] * codes[q][j] for q in N) / sum(table[i])
                    row.append(two_magnets(b, beta, lam, gamma))
            new_codes.append(row)
        codes = new_codes
    return average(synthesis(codes))


def two_magnets(z: float, beta: float, lam: float, gamma: float) -> float:
    """CSR's prox as a median of five: its kinks at 0 and β, and the slopes between them."""
    sign = (beta > 0) - (beta < 0)
    bend = lam * (1 + gamma)
    return sorted([0.0, beta, z - bend, z - sign * (lam - lam * gamma), z + bend])[2]


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("sc", PatchSC(PatchConfig(**TINY))),
        ("groupsc", GroupSC(NonLocalConfig(**TINY, **NON_LOCAL))),
        ("csr", CSR(CSRConfig(**TINY, **NON_LOCAL, gamma=0.4))),
    ],
)
def test_forward_is_the_papers_formulas(kind, model):
    model = shaken(model)
    noisy = draw(1, 1, 8, 7)
    with torch.no_grad():
        ours = model(noisy)[0, 0]
    theirs = torch.tensor(naive(model, noisy[0, 0].tolist(), kind), dtype=torch.float64)
    assert (ours - noisy[0, 0]).abs().max() > 0.01
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


# Parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "channels", "patch", "count"),
    [
        ("sc", 1, 9, 68_352),
        ("groupsc", 1, 9, 68_434),
        ("csr", 1, 9, 68_434 + 24),
        ("sc", 3, 7, 119_040),
        ("groupsc", 3, 7, 119_188),
        ("csr", 3, 7, 119_188 + 24),
    ],
)
def test_parameter_counts(name, channels, patch, count):
    model = build(name, {"channels": channels, "patch": patch})
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_variance_reduction_is_one_parameter():
    model = build("groupsc", {"variance_reduction": True})
    assert sum(parameter.numel() for parameter in model.parameters()) == 68_435


def test_first_weights():
    dictionary = random_dictionary(9, 12, torch.Generator().manual_seed(3))
    model = GroupSC(NonLocalConfig(**TINY), dictionary)
    for weight in (model.C, model.D, model.W):
        torch.testing.assert_close(weight.detach(), dictionary / spectral_norm(dictionary))
    assert model.thresholds.eq(0.05).all()
    assert model.kappa.eq(1).all()
    assert round(model.nu_logit.sigmoid().item(), 3) == 0.731


@pytest.mark.parametrize(("name", "options"), list(every_model()))
def test_every_parameter_gets_a_finite_gradient(name, options):
    model = shaken(build(name, options))
    (model(draw(2, 1, 10, 11), **told_to(model, 2)) ** 2).sum().backward()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None, label
        assert torch.isfinite(parameter.grad).all(), label
        # A threshold may hold down an atom for good; a whole tensor without gradient is a fault.
        assert parameter.grad.abs().max() > 0, label


@pytest.mark.parametrize(("name", "options"), list(every_model(channels=3)))
@pytest.mark.parametrize(
    "told",
    [{}, {"mask": torch.ones(1, 3, 9, 10)}, {"sigma": torch.tensor([0.02, 0.1])}],
    ids=["nothing", "mask", "sigma"],
)
def test_a_model_compiles_as_a_whole(name, options, told):
    """Nothing in it asks for the value of a tensor, which would cut the compiled code in pieces."""
    if set(told) - set(MODELS[name].model.told) or (name == "ffdnet" and not told):
        pytest.skip("is told something else")
    if "sigma" in told and name != "ffdnet":
        options = options | {"levels_255": [5.0, 25.0]}
    model = build(name, options)
    image = torch.rand(2, 3, 9, 10)
    torch.compiler.reset()  # it gives up on code that it has compiled for many other models
    whole = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.equal(whole(image, **told), model(image, **told))
    torch.compiler.reset()
    pieces = []

    def eager(graph, inputs):
        pieces.append(graph)
        return graph.forward

    # As training compiles it; fullgraph=True would follow some questions that stop this.
    compiled = torch.compile(model, backend=eager)
    assert torch.equal(compiled(image, **told), model(image, **told))
    assert len(pieces) == 1


@pytest.mark.parametrize("name", ["groupsc", "csr"])
def test_gradients_are_finite_on_a_flat_image(name):
    model = build(name, TINY | NON_LOCAL)
    model(torch.full((1, 1, 8, 8), 0.5)).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_thresholds_stay_non_negative():
    model = CSR(CSRConfig(**TINY))
    with torch.no_grad():
        model.raw_thresholds -= 0.1
        model.raw_gammas -= 0.2
    assert (model.thresholds >= 0).all()
    assert (model.gammas >= 0).all()


# Behaviour -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(9, 14), (13, 10)])
@pytest.mark.parametrize(("name", "options"), list(every_model(channels=3)))
def test_batch_is_one_by_one_at_any_size(name, options, shape):
    model = shaken(build(name, options)).eval()
    noisy = draw(3, 3, *shape)
    with torch.no_grad():
        together = model(noisy, **told_to(model, 3))
        alone = torch.cat([model(image[None], **told_to(model, 1)) for image in noisy])
    assert together.shape == noisy.shape
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_groupsc_without_neighbours_is_sc():
    options = TINY | {"patch": 3}
    grouped = shaken(GroupSC(NonLocalConfig(**options, window=1)))
    plain = PatchSC(PatchConfig(**options)).double()
    plain.load_state_dict(
        {name: grouped.state_dict()[name] for name in plain.state_dict()}, strict=True
    )
    noisy = draw(2, 1, 12, 9)
    torch.testing.assert_close(grouped(noisy), plain(noisy), rtol=0, atol=1e-9)


def test_csr_without_its_second_magnet_is_sc():
    central = shaken(CSR(CSRConfig(**TINY, **NON_LOCAL)))
    with torch.no_grad():
        central.raw_gammas.zero_()
    plain = PatchSC(PatchConfig(**TINY)).double()
    plain.load_state_dict({name: central.state_dict()[name] for name in plain.state_dict()})
    noisy = draw(2, 1, 12, 9)
    torch.testing.assert_close(central(noisy), plain(noisy), rtol=0, atol=1e-12)


def test_brightness_passes_through():
    """Patches are centred, so a brighter image has the same estimate, brighter by as much."""
    for name in ("sc", "groupsc", "csr"):
        model = shaken(build(name, TINY))
        noisy = draw(1, 1, 10, 10)
        torch.testing.assert_close(model(noisy + 0.7), model(noisy) + 0.7, rtol=0, atol=1e-10)


def test_refreshes_follow_the_released_code():
    assert NonLocalConfig().refreshes == (7, 13, 19)
    assert NonLocalConfig(refresh=8).refreshes == (9, 17)
    assert NonLocalConfig(refresh=0).refreshes == ()


@pytest.mark.parametrize(
    "change",
    [
        {"refresh": 0},
        {"window": 3},
        {"middle_averaging": False},
        {"compare": "raw"},
        {"variance_reduction": True},
    ],
)
def test_options_change_the_estimate(change):
    base = NonLocalConfig(**TINY, refresh=2, window=9)
    noisy = draw(1, 1, 14, 14)
    with torch.no_grad():
        first, second = (
            shaken(GroupSC(config))(noisy) for config in (base, replace(base, **change))
        )
    assert (first - second).abs().max() > 1e-5


@pytest.mark.parametrize(("name", "options"), list(every_model()))
def test_a_model_is_rebuilt_from_its_description(name, options):
    model = shaken(build(name, options)).eval()
    again_name, again_options = describe(model)
    again = build(again_name, again_options).double().eval()
    again.load_state_dict(model.state_dict())
    noisy, told = draw(1, 1, 9, 9), told_to(model, 1)
    assert torch.equal(again(noisy, **told), model(noisy, **told))


def test_first_values_may_be_whole_numbers():
    # As TOML reads "kappa = 2".
    whole = build("csr", {"kappa": 2, "gamma": 1, "threshold": 1})
    same = build("csr", {"kappa": 2.0, "gamma": 1.0, "threshold": 1.0})
    for one, other in zip(whole.parameters(), same.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sparse", {}),
        ("sc", {"window": 5}),
        ("sc", {"patch": 0}),
        ("groupsc", {"window": 8}),
        ("groupsc", {"compare": "both"}),
        ("groupsc", {"averaging": "never"}),
        ("csr", {"gamma": -1.0}),
        ("lista", {"variant": "tied"}),
    ],
)
def test_bad_options_are_refused(name, options):
    with pytest.raises(ValueError, match=next(iter(options), "sparse")):
        build(name, options)


def test_bad_inputs_are_refused():
    model = build("sc", TINY)
    for shape in [(1, 3, 9, 9), (1, 1, 2, 9), (1, 9, 9)]:
        with pytest.raises(ValueError, match="expected"):
            model(torch.zeros(shape))
    with pytest.raises(ValueError, match="dictionary"):
        build("sc", TINY, torch.zeros(9, 5))


# LISTA ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["untied", "coupled"])
def test_untrained_lista_is_ista(variant):
    dictionary = random_dictionary(9, 12, torch.Generator().manual_seed(3)).double()
    patches = draw(2, 9, 20, seed=4) - 0.5
    model = Lista(ListaConfig(**TINY | {"variant": variant}), dictionary)
    for step, codes in enumerate(model.encode(patches), start=1):
        expected, _ = ista(patches, dictionary, 0.05, max_iterations=step, tolerance=0)
        torch.testing.assert_close(codes, expected, rtol=0, atol=1e-12)


def test_analytic_weights_are_the_least_coherent():
    dictionary = random_dictionary(9, 20, torch.Generator().manual_seed(5)).double()
    weights = analytic_weights(dictionary)
    torch.testing.assert_close(
        (weights * dictionary).sum(dim=0), torch.ones(20, dtype=torch.float64)
    )
    best = (weights.T @ dictionary).square().sum()
    generator = torch.Generator().manual_seed(6)
    for scale in (1e-3, 1e-2, 1e-1, 1):
        move = scale * torch.randn(9, 20, generator=generator, dtype=torch.float64)
        other = weights + move - dictionary * (move * dictionary).sum(dim=0)
        torch.testing.assert_close((other * dictionary).sum(dim=0), weights.new_ones(20))
        assert (other.T @ dictionary).square().sum() > best


def test_analytic_weights_of_centred_atoms():
    """Centred atoms span one dimension less than a patch has: the inverse is a pseudo-inverse."""
    dictionary = random_dictionary(9, 20, torch.Generator().manual_seed(5)).double()
    weights = analytic_weights(dictionary - dictionary.mean(dim=0))
    assert weights.abs().max() < 100
    torch.testing.assert_close(weights.mean(dim=0), weights.new_zeros(20), rtol=0, atol=1e-9)


def test_untrained_alista_reduces_the_lasso_error():
    dictionary = random_dictionary(9, 12, torch.Generator().manual_seed(3)).double()
    codes = soft_threshold(torch.randn(1, 12, 50, dtype=torch.float64), 1.5)
    patches = dictionary @ codes
    model = Lista(
        ListaConfig(patch=3, atoms=12, steps=30, threshold=0.01, variant="alista"), dictionary
    )
    errors = [(patches - dictionary @ z).square().sum().item() for z in model.encode(patches)]
    assert errors[-1] < 0.05 * errors[0]
