"""Losses between images."""

from __future__ import annotations

from torch import Tensor

from foveal.heads.losses.elementwise import ElementwiseLoss
from foveal.registry import MODELS


@MODELS.register_module()
class MSELoss(ElementwiseLoss):
    """Mean squared difference of two tensors of one shape; arguments as in `ElementwiseLoss`."""

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return (pred - target)², any shape."""
        return (pred - target) ** 2


@MODELS.register_module()
class CharbonnierLoss(ElementwiseLoss):
    """Absolute difference that is smooth at zero: sqrt(d² + eps) (Lai et al., CVPR 2017, arXiv:1704.03915).

    Args:
        loss_weight: Factor on the result.
        reduction: ``none``, ``mean`` or ``sum``.
        eps: Added to the square; mmagic's default.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean", eps: float = 1e-12) -> None:
        super().__init__(reduction, loss_weight)
        self.eps = eps

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the elements' losses, any shape."""
        return ((pred - target) ** 2 + self.eps).sqrt()
