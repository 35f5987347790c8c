"""How every loss weighs and reduces its elements, as mmdet does."""

from __future__ import annotations

import torch
from torch import Tensor


def reduce_loss(
    loss: Tensor, weight: Tensor | None = None, reduction: str = "mean", avg_factor: float | Tensor | None = None
) -> Tensor:
    """Multiply by weights and reduce.

    Args:
        loss: Element-wise loss, any shape.
        weight: Broadcastable to ``loss``, or None.
        reduction: ``none``, ``mean`` or ``sum``.
        avg_factor: What ``mean`` divides the sum by, in place of the number of elements (usually the positives).

    Returns:
        A scalar, or ``loss``'s shape for ``none``.

    Raises:
        ValueError: If ``reduction`` is another word, or ``avg_factor`` comes with ``sum``.
    """
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction must be none, mean or sum, got {reduction!r}")
    if weight is not None:
        loss = loss * weight
    if reduction == "none":
        return loss
    if avg_factor is None:
        return loss.mean() if reduction == "mean" else loss.sum()
    if reduction == "sum":
        raise ValueError("avg_factor cannot be used with reduction='sum'")
    # the smallest float32 keeps an average over nothing at zero, not NaN
    return loss.sum() / (avg_factor + torch.finfo(torch.float32).eps)
