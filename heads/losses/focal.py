"""Focal loss (Lin et al., ICCV 2017, arXiv:1708.02002)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.heads.losses.elementwise import ElementwiseLoss
from foveal.registry import MODELS


@MODELS.register_module()
class FocalLoss(ElementwiseLoss):
    """Sigmoid focal loss with mmdet's arguments.

    Args:
        use_sigmoid: Each class is a yes-or-no question. There is no softmax form: must be True.
        gamma: How much less easy examples count.
        alpha: Weight of the positives; the negatives have 1 - alpha.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor on the result.
        activated: Predictions are probabilities already, not logits.

    Raises:
        ValueError: If ``use_sigmoid`` is False.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        gamma: float = 2.0,
        alpha: float = 0.25,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        activated: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not use_sigmoid:
            raise ValueError("FocalLoss has use_sigmoid=True only")
        self.use_sigmoid = use_sigmoid
        self.gamma = gamma
        self.alpha = alpha
        self.activated = activated

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the elements' losses [P, C].

        Args:
            pred: [P, C] logits (probabilities where ``activated``).
            target: int64 [P] class numbers, C or more is background; or float [P, C] of 0 and 1.
        """
        if target.dim() == pred.dim():
            positive, negative = self._terms(pred)
            return target * positive + (1 - target) * negative
        return self._by_label(pred, target)

    def _by_label(self, pred: Tensor, target: Tensor) -> Tensor:
        """[P, C] for class numbers: nearly all elements are negatives, so only one column a row is looked at twice."""
        num_classes = pred.shape[-1]
        column = target.clamp(0, num_classes - 1)[..., None]
        found = ((target >= 0) & (target < num_classes))[..., None]
        positive, negative = self._terms(pred.gather(-1, column))
        return self._negative(pred).scatter(-1, column, torch.where(found, positive, negative))

    def _terms(self, pred: Tensor) -> tuple[Tensor, Tensor]:
        """The loss where the answer is yes, and where it is no."""
        if self.activated:
            positive = -self.alpha * (1 - pred) ** self.gamma * _safe_log(pred)
        else:
            positive = -self.alpha * torch.sigmoid(-pred) ** self.gamma * F.logsigmoid(pred)
        return positive, self._negative(pred)

    def _negative(self, pred: Tensor) -> Tensor:
        if self.activated:
            return (self.alpha - 1) * pred**self.gamma * _safe_log(1 - pred)
        return (self.alpha - 1) * torch.sigmoid(pred) ** self.gamma * F.logsigmoid(-pred)


def _safe_log(x: Tensor) -> Tensor:
    """Logarithm, not below -100, as binary cross-entropy has it."""
    return x.log().clamp(min=-100)
