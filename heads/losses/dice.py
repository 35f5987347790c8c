"""Dice loss for masks (V-Net, Milletari et al., 2016, arXiv:1606.04797)."""

from __future__ import annotations

from torch import Tensor

from foveal.heads.losses.elementwise import ElementwiseLoss
from foveal.registry import MODELS


@MODELS.register_module()
class DiceLoss(ElementwiseLoss):
    """One minus the Dice coefficient of each mask, with mmdet's arguments.

    Args:
        use_sigmoid: How ``activate`` makes probabilities; there is no softmax form: must be True.
        activate: Predictions are logits.
        reduction: ``none``, ``mean`` or ``sum``.
        naive_dice: Plain sums in the denominator, not sums of squares.
        loss_weight: Factor on the result.
        eps: Keeps the denominator from zero; with ``naive_dice`` it is added above, too.

    Raises:
        ValueError: If ``activate`` is set without ``use_sigmoid``.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        activate: bool = True,
        reduction: str = "mean",
        naive_dice: bool = False,
        loss_weight: float = 1.0,
        eps: float = 1e-3,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if activate and not use_sigmoid:
            raise ValueError("DiceLoss has use_sigmoid=True only")
        self.activate = activate
        self.naive_dice = naive_dice
        self.eps = eps

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the masks' losses [N].

        Args:
            pred: [N, …] logits (probabilities without ``activate``).
            target: [N, …], 0 to 1.
        """
        pred = (pred.sigmoid() if self.activate else pred).flatten(1)
        target = target.flatten(1).to(pred.dtype)
        common = (pred * target).sum(1)
        if self.naive_dice:
            return 1 - (2 * common + self.eps) / (pred.sum(1) + target.sum(1) + self.eps)
        return 1 - 2 * common / (pred.square().sum(1) + target.square().sum(1) + 2 * self.eps)
