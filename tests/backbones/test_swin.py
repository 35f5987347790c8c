"""What is special to Swin: three kinds of files, its merging in mmdet's order, windows and maps of any size."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from foveal.backbones import SwinTransformer
from foveal.backbones.swin import PatchMerging
from foveal.zoo import create_backbone, create_classifier

SMALL = {"embed_dims": 8, "depths": (2, 2), "num_heads": (1, 2), "strides": (4, 2), "out_indices": (0, 1)}


def randomise(model):
    for value in model.parameters():
        nn.init.normal_(value, std=0.1 if value.ndim == 1 else value[0].numel() ** -0.5)
    return model.eval()


def test_equals_timm_from_timms_file(tmp_path):
    theirs = randomise(timm.create_model("swin_tiny_patch4_window7_224", num_classes=5))
    torch.save(theirs.state_dict(), tmp_path / "timm.pth")
    ours = create_classifier("swin_tiny", tmp_path / "timm.pth", num_classes=5).eval()
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 6), (7, 9)])
def test_merges_in_mmdets_order(size):
    merge = randomise(PatchMerging(6, {"type": "LN"}))
    x = torch.randn(2, *size, 6)
    padded = F.pad(x.permute(0, 3, 1, 2), (0, size[1] % 2, 0, size[0] % 2))
    patches = F.unfold(padded, 2, stride=2).transpose(1, 2)  # what mmdet norms and reduces
    want = merge.reduction(merge.norm(patches)).unflatten(1, (padded.shape[2] // 2, padded.shape[3] // 2))
    torch.testing.assert_close(merge(x), want)


def official_file(path, window=7):
    """A file with the official names and the buffers that the official code writes, of a network like `swin_tiny`."""
    state = randomise(timm.create_model("swin_tiny_patch4_window7_224", window_size=window)).state_dict()
    for i in (1, 2, 3):
        for part in ("reduction.weight", "norm.weight", "norm.bias"):
            state[f"layers.{i - 1}.downsample.{part}*"] = state.pop(f"layers.{i}.downsample.{part}")
    state = {key.replace("head.fc", "head").rstrip("*"): value for key, value in state.items()}
    state["layers.0.blocks.1.attn_mask"] = torch.zeros(64, window**2, window**2)
    for i, depth in enumerate((2, 2, 6, 2)):
        for j in range(depth):
            key = f"layers.{i}.blocks.{j}.attn.relative_position_index"
            state[key] = torch.zeros(window**2, window**2, dtype=torch.long)
    torch.save({"model": state}, path)
    return state


def test_recomputes_the_buffers_of_official_files(tmp_path):
    state = official_file(tmp_path / "swin.pth")
    model = create_backbone("swin_tiny", tmp_path / "swin.pth")
    own = model.stages[0].blocks[0].attn.w_msa
    assert torch.equal(own.qkv.weight, state["layers.0.blocks.0.attn.qkv.weight"])
    assert own.relative_position_index.max() == 168 and own.relative_position_index[0, 0] == 84
    assert torch.equal(model.norm3.weight, torch.ones(768))
    mmdet = {f"backbone.{key}": value for key, value in model.state_dict().items()}
    torch.save({"state_dict": {**mmdet, "bbox_head.fc.bias": torch.zeros(3)}}, tmp_path / "mmdet.pth")
    again = create_backbone("swin_tiny", tmp_path / "mmdet.pth", out_indices=(1, 3)).state_dict()
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in again.items())


def test_bias_tables_of_another_window_are_resized(tmp_path):
    table = official_file(tmp_path / "swin.pth")["layers.0.blocks.0.attn.relative_position_bias_table"]
    own = create_backbone("swin_tiny", tmp_path / "swin.pth", window_size=12).stages[0].blocks[0].attn.w_msa
    assert own.relative_position_bias_table.shape == (23 * 23, 3) and own.relative_position_index.shape == (144, 144)
    got, was = own.relative_position_bias_table.view(23, 23, 3), table.view(13, 13, 3)
    torch.testing.assert_close(got[11, 11], was[6, 6])  # both ends of the axes and the centre keep their places


def test_small_maps_are_shifted_in_the_dense_form_only():
    dense = SwinTransformer(**SMALL, window_size=5, output_norm=False)
    plain = SwinTransformer(**SMALL, window_size=5, output_norm=False, shift_small_maps=False)
    plain.load_state_dict(randomise(dense).state_dict())
    x = torch.randn(1, 3, 40, 40)  # maps of 10 x 10 and 5 x 5
    with torch.no_grad():
        shifted, still = dense(x), plain.eval()(x)
    assert torch.equal(shifted[0], still[0]) and not torch.allclose(shifted[1], still[1])


def test_position_embedding_of_another_size():
    model = randomise(SwinTransformer(**SMALL, use_abs_pos_embed=True, pretrain_img_size=64, frozen_stages=0))
    assert model.absolute_pos_embed.shape == (1, 256, 8) and not model.absolute_pos_embed.requires_grad
    with torch.no_grad():
        assert [y.shape[2:] for y in model(torch.randn(1, 3, 64, 64))] == [(16, 16), (8, 8)]
        assert [y.shape[2:] for y in model(torch.randn(1, 3, 50, 70))] == [(13, 18), (7, 9)]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({"strides": (4, 2, 2, 1)}, r"strides=\(4, 2, 2, 2\), got"), ({"num_heads": (3, 6)}, "heads of 4 stages")],
)
def test_mistakes_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SwinTransformer(**kwargs)
