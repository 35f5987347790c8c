"""What is special to MobileNetV2: mmdet's outputs, and three sets of key names."""

import json
import re
from pathlib import Path

import pytest
import torch
import torchvision

from foveal.backbones import MobileNetV2
from foveal.engine.checkpoint import load_state_dict
from foveal.registry import MODELS
from foveal.zoo import create_backbone, create_classifier

DETECTOR = Path(__file__).resolve().parent.parent / "reference/models/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.json"


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 2e-3)])
def test_computes_what_mmdet_computes(dtype, tolerance, recipe):
    spec = json.loads(DETECTOR.read_text())
    model = MODELS.build(spec["config"]["model"]["backbone"]).to(dtype).eval()
    weights = recipe.state_dict(spec, dtype)
    model.load_state_dict({key[9:]: value for key, value in weights.items() if key.startswith("backbone.")})
    assert model.conv1.bn.eps == 1e-3 and model.out_channels == (96, 1280) and model.out_strides == (16, 32)
    with torch.no_grad():
        maps = model(recipe.tensor_input(spec["inputs"]["x"], dtype))
    pinned = {name: spec["intermediates"][name] for name in ("backbone_0", "backbone_1")}
    report = recipe.compare({f"backbone_{i}": y for i, y in enumerate(maps)}, {"outputs": pinned})
    assert max(report.values()) <= tolerance


def test_reads_torchvisions_file(tmp_path):
    theirs = torchvision.models.mobilenet_v2(num_classes=5).eval()
    torch.save(theirs.state_dict(), tmp_path / "torchvision.pth")
    ours = create_classifier("mobilenet_v2", tmp_path / "torchvision.pth", num_classes=5).eval()
    backbone = create_backbone("mobilenet_v2", tmp_path / "torchvision.pth", out_indices=(1, 7)).eval()
    x = torch.randn(2, 3, 64, 81)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
        fine, coarse = backbone(x)
        torch.testing.assert_close(fine, theirs.features[:4](x), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(coarse, theirs.features(x), rtol=1e-4, atol=1e-5)


def test_reads_mmpretrains_file(tmp_path):
    ours = create_classifier("mobilenet_v2", num_classes=5)
    state = ours.state_dict()

    def mmpretrains(key):
        block, part = re.search(r"layer(\d)\.\d\.(\w+)_conv", key).groups()
        place = ("expand", "depthwise", "linear").index(part) - (block == "1")
        return key.replace(f"{part}_conv", f"conv.{place}")

    theirs = {mmpretrains(key) if ".layer" in key else key: value for key, value in state.items()}
    assert "backbone.layer2.0.conv.0.bn.weight" in theirs and "backbone.layer1.0.conv.1.conv.weight" in theirs
    torch.save({"state_dict": theirs}, tmp_path / "mmpretrain.pth")
    again = create_classifier("mobilenet_v2", tmp_path / "mmpretrain.pth", num_classes=5).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in state.items())
    trunk = create_backbone("mobilenet_v2", tmp_path / "mmpretrain.pth").state_dict()
    assert all(torch.equal(value, state[f"backbone.{key}"]) for key, value in trunk.items())


@pytest.mark.parametrize(
    ("factor", "stem", "widths"),
    [
        (0.5, 16, (8, 16, 16, 32, 48, 80, 160, 1280)),
        (0.75, 24, (16, 24, 24, 48, 72, 120, 240, 1280)),
        (1.4, 48, (24, 32, 48, 88, 136, 224, 448, 1792)),
    ],
)
def test_widths(factor, stem, widths):
    with torch.device("meta"):
        model = MobileNetV2(factor, out_indices=range(8))
    assert (model.conv1.out_channels, model.out_channels) == (stem, widths)
    assert model.out_strides == (2, 4, 8, 16, 16, 32, 32, 32)


def test_reads_mmsegs_names():
    """Under a detector's or segmentor's prefix, by torch's loading and by ours, which compares names first."""
    model = torch.nn.ModuleDict({"backbone": MobileNetV2(strides=(1, 2, 2, 1, 1, 1, 1), out_indices=(6,))})
    state = {key: torch.rand_like(value.float()).to(value.dtype) for key, value in model.state_dict().items()}

    def mmsegs(key):
        block, part = re.search(r"layer(\d)\.\d\.(\w+)_conv", key).groups()
        return key.replace(f"{part}_conv", f"conv.{('expand', 'depthwise', 'linear').index(part) - (block == '1')}")

    theirs = {mmsegs(key) if ".layer" in key else key: value for key, value in state.items()}
    assert "backbone.layer2.0.conv.2.conv.weight" in theirs
    for load in (lambda: model.load_state_dict(theirs), lambda: load_state_dict(model, theirs)):
        for value in model.state_dict().values():
            value.zero_()
        load()
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert "backbone.layer2.0.conv.2.conv.weight" in theirs
