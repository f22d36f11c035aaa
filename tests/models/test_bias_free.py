"""The bias-free network: what it computes, and what having no constants brings."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from lessons_lib.models import build, restore

SMALL = {"layers": 5, "width": 6}


def trained(options=SMALL):
    """Random weights, gains and running variances, in float64."""
    model = build("bias-free", options).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.dim() == 1:
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return model.eval().requires_grad_(False)


def image(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def test_parameter_count():
    model = build("bias-free", {})
    assert sum(weight.numel() for weight in model.parameters()) == 665_856
    assert not [name for name, _ in model.named_parameters() if "bias" in name]


def test_forward_is_the_papers_formula():
    model, noisy = trained(), image(1, 1, 8, 9)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}

    def layer(features, kernels):
        return np.stack(
            [
                sum(correlate(f, k, mode="constant") for f, k in zip(features, kernel, strict=True))
                for kernel in kernels
            ]
        )

    features = np.maximum(layer(noisy[0].numpy(), weights["first.weight"]), 0)
    for k in range(3):
        features = layer(features, weights[f"middle.{k}.weight"])
        spread = np.sqrt(weights[f"norms.{k}.running_var"]) + 1e-5
        gain = weights[f"norms.{k}.gain"] / spread
        features = np.maximum(gain[:, None, None] * features, 0)
    wanted = noisy[0].numpy() - layer(features, weights["last.weight"])
    assert model(noisy)[0].numpy() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("factor", [1e-3, 0.4, 7.0])
def test_a_brighter_image_has_the_same_estimate_brighter(factor):
    model, noisy = trained(), image(2, 1, 12, 9)
    torch.testing.assert_close(model(factor * noisy), factor * model(noisy), rtol=1e-9, atol=0)


def test_being_told_of_louder_noise_changes_nothing():
    model, noisy = trained(SMALL | {"loudest_255": 10.0}), image(1, 1, 20, 16)
    told = restore(model, noisy, 50 / 255)
    torch.testing.assert_close(told, restore(model, noisy, 5 / 255))


def test_training_scales_each_channel_to_its_gain():
    norm = build("bias-free", SMALL).norms[0].double().train()
    with torch.no_grad():
        norm.gain.copy_(torch.arange(1.0, 7.0))
    features = 3 + 2 * image(4, 6, 11, 13)
    scaled = norm(features)
    torch.testing.assert_close(scaled.std(dim=(0, 2, 3)), norm.gain.detach(), rtol=1e-4, atol=0)
    # No mean is taken away.
    ratio = scaled / features
    torch.testing.assert_close(ratio, ratio[:1, :, :1, :1].expand_as(ratio))
    seen = features.var(dim=(0, 2, 3))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * seen)


def test_gradients_are_finite_where_nothing_is_seen():
    model = build("bias-free", SMALL).train()
    model(torch.zeros(1, 1, 8, 8)).square().sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())


@pytest.mark.parametrize("options", [{"layers": 2}, {"width": 0}, {"loudest_255": -1.0}])
def test_bad_sizes_are_refused(options):
    with pytest.raises(ValueError, match="no such bias-free network"):
        build("bias-free", options)


def test_folded_normalisation_changes_nothing():
    model, noisy = trained(), image(2, 1, 12, 9)
    model.sigma = 0.1
    folded = model.fold()
    assert sum(weight.numel() for weight in folded.parameters()) == 9 * (6 + 3 * 36 + 6)
    assert folded.sigma == 0.1
    torch.testing.assert_close(folded(noisy), model(noisy), rtol=1e-9, atol=1e-12)
    assert folded.for_inference() is folded


@pytest.mark.parametrize("name", ["bias-free", "dncnn"])
def test_photographs_are_restored_by_the_folded_network(name):
    model = build(name, SMALL).train()
    with torch.no_grad():
        for seed in range(20):  # statistics that differ from 0 and 1
            model(image(4, 1, 20, 20, seed=seed).float())
    model.eval()
    whole = image(1, 1, 30, 41).float()
    calls = []
    for layer in model.modules():
        layer.register_forward_hook(lambda *_: calls.append(1))
    found = restore(model, whole, precision="fp32")
    assert not calls  # not one of its own layers was used
    torch.testing.assert_close(found, restore(model, whole, precision="reference"))
    assert calls


def test_a_network_in_training_is_not_folded():
    for name in ("bias-free", "dncnn"):
        model = build(name, SMALL).train()
        assert model.for_inference() is model
