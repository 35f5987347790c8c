"""No sampling: every assigned prior counts."""

from __future__ import annotations

from torch import Tensor

from foveal.registry import TASK_UTILS


@TASK_UTILS.register_module(name=["PseudoSampler", "MaskPseudoSampler"])
class PseudoSampler:
    """Keep all priors, for losses that cope with the imbalance themselves (focal loss); or all queries of masks."""

    # the losses are divided by the positives alone, not by all that were sampled
    avg_factor_with_neg = False

    def select(self, gt_inds: Tensor) -> Tensor:
        """Return which priors take part in the loss.

        Args:
            gt_inds: int64 [P] of an `AssignResult`: 0 background, -1 ignored, i + 1 ground-truth box i.

        Returns:
            ``gt_inds``, with -1 where a prior was not sampled: here nowhere.
        """
        return gt_inds
