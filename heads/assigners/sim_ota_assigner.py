"""Assignment by cost (SimOTA, Ge et al., 2021, arXiv:2107.08430)."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from foveal.heads.assigners.assign_result import AssignResult
from foveal.heads.assigners.dynamic_k import dynamic_k_matching
from foveal.registry import TASK_UTILS

INF = 1e5
EPS = 1e-7
OVERLAPS_2D = {"type": "BboxOverlaps2D"}


@TASK_UTILS.register_module()
class SimOTAAssigner:
    """Give each ground-truth box the points that predict it best, as mmdet's assigner of this name.

    Points in a box or near its centre may be chosen. Those in both are preferred.

    Args:
        center_radius: How near, in strides.
        candidate_topk: A box gets as many points as these best overlaps sum up to, at least one.
        iou_weight: Weight of the overlap's logarithm in the cost.
        cls_weight: Weight of the class scores' cross-entropy.
        iou_calculator: Config of what measures the overlap.
    """

    def __init__(
        self,
        center_radius: float = 2.5,
        candidate_topk: int = 10,
        iou_weight: float = 3.0,
        cls_weight: float = 1.0,
        iou_calculator: dict[str, Any] = OVERLAPS_2D,
    ) -> None:
        self.center_radius = center_radius
        self.candidate_topk = candidate_topk
        self.iou_weight = iou_weight
        self.cls_weight = cls_weight
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
            pred_instances: ``priors`` [P, 4] (x, y and the strides), ``bboxes`` [P, 4] and ``scores`` [P, C] in [0, 1].
            gt_instances: ``bboxes`` [G, 4] and ``labels`` [G]; G may be 0.
            gt_instances_ignore: Not used: points in crowds are background.

        Returns:
            The assignment of the P points.
        """
        priors, predicted = pred_instances.priors, pred_instances.bboxes
        boxes, labels = gt_instances.bboxes.to(priors.dtype), gt_instances.labels
        if not len(boxes):
            return AssignResult.background(priors)
        in_box, near_center = self._inside(priors, boxes)
        ious = self.iou_calculator(predicted, boxes)
        cost = (
            self.cls_weight * class_cost(pred_instances.scores, labels)
            - self.iou_weight * (ious + EPS).log()
            + ~(in_box & near_center) * INF
        )
        valid = in_box.any(1) | near_center.any(1)
        return AssignResult.of(labels, *dynamic_k_matching(cost, ious, valid, self.candidate_topk))

    def _inside(self, priors: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Bool [P, G] each: the point lies in the box, and near its centre."""
        points, reach = priors[:, None, :2], self.center_radius * priors[:, None, 2:]
        center = (boxes[:, :2] + boxes[:, 2:]) / 2
        in_box = torch.cat((points - boxes[:, :2], boxes[:, 2:] - points), dim=-1).amin(-1) > 0
        near = torch.cat((points - (center - reach), center + reach - points), dim=-1).amin(-1) > 0
        return in_box, near


def class_cost(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy [P, G] of probabilities [P, C] with the one-hot labels [G], summed over the classes."""
    scores = scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores
    negative = -(1 - scores).log().clamp(min=-100)
    positive = -scores.log().clamp(min=-100)
    return negative.sum(1, keepdim=True) - negative[:, labels] + positive[:, labels]
