"""How an assigner measures the likeness of two boxes."""

from __future__ import annotations

from torch import Tensor

from foveal.registry import TASK_UTILS
from foveal.structures.boxes import bbox_overlaps


@TASK_UTILS.register_module()
class BboxOverlaps2D:
    """Overlap of axis-aligned boxes."""

    def __call__(self, bboxes1: Tensor, bboxes2: Tensor, mode: str = "iou", is_aligned: bool = False) -> Tensor:
        """Return `bbox_overlaps`.

        Args:
            bboxes1: [M, 4] x1, y1, x2, y2; further columns, such as a score, are not read.
            bboxes2: [N, 4] the same.
            mode: ``iou``, ``iof`` (over the area of ``bboxes1``) or ``giou``.
            is_aligned: Compare box with box (M = N).

        Returns:
            [M, N], or [M] where ``is_aligned``.
        """
        return bbox_overlaps(bboxes1[..., :4], bboxes2[..., :4], mode, is_aligned)
