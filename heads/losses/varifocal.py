"""Varifocal loss (Zhang et al., CVPR 2021, arXiv:2008.13367)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.heads.losses.elementwise import ElementwiseLoss
from foveal.registry import MODELS


@MODELS.register_module()
class VarifocalLoss(ElementwiseLoss):
    """Cross-entropy with the boxes' qualities, where only the negatives count less when they are easy.

    Arguments are mmdet's.

    Args:
        use_sigmoid: Each class is a yes-or-no question. There is no softmax form: must be True.
        alpha: Weight of the negatives.
        gamma: How much less easy negatives count.
        iou_weighted: Positives count as much as their quality.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor on the result.

    Raises:
        ValueError: If ``use_sigmoid`` is False or ``alpha`` negative.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        alpha: float = 0.75,
        gamma: float = 2.0,
        iou_weighted: bool = True,
        reduction: str = "mean",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not use_sigmoid or alpha < 0:
            raise ValueError(f"VarifocalLoss has use_sigmoid=True only and alpha >= 0, got {use_sigmoid} and {alpha}")
        self.use_sigmoid = use_sigmoid
        self.alpha = alpha
        self.gamma = gamma
        self.iou_weighted = iou_weighted

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the elements' losses [P, C].

        Args:
            pred: [P, C] logits.
            target: [P, C] qualities in [0, 1], 0 where negative.
        """
        target = target.to(pred.dtype)
        positive = target if self.iou_weighted else torch.ones_like(target)
        negative = self.alpha * (pred.sigmoid() - target).abs().pow(self.gamma)
        weight = torch.where(target > 0, positive, negative)
        return F.binary_cross_entropy_with_logits(pred, target, reduction="none") * weight
