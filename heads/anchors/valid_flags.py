"""Which priors belong to an image that is smaller than its batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Size = tuple[int, int]


def valid_flags(
    strides: Sequence[tuple[float, float]],
    num_base_priors: Sequence[int],
    sizes: Sequence[Size],
    pad_shape: Sequence[int],
    device: torch.device | str,
) -> list[Tensor] | None:
    """Tell which priors start inside the image.

    Args:
        strides: (w, h) of each level.
        num_base_priors: A, priors per grid cell, of each level.
        sizes: (h, w) of each level.
        pad_shape: (h, w) in pixels of the image with its own padding.
        device: Of the result.

    Returns:
        One bool [h * w * A] a level, or None where all are valid.
    """
    used = [
        (min(math.ceil(pad_shape[0] / sh), h), min(math.ceil(pad_shape[1] / sw), w))
        for (h, w), (sw, sh) in zip(sizes, strides, strict=True)
    ]
    if all(tuple(u) == tuple(size) for u, size in zip(used, sizes, strict=True)):
        return None
    flags = []
    for (h, w), (used_h, used_w), count in zip(sizes, used, num_base_priors, strict=True):
        grid = torch.zeros((h, w, count), dtype=torch.bool, device=device)
        grid[:used_h, :used_w] = True
        flags.append(grid.reshape(-1))
    return flags
