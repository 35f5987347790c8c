"""LPIPS: a distance of RGB images, with the weights of its authors where the network's can be had."""

import sys

import pytest
import torch
from torchvision.models import _api, alexnet

from foveal.errors import ConfigError, DataError
from foveal.evaluation import LPIPS
from foveal.registry import METRICS


@pytest.fixture
def metric(monkeypatch):
    """The metric over a network with random weights, for torchvision's have to be downloaded."""
    torch.manual_seed(0)
    monkeypatch.setattr(_api, "load_state_dict_from_url", lambda *_, **__: alexnet().state_dict())
    return METRICS.build({"type": "LPIPS", "crop_border": 4})


def sample(pred, gt):
    return {"pred_img": pred, "gt_img": (gt * 255).round().byte(), "img_path": "a.png"}


def test_grows_with_the_difference(metric):
    gt = torch.nn.functional.interpolate(torch.rand(1, 3, 18, 20), size=(72, 80), mode="bicubic")[0].clamp(0, 1)
    gt = (gt * 255).round() / 255
    values = []
    for noise in (0.0, 0.02, 0.2):
        metric.process(None, [sample((gt + noise * torch.randn_like(gt)).clamp(0, 1), gt)])
        values.append(metric.evaluate(1)["LPIPS"])
    assert values[0] == pytest.approx(0, abs=1e-6) and values[0] < values[1] < values[2]


def test_the_border_does_not_count(metric):
    gt = torch.rand(3, 72, 80).mul(255).round() / 255
    pred = gt.clone()
    pred[:, :4], pred[:, :, -4:] = 0, 1
    metric.process(None, [sample(pred, gt)])
    assert metric.evaluate(1) == {"LPIPS": pytest.approx(0, abs=1e-6)}


def test_what_does_not_fit_is_named(metric, monkeypatch):
    with pytest.raises(DataError, match=r"a.png: LPIPS compares RGB images of one size, got \(72, 80, 1\)"):
        metric.process(None, [sample(torch.rand(1, 72, 80), torch.rand(3, 72, 80))])
    with pytest.raises(ConfigError, match="alex, vgg or squeeze, got 'resnet'"):
        LPIPS("resnet")
    monkeypatch.setitem(sys.modules, "torchmetrics.image.lpip", None)
    with pytest.raises(ConfigError, match=r"pip install 'foveal\[lpips\]'"):
        LPIPS()


def test_authors_linear_weights_are_there(metric):
    weights = [layer.model[-1].weight for layer in metric.network.net.lins]
    assert [w.shape[1] for w in weights] == [64, 192, 384, 256, 256]
    # trained to be non-negative; random ones would not be
    assert all((w >= 0).all() and w.std() > 0 for w in weights)
