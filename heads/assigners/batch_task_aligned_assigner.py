"""Task-aligned assignment of whole batches (TOOD, Feng et al., ICCV 2021, arXiv:2108.07755), as YOLOv8 has it."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.registry import TASK_UTILS
from foveal.structures.boxes import complete_iou

EPS = 1e-9


@TASK_UTILS.register_module()
class BatchTaskAlignedAssigner:
    """Give each true box the points inside it that classify and locate it best.

    The overlap is the complete IoU, and only points inside a box compete for it, unlike in mmdet's assigner for TOOD.

    Args:
        topk: At most so many points a box.
        alpha: Exponent of the score of the box's class,
        beta: and of the overlap, in the product that points are compared by.
    """

    def __init__(self, topk: int = 13, alpha: float = 1.0, beta: float = 6.0) -> None:
        self.topk = topk
        self.alpha = alpha
        self.beta = beta

    @torch.no_grad()
    def assign(
        self, scores: Tensor, bboxes: Tensor, points: Tensor, gt_bboxes: Tensor, gt_labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Assign the points of a batch.

        Args:
            scores: [N, P, C] in [0, 1].
            bboxes: Predictions [N, P, 4] in pixels.
            points: [P, 2], x and y in pixels.
            gt_bboxes: [N, G, 4] in pixels, G at least 1; what is missing in an image is 0.
            gt_labels: int64 [N, G].

        Returns:
            int64 [N, P], 0 where a point has no box and else the box's number plus 1; and what its score should be
            [N, P], in [0, 1], 0 where it has none.
        """
        sides = torch.cat((points - gt_bboxes[:, :, None, :2], gt_bboxes[:, :, None, 2:] - points), dim=-1)
        inside = sides.amin(-1) > EPS
        overlaps = complete_iou(gt_bboxes[:, :, None], bboxes[:, None], shape_from=-1, eps=1e-7).clamp(min=0)
        overlaps = overlaps.where(inside, 0)
        classes = gt_labels[:, :, None].expand(-1, -1, scores.shape[1])
        metric = scores.transpose(1, 2).gather(1, classes) ** self.alpha * overlaps**self.beta
        best = metric.topk(min(self.topk, metric.shape[2]), dim=2).indices
        chosen = torch.zeros_like(inside).scatter_(2, best, True) & inside
        # a point that several boxes want is that one's which it overlaps most, even where that is none of them
        own = torch.zeros_like(inside).scatter_(1, overlaps.argmax(1, keepdim=True), True)
        chosen = torch.where(chosen.sum(1, keepdim=True) > 1, own, chosen)
        metric, overlaps = metric * chosen, overlaps * chosen
        quality = metric * overlaps.amax(2, keepdim=True) / (metric.amax(2, keepdim=True) + EPS)
        gt_inds = torch.where(chosen.any(1), chosen.int().argmax(1) + 1, 0)
        return gt_inds, quality.amax(1)
