"""Dice loss for masks (V-Net, Milletari et al., 2016, arXiv:1606.04797)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.heads.losses.elementwise import ElementwiseLoss
from foveal.registry import MODELS


@MODELS.register_module()
class DiceLoss(ElementwiseLoss):
    """One minus the Dice coefficient of each mask (mmdet), or of each image over all classes (mmseg).

    Args:
        use_sigmoid: ``activate`` makes probabilities by a sigmoid, not by a softmax over the channels.
        activate: Predictions are logits.
        reduction: ``none``, ``mean`` or ``sum``.
        naive_dice: Plain sums in the denominator, not sums of squares.
        loss_weight: Factor on the result.
        eps: Keeps the denominator from zero; with ``naive_dice`` it is added above, too.
        ignore_index: Channel that is left out, for label maps. Pixels with a label that is no class belong to no
            channel, whatever their label.
        loss_name: Key of the loss in a decode head's dictionary.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        activate: bool = True,
        reduction: str = "mean",
        naive_dice: bool = False,
        loss_weight: float = 1.0,
        eps: float = 1e-3,
        ignore_index: int | None = 255,
        loss_name: str = "loss_dice",
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.use_sigmoid = use_sigmoid
        self.ignore_index = ignore_index
        self.loss_name = loss_name
        self.activate = activate
        self.naive_dice = naive_dice
        self.eps = eps

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = None,
    ) -> Tensor:
        """As in `ElementwiseLoss`; ``ignore_index`` is a decode head's and has no use here, as in mmseg."""
        return super().forward(pred, target, weight, avg_factor, reduction_override)

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the losses [N] of the masks or images.

        Args:
            pred: [N, …] logits (probabilities without ``activate``).
            target: [N, …], 0 to 1; or a label map int64 [N, H, W] for ``pred`` [N, K, H, W].
        """
        of_labels = pred.dim() == target.dim() + 1
        if self.activate and self.use_sigmoid:
            pred = pred.sigmoid()
        elif self.activate and pred.shape[1] > 1:
            pred = pred.softmax(1)
        if of_labels:
            target = F.one_hot(target.clamp(0, pred.shape[1]), pred.shape[1] + 1).movedim(-1, 1)[:, :-1]
            if self.ignore_index is not None and 0 <= self.ignore_index < pred.shape[1]:
                kept = torch.arange(pred.shape[1], device=pred.device) != self.ignore_index
                pred, target = pred[:, kept], target[:, kept]
        pred, target = pred.flatten(1), target.flatten(1).to(pred.dtype)
        common = (pred * target).sum(1)
        if self.naive_dice:
            return 1 - (2 * common + self.eps) / (pred.sum(1) + target.sum(1) + self.eps)
        return 1 - 2 * common / (pred.square().sum(1) + target.square().sum(1) + 2 * self.eps)
