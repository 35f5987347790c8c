"""What an assigner decides."""

from __future__ import annotations

from dataclasses import dataclass

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
