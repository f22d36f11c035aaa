"""Sparsity groups against eq. 10 in loops, their special cases, and the published sizes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib.models import NSR, build, restore
from lessons_lib.models.macs import macs_per_pixel
from lessons_lib.models.nsr import NSRConfig
from lessons_lib.models.sparse_conv import GATES, Gate, SparseConv2d, sparsify
from lessons_lib.models.uniform_tiles import UniformTiles
from lessons_lib.models.windows import HaloWindows
from lessons_lib.ops.resize import imresize

TOY = {"blocks": 2, "width": 4, "tile": 10}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moved(model: nn.Module) -> nn.Module:
    """In float64, every weight moved by a little."""
    generator = torch.Generator().manual_seed(1)
    model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator).double()
    return model


# Sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "parameters", "mega_macs"),
    [
        # Denoising: baseline, sparse -, sparse +.
        ({}, 593_538, 0.59),
        ({"expansion": 1, "groups": 2, "cardinality": 16}, 628_354, 0.295),
        ({"groups": 2, "cardinality": 16}, 1_236_610, 0.59),
        # Super-resolution: EDSR(S)+ for 2, 3, 4, EDSR(L)-, and WDSR's three variants.
        ({"channels": 3, "width": 64, "expansion": 1, "groups": 4, "scale": 2}, 4_877_812, 1.19),
        ({"channels": 3, "width": 64, "expansion": 1, "groups": 4, "scale": 3}, 4_887_637, 1.19),
        ({"channels": 3, "width": 64, "expansion": 1, "groups": 4, "scale": 4}, 4_901_392, 1.20),
        (
            {"channels": 3, "width": 128, "blocks": 32, "expansion": 1, "groups": 4, "scale": 2},
            38_361_140,
            9.46,
        ),
        (
            {"channels": 3, "expansion": 4, "groups": 4, "cardinality": 1, "scale": 2},
            4_754_772,
            1.18,
        ),
        ({"channels": 3, "expansion": 4, "groups": 4, "scale": 2}, 4_910_292, 1.18),
        (
            {"channels": 3, "expansion": 4, "groups": 4, "cardinality": 1, "scale": 2, "depth": 2},
            5_035_860,
            1.18,
        ),
    ],
)
def test_sizes_are_the_published_ones(options, parameters, mega_macs):
    if options.get("groups", 1) > 1:
        options = {"cardinality": 16} | options
    model = NSR(NSRConfig(**options))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    # Mixing kernels costs little, and less for each pixel the larger the crop.
    counted = macs_per_pixel(model, size=64) / 1e6
    assert mega_macs - 0.006 < counted < 1.06 * mega_macs + 0.006


# The convolution -----------------------------------------------------------------------------


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize(("groups", "cardinality"), [(3, 1), (2, 3), (1, 6), (4, 6)])
@torch.no_grad()
def test_mixes_kernels_as_equation_10_says(gate, groups, cardinality):
    layer = moved(SparseConv2d(4, 6, groups=groups, cardinality=cardinality, gate=gate))
    features = draw(3, 4, 5, 7)
    found = layer(features)
    for b in range(3):
        kernel, bias = torch.zeros_like(layer.weight[0]), torch.zeros_like(layer.bias[0])
        if layer.gate is None:
            kernel, bias = layer.weight[0], layer.bias[0]
        else:
            pooled = [features[b, c].sum().item() / 35 for c in range(4)]
            (last,) = layer.gate.layers
            for j in range(cardinality):
                logits = []
                for i in range(groups):
                    row = i * cardinality + j
                    weights = last.weight[row].tolist()
                    products = (w * x for w, x in zip(weights, pooled, strict=True))
                    logits.append(sum(products) + last.bias[row].item())
                if gate == "sigmoid":
                    gamma = [1 / (1 + math.exp(-logit)) for logit in logits]
                elif gate == "softmax":
                    gamma = [math.exp(x) / sum(map(math.exp, logits)) for x in logits]
                else:
                    gamma = [float(x == max(logits)) for x in logits]
                own = range(j * 6 // cardinality, (j + 1) * 6 // cardinality)
                for i, share in enumerate(gamma):
                    for output in own:
                        kernel[output] += share * layer.weight[i, output]
                        bias[output] += share * layer.bias[i, output]
        expected = F.conv2d(features[b : b + 1], kernel, bias, padding=1)
        torch.testing.assert_close(found[b : b + 1], expected)


@pytest.mark.parametrize("side", [1, 3, 5])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@torch.no_grad()
def test_one_group_is_a_plain_convolution(side, bias, mode):
    plain = nn.Conv2d(3, 4, side, padding=side // 2, bias=bias, padding_mode=mode).double()
    theirs = "constant" if mode == "zeros" else mode
    layer = SparseConv2d(3, 4, side, bias=bias, padding_mode=theirs).double()
    layer.weight.copy_(plain.weight[None])
    if bias:
        layer.bias.copy_(plain.bias[None])
    for shape in ((9, 7), (4, 5)):
        features = draw(2, 3, *shape)
        torch.testing.assert_close(layer(features), plain(features))
        last = features.to(memory_format=torch.channels_last)
        torch.testing.assert_close(layer(last), plain(features))


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_each_image_gets_its_own_kernel_whatever_surrounds_it(mode, bias):
    options = {"groups": 3, "cardinality": 2, "padding_mode": mode, "bias": bias}
    layer = moved(SparseConv2d(3, 4, **options, weight_norm=True))
    features = draw(4, 3, 5, 6)
    features[1:] *= 5
    expected = torch.cat([layer(each[None]) for each in features])
    torch.testing.assert_close(layer(features), expected)
    torch.testing.assert_close(layer(features.to(memory_format=torch.channels_last)), expected)
    gates = layer.gate(features)
    kernels = torch.einsum("kd,kdoixy->doixy", gates[0], layer.kernels().unflatten(1, (2, 2)))
    wide = F.pad(features[:1], 4 * [1], mode=mode)
    bias_there = None
    if bias:
        bias_there = torch.einsum("kd,kdo->do", gates[0], layer.bias.unflatten(1, (2, 2))).flatten()
    torch.testing.assert_close(F.conv2d(wide, kernels.flatten(0, 1), bias_there), expected[:1])


@torch.no_grad()
def test_squeeze_and_excitation_is_a_special_case():
    """One group, a sigmoid, a cardinal group for each output: every output has a gain."""
    layer = moved(SparseConv2d(3, 4, gate="sigmoid", cardinality=4))
    features = draw(2, 3, 5, 6)
    pooled = features.mean(dim=(2, 3))
    (last,) = layer.gate.layers
    gain = torch.sigmoid(pooled @ last.weight.T + last.bias)
    plain = F.conv2d(features, layer.weight[0], layer.bias[0], padding=1)
    torch.testing.assert_close(layer(features), gain[:, :, None, None] * plain)


@torch.no_grad()
def test_a_cold_softmax_chooses_and_a_hot_one_averages():
    torch.manual_seed(0)
    gate = moved(Gate(3, 4, 2))
    gates = {}
    for temperature in (1e-3, 1.0, 1e4):
        gate.temperature = temperature
        gates[temperature] = gate(5 * draw(6, 3, 4, 4))
        torch.testing.assert_close(gates[temperature].sum(dim=1), torch.ones(6, 2).double())
    gate.kind = "hard"
    hard = gate(5 * draw(6, 3, 4, 4))
    torch.testing.assert_close(gates[1e-3], hard, atol=1e-6, rtol=0)
    torch.testing.assert_close(gates[1e4], torch.full_like(hard, 0.25), atol=1e-3, rtol=0)
    assert set(hard.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_a_temperature_does_not_change_which_group_gumbel_draws(temperature):
    gate = Gate(1, 2, 1, "gumbel", temperature).train()
    with torch.no_grad():
        gate.layers[0].weight.zero_()
        gate.layers[0].bias.copy_(torch.tensor([1.0, 0.0]))
    torch.manual_seed(0)
    drawn = gate(torch.zeros(4000, 1, 2, 2)).mean(dim=0)[:, 0]
    torch.testing.assert_close(drawn, torch.tensor([1.0, 0.0]).softmax(0), rtol=0, atol=0.03)


def test_gumbel_draws_in_training_and_hears_of_the_error():
    torch.manual_seed(0)
    layer = moved(SparseConv2d(3, 4, groups=4, cardinality=2, gate="gumbel"))
    features = draw(2, 3, 5, 6)
    assert torch.equal(layer(features), layer(features))
    layer.train()
    drawn = [layer(features) for _ in range(8)]
    assert any(not torch.equal(drawn[0], each) for each in drawn)
    sum(each.square().sum() for each in drawn).backward()
    assert all(weight.grad.abs().max() > 0 for weight in layer.parameters())


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("gate", ["softmax", "sigmoid"])
@pytest.mark.parametrize("weight_norm", [True, False])
def test_every_weight_hears_of_the_error(depth, gate, weight_norm):
    layer = moved(
        SparseConv2d(3, 4, groups=3, cardinality=2, gate=gate, depth=depth, weight_norm=weight_norm)
    )
    assert torch.autograd.gradcheck(
        lambda features, *_: layer(features), (draw(2, 3, 4, 5).requires_grad_(),)
    )
    layer(draw(2, 3, 4, 5)).square().sum().backward()
    for name, weight in layer.named_parameters():
        assert weight.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2},
        {"cardinality": 3},
        {"groups": 0},
        {"groups": 2, "gate": "argmax"},
        {"groups": 2, "temperature": 0.0},
        {"groups": 2, "depth": 3},
    ],
)
def test_impossible_convolutions_are_refused(options):
    with pytest.raises(ValueError, match=r"no such|no multiple|a gate is"):
        SparseConv2d(3, 4, **options)


# Networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"), [("dncnn", {"layers": 4, "width": 6}), ("ffdnet", {"layers": 4})]
)
@pytest.mark.parametrize("weight_norm", [True, False])
@torch.no_grad()
def test_a_sparse_copy_computes_what_the_network_does(name, options, weight_norm):
    model = moved(build(name, options))
    sparse = sparsify(model, 3, 2, weight_norm=weight_norm)
    noisy = draw(2, 1, 12, 14)
    told = {"sigma": torch.full((2,), 0.1).double()} if name == "ffdnet" else {}
    torch.testing.assert_close(sparse(noisy, **told), model(noisy, **told))
    replaced = [layer for layer in sparse.modules() if isinstance(layer, SparseConv2d)]
    assert len(replaced) == (3 if name == "dncnn" else 4)  # 1 output is no multiple of 2
    assert all(layer.weight.shape[0] == 3 for layer in replaced)
    assert not any(isinstance(layer, SparseConv2d) for layer in model.modules())
    with pytest.raises(ValueError, match="do not sum to 1"):
        sparsify(model, 3, gate="sigmoid")


@pytest.mark.parametrize("options", [{}, {"shared_gates": True}, {"scale": 3}, {"channels": 3}])
@torch.no_grad()
def test_the_network_is_what_the_paper_draws(options):
    model = moved(NSR(NSRConfig(**TOY, groups=2, cardinality=2, **options)))
    image = draw(2, model.config.channels, 7, 6)
    x = model.head(image - 0.5)
    for block in model.blocks:
        gates = block.first.gate(x)
        hidden = F.relu(block.first(x, gates))
        own = gates if model.config.shared_gates else block.second.gate(hidden)
        x = x + block.second(hidden, own)
    x = model.tail(x)
    scale = model.config.scale
    x = x + (model.skip(image - 0.5) if scale > 1 else image - 0.5)
    expected = F.pixel_shuffle(x, scale) + 0.5
    torch.testing.assert_close(model(image), expected)
    assert expected.shape[-2:] == (7 * scale, 6 * scale)


@torch.no_grad()
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_network_that_enlarges_starts_from_bicubic_interpolation(scale):
    image = draw(1, 1, 12, 15)
    model = build("nsr", {"blocks": 2, "width": 4, "scale": scale}).double()
    model.tail.length.zero_()
    inside = (..., slice(2 * scale, -2 * scale), slice(2 * scale, -2 * scale))
    torch.testing.assert_close(model(image)[inside], imresize(image, scale)[inside])


@torch.no_grad()
def test_no_argument_is_edited():
    image = draw(1, 1, 7, 6)
    before = image.clone()
    moved(NSR(NSRConfig(**TOY)))(image)
    assert torch.equal(image, before)


def test_only_what_pools_is_cut_into_tiles():
    plain, sparse = (NSR(NSRConfig(**TOY, groups=groups)) for groups in (1, 2))
    assert isinstance(plain.application, HaloWindows)
    assert isinstance(sparse.application, UniformTiles)


@pytest.mark.parametrize("options", [{}, {"scale": 2}, {"scale": 2, "groups": 2}])
@torch.no_grad()
def test_photographs_of_any_size(options):
    model = moved(NSR(NSRConfig(**TOY, **options)))
    image = draw(1, 1, 23, 17)
    restored = restore(model, image, precision="reference")
    scale = model.config.scale
    assert restored.shape[-2:] == (23 * scale, 17 * scale)
    if model.config.groups == 1:
        torch.testing.assert_close(restored, model(image))
    else:
        corner = restore(model, image, overlap=0, precision="reference")[..., :6, :6]
        torch.testing.assert_close(corner, model(image[..., :10, :10])[..., :6, :6])
