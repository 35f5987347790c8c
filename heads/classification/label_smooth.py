"""Cross-entropy against softened labels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.losses.reduce import reduce_loss
from foveal.registry import MODELS


@MODELS.register_module()
class LabelSmoothLoss(nn.Module):
    """Cross-entropy where the true class has 1 - e + e / K and every other one e / K (arXiv:1512.00567).

    Args:
        label_smooth_val: e, in [0, 1).
        reduction: ``mean``, ``sum`` or ``none``.
        loss_weight: Factor of the result.

    Raises:
        ConfigError: If ``label_smooth_val`` is out of range.
    """

    def __init__(self, label_smooth_val: float, reduction: str = "mean", loss_weight: float = 1.0) -> None:
        super().__init__()
        if not 0 <= label_smooth_val < 1:
            raise ConfigError(f"LabelSmoothLoss needs a label_smooth_val in [0, 1), got {label_smooth_val}")
        self.label_smooth_val = label_smooth_val
        self.reduction = reduction
        self.loss_weight = loss_weight

    def forward(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """Return the loss of logits [N, K] for labels int64 [N]: a scalar, or [N] for ``none``."""
        loss = F.cross_entropy(cls_score, label, reduction="none", label_smoothing=self.label_smooth_val)
        return self.loss_weight * reduce_loss(loss, reduction=self.reduction)
