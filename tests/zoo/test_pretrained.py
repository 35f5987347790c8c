"""``init_cfg=dict(type='Pretrained')`` loads official files, and refuses what does not fit."""

import pytest
import torch

from foveal.errors import CheckpointError
from foveal.registry import MODELS

SMALL = {"depths": (1, 1, 1, 1), "dims": (4, 8, 16, 32)}


def build(checkpoint, prefix=None, **arguments):
    init = {"type": "Pretrained", "checkpoint": str(checkpoint), **({"prefix": prefix} if prefix else {})}
    backbone = MODELS.build({"type": "ConvNeXt", "arch": SMALL, "init_cfg": init, **arguments})
    backbone.init_weights()
    return backbone


@pytest.fixture
def source():
    torch.manual_seed(1)
    return MODELS.build({"type": "ConvNeXt", "arch": SMALL})


def same(one, two):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


@pytest.mark.parametrize("form", ["classification release", "detector"])
def test_official_files_load(form, source, tmp_path):
    state = source.state_dict()
    if form == "detector":
        content = {"state_dict": {f"backbone.{k}": v for k, v in state.items()} | {"neck.w": torch.ones(1)}}
    else:
        content = {"model": state | {"norm.weight": torch.ones(32), "head.weight": torch.ones(5, 32)}}
    torch.save(content, tmp_path / "file.pth")
    assert same(build(tmp_path / "file.pth", "backbone" if form == "detector" else None), source)


def test_another_network_is_refused(source, tmp_path):
    torch.save({"model": source.state_dict()}, tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match=r"does not fit ConvNeXt"):
        build(tmp_path / "file.pth", arch={"depths": (2, 1, 1, 1), "dims": (4, 8, 16, 32)})


def test_a_part_that_is_no_backbone(tmp_path):
    neck = {"type": "FPN", "in_channels": [4], "out_channels": 4, "num_outs": 1}
    first = MODELS.build(neck)
    first.init_weights()
    torch.save({"state_dict": {f"neck.{k}": v for k, v in first.state_dict().items()}}, tmp_path / "file.pth")
    init = {"type": "Pretrained", "checkpoint": str(tmp_path / "file.pth"), "prefix": "neck."}
    second = MODELS.build({**neck, "init_cfg": init})
    second.init_weights()
    assert same(first, second)
    with pytest.raises(CheckpointError):
        other = MODELS.build({**neck, "init_cfg": {**init, "prefix": "head."}})
        other.init_weights()
