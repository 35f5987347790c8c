"""What is special to InceptionNeXt."""

import pytest
import timm
import torch

from foveal.backbones import InceptionNeXt
from foveal.zoo import create_backbone, create_classifier


def test_reads_timms_file(tmp_path):
    theirs = timm.create_model("inception_next_atto", num_classes=5, ls_init_value=0.5).eval()
    torch.save(theirs.state_dict(), tmp_path / "atto.pth")
    ours = create_classifier("inceptionnext_atto", tmp_path / "atto.pth", num_classes=5).eval()
    x = torch.randn(2, 3, 64, 80)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
        maps = create_backbone("inceptionnext_atto", tmp_path / "atto.pth").eval()(x)
        torch.testing.assert_close(maps[-1], theirs.forward_features(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arch", "message"), [("tyny", "nearest names: tiny"), ({"depths": (1, 1, 1, 1)}, "needs the keys depths, dims")]
)
def test_unknown_arch(arch, message):
    with pytest.raises(ValueError, match=message):
        InceptionNeXt(arch)
