"""RecursiveDet (Zhao et al., ICCV 2023, arXiv:2307.13619): the stages of Sparse R-CNN share their weights.

A shared stage tells its inputs apart by where boxes and the pixels within them lie: both are encoded.
Source: https://github.com/bravezzzzzz/RecursiveDet, ``projects/SparseRCNN``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn
from torchvision.ops import box_convert

from foveal.heads.roi_heads.dii_head import DIIHead
from foveal.heads.roi_heads.roi_extractor import bbox2roi
from foveal.heads.roi_heads.sparse_roi_head import SparseRoIHead, Stage, sizes_of
from foveal.layers.conditional_transformer import ConditionalAttention
from foveal.layers.positional_encoding import SinePositionalEncoding, coordinate_to_encoding
from foveal.layers.transformer import inverse_sigmoid
from foveal.registry import MODELS

Options = dict[str, Any]


@MODELS.register_module()
class RecursiveDIIHead(DIIHead):
    """`DIIHead` that knows where boxes lie (section 3.3 of the paper), and may look at regions twice (section 3.2).

    Boxes are learnt as centre and size, shares of the image, by offsets of their logits.

    Args:
        num_interactions: How often the dynamic convolution runs, with the same weights.
        in_channels: Channels of proposals and regions, a multiple of 4.
        num_heads: Heads of the attention.
        dropout: Probability that a number is dropped.
        head: The other arguments of `DIIHead`.
    """

    def __init__(
        self, num_interactions: int = 2, in_channels: int = 256, num_heads: int = 8, dropout: float = 0.0, **head: Any
    ) -> None:
        super().__init__(in_channels=in_channels, num_heads=num_heads, dropout=dropout, **head)
        self.num_interactions = num_interactions
        self.num_feats = in_channels // 2  # of one coordinate
        self.attention = ConditionalAttention(in_channels, num_heads, dropout, dropout)
        self.box_position = _two_layers(2 * in_channels, in_channels, in_channels)
        self.position_scale = _two_layers(in_channels, in_channels, in_channels)
        self.reference_size = _two_layers(in_channels, in_channels, 2)
        self.kernel_position = nn.Linear(in_channels, in_channels)
        self.region_position = nn.Linear(in_channels, in_channels)

    def forward(  # type: ignore[override]  # reads more than its parent
        self, roi_feat: Tensor, proposal_feat: Tensor, boxes: Tensor, places: Tensor, centerness: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, offsets of the boxes' logits and the proposals' new features.

        Args:
            roi_feat: [N * Q, in_channels, h, w].
            proposal_feat: [N, Q, in_channels].
            boxes: [N, Q, 4], centre and size, shares of the image.
            places: [N * Q, in_channels, h, w], the encoded places in the image of the regions' features.
            centerness: [h, w], see `centerness_of`.

        Returns:
            [N, Q, C], or C + 1 for a softmax; [N, Q, 4]; [N, Q, in_channels].
        """
        shape = proposal_feat.shape
        encoded = coordinate_to_encoding(boxes, self.num_feats)
        at = self.box_position(encoded)
        x = self.attention_norm(self.attention(proposal_feat, proposal_feat, at, at)).flatten(0, 1)
        centre, size = encoded.flatten(0, 1)[:, : shape[2]], boxes.flatten(0, 1)[:, 2:]
        # as the features' own places, these count less towards the border of the region
        seen = self.region_position((places * centerness).flatten(2).transpose(1, 2))
        for _ in range(self.num_interactions):
            shift = (seen * self._kernel_places(x, centre, size, centerness)).sum(2)
            filtered = self.instance_interactive_conv(x, roi_feat, shift)
            x = self.instance_interactive_conv_norm(x + self.instance_interactive_conv_dropout(filtered))
        return self._outputs(x, shape)

    def _kernel_places(self, x: Tensor, centre: Tensor, size: Tensor, centerness: Tensor) -> Tensor:
        """Return what the features' places are compared with, [N * Q, h * w, in_channels].

        The encoded centre of a box, y before x, scaled by its features, and by the box's size over a learnt one as in
        DAB-DETR (arXiv:2201.12329, equation 8).
        """
        width, height = (self.reference_size(x).sigmoid() / size).unsqueeze(2).unbind(1)
        y, x_part = (centre * self.position_scale(x)).chunk(2, 1)
        at = torch.cat((y * height, x_part * width), 1)
        return self.kernel_position(at.unsqueeze(1) * centerness.flatten()[:, None])

    def as_learnt(self, boxes: Tensor) -> Tensor:
        """Return centre and size: their distance is measured."""
        return box_convert(boxes, "xyxy", "cxcywh")


