"""RTMDet's assignment by cost with soft labels (Lyu et al., 2022, arXiv:2212.07784)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor

from foveal.heads.assigners.assign_result import AssignResult
from foveal.heads.assigners.dynamic_k import dynamic_k_matching
from foveal.registry import TASK_UTILS

EPS = 1e-7
OVERLAPS_2D = {"type": "BboxOverlaps2D"}


@TASK_UTILS.register_module()
class DynamicSoftLabelAssigner:
    """Give each ground-truth box the points that predict it best, as mmdet's assigner of this name.

    The class cost aims at the overlap, not at 1, and the distance from the centre adds to the cost.

    Args:
        soft_center_radius: Distance in strides from which on it costs more than 1, tenfold with each further stride.
        topk: A box gets as many points as these best overlaps sum up to, at least one.
        iou_weight: Weight of the overlap's logarithm in the cost.
        iou_calculator: Config of what measures the overlap.
    """

    def __init__(
        self,
        soft_center_radius: float = 3.0,
        topk: int = 13,
        iou_weight: float = 3.0,
        iou_calculator: dict[str, Any] = OVERLAPS_2D,
    ) -> None:
        self.soft_center_radius = soft_center_radius
        self.topk = topk
        self.iou_weight = iou_weight
        self.iou_calculator = TASK_UTILS.build(iou_calculator)

    @torch.no_grad()
    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """Assign the points of one image.

        Args:
            pred_instances: ``priors`` [P, 4] (x, y and the strides), ``bboxes`` [P, 4] and ``scores`` [P, C], logits.
            gt_instances: ``bboxes`` [G, 4], ``labels`` [G] and, where loaded, ``masks`` [G, H, W], whose centres of
                mass then serve as centres; G may be 0.
            gt_instances_ignore: Not used: points in crowds are background.

        Returns:
            The assignment of the P points; ``max_overlaps`` is the overlap with the assigned box.
        """
        priors = pred_instances.priors
        boxes, labels = gt_instances.bboxes.to(priors.dtype), gt_instances.labels
        if not len(boxes):
            return AssignResult.background(priors)
        points, strides = priors[:, None, :2], priors[:, 2:3]
        inside = torch.cat((points - boxes[:, :2], boxes[:, 2:] - points), dim=-1).amin(-1) > 0
        if "masks" in gt_instances:
            centers = center_of_mass(gt_instances.masks, priors.dtype)
        else:
            centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        distance = (points - centers).square().sum(-1).sqrt() / strides
        ious = self.iou_calculator(pred_instances.bboxes, boxes)
        cost = soft_class_cost(pred_instances.scores, labels, ious) - self.iou_weight * (ious + EPS).log()
        cost = cost + 10 ** (distance - self.soft_center_radius)
        return AssignResult.of(labels, *dynamic_k_matching(cost, ious, inside.any(1), self.topk))


def soft_class_cost(logits: Tensor, labels: Tensor, ious: Tensor) -> Tensor:
    """Quality focal loss [P, G] of logits [P, C] where the label's class aims at the overlap [P, G], the others at 0.

    Only one class differs from the sum over all negatives, which the boxes share: no [P, G, C] is made.
    """
    negative = F.softplus(logits) * logits.sigmoid().square()
    chosen = logits[:, labels]
    positive = F.binary_cross_entropy_with_logits(chosen, ious, reduction="none") * (ious - chosen.sigmoid()).square()
    return negative.sum(1, keepdim=True) - negative[:, labels] + positive


def center_of_mass(masks: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the mean x and y of each mask's pixels.

    Args:
        masks: [G, H, W], 0 and 1.
        dtype: Of the result.

    Returns:
        [G, 2] in pixels; 0, 0 for an empty mask.
    """
    masks = masks.to(dtype)
    columns, rows = masks.sum(1), masks.sum(2)  # [G, W], [G, H]
    total = columns.sum(1).clamp(min=EPS)
    x = columns @ torch.arange(columns.shape[1], dtype=dtype, device=masks.device)
    y = rows @ torch.arange(rows.shape[1], dtype=dtype, device=masks.device)
    return torch.stack((x / total, y / total), dim=1)
