"""Receptive fields: as wide as the layers allow, and gradients that finite differences confirm."""

import pytest
import torch

from lessons_lib.models import build
from lessons_lib.models.receptive_field import effective_receptive_field, receptive_field


def draw(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("layers", [3, 5])
def test_nothing_beyond_the_theoretical_field_and_something_at_its_rim(layers):
    model = build("bias-free", {"layers": layers, "width": 4}).double().eval()
    side = receptive_field(model)
    assert side == 2 * layers + 1
    field = effective_receptive_field([model], draw(2, 1, 17, 19))
    rows, columns = field.nonzero(as_tuple=True)
    assert (rows.min(), rows.max()) == (8 - layers, 8 + layers)
    assert (columns.min(), columns.max()) == (9 - layers, 9 + layers)


def test_pixels_of_a_cell_see_the_same_of_a_coarser_grid():
    model = build("ffdnet", {"layers": 4, "width": 4}).double().eval()
    side = receptive_field(model)
    assert side == 2 * (2 * 4 + 1)
    with torch.no_grad():
        for layer in (model.first, *model.middle, model.last):
            layer.weight.abs_()  # so that nothing cancels
    for row in (16, 17):  # the centre, in the upper and in the lower line of a cell
        field = effective_receptive_field([model], draw(1, 1, 2 * row, 34), 0.1)
        rows, columns = field.nonzero(as_tuple=True)
        assert (rows.min(), rows.max()) == (16 - 8, 16 + 9)
        assert (columns.min(), columns.max()) == (16 - 8, 16 + 9)


def test_slopes_are_what_a_small_change_changes():
    models = [build("ffdnet", {"layers": 3, "width": width}).double().eval() for width in (4, 6)]
    images, told = draw(2, 1, 6, 6), torch.tensor([0.1, 0.1]).double()
    field = effective_receptive_field(models, images, 0.1)
    step = 1e-6
    for row, column in ((3, 3), (0, 2), (5, 4)):
        moved = images.clone()
        moved[..., row, column] += step
        slopes = [
            (model(moved, told) - model(images, told))[..., 3, 3].abs().mean().item() / step
            for model in models
        ]
        assert field[row, column].item() == pytest.approx(sum(slopes) / 2, rel=1e-3, abs=1e-6)


def test_models_of_patches_have_no_halo():
    with pytest.raises(ValueError, match="no halo"):
        receptive_field(build("sc", {"patch": 3, "atoms": 12}))
