"""What is special to HorNet."""

import pytest
import torch

from foveal.backbones import HorNet
from foveal.layers.gated_conv import GlobalLocalFilter, resize_filter
from foveal.models.classifier import ImageClassifier
from foveal.zoo import create_backbone
from foveal.zoo.create import classifier_nodes, find_variant

SMALL = {"depths": (1, 1, 2, 1), "base_dim": 8, "filters": {"classification": 224, "segmentation": 384}}


def filter_sizes(model):
    return [tuple(m.complex_weight.shape[1:3]) for m in model.modules() if isinstance(m, GlobalLocalFilter)]


@pytest.mark.parametrize(
    ("arch", "kwargs", "sizes"),
    [
        ("tiny_gf", {}, [(14, 8), (7, 4)]),
        ("tiny_gf", {"task": "detection"}, [(14, 8), (7, 4)]),
        ("tiny_gf", {"task": "segmentation"}, [(24, 13), (12, 7)]),
        ("tiny_gf", {"task": "segmentation", "img_size": 224}, [(14, 8), (7, 4)]),
        ("base_gf", {"img_size": 384}, [(24, 13), (12, 7)]),
        ("large_gf", {"task": "detection"}, [(24, 13), (12, 7)]),
        ("large_gf", {}, [(14, 8), (7, 4)]),
    ],
)
def test_filters_have_the_official_sizes(arch, kwargs, sizes):
    with torch.device("meta"):
        found = filter_sizes(HorNet(arch, **kwargs))
    assert found == [sizes[0]] * 18 + [sizes[1]] * 2


def test_the_segmentation_backbone_has_the_official_parameters():
    with torch.device("meta"):
        model = HorNet("tiny_gf", task="segmentation")
    assert sum(p.numel() for p in model.parameters()) == 24_318_848


@pytest.mark.parametrize(("form", "millions"), [("7x7", 209), ("gf", 211), ("gf_img384", 216)])
def test_the_large_forms_have_the_published_size_with_the_pretraining_classes(form, millions):
    nodes = classifier_nodes(find_variant(f"hornet_large_{form}"), {"num_classes": 10_450})
    with torch.device("meta"):
        model = ImageClassifier(**nodes)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == millions


def test_the_halves_alternate():
    """A filter of ones is the identity: the interleaving can be read from what comes out."""
    layer = GlobalLocalFilter(4, (6, 4)).double()
    with torch.no_grad():
        layer.complex_weight.copy_(torch.tensor([1.0, 0.0]).expand_as(layer.complex_weight))
        layer.dw.weight.zero_()
    layer.pre_norm = layer.post_norm = torch.nn.Identity()
    x = torch.randn(2, 4, 9, 12).double()
    y = layer(x)
    assert not y[:, ::2].any()
    torch.testing.assert_close(y[:, 1::2], x[:, 2:])


def test_filters_are_resized_when_loaded(tmp_path):
    source = HorNet(SMALL)
    torch.save({"model": source.state_dict()}, tmp_path / "224.pth")
    model = create_backbone("hornet_tiny_gf", tmp_path / "224.pth", arch=SMALL, task="segmentation")
    key = "stages.3.0.gnconv.dwconv.complex_weight"
    want = resize_filter(source.state_dict()[key], (12, 7))
    assert torch.equal(model.state_dict()[key], want) and want.shape == (62, 12, 7, 2)
    assert torch.equal(want[:, ::11, ::6], source.state_dict()[key][:, ::6, ::3])


def test_half_precision_weights():
    model = HorNet(SMALL).eval().bfloat16()
    with torch.no_grad():
        assert all(y.dtype == torch.bfloat16 for y in model(torch.randn(1, 3, 40, 56, dtype=torch.bfloat16)))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"task": "segment"}, "must be one of classification, detection, segmentation; got 'segment'"),
        ({"img_size": 16}, "at least 32 pixels, got 16"),
        ({"arch": {**SMALL, "base_dim": 6}}, "multiple of 4, got 6"),
        ({"arch": {"depths": (1, 1, 1, 1)}}, "needs the keys depths, base_dim, filters"),
        ({"arch": "tiny"}, "nearest names: tiny_"),
    ],
)
def test_mistakes_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        HorNet(**kwargs)
