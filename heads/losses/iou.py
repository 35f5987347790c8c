"""Losses on the overlap of predicted and true boxes."""

from __future__ import annotations

from torch import Tensor, nn

from foveal.heads.losses.reduce import reduce_loss
from foveal.registry import MODELS
from foveal.structures.boxes import bbox_overlaps

IOU_MODES = {
    "linear": lambda iou: 1 - iou,
    "square": lambda iou: 1 - iou**2,
    "log": lambda iou: -iou.log(),
}


@MODELS.register_module()
class IoULoss(nn.Module):
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
        super().__init__()
        if mode not in IOU_MODES:
            raise ValueError(f"mode must be one of {', '.join(IOU_MODES)}, got {mode!r}")
        self.mode = "linear" if linear else mode
        self.eps = eps
        self.reduction = reduction
        self.loss_weight = loss_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Return the weighted loss.

        Args:
            pred: [P, 4] x1, y1, x2, y2; P may be 0.
            target: [P, 4].
            weight: [P], or [P, 4] of which the mean counts, or None.
            avg_factor: What ``mean`` divides by, in place of P.
            reduction_override: Used in place of ``reduction``.

        Returns:
            A scalar, or [P] for ``none``.
        """
        iou = bbox_overlaps(pred, target, aligned=True).clamp(min=self.eps)
        return _finish(self, pred, IOU_MODES[self.mode](iou), weight, avg_factor, reduction_override)


@MODELS.register_module()
class GIoULoss(nn.Module):
    """One minus the generalised IoU (arXiv:1902.09630), as mmdet's.

    Args:
        eps: Smallest denominator.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor on the result.
    """

    def __init__(self, eps: float = 1e-6, reduction: str = "mean", loss_weight: float = 1.0) -> None:
        super().__init__()
        self.eps = eps
        self.reduction = reduction
        self.loss_weight = loss_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Return the weighted loss.

        Args:
            pred: [P, 4] x1, y1, x2, y2; P may be 0.
            target: [P, 4].
            weight: [P], or [P, 4] of which the mean counts, or None.
            avg_factor: What ``mean`` divides by, in place of P.
            reduction_override: Used in place of ``reduction``.

        Returns:
            A scalar, or [P] for ``none``.
        """
        loss = 1 - bbox_overlaps(pred, target, "giou", aligned=True, eps=self.eps)
        return _finish(self, pred, loss, weight, avg_factor, reduction_override)


def _finish(
    module: IoULoss | GIoULoss,
    pred: Tensor,
    loss: Tensor,
    weight: Tensor | None,
    avg_factor: float | Tensor | None,
    override: str | None,
) -> Tensor:
    """Weigh and reduce a loss [P]; no boxes at all give zero, not the mean of nothing."""
    reduction = override or module.reduction
    if weight is not None and weight.dim() > 1:
        weight = weight.mean(-1)
    if loss.numel() == 0 and reduction != "none":
        return pred.sum() * 0
    return module.loss_weight * reduce_loss(loss, weight, reduction, avg_factor)
