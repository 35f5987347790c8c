"""MiT beside what mmseg computes, and NVIDIA's files of both kinds."""

import json
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from foveal.backbones import MixVisionTransformer
from foveal.registry import MODELS
from foveal.zoo import create_backbone, create_classifier

REFERENCE = Path(__file__).resolve().parent.parent / "reference"


def official(recipe):
    spec = json.loads((REFERENCE / "backbones" / "mit_b0_dense_odd.json").read_text())
    return recipe.state_dict(spec)


def test_equals_mmseg(recipe):
    spec = json.loads((REFERENCE / "models" / "segformer_mit-b0_8xb2-160k_ade20k-512x512.json").read_text())
    state = {k: v for k, v in recipe.state_dict(spec, torch.float64).items() if k.startswith("backbone.")}
    model = MODELS.build(spec["config"]["model"]["backbone"]).double().eval()
    model.load_state_dict({k.removeprefix("backbone."): v for k, v in state.items()})
    with torch.no_grad():
        maps = model(recipe.tensor_input(spec["inputs"]["x"], torch.float64))
    pins = {name: pin for name, pin in spec["intermediates"].items() if name.startswith("backbone_")}
    assert len(pins) == len(maps)
    errors = {
        f"backbone_{i}": recipe.error(f"backbone_{i}", y.numpy(), pins[f"backbone_{i}"]) for i, y in enumerate(maps)
    }
    assert max(errors.values()) <= 1e-6, errors


def test_reads_nvidias_file_of_the_classifier(recipe, tmp_path):
    head = {"head.weight": torch.randn(7, 256), "head.bias": torch.randn(7)}
    torch.save({**official(recipe), **head}, tmp_path / "mit_b0.pth")
    backbone = create_backbone("mit_b0", tmp_path / "mit_b0.pth").eval()
    classifier = create_classifier("mit_b0", tmp_path / "mit_b0.pth", num_classes=7).eval()
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        want = F.linear(backbone(x)[-1].mean((2, 3)), head["head.weight"], head["head.bias"])
        torch.testing.assert_close(classifier(x), want)


def test_reads_segmentors_in_the_names_of_nvidia_and_of_mmseg(recipe, tmp_path):
    state = {f"backbone.{key}": value for key, value in official(recipe).items()}
    head = {"decode_head.linear_pred.bias": torch.zeros(150)}
    torch.save({"state_dict": state | head}, tmp_path / "nvidia.pth")
    model = create_backbone("mit_b0", tmp_path / "nvidia.pth")
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in model.state_dict().items()} | head}, tmp_path / "mm.pth")
    again = create_backbone("mit_b0", tmp_path / "mm.pth").state_dict()
    assert all(torch.equal(value, again[key]) for key, value in model.state_dict().items())


# NVIDIA's names of parts, and those of the same on Hugging Face, before the numbers count from 0
HUB_NAMES = (
    (r"^patch_embed(\d)\.proj", r"patch_embeddings.\1.proj"),
    (r"^patch_embed(\d)\.norm", r"patch_embeddings.\1.layer_norm"),
    (r"^block(\d)\.(\d+)\.norm(\d)", r"block.\1.\2.layer_norm_\3"),
    (r"^norm(\d)", r"layer_norm.\1"),
    (r"^block(\d)", r"block.\1"),
    (r"attn\.q\.", "attention.self.query."),
    (r"attn\.sr\.", "attention.self.sr."),
    (r"attn\.norm\.", "attention.self.layer_norm."),
    (r"attn\.proj\.", "attention.output.dense."),
    (r"mlp\.fc(\d)", r"mlp.dense\1"),
)


def hub_names(state):
    """NVIDIA's encoder as Hugging Face names it: keys apart from values, stages counted from 0."""
    named = {}
    for key, value in state.items():
        for pattern, new in HUB_NAMES:
            key = re.sub(pattern, new, key)
        key = re.sub(r"^(\w+)\.(\d)", lambda part: f"{part[1]}.{int(part[2]) - 1}", key)
        if ".attn.kv." in key:
            for word, half in zip(("key", "value"), value.chunk(2), strict=True):
                named["segformer.encoder." + key.replace("attn.kv", f"attention.self.{word}")] = half
        else:
            named[f"segformer.encoder.{key}"] = value
    return named


def test_reads_the_files_on_the_hub(recipe, tmp_path):
    state = hub_names(official(recipe))
    assert "segformer.encoder.block.0.1.attention.self.value.weight" in state
    classifier = {"classifier.weight": torch.randn(7, 256), "classifier.bias": torch.randn(7)}
    torch.save(state | classifier, tmp_path / "mit_b0.bin")
    torch.save(state | {"decode_head.linear_fuse.weight": torch.zeros(8, 8, 1, 1)}, tmp_path / "segformer.bin")
    torch.save(official(recipe), tmp_path / "nvidia.pth")
    expected = create_backbone("mit_b0", tmp_path / "nvidia.pth").state_dict()
    for model in (
        create_backbone("mit_b0", tmp_path / "mit_b0.bin"),
        create_backbone("mit_b0", tmp_path / "segformer.bin"),
        create_classifier("mit_b0", tmp_path / "mit_b0.bin", num_classes=7).backbone,
    ):
        assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


def test_another_size_is_named(recipe, tmp_path):
    torch.save(official(recipe), tmp_path / "mit_b0.pth")
    with pytest.raises(ValueError, match=r"its shapes are those of mit_b0"):
        create_backbone("mit_b1", tmp_path / "mit_b0.pth")


def test_attention_without_reduction_has_no_convolution():
    model = MixVisionTransformer(embed_dims=8, num_layers=(1, 1), num_stages=2, num_heads=(1, 2), out_indices=(0, 1),
                                 patch_sizes=(7, 3), strides=(4, 2), sr_ratios=(2, 1), qkv_bias=False)  # fmt: skip
    keys = model.state_dict()
    assert "layers.0.1.0.attn.sr.weight" in keys and "layers.1.1.0.attn.sr.weight" not in keys
    assert not any("in_proj_bias" in key for key in keys)


def test_stages_are_counted():
    with pytest.raises(ValueError, match=r"has 4 stages, got num_heads=\(1, 2\)"):
        MixVisionTransformer(num_heads=(1, 2))
