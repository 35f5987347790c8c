"""Quality focal loss (Li et al., NeurIPS 2020, arXiv:2006.04388)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.heads.losses.elementwise import ElementwiseLoss
from foveal.registry import MODELS


@MODELS.register_module()
class QualityFocalLoss(ElementwiseLoss):
    """Focal loss whose positives aim at the quality of their box in place of 1; mmdet's arguments.

    Args:
        use_sigmoid: Each class is a yes-or-no question. There is no softmax form: must be True.
        beta: How much less easy examples count.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor on the result.
        activated: Predictions are probabilities already, not logits.

    Raises:
        ValueError: If ``use_sigmoid`` is False.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        beta: float = 2.0,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        activated: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not use_sigmoid:
            raise ValueError("QualityFocalLoss has use_sigmoid=True only")
        self.use_sigmoid = use_sigmoid
        self.beta = beta
        self.activated = activated

    def compare(self, pred: Tensor, target: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """Return the rows' losses [P].

        Args:
            pred: [P, C] logits (probabilities where ``activated``).
            target: Class numbers int64 [P], C or more is background, and qualities [P] in [0, 1]; or the qualities of
                all classes [P, C], 0 where negative.
        """
        if isinstance(target, Tensor):
            return self._distance(pred, target.to(pred.dtype)).sum(1)
        label, quality = target
        column = label.clamp(0, pred.shape[1] - 1)[:, None]
        found = ((label >= 0) & (label < pred.shape[1]))[:, None]
        # nearly all elements are negatives: only one column a row is looked at twice
        negative = self._distance(pred, torch.zeros_like(pred))
        chosen = self._distance(pred.gather(1, column), quality[:, None].to(pred.dtype))
        return negative.scatter(1, column, torch.where(found, chosen, negative.gather(1, column))).sum(1)

    def _distance(self, pred: Tensor, target: Tensor) -> Tensor:
        if self.activated:
            entropy, score = F.binary_cross_entropy(pred, target, reduction="none"), pred
        else:
            entropy, score = F.binary_cross_entropy_with_logits(pred, target, reduction="none"), pred.sigmoid()
        return entropy * (target - score).abs().pow(self.beta)
