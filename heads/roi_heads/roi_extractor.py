"""Features of regions: each from the pyramid's level that suits its size (FPN, arXiv:1612.03144, equation 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from foveal.ops.dispatch import in_graph
from foveal.registry import MODELS


@MODELS.register_module()
class SingleRoIExtractor(nn.Module):
    """RoIAlign on one level a region, as mmdet's extractor of this name.

    Args:
        roi_layer: Config of `RoIAlign` without ``spatial_scale``, which is each level's.
        out_channels: C, of every level.
        featmap_strides: Pixels of the image to one of each level.
        finest_scale: Regions below twice this side in pixels are of the first level.
        init_cfg: Not used; mmdet's signature.
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
        self.roi_layers: Any = nn.ModuleList(
            MODELS.build({**roi_layer, "spatial_scale": 1 / s}) for s in featmap_strides
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
        if in_graph():
            return self._into_place(feats, rois, levels)
        # a level without regions is asked too: its gradient is then zero, which distributed training wants, not missing
        chosen = [(levels == level).nonzero().squeeze(1) for level in range(self.num_inputs)]
        parts = [
            layer(x, rois[of_level].to(x.dtype))
            for x, layer, of_level in zip(feats, self.roi_layers, chosen, strict=False)
        ]
        order = torch.cat(chosen)
        places = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        return torch.cat(parts).index_select(0, places)

    def _into_place(self, feats: Sequence[Tensor], rois: Tensor, levels: Tensor) -> Tensor:
        """`forward` for a graph for a file, where the number of regions of a level has to add up to a known one."""
        out = feats[0].new_zeros(len(rois), self.out_channels, *self.roi_layers[0].output_size)
        for level, (x, layer) in enumerate(zip(feats, self.roi_layers, strict=False)):
            chosen = (levels == level).nonzero().squeeze(1)
            out = out.index_put((chosen,), layer(x, rois[chosen].to(x.dtype)))
        return out

    def map_roi_levels(self, rois: Tensor) -> Tensor:
        """Return the level [K] of each region [K, 5]; the first for one that has no area."""
        scale = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).sqrt()
        levels = (scale / self.finest_scale + 1e-6).log2().floor()
        return levels.nan_to_num(0).clamp(0, self.num_inputs - 1).long()


def bbox2roi(boxes: Sequence[Tensor]) -> Tensor:
    """Return the boxes [K_i, 4] of several images as regions [K, 5] with the image's number before them."""
    return torch.cat([torch.cat((x.new_full((len(x), 1), i), x[:, :4]), 1) for i, x in enumerate(boxes)])
