"""The fast form of a model gives what its readable form gives."""

import pytest
import torch

from lessons_lib import data
from lessons_lib.checkpoints import load_model
from lessons_lib.degradations import GaussianNoise
from lessons_lib.metrics import psnr
from lessons_lib.models import GroupSC, build, fast, restore
from lessons_lib.models.restore import resolve_precision

SMALL = {"patch": 5, "atoms": 20, "steps": 7, "threshold": 0.05}
NON_LOCAL = SMALL | {"refresh": 2, "window": 9}
CASES = [
    ("sc", SMALL),
    ("sc", SMALL | {"channels": 3}),
    *((name, NON_LOCAL | options)
      for name in ("groupsc", "csr")
      for options in (
          {},
          {"channels": 3},
          {"window": 51},
          {"refresh": 0},
          {"compare": "raw"},
          {"middle_averaging": False},
          {"averaging": "per-refresh"},
          {"variance_reduction": True},
      )),
]  # fmt: skip


def perturbed(name, options):
    """A model none of whose weights are what they are at first."""
    model = build(name, options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.03 * torch.randn(weight.shape, generator=generator)
    return model


@pytest.mark.parametrize(("name", "options"), CASES)
def test_in_float32_it_is_the_reference(name, options):
    model = perturbed(name, options)
    noisy = torch.rand(2, model.config.channels, 23, 17, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = model(noisy)
    found = fast.estimate(model, noisy, torch.float32)
    assert (found - wanted).abs().max() < 2e-5
    assert not found.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["sc", "groupsc", "csr"])
def test_an_image_without_contrast_has_no_codes_to_divide_by(name, dtype):
    model = perturbed(name, SMALL if name == "sc" else NON_LOCAL)
    with torch.no_grad():
        model.raw_thresholds[:, ::2] = 0
    flat = torch.full((1, 1, 12, 11), 0.5)
    torch.testing.assert_close(fast.estimate(model, flat, dtype), flat)


@pytest.mark.parametrize("name", ["sc-gray-25", "groupsc-gray-25"])
def test_trained_weights_on_a_photograph(name):
    model = load_model(name)
    clean = data.sample("brick")[..., 100:132, 100:136]
    noisy = GaussianNoise(25 / 255)(clean, "brick")
    reference = restore(model, noisy, precision="reference")
    single, half = (restore(model, noisy, precision=precision) for precision in ("fp32", "bf16"))
    assert (single - reference).abs().max() < 1e-4
    assert 0 < (half - reference).abs().max() <= 2 / 255
    assert abs(psnr(half, clean) - psnr(reference, clean)) < 0.01


def test_neighbours_bring_back_the_whole_window_as_they_grow():
    model = perturbed("groupsc", NON_LOCAL)
    noisy = torch.rand(2, 1, 23, 17, generator=torch.Generator().manual_seed(0))
    whole = fast.estimate(model, noisy, torch.float32)
    errors = [
        (fast.estimate(model, noisy, torch.float32, k) - whole).abs().max() for k in (1, 20, 9 * 9)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-5
    local = build("sc", SMALL)
    for other, precision in ((local, "fp32"), (model, "reference")):
        with pytest.raises(ValueError, match="neighbours"):
            restore(other, noisy, precision=precision, neighbours=4)


def test_precision_is_chosen_by_model_and_device(monkeypatch):
    model = build("groupsc", NON_LOCAL)
    for dtype, name in ((torch.bfloat16, "bf16"), (torch.float32, "fp32")):
        monkeypatch.setattr(fast, "fastest_dtype", lambda device, dtype=dtype: dtype)
        assert resolve_precision(model, "auto") == name
    assert resolve_precision(model, "reference") == "reference"
    assert resolve_precision(build("lista", SMALL), "bf16") == "reference"
    assert resolve_precision(model.double(), "auto") == "reference"

    class Changed(GroupSC):
        """Might compute anything."""

    assert resolve_precision(Changed(model.config), "fp32") == "reference"
    with pytest.raises(ValueError, match="precision is auto"):
        resolve_precision(model, "fp16")
