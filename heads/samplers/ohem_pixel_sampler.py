"""The pixels that a segmentor finds hard."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from foveal.registry import TASK_UTILS


@TASK_UTILS.register_module()
class OHEMPixelSampler:
    """Online hard example mining: hard pixels count, all others do not; mmseg's sampler of this name.

    Args:
        thresh: Pixels whose right class has a lower probability are hard; at least ``min_kept`` are taken. None: the
            pixels with the highest loss are.
        min_kept: Pixels taken for each image of the batch.

    Source: ``ohem_pixel_sampler.py`` of open-mmlab/mmsegmentation.
    """

    def __init__(self, thresh: float | None = None, min_kept: int = 100000) -> None:
        self.thresh = thresh
        self.min_kept = min_kept

    @torch.no_grad()
    def sample(self, logits: Tensor, labels: Tensor, criteria: Iterable[nn.Module], ignore_index: int) -> Tensor:
        """Return the weight of every pixel.

        Args:
            logits: [N, K, H, W].
            labels: int64 [N, H, W].
            criteria: The losses; their sum ranks the pixels where ``thresh`` is None.
            ignore_index: Label that never counts.

        Returns:
            0 or 1, [N, H, W].
        """
        valid = labels != ignore_index
        kept = self.min_kept * len(labels)
        if self.thresh is None:
            losses = sum(c(logits, labels, ignore_index=ignore_index, reduction_override="none") for c in criteria)
            hard = torch.zeros_like(losses[valid])
            hard[losses[valid].argsort(descending=True)[:kept]] = 1
        else:
            right = logits.softmax(1).gather(1, labels.where(valid, 0)[:, None])[:, 0][valid]
            threshold = self.thresh
            if len(right):
                threshold = max(threshold, float(right.sort().values[min(kept, len(right) - 1)]))
            hard = (right < threshold).to(logits.dtype)
        return torch.zeros_like(logits[:, 0]).masked_scatter(valid, hard)
