"""Weighted sums of bilinear samples in PyTorch: what every other backend must equal."""

from __future__ import annotations

import torch
from torch import Tensor


def bilinear_corners(pixels: Tensor, height: Tensor | int, width: Tensor | int) -> tuple[Tensor, Tensor]:
    """Find the four pixels around each point and their shares.

    Args:
        pixels: (x, y) of the points, [..., 2].
        height: Rows of the image, a number or a tensor that broadcasts with [...].
        width: Columns of the image, likewise.

    Returns:
        Number of each of the four pixels, row by row, int64 [..., 4], and its share [..., 4]. A pixel outside the image
        has the number 0 and the share 0. So has a point that is not a number.
    """
    low = pixels.detach().floor()
    right, below = (pixels - low).unbind(-1)
    x, y = low.unbind(-1)
    numbers, shares = [], []
    for row, row_share in ((y, 1 - below), (y + 1, below)):
        for column, column_share in ((x, 1 - right), (x + 1, right)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            numbers.append(torch.where(inside, row * width + column, 0).long())
            shares.append(torch.where(inside, row_share * column_share, 0))
    return torch.stack(numbers, -1), torch.stack(shares, -1)


def weighted_samples_reference(
    value: Tensor, shapes: Tensor, starts: Tensor, pixels: Tensor, weights: Tensor
) -> Tensor:
    """Compute y[n, q, g] = sum over l, p of weights[n, q, g, l, p] * value_l[n, pixels[n, q, g, l, p], g].

    Between pixels value_l is interpolated bilinearly, outside it is zero.

    Args:
        value: [N, S, G, D].
        shapes: Height and width of each level, int64 [L, 2].
        starts: Number of each level's first pixel, int64 [L].
        pixels: (x, y) in pixels, [N, Q, G, L, P, 2].
        weights: [N, Q, G, L, P].

    Returns:
        [N, Q, G, D].
    """
    batch, size, groups, dim = value.shape
    numbers, shares = bilinear_corners(pixels, shapes[:, :1], shapes[:, 1:])
    image = torch.arange(batch, device=value.device).view(-1, 1, 1, 1, 1, 1)
    group = torch.arange(groups, device=value.device).view(-1, 1, 1, 1)
    rows = ((image * size + starts.view(-1, 1, 1) + numbers) * groups + group).flatten()
    points = value.flatten(0, 2).index_select(0, rows).to(pixels.dtype)
    shares = (shares * weights.unsqueeze(-1)).flatten(3).unsqueeze(-2)
    summed = shares @ points.view(*shares.shape[:3], shares.shape[-1], dim)
    return summed.squeeze(-2).to(value.dtype)


def coordinate_dtype(value: Tensor) -> torch.dtype:
    """Float64 beside float64, else float32: bfloat16 would round the pixels' numbers from 257 on."""
    return torch.float64 if value.dtype == torch.float64 else torch.float32
