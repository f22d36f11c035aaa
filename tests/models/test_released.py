"""Released checkpoints against their authors' formulas, in numpy, one patch at a time."""

import numpy as np
import pytest
import torch
from torch import Tensor

from lessons_lib.models import restore
from lessons_lib.models.released import from_published

STEPS, ATOMS = 8, 12


def layout(entries: int, *, group: bool, signed: bool = True) -> dict[str, Tensor]:
    """Random weights, named and shaped as in a released checkpoint."""
    generator = torch.Generator().manual_seed(entries)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    weights = {
        "apply_A.weight": 0.2 * draw(ATOMS, entries, 1, 1),
        "apply_D.weight": 0.2 * draw(entries, ATOMS, 1, 1),
        "apply_W.weight": 0.2 * draw(entries, ATOMS, 1, 1),
    }
    for k in range(STEPS):
        threshold = 0.05 * draw(1, ATOMS, 1, 1)
        weights[f"lmbda.{k}"] = threshold if signed else threshold.abs()
    if group:
        weights["std.0"] = 1 + 0.3 * draw(1, entries, 1, 1)
        weights["nu.0"] = draw(1)
        weights["simLayer.0.mask"] = torch.zeros(1, 4, 4)
    return weights


def as_published(weights: dict[str, Tensor], image: np.ndarray, patch: int) -> np.ndarray:
    """What the released forward pass computes for one ``(C, H, W)`` image, period 6."""
    w = {name: tensor.double().numpy() for name, tensor in weights.items()}
    A, D, W = (w[f"apply_{letter}.weight"][:, :, 0, 0] for letter in "ADW")
    channels, height, width = image.shape
    places = [(r, c) for r in range(height - patch + 1) for c in range(width - patch + 1)]
    reach = 24 if channels == 1 else 25

    def cut(picture: np.ndarray) -> np.ndarray:
        return np.stack([picture[:, r : r + patch, c : c + patch].ravel() for r, c in places])

    def fold(patches: np.ndarray) -> np.ndarray:
        total, count = np.zeros_like(image), np.zeros_like(image)
        for (r, c), row in zip(places, patches, strict=True):
            total[:, r : r + patch, c : c + patch] += row.reshape(channels, patch, patch)
            count[:, r : r + patch, c : c + patch] += 1
        return total / count

    def similarity(patches: np.ndarray) -> np.ndarray:
        scaled = patches * w["std.0"].ravel()
        table = np.zeros((len(places), len(places)))
        for i, (ri, ci) in enumerate(places):  # i is the patch in the middle of the window
            for j, (rj, cj) in enumerate(places):
                if -reach <= rj - ri < reach and -reach <= cj - ci < reach:
                    table[i, j] = np.exp(-np.sum((scaled[i] - scaled[j]) ** 2))
        return table

    def shrink(z: np.ndarray, k: int) -> np.ndarray:
        threshold = w[f"lmbda.{k}"].ravel()
        if sigma is None:
            return np.maximum(z - threshold, 0) - np.maximum(-z - threshold, 0)
        group = np.sqrt(sigma @ z**2 + 1e-8)
        size = np.sqrt(sigma.sum(axis=1, keepdims=True) + 1e-12)
        return np.maximum(1 - threshold * size / group, 0) * z

    patches = cut(image)
    mean = patches.mean(axis=1, keepdims=True)
    y = patches - mean
    sigma = similarity(y) if "std.0" in w else None
    z = shrink(y @ A.T, 0)
    for k in range(STEPS - 1):
        if sigma is not None and k and k % 6 == 0:
            nu = 1 / (1 + np.exp(-w["nu.0"][0]))
            middle = cut(fold(z @ W.T + mean)) - mean
            sigma = (1 - nu) * sigma + nu * similarity(middle)
        z = shrink(z + (y - z @ D.T) @ A.T, k + 1)
        if "nu_var" in w and k % 3 == 0:
            y = (1 - w["nu_var"]) * y + w["nu_var"] * cut(fold(z @ W.T))
    return fold(z @ W.T + mean)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "non-negative"])
