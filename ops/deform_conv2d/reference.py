"""Deformable convolution in PyTorch: what every other backend must equal."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.ops.conv_arguments import Pair
from foveal.ops.weighted_samples.reference import bilinear_corners, coordinate_dtype


def deform_conv2d_reference(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    mask: Tensor | None,
) -> Tensor:
    """Compute y[n, o, i, j] = bias[o] + sum over c, a, b of weight[o, c, a, b] * mask[n, ab, i, j] * x[n, c, place].

    The place is (s*i - p + d*a, s*j - p + d*b) + offset[n, ab, i, j]; s, p and d are the axis's stride, padding and
    dilation. ``x`` is interpolated bilinearly, and zero outside the image.

    Args:
        x: [N, C, H, W].
        offset: [N, 2 * offset groups * kh * kw, H', W'].
        weight: [O, C / groups, kh, kw].
        bias: [O] or None.
        stride: For H and W.
        padding: For H and W.
        dilation: For H and W.
        mask: [N, offset groups * kh * kw, H', W'] or None.

    Returns:
        [N, O, H', W'].
    """
    groups = x.shape[1] // weight.shape[1]
    columns = deform_columns(x, offset, mask, (weight.shape[2], weight.shape[3]), stride, padding, dilation)
    filters = weight.reshape(groups, weight.shape[0] // groups, -1)
    y = (filters @ columns.unflatten(1, (groups, -1)).flatten(2, 3)).view(-1, weight.shape[0], *offset.shape[2:])
    return y if bias is None else y + bias.view(-1, 1, 1)


def deform_columns(
    x: Tensor, offset: Tensor, mask: Tensor | None, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Tensor:
    """Read what each tap of the kernel sees, multiplied by the mask.

    Returns:
        [N, C, kh * kw, H' * W'].
    """
    batch, _, height, width = x.shape
    taps = kernel[0] * kernel[1]
    shifts = offset.to(coordinate_dtype(x)).unflatten(1, (-1, taps, 2)).movedim(3, -1)
    pixels = shifts.flip(-1) + _taps(shifts, kernel, stride, padding, dilation)
    numbers, shares = bilinear_corners(pixels, height, width)
    if mask is not None:
        shares = shares * mask.unflatten(1, (-1, taps)).unsqueeze(-1)
    offset_groups = shifts.shape[1]
    # one row a pixel and offset group, so that a corner is one row
    rows = x.unflatten(1, (offset_groups, -1)).flatten(3).transpose(2, 3)
    first = torch.arange(batch * offset_groups, device=x.device) * (height * width)
    numbers = (numbers + first.view(batch, offset_groups, 1, 1, 1, 1)).flatten()
    seen = rows.flatten(0, 2).index_select(0, numbers).view(*shares.shape, rows.shape[-1])
    columns = (shares.unsqueeze(-2) @ seen.to(shares.dtype)).squeeze(-2).to(x.dtype)
    return columns.flatten(3, 4).permute(0, 1, 4, 2, 3).flatten(1, 2)


def _taps(shifts: Tensor, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    """(x, y) of the taps without offsets, [kh * kw, H', W', 2]."""
    places = []
    for axis in (0, 1):
        first = torch.arange(shifts.shape[3 + axis], device=shifts.device) * stride[axis] - padding[axis]
        places.append(torch.arange(kernel[axis], device=shifts.device).view(-1, 1) * dilation[axis] + first)
    y, x = places[0].view(kernel[0], 1, -1, 1), places[1].view(1, kernel[1], 1, -1)
    return torch.stack(torch.broadcast_tensors(x, y), -1).flatten(0, 1).to(shifts.dtype)
