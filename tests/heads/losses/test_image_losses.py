"""Losses between images: by hand, and what each is for."""

import numpy as np
import pytest
import torch

from foveal.errors import ConfigError
from foveal.heads.losses.image import laplacian
from foveal.registry import MODELS

LOSSES = {
    "FFTLoss": {},
    "EdgeLoss": {},
    "PixelFocusLoss": {},
    "PerceptualLoss": {"weights": None},
    "SumLoss": {"losses": [{"type": "L1Loss"}, {"type": "FFTLoss", "loss_weight": 0.1}]},
}


@pytest.mark.parametrize("name", LOSSES)
def test_falls_to_its_least_where_the_images_are_equal(name):
    loss = MODELS.build({"type": name, **LOSSES[name]})
    target = torch.rand(2, 3, 32, 32)
    pred = torch.rand(2, 3, 32, 32, requires_grad=True)
    far, near = loss(pred, target), loss(target + 0.1 * (pred - target), target)
    assert far > near > loss(target, target) and loss(target, target) <= 1.1e-3
    far.backward()
    assert pred.grad.isfinite().all() and pred.grad.abs().sum() > 0
    assert len(loss.state_dict()) == 0  # no part of a model's checkpoints


def test_spectra_by_hand():
    pred, target = torch.rand(1, 2, 6, 5, dtype=torch.float64), torch.rand(1, 2, 6, 5, dtype=torch.float64)
    difference = np.fft.rfft2((pred - target).numpy())
    want = (np.abs(difference.real) + np.abs(difference.imag)).mean() / 2
    assert float(MODELS.build({"type": "FFTLoss"})(pred, target)) == pytest.approx(want)


def test_edges_alone_count():
    flat, shifted = torch.full((1, 1, 16, 16), 0.2), torch.full((1, 1, 16, 16), 0.7)
    edge = flat.clone()
    edge[..., 8:] = 0.7
    assert laplacian(shifted - flat)[..., 4:-4, 4:-4].abs().max() < 1e-6
    assert laplacian(edge)[..., 8, 7:9].abs().min() > 0.05


@pytest.mark.parametrize("form", ["power", "exponential"])
def test_focus(form):
    target = torch.zeros(1, 1, 1, 4)
    pred = torch.tensor([[[[0.1, 0.1, 0.1, 0.9]]]], requires_grad=True)
    plain = MODELS.build({"type": "PixelFocusLoss", "gamma": 0, "form": form})
    torch.testing.assert_close(plain(pred, target), torch.tensor(0.3), rtol=0, atol=1e-4)
    MODELS.build({"type": "PixelFocusLoss", "gamma": 1.0, "form": form})(pred, target).backward()
    large, small = pred.grad[..., 3], pred.grad[..., 0]
    want = 9.0 if form == "power" else float(np.exp(0.8 / 0.3))
    torch.testing.assert_close(large / small, torch.full_like(large, want), rtol=1e-3, atol=0)


def test_a_sum_is_the_sum():
    pred, target = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    parts = [MODELS.build({"type": "L1Loss"}), MODELS.build({"type": "FFTLoss", "loss_weight": 0.1})]
    total = MODELS.build({"type": "SumLoss", **LOSSES["SumLoss"]})(pred, target)
    torch.testing.assert_close(total, sum(part(pred, target) for part in parts))


def test_wrong_arguments_are_named():
    with pytest.raises(ConfigError, match="form is 'power' or 'exponential', got 'cubic'"):
        MODELS.build({"type": "PixelFocusLoss", "form": "cubic"})
    with pytest.raises(ConfigError, match="has no layer 'relu6_1'; it has relu1_1"):
        MODELS.build({"type": "PerceptualLoss", "layers": {"relu6_1": 1.0}, "weights": None})
