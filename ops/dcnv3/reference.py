"""DCNv3 in PyTorch: what every other backend must equal."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.ops.conv_arguments import Pair
from foveal.ops.weighted_samples.reference import coordinate_dtype, weighted_samples_reference


def dcnv3_reference(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    offset_scale: float,
) -> Tensor:
    """Compute y[n, i, j, g] = sum over k of weight[n, i, j, g, k] * x[n, middle(i, j) + (tap(k) + offset) * scale, g].

    The taps lie around the middle, k goes down the first column, then the second. ``x`` is interpolated bilinearly, and
    zero outside the image.

    Args:
        x: [N, H, W, groups * D].
        offset: (x, y) [N, H', W', groups * K * 2].
        weight: [N, H', W', groups * K]; with one tap less than kernel_size has, the middle one is missing.
        kernel_size: For H and W; so are the next three.
        stride: At least 1.
        padding: Zeros on each side.
        dilation: At least 1.
        groups: Of channels.
        offset_scale: Factor of taps and offsets.

    Returns:
        [N, H', W', groups * D].
    """
    value, shapes, starts, pixels = as_one_level(
        x, offset, kernel_size, stride, padding, dilation, groups, offset_scale
    )
    weights = weight.to(pixels.dtype).reshape(pixels.shape[:-1])
    return weighted_samples_reference(value, shapes, starts, pixels, weights).flatten(2).unflatten(1, offset.shape[1:3])


def as_one_level(
    x: Tensor,
    offset: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    offset_scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Say it as weighted samples: the pixels are the queries, and there is one level.

    Returns:
        value, shapes, starts and pixels of ``foveal.ops.weighted_samples``.
    """
    height, width = x.shape[1:3]
    dtype = coordinate_dtype(x)
    taps, middles = [], []
    for axis in (1, 0):
        half = dilation[axis] * (kernel_size[axis] - 1) // 2
        taps.append(torch.arange(kernel_size[axis], device=x.device) * dilation[axis] - half)
        middles.append(torch.arange(offset.shape[1 + axis], device=x.device) * stride[axis] + (half - padding[axis]))
    tap = torch.stack(torch.meshgrid(*taps, indexing="ij"), -1).flatten(0, 1).to(dtype)
    middle = torch.stack(torch.meshgrid(*middles, indexing="xy"), -1).flatten(0, 1).to(dtype)
    shifts = offset.to(dtype).flatten(1, 2).unflatten(2, (groups, 1, -1, 2))
    if shifts.shape[4] == tap.shape[0] - 1:
        tap = torch.cat([tap[: tap.shape[0] // 2], tap[tap.shape[0] // 2 + 1 :]])
    pixels = (shifts + tap) * offset_scale + middle.view(-1, 1, 1, 1, 2)
    value = x.flatten(1, 2).unflatten(2, (groups, -1))
    return value, torch.tensor([[height, width]], device=x.device), torch.tensor([0], device=x.device), pixels
