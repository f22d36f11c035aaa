"""Losses against their formulas written out, and their gradients against finite differences."""

import itertools
import math

import pytest
import torch

from lessons_lib.models import build
from lessons_lib.training import ConfigError, Loss
from lessons_lib.training.losses import LOSSES

POWERS = {"l2": 2, "l1": 1}
SIMILARITIES = {
    "ssim-5": (5.0,),
    "ssim-9": (9.0,),
    "ms-ssim": (0.5, 1.0, 2.0, 4.0, 8.0),
    "mix": (0.5, 1.0, 2.0, 4.0, 8.0),
    "mix-0.025": (0.5, 1.0, 2.0, 4.0, 8.0),
}
L1_SHARES = {"mix": 0.16, "mix-0.025": 0.975}


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Estimates and clean images ``(2, 3, 5, 4)``, and how far each pixel is to be trusted."""
    generator = torch.Generator().manual_seed(0)
    estimate, clean = (
        torch.rand(2, 3, 5, 4, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    return estimate, clean, 1 + torch.arange(20.0, dtype=torch.float64).reshape(1, 1, 5, 4)


def test_every_loss_is_tested():
    assert {*POWERS, *SIMILARITIES, "charbonnier"} == set(LOSSES)


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


def test_charbonnier_is_its_formula(batch):
    estimate, clean, confidence = batch
    total = 0.0
    for place in itertools.product(range(2), range(3), range(5), range(4)):
        weight = confidence[0, 0, place[2], place[3]].item() / 20
        total += weight * math.hypot((estimate - clean)[place].item(), 1e-3)
    found = LOSSES["charbonnier"](estimate, clean, confidence).item()
    assert found == pytest.approx(total / 2)


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_a_similarity_is_its_formula_at_the_centre(kind, batch):
    estimate, clean, confidence = batch
    pixels = list(itertools.product(range(5), range(4)))
    errors = []
    for b, c in itertools.product(range(2), range(3)):
        x, y = ([image[b, c, i, j].item() for i, j in pixels] for image in (estimate, clean))
        similarity = 1.0
        for deviation in SIMILARITIES[kind]:
            far = [((i - 2) ** 2 + (j - 1.5) ** 2) / (2 * deviation**2) for i, j in pixels]
            w = [
                confidence[0, 0, *p].item() * math.exp(-d) for p, d in zip(pixels, far, strict=True)
            ]
            w = [value / sum(w) for value in w]
            mx, my = (sum(map(math.prod, zip(w, v, strict=True))) for v in (x, y))
            vx, vy, cov = (
                sum(wi * (si - ms) * (ti - mt) for wi, si, ti in zip(w, s, t, strict=True))
                for s, ms, t, mt in ((x, mx, x, mx), (y, my, y, my), (x, mx, y, my))
            )
            similarity *= (2 * cov + 0.03**2) / (vx + vy + 0.03**2)
        similarity *= (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
        share = L1_SHARES.get(kind, 0.0)  # the last Gaussian is that of the absolute errors
        apart = sum(wi * abs(si - ti) for wi, si, ti in zip(w, x, y, strict=True))
        errors.append((1 - share) * (1 - similarity) + share * apart)
    found = LOSSES[kind](estimate, clean, confidence).item()
    assert found == pytest.approx(sum(errors) / len(errors), rel=1e-9)
    assert LOSSES[kind](clean, clean, confidence).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", LOSSES)
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
