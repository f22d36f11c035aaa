"""Bicubic resizing: exact properties, values worked out by hand, and the published baselines."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons_lib import data
from lessons_lib.metrics import psnr
from lessons_lib.ops.colour import rgb_to_luma
from lessons_lib.ops.resize import imresize, resize_matrix

needs_set5 = pytest.mark.skipif(data.locate("Set5") is None, reason="Set5 is not on this machine")


@given(length=st.integers(2, 60), scale=st.sampled_from([1 / 4, 1 / 3, 1 / 2, 0.7, 1.5, 2, 3, 4]))
@settings(deadline=None)
def test_rows_sum_to_one_and_scale_one_is_the_identity(length: int, scale: float):
    matrix = resize_matrix(length, scale)
    assert matrix.shape == (math.ceil(length * scale - 1e-9), length)
    assert torch.allclose(matrix.sum(dim=1), torch.ones(len(matrix), dtype=torch.float64))
    assert torch.allclose(resize_matrix(length, 1.0), torch.eye(length, dtype=torch.float64))


def test_halving_a_step_by_hand():
    """Output pixel 4 lies between inputs 8 and 9; the stretched kernel reaches inputs 5 to 12."""
    step = torch.zeros(20, dtype=torch.float64)
    step[10:] = 1
    # Keys' kernel at ¾, 1¼ and 1¾, where inputs 10, 11 and 12 lie; all eight taps sum to 2.
    expected = (29 - 9 - 3) / 128 / 2
    halved = resize_matrix(20, 0.5) @ step
    assert float(halved[4]) == pytest.approx(expected, abs=1e-12)
    assert float(halved[5]) == pytest.approx(1 - expected, abs=1e-12)


def test_interior_agrees_with_pytorchs_antialiased_bicubic():
    """PyTorch's (Pillow's) filter has the same kernel and differs only at borders."""
    image = torch.rand(1, 1, 48, 60, dtype=torch.float64)
    for scale in (1 / 2, 1 / 3, 2.0):
        ours = imresize(image, scale)
        theirs = F.interpolate(image, scale_factor=scale, mode="bicubic", antialias=True)
        inner = (
            (..., slice(8, -8), slice(8, -8)) if scale > 1 else (..., slice(3, -3), slice(3, -3))
        )
        assert torch.allclose(ours[inner], theirs[inner], atol=1e-6)


@pytest.mark.parametrize("scale", [0, -1])
def test_impossible_scales_are_refused(scale: float):
    with pytest.raises(ValueError, match="positive"):
        resize_matrix(5, scale)


@needs_set5
@pytest.mark.parametrize(("scale", "published"), [(2, 33.66), (3, 30.39), (4, 28.42)])
def test_bicubic_scores_on_set5_are_the_published_ones(scale: int, published: float):
    """PSNR of bicubic upscaling on rounded Y, a border of `scale` pixels shaved."""
    scores = []
    for _, rgb in data.load("Set5"):
        height, width = (n - n % scale for n in rgb.shape[-2:])
        luma = (255 * rgb_to_luma(rgb[..., :height, :width].double())).round()
        restored = imresize(imresize(luma, 1 / scale), scale).round().clamp(0, 255)
        inner = (..., slice(scale, -scale), slice(scale, -scale))
        scores.append(float(psnr(restored[inner], luma[inner], data_range=255)))
    assert round(sum(scores) / len(scores), 2) == published
