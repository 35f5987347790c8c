"""SiLogLoss: the scale-invariant logarithmic error of depth (Eigen et al., NeurIPS 2014, arXiv:1406.2283)."""

from __future__ import annotations

from torch import Tensor, nn

from foveal.heads.losses.reduce import reduce_loss
from foveal.registry import MODELS


@MODELS.register_module()
class SiLogLoss(nn.Module):
    """Root of mean(d²) - variance_focus · mean(d)² of each image, d the difference of logarithms.

    Args:
        reduction: ``none``, ``mean`` or ``sum`` over the images.
        loss_weight: Factor on the result.
        eps: Depths up to this are unknown; predictions count as at least this.
        variance_focus: 0.5 is mmseg's, 0.85 with ``loss_weight=10`` is that of BTS.
        loss_name: Key of the loss in a decode head's dictionary.

    Source: ``silog_loss.py`` of open-mmlab/mmsegmentation; ``bts.py`` of cleinc/bts, whose mean is over the batch.
    """

    def __init__(
        self,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        eps: float = 1e-6,
        variance_focus: float = 0.5,
        loss_name: str = "loss_silog",
    ) -> None:
        super().__init__()
        self.reduction = reduction
        self.loss_weight = loss_weight
        self.eps = eps
        self.variance_focus = variance_focus
        self.loss_name = loss_name

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Return the loss, 0 for images without a known depth.

        Args:
            pred: Depths in metres [N, …].
            target: The same; 0 where unknown.
            weight: One factor an image [N].
            avg_factor: What ``mean`` divides by.
            reduction_override: In place of ``reduction``.

        Returns:
            A scalar; [N] for ``none``.

        Raises:
            ValueError: If the shapes differ.
        """
        if pred.shape != target.shape:
            raise ValueError(f"depths must have one shape, got {tuple(pred.shape)} and {tuple(target.shape)}")
        pred, target = pred.flatten(1), target.flatten(1)
        known = target > self.eps
        difference = target.clamp(min=self.eps).log() - pred.clamp(min=self.eps).log()
        difference = difference.where(known, 0)
        count = known.sum(1).clamp(min=1)
        spread = difference.square().sum(1) / count - self.variance_focus * (difference.sum(1) / count).square()
        # the root has no finite slope at zero, where there is nothing to learn; rounding may even end below
        wrong = spread > 0
        loss = spread.where(wrong, 1).sqrt().where(wrong, 0)
        return self.loss_weight * reduce_loss(loss, weight, reduction_override or self.reduction, avg_factor)
