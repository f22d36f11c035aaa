"""Muon: PyTorch's, for matrices; and the same for kernels."""

import pytest
import torch
from torch import nn

from lessons_lib.models import build
from lessons_lib.models.fast import fastest_dtype
from lessons_lib.training.config import ConfigError
from lessons_lib.training.muon import Muon, orthogonal
from lessons_lib.training.optimizers import OPTIMIZERS, Optimizer


def pulled(start, optimizer, steps=4, **how):
    """A weight after some steps towards another one, at a rate that falls."""
    weight = nn.Parameter(start.clone())
    goal = torch.linspace(-1, 1, start.numel()).view_as(start).cos()
    mover = optimizer([weight], lr=0.1, **how)
    for step in range(steps):
        mover.param_groups[0]["lr"] = 0.1 / (1 + step)
        mover.zero_grad()
        (weight - goal).pow(4).sum().backward()
        mover.step()
    return weight.detach()


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (5, 5)])
def test_on_matrices_it_is_pytorchs(shape):
    start = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    theirs = pulled(start, torch.optim.Muon, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    # Products in half precision are not rounded alike where they are not added up alike.
    assert (pulled(start, Muon) - theirs).norm() < 0.03 * (theirs - start).norm()


def test_a_kernel_is_a_matrix_from_its_window_to_the_outputs():
    kernel = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(2))
    as_matrix = pulled(kernel.flatten(1), Muon)
    torch.testing.assert_close(pulled(kernel, Muon).flatten(1), as_matrix)


def test_several_kernels_move_each_by_itself():
    one, other = torch.randn(2, 6, 4, 3, 3, generator=torch.Generator().manual_seed(3))
    both = torch.stack([one, 100 * other])
    gradient = torch.stack([one, other])
    weight = nn.Parameter(both.clone())
    weight.grad = gradient
    Muon([weight], lr=1.0).step()
    for moved, start, slope in zip(weight.detach(), both, gradient, strict=True):
        alone = nn.Parameter(start.clone())
        alone.grad = slope.clone()
        Muon([alone], lr=1.0).step()
        torch.testing.assert_close(moved, alone.detach(), rtol=0, atol=2e-2)


def test_directions_come_out_alike():
    spread = torch.diag(torch.logspace(0, -1.5, 12)) @ torch.linalg.qr(torch.randn(40, 12)).Q.mT
    values = torch.linalg.svdvals(orthogonal(spread).float())
    assert values.min() > 0.5
    assert values.max() < 1.5
    assert torch.linalg.svdvals(spread).min() < 0.04
    nothing = torch.zeros(3, 4, dtype=fastest_dtype(torch.device("cpu")))
    found = orthogonal(torch.zeros(3, 4))
    assert found.dtype == nothing.dtype
    assert torch.equal(found, nothing)


def test_weights_without_a_gradient_stay():
    weight = nn.Parameter(torch.ones(3, 3))
    Muon([weight], lr=1.0).step()
    assert torch.equal(weight.detach(), torch.ones(3, 3))


@pytest.mark.parametrize(
    ("model", "still"),
    [
        ("dncnn", {"first.weight", "last.weight"}),
        ("ffdnet", {"first.weight", "last.weight"}),
        ("nsr", {"head.weight", "tail.weight"}),
        ("nlrn", {"first.weight", "last.weight"}),
        ("bias-free", {"first.weight", "last.weight"}),
    ],
)
def test_all_kernels_but_the_first_and_the_last_are_matrices(model, still):
    network = build(model, {})
    kernels = {name for name, weight in network.named_parameters() if weight.dim() > 3}
    assert kernels - set(network.matrices) == still
    adam, muon = OPTIMIZERS["muon"](network, Optimizer(kind="muon", rate=1e-2, rest=0.05))
    assert {group["pace"] for group in adam.param_groups} == {0.05}
    assert {group["pace"] for group in muon.param_groups} == {1.0}
    moved = [w for each in (adam, muon) for group in each.param_groups for w in group["params"]]
    assert {id(weight) for weight in moved} == {id(weight) for weight in network.parameters()}
    assert len(moved) == len({id(weight) for weight in moved})


def test_weights_of_one_pace_are_moved_together():
    model = build("groupsc", {"patch": 3, "atoms": 12, "steps": 2, "window": 3})
    how = Optimizer(kind="muon", paces={"raw_thresholds": 0.6, "kappa": 20})
    adam, muon = OPTIMIZERS["muon"](model, how)
    assert len(muon.param_groups) == 1
    assert len(muon.param_groups[0]["params"]) == len(model.matrices)
    paces = [group["pace"] for group in adam.param_groups]
    assert len(paces) == len(set(paces))
    assert {0.6, 20} <= set(paces)


def test_the_rest_needs_a_pace():
    with pytest.raises(ConfigError, match="rest"):
        Optimizer(kind="muon", rest=0)
