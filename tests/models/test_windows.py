"""Convolutional networks on photographs: windows with a halo equal the whole image."""

import pytest
import torch
from torch import nn

from lessons_lib.models import build, restore
from lessons_lib.models.convolutional import ConvolutionalModel
from lessons_lib.models.windows import LEAST, HaloWindows

NETS = {
    "dncnn": {"layers": 5, "width": 8},
    "ffdnet": {"layers": 4, "width": 8},
}


def draw(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def whole(model, image, sigma=0.1):
    told = {"sigma": torch.full((len(image),), sigma)} if "sigma" in model.told else {}
    with torch.no_grad():
        return model(image, **told)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("precision", ["reference", "fp32"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (33, 200), (301, 203), (150, 97)])
def test_windows_equal_the_whole_image_at_odd_sizes(name, precision, shape):
    model = build(name, NETS[name] | {"channels": 3}).eval()
    image = draw(2, 3, *shape)
    told = 0.1 if name == "ffdnet" else None
    expected = whole(model, image)
    for memory in (1.0, 2e6, None):
        estimate = restore(model, image, told, memory=memory, precision=precision)
        torch.testing.assert_close(estimate, expected, rtol=0, atol=1e-6 * expected.abs().max())


@pytest.mark.parametrize("name", NETS)
def test_the_halo_is_the_receptive_field_and_not_less(name):
    """One pixel depends on pixels as far as the halo, and on none beyond."""
    model = build(name, NETS[name]).eval()
    halo = model.application.halo
    image = draw(1, 1, 4 * halo + 2, 4 * halo + 2).requires_grad_()
    told = {"sigma": torch.full((1,), 0.1)} if name == "ffdnet" else {}
    middle = 2 * halo  # even, as the squares of FFDNet begin
    model(image, **told)[0, 0, middle : middle + 2, middle : middle + 2].sum().backward()
    rows = image.grad[0, 0].abs().sum(dim=1).nonzero()
    assert middle - rows.min() <= halo
    assert rows.max() - (middle + 1) <= halo
    assert middle - rows.min() > halo - 3


def test_what_is_told_of_each_pixel_is_cut_as_the_image_is():
    model = build("ffdnet", NETS["ffdnet"]).eval()
    image, noise = draw(1, 1, 301, 90), 0.2 * draw(1, 1, 301, 90)
    with torch.no_grad():
        expected = model(image, noise)
    estimate = restore(model, image, noise, memory=1.0, precision="reference")
    torch.testing.assert_close(estimate, expected, rtol=0, atol=1e-5)
    flat = restore(model, image, 0.1 * torch.ones(1, 1, 301, 90))
    torch.testing.assert_close(flat, restore(model, image, 0.1), rtol=0, atol=1e-5)


class Doubled(ConvolutionalModel):
    """Each pixel becomes four: a network whose estimate is larger than its image."""

    scale = 2
    width = 4
    application = HaloWindows(halo=1)

    def __init__(self) -> None:
        super().__init__()
        self.config = type("Config", (), {"channels": 1})()
        self.layer = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, image):
        return nn.functional.pixel_shuffle(self.layer(image), 2)


def test_estimates_may_be_larger_than_the_image():
    model, image = Doubled(), draw(1, 1, 205, 33)
    with torch.no_grad():
        expected = model(image)
    shares: list[float] = []
    estimate = restore(model, image, memory=1.0, progress=shares.append)
    assert estimate.shape == (1, 1, 410, 66)
    torch.testing.assert_close(estimate, expected, rtol=0, atol=1e-6)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(shares) == -(-205 // LEAST)


def test_what_means_nothing_to_a_network_is_refused():
    model, image = build("dncnn", NETS["dncnn"]).eval(), draw(1, 1, 20, 20)
    for options, says in (
        ({"tile": 56}, "no tile"),
        ({"overlap": 4}, "no overlap"),
        ({"neighbours": 9}, "neighbours"),
        ({"mask": torch.ones(1, 1, 20, 20)}, "no mask"),
        ({"sigma": 0.1 * torch.ones(1, 1, 20, 20)}, "not a map"),
        ({"sigma": 0.1}, "set its sigma"),
    ):
        with pytest.raises(ValueError, match=says):
            restore(model, image, **options)
    with pytest.raises(ValueError, match="expected"):
        restore(model, draw(1, 3, 20, 20))


def test_a_network_that_is_told_nothing_takes_an_image_too_small_to_be_judged():
    model = build("dncnn", NETS["dncnn"] | {"loudest_255": 55.0}).eval()
    image = draw(1, 1, 5, 7)
    estimate = restore(model, image, precision="reference")
    torch.testing.assert_close(estimate, whole(model, image), rtol=0, atol=1e-6)


def test_louder_images_are_made_darker():
    """Beyond what a network of many levels is for, the image is scaled and the estimate back."""
    model = build("ffdnet", NETS["ffdnet"]).eval()
    image, loudest = draw(1, 1, 30, 31), 75 / 255
    estimate = restore(model, image, 4 * loudest)
    torch.testing.assert_close(estimate, 4 * restore(model, image / 4, loudest), rtol=0, atol=1e-5)
