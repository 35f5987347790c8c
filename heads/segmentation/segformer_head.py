"""SegformerHead: one linear layer a map, then one over all (Xie et al., NeurIPS 2021, arXiv:2105.15203)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from foveal.heads.segmentation.decode_head import DecodeHead
from foveal.layers.state_dict import take_over
from foveal.registry import MODELS


@MODELS.register_module()
class SegformerHead(DecodeHead):
    """1x1 convolutions of every map, resized to the finest, and a 1x1 convolution over them together.

    Args:
        in_channels: One number a map, finest first.
        channels: Channels inside.
        num_classes: K.
        interpolate_mode: ``mode`` of ``torch.nn.functional.interpolate``.
        bare_convs: The maps' convolutions have a bias and no norm or activation, as the authors' linear layers; mmseg's
            have a norm and an activation.
        in_index: Which feature maps. None: as many as ``in_channels`` has, from the first.
        options: The other arguments of `DecodeHead`, without ``input_transform``.

    Shape:
        maps [N, C_i, H_i, W_i] to logits [N, K, H_0, W_0].

    Source: ``segformer_head.py`` of open-mmlab/mmsegmentation, and of NVlabs/SegFormer, whose files load too where
    ``bare_convs`` is set, under NVIDIA's or Hugging Face's names.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        *,
        num_classes: int,
        interpolate_mode: str = "bilinear",
        bare_convs: bool = False,
        in_index: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        index = list(range(len(in_channels)) if in_index is None else in_index)
        several: dict[str, Any] = {"in_index": index, "input_transform": "multiple_select"}
        super().__init__(in_channels, channels, num_classes=num_classes, **several, **options)
        self.interpolation: dict[str, Any] = {"mode": interpolate_mode}
        if interpolate_mode in ("bilinear", "bicubic"):
            self.interpolation["align_corners"] = self.align_corners
        bare: dict[str, Any] = {"norm_cfg": None, "act_cfg": None}
        kinds: dict[str, Any] = bare if bare_convs else {"norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg}
        self.convs = nn.ModuleList(ConvModule(c, channels, 1, **kinds) for c in in_channels)
        self.fusion_conv = ConvModule(len(in_channels) * channels, channels, 1, norm_cfg=self.norm_cfg)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return logits [N, K, H_0, W_0] at the size of the finest chosen map of ``feats``."""
        maps = [conv(x) for conv, x in zip(self.convs, self.select(feats), strict=True)]
        size = maps[0].shape[-2:]
        maps = [x if x.shape[-2:] == size else F.interpolate(x, size, **self.interpolation) for x in maps]
        return self.cls_seg(self.fusion_conv(torch.cat(maps, dim=1)))

    def adapt_state_dict(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Take the head out of NVIDIA's SegFormer, or out of the copy of it in Hugging Face's names."""
        theirs = "decode_head."
        fuse = f"{theirs}linear_fuse."
        if not any(key.startswith(fuse) for key in state_dict):
            return
        state_dict.pop(f"{theirs}conv_seg.weight", None)  # of a base class, never used
        state_dict.pop(f"{theirs}conv_seg.bias", None)
        take_over(state_dict, theirs, prefix, _mmseg_name)
        for i in range(len(self.convs)):
            key = f"{prefix}convs.{i}.conv.weight"
            if key in state_dict:
                state_dict[key] = state_dict[key].reshape(*state_dict[key].shape[:2], 1, 1)
        key = f"{prefix}fusion_conv.conv.weight"
        # theirs has the coarsest map first
        state_dict[key] = torch.cat(state_dict[key].chunk(len(self.convs), dim=1)[::-1], dim=1)


def _mmseg_name(name: str) -> str:
    """The name below the head of a part of NVIDIA's, who count maps from 1, or Hugging Face's, who do from 0."""
    name = re.sub(r"^linear_c(\d)\.proj\.", lambda part: f"convs.{int(part[1]) - 1}.conv.", name)
    name = re.sub(r"^linear_c\.(\d)\.proj\.", r"convs.\1.conv.", name)
    name = re.sub(r"^linear_fuse\.(conv\.)?weight", "fusion_conv.conv.weight", name)
    name = re.sub(r"^(linear_fuse\.bn|batch_norm)\.", "fusion_conv.bn.", name)
    return re.sub(r"^(linear_pred|classifier)\.", "conv_seg.", name)
