"""UPerHead: pyramid pooling on the coarsest map, then a feature pyramid (Xiao et al., ECCV 2018, arXiv:1807.10221)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from foveal.heads.segmentation.decode_head import DecodeHead, resize
from foveal.heads.segmentation.psp_head import PPM
from foveal.layers.gn_conv_module import GNConvModule
from foveal.registry import MODELS


@MODELS.register_module()
class UPerHead(DecodeHead):
    """Unified perceptual parsing: PPM on the coarsest map, FPN over all, one classifier at the finest size.

    Args:
        in_channels: One number a map, finest first.
        channels: Channels everywhere inside.
        num_classes: K.
        pool_scales: Of the PPM.
        gn_conv_cfg: Arguments of `GNConvModule`: fuse the maps by a recursive gated convolution, as HorNet does
            (arXiv:2207.14284, table 4; its ``GNUPerHead``). None: by a convolution.
        in_index: Which feature maps. None: as many as ``in_channels`` has, from the first.
        options: The other arguments of `DecodeHead`, without ``input_transform``.

    Shape:
        maps [N, C_i, H_i, W_i] to logits [N, K, H_0, W_0].

    Source: ``uper_head.py`` of open-mmlab/mmsegmentation; ``semantic_segmentation/decode_heads/gn_uper_head.py`` of
    https://github.com/raoyongming/HorNet.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        *,
        num_classes: int,
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        gn_conv_cfg: dict[str, Any] | None = None,
        in_index: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        index = range(len(in_channels)) if in_index is None else in_index
        super().__init__(
            in_channels,
            channels,
            num_classes=num_classes,
            in_index=list(index),
            input_transform="multiple_select",
            **options,
        )
        kinds = self.kinds
        *finer, coarsest = in_channels
        self.psp_modules = PPM(pool_scales, coarsest, channels, self.align_corners, kinds)
        self.bottleneck = ConvModule(coarsest + len(pool_scales) * channels, channels, 3, padding=1, **kinds)
        # these activations must not overwrite their input: the sums of the top-down path still need it
        self.lateral_convs = nn.ModuleList(ConvModule(c, channels, 1, inplace=False, **kinds) for c in finer)
        self.fpn_convs = nn.ModuleList(
            ConvModule(channels, channels, 3, padding=1, inplace=False, **kinds) for _ in finer
        )
        wide = len(in_channels) * channels
        self.fpn_bottleneck: nn.Module
        if gn_conv_cfg is None:
            self.fpn_bottleneck = ConvModule(wide, channels, 3, padding=1, **kinds)
        else:
            given: dict[str, Any] = {"norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg, **gn_conv_cfg}
            self.fpn_bottleneck = GNConvModule(channels, in_channels=wide, **given)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return logits [N, K, H_0, W_0] at the size of the finest chosen map of ``feats``."""
        *finer, coarsest = self.select(feats)
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, finer, strict=True)]
        laterals.append(self.bottleneck(torch.cat(self.psp_modules(coarsest), dim=1)))
        for i in range(len(laterals) - 1, 0, -1):
            laterals[i - 1] = laterals[i - 1] + resize(laterals[i], laterals[i - 1].shape[-2:], self.align_corners)
        outs = [conv(x) for conv, x in zip(self.fpn_convs, laterals[:-1], strict=True)] + laterals[-1:]
        outs = [resize(x, outs[0].shape[-2:], self.align_corners) for x in outs]
        return self.cls_seg(self.fpn_bottleneck(torch.cat(outs, dim=1)))
