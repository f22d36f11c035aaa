"""Losses against their formulas written out, and their gradients against finite differences."""

import pytest
import torch

from lessons_lib.models import build
from lessons_lib.training import ConfigError, Loss
from lessons_lib.training.losses import LOSSES

POWERS = {"l2": 2, "l1": 1}


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Estimates and clean images ``(2, 3, 5, 4)``, and how far each pixel is to be trusted."""
    generator = torch.Generator().manual_seed(0)
    estimate, clean = (
        torch.rand(2, 3, 5, 4, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    return estimate, clean, 1 + torch.arange(20.0, dtype=torch.float64).reshape(1, 1, 5, 4)


def test_every_loss_is_tested():
    assert set(POWERS) == set(LOSSES)


@pytest.mark.parametrize("kind", POWERS)
def test_a_loss_is_its_formula(kind, batch):
    estimate, clean, confidence = batch
    total = 0.0
    for b in range(2):
        for c in range(3):
            for i in range(5):
                for j in range(4):
                    weight = confidence[0, 0, i, j].item() / confidence.max().item()
                    error = abs(estimate[b, c, i, j].item() - clean[b, c, i, j].item())
                    total += (weight * error) ** POWERS[kind]
    assert LOSSES[kind](estimate, clean, confidence).item() == pytest.approx(total / 2)


@pytest.mark.parametrize("kind", POWERS)
def test_a_gradient_is_what_a_small_change_changes(kind, batch):
    estimate, clean, confidence = batch
    estimate.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda varied: LOSSES[kind](varied, clean, confidence), estimate
    )


def test_pixels_of_a_patch_model_are_weighed_by_their_estimates():
    counts = build("sc", {"patch": 3}).estimate_counts((7, 7))
    clean = torch.zeros(2, 1, 7, 7)
    for row, column, weight in ((0, 0, 1 / 9), (0, 3, 3 / 9), (3, 3, 1.0)):
        wrong = clean.clone()
        wrong[0, 0, row, column] = 0.5
        assert LOSSES["l2"](wrong, clean, counts).item() == pytest.approx((0.5 * weight) ** 2 / 2)
        assert LOSSES["l1"](wrong, clean, counts).item() == pytest.approx(0.5 * weight / 2)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ConfigError, match="unknown loss 'huber'; known: l2, l1"):
        Loss(kind="huber")
