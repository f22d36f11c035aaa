"""YCbCr against scikit-image, which follows the same recommendation."""

import numpy as np
import pytest
import torch
from skimage import color
from skimage import data as photographs

from lessons_lib.ops.colour import rgb_to_luma, rgb_to_ycbcr, ycbcr_to_rgb


@pytest.fixture
def rgb() -> torch.Tensor:
    return torch.from_numpy(photographs.astronaut()[::4, ::4]).permute(2, 0, 1).double() / 255


def test_ycbcr_equals_scikit_image(rgb):
    expected = color.rgb2ycbcr(rgb.permute(1, 2, 0).numpy()) / 255
    assert np.allclose(rgb_to_ycbcr(rgb).permute(1, 2, 0), expected, atol=1e-9)


def test_luma_is_the_first_channel(rgb):
    assert torch.allclose(rgb_to_luma(rgb), rgb_to_ycbcr(rgb)[:1])


def test_conversion_inverts(rgb):
    assert torch.allclose(ycbcr_to_rgb(rgb_to_ycbcr(rgb)), rgb, atol=1e-12)


def test_studio_range_ends_at_16_and_235():
    assert float(rgb_to_luma(torch.zeros(3, 1, 1)) * 255) == pytest.approx(16)
    assert float(rgb_to_luma(torch.ones(3, 1, 1)) * 255) == pytest.approx(235, abs=1e-3)


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4), (4, 4, 3)])
def test_other_channel_numbers_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 3, H, W\)"):
        rgb_to_ycbcr(torch.zeros(shape))
