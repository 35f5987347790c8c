"""What it costs to give a prediction to a true object: the terms of the Hungarian matching, with mmdet's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.ops import box_convert

from foveal.errors import ConfigError
from foveal.registry import TASK_UTILS
from foveal.structures.boxes import bbox_overlaps

Meta = Mapping[str, Any]


@TASK_UTILS.register_module()
class BBoxL1Cost:
    """Sum of the differences of the coordinates, as shares of the image.

    Args:
        box_format: ``xyxy``: of the corners; ``xywh``: of centre and size.
        weight: Factor.

    Raises:
        ConfigError: If the format is another.
    """

    def __init__(self, box_format: str = "xyxy", weight: float = 1.0) -> None:
        if box_format not in ("xyxy", "xywh"):
            raise ConfigError(f"BBoxL1Cost.box_format must be xyxy or xywh, got {box_format!r}")
        self.box_format = box_format
        self.weight = weight

    def __call__(self, pred: InstanceData, truth: InstanceData, meta: Meta) -> Tensor:
        """Return [P, G] of ``bboxes`` [P, 4] and [G, 4] in pixels."""
        height, width = meta["img_shape"][:2]
        size = pred.bboxes.new_tensor([width, height, width, height])
        boxes, gt_boxes = pred.bboxes / size, truth.bboxes.to(pred.bboxes) / size
        if self.box_format == "xywh":
            boxes, gt_boxes = (box_convert(x, "xyxy", "cxcywh") for x in (boxes, gt_boxes))
        return torch.cdist(boxes, gt_boxes, p=1) * self.weight


@TASK_UTILS.register_module()
class IoUCost:
    """Minus the overlap of the boxes.

    Args:
        iou_mode: ``iou`` or ``giou``.
        weight: Factor.
    """

    def __init__(self, iou_mode: str = "giou", weight: float = 1.0) -> None:
        self.iou_mode = iou_mode
        self.weight = weight

    def __call__(self, pred: InstanceData, truth: InstanceData, meta: Meta) -> Tensor:
        """Return [P, G] of ``bboxes`` [P, 4] and [G, 4] in pixels."""
        return -bbox_overlaps(pred.bboxes, truth.bboxes.to(pred.bboxes), self.iou_mode) * self.weight


@TASK_UTILS.register_module()
class ClassificationCost:
    """Minus the probability of the true class, by softmax.

    Args:
        weight: Factor.
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def __call__(self, pred: InstanceData, truth: InstanceData, meta: Meta) -> Tensor:
        """Return [P, G] of ``scores`` [P, C], logits, and ``labels`` [G]."""
        return -pred.scores.softmax(-1)[:, truth.labels] * self.weight


@TASK_UTILS.register_module()
class FocalLossCost:
    """Focal loss of the true class's logit, less what it would be for background; or of masks.

    Args:
        alpha: Weight of the positives.
        gamma: How much less easy ones count.
        eps: Keeps logarithms finite.
        binary_input: Compare ``masks``, not classes.
        weight: Factor.
    """

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        eps: float = 1e-12,
        binary_input: bool = False,
        weight: float = 1.0,
    ) -> None:
        self.alpha = alpha
        self.gamma = gamma
        self.eps = eps
        self.binary_input = binary_input
        self.weight = weight

    def __call__(self, pred: InstanceData, truth: InstanceData, meta: Meta) -> Tensor:
        """Return [P, G] of ``scores`` [P, C], logits, and ``labels`` [G]; or of ``masks`` [P, …] and [G, …]."""
        if not self.binary_input:
            positive, negative = self._terms(pred.scores[:, truth.labels])
            return (positive - negative) * self.weight
        positive, negative = self._terms(pred.masks.flatten(1))
        masks = truth.masks.flatten(1).to(positive)
        return (positive @ masks.T + negative @ (1 - masks).T) / masks.shape[1] * self.weight

    def _terms(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        p = logits.sigmoid()
        positive = -(p + self.eps).log() * self.alpha * (1 - p) ** self.gamma
        return positive, -(1 - p + self.eps).log() * (1 - self.alpha) * p**self.gamma


@TASK_UTILS.register_module()
class CrossEntropyLossCost:
    """Mean binary cross-entropy of masks.

    Args:
        use_sigmoid: There is no other form: must be True.
        weight: Factor.

    Raises:
        ConfigError: If ``use_sigmoid`` is False.
    """

    def __init__(self, use_sigmoid: bool = True, weight: float = 1.0) -> None:
        if not use_sigmoid:
            raise ConfigError("CrossEntropyLossCost has use_sigmoid=True only")
        self.weight = weight

    def __call__(self, pred: InstanceData, truth: InstanceData, meta: Meta) -> Tensor:
        """Return [P, G] of ``masks`` [P, …], logits, and [G, …]."""
        logits = pred.masks.flatten(1)
        masks = truth.masks.flatten(1).to(logits)
        cost = F.softplus(-logits) @ masks.T + F.softplus(logits) @ (1 - masks).T
        return cost / logits.shape[1] * self.weight


@TASK_UTILS.register_module()
class DiceCost:
    """One minus the Dice coefficient of masks.

    Args:
        pred_act: Predictions are logits.
        eps: Added above and below.
        naive_dice: Plain sums in the denominator, not sums of squares.
        weight: Factor.
    """

    def __init__(self, pred_act: bool = False, eps: float = 1e-3, naive_dice: bool = True, weight: float = 1.0) -> None:
        self.pred_act = pred_act
        self.eps = eps
        self.power = 1 if naive_dice else 2
        self.weight = weight

    def __call__(self, pred: InstanceData, truth: InstanceData, meta: Meta) -> Tensor:
        """Return [P, G] of ``masks`` [P, …] and [G, …]."""
        values = pred.masks.flatten(1)
        values = values.sigmoid() if self.pred_act else values
        masks = truth.masks.flatten(1).to(values)
        total = (values**self.power).sum(1)[:, None] + (masks**self.power).sum(1)
        return (1 - (2 * values @ masks.T + self.eps) / (total + self.eps)) * self.weight
