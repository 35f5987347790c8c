"""HorNet's UPerHead, whose last convolution is a recursive gated one (NeurIPS 2022, arXiv:2207.14284, table 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from foveal.heads.segmentation.uper_head import UPerHead
from foveal.layers.gn_conv_module import GNConvModule
from foveal.registry import MODELS

GATED = {"type": "gnconv", "kernel_size": 3, "proj_out": False, "order": 2}


@MODELS.register_module()
class GNUPerHead(UPerHead):
    """`UPerHead` that fuses its maps by a recursive gated convolution; HorNet's arguments and keys.

    Args:
        in_channels: One number a map, finest first.
        channels: Channels everywhere inside.
        conv_cfg: Arguments of `GNConvModule`, of the last convolution; the others are mmcv's ``Conv2d``.
        in_index: Which feature maps. None: as many as ``in_channels`` has, from the first.
        options: The other arguments of `UPerHead`.

    Shape:
        maps [N, C_i, H_i, W_i] to logits [N, K, H_0, W_0].

    Source: ``semantic_segmentation/decode_heads/gn_uper_head.py`` of https://github.com/raoyongming/HorNet.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        *,
        conv_cfg: dict[str, Any] = GATED,
        in_index: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(in_channels, channels, in_index=in_index, **options)
        wide = len(self.in_channels) * channels
        kinds: dict[str, Any] = {"norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg}
        self.fpn_bottleneck = GNConvModule(channels, in_channels=wide, **kinds, **conv_cfg)
