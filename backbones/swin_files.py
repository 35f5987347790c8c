"""Swin's official files and timm's: their names, and bias tables of other windows."""

from __future__ import annotations

import re

import torch.nn.functional as F
from torch import Tensor

from foveal.backbones.catalog import StateDict

_FROM_OFFICIAL = (
    (r"^layers\.", "stages."),
    (r"^patch_embed\.proj\.", "patch_embed.projection."),
    (r"\.attn\.", ".attn.w_msa."),
    (r"\.mlp\.fc1\.", ".ffn.layers.0.0."),
    (r"\.mlp\.fc2\.", ".ffn.layers.1."),
    (r"^head\.fc\.", "head."),
)


def convert_state_dict(official: StateDict, wanted: StateDict) -> StateDict:
    """Turn the official names, or timm's, into mmdet's; resize the bias tables of other windows, as mmdet does."""
    state = rename(official) if "layers.0.blocks.0.attn.qkv.weight" in official else dict(official)
    for key, own in wanted.items():
        table = state.get(key)
        if key.endswith("relative_position_bias_table") and table is not None:
            state[key] = _resize(table, own)
            index = key.replace("bias_table", "index")
            state[index] = wanted[index]
    return state


def rename(official: StateDict) -> StateDict:
    """Turn the official names, or timm's, into mmdet's."""
    # timm has a merging at the head of the stage that it leads to
    late = int("layers.0.downsample.norm.weight" not in official)
    renamed = {}
    for key, value in official.items():
        if key.endswith("attn_mask"):
            continue
        merging = re.match(r"layers\.(\d)\.downsample\.", key)
        if merging:
            key = f"layers.{int(merging[1]) - late}.downsample.{key[merging.end() :]}"
            # there, of four pixels, a column after the other, with all channels; here row by row, channel by channel
            value = value.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :].transpose(-2, -1).flatten(-2)
        for pattern, new in _FROM_OFFICIAL:
            key = re.sub(pattern, new, key)
        renamed[key] = value
    return renamed


def _resize(table: Tensor, own: Tensor) -> Tensor:
    """A bias table for another window; as it is where it cannot be that."""
    sides = [round(t.shape[0] ** 0.5) for t in (table, own)]
    if table.shape == own.shape or table.ndim != 2 or sides[0] ** 2 != table.shape[0]:
        return table
    square = table.T.reshape(1, -1, sides[0], sides[0])
    resized = F.interpolate(square, (sides[1], sides[1]), mode="bicubic", align_corners=False)
    return resized.flatten(2)[0].T.contiguous()
