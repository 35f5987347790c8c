"""Adaptive training sample selection (Zhang et al., CVPR 2020, arXiv:1912.02424)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from foveal.heads.assigners.assign_result import AssignResult
from foveal.registry import TASK_UTILS

OVERLAPS_2D = {"type": "BboxOverlaps2D"}


@TASK_UTILS.register_module()
class ATSSAssigner:
    """Take each box's nearest anchors of every level whose overlap stands out among them, as mmdet's of this name.

    An anchor is positive if its centre lies in the box and its overlap is at least the candidates' mean plus standard
    deviation. All others are background.

    Args:
        topk: Candidates of each level.
        iou_calculator: Config of what measures the overlap.
        ignore_iof_thr: Anchors that lie in an ignored (crowd) box by more than this share are ignored. Negative: none.
    """

    # candidates are picked level by level
    needs_levels = True

    def __init__(self, topk: int, iou_calculator: dict[str, Any] = OVERLAPS_2D, ignore_iof_thr: float = -1) -> None:
        self.topk = topk
        self.iou_calculator = TASK_UTILS.build(iou_calculator)
        self.ignore_iof_thr = ignore_iof_thr

    @torch.no_grad()
    def assign(
        self,
        pred_instances: InstanceData,
        num_level_priors: Sequence[int],
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """Assign the anchors of one image.

        Args:
            pred_instances: ``priors`` [P, 4] x1, y1, x2, y2, level by level.
            num_level_priors: Anchors of each level; their sum is P.
            gt_instances: ``bboxes`` [G, 4] and ``labels`` [G]; G may be 0.
            gt_instances_ignore: ``bboxes`` of crowds, or None.

        Returns:
            The assignment of the P anchors.
        """
        priors = pred_instances.priors
        boxes, labels = gt_instances.bboxes.to(priors.dtype), gt_instances.labels
        if not len(boxes):
            return AssignResult.background(priors)
        overlaps = self.iou_calculator(priors, boxes)
        centers = (priors[:, :2] + priors[:, 2:]) / 2
        distances = torch.cdist(centers, (boxes[:, :2] + boxes[:, 2:]) / 2, compute_mode="donot_use_mm_for_euclid_dist")
        ignored = torch.zeros_like(priors[:, 0], dtype=torch.bool)
        if self.ignore_iof_thr > 0 and gt_instances_ignore is not None and len(gt_instances_ignore.bboxes):
            crowds = gt_instances_ignore.bboxes.to(priors.dtype)
            ignored = self.iou_calculator(priors, crowds, mode="iof").amax(1) > self.ignore_iof_thr
            distances = distances.masked_fill(ignored[:, None], torch.inf)
        candidates = self._nearest(distances, num_level_priors)
        near = overlaps.gather(0, candidates)
        spots = centers[candidates]  # [K, G, 2]
        inside = torch.cat((spots - boxes[:, :2], boxes[:, 2:] - spots), dim=-1).amin(-1) > 0.01
        positive = (near >= near.mean(0) + near.std(0)) & inside
        chosen = torch.zeros_like(overlaps, dtype=torch.bool).scatter_(0, candidates, positive)
        # an anchor that several boxes take is that of the box it overlaps most
        best, which = overlaps.where(chosen, -1).max(1)
        gt_inds = torch.where(chosen.any(1), which + 1, torch.where(ignored, -1, 0))
        return AssignResult.of(labels, gt_inds, best)

    def _nearest(self, distances: Tensor, counts: Sequence[int]) -> Tensor:
        """Indices [K, G] of the ``topk`` anchors of each level that are nearest to each box."""
        picked, start = [], 0
        for level in distances.split(list(counts)):
            picked.append(level.topk(min(self.topk, len(level)), dim=0, largest=False).indices + start)
            start += len(level)
        return torch.cat(picked)
