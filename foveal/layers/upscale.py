"""What networks that end in a sub-pixel convolution share."""

from __future__ import annotations

import math

from torch import Tensor


def explain_scale(weight: Tensor | None, channels: int, scale: int) -> str | None:
    """Say which scale the last convolution of a checkpoint is for.

    Args:
        weight: Of the convolution before the pixel shuffle, [channels * s², …]. None: the checkpoint has none.
        channels: Of the image.
        scale: That the model was built for.

    Returns:
        Half a sentence with both scales; None where they are the same or the shape is no such convolution's.
    """
    found = 0 if weight is None else math.isqrt(len(weight) // channels)
    if weight is None or found == scale or channels * found**2 != len(weight):
        return None
    return f"it is for scale {found}, the model for scale {scale}"
