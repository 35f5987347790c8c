"""timm's networks of many kinds as backbones."""

import pytest
import timm
import torch

from foveal.registry import MODELS
from foveal.zoo import create_backbone, create_classifier, list_backbones

NETWORKS = [
    "resnet18",
    "convnext_atto",
    "mobilenetv3_small_050",
    "swin_tiny_patch4_window7_224",
    "efficientvit_b0",
    "tf_efficientnet_b0",
    "regnetx_002",
    "vit_tiny_patch16_224",
    "mobilevit_xxs",
    "edgenext_xx_small",
    "mambaout_femto",
    "poolformer_s12",
    "poolformerv2_s12",
    "convformer_s18",
    "caformer_s18",
]


@pytest.mark.parametrize("network", NETWORKS)
def test_gives_nchw_maps_of_any_size(network):
    model = MODELS.build({"type": "TIMMBackbone", "model_name": network, "frozen_stages": 0}).eval()
    with torch.no_grad():
        maps = model(torch.randn(1, 3, 64, 96))
    assert tuple(y.shape[1] for y in maps) == model.out_channels
    assert [tuple(y.shape[2:]) for y in maps] == [(64 // s, 96 // s) for s in model.out_strides]
    frozen = [p for p in model.parameters() if not p.requires_grad]
    assert frozen and len(frozen) < len(list(model.parameters()))


def test_frozen_levels_are_those_of_timm():
    model = MODELS.build({"type": "TimmBackbone", "model_name": "resnet18", "frozen_stages": 1}).train()
    frozen = {key.split(".")[1] for key, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1"}
    assert not model.timm_model.layer1[0].bn1.training and model.timm_model.layer2[0].bn1.training


@pytest.mark.parametrize("network", ["poolformer_s12", "caformer_s18"])
def test_metaformers_from_timms_files(network, tmp_path):
    theirs = timm.create_model(network, num_classes=6).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    backbone = create_backbone(f"timm/{network}", tmp_path / "weights.pth").eval()
    classifier = create_classifier(f"timm/{network}", tmp_path / "weights.pth", num_classes=6).eval()
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(backbone(x)[-1], theirs.forward_features(x))
        torch.testing.assert_close(classifier(x), theirs(x))


def test_reads_timms_file(tmp_path):
    theirs = timm.create_model("resnet18", num_classes=9).eval()
    torch.save(theirs.state_dict(), tmp_path / "r18.pth")
    x = torch.randn(1, 3, 64, 64)
    backbone = create_backbone("timm/resnet18", tmp_path / "r18.pth").eval()
    classifier = create_classifier("timm/resnet18", tmp_path / "r18.pth", num_classes=9).eval()
    with torch.no_grad():
        torch.testing.assert_close(backbone(x)[-1], theirs.forward_features(x))
        torch.testing.assert_close(classifier(x), theirs(x))
    with pytest.raises(ValueError, match=r"does not fit ResNet: .* missing"):
        create_backbone("timm/resnet34", tmp_path / "r18.pth")


def test_names():
    assert "timm/resnet18" in list_backbones("timm/resnet1*")
    sizes = ("s12", "s24", "s36", "m36", "m48")
    plain = {f"timm/{kind}_{size}" for kind in ("poolformer", "poolformerv2") for size in sizes}
    assert plain <= set(list_backbones("timm/poolformer*"))
    mixed = {f"timm/{kind}_{size}" for kind in ("caformer", "convformer") for size in ("s18", "s36", "m36", "b36")}
    assert mixed <= set(list_backbones("timm/*former_???"))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"model_name": "rsnet18"}, "nearest names: resnet18"),
        ({"model_name": "resnet18", "frozen_stages": 5}, "levels 0 to 4"),
        ({"model_name": "resnet18", "out_indices": (7,)}, "lacks some of the levels"),
        ({"model_name": "resnet18", "model_args": {"colour": 1}}, "colour"),
        ({"model_name": "resnet18", "features_only": False}, "features_only"),
    ],
)
def test_mistakes_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build({"type": "TimmBackbone", **kwargs})
