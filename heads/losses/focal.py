"""Focal loss (Lin et al., ICCV 2017, arXiv:1708.02002)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.heads.losses.elementwise import ElementwiseLoss
from foveal.heads.losses.reduce import reduce_loss
from foveal.registry import MODELS

_ROW_ALPHA, _MAP_ALPHA = 0.25, 0.5


@MODELS.register_module()
class FocalLoss(ElementwiseLoss):
    """Sigmoid focal loss with mmdet's arguments for rows [P, C], and with mmseg's for maps [N, K, H, W].

    Args:
        use_sigmoid: Each class is a yes-or-no question. There is no softmax form: must be True.
        gamma: How much less easy examples count.
        alpha: Weight of the positives, one for all classes or one a class; the negatives have 1 - alpha. None: the
            default of mmdet for rows, 0.25, and of mmseg for maps, 0.5.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor on the result.
        activated: Predictions are probabilities already, not logits.
        class_weight: Factor of every class.
        loss_name: Key of the loss in a decode head's dictionary.

    Raises:
        ValueError: If ``use_sigmoid`` is False.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        gamma: float = 2.0,
        alpha: float | Sequence[float] | None = None,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        activated: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_name: str = "loss_focal",
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not use_sigmoid:
            raise ValueError("FocalLoss has use_sigmoid=True only")
        self.use_sigmoid = use_sigmoid
        self.gamma = gamma
        self.alpha = alpha
        self.activated = activated
        self.class_weight = class_weight
        self.loss_name = loss_name

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int = 255,
    ) -> Tensor:
        """Return the loss; a map's elements are its rows, one a pixel.

        Args:
            pred: [P, C], or [N, K, H, W].
            target: As in `compare`; for maps int64 [N, H, W], or 0 and 1 as ``pred``.
            weight: As in `ElementwiseLoss`; for maps [N, H, W].
            avg_factor: As in `ElementwiseLoss`.
            reduction_override: As in `ElementwiseLoss`.
            ignore_index: Label of a map's pixels that cost nothing; they do count in ``mean``.
        """
        if pred.dim() == 2:
            return super().forward(pred, target, weight, avg_factor, reduction_override)
        alpha = _MAP_ALPHA if self.alpha is None else self.alpha
        rows = pred.movedim(1, -1).reshape(-1, pred.shape[1])
        target = target.movedim(1, -1).reshape(rows.shape) if target.dim() == pred.dim() else target.flatten()
        counts = rows.new_ones(len(rows)) if weight is None else weight.flatten()
        if target.dim() == 1:
            counts = counts * (target != ignore_index)
        factors = counts[:, None]
        if self.class_weight is not None:
            factors = factors * rows.new_tensor(self.class_weight)
        reduction = reduction_override or self.reduction
        loss = self.loss_weight * reduce_loss(self._elements(rows, target, alpha), factors, reduction, avg_factor)
        return loss if loss.dim() == 0 else loss.view(len(pred), *pred.shape[2:], -1).movedim(-1, 1)

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the elements' losses [P, C].

        Args:
            pred: [P, C] logits (probabilities where ``activated``).
            target: int64 [P] class numbers, C or more is background; or float [P, C] of 0 and 1.
        """
        return self._elements(pred, target, _ROW_ALPHA if self.alpha is None else self.alpha)

    def _elements(self, pred: Tensor, target: Tensor, alpha: float | Sequence[float]) -> Tensor:
        alphas = pred.new_tensor(alpha)
        if target.dim() == pred.dim():
            return target * alphas * self._positive(pred) + (1 - target) * (1 - alphas) * self._negative(pred)
        # for class numbers nearly all elements are negatives, so only one column a row is looked at twice
        num_classes = pred.shape[-1]
        column = target.clamp(0, num_classes - 1)[..., None]
        found = ((target >= 0) & (target < num_classes))[..., None]
        negative = (1 - alphas) * self._negative(pred)
        positive = alphas.expand(num_classes)[column] * self._positive(pred.gather(-1, column))
        return negative.scatter(-1, column, torch.where(found, positive, negative.gather(-1, column)))

    def _positive(self, pred: Tensor) -> Tensor:
        """The loss where the answer is yes, before alpha."""
        if self.activated:
            return -((1 - pred) ** self.gamma) * _safe_log(pred)
        return -(torch.sigmoid(-pred) ** self.gamma) * F.logsigmoid(pred)

    def _negative(self, pred: Tensor) -> Tensor:
        """The loss where the answer is no, before alpha."""
        if self.activated:
            return -(pred**self.gamma) * _safe_log(1 - pred)
        return -(torch.sigmoid(pred) ** self.gamma) * F.logsigmoid(-pred)


def _safe_log(x: Tensor) -> Tensor:
    """Logarithm, not below -100, as binary cross-entropy has it."""
    return x.log().clamp(min=-100)
