"""Absolute-difference losses for box offsets."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from foveal.heads.losses.elementwise import ElementwiseLoss
from foveal.registry import MODELS


@MODELS.register_module()
class L1Loss(ElementwiseLoss):
    """Mean absolute difference of two tensors of one shape; arguments as in `ElementwiseLoss`."""

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return |pred - target|, any shape."""
        return (pred - target).abs()


@MODELS.register_module()
class SmoothL1Loss(ElementwiseLoss):
    """Absolute difference, quadratic near zero (Fast R-CNN, arXiv:1504.08083).

    Args:
        beta: Where the quadratic part ends.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor on the result.
    """

    def __init__(self, beta: float = 1.0, reduction: str = "mean", loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.beta = beta

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the elements' losses, any shape."""
        return F.smooth_l1_loss(pred, target, reduction="none", beta=self.beta)
