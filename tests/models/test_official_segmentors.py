"""Segmentors of papers' own repositories: their files load, their outputs and gradients are ours."""

import pytest
import torch

from foveal.engine.checkpoint import load_state_dict
from foveal.heads.segmentation.decode_head import resize
from foveal.registry import MODELS

NAMES = ("ffnet18_dAAA", "ffnet22S_BBB", "ffnet46NS_CCC_mobile_pre_down", "dcswin_tiny")


@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_gradients(name, recipe):
    spec = recipe.load(name)
    model = MODELS.build(spec["config"]["model"]).double().eval()
    assert sum(p.numel() for p in model.parameters()) == spec["params"]
    assert load_state_dict(model, recipe.state_dict(spec, torch.float64)) == []
    logits = model(recipe.tensor_input(spec["inputs"]["x"], torch.float64))
    pinned = spec["outputs"]["seg_logits"]
    logits = resize(logits, pinned["shape"][2:], model.decode_head.align_corners)
    assert recipe.error("seg_logits", logits.detach().numpy(), pinned) <= 1e-6
    logits.square().mean().backward()
    norm = sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None) ** 0.5
    assert norm == pytest.approx(spec["grad_norm"], rel=1e-4)


def test_the_blur_of_a_file_is_left_out_where_there_is_none(recipe):
    spec = recipe.load("ffnet46NS_CCC_mobile_pre_down")
    config = spec["config"]["model"]
    model = MODELS.build({**config, "backbone": {**config["backbone"], "pre_downsampling": False}})
    assert load_state_dict(model, recipe.state_dict(spec)) == []
    assert model.backbone.out_strides == (4, 8, 16, 32)
