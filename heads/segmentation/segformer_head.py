"""SegformerHead: one linear layer a map, then one over all (Xie et al., NeurIPS 2021, arXiv:2105.15203)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from foveal.heads.segmentation.decode_head import DecodeHead
from foveal.registry import MODELS


@MODELS.register_module()
class SegformerHead(DecodeHead):
    """1x1 convolutions of every map, resized to the finest, and a 1x1 convolution over them together.

    Args:
        in_channels: One number a map, finest first.
        channels: Channels inside.
        num_classes: K.
        interpolate_mode: ``mode`` of ``torch.nn.functional.interpolate``.
        in_index: Which feature maps. None: as many as ``in_channels`` has, from the first.
        options: The other arguments of `DecodeHead`, without ``input_transform``.

    Shape:
        maps [N, C_i, H_i, W_i] to logits [N, K, H_0, W_0].

    Source: ``segformer_head.py`` of open-mmlab/mmsegmentation.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        *,
        num_classes: int,
        interpolate_mode: str = "bilinear",
        in_index: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        index = list(range(len(in_channels)) if in_index is None else in_index)
        several: dict[str, Any] = {"in_index": index, "input_transform": "multiple_select"}
        super().__init__(in_channels, channels, num_classes=num_classes, **several, **options)
        self.interpolation: dict[str, Any] = {"mode": interpolate_mode}
        if interpolate_mode in ("bilinear", "bicubic"):
            self.interpolation["align_corners"] = self.align_corners
        kinds: dict[str, Any] = {"norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg}
        self.convs = nn.ModuleList(ConvModule(c, channels, 1, **kinds) for c in in_channels)
        self.fusion_conv = ConvModule(len(in_channels) * channels, channels, 1, norm_cfg=self.norm_cfg)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return logits [N, K, H_0, W_0] at the size of the finest chosen map of ``feats``."""
        maps = [conv(x) for conv, x in zip(self.convs, self.select(feats), strict=True)]
        size = maps[0].shape[-2:]
        maps = [x if x.shape[-2:] == size else F.interpolate(x, size, **self.interpolation) for x in maps]
        return self.cls_seg(self.fusion_conv(torch.cat(maps, dim=1)))
