"""NLRN against its paper written out in plain PyTorch, its variants, and its tiles."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lessons_lib.models import NLRN, build, restore
from lessons_lib.models.nlrn import NLRNConfig, NonLocalModule
from lessons_lib.models.uniform_tiles import UniformTiles
from lessons_lib.ops.attention import DISTANCES

TOY = {"states": 3, "width": 6, "embedding": 4, "tile": 9}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def toy(**options) -> NLRN:
    """In float64, every weight and every statistic moved."""
    model = NLRN(NLRNConfig(**TOY | options)).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor += 0.3 * (torch.rand(tensor.shape, generator=generator).double() - 0.3)
    return model


def count(**options) -> int:
    return sum(p.numel() for p in NLRN(NLRNConfig(**options)).parameters())


def test_sizes_are_the_published_ones():
    assert count() == 340_099
    assert count(tied_norms=True) == 331_651
    model = NLRN(NLRNConfig())
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert sum(p.numel() for layer in layers for p in layer.parameters()) == 330_625
    depth = 2 + 3 * model.config.states  # one look counts as a layer
    assert depth == 38
    assert count(tied=False) - 12 * (147_584 * 2 + 33_024) == count() - (147_584 * 2 + 33_024)


def plain(model: NLRN, noisy: Tensor) -> Tensor:
    """The released code's computation, functions only, one query at a time."""
    tensors, c = model.state_dict(), model.config
    height, width = noisy.shape[-2:]

    def norm(x, name):
        part = {
            p: tensors[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")
        }
        return F.batch_norm(x, *part.values(), training=False, eps=1e-3)

    def conv(x, name):
        weight = tensors[f"{name}.weight"]
        return F.conv2d(x, weight, tensors[f"{name}.bias"], padding=weight.shape[-1] // 2)

    reach = c.neighbourhood // 2
    state = first = conv(norm(noisy, "norm"), "first")
    carried = 0
    for t in range(c.states):
        weights = f"transitions.{0 if c.tied else t}"
        norms = f"norms.{0 if c.tied_norms else t}"
        x = norm(state, f"{norms}.before").relu()
        if c.every and t % c.every == 0:
            embedded = [
                conv(x, f"{weights}.look.embeddings.{k}")
                for k in range({"none": 0, "one": 1, "two": 2}[DISTANCES[c.distance].embedding])
            ] or [x]
            q, k, g = (
                e.flatten(2)
                for e in (embedded[0], embedded[-1], conv(x, f"{weights}.look.transform"))
            )
            if c.distance == "euclidean":
                logits = -(q[:, :, :, None] - k[:, :, None, :]).square().mean(dim=1)
            else:
                logits = torch.einsum("bci,bcj->bij", q, k)
            logits = logits + carried
            if c.propagate:
                carried = logits
            found = torch.zeros_like(g)
            for i in range(height * width):
                if c.neighbourhood:
                    offsets = range(-reach, reach + 1)
                    keys = sorted(
                        {
                            (i // width + dy) % height * width + (i % width + dx) % width
                            for dy in offsets
                            for dx in offsets
                        }
                    )
                else:
                    keys = list(range(height * width))
                row = logits[:, i, keys]
                row = row / len(keys) if "dot" in c.distance else row.softmax(dim=-1)
                found[:, :, i] = torch.einsum("bj,bcj->bc", row, g[:, :, keys])
            x = x + found.reshape(x.shape)
        x = conv(norm(x, f"{norms}.between"), f"{weights}.first")
        state = first + conv(norm(x, f"{norms}.after").relu(), f"{weights}.second")
    return noisy + conv(norm(state, "last_norm").relu(), "last")


VARIANTS = [
    {},
    {"channels": 3},
    {"neighbourhood": 3},
    {"propagate": False},
    {"every": 2},
    {"every": 0},
    {"tied": False},
    {"tied": False, "every": 2},
    {"tied_norms": True},
    *({"distance": name, "neighbourhood": 5} for name in DISTANCES),
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@torch.no_grad()
def test_computes_what_the_paper_says(options):
    model = toy(**options)
    noisy = draw(2, model.config.channels, 6, 7)
    torch.testing.assert_close(model(noisy), plain(model, noisy))


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_every_weight_hears_of_the_error(options):
    model = toy(**options)  # normalisation in training takes away what biases add
    model(draw(2, model.config.channels, 6, 7)).square().sum().backward()
    loudest = max(weight.grad.abs().max() for weight in model.parameters())
    for name, weight in model.named_parameters():
        # One number added to all logits of a row changes no softmax: the keys' bias is idle where
        # queries are maps of their own.
        idle = name.endswith("embeddings.1.bias") and "dot" not in model.config.distance
        # Rounding gives it a little; logits that are not made exponential grow from state to state.
        assert weight.grad.abs().max() > 0 or idle, name
        assert weight.grad.abs().max() < 1e-9 * loudest or not idle, name


@torch.no_grad()
def test_a_new_module_does_nothing_wherever_it_is_put():
    module, features = NonLocalModule(6, 4), draw(1, 6, 5, 5).float()
    module.transform.weight.zero_()
    module.transform.bias.zero_()
    assert torch.equal(module(features)[0], features)
    model = NLRN(NLRNConfig(**TOY))
    assert not model.transitions[0].look.transform.weight.any()


@torch.no_grad()
def test_states_are_told_one_by_one():
    model = toy()
    noisy = draw(1, 1, 6, 7)
    states = list(model.unroll(noisy))
    assert [tuple(state.shape) for state, _ in states] == [(1, 6, 6, 7)] * 3
    assert all(logits.shape == (1, 42, 42) for _, logits in states)
    last = F.conv2d(model.last_norm(states[-1][0]).relu(), *model.last.parameters(), padding=1)
    torch.testing.assert_close(model(noisy), noisy + last)
    # Those that propagate are those of the states added up.
    lonely = list(toy(propagate=False).unroll(noisy))
    torch.testing.assert_close(states[0][1], lonely[0][1])
    assert not torch.allclose(states[1][1], lonely[1][1])
    assert [logits is None for _, logits in toy(every=2).unroll(noisy)] == [False, True, False]


@torch.no_grad()
def test_a_neighbourhood_as_large_as_the_tile_is_the_tile():
    noisy = draw(1, 1, 9, 9)
    expected = toy()(noisy)
    torch.testing.assert_close(toy(neighbourhood=9)(noisy), expected)
    torch.testing.assert_close(toy(neighbourhood=11)(noisy), expected)
    assert not torch.allclose(toy(neighbourhood=7)(noisy), expected)


# Tiles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(9, 9), (10, 25), (4, 30), (1, 1), (23, 18)])
@pytest.mark.parametrize("overlap", [0, 5, 8, None])
@torch.no_grad()
def test_tiles_are_averaged_one_by_one(shape, overlap):
    model = toy(channels=3)
    image = draw(2, 3, *shape)
    step = 9 - (5 if overlap is None else overlap)
    total, seen = torch.zeros_like(image), torch.zeros_like(image)
    starts = []
    for length in shape:
        last = max(0, length - 9)
        starts.append([*range(0, last, step), last])
        assert starts[-1] == sorted(set(starts[-1]))
    for y in starts[0]:
        for x in starts[1]:
            place = (..., slice(y, y + 9), slice(x, x + 9))
            total[place] += model(image[place])
            seen[place] += 1
    assert seen.min() >= 1
    estimate = restore(model, image, overlap=overlap, precision="reference")
    torch.testing.assert_close(estimate, total / seen)
    single = model.float()
    for memory in (1.0, 1e6):
        estimate = restore(single, image.float(), overlap=overlap, precision="fp32", memory=memory)
        torch.testing.assert_close(estimate, (total / seen).float(), rtol=1e-4, atol=1e-5)


def test_the_overlap_leaves_a_step():
    with pytest.raises(ValueError, match="overlap 9 must lie"):
        restore(toy(), draw(1, 1, 20, 20), overlap=9, precision="reference")
    assert UniformTiles(9).options == {"tile", "overlap"}


@pytest.mark.parametrize(
    "options",
    [
        {"states": 0},
        {"neighbourhood": 4},
        {"distance": "cosine"},
        {"every": -1},
        {"tied": False, "tied_norms": True},
    ],
)
def test_impossible_variants_are_refused(options):
    with pytest.raises(ValueError, match="no such NLRN"):
        build("nlrn", options)


def test_correlations_are_not_taken_in_half_precision():
    """Carried along they become thousands, between which half precision has steps of 16."""
    module = NonLocalModule(6, 4)
    features, carried = torch.rand(1, 6, 5, 5), torch.full((1, 25, 25), 4001.3)
    with torch.no_grad():
        torch.nn.init.normal_(module.transform.weight)
        plain, logits = module(features, carried)
        with torch.autocast("cpu", torch.bfloat16):
            found = module(features, carried)
    assert torch.equal(found[0], plain)
    assert torch.equal(found[1], logits)
