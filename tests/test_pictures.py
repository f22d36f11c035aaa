"""Drawn pictures: the same each time, and of the kinds that they are named for."""

import pytest
import torch

from lessons_lib.pictures import PICTURES, draw


@pytest.fixture(scope="module")
def drawn() -> dict[str, torch.Tensor]:
    return {name: draw(name) for name in PICTURES}


def test_all_are_rgb_of_256_levels_and_none_is_like_another(
    drawn: dict[str, torch.Tensor],
) -> None:
    for name, picture in drawn.items():
        assert picture.shape == (1, 3, 192, 192), name
        assert 0 <= picture.min() < picture.max() <= 1
        assert torch.equal((picture * 255).round() / 255, picture)
        assert picture.std() > 0.05, name
    stacked = torch.stack([picture.flatten() for picture in drawn.values()])
    assert (torch.corrcoef(stacked) - torch.eye(len(stacked))).abs().max() < 0.7


@pytest.mark.parametrize("name", ["text", "map", "night sky"])
def test_drawn_again_it_is_the_same(name: str, drawn: dict[str, torch.Tensor]) -> None:
    torch.manual_seed(5)
    assert torch.equal(draw(name), drawn[name])


def test_printed_text_has_no_colours_and_coloured_text_many(
    drawn: dict[str, torch.Tensor],
) -> None:
    def colourfulness(name: str) -> float:
        return float((drawn[name].amax(1) - drawn[name].amin(1)).mean())

    assert colourfulness("text") < 0.01
    assert colourfulness("coloured text") > 0.2


@pytest.mark.parametrize("name", ["text", "screen", "cartoon"])
def test_what_is_drawn_has_flat_regions_without_any_noise(
    name: str, drawn: dict[str, torch.Tensor]
) -> None:
    picture = drawn[name]
    flat = picture[..., 1:, :] == picture[..., :-1, :]
    assert flat.all(1).float().mean() > 0.6
