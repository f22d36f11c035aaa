"""Restoring photographs tile by tile."""

import pytest
import torch
import torch.nn.functional as F

from lessons_lib import data
from lessons_lib.checkpoints import load_model
from lessons_lib.degradations import GaussianNoise
from lessons_lib.metrics import psnr
from lessons_lib.models import build, restore
from lessons_lib.models.restorer import Restorer
from lessons_lib.models.tiles import mirrored
from lessons_lib.models.windows import HaloWindows

LOCAL = {"patch": 5, "atoms": 20, "steps": 3}
NON_LOCAL = LOCAL | {"refresh": 1, "window": 9}


def draw(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_tiles_of_a_local_model_make_the_whole():
    """Where tiles of 20 fit exactly, each patch is coded once, and nothing tells them apart."""
    model = build("sc", LOCAL)
    noisy = draw(2, 1, 28, 44)  # mirrored: 36 × 52
    tiled = restore(model, noisy, tile=20, overlap=4, precision="fp32")
    whole = restore(model, noisy, tile=100, precision="fp32")
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-6)


def test_inside_it_is_the_model_itself():
    model = build("sc", LOCAL)
    noisy = draw(1, 1, 30, 41)
    inside = (..., slice(4, -4), slice(4, -4))
    with torch.no_grad():
        direct = model(noisy)
    restored = restore(model, noisy, precision="fp32")
    torch.testing.assert_close(restored[inside], direct[inside], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["lista", "sc", "groupsc", "csr"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (33, 7), (41, 58)])
def test_any_size(name, shape):
    model = build(name, (NON_LOCAL if name in ("groupsc", "csr") else LOCAL) | {"channels": 3})
    noisy = draw(2, 3, *shape)
    shares: list[float] = []
    estimate = restore(model, noisy, tile=24, progress=shares.append)
    assert estimate.shape == noisy.shape
    assert torch.isfinite(estimate).all()
    assert shares[-1] == 1
    assert shares == sorted(shares)


@pytest.mark.parametrize("name", ["sc", "groupsc"])
def test_memory_changes_nothing_but_memory(name):
    model = build(name, NON_LOCAL if name == "groupsc" else LOCAL)
    noisy = draw(1, 1, 37, 29)
    for memory in (1.0, 3e6):
        torch.testing.assert_close(
            restore(model, noisy, tile=16, memory=memory, precision="fp32"),
            restore(model, noisy, tile=16, precision="fp32"),
            rtol=0,
            atol=1e-6,
        )


@pytest.mark.parametrize("length", [1, 3, 4, 5, 9, 30])
def test_borders_are_mirrored_where_they_can_be(length):
    line = torch.arange(float(length))
    mode = "reflect" if length > 4 else "replicate"
    wanted = F.pad(line[None, None], (4, 4), mode=mode)[0, 0]
    assert line[mirrored(length, 4, line.device)].equal(wanted)


def test_it_needs_no_gradients():
    assert not restore(build("sc", LOCAL), draw(1, 1, 9, 9)).requires_grad


def test_another_noise_level_is_the_same_problem_at_another_scale():
    model = build("groupsc", NON_LOCAL)
    noisy = draw(1, 1, 25, 25)
    model.sigma = 0.1
    torch.testing.assert_close(restore(model, noisy, 0.1), restore(model, noisy), rtol=0, atol=0)
    scaled = restore(model, noisy * 2, precision="fp32") / 2
    told = restore(model, noisy, 0.05, precision="fp32")
    torch.testing.assert_close(told, scaled, rtol=0, atol=1e-6)


def test_a_level_that_is_not_known_cannot_be_scaled_to():
    with pytest.raises(ValueError, match="not known"):
        restore(build("sc", LOCAL), draw(1, 1, 9, 9), 0.1)


@pytest.mark.parametrize("sigma_255", [10, 50])
def test_weights_for_one_level_serve_others(sigma_255):
    clean = data.sample("camera", size=96)
    noisy = GaussianNoise(sigma_255 / 255)(clean)
    model = load_model("sc-gray-25")
    told, untold = restore(model, noisy, sigma_255 / 255), restore(model, noisy)
    assert psnr(told, clean) > max(psnr(untold, clean), psnr(noisy, clean)) + 1


