"""How large the bell around a key point is (CornerNet, Law and Deng, ECCV 2018, arXiv:1808.01244)."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_radius(size: Tensor, overlap: float) -> Tensor:
    """Return how far both corners of a box may be moved so that its IoU with itself stays at least ``overlap``.

    Args:
        size: [G, 2] width and height.
        overlap: IoU in (0, 1).

    Returns:
        float64 [G], the least of CornerNet's three cases (as in mmdet); 0 for boxes without an area.
    """
    half, area = size.double().sum(1), size.double().prod(1)
    cases = [
        (half - (half**2 - 4 * area * (1 - overlap) / (1 + overlap)).sqrt()) / 2,
        (2 * half - (4 * half**2 - 16 * (1 - overlap) * area).sqrt()) / 8,
        (-2 * overlap * half + (4 * overlap**2 * half**2 - 16 * overlap * (overlap - 1) * area).sqrt()) / (8 * overlap),
    ]
    return torch.stack(cases).amin(0).nan_to_num(0).clamp(min=0)
