"""Losses between images."""

from __future__ import annotations

from torch import Tensor, nn

from foveal.heads.losses.reduce import reduce_loss
from foveal.registry import MODELS


@MODELS.register_module()
class MSELoss(nn.Module):
    """Mean squared difference.

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
            pred: Any shape.
            target: The same shape.
            weight: Broadcastable to it, or None.
            avg_factor: What ``mean`` divides by, in place of the number of elements.
            reduction_override: Used in place of ``reduction``.

        Returns:
            A scalar, or ``pred``'s shape for ``none``.
        """
        loss = (pred - target) ** 2
        return self.loss_weight * reduce_loss(loss, weight, reduction_override or self.reduction, avg_factor)


@MODELS.register_module()
class CharbonnierLoss(nn.Module):
    """Absolute difference that is smooth at zero: sqrt(d² + eps) (Lai et al., CVPR 2017, arXiv:1704.03915).

    Args:
        loss_weight: Factor on the result.
        reduction: ``none``, ``mean`` or ``sum``.
        eps: Added to the square; mmagic's default.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean", eps: float = 1e-12) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.reduction = reduction
        self.eps = eps

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the weighted loss.

        Args:
            pred: Any shape.
            target: The same shape.
            weight: Broadcastable to it, or None.

        Returns:
            A scalar, or ``pred``'s shape for ``none``.
        """
        return self.loss_weight * reduce_loss(((pred - target) ** 2 + self.eps).sqrt(), weight, self.reduction)
