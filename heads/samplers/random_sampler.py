"""A fixed number of priors, drawn at random."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.registry import TASK_UTILS


@TASK_UTILS.register_module()
class RandomSampler:
    """Draw positives and negatives uniformly (Faster R-CNN, arXiv:1506.01497), as mmdet's sampler of this name.

    Args:
        num: Priors drawn from an image.
        pos_fraction: Largest share of positives; what they leave is filled with negatives.
        neg_pos_ub: At most this many negatives for each positive. Negative: no limit.
        add_gt_as_proposals: A second stage takes the true boxes as proposals too.
    """

    avg_factor_with_neg = True

    def __init__(self, num: int, pos_fraction: float, neg_pos_ub: float = -1, add_gt_as_proposals: bool = True) -> None:
        self.num = num
        self.pos_fraction = pos_fraction
        self.neg_pos_ub = neg_pos_ub
        self.add_gt_as_proposals = add_gt_as_proposals

    def select(self, gt_inds: Tensor) -> Tensor:
        """Return which priors take part in the loss.

        Args:
            gt_inds: int64 [P] of an `AssignResult`: 0 background, -1 ignored, i + 1 ground-truth box i.

        Returns:
            ``gt_inds``, with -1 where a prior was not sampled.
        """
        positive, negative = gt_inds > 0, gt_inds == 0
        # a random rank within each group replaces index lists, whose lengths would have to be read from the device
        order = torch.rand(gt_inds.shape, device=gt_inds.device)
        pos_kept = positive.sum().clamp(max=int(self.num * self.pos_fraction))
        neg_kept = self.num - pos_kept
        if self.neg_pos_ub >= 0:
            neg_kept = torch.minimum(neg_kept, (pos_kept.clamp(min=1) * self.neg_pos_ub).long())
        kept = (positive & (_rank(order, positive) < pos_kept)) | (negative & (_rank(order, negative) < neg_kept))
        return gt_inds.where(kept, -1)


def _rank(order: Tensor, group: Tensor) -> Tensor:
    """Position of each member when the members of ``group`` are sorted by ``order``."""
    return order.masked_fill(~group, 2.0).argsort().argsort()
