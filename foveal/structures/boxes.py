"""Arithmetic on boxes given as x1, y1, x2, y2 in pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def bbox_overlaps(
    boxes1: Tensor, boxes2: Tensor, mode: str = "iou", aligned: bool = False, eps: float = 1e-6
) -> Tensor:
    """Return how much boxes overlap.

    Args:
        boxes1: [..., M, 4], or [..., 4] where ``aligned``.
        boxes2: [..., N, 4], or as ``boxes1`` where ``aligned``.
        mode: ``iou``; ``iof``, the intersection over the area of ``boxes1``; or ``giou`` (arXiv:1902.09630).
        aligned: Compare box with box instead of every box with every other.
        eps: Smallest denominator.

    Returns:
        [..., M, N], or [...] where ``aligned``; in [0, 1], for ``giou`` in (-1, 1].

    Raises:
        ValueError: If ``mode`` is another word.
    """
    if mode not in ("iou", "iof", "giou"):
        raise ValueError(f"mode must be iou, iof or giou, got {mode!r}")
    area1, area2 = box_area(boxes1), box_area(boxes2)
    if not aligned:
        boxes1, boxes2 = boxes1[..., :, None, :], boxes2[..., None, :, :]
        area1, area2 = area1[..., :, None], area2[..., None, :]
    inner = torch.minimum(boxes1[..., 2:], boxes2[..., 2:]) - torch.maximum(boxes1[..., :2], boxes2[..., :2])
    width, height = inner.clamp(min=0).unbind(-1)
    overlap = width * height
    union = (area1 if mode == "iof" else area1 + area2 - overlap).clamp(min=eps)
    if mode != "giou":
        return overlap / union
    outer = torch.maximum(boxes1[..., 2:], boxes2[..., 2:]) - torch.minimum(boxes1[..., :2], boxes2[..., :2])
    hull = outer.clamp(min=0).prod(-1).clamp(min=eps)
    return overlap / union - (hull - union) / hull


def complete_iou(boxes1: Tensor, boxes2: Tensor, shape_from: float = 0.5, eps: float = 1e-6) -> Tensor:
    """Return the IoU less what the centres' distance and the shapes' difference cost (arXiv:1911.08287).

    Args:
        boxes1: [..., 4], broadcast against ``boxes2``.
        boxes2: [..., 4].
        shape_from: The shapes count where the IoU is larger than this; negative: everywhere.
        eps: Added to denominators.

    Returns:
        [...], at most 1.
    """
    iou = _iou(boxes1, boxes2, eps)
    angles = []
    for boxes in (boxes1, boxes2):
        size = boxes[..., 2:] - boxes[..., :2]
        angles.append(torch.atan(size[..., 0] / (size[..., 1] + eps)))
    shape = 4 / math.pi**2 * (angles[1] - angles[0]) ** 2
    with torch.no_grad():
        # equal boxes would divide nothing by nothing
        share = (iou > shape_from).to(iou.dtype) * shape / (1 - iou + shape).clamp(min=torch.finfo(iou.dtype).tiny)
    return iou - _center_distance(boxes1, boxes2, eps) - share * shape


def distance_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-6) -> Tensor:
    """Return the IoU less the centres' distance (arXiv:1911.08287); arguments as for `complete_iou`."""
    return _iou(boxes1, boxes2, eps) - _center_distance(boxes1, boxes2, eps)


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


def box_area(boxes: Tensor) -> Tensor:
    """Return width times height of boxes [..., 4] as [...]."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x2 - x1) * (y2 - y1)


def clip_boxes(boxes: Tensor, height: float, width: float) -> Tensor:
    """Return boxes [..., 4] cut off at the borders of an image of ``height`` x ``width`` pixels."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack((x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)), dim=-1)
