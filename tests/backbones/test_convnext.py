"""What is special to ConvNeXt."""

import pytest
import timm
import torch

from foveal.backbones import ConvNeXt
from foveal.zoo import create_backbone, create_classifier

# Facebook's table, and for the small ones timm's
PUBLISHED = {"tiny": 28_589_128, "small": 50_223_688, "base": 88_591_464, "large": 197_767_336, "xlarge": 350_196_968}


@pytest.mark.parametrize("arch", PUBLISHED)
def test_parameters_as_published(arch):
    with torch.device("meta"):
        trunk = ConvNeXt(arch, output_norm=False)
    dim = trunk.out_channels[-1]
    assert sum(p.numel() for p in trunk.parameters()) + 2 * dim + (dim + 1) * 1000 == PUBLISHED[arch]


@pytest.mark.parametrize("arch", ["atto", "femto", "pico", "nano"])
def test_small_sizes_are_timms(arch):
    with torch.device("meta"):
        ours = ConvNeXt(arch, output_norm=False)
        theirs = timm.create_model(f"convnext_{arch}", num_classes=0, global_pool="")
    head = sum(p.numel() for p in theirs.head.parameters())
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters()) - head


def test_reads_timms_file(tmp_path):
    theirs = timm.create_model("convnext_atto", num_classes=5, ls_init_value=0.5).eval()
    torch.save(theirs.state_dict(), tmp_path / "atto.pth")
    ours = create_classifier("convnext_atto", tmp_path / "atto.pth", num_classes=5).eval()
    x = torch.randn(2, 3, 64, 80)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
    backbone = create_backbone("convnext_atto", tmp_path / "atto.pth", output_norm=False).eval()
    with torch.no_grad():
        torch.testing.assert_close(backbone(x)[-1], theirs.forward_features(x), rtol=1e-4, atol=1e-5)


def test_no_layer_scale():
    model = ConvNeXt({"depths": (1, 1, 1, 1), "dims": (4, 8, 8, 8)}, layer_scale_init_value=0)
    assert not any("gamma" in key for key in model.state_dict())


@pytest.mark.parametrize(
    ("arch", "message"), [("tyny", "nearest names: tiny"), ({"depths": (1, 1, 1, 1)}, "needs the keys depths, dims")]
)
def test_unknown_arch(arch, message):
    with pytest.raises(ValueError, match=message):
        ConvNeXt(arch)