class Tilted(Restorer):
    """Adds what it is told, and a ramp that no view but one shows upright."""

    told = ("mask",)
    application = HaloWindows(halo=0)

    def __init__(self) -> None:
        super().__init__()
        self.config = type("Config", (), {"channels": 1})()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def bytes_for(self, shape, precision):
        return 1

    def forward(self, degraded, mask):
        return degraded + mask + torch.linspace(0, 1, degraded.shape[-1])


def test_eight_views_are_averaged_and_what_is_told_turns_along():
    image, mask = torch.rand(1, 1, 6, 9), torch.rand(1, 1, 6, 9)
    shares = []
    found = restore(Tilted(), image, mask=mask, multi_view=True, progress=shares.append)
    # A ramp along each axis, and its mirror image, have a constant mean.
    torch.testing.assert_close(found, image + mask + 0.5)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    once = restore(Tilted(), image, mask=mask)
    torch.testing.assert_close(once, image + mask + torch.linspace(0, 1, 9))


def test_a_network_that_sees_no_directions_gains_nothing_from_views():
    model = build("dncnn", {"layers": 3, "width": 4}).eval()
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.copy_(
                    layer.weight.mean(dim=(2, 3), keepdim=True).expand_as(layer.weight)
                )
    image = torch.rand(2, 1, 20, 17)
    torch.testing.assert_close(restore(model, image, multi_view=True), restore(model, image))


def test_a_model_in_training_is_applied_as_when_it_is_not_and_left_alone():
    model = build("dncnn", {"layers": 4, "width": 6})
    model.middle[0].eval()  # as somebody who trains the rest would have it
    image = draw(1, 1, 30, 20)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [layer.training for layer in model.modules()]
    restored = restore(model, image, precision="reference")
    assert [layer.training for layer in model.modules()] == modes
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    model.eval()
    assert torch.equal(restored, restore(model, image, precision="reference"))
    torch.testing.assert_close(restored, restore(model, image, memory=1.0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["dncnn", "ffdnet"])
def test_noise_is_taken_as_a_number_in_any_form(name):
    model = build(name, {"layers": 3, "width": 8}).eval()
    model.sigma = 0.2
    images = draw(2, 1, 12, 10)
    wanted = restore(model, images, 0.1)
    for sigma in (
        torch.tensor(0.1),
        torch.tensor([0.1]),
        torch.tensor([0.1, 0.1]),
        torch.tensor([0.1, 0.1], dtype=torch.float64),
    ):
        torch.testing.assert_close(restore(model, images, sigma), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "sigma",
    [
        0.0,
        -0.1,
        float("nan"),
        float("inf"),
        torch.tensor([0.1, 0.0]),
        torch.tensor([0.1, 0.1, 0.1]),
        torch.full((2, 1, 12, 10), 0.1),
    ],
    ids=str,
)
def test_what_is_no_noise_of_the_images_is_refused(sigma):
    model = build("dncnn", {"layers": 3, "width": 8}).eval()
    model.sigma = 0.2
    with pytest.raises(ValueError, match="noise"):
        restore(model, draw(2, 1, 12, 10), sigma)


@pytest.mark.parametrize(
    "sigma",
    [
        -0.1,
        torch.full((1, 1, 12, 9), 0.1),
        torch.full((2, 2, 12, 10), 0.1),
        torch.full((1, 1, 12, 10), -0.1),
    ],
    ids=["negative", "narrower", "of two channels", "negative map"],
)
def test_a_map_of_the_noise_fits_the_images(sigma):
    model = build("ffdnet", {"layers": 3, "width": 8}).eval()
    with pytest.raises(ValueError, match="noise"):
        restore(model, draw(2, 1, 12, 10), sigma)


def test_a_mask_fits_the_images():
    model = build("sc", LOCAL)
    with pytest.raises(ValueError, match="mask"):
        restore(model, draw(1, 1, 12, 12), mask=torch.ones(1, 1, 20, 20))
