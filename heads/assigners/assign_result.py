"""What an assigner decides."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class AssignResult:
    """Which ground-truth box each prior (anchor, point, proposal or query) is responsible for.

    Args:
        num_gts: Ground-truth boxes of the image.
        gt_inds: int64 [P]: 0 is background, -1 is ignored, i + 1 is ground-truth box i.
        max_overlaps: [P], the prior's largest overlap with any ground-truth box; -1 where it was ruled out.
        labels: int64 [P], the class of the assigned box, -1 where there is none.
    """

    num_gts: int
    gt_inds: Tensor
    max_overlaps: Tensor
    labels: Tensor

    @classmethod
    def of(cls, gt_labels: Tensor, gt_inds: Tensor, max_overlaps: Tensor) -> AssignResult:
        """Return the result with the priors' labels filled in.

        Args:
            gt_labels: int64 [G], the classes of the ground-truth boxes; G may be 0.
            gt_inds: As above.
            max_overlaps: As above.
        """
        if len(gt_labels):
            labels = torch.where(gt_inds > 0, gt_labels[(gt_inds - 1).clamp(min=0)], -1)
        else:
            labels = torch.full_like(gt_inds, -1)
        return cls(len(gt_labels), gt_inds, max_overlaps, labels)

    @classmethod
    def background(cls, priors: Tensor) -> AssignResult:
        """Return the result of an image without ground-truth boxes: all is background.

        Args:
            priors: [P, …].
        """
        none = priors.new_zeros(len(priors), dtype=torch.long)
        return cls(0, none, priors.new_zeros(len(priors)), none - 1)
