"""Share of right labels, shown beside a loss while training."""

from __future__ import annotations

import torch
from torch import Tensor


def accuracy(pred: Tensor, target: Tensor, topk: int = 1, ignore_index: int | None = None) -> Tensor:
    """Return the share of labels that are among the ``topk`` highest channels.

    Args:
        pred: Logits [N, C, …].
        target: int64 [N, …].
        topk: How many guesses a label has, at most C.
        ignore_index: Label that is not counted.

    Returns:
        [1], in per cent; 0 without labels, 100 where all are ignored (as in mmdet and mmseg).
    """
    if not target.numel():
        return pred.new_zeros(1)
    if topk == 1:
        correct = pred.argmax(1) == target
    else:
        correct = (pred.topk(topk, dim=1).indices == target.unsqueeze(1)).any(1)
    if ignore_index is None:
        return (correct.sum() * (100.0 / target.numel())).reshape(1)
    eps = torch.finfo(torch.float32).eps
    counted = target != ignore_index
    right, total = (correct & counted).sum(), counted.sum()
    return ((right + eps) * (100.0 / (total + eps))).reshape(1)
