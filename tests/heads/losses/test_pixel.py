"""Losses between images."""

import pytest
import torch

from foveal.registry import MODELS

FORMULAS = {
    "L1Loss": lambda d: d.abs(),
    "MSELoss": lambda d: d**2,
    "CharbonnierLoss": lambda d: (d**2 + 1e-12) ** 0.5,
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_formula(name, reduction):
    pred, target, weight = (torch.rand(2, 3, 4, 5, dtype=torch.float64) for _ in range(3))
    each = 0.5 * weight * FORMULAS[name](pred - target)
    want = {"none": each, "mean": each.mean(), "sum": each.sum()}[reduction]
    loss = MODELS.build({"type": name, "loss_weight": 0.5, "reduction": reduction})
    torch.testing.assert_close(loss(pred, target, weight), want)


def test_charbonnier_has_a_gradient_at_zero():
    pred = torch.ones(3, requires_grad=True)
    MODELS.build({"type": "CharbonnierLoss"})(pred, torch.ones(3)).backward()
    assert torch.equal(pred.grad, torch.zeros(3))
