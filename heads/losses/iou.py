"""Losses on the overlap of predicted and true boxes, both [P, 4] x1, y1, x2, y2; P may be 0."""

from __future__ import annotations

from torch import Tensor

from foveal.heads.losses.elementwise import ElementwiseLoss
from foveal.registry import MODELS
from foveal.structures.boxes import bbox_overlaps, complete_iou, distance_iou

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
        return 1 - distance_iou(pred, target, self.eps)


@MODELS.register_module()
class CIoULoss(ElementwiseLoss):
    """`DIoULoss` that compares the shapes, too (complete IoU, arXiv:1911.08287), as mmdet's.

    Args:
        eps: Keeps denominators from zero.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor on the result.
        shape_from: The shapes count where the IoU is larger; negative: everywhere, as in the YOLO detectors.
    """

    def __init__(
        self, eps: float = 1e-6, reduction: str = "mean", loss_weight: float = 1.0, shape_from: float = 0.5
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.eps = eps
        self.shape_from = shape_from

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the boxes' losses [P], at most 2."""
        return 1 - complete_iou(pred, target, self.shape_from, self.eps).clamp(-1, 1)
