import pytest
import torch

from foveal.backbones import FemtoNet
from foveal.registry import MODELS


def detector(widen_factor, num_classes):
    """FemtoDet as the official configs have it."""
    relu = {"type": "ReLU"}
    backbone = {"type": "FemtoNet", "widen_factor": widen_factor, "diff_conv": True, "out_indices": (2, 4, 6)}
    neck = {"type": "SharedNeck", "out_channels": 64, "fixed_size_idx": 1, "add": True, "norm_cfg": {"type": "BN"}}
    head = {"type": "SharedDetHead", "num_classes": num_classes, "feat_channels": 64, "strides": [16]}
    return MODELS.build(
        {
            "type": "FemtoDet",
            "backbone": {**backbone, "act_cfg": relu},
            "neck": {**neck, "act_cfg": relu},
            "bbox_head": {**head, "stacked_convs": 0, "act_cfg": relu, "use_depthwise": True},
        }
    )


def test_the_published_number_of_parameters():
    assert sum(p.numel() for p in detector(0.25, 20).parameters()) == 68_774  # 68.77k


@pytest.mark.parametrize("stride", [1, 2])
def test_fused_branches_give_the_same_maps(stride):
    model = FemtoNet(0.25, diff_conv=True).double()
    for name, buffer in model.named_buffers():
        if "running" in name:
            torch.nn.init.uniform_(buffer, 0.5, 1.5)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.eval()
    x = torch.randn(1, 3, 64, 32 * stride + 1, dtype=torch.float64)
    with torch.no_grad():
        before = model(x)
        model.switch_to_deploy()
        model.switch_to_deploy()
        for a, b in zip(before, model(x), strict=True):
            torch.testing.assert_close(a, b)
    assert not any("bn2" in key or "theta" in key for key in model.state_dict())


def test_head_reads_the_one_map():
    model = detector(0.25, 3).eval()
    scores, boxes, objectness = model(torch.zeros(1, 3, 64, 96))
    assert [tuple(x[0].shape) for x in (scores, boxes, objectness)] == [(1, 3, 4, 6), (1, 4, 4, 6), (1, 1, 4, 6)]
