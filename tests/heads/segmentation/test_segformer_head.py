"""SegformerHead with the authors' linear layers, from a file in NVIDIA's names and in Hugging Face's."""

import re

import pytest
import torch
import torch.nn.functional as F

from foveal.engine.checkpoint import load_state_dict
from foveal.registry import MODELS

CHANNELS = (32, 64, 160, 256)
WIDTH = 24


def nvidias(classes=5):
    """A head's weights in NVIDIA's names, with the two that its base class leaves unused."""
    state = {}
    for i, channels in enumerate(CHANNELS, 1):
        state[f"decode_head.linear_c{i}.proj.weight"] = torch.randn(WIDTH, channels) / channels**0.5
        state[f"decode_head.linear_c{i}.proj.bias"] = torch.randn(WIDTH)
    state["decode_head.linear_fuse.conv.weight"] = torch.randn(WIDTH, 4 * WIDTH, 1, 1) / WIDTH**0.5
    for part in ("weight", "bias", "running_mean"):
        state[f"decode_head.linear_fuse.bn.{part}"] = torch.randn(WIDTH)
    state["decode_head.linear_fuse.bn.running_var"] = torch.rand(WIDTH) + 0.5
    state["decode_head.linear_fuse.bn.num_batches_tracked"] = torch.tensor(3)
    state["decode_head.linear_pred.weight"] = torch.randn(classes, WIDTH, 1, 1)
    state["decode_head.linear_pred.bias"] = torch.randn(classes)
    unused = {
        "decode_head.conv_seg.weight": torch.randn(classes, 128, 1, 1),
        "decode_head.conv_seg.bias": torch.ones(5),
    }
    return state, unused


def hub_names(state):
    renamed = {}
    for key, value in state.items():
        key = re.sub(r"linear_c(\d)", lambda part: f"linear_c.{int(part[1]) - 1}", key)
        key = key.replace("linear_fuse.conv", "linear_fuse").replace("linear_fuse.bn", "batch_norm")
        renamed[key.replace("linear_pred", "classifier")] = value
    return renamed


def logits(state, maps):
    """Equation 4 of the paper, the coarsest map first, as in NVIDIA's code."""
    part = {key.removeprefix("decode_head."): value for key, value in state.items()}
    levels = []
    for i in (4, 3, 2, 1):
        weight, bias = part[f"linear_c{i}.proj.weight"], part[f"linear_c{i}.proj.bias"]
        level = F.linear(maps[i - 1].permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
        levels.append(F.interpolate(level, maps[0].shape[2:], mode="bilinear", align_corners=False))
    fused = F.conv2d(torch.cat(levels, dim=1), part["linear_fuse.conv.weight"])
    mean, var, weight, bias = (part[f"linear_fuse.bn.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
    fused = F.batch_norm(fused, mean, var, weight, bias).relu()
    return F.conv2d(fused, part["linear_pred.weight"], part["linear_pred.bias"])


@pytest.mark.parametrize("names", ["NVIDIA", "Hugging Face"])
def test_computes_what_the_authors_head_does(names):
    state, unused = nvidias()
    head = {"type": "SegformerHead", "channels": WIDTH, "num_classes": 5, "norm_cfg": {"type": "SyncBN"}}
    backbone = {"type": "MixVisionTransformer", "embed_dims": 32, "num_layers": (1, 1, 1, 1), "num_heads": (1, 2, 5, 8)}
    model = MODELS.build(
        {"type": "EncoderDecoder", "backbone": backbone, "decode_head": {**head, "bare_convs": True}}
    ).eval()
    encoder = {f"backbone.{key}": value for key, value in model.backbone.state_dict().items()}
    file = hub_names(state) if names == "Hugging Face" else {**state, **unused}
    assert load_state_dict(model, {**encoder, **file}) == []
    maps = [torch.randn(2, c, *side) for c, side in zip(CHANNELS, ((16, 24), (8, 12), (4, 6), (2, 3)), strict=True)]
    with torch.no_grad():
        torch.testing.assert_close(model.decode_head(maps), logits(state, maps), rtol=1e-4, atol=1e-4)


def test_a_file_of_mmsegs_head_is_left_as_it_is():
    config = {"type": "SegformerHead", "in_channels": CHANNELS, "channels": 8, "num_classes": 5}
    head = MODELS.build({**config, "norm_cfg": {"type": "SyncBN"}})
    again = MODELS.build({**config, "norm_cfg": {"type": "SyncBN"}})
    assert load_state_dict(again, head.state_dict()) == []
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in head.state_dict().items())
