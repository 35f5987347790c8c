"""Boxes as distances from a point inside them to their four sides (FCOS, arXiv:1904.01355)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from foveal.registry import TASK_UTILS
from foveal.structures.boxes import clip_boxes


@TASK_UTILS.register_module()
class DistancePointBBoxCoder:
    """Encode boxes as (left, top, right, bottom) distances from points, as mmdet's coder of this name.

    Args:
        clip_border: Cut decoded boxes off at the image where ``max_shape`` is given.
    """

    def __init__(self, clip_border: bool = True) -> None:
        self.clip_border = clip_border

    def encode(self, points: Tensor, gt_bboxes: Tensor, max_dis: float | None = None, eps: float = 0.1) -> Tensor:
        """Return the distances from ``points`` to the sides of ``gt_bboxes``.

        Args:
            points: [..., 2] x, y.
            gt_bboxes: [..., 4] x1, y1, x2, y2.
            max_dis: Distances are kept in [0, max_dis - eps]. None: any, negative outside the box.
            eps: Keeps clear of ``max_dis``.

        Returns:
            [..., 4] left, top, right, bottom.
        """
        distances = torch.cat((points - gt_bboxes[..., :2], gt_bboxes[..., 2:] - points), dim=-1)
        return distances if max_dis is None else distances.clamp(0, max_dis - eps)

    def decode(self, points: Tensor, pred_bboxes: Tensor, max_shape: Sequence[int] | None = None) -> Tensor:
        """Return the boxes around ``points``.

        Args:
            points: [..., 2] x, y.
            pred_bboxes: [..., 4] left, top, right, bottom.
            max_shape: (h, w) of the image to clip to. None: not clipped.

        Returns:
            [..., 4] x1, y1, x2, y2.
        """
        boxes = torch.cat((points - pred_bboxes[..., :2], points + pred_bboxes[..., 2:]), dim=-1)
        if self.clip_border and max_shape is not None:
            boxes = clip_boxes(boxes, max_shape[0], max_shape[1])
        return boxes
