"""CBDNet and the class-aware network against their layers written out."""

import pytest
import torch
import torch.nn.functional as F

from lessons_lib.models import build, restore

SMALL = {"cbdnet": {"width": 4, "estimator": 3}, "class-aware": {"layers": 5, "width": 8}}


def draw(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def shaken(name, **options):
    """In float64, every weight moved."""
    model = build(name, SMALL[name] | options).double().eval().requires_grad_(False)
    for number, weight in enumerate(model.parameters()):
        weight += 0.1 * draw(*weight.shape, seed=number) - 0.03
    return model


@pytest.mark.parametrize(("name", "count"), [("cbdnet", 4_365_382), ("class-aware", 655_544)])
def test_sizes(name, count):
    assert sum(weight.numel() for weight in build(name, {}).parameters()) == count


def test_cbdnet_is_an_estimator_and_a_u_net():
    model, noisy = shaken("cbdnet"), draw(2, 3, 8, 12).double()
    weights = list(model.state_dict().values())
    pairs = iter(zip(weights[::2], weights[1::2], strict=True))  # in the order in which they act

    def layers(features, count):
        for _ in range(count):
            features = F.conv2d(features, *next(pairs), padding=1).clamp(min=0)
        return features

    def halved(image):
        corners = [image[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]
        return sum(corners) / 4

    def doubled(image):
        kernel, bias = next(pairs)
        larger = torch.einsum("bihw,ioyx->bohywx", image, kernel).flatten(4).flatten(2, 3)
        return larger + bias[:, None, None]

    noise = layers(noisy, 5)
    full = layers(torch.cat([noisy, noise], dim=1), 2)
    half = layers(halved(full), 3)
    quarter = layers(halved(half), 6)
    half = layers(half + doubled(quarter), 3)
    full = layers(full + doubled(half), 2)
    torch.testing.assert_close(model(noisy), noisy + F.conv2d(full, *next(pairs)))
    torch.testing.assert_close(model.estimate_noise(noisy), noise)
    torch.testing.assert_close(model(noisy, with_noise=True), (model(noisy), noise))


def test_class_aware_adds_what_each_layer_says():
    model, noisy = shaken("class-aware"), draw(2, 1, 6, 9).double()
    mirror = torch.cat([noisy.flip(-1)[..., -5:], noisy, noisy.flip(-1)[..., :5]], dim=-1)
    mirror = torch.cat([mirror.flip(-2)[..., -5:, :], mirror, mirror.flip(-2)[..., :5, :]], dim=-2)
    features, estimate, images = mirror - 0.5, noisy, []
    for number in range(5):
        # Without padding: each layer eats a line on each side.
        made = F.conv2d(features, model.layers[number].weight, model.layers[number].bias)
        inside = slice(4 - number, -(4 - number) or None)
        estimate = estimate + made[:, :1, inside, inside] / 10
        images.append(estimate)
        features = made[:, 1:] if number >= 3 else made[:, 1:].clamp(min=0)
    torch.testing.assert_close(model(noisy), estimate)
    torch.testing.assert_close(model.gradual(noisy), images)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (33, 200), (301, 203)])
def test_windows_equal_the_whole_image_at_odd_sizes(name, shape):
    model = build(name, SMALL[name] | {"channels": 3}).eval()
    image = draw(1, 3, *shape)
    with torch.no_grad():
        expected = model(image)
    for memory in (1.0, 2e6, None):
        found = restore(model, image, memory=memory, precision="fp32")
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-6 * expected.abs().max())


@pytest.mark.parametrize("name", SMALL)
def test_the_same_network_starts_with_the_same_weights(name):
    for one, other in zip(*(build(name, SMALL[name]).parameters() for _ in "ab"), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "options"),
    [("cbdnet", {"width": 0}), ("class-aware", {"layers": 1}), ("class-aware", {"width": 1})],
)
def test_impossible_sizes_are_refused(name, options):
    with pytest.raises(ValueError, match="no such"):
        build(name, options)
