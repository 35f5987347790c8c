"""The losses of a head that classifies anchors and moves them, level by level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from foveal.heads.detection.anchor_targets import anchor_targets, usable_anchors
from foveal.heads.detection.dense import flatten_level, map_sizes


def anchor_losses(
    head: Any, cls_maps: Sequence[Tensor], box_maps: Sequence[Tensor], data_samples: Sequence[BaseDataElement]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the classification and box losses of every level.

    Args:
        head: With ``prior_generator``, ``assigner``, ``sampler``, ``bbox_coder``, ``train_cfg``, ``num_classes``,
            ``cls_out_channels``, ``reg_decoded_bbox``, ``loss_cls`` and ``loss_bbox``, as `RetinaHead` has them.
        cls_maps: Logits, [N, A * C, H_l, W_l] a level.
        box_maps: Offsets, [N, A * 4, H_l, W_l] a level.
        data_samples: N samples with ``gt_instances`` and the metainfo ``img_shape`` and ``pad_shape``.
    """
    logits = [flatten_level(x, head.cls_out_channels) for x in cls_maps]
    offsets = [flatten_level(x, 4) for x in box_maps]
    sizes = map_sizes(cls_maps)
    anchors = torch.cat(head.prior_generator.grid_priors(sizes, offsets[0].dtype, offsets[0].device))
    border = head.train_cfg.get("allowed_border", -1)
    usable = [usable_anchors(head.prior_generator, sizes, anchors, s.metainfo, border) for s in data_samples]
    pos_weight = head.train_cfg.get("pos_weight", -1)
    targets = anchor_targets(anchors, usable, data_samples, head.assigner, head.sampler, head.num_classes, pos_weight)
    goals = targets.boxes if head.reg_decoded_bbox else head.bbox_coder.encode(anchors, targets.boxes)
    # offsets of boxes that do not overlap the anchor may be infinite: infinity times weight 0 is not a number
    goals = goals.where(targets.positive[..., None], 0)
    counts = [level.shape[1] for level in logits]
    weights = targets.positive.to(goals.dtype)[..., None].expand(-1, -1, 4)
    pieces = (x.split(counts, dim=1) for x in (targets.labels, targets.label_weights, goals, weights))
    cls_losses, box_losses = [], []
    for level, (labels, label_weights, goal, weight) in enumerate(zip(*pieces, strict=True)):
        scores = logits[level].reshape(-1, head.cls_out_channels)
        factor = {"avg_factor": targets.avg_factor}
        cls_losses.append(head.loss_cls(scores, labels.reshape(-1), label_weights.reshape(-1), **factor))
        boxes = offsets[level]
        if head.reg_decoded_bbox:
            boxes = head.bbox_coder.decode(anchors.split(counts)[level].expand_as(boxes), boxes)
        box_losses.append(head.loss_bbox(boxes.reshape(-1, 4), goal.reshape(-1, 4), weight.reshape(-1, 4), **factor))
    return cls_losses, box_losses
