"""ResNet beside torchvision's, and beside what mmdet and mmseg compute."""

import json
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from foveal.backbones import ResNet, ResNetV1c, ResNetV1d
from foveal.registry import MODELS
from foveal.zoo import create_classifier

FIXTURES = Path(__file__).resolve().parent.parent / "reference" / "models"
SPECS = {p.stem: p for p in sorted(FIXTURES.glob("*_r50*.json"))}


def randomise(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


@pytest.mark.parametrize("depth", [18, 50])
def test_equals_torchvision(depth):
    theirs = randomise(getattr(torchvision.models, f"resnet{depth}")())
    ours = ResNet(depth).eval()
    result = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not result.missing_keys and sorted(result.unexpected_keys) == ["fc.bias", "fc.weight"]
    x = torch.randn(1, 3, 70, 97)
    layers = [f"layer{i}" for i in range(1, 5)]
    extractor = torchvision.models.feature_extraction.create_feature_extractor(theirs, layers)
    with torch.no_grad():
        want = extractor(x)
        for name, got in zip(layers, ours(x), strict=True):
            torch.testing.assert_close(got, want[name])


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_official_classifier_has_torchvisions_parameters(depth):
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"resnet{depth}")()
        ours = MODELS.build({"type": "ResNet", "depth": depth})
    want = {k: v.shape for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    assert {k: v.shape for k, v in ours.state_dict().items()} == want


def test_classifier_reads_torchvisions_file_without_counters(tmp_path):
    theirs = randomise(torchvision.models.resnet18(num_classes=7))
    old = {k: v for k, v in theirs.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "resnet18.pth")
    ours = create_classifier("resnet18", tmp_path / "resnet18.pth", num_classes=7).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("fixture", SPECS)
def test_equals_mmdet_and_mmseg(fixture, recipe):
    spec = json.loads(SPECS[fixture].read_text())
    node = spec["config"]["model"]["backbone"]
    state = {k: v for k, v in recipe.state_dict(spec, torch.float64).items() if k.startswith("backbone.")}
    model = MODELS.build(node).double().eval()
    model.load_state_dict({k.removeprefix("backbone."): v for k, v in state.items()})
    with torch.no_grad():
        maps = model(recipe.tensor_input(spec["inputs"]["x"], torch.float64))
    pins = {name: pin for name, pin in spec["intermediates"].items() if name.startswith("backbone_")}
    assert len(pins) == len(maps)
    errors = {
        f"backbone_{i}": recipe.error(f"backbone_{i}", y.numpy(), pins[f"backbone_{i}"]) for i, y in enumerate(maps)
    }
    assert max(errors.values()) <= 1e-6, errors


def test_caffe_style_strides_in_the_first_convolution():
    for style, strides in (("pytorch", (1, 2)), ("caffe", (2, 1))):
        block = ResNet(50, base_channels=8, style=style).layer2[0]
        assert (block.conv1.stride[0], block.conv2.stride[0]) == strides
    block = ResNet(18, base_channels=8, style="caffe").layer2[0]
    assert (block.conv1.stride[0], block.conv2.stride[0]) == (2, 1)


def test_dilation_keeps_the_resolution():
    dilated = {"strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4), "base_channels": 8}
    model = ResNetV1c(50, **dilated, contract_dilation=True)
    assert model.out_strides == (4, 8, 8, 8)
    assert [y.shape[-1] for y in model(torch.randn(1, 3, 64, 64))] == [16, 8, 8, 8]
    assert [b.conv2.dilation[0] for b in model.layer4] == [2, 4, 4]
    assert [b.conv2.dilation[0] for b in ResNetV1c(50, **dilated).layer4] == [4, 4, 4]


def test_v1c_and_v1d_differ_as_they_should():
    v1c, v1d = ResNetV1c(50, base_channels=8), ResNetV1d(50, base_channels=8)
    assert "stem.6.weight" in v1c.state_dict() and "conv1.weight" not in v1c.state_dict()
    assert isinstance(v1d.layer2[0].downsample[0], nn.AvgPool2d) and "layer2.0.downsample.1.weight" in v1d.state_dict()
    assert not v1c.norm_eval and v1d.norm_eval


def test_freezing_follows_mmdet():
    model = ResNet(18, base_channels=8, frozen_stages=1, norm_eval=False).train()
    frozen = {name.split(".")[0] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1"}
    assert not model.bn1.training and not model.layer1[0].bn1.training and model.layer2[0].bn1.training
    model = ResNet(18, base_channels=8, norm_cfg={"type": "BN", "requires_grad": False})
    assert not model.layer4[1].bn2.weight.requires_grad and model.layer4[1].conv2.weight.requires_grad


@pytest.mark.parametrize(
    ("norm_cfg", "key"), [({"type": "SyncBN"}, "bn1.weight"), ({"type": "GN", "num_groups": 4}, "gn1.weight")]
)
def test_other_norms_train_on_one_cpu(norm_cfg, key):
    model = ResNet(18, base_channels=8, norm_cfg=norm_cfg, norm_eval=False).train()
    assert key in model.state_dict()
    model(torch.randn(2, 3, 64, 64))[-1].mean().backward()
    assert model.conv1.weight.grad.isfinite().all()


def test_initial_blocks_are_the_identity():
    model = ResNet(50, base_channels=8)
    model.init_weights()
    assert not model.layer1[0].bn3.weight.any() and model.layer1[0].bn1.weight.all()
    kept = ResNet(50, base_channels=8, zero_init_residual=False)
    kept.init_weights()
    assert kept.layer1[0].bn3.weight.all()


def test_pretrained_init_cfg_is_not_read_when_built():
    model = ResNet(18, init_cfg={"type": "Pretrained", "checkpoint": "torchvision://resnet18"})
    assert model.init_cfg["checkpoint"] == "torchvision://resnet18"


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"depth": 20}, "depths 18, 34"),
        ({"depth": 18, "style": "keras"}, "style is 'pytorch' or 'caffe'"),
        ({"depth": 18, "strides": (1, 2)}, "one stride and one dilation a stage"),
        ({"depth": 18, "num_stages": 3, "strides": (1, 2, 2), "dilations": (1, 1, 1), "out_indices": (3,)}, "0 to 2"),
    ],
)
def test_mistakes_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ResNet(**kwargs)
