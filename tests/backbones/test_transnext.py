"""What is special to TransNeXt."""

import pytest
import torch

from foveal.registry import MODELS
from foveal.zoo import create_backbone, create_classifier

ARCH = {
    "depths": (1, 1, 1, 1),
    "embed_dims": (8, 8, 16, 16),
    "num_heads": (1, 1, 2, 2),
    "sr_ratios": (16, 8, 4, 2),
    "pretrain_size": 64,
}


def build(**kwargs):
    torch.manual_seed(0)
    return MODELS.build({"type": "TransNeXt", "arch": ARCH, **kwargs}).eval()


def test_resized_and_made_biases_agree_only_at_their_size():
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(build(img_size=64)(x)[-1], build(is_extrapolation=True)(x)[-1])
        assert not torch.allclose(build(img_size=96)(x)[-1], build(is_extrapolation=True)(x)[-1])


@pytest.mark.parametrize(
    ("kwargs", "size"),
    [({}, 64), ({"task": "detection"}, 800), ({"task": "segmentation"}, 512), ({"img_size": 32}, 32)],
)
def test_official_sizes(kwargs, size):
    assert build(**kwargs).img_size == size


def test_wide_pools_on_small_images():
    """Pools of 16 pixels leave one pooled pixel to a map of 8."""
    with torch.no_grad():
        for options in ({}, {"is_extrapolation": True}):
            assert all(y.isfinite().all() for y in build(**options)(torch.randn(1, 3, 32, 47)))


def test_tables_of_positions_in_a_file_are_left_out(tmp_path):
    source = create_backbone("transnext_micro")
    tables = {"relative_pos_index1": torch.zeros(9, 4, dtype=torch.int64), "relative_coords_table4": torch.zeros(9, 2)}
    state = {f"backbone.{key}": value for key, value in (source.state_dict() | tables).items()}
    torch.save({"state_dict": state | {"decode_head.conv_seg.weight": torch.zeros(2)}}, tmp_path / "upernet.pth")
    got = create_backbone("transnext_micro", tmp_path / "upernet.pth", task="segmentation").state_dict()
    assert all(torch.equal(got[key], value) for key, value in source.state_dict().items())


def test_classifies_at_another_size():
    model = create_classifier("transnext_micro", num_classes=3, img_size=96)
    assert (model.backbone.img_size, model.backbone.pretrain_size) == (96, 224)
    with torch.no_grad():
        assert model.eval()(torch.randn(1, 3, 96, 64)).shape == (1, 3)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"task": "detect"}, "one of classification, detection, segmentation; got 'detect'"),
        ({"pretrain_size": 32}, "at least 64 .* got 32"),
        ({"img_size": 16}, "at least 32; got 64 and 16"),
    ],
)
def test_wrong_sizes_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)
