"""Deformable attention beside grid_sample, level by level, which is what mmcv and Deformable DETR do on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.ops import multi_scale_deformable_attention

# sides of the levels, queries, heads, channels of a head, points
SHAPES = (((64, 32, 16, 8), 300, 8, 32, 4), ((40, 20, 10), 2100, 8, 32, 4))


def sampled(value: Tensor, shapes: Tensor, _: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """Read each level with grid_sample, then weigh."""
    batch, _, heads, dim = value.shape
    read = []
    for level, part in enumerate(value.split([h * w for h, w in shapes.tolist()], 1)):
        image = part.permute(0, 2, 3, 1).reshape(batch * heads, dim, *shapes[level].tolist())
        grid = (2 * locations[:, :, :, level] - 1).transpose(1, 2).flatten(0, 1)
        read.append(F.grid_sample(image, grid, padding_mode="zeros", align_corners=False))
    factors = weights.transpose(1, 2).flatten(0, 1).flatten(2).unsqueeze(1)
    out = (torch.stack(read, -2).flatten(-2) * factors).sum(-1)
    return out.view(batch, heads * dim, -1).transpose(1, 2)


def cases(device: str) -> Iterator[dict[str, Any]]:
    """Yield the pairs of calls."""
    for sides, queries, heads, dim, points in SHAPES:
        sizes = torch.tensor([side * side for side in sides], device=device)
        levels = torch.tensor([[side, side] for side in sides], device=device), sizes.cumsum(0) - sizes
        value = torch.randn(1, int(sizes.sum()), heads, dim, device=device)
        locations = torch.rand(1, queries, heads, len(sides), points, 2, device=device)
        weights = torch.rand(1, queries, heads, len(sides), points, device=device)
        inputs = [t.requires_grad_() for t in (value, locations, weights)]
        arguments = (value, *levels, locations, weights)
        row = {
            "case": f"levels {sides}, {queries} queries, {heads} x {dim}, {points} points",
            "peer_name": "grid_sample",
        }
        with torch.no_grad():
            yield row | {
                "pass": "forward",
                "ours": lambda: multi_scale_deformable_attention(*arguments),
                "peer": lambda: sampled(*arguments),
            }
        yield row | {
            "pass": "forward+backward",
            "ours": lambda: torch.autograd.grad(multi_scale_deformable_attention(*arguments).sum(), inputs),
            "peer": lambda: torch.autograd.grad(sampled(*arguments).sum(), inputs),
        }
