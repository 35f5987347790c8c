"""BTS: the authors' files load, their depths, loss and gradients are ours."""

import pytest
import torch
from mmengine.structures import PixelData

from foveal.engine.checkpoint import load_state_dict
from foveal.errors import ConfigError
from foveal.registry import MODELS
from foveal.structures import DataSample


@pytest.mark.parametrize("name", ["bts_nyu_densenet121", "bts_eigen_mobilenet_v2"])
def test_depths_losses_and_gradients(name, recipe):
    spec = recipe.load(name)
    model = MODELS.build(spec["config"]["model"]).double().eval()
    assert sum(p.numel() for p in model.parameters()) == spec["params"]
    assert load_state_dict(model, recipe.state_dict(spec, torch.float64)) == []
    x = recipe.tensor_input(spec["inputs"]["x"], torch.float64)
    most = model.decode_head.max_depth
    size = [len(x), 1, *x.shape[2:]]
    truth = torch.from_numpy(recipe.array_input({"name": "gt", "shape": size, "kind": "uniform"}))
    truth = (truth * most * 1.2 - 0.2 * most).clamp(min=0)
    samples = [
        DataSample(gt_depth_map=PixelData(data=depth), metainfo={"focal": focal})
        for depth, focal in zip(truth, spec["extra"]["focal"], strict=True)
    ]
    with torch.no_grad():
        predicted = model(x, samples, mode="predict")
    depths = torch.stack([sample.pred_depth_map.data for sample in predicted])
    assert recipe.error("depth", depths.numpy(), spec["outputs"]["depth"]) <= 1e-6
    losses = model(x, samples, mode="loss")
    assert losses["loss_silog"].item() == pytest.approx(spec["loss"], rel=1e-5)
    losses["loss_silog"].backward()
    norm = sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None) ** 0.5
    assert norm == pytest.approx(spec["grad_norm"], rel=1e-4)


def test_windows_are_refused():
    parts = {"backbone": {"type": "ResNet", "depth": 18}, "decode_head": {"type": "LKADepthHead", "channels": 8}}
    with pytest.raises(ConfigError, match=r"test_cfg\.mode must be 'whole', got 'slide'"):
        MODELS.build({"type": "DepthEstimator", **parts, "test_cfg": {"mode": "slide"}})
