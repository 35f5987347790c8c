"""Absolute-difference losses for box offsets."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from foveal.heads.losses.reduce import reduce_loss
from foveal.registry import MODELS


@MODELS.register_module()
class L1Loss(nn.Module):
    """Mean absolute difference.

    Args:
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor on the result.
    """

    def __init__(self, reduction: str = "mean", loss_weight: float = 1.0) -> None:
        super().__init__()
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
            pred: Any shape; may be empty.
            target: The same shape.
            weight: Broadcastable to it, or None.
            avg_factor: What ``mean`` divides by, in place of the number of elements.
            reduction_override: Used in place of ``reduction``.

        Returns:
            A scalar, or ``pred``'s shape for ``none``.
        """
        loss = (pred - target).abs() if target.numel() else pred.sum() * 0
        return self.loss_weight * reduce_loss(loss, weight, reduction_override or self.reduction, avg_factor)


@MODELS.register_module()
class SmoothL1Loss(nn.Module):
    """Absolute difference, quadratic near zero (Fast R-CNN, arXiv:1504.08083).

    Args:
        beta: Where the quadratic part ends.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor on the result.
    """

    def __init__(self, beta: float = 1.0, reduction: str = "mean", loss_weight: float = 1.0) -> None:
        super().__init__()
        self.beta = beta
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
            pred: Any shape; may be empty.
            target: The same shape.
            weight: Broadcastable to it, or None.
            avg_factor: What ``mean`` divides by, in place of the number of elements.
            reduction_override: Used in place of ``reduction``.

        Returns:
            A scalar, or ``pred``'s shape for ``none``.
        """
        if target.numel():
            loss = F.smooth_l1_loss(pred, target, reduction="none", beta=self.beta)
        else:
            loss = pred.sum() * 0
        return self.loss_weight * reduce_loss(loss, weight, reduction_override or self.reduction, avg_factor)
