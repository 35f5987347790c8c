"""ASPPHead and DepthwiseSeparableASPPHead: DeepLabv3 and v3+ (Chen et al., arXiv:1706.05587, arXiv:1802.02611)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.segmentation.decode_head import DecodeHead, resize
from foveal.registry import MODELS


def _add_context(head: Any, dilations: Sequence[int], branch: Callable[[int], nn.Module]) -> None:
    """Give ``head`` the pooled branch, one branch a dilation and the convolution over all, under mmseg's names."""
    width, channels, kinds = head.in_channels, head.channels, head.kinds
    head.image_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvModule(width, channels, 1, **kinds))
    head.aspp_modules = nn.ModuleList(
        ConvModule(width, channels, 1, **kinds) if dilation == 1 else branch(dilation) for dilation in dilations
    )
    head.bottleneck = ConvModule((len(dilations) + 1) * channels, channels, 3, padding=1, **kinds)


def _context(head: Any, x: Tensor) -> Tensor:
    """Turn the chosen map [N, in_channels, h, w] into [N, channels, h, w]."""
    whole = resize(head.image_pool(x), x.shape[-2:], head.align_corners)
    return head.bottleneck(torch.cat([whole, *(branch(x) for branch in head.aspp_modules)], dim=1))


@MODELS.register_module()
class ASPPHead(DecodeHead):
    """Atrous spatial pyramid pooling: one map seen at several dilations, and as a whole.

    Args:
        in_channels: As in `DecodeHead`.
        channels: Channels inside.
        num_classes: K.
        dilations: Of the branches; 1 makes a 1x1 convolution.
        options: The other arguments of `DecodeHead`.

    Shape:
        one map [N, in_channels, h, w] to logits [N, K, h, w].

    Source: ``aspp_head.py`` of open-mmlab/mmsegmentation.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int,
        *,
        num_classes: int,
        dilations: Sequence[int] = (1, 6, 12, 18),
        **options: Any,
    ) -> None:
        super().__init__(in_channels, channels, num_classes=num_classes, **options)
        _add_context(
            self, dilations, lambda d: ConvModule(self.in_channels, channels, 3, padding=d, dilation=d, **self.kinds)
        )

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return logits [N, K, h, w] at the size of the chosen map of ``feats``."""
        return self.cls_seg(_context(self, self.select(feats)))


@MODELS.register_module()
class DepthwiseSeparableASPPHead(DecodeHead):
    """`ASPPHead` with depthwise separable branches, and a decoder that adds the first map of the backbone.

    Args:
        in_channels: As in `DecodeHead`.
        channels: Channels inside.
        c1_in_channels: Channels of the first map. 0: it is not used.
        c1_channels: Channels that it is reduced to; 0 where it is not used.
        num_classes: K.
        dilations: As in `ASPPHead`.
        options: The other arguments of `DecodeHead`.

    Shape:
        maps, of which the first and the chosen one count, to logits [N, K, H_0, W_0].

    Raises:
        ConfigError: If ``c1_channels`` is set without ``c1_in_channels``.

    Source: ``sep_aspp_head.py`` of open-mmlab/mmsegmentation.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int,
        *,
        c1_in_channels: int,
        c1_channels: int,
        num_classes: int,
        dilations: Sequence[int] = (1, 6, 12, 18),
        **options: Any,
    ) -> None:
        super().__init__(in_channels, channels, num_classes=num_classes, **options)
        if c1_in_channels == 0 and c1_channels != 0:
            raise ConfigError(f"{type(self).__name__} without c1_in_channels needs c1_channels=0, got {c1_channels}")
        _add_context(self, dilations, lambda d: self._separable(self.in_channels, d))
        self.c1_bottleneck = ConvModule(c1_in_channels, c1_channels, 1, **self.kinds) if c1_in_channels else None
        self.sep_bottleneck = nn.Sequential(self._separable(channels + c1_channels, 1), self._separable(channels, 1))

    def _separable(self, in_channels: int, dilation: int) -> nn.Module:
        kinds: dict[str, Any] = {"norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg}
        return DepthwiseSeparableConvModule(in_channels, self.channels, 3, padding=dilation, dilation=dilation, **kinds)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return logits [N, K, H_0, W_0] at the size of the first of ``feats``."""
        x = _context(self, self.select(feats))
        if self.c1_bottleneck is not None:
            fine = self.c1_bottleneck(feats[0])
            x = torch.cat([resize(x, fine.shape[-2:], self.align_corners), fine], dim=1)
        return self.cls_seg(self.sep_bottleneck(x))
