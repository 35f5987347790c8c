"""FCNHead: convolutions over one feature map (Long et al., CVPR 2015, arXiv:1411.4038)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.segmentation.decode_head import DecodeHead
from foveal.registry import MODELS


@MODELS.register_module()
class FCNHead(DecodeHead):
    """A few convolutions, optionally joined with their input, then a 1x1 classifier.

    Args:
        in_channels: As in `DecodeHead`.
        channels: Channels of the convolutions.
        num_classes: K.
        num_convs: Number of convolutions; with 0 ``in_channels`` must be ``channels``.
        kernel_size: Of them, odd.
        concat_input: Put the input beside their result, with one more convolution over both.
        dilation: Of them.
        options: The other arguments of `DecodeHead`.

    Shape:
        one map [N, in_channels, h, w] to logits [N, K, h, w].

    Source: ``fcn_head.py`` of open-mmlab/mmsegmentation.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int,
        *,
        num_classes: int,
        num_convs: int = 2,
        kernel_size: int = 3,
        concat_input: bool = True,
        dilation: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(in_channels, channels, num_classes=num_classes, **options)
        if num_convs == 0 and self.in_channels != channels:
            raise ConfigError(f"FCNHead without convs needs channels={self.in_channels}, got {channels}")
        kinds = self.kinds
        padding = kernel_size // 2
        widths = [self.in_channels] + [channels] * num_convs
        self.convs = nn.Sequential(
            *(
                ConvModule(width, channels, kernel_size, padding=padding * dilation, dilation=dilation, **kinds)
                for width in widths[:-1]
            )
        )
        self.conv_cat = (
            ConvModule(self.in_channels + channels, channels, kernel_size, padding=padding, **kinds)
            if concat_input
            else None
        )

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return logits [N, K, h, w] at the size of the chosen map of ``feats``."""
        x = self.select(feats)
        y = self.convs(x)
        if self.conv_cat is not None:
            y = self.conv_cat(torch.cat([x, y], dim=1))
        return self.cls_seg(y)
