"""PSPHead: pooled contexts of several sizes beside the map (Zhao et al., CVPR 2017, arXiv:1612.01105)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from foveal.heads.segmentation.decode_head import DecodeHead, resize
from foveal.registry import MODELS


class PPM(nn.ModuleList):
    """Pyramid pooling module of PSPNet.

    Args:
        pool_scales: Side, in cells, of each pooled map.
        in_channels: Channels of the input.
        channels: Channels of each result.
        align_corners: As in ``torch.nn.functional.interpolate``.
        kinds: ``conv_cfg``, ``norm_cfg``, ``act_cfg`` of the 1x1 convolutions.
    """

    def __init__(
        self, pool_scales: Sequence[int], in_channels: int, channels: int, align_corners: bool, kinds: dict[str, Any]
    ) -> None:
        super().__init__(
            nn.Sequential(nn.AdaptiveAvgPool2d(scale), ConvModule(in_channels, channels, 1, **kinds))
            for scale in pool_scales
        )
        self.align_corners = align_corners

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return ``x`` [N, C, h, w] and, of its size, one map [N, channels, h, w] for each scale."""
        return [x] + [resize(pool(x), x.shape[-2:], self.align_corners) for pool in self]


@MODELS.register_module()
class PSPHead(DecodeHead):
    """Pyramid pooling of one map, a 3x3 convolution over all of it, a classifier.

    Args:
        in_channels: As in `DecodeHead`.
        channels: Channels inside.
        num_classes: K.
        pool_scales: Of the `PPM`.
        options: The other arguments of `DecodeHead`.

    Shape:
        one map [N, in_channels, h, w] to logits [N, K, h, w].

    Source: ``psp_head.py`` of open-mmlab/mmsegmentation.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int,
        *,
        num_classes: int,
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        **options: Any,
    ) -> None:
        super().__init__(in_channels, channels, num_classes=num_classes, **options)
        self.psp_modules = PPM(pool_scales, self.in_channels, channels, self.align_corners, self.kinds)
        stacked = self.in_channels + len(pool_scales) * channels
        self.bottleneck = ConvModule(stacked, channels, 3, padding=1, **self.kinds)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return logits [N, K, h, w] at the size of the chosen map of ``feats``."""
        x = self.select(feats)
        return self.cls_seg(self.bottleneck(torch.cat(self.psp_modules(x), dim=1)))
