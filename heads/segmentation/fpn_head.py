"""FPNHead: the semantic branch of Panoptic FPN (Kirillov et al., CVPR 2019, arXiv:1901.02446)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.segmentation.decode_head import DecodeHead, resize
from foveal.registry import MODELS


@MODELS.register_module()
class FPNHead(DecodeHead):
    """Every map climbs to the finest size, a convolution a doubling, and all are added.

    Args:
        in_channels: One number a map, finest first.
        channels: Channels inside.
        num_classes: K.
        feature_strides: Stride of each map, powers of two, the first the smallest.
        in_index: Which feature maps. None: as many as ``in_channels`` has, from the first.
        options: The other arguments of `DecodeHead`, without ``input_transform``.

    Shape:
        maps [N, C_i, H_i, W_i] to logits [N, K, H_0, W_0].

    Raises:
        ConfigError: If there is not one stride a map, or the first is not the smallest.

    Source: ``fpn_head.py`` of open-mmlab/mmsegmentation.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        *,
        num_classes: int,
        feature_strides: Sequence[int],
        in_index: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        index = list(range(len(in_channels)) if in_index is None else in_index)
        several: dict[str, Any] = {"in_index": index, "input_transform": "multiple_select"}
        super().__init__(in_channels, channels, num_classes=num_classes, **several, **options)
        if len(feature_strides) != len(in_channels) or min(feature_strides) != feature_strides[0]:
            raise ConfigError(
                f"FPNHead.feature_strides needs one stride for each of {len(in_channels)} maps, the smallest first, "
                f"got {tuple(feature_strides)}"
            )
        self.scale_heads = nn.ModuleList()
        for width, stride in zip(in_channels, feature_strides, strict=True):
            doublings = (stride // feature_strides[0]).bit_length() - 1
            layers: list[nn.Module] = []
            for i in range(max(1, doublings)):
                layers.append(ConvModule(channels if i else width, channels, 3, padding=1, **self.kinds))
                if doublings:
                    layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=self.align_corners))
            self.scale_heads.append(nn.Sequential(*layers))

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return logits [N, K, H_0, W_0] at the size of the finest chosen map of ``feats``."""
        first, *others = (head(x) for head, x in zip(self.scale_heads, self.select(feats), strict=True))
        for x in others:
            first = first + resize(x, first.shape[-2:], self.align_corners)
        return self.cls_seg(first)
