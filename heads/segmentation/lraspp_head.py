"""LRASPPHead: the light decoder of MobileNetV3 (Howard et al., ICCV 2019, arXiv:1905.02244)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.segmentation.decode_head import DecodeHead, resize
from foveal.registry import MODELS

_POOL, _STEP = (49, 49), (16, 20)


class _Context(nn.Module):
    """Means of large windows, of the whole map where it is smaller than a window (mmseg stops there)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, h, w] to [N, C, h', w']."""
        window = [min(side, size) for side, size in zip(_POOL, x.shape[-2:], strict=True)]
        return F.avg_pool2d(x, window, _STEP)


@MODELS.register_module()
class LRASPPHead(DecodeHead):
    """Lite reduced ASPP: the coarsest map, gated by its context, is joined with finer ones on its way up.

    Args:
        in_channels: One number a map, finest first.
        channels: Channels inside.
        num_classes: K.
        branch_channels: Channels that each finer map is reduced to.
        in_index: Which feature maps. None: as many as ``in_channels`` has, from the first.
        input_transform: Must be ``multiple_select``.
        options: The other arguments of `DecodeHead`.

    Shape:
        maps [N, C_i, H_i, W_i] to logits [N, K, H_0, W_0].

    Raises:
        ConfigError: If ``branch_channels`` is not one number for each map but the coarsest.

    Source: ``lraspp_head.py`` of open-mmlab/mmsegmentation.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        *,
        num_classes: int,
        branch_channels: Sequence[int] = (32, 64),
        in_index: Sequence[int] | None = None,
        input_transform: str = "multiple_select",
        **options: Any,
    ) -> None:
        index = list(range(len(in_channels)) if in_index is None else in_index)
        several: dict[str, Any] = {"in_index": index, "input_transform": input_transform}
        super().__init__(in_channels, channels, num_classes=num_classes, **several, **options)
        if input_transform != "multiple_select" or len(branch_channels) != len(in_channels) - 1:
            raise ConfigError(
                "LRASPPHead needs input_transform='multiple_select' and branch_channels for all maps but the last: "
                f"got {input_transform!r}, {len(branch_channels)} of them and {len(in_channels)} maps"
            )
        kinds: dict[str, Any] = {"norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg, "bias": False}
        self.convs = nn.Sequential()
        self.conv_ups = nn.Sequential()
        for i, (width, branch) in enumerate(zip(in_channels[:-1], branch_channels, strict=True)):
            self.convs.add_module(f"conv{i}", nn.Conv2d(width, branch, 1, bias=False))
            self.conv_ups.add_module(f"conv_up{i}", ConvModule(channels + branch, channels, 1, **kinds))
        self.conv_up_input = nn.Conv2d(channels, channels, 1)
        self.aspp_conv = ConvModule(in_channels[-1], channels, 1, **kinds)
        gate = ConvModule(in_channels[-1], channels, 1, act_cfg={"type": "Sigmoid"}, bias=False)
        self.image_pool = nn.Sequential(_Context(), gate)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return logits [N, K, H_0, W_0] at the size of the finest chosen map of ``feats``."""
        *finer, coarsest = self.select(feats)
        x = self.aspp_conv(coarsest)
        x = self.conv_up_input(x * resize(self.image_pool(coarsest), x.shape[-2:], self.align_corners))
        for i in range(len(finer) - 1, -1, -1):
            x = resize(x, finer[i].shape[-2:], self.align_corners)
            x = self.conv_ups[i](torch.cat([x, self.convs[i](finer[i])], dim=1))
        return self.cls_seg(x)
