"""Distribution focal loss (Li et al., NeurIPS 2020, arXiv:2006.04388)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from foveal.heads.losses.elementwise import ElementwiseLoss
from foveal.registry import MODELS


@MODELS.register_module()
class DistributionFocalLoss(ElementwiseLoss):
    """Cross-entropy with the two whole numbers around a distance, by how near they are; mmdet's arguments.

    Args:
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor on the result.
    """

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the losses [P].

        Args:
            pred: Logits [P, n + 1] of the distances 0 to n.
            target: Distances [P] in [0, n).
        """
        lower = target.long()
        log_probability = F.log_softmax(pred, 1)
        near, far = (log_probability.gather(1, side[:, None])[:, 0] for side in (lower, lower + 1))
        share = target - lower
        return -near * (1 - share) - far * share
