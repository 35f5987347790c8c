"""Features of regions: each from the pyramid's level that suits its size (FPN, arXiv:1612.03144, equation 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from foveal.errors import ConfigError
from foveal.registry import MODELS


@MODELS.register_module()
class SingleRoIExtractor(nn.Module):
    """RoIAlign on one level a region, as mmdet's extractor of this name.

    Args:
        roi_layer: ``type='RoIAlign'``, ``output_size`` (a number or (h, w)), ``sampling_ratio`` (0: as many points as
            pixels) and ``aligned``, as in mmcv.
        out_channels: C, of every level.
        featmap_strides: Pixels of the image to one of each level.
        finest_scale: Regions below twice this side in pixels are of the first level.
        init_cfg: Not used; mmdet's signature.

    Raises:
        ConfigError: If ``roi_layer`` names another layer.
    """

    def __init__(
        self,
        roi_layer: dict[str, Any],
        out_channels: int,
        featmap_strides: Sequence[int],
        finest_scale: int = 56,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        layer = dict(roi_layer)
        if layer.pop("type") != "RoIAlign":
            raise ConfigError(f"roi_layer.type must be 'RoIAlign', got {roi_layer['type']!r}")
        size = layer.pop("output_size")
        self.output_size = (size, size) if isinstance(size, int) else tuple(size)
        self.sampling_ratio = layer.pop("sampling_ratio", 0)
        self.aligned = layer.pop("aligned", True)
        if layer:
            raise ConfigError(
                f"roi_layer has no argument {', '.join(layer)}; it takes output_size, sampling_ratio, aligned"
            )
        self.out_channels = out_channels
        self.featmap_strides = tuple(featmap_strides)
        self.finest_scale = finest_scale

    @property
    def num_inputs(self) -> int:
        """Number of levels that are read."""
        return len(self.featmap_strides)

    def forward(self, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Return the features of regions.

        Args:
            feats: One [N, C, H_l, W_l] a level.
            rois: [K, 5]: number of the image, x1, y1, x2, y2 in pixels.

        Returns:
            [K, C, h, w].
        """
        levels = self.map_roi_levels(rois)
        # the gradient of an empty set reaches every level, which distributed training wants
        out = feats[0].new_zeros(len(rois), self.out_channels, *self.output_size) + sum(x.sum() for x in feats) * 0
        for level, (x, stride) in enumerate(zip(feats, self.featmap_strides, strict=False)):
            chosen = (levels == level).nonzero().squeeze(1)
            pooled = roi_align(
                x, rois[chosen].to(x.dtype), self.output_size, 1 / stride, self.sampling_ratio, self.aligned
            )
            out = out.index_copy(0, chosen, pooled)
        return out

    def map_roi_levels(self, rois: Tensor) -> Tensor:
        """Return the level [K] of each region [K, 5]."""
        scale = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).sqrt()
        levels = (scale / self.finest_scale + 1e-6).log2().floor()
        return levels.clamp(0, self.num_inputs - 1).long()


def bbox2roi(boxes: Sequence[Tensor]) -> Tensor:
    """Return the boxes [K_i, 4] of several images as regions [K, 5] with the image's number before them."""
    return torch.cat([torch.cat((x.new_full((len(x), 1), i), x[:, :4]), 1) for i, x in enumerate(boxes)])
