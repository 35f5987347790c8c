"""Assignment by overlap (Faster R-CNN, arXiv:1506.01497)."""

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
class MaxIoUAssigner:
    """Give each prior the ground-truth box that it overlaps most, as mmdet's assigner of this name.

    A prior whose best IoU is at least ``pos_iou_thr`` is positive, one below ``neg_iou_thr`` is background, one between
    is ignored. Then each ground-truth box claims the priors that overlap it most, however little.

    Args:
        pos_iou_thr: IoU in [0, 1].
        neg_iou_thr: IoU, or (low, high): background from low to below high, ignored below low.
        min_pos_iou: A ground-truth box claims its best priors only if their IoU is at least this. A box that no prior
            overlaps at all claims none.
        gt_max_assign_all: It claims all priors with the same largest IoU, not only the first.
        ignore_iof_thr: Priors that lie in an ignored (crowd) box by more than this share are ignored. Negative: none.
        ignore_wrt_candidates: The share is of the prior's area, not of the crowd's.
        match_low_quality: Do the second step; two-stage heads do not.
        gpu_assign_thr: With more ground-truth boxes than this the work is done on the CPU, to save device memory.
            Negative: never.
        iou_calculator: Config of what measures the overlap.
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | Sequence[float],
        min_pos_iou: float = 0.0,
        gt_max_assign_all: bool = True,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
        match_low_quality: bool = True,
        gpu_assign_thr: float = -1,
        iou_calculator: dict[str, Any] = OVERLAPS_2D,
    ) -> None:
        self.pos_iou_thr = pos_iou_thr
        low, high = (0.0, neg_iou_thr) if isinstance(neg_iou_thr, int | float) else neg_iou_thr
        self.neg_range = (low, high)
        self.min_pos_iou = min_pos_iou
        self.gt_max_assign_all = gt_max_assign_all
        self.ignore_iof_thr = ignore_iof_thr
        self.ignore_wrt_candidates = ignore_wrt_candidates
        self.match_low_quality = match_low_quality
        self.gpu_assign_thr = gpu_assign_thr
        self.iou_calculator = TASK_UTILS.build(iou_calculator)

    @torch.no_grad()
    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """Assign the priors of one image.

        Args:
            pred_instances: ``priors`` [P, 4].
            gt_instances: ``bboxes`` [G, 4] and ``labels`` [G]; G may be 0.
            gt_instances_ignore: ``bboxes`` of crowds, or None.

        Returns:
            The assignment of the P priors.
        """
        priors, boxes, labels = pred_instances.priors, gt_instances.bboxes, gt_instances.labels
        crowds = gt_instances_ignore.bboxes if gt_instances_ignore is not None else boxes[:0]
        device = priors.device
        if 0 < self.gpu_assign_thr < len(boxes):
            priors, boxes, labels, crowds = (x.cpu() for x in (priors, boxes, labels, crowds))
        boxes, crowds = boxes.to(priors.dtype), crowds.to(priors.dtype)
        overlaps = self.iou_calculator(boxes, priors)
        if self.ignore_iof_thr > 0 and len(crowds) and len(priors):
            overlaps = overlaps.masked_fill(self._in_crowd(priors, crowds), -1)
        gt_inds, max_overlaps = self._match(overlaps)
        return AssignResult.of(labels.to(device), gt_inds.to(device), max_overlaps.to(device))

    def _in_crowd(self, priors: Tensor, crowds: Tensor) -> Tensor:
        """Bool [P]: lies in a crowd box."""
        if self.ignore_wrt_candidates:
            share = self.iou_calculator(priors, crowds, mode="iof").amax(1)
        else:
            share = self.iou_calculator(crowds, priors, mode="iof").amax(0)
        return share > self.ignore_iof_thr

    def _match(self, overlaps: Tensor) -> tuple[Tensor, Tensor]:
        """From overlaps [G, P]: ``gt_inds`` [P] and ``max_overlaps`` [P]."""
        num_gts, num_priors = overlaps.shape
        if num_gts == 0 or num_priors == 0:
            # an image without boxes is all background
            return overlaps.new_zeros(num_priors, dtype=torch.long), overlaps.new_zeros(num_priors)
        best, which = overlaps.max(0)
        low, high = self.neg_range
        gt_inds = torch.where((best >= low) & (best < high), 0, -1)
        gt_inds = torch.where(best >= self.pos_iou_thr, which + 1, gt_inds)
        if self.match_low_quality:
            gt_best, gt_which = overlaps.max(1)
            claims = (gt_best >= self.min_pos_iou) & (gt_best > 0)
            if self.gt_max_assign_all:
                claimed = (overlaps == gt_best[:, None]) & claims[:, None]
            else:
                claimed = torch.zeros_like(overlaps, dtype=torch.bool).scatter_(1, gt_which[:, None], claims[:, None])
            # where several claim one prior, the last of them has it
            order = torch.arange(1, num_gts + 1, device=overlaps.device)[:, None]
            last = (claimed * order).amax(0)
            gt_inds = torch.where(last > 0, last, gt_inds)
        return gt_inds, best
