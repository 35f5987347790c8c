"""The matching that SimOTA and RTMDet's assigner share (OTA, arXiv:2103.14259, made simple in arXiv:2107.08430)."""

from __future__ import annotations

import torch
from torch import Tensor


def dynamic_k_matching(cost: Tensor, ious: Tensor, valid: Tensor, topk: int) -> tuple[Tensor, Tensor]:
    """Give each ground-truth box as many of its cheapest priors as its best predictions overlap it in sum.

    Nothing is read back from the device.

    Args:
        cost: [P, G], G at least 1.
        ious: Overlaps of the predictions and the boxes, [P, G].
        valid: bool [P]; the others are no one's.
        topk: So many overlaps are summed up.

    Returns:
        ``gt_inds`` int64 [P], 0 where a prior has no box and else the box's number plus 1, and the overlap with that
        box [P], 0 where there is none.
    """
    ious = ious.where(valid[:, None], 0)
    cost = cost.where(valid[:, None], torch.inf)
    count = min(topk, len(cost))
    wanted = ious.topk(count, dim=0).values.sum(0).int().clamp(min=1)
    cheapest = cost.topk(count, dim=0, largest=False).indices
    taken = torch.arange(count, device=cost.device)[:, None] < wanted
    matched = torch.zeros_like(cost, dtype=torch.bool).scatter_(0, cheapest, taken) & valid[:, None]
    # a prior that several boxes want is its cheapest box's, even where that is none of them
    own = torch.zeros_like(matched).scatter_(1, cost.argmin(1, keepdim=True), True)
    matched = torch.where(matched.sum(1, keepdim=True) > 1, own, matched)
    gt_inds = torch.where(matched.any(1), matched.int().argmax(1) + 1, 0)
    return gt_inds, (ious * matched).sum(1)
