"""What every loss that compares predictions with targets one by one has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from foveal.heads.losses.reduce import reduce_loss


class ElementwiseLoss(nn.Module, ABC):
    """Compares, weighs, reduces; a loss says how two tensors are compared.

    Args:
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor on the result.
    """

    def __init__(self, reduction: str = "mean", loss_weight: float = 1.0) -> None:
        super().__init__()
        self.reduction = reduction
        self.loss_weight = loss_weight

    @abstractmethod
    def compare(self, pred: Tensor, target: Any) -> Tensor:
        """Return the loss of every element, before weights."""

    def forward(
        self,
        pred: Tensor,
        target: Any,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Return the weighted loss; mmdet's arguments.

        Args:
            pred: Predictions, shaped as the class says; may be empty.
            target: What they should be; a tensor, or what the class says.
            weight: Broadcastable to the elements' losses, or None. One dimension less: the same for a whole row; one
                more: its mean over the last one counts.
            avg_factor: What ``mean`` divides by, in place of the number of elements.
            reduction_override: Used in place of ``reduction``.

        Returns:
            A scalar, 0 where there are no elements; the elements' losses for ``none``.
        """
        reduction = reduction_override or self.reduction
        if not pred.numel() and reduction != "none":
            return pred.sum() * 0  # not the mean of nothing, and with a gradient
        loss = self.compare(pred, target)
        if weight is not None and weight.dim() > loss.dim():
            weight = weight.mean(-1)
        if weight is not None and 0 < weight.dim() < loss.dim():
            weight = weight[..., None]
        return self.loss_weight * reduce_loss(loss, weight, reduction, avg_factor)
