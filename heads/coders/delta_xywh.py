"""Boxes as offsets from anchors: shift of the centre, logarithm of the size (R-CNN, arXiv:1311.2524)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from foveal.registry import TASK_UTILS
from foveal.structures.boxes import clip_boxes


@TASK_UTILS.register_module()
class DeltaXYWHBBoxCoder:
    """Encode boxes as (dx, dy, dw, dh) relative to anchors or proposals, as mmdet's coder of this name.

    Args:
        target_means: Subtracted from the four offsets when encoding.
        target_stds: The offsets are divided by these.
        clip_border: Cut decoded boxes off at the image where ``max_shape`` is given.
        add_ctr_clamp: Limit the centre's shift to ``ctr_clamp`` pixels (YOLOF).
        ctr_clamp: Pixels.
    """

    def __init__(
        self,
        target_means: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
        target_stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        clip_border: bool = True,
        add_ctr_clamp: bool = False,
        ctr_clamp: float = 32,
    ) -> None:
        self.means = tuple(target_means)
        self.stds = tuple(target_stds)
        self.clip_border = clip_border
        self.add_ctr_clamp = add_ctr_clamp
        self.ctr_clamp = ctr_clamp

    def encode(self, bboxes: Tensor, gt_bboxes: Tensor) -> Tensor:
        """Return the offsets that lead from ``bboxes`` to ``gt_bboxes``.

        Args:
            bboxes: [..., 4] x1, y1, x2, y2.
            gt_bboxes: Broadcastable to the same.

        Returns:
            [..., 4] dx, dy, dw, dh.
        """
        size = bboxes[..., 2:] - bboxes[..., :2]
        gt_size = gt_bboxes[..., 2:] - gt_bboxes[..., :2]
        shift = (gt_bboxes[..., :2] + gt_bboxes[..., 2:] - bboxes[..., :2] - bboxes[..., 2:]) * 0.5 / size
        deltas = torch.cat((shift, (gt_size / size).log()), dim=-1)
        if any(self.means):
            deltas = deltas - deltas.new_tensor(self.means)
        return deltas if all(s == 1 for s in self.stds) else deltas / deltas.new_tensor(self.stds)

    def decode(
        self,
        bboxes: Tensor,
        pred_bboxes: Tensor,
        max_shape: Sequence[int] | None = None,
        wh_ratio_clip: float = 16 / 1000,
    ) -> Tensor:
        """Return the boxes that offsets from ``bboxes`` lead to.

        Args:
            bboxes: [..., 4] x1, y1, x2, y2.
            pred_bboxes: [..., 4] offsets, or [N, 4 * C] with a box for each class.
            max_shape: (h, w) of the image to clip to. None: not clipped.
            wh_ratio_clip: Sizes grow and shrink by at most this factor.

        Returns:
            As ``pred_bboxes``, x1, y1, x2, y2.
        """
        shape = pred_bboxes.shape
        if shape[-1] != 4:
            pred_bboxes, bboxes = pred_bboxes.unflatten(-1, (-1, 4)), bboxes.unsqueeze(-2)
        if any(s != 1 for s in self.stds):
            pred_bboxes = pred_bboxes * pred_bboxes.new_tensor(self.stds)
        if any(self.means):
            pred_bboxes = pred_bboxes + pred_bboxes.new_tensor(self.means)
        size = bboxes[..., 2:] - bboxes[..., :2]
        center = (bboxes[..., :2] + bboxes[..., 2:]) * 0.5
        shift = pred_bboxes[..., :2] * size
        limit = abs(math.log(wh_ratio_clip))
        if self.add_ctr_clamp:
            shift = shift.clamp(-self.ctr_clamp, self.ctr_clamp)
            log_size = pred_bboxes[..., 2:].clamp(max=limit)
        else:
            log_size = pred_bboxes[..., 2:].clamp(-limit, limit)
        center, half = center + shift, size * log_size.exp() * 0.5
        boxes = torch.cat((center - half, center + half), dim=-1)
        if self.clip_border and max_shape is not None:
            boxes = clip_boxes(boxes, max_shape[0], max_shape[1])
        return boxes.reshape(shape)