@MODELS.register_module()
class RecursiveRoIHead(SparseRoIHead):
    """Stages of which all but the first share one head. Keys ``bbox_head.0``, the first, and ``bbox_head.1``, the rest.

    Args:
        num_stages: S, 2 or more.
        stage_loss_weights: Factor of each stage's losses.
        bbox_roi_extractor: Config of what gives regions their features.
        bbox_head: Config of a `RecursiveDIIHead`; the first stage's looks at each region once.
        proposal_feature_channel: Not used; mmdet's signature.
        train_cfg: mmdet's ``rcnn``, one a stage: ``assigner``. None: cannot train.
        test_cfg: mmdet's ``rcnn``: ``max_per_img``.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        bbox_roi_extractor: Options,
        bbox_head: Options,
        proposal_feature_channel: int = 256,
        train_cfg: Sequence[Options] | None = None,
        test_cfg: Options | None = None,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        heads = [{**bbox_head, "num_interactions": 1}, bbox_head]
        super().__init__(2, (1, 1), bbox_roi_extractor, heads, 256, train_cfg, test_cfg, init_cfg)
        self.num_stages = num_stages
        self.stage_loss_weights = stage_loss_weights
        self.places = SinePositionalEncoding(self.bbox_head[0].num_feats, normalize=True)

    def head_of(self, stage: int) -> Any:
        """Return the first head, or that of all others."""
        return self.bbox_head[min(stage, 1)]

    def stages(
        self, feats: Sequence[Tensor], proposals: Sequence[InstanceData], data_samples: Sequence[BaseDataElement]
    ) -> list[Stage]:
        """Run all stages, as `SparseRoIHead.stages` does."""
        boxes = torch.stack([p.bboxes for p in proposals])
        features = torch.stack([p.features for p in proposals])
        sizes = sizes_of(data_samples, boxes).unsqueeze(1)
        shares = box_convert(boxes / sizes, "xyxy", "cxcywh")
        maps = [self.places(x.new_zeros(len(x), *x.shape[2:], dtype=torch.bool), x.dtype) for x in feats]
        centerness = centerness_of(self.bbox_roi_extractor.roi_layers[0].output_size[0]).to(boxes)
        outputs = []
        for stage in range(self.num_stages):
            rois = bbox2roi(list(boxes))
            regions, places = self.bbox_roi_extractor(feats, rois), self.bbox_roi_extractor(maps, rois)
            scores, codes, features = self.head_of(stage)(regions, features, shares, places, centerness)
            shares = (inverse_sigmoid(shares, 1e-3) + codes).sigmoid()
            boxes = box_convert(shares, "cxcywh", "xyxy") * sizes
            outputs.append((scores, boxes, features))
            shares, boxes = shares.detach(), boxes.detach()
        return outputs


def centerness_of(side: int) -> Tensor:
    """Return FCOS's centerness (arXiv:1904.01355, equation 3) of the cells of a region, [side, side]."""
    near = torch.arange(side) + 0.5
    ratio = torch.minimum(near, side - near) / torch.maximum(near, side - near)
    return (ratio[:, None] * ratio).sqrt()


def _two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, outputs))
