"""Which proposals a second stage learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor

from foveal.heads.detection.dense import split_ignored


@dataclass
class SampledProposals:
    """Proposals of one image, the positives first.

    Args:
        priors: [K, 4].
        positives: How many of them are positive, P.
        gt_inds: int64 [P], number of each positive's true box.
        gt_boxes: [P, 4].
        gt_labels: int64 [P].
        is_gt: bool [P], the positive is the true box itself.
    """

    priors: Tensor
    positives: int
    gt_inds: Tensor
    gt_boxes: Tensor
    gt_labels: Tensor
    is_gt: Tensor

    @property
    def pos_priors(self) -> Tensor:
        """The positives [P, 4]."""
        return self.priors[: self.positives]


@torch.no_grad()
def sample_proposals(proposals: Tensor, sample: BaseDataElement, assigner: Any, sampler: Any) -> SampledProposals:
    """Assign proposals to true boxes and draw from them.

    Args:
        proposals: [K, 4] in pixels of the network's input.
        sample: The image's ``gt_instances`` and, where there, ``ignored_instances``.
        assigner: With ``assign``, such as `MaxIoUAssigner`.
        sampler: With ``select`` and ``add_gt_as_proposals``: the true boxes are proposals too, before the others.
    """
    truth, ignored = split_ignored(sample)
    boxes = truth.bboxes.to(proposals.dtype)
    gt_inds = assigner.assign(InstanceData(priors=proposals), truth, ignored).gt_inds
    is_gt = torch.zeros_like(gt_inds, dtype=torch.bool)
    if sampler.add_gt_as_proposals and len(boxes):
        proposals = torch.cat((boxes, proposals))
        gt_inds = torch.cat((torch.arange(1, len(boxes) + 1, device=gt_inds.device), gt_inds))
        is_gt = torch.cat((is_gt.new_ones(len(boxes)), is_gt))
    gt_inds = sampler.select(gt_inds)
    positive, negative = (gt_inds > 0).nonzero().squeeze(1), (gt_inds == 0).nonzero().squeeze(1)
    matched = gt_inds[positive] - 1
    return SampledProposals(
        priors=proposals[torch.cat((positive, negative))],
        positives=len(positive),
        gt_inds=matched,
        gt_boxes=boxes[matched] if len(boxes) else boxes.new_zeros(0, 4),
        gt_labels=truth.labels[matched] if len(boxes) else matched,
        is_gt=is_gt[positive],
    )
