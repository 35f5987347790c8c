"""What is special to NAT, DiNAT and DiNAT_s."""

import json
from pathlib import Path

import pytest
import torch

from foveal.backbones import NAT, DiNAT, DiNAT_s
from foveal.registry import MODELS
from foveal.zoo import create_backbone
from foveal.zoo.create import classifier_nodes, find_variant

FIXTURES = Path(__file__).resolve().parent.parent / "reference" / "backbones"
SMALL = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 4), "mlp_ratio": 2.0, "kernel_size": 3}


def dilations(model):
    levels = model.layers if isinstance(model, DiNAT_s) else model.levels
    return [[block.attn.dilation for block in level.blocks] for level in levels]


# the official repository's, per folder and variant
@pytest.mark.parametrize(
    ("name", "kwargs", "want"),
    [
        ("nat_mini", {}, [[1] * 3, [1] * 4, [1] * 6, [1] * 5]),
        ("dinat_mini", {"task": "classification"}, [[1, 8, 1], [1, 4, 1, 4], [1, 2] * 3, [1] * 5]),
        ("dinat_mini", {}, [[1, 28, 1], [1, 7, 1, 14], [1, 3, 1, 5, 1, 7], [1, 3, 1, 3, 1]]),
        ("dinat_base", {"task": "instance"}, [[1, 28, 1], [1, 7, 1, 14], [1, 3, 1, 5, 1, 7] * 3, [1, 3, 1, 3, 1]]),
        ("dinat_small", {"task": "segmentation"}, [[1, 16, 1], [1, 4, 1, 8], [1, 2, 1, 3, 1, 4] * 3, [1, 2, 1, 2, 1]]),
        (
            "dinat_large",
            {"task": "segmentation"},
            [[1, 20, 1], [1, 5, 1, 10], [1, 2, 1, 3, 1, 4, 1, 5] * 2 + [1, 5], [1, 2, 1, 2, 1]],
        ),
        ("dinat_large_384", {"task": "classification"}, [[1, 13, 1], [1, 6, 1, 6], [1, 3] * 9, [1] * 5]),
        (
            "dinat_large_11x11",
            {"task": "instance"},
            [[1, 14, 1], [1, 4, 1, 7], [1, 2, 1, 3] * 4 + [1, 3], [1] * 5],
        ),
        ("dinat_large_384_11x11", {"task": "classification"}, [[1, 8, 1], [1, 4, 1, 4], [1, 2] * 9, [1] * 5]),
        ("dinat_s_tiny", {"task": "classification"}, [[1, 8], [1, 4], [1, 2] * 3, [1, 1]]),
        ("dinat_s_small", {}, [[1, 28], [1, 14], [1, 3, 1, 5, 1, 7] * 3, [1, 3]]),
        ("dinat_s_base", {"task": "segmentation"}, [[1, 16], [1, 8], [1, 2, 1, 3, 1, 4] * 3, [1, 2]]),
        (
            "dinat_s_large",
            {"task": "segmentation"},
            [[1, 20], [1, 10], [1, 2, 1, 3, 1, 4, 1, 5] * 2 + [1, 5], [1, 2]],
        ),
        ("dinat_s_large_384", {"task": "classification"}, [[1, 13], [1, 6], [1, 3] * 9, [1, 1]]),
    ],
)
def test_dilations_go_by_the_task(name, kwargs, want):
    with torch.device("meta"):
        assert dilations(MODELS.build({**find_variant(name).backbone, **kwargs})) == want


def test_classifiers_have_the_dilations_of_classification():
    with torch.device("meta"):
        for name, want in (("dinat_mini", [1, 8, 1]), ("dinat_s_tiny", [1, 8])):
            assert dilations(MODELS.build(classifier_nodes(find_variant(name), {})["backbone"]))[0] == want


def test_given_dilations_replace_the_tasks():
    want = [[2], [1], [3], [1]]
    assert dilations(DiNAT({**SMALL, "layer_scale": None}, dilations=want)) == want
    assert dilations(DiNAT_s(SMALL, dilations=want)) == want
    assert dilations(NAT({**SMALL, "layer_scale": None}, dilations=want)) == want


@pytest.mark.parametrize(
    ("family", "kwargs", "message"),
    [
        (DiNAT, {"task": "pose"}, "DiNAT's task must be one of classification, detection, instance, segmentation"),
        (DiNAT_s, {"task": "pose"}, "DiNAT_s's task must be one of"),
        (DiNAT, {"dilations": [[1, 2]]}, r"DiNAT needs one dilation.* \[3, 4, 6, 5\] blocks"),
        (NAT, {"dilations": [[1] * 3, [1] * 4, [1] * 6, [0] * 5]}, "NAT needs one dilation, at least 1"),
        (NAT, {"arch": "large"}, "NAT has no arch 'large'"),
    ],
)
def test_mistakes_are_named(family, kwargs, message):
    with pytest.raises(ValueError, match=message):
        family(**kwargs)


def test_a_classification_file_serves_every_task(recipe, tmp_path):
    spec = json.loads((FIXTURES / "dinat_mini.json").read_text())
    official = recipe.checkpoint(spec)
    torch.save(official, tmp_path / "dinat.pth")
    for task in ("detection", "segmentation"):
        model = create_backbone("dinat_mini", tmp_path / "dinat.pth", task=task)
        assert torch.equal(model.levels[0].blocks[1].attn.rpb, official["levels.0.blocks.1.attn.rpb"])
        assert torch.equal(model.norm3.weight, torch.ones(512))
    with pytest.raises(ValueError, match="shapes are those of dinat_mini"):
        create_backbone("dinat_tiny", tmp_path / "dinat.pth")


def test_starts_from_the_official_distributions():
    model = create_backbone("nat_mini")
    block = model.levels[2].blocks[0]
    for weight in (block.attn.qkv.weight, block.attn.rpb, block.mlp.fc1.weight):
        assert abs(weight.std().item() - 0.02) < 2e-3
    assert not block.attn.proj.bias.any()
    assert torch.equal(NAT({**SMALL, "layer_scale": 1e-5}).levels[0].blocks[0].gamma1, torch.full((8,), 1e-5))
