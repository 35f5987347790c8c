"""Files of Mask2Former with Detectron2's names: they load, and the head then says what the official one does."""

from pathlib import Path

import pytest
import torch

from foveal.config import load_config
from foveal.engine.checkpoint import load_state_dict
from foveal.errors import CheckpointError
from foveal.registry import MODELS

CONFIGS = Path(__file__).resolve().parent.parent.parent.parent / "configs"


@pytest.fixture(scope="module")
def spec(recipe):
    return recipe.load("mask2former_detectron2_head")


@pytest.fixture
def head(spec):
    config = load_config(CONFIGS / spec["config"]["base"], spec["config"]["options"]).model
    return MODELS.build({**config.panoptic_head, "train_cfg": config.train_cfg, "test_cfg": config.test_cfg}).eval()


def official(spec, recipe):
    """An official file's content, with the weight that its loss keeps."""
    return {**recipe.state_dict(spec, torch.float64), "criterion.empty_weight": torch.ones(6)}


@pytest.mark.parametrize("name", ["panoptic_head", "decode_head"])
def test_says_what_the_official_head_says(name, spec, recipe, head):
    model = torch.nn.ModuleDict({name: head.double()})
    assert load_state_dict(model, official(spec, recipe)) == []
    feats = [recipe.tensor_input(spec["inputs"][f"feat{i}"], torch.float64) for i in range(4)]
    with torch.no_grad():
        classes, masks = head(feats)
    outputs = {f"class_logits_{i}": logits for i, logits in enumerate(classes)} | {"mask_logits": masks[-1]}
    report = recipe.compare(outputs, spec)
    assert max(report.values()) <= 1e-6, report
    assert sum(p.numel() for p in head.parameters()) == spec["params"]


def test_the_first_files_name_their_queries_otherwise(spec, recipe, head):
    file = official(spec, recipe)
    file["sem_seg_head.predictor.static_query.weight"] = file.pop("sem_seg_head.predictor.query_feat.weight") + 1
    assert load_state_dict(torch.nn.ModuleDict({"panoptic_head": head.double()}), file) == []
    expected = recipe.state_dict(spec, torch.float64)["sem_seg_head.predictor.query_feat.weight"] + 1
    torch.testing.assert_close(head.query_feat.weight.data, expected)


def test_a_weight_that_is_missing_is_named(spec, recipe, head):
    file = official(spec, recipe)
    del file["sem_seg_head.predictor.transformer_ffn_layers.2.norm.bias"]
    with pytest.raises(CheckpointError, match=r"transformer_decoder\.layers\.2\.norms\.2\.bias"):
        load_state_dict(torch.nn.ModuleDict({"panoptic_head": head.double()}), file)
