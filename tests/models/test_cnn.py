"""DnCNN and FFDNet against their formulas written out, and their published sizes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lessons_lib.data import sample
from lessons_lib.metrics import psnr
from lessons_lib.models import DnCNN, FFDNet, build
from lessons_lib.models.dncnn import DnCNNConfig
from lessons_lib.models.ffdnet import FFDNetConfig


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def numbers(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def shaken(model: nn.Module) -> nn.Module:
    """In float64, every weight and every statistic moved."""
    generator = torch.Generator().manual_seed(1)
    model.double()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor += 0.2 * torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
    return model


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 556_096),
        ({"batch_norm": False}, 555_137),
        ({"layers": 20, "batch_norm": False}, 665_921),
        ({"layers": 20, "channels": 3, "batch_norm": False}, 668_227),
    ],
)
def test_sizes_of_dncnn_are_the_published_ones(options, count):
    assert numbers(build("dncnn", options)) == count
    kernels = [p for p in DnCNN(DnCNNConfig()).parameters() if p.dim() == 4]
    assert sum(kernel.numel() for kernel in kernels) == 554_112


def test_sizes_of_ffdnet_are_the_published_ones():
    assert numbers(build("ffdnet", {})) == 485_316
    assert numbers(build("ffdnet", {"channels": 3, "layers": 12, "width": 96})) == 852_108


def convolve(image: torch.Tensor, layer: nn.Conv2d) -> torch.Tensor:
    """A sum over the nine places of a kernel, padded with zeros by hand."""
    height, width = image.shape[-2:]
    padded = image.new_zeros(*image.shape[:2], height + 2, width + 2)
    padded[..., 1:-1, 1:-1] = image
    total = image.new_zeros(len(image), layer.out_channels, height, width)
    for row in range(3):
        for column in range(3):
            seen = padded[..., row : row + height, column : column + width]
            total += torch.einsum("oi,bihw->bohw", layer.weight[..., row, column], seen)
    return total if layer.bias is None else total + layer.bias[:, None, None]


@torch.no_grad()
def test_dncnn_takes_away_what_its_layers_find():
    model = shaken(DnCNN(DnCNNConfig(layers=4, width=3))).eval()
    noisy = draw(2, 1, 6, 7)
    features = convolve(noisy, model.first).clamp(min=0)
    for layer, norm in zip(model.middle, model.norms, strict=True):
        found = convolve(features, layer)
        mean, variance = norm.running_mean[:, None, None], norm.running_var[:, None, None]
        normed = (found - mean) / (variance + 1e-4).sqrt()
        features = (normed * norm.weight[:, None, None] + norm.bias[:, None, None]).clamp(min=0)
    torch.testing.assert_close(model(noisy), noisy - convolve(features, model.last))


@torch.no_grad()
def test_ffdnet_works_on_squares_of_four_pixels_beside_their_noise():
    model = shaken(FFDNet(FFDNetConfig(channels=3, layers=4, width=5))).eval()
    noisy, sigma = draw(2, 3, 6, 8), draw(2, 1, 6, 8, seed=2)
    squares = torch.stack(
        [
            noisy[:, colour, row::2, column::2]
            for colour in range(3)
            for row in range(2)
            for column in range(2)
        ],
        dim=1,
    )
    level = F.avg_pool2d(sigma, 2)
    features = convolve(torch.cat([squares, level], dim=1), model.first).clamp(min=0)
    for layer in model.middle:
        features = convolve(features, layer).clamp(min=0)
    found = convolve(features, model.last)
    expected = torch.empty_like(noisy)
    for index in range(12):
        colour, row, column = index // 4, index // 2 % 2, index % 2
        expected[:, colour, row::2, column::2] = found[:, index]
    torch.testing.assert_close(model(noisy, sigma), expected)
    one = torch.tensor([0.1, 0.3], dtype=torch.float64)
    everywhere = one[:, None, None, None].expand(2, 1, 6, 8)
    torch.testing.assert_close(model(noisy, one), model(noisy, everywhere))


@torch.no_grad()
@pytest.mark.parametrize("sizes", [{}, {"channels": 3, "layers": 12, "width": 96}])
def test_ffdnet_starts_as_a_copy_of_the_picture(sizes: dict[str, int]):
    picture = sample("camera")[..., 100:164, 100:164].expand(1, sizes.get("channels", 1), 64, 64)
    start = build("ffdnet", sizes).eval()
    found = start(picture, torch.tensor([25 / 255]))
    assert psnr(found, picture) > 22  # kernels that are all random: 1 dB
    spoilt = 1 - picture
    assert psnr(start(spoilt, torch.tensor([25 / 255])), spoilt) > 22


@torch.no_grad()
def test_an_odd_side_is_continued_by_its_last_line():
    model = shaken(FFDNet(FFDNetConfig(layers=4, width=5))).eval()
    noisy, sigma = draw(1, 1, 7, 9), torch.tensor([0.1])
    longer = torch.cat([noisy, noisy[..., -1:]], dim=-1)
    longer = torch.cat([longer, longer[..., -1:, :]], dim=-2)
    torch.testing.assert_close(model(noisy, sigma), model(longer, sigma)[..., :7, :9])


@pytest.mark.parametrize("options", [{}, {"batch_norm": False}])
@torch.no_grad()
def test_folded_normalisation_changes_nothing(options):
    model = build("dncnn", {"layers": 6, "width": 8} | options).eval()
    if not options:
        model.train()
        for seed in range(20):  # statistics that differ from 0 and 1
            model(draw(4, 1, 20, 20, seed=seed).float())
        model.eval()
    for parameter in model.parameters():
        parameter += 0.1 * torch.rand(parameter.shape, generator=torch.Generator().manual_seed(3))
    model.sigma = 0.1
    folded, noisy = model.fold(), draw(2, 1, 31, 32).float()
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    assert folded.sigma == 0.1
    expected = model(noisy)
    torch.testing.assert_close(folded(noisy), expected, rtol=0, atol=1e-5 * expected.abs().max())


def test_the_same_network_starts_with_the_same_weights():
    torch.manual_seed(1)
    first = DnCNN(DnCNNConfig(layers=4))
    torch.manual_seed(2)
    second = DnCNN(DnCNNConfig(layers=4))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["dncnn", "ffdnet"])
@pytest.mark.parametrize(
    "options", [{"layers": 2}, {"width": 0}, {"channels": 0}, {"loudest_255": -1.0}]
)
def test_impossible_sizes_are_refused(name, options):
    with pytest.raises(ValueError, match="no such"):
        build(name, options)


def test_a_network_starts_from_no_dictionary():
    with pytest.raises(ValueError, match="no dictionary"):
        build("dncnn", {}, torch.rand(81, 256))