@pytest.mark.parametrize("group", [True, False], ids=["groupsc", "sc"])
@pytest.mark.parametrize(("channels", "patch", "shape"), [(1, 3, (9, 30)), (3, 2, (30, 6))])
def test_computes_what_the_released_code_computes(channels, patch, shape, group, signed):
    weights = layout(channels * patch**2, group=group, signed=signed)
    image = torch.rand(1, channels, *shape, generator=torch.Generator().manual_seed(3))
    expected = as_published(weights, image[0].double().numpy(), patch)
    model = from_published(weights).double()
    found = model(image.double())[0].detach().numpy()
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("amount", [0.3, -0.2])
def test_variance_reduction_is_that_of_the_released_code(amount):
    plain = layout(9, group=True)
    weights = plain | {"nu_var": torch.tensor([amount])}
    image = torch.rand(1, 1, 11, 12, generator=torch.Generator().manual_seed(3))
    model = from_published(weights).double()
    found = model(image.double())[0].detach().numpy()
    assert found == pytest.approx(as_published(weights, image[0].double().numpy(), 3), abs=1e-9)
    without = from_published(plain).double()
    assert np.abs(found - without(image.double())[0].detach().numpy()).max() > 1e-3
    counts = [sum(p.numel() for p in each.parameters()) for each in (model, without)]
    assert counts[0] == counts[1] + 1


def test_weights_that_the_released_code_never_uses_are_ignored():
    weights, image = layout(9, group=True), torch.rand(1, 1, 9, 9)
    more = weights | {"std_g.0": torch.ones(1, ATOMS, 1, 1)}
    with pytest.warns(UserWarning, match="std_g is ignored"):
        model = from_published(more)
    assert torch.equal(model(image), from_published(weights)(image))


def test_the_window_reaches_further_up_than_down():
    model = from_published(layout(1, group=True))
    line = torch.arange(60.0).reshape(1, 1, 1, 60)
    near = model.similarities(torch.zeros(1, 1, 60), line)[0]
    assert near[:, 30].nonzero().flatten().tolist() == list(range(6, 54))


def test_restores_an_image_of_any_size_by_tiles():
    model = from_published(layout(9, group=True, signed=False))
    noisy = torch.rand(1, 1, 40, 70)
    assert restore(model, noisy, tile=24).shape == noisy.shape


def test_names_of_parallel_training_and_a_single_threshold():
    weights = layout(9, group=False)
    image = torch.rand(1, 1, 8, 8)
    expected = from_published(weights)(image)
    parallel = {f"module.{name}": tensor for name, tensor in weights.items()}
    assert torch.equal(from_published(parallel)(image), expected)
    one = {name: tensor for name, tensor in weights.items() if "lmbda" not in name}
    one["lmbda"] = weights["lmbda.0"]
    assert len(from_published(one).thresholds) == 24


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"apply_A.weight": None}, "apply_A"),
        ({"apply_W.weight": torch.zeros(16, ATOMS, 1, 1)}, "do not fit"),
        ({"lmbda.3": torch.zeros(1, 5, 1, 1)}, "do not fit"),
        ({"lmbda.0": None}, "not supported: lmbda.1"),
        ({"gamma.0": torch.ones(1, ATOMS, 1, 1)}, "variant"),
        ({"nu_var": torch.ones(2)}, "nu"),
        ({"nu_var": torch.ones(1), "std.0": None, "nu.0": None}, "variance reduction without"),
        ({"std.0": torch.ones(1, 5, 1, 1)}, "kappa"),
        ({"std.1": torch.ones(1, 9, 1, 1)}, "kappas"),
    ],
)
def test_refuses_other_layouts(change, message):
    weights = layout(9, group=True) | change
    with pytest.raises(ValueError, match=message):
        from_published({name: tensor for name, tensor in weights.items() if tensor is not None})


def test_refuses_patches_of_no_known_shape():
    with pytest.raises(ValueError, match="neither gray nor RGB"):
        from_published(layout(10, group=False))
