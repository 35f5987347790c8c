"""Losses on the overlap of predicted and true boxes, both [P, 4] x1, y1, x2, y2; P may be 0."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from foveal.heads.losses.elementwise import ElementwiseLoss
from foveal.registry import MODELS
from foveal.structures.boxes import bbox_overlaps, box_area

IOU_MODES = {
    "linear": lambda iou: 1 - iou,
    "square": lambda iou: 1 - iou**2,
    "log": lambda iou: -iou.log(),
}


@MODELS.register_module()
class IoULoss(ElementwiseLoss):
    """Loss on the IoU (UnitBox, arXiv:1608.01471), as mmdet's.

    Args:
        linear: Old spelling of ``mode='linear'``.
        eps: The IoU counts as at least this.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor on the result.
        mode: ``log``, ``linear`` (1 - IoU) or ``square`` (1 - IoU²).

    Raises:
        ValueError: If ``mode`` is another word.
    """

    def __init__(
        self,
        linear: bool = False,
        eps: float = 1e-6,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        mode: str = "log",
    ) -> None:
        super().__init__(reduction, loss_weight)
        if mode not in IOU_MODES:
            raise ValueError(f"mode must be one of {', '.join(IOU_MODES)}, got {mode!r}")
        self.mode = "linear" if linear else mode
        self.eps = eps

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the boxes' losses [P]."""
        return IOU_MODES[self.mode](bbox_overlaps(pred, target, aligned=True).clamp(min=self.eps))


@MODELS.register_module()
class GIoULoss(ElementwiseLoss):
    """One minus the generalised IoU (arXiv:1902.09630), as mmdet's.

    Args:
        eps: Smallest denominator.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor on the result.
    """

    def __init__(self, eps: float = 1e-6, reduction: str = "mean", loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.eps = eps

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the boxes' losses [P]."""
        return 1 - bbox_overlaps(pred, target, "giou", aligned=True, eps=self.eps)


@MODELS.register_module()
class DIoULoss(ElementwiseLoss):
    """One minus the IoU, plus the distance of the centres (arXiv:1911.08287), as mmdet's.

    Args:
        eps: Keeps denominators from zero.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor on the result.
    """

    def __init__(self, eps: float = 1e-6, reduction: str = "mean", loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.eps = eps

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the boxes' losses [P]."""
        return 1 - _iou(pred, target, self.eps) + _center_distance(pred, target, self.eps)


@MODELS.register_module()
class CIoULoss(ElementwiseLoss):
    """`DIoULoss` that compares the shapes, too (complete IoU, arXiv:1911.08287), as mmdet's.

    Args:
        eps: Keeps denominators from zero.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor on the result.
    """

    def __init__(self, eps: float = 1e-6, reduction: str = "mean", loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.eps = eps

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the boxes' losses [P], at most 2."""
        iou = _iou(pred, target, self.eps)
        angles = []
        for boxes in (pred, target):
            size = boxes[..., 2:] - boxes[..., :2]
            angles.append(torch.atan(size[..., 0] / (size[..., 1] + self.eps)))
        shape = 4 / math.pi**2 * (angles[1] - angles[0]) ** 2
        with torch.no_grad():
            # the shape counts only where the boxes overlap well
            share = (iou > 0.5).to(iou.dtype) * shape / (1 - iou + shape)
        value = iou - _center_distance(pred, target, self.eps) - share * shape
        return 1 - value.clamp(-1, 1)


def _iou(pred: Tensor, target: Tensor, eps: float) -> Tensor:
    """IoU [P] with ``eps`` added to the union, not as its least value."""
    inner = torch.minimum(pred[..., 2:], target[..., 2:]) - torch.maximum(pred[..., :2], target[..., :2])
    overlap = inner.clamp(min=0).prod(-1)
    return overlap / (box_area(pred) + box_area(target) - overlap + eps)


def _center_distance(pred: Tensor, target: Tensor, eps: float) -> Tensor:
    """Squared distance [P] of the centres over the squared diagonal of the smallest box around both."""
    outer = torch.maximum(pred[..., 2:], target[..., 2:]) - torch.minimum(pred[..., :2], target[..., :2])
    diagonal = outer.clamp(min=0).square().sum(-1) + eps
    shift = (target[..., :2] + target[..., 2:] - pred[..., :2] - pred[..., 2:]).square().sum(-1) / 4
    return shift / diagonal
