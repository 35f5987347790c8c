"""Focal loss of heat maps (CornerNet, Law and Deng, ECCV 2018, arXiv:1808.01244)."""

from __future__ import annotations

from torch import Tensor

from foveal.heads.losses.elementwise import ElementwiseLoss
from foveal.registry import MODELS

EPS = 1e-12


@MODELS.register_module()
class GaussianFocalLoss(ElementwiseLoss):
    """Focal loss whose negatives count less the nearer they are to a positive; mmdet's arguments.

    Args:
        alpha: How much less easy examples count.
        gamma: How much less negatives near a positive count.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor on the result.
        pos_weight: Factor on the positives.
        neg_weight: Factor on the negatives.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        gamma: float = 4.0,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        pos_weight: float = 1.0,
        neg_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.alpha = alpha
        self.gamma = gamma
        self.pos_weight = pos_weight
        self.neg_weight = neg_weight

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the elements' losses, any shape.

        Args:
            pred: Probabilities.
            target: 1 where positive, below it elsewhere.
        """
        positive = -(pred + EPS).log() * (1 - pred) ** self.alpha * (target == 1)
        negative = -(1 - pred + EPS).log() * pred**self.alpha * (1 - target) ** self.gamma
        return self.pos_weight * positive + self.neg_weight * negative
